"""The end of a channel, of a pump and of a process: what was put is sent, or counted, in time, and in silence."""

import re
import signal
import textwrap
import time
from collections import Counter

import pytest
import zmq
from support import ANY, endpoint_of, finish, raw_socket, run, script

NOWHERE = "tcp://127.0.0.1:1"  # to connect to it is allowed; nobody answers
SOON = 4.5  # seconds in which a process ends that does not linger, even on a busy machine: the linger is 5 s

# How a program ends, and the exit status and the last line on stderr that this gives.
ENDINGS = {
    "end": ("", 0, ""),
    "sys_exit": ("import sys; sys.exit(3)", 3, ""),
    "exception": ("raise RuntimeError('the program has failed')", 1, "RuntimeError: the program has failed"),
    "sys_exit_in_a_greenlet": ("import sys, gevent; gevent.spawn(sys.exit, 3).join()", 3, ""),
}

# An endpoint, messages, and a real thread, patched or not; `forever()` lets its hub run.
PREAMBLE = """
    import os, sys, time
    import gevent, gevent.queue, zmq
    from gevent import monkey
    import zgreen

    endpoint, number = sys.argv[1], int(sys.argv[2])
    messages = [b"%d" % i for i in range(number)]

    def real_thread(function):
        start = monkey.get_original("_thread", "start_new_thread")
        lock = monkey.get_original("_thread", "allocate_lock")()
        lock.acquire()
        start(lambda: function(lock.release), ())
        lock.acquire()

    def forever():
        gevent.get_hub().join()
"""

# What puts *number* messages right before the program ends.
SENDERS = {
    "channel": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
        for message in messages:
            channel.put(message)
    """,
    "channel_without_limit": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        for message in messages:
            channel.put_nowait(message)
    """,
    "greenlets": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
        def put(part):
            for message in part:
                channel.put(message)
        gevent.joinall([gevent.spawn(put, messages[i::10]) for i in range(10)], raise_error=True)
    """,
    "register_socket": """
        in_ = gevent.queue.Queue()
        zgreen.register_socket(in_, socket_type="push", configurator=lambda socket: socket.connect(endpoint))
        for message in messages:
            in_.put(message)
    """,
    "simple_queue": """
        in_ = gevent.queue.SimpleQueue()
        zgreen.register_socket(in_, socket_type="push", configurator=lambda socket: socket.connect(endpoint))
        for message in messages:
            in_.put(message)
    """,
    "thread_that_runs": """
        def work(done):
            channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
            for message in messages:
                channel.put(message)
            done()
            forever()
        real_thread(work)
    """,
    "thread_that_has_ended": """
        def work(done):
            channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
            for message in messages:
                channel.put(message)
            done()
        real_thread(work)
    """,
    "thread_with_queue": """
        def work(done):
            in_ = gevent.queue.Queue()
            zgreen.register_socket(in_, socket_type="push", configurator=lambda socket: socket.connect(endpoint))
            for message in messages:
                in_.put(message)
            done()
            forever()
        real_thread(work)
    """,
    "from_another_thread": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        def work(done):
            for message in messages:
                channel.put(message)
            done()
        real_thread(work)
    """,
    "close": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        for message in messages:
            channel.put(message)
        assert channel.close() == 0
        os._exit(0)  # so nothing is left to be done at exit
    """,
    "close_of_a_registered_socket": """
        in_ = gevent.queue.Queue()
        channel = zgreen.register_socket(
            in_, socket_type="push", configurator=lambda socket: socket.connect(endpoint)
        )
        for message in messages:
            in_.put(message)
        assert channel.close() == 0
        os._exit(0)
    """,
    "shutdown": """
        with zgreen.Pump() as pump:
            channels = [zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump, send_maxsize=None) for _ in range(3)]
            for i, message in enumerate(messages):
                channels[i % 3].put(message)
            assert pump.shutdown() == 0
        os._exit(0)
    """,
    "shutdown_from_another_thread": """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        for message in messages:
            channel.put(message)
        def work(done):
            assert channel.pump.shutdown() == 0
            os._exit(0)
        real_thread(work)
    """,
}


def program(*parts):
    """One program of several indented parts."""
    return "\n".join(map(textwrap.dedent, parts))


def receive(pull, number):
    """Receive *number* messages; they come whole and once each."""
    got = Counter(pull.recv() for _ in range(number))
    assert got == Counter(b"%d" % i for i in range(number))


def not_sent(err):
    """How many messages the process said it has not sent."""
    return sum(int(count) for count in re.findall(r"(\d+) messages were not sent", err))


@pytest.mark.parametrize("sender", SENDERS)
def test_what_was_put_is_delivered_when_the_process_ends(sender):
    """Whatever was put, and however: a peer that lives gets all of it, and nobody complains."""
    number = 10_000
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, SENDERS[sender]), endpoint_of(pull), number)
        receive(pull, number)
        assert finish(process) == (0, "", "")


def test_a_queue_that_cannot_be_shut_down_does_not_keep_the_others_from_ending():
    """It is said, and what was put to it, and to a channel of another pump, is delivered."""
    code = """
        class Queue(gevent.queue.Queue):
            def shutdown(self, *args):
                raise LookupError("cannot shut down")
        in_ = Queue()
        connect = lambda socket: socket.connect(endpoint)
        zgreen.register_socket(in_, socket_type="push", configurator=connect)
        others = [zgreen.Channel(zmq.PUSH, connect=endpoint, pump=zgreen.Pump()) for _ in range(3)]
        for i, message in enumerate(messages):
            (others[i % 4].put if i % 4 < 3 else in_.put)(message)
    """
    number = 400
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, code), endpoint_of(pull), number)
        receive(pull, number)
        status, out, err = finish(process)
    assert (status, out, err.count("cannot be shut down"), not_sent(err)) == (0, "", 1, 0), err


def test_who_waits_for_room_in_another_thread_as_the_process_ends_is_left_in_peace():
    """What was put by then is sent, which makes room, but whoever waited for that can no longer put. That hub must
    not look again and again: it would take the GIL from the owning thread, and the linger would run out."""
    code = """
        import atexit
        from zgreen._hub.line import Line

        looks = [0]
        atexit.register(lambda: print(looks[0]))  # called last
        dispatch = Line.dispatch

        def counted(line):
            looks[0] += 1
            dispatch(line)

        Line.dispatch = counted
    """
    number = 10_000
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, code, SENDERS["thread_with_queue"]), endpoint_of(pull), number)
        receive(pull, number)
        status, out, err = finish(process)
    assert (status, err) == (0, "")
    assert int(out) < 1000


@pytest.mark.parametrize("sender", ["channel_without_limit", "register_socket"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_way_in_which_a_program_ends_makes_no_difference(ending, sender):
    """By its end, sys.exit() or an exception: all is delivered, and exit status and stderr are as ever."""
    code, status, last_line = ENDINGS[ending]
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, SENDERS[sender], code), endpoint_of(pull), 3000)
        receive(pull, 3000)
        got, out, err = finish(process)
    assert (got, out, err.rpartition("\n")[0].rpartition("\n")[2]) == (status, "", last_line), err
    assert "not sent" not in err


@pytest.mark.parametrize("traced", [False, True])
def test_on_error_hears_of_what_is_left_at_exit(traced):
    """Also where `Pump.on_event` has each message followed."""
    code = """
        channel = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", options={zmq.LINGER: 0})
        if sys.argv[3] == "True":
            channel.pump.on_event = lambda event: None
        channel.on_error = lambda error, message: print(message.decode())
        for message in messages:
            channel.put(message)
    """
    status, out, err = run(program(PREAMBLE, code), NOWHERE, 3, traced)
    assert (status, out) == (0, "0\n1\n2\n"), err


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("sender", ["channel", "channel_without_limit", "register_socket"])
@pytest.mark.parametrize("ending", ["end", "sys_exit", "exception"])
def test_what_a_child_of_multiprocessing_put_is_delivered(tmp_path, method, sender, ending):
    """Such a child ends with os._exit(), without atexit's functions: multiprocessing's finalizers do it."""
    if method == "spawn" and (sender != "channel" or ending != "end"):
        pytest.skip("the child ends in the same way as a forked one")
    code, status, last_line = ENDINGS[ending]
    parent = """
        if __name__ == "__main__":
            import multiprocessing
            child = multiprocessing.get_context(sys.argv[3]).Process(target=work)
            child.start()
            child.join()
            print(child.exitcode)
    """
    indent = "\n    "
    child = "def work():" + indent + indent.join((textwrap.dedent(SENDERS[sender]) + "\n" + code).splitlines())
    # a file, because a spawned child imports the main module
    path = tmp_path / "program.py"
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, child, parent), endpoint_of(pull), 3000, method, path=path)
        receive(pull, 3000)
        got, out, err = finish(process)
    assert (got, out.strip()) == (0, str(status)), err
    assert err.strip().rpartition("\n")[2] == last_line, err


def test_a_thread_that_waits_does_not_keep_a_child_of_multiprocessing_from_ending(tmp_path):
    """Such a child joins its threads after the pump's end: unlike at other exits, waiters are told of the end."""
    code = """
        def wait(channel):
            try:
                channel.get()
            except zgreen.ClosedError:
                print("told", flush=True)

        def work():
            import threading
            pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
            threading.Thread(target=wait, args=(pull,)).start()
            while not pull.statistics().getters:
                gevent.sleep(0.001)

        if __name__ == "__main__":
            import multiprocessing
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
            print(child.exitcode)
    """
    path = tmp_path / "program.py"
    assert finish(script(program(PREAMBLE, code), "nowhere", 0, path=path)) == (0, "told\n0\n", "")


def test_900_large_messages_are_delivered_when_the_process_ends():
    """180 MB that were put and not sent: a plain exit loses most of them in libzmq."""
    code = """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        for message in messages:
            channel.put(message.ljust(200_000))
    """
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, code), endpoint_of(pull), 900)
        sizes = Counter(len(pull.recv()) for _ in range(900))
        assert finish(process) == (0, "", "")
    assert sizes == {200_000: 900}


def test_a_patched_process_that_sent_large_messages_exits():
    """pyzmq's zero-copy sends start a "thread" that under monkey.patch_all() never ends; zgreen does not use them."""
    code = """
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
        for message in messages:
            channel.put([message, bytes(1_000_000)])
        channel.flush()
        import zmq.utils.garbage
        assert zmq.utils.garbage.gc.thread is None
    """
    patch = "from gevent import monkey; monkey.patch_all()"
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(patch, PREAMBLE, code), endpoint_of(pull), 30)
        assert [len(pull.recv_multipart()[1]) for _ in range(30)] == [1_000_000] * 30
        assert finish(process) == (0, "", "")


# ---------------------------------------------------------------------- nobody is there


def seconds_to_end(process):
    """From the line ``ending`` on, which the process prints last, to its end; and what `finish` gives."""
    assert process.stdout.readline() == "ending\n"
    started = time.monotonic()
    result = finish(process)
    return time.monotonic() - started, result


@pytest.mark.parametrize("number", [10, 3000])
@pytest.mark.parametrize("where", ["connect", "bind"])
@pytest.mark.parametrize("how", ["channel", "register_socket"])
def test_without_a_peer_the_process_ends_within_its_linger_and_says_what_it_has_not_sent(how, where, number):
    """zmq.LINGER is the limit, and every message is counted, whoever holds it: in_, the channel, libzmq."""
    code = """
        where, how = sys.argv[3:]
        def configure(socket):
            socket.linger = 300
            getattr(socket, where)(endpoint)
        if how == "channel":
            put = zgreen.Channel("push", configurator=configure, send_maxsize=None).put
        else:
            in_ = gevent.queue.Queue()
            zgreen.register_socket(in_, socket_type="push", configurator=configure)
            put = in_.put
        for message in messages:
            put(message)
        print("ending")
    """
    endpoint = {"connect": NOWHERE, "bind": ANY}[where]
    process = script(program(PREAMBLE, code), endpoint, number, where, how)
    seconds, (status, _out, err) = seconds_to_end(process)
    assert status == 0
    assert not_sent(err) == number, err
    assert 0.25 < seconds < SOON


def test_the_linger_at_exit_is_5_seconds_in_total():
    """Several channels, pumps and hubs: their lingers run at the same time."""
    code = """
        for pump in (None, zgreen.Pump()):
            for _ in range(2):
                channel = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
                for message in messages:
                    channel.put(message)
        def work(done):
            for pump in (None, zgreen.Pump()):
                channel = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump, options={zmq.LINGER: 60_000})
                for message in messages:
                    channel.put(message)
            done()
            if ends == "runs":
                forever()
        for ends in ("runs", "ends"):
            real_thread(work)
        in_ = gevent.queue.Queue()
        zgreen.register_socket(in_, socket_type="push", configurator=lambda socket: socket.bind("tcp://127.0.0.1:*"))
        for message in messages:
            in_.put(message)
        print("ending")
    """
    process = script(program(PREAMBLE, code), NOWHERE, 10)
    seconds, (status, _out, err) = seconds_to_end(process)
    assert status == 0
    assert not_sent(err) == 90, err
    assert len(err.splitlines()) == 1 + 9, err  # what is waited for, and what each of the nine has lost
    assert 4.5 < seconds < 15, err  # one after the other they would take 20 and more


def test_threads_tell_what_they_have_lost_one_after_the_other():
    """Under patch_all() the lock of a log handler belongs to the main thread's hub, which does not run at exit.

    A thread that has to wait for the lock then waits for ever: its lines are lost, and the process does not end.
    """
    code = """
        import logging
        class Slow(logging.StreamHandler):
            def emit(self, record):
                monkey.get_original("time", "sleep")(0.2)  # it holds the lock meanwhile
                super().emit(record)
        logging.getLogger("zgreen").addHandler(Slow())
        def put_two():
            for _ in range(2):
                channel = zgreen.Channel(zmq.PUSH, connect=endpoint, options={zmq.LINGER: 1200})
                for message in messages:
                    channel.put(message)
        def run(done):
            put_two()
            done()
            forever()
        def end(done):
            put_two()
            done()
        for work in (run, end, run, end):
            real_thread(work)
        put_two()
        print("ending")
    """
    process = script("from gevent import monkey; monkey.patch_all()\n" + program(PREAMBLE, code), NOWHERE, 10)
    _, (status, _out, err) = seconds_to_end(process)
    assert status == 0
    assert not_sent(err) == 100, err
    assert err.count("messages were not sent") == 10, err  # each of the ten channels says what it has lost


@pytest.mark.parametrize("linger", [0, 0.3])
def test_close_and_shutdown_give_up_after_their_linger(linger):
    """They return how many messages were not sent, and at exit nothing is left to wait for."""
    code = """
        linger = float(sys.argv[3])
        def timed(function):
            started = time.monotonic()
            count = function(linger=linger)
            print(count, linger <= time.monotonic() - started < linger + 4)
        channel = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*")
        for message in messages:
            channel.put(message)
        timed(channel.close)
        timed(channel.close)  # again
        pump = zgreen.Pump()
        for _ in range(2):
            channel = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", pump=pump)
            for message in messages:
                channel.put(message)
        timed(pump.shutdown)
        print("ending")
    """
    process = script(program(PREAMBLE, code), NOWHERE, 10, linger)
    assert process.stdout.readline() == "10 True\n"
    assert process.stdout.readline() == f"10 {linger == 0}\n"  # at once: it was closed
    assert process.stdout.readline() == "20 True\n"
    seconds, (status, _out, err) = seconds_to_end(process)
    assert status == 0
    assert not_sent(err) == 30, err
    assert seconds < SOON


# ---------------------------------------------------------------------- silence


def test_importing_zgreen_does_nothing():
    """No thread, no descriptor, nothing to be called at exit or after a fork, nothing for multiprocessing."""
    code = """
        import atexit, multiprocessing.util, os, random, threading
        import gevent, gevent.event, gevent.queue, gevent.threadpool, zmq

        def state():
            return (
                len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")),
                atexit._ncallbacks(), len(multiprocessing.util._finalizer_registry),
            )

        import concurrent.futures, logging.handlers, queue, weakref  # what zgreen may import registers its own
        forks = []
        real, os.register_at_fork = os.register_at_fork, lambda **calls: forks.append(calls)
        before = state()
        import zgreen, zgreen._hub.shutdown
        assert state() == before, (before, state())
        assert not forks, forks
        # and it is not for lack of looking
        os.register_at_fork = real
        zgreen.get_pump()
        print([now > then for now, then in zip(state(), before)])
    """
    assert run(code) == (0, "[True, True, True, False]\n", "")


def test_a_process_that_closes_nothing_exits_in_silence():
    """Greenlets, queues and threads that wait or work when the program ends, and nothing of it on stderr."""
    code = """
        pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
        push = zgreen.Channel(zmq.PUSH, connect=endpoint)
        named = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", pump=zgreen.Pump("named"))
        in_, out = gevent.queue.Queue(), gevent.queue.Queue()
        zgreen.register_socket(
            in_, out, socket_type=zmq.DEALER, configurator=lambda socket: socket.bind("tcp://127.0.0.1:*")
        )

        def get_without_end(channel):
            while True:
                channel.get()

        def iterate(channel):
            for _ in channel:
                pass

        def put_without_end():
            while True:
                push.put("tick")
                gevent.sleep(0.001)

        def get_of_queue():
            while True:
                out.get()

        def thread(done):
            channel = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
            done()
            channel.get()

        def foreign_thread(done):
            done()
            named.get()

        for channel in (pull, named):
            gevent.spawn(get_without_end, channel)
            gevent.spawn(iterate, channel)
        gevent.spawn(get_of_queue)
        ticker = gevent.spawn(put_without_end)
        real_thread(thread)
        real_thread(foreign_thread)
        with zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint) as other:
            other.put("read")
        while pull.statistics().received < 1 or push.statistics().sent < 10:
            gevent.sleep(0.001)
        assert not ticker.dead
    """
    # What the ticker puts last goes to a process that outlives it; a PULL of its own might be closed before it arrives.
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        process = script(program(PREAMBLE, code), endpoint_of(pull), 0, env_warnings="default")
        started = time.monotonic()
        assert finish(process) == (0, "", "")
        assert time.monotonic() - started < SOON


def test_an_idle_process_exits_at_once():
    """Where nothing is left to be sent there is no linger, whoever is connected."""
    code = """
        channels = [zgreen.Channel(kind, connect=endpoint) for kind in ("push", "pub", "dealer", "sub", "req")]
        print("ending")
    """
    seconds, result = seconds_to_end(script(program(PREAMBLE, code), NOWHERE, 0))
    assert result == (0, "", "")
    assert seconds < SOON


def test_a_closed_channel_leaves_the_rest_of_the_program_alone():
    """atexit functions of the program's own that run later find the channels closed, and no more."""
    code = """
        import atexit
        def later():
            try:
                channel.put("late")
            except zgreen.ClosedError as error:
                print(error)
        atexit.register(later)
        channel = zgreen.Channel("push", bind="tcp://127.0.0.1:*")
        print(channel.pump.name)
    """
    status, out, err = run(program(PREAMBLE, code), NOWHERE, 0)
    assert (status, err) == (0, "")
    name, message = out.splitlines()
    assert name in message
    assert "shut" in message


STUCK = """
    import sys
    import zmq, zgreen
    push = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", options={zmq.LINGER: int(sys.argv[1])})
    for _ in range(7):
        push.put("x")
    print("put", flush=True)
"""


def test_an_exit_that_waits_says_for_what_and_how_long_at_most():
    """In one line, after a moment; then what was not sent is said as ever."""
    status, out, err = run(STUCK, 2000)
    first, second = err.splitlines()
    assert (status, out) == (0, "put\n")
    assert first == (
        "the process ends: 7 messages that libzmq does not take are given up to 4 s more; Ctrl-C gives them up"
    )
    assert second.endswith("7 messages were not sent")


def test_ctrl_c_ends_the_wait_of_an_exit_without_a_traceback():
    process = script(STUCK, 60_000)
    assert process.stdout.readline() == "put\n"
    line = process.stderr.readline()
    assert "Ctrl-C gives them up" in line
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert (status, out, err) == (0, "", "7 messages were not sent: the wait for them was interrupted\n")
