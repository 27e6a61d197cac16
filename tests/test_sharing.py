"""One channel, used by many greenlets and many real OS threads at once."""

import contextlib
import time
from collections import Counter
from functools import partial
from itertools import chain

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import ANY, LIMIT, Gate, block_hub_until, endpoint_of, outcome, raw_socket, real_threads, run, wait_for

import zgreen


@contextlib.contextmanager
def collector(number):
    """A plain PULL socket in a real thread: gives its endpoint, and a function that waits for *number* messages."""
    with real_threads(1) as spawn, raw_socket(zmq.PULL, bind=ANY) as socket:

        def collect():
            return [socket.recv_multipart() for _ in range(number)]

        result = spawn(collect)

        def collected():
            with gevent.Timeout(LIMIT):
                return result.get()

        yield endpoint_of(socket), collected


def message_of(who, number):
    """Three frames that say the same, so that mixed frames show."""
    return [b"%s" % who, b"%d" % number, b"%s:%d" % (who, number)]


def assert_whole_and_in_order(messages, writers, each):
    seen = Counter()
    for message in messages:
        assert len(message) == 3, message
        who, number, both = message
        assert both == b"%s:%s" % (who, number)
        assert int(number) == seen[who], f"{who} wrote {seen[who]} next, {int(number)} came"
        seen[who] += 1
    assert seen == dict.fromkeys(writers, each)


def write(channel, who, each):
    for number in range(each):
        channel.put(message_of(who, number))


def test_100_greenlets_put_on_one_channel(pump):
    """All messages arrive, whole, each greenlet's in order."""
    writers = [b"g%d" % i for i in range(100)]
    with collector(100 * 1000) as (endpoint, collected):
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
        gevent.joinall([gevent.spawn(write, channel, who, 1000) for who in writers], raise_error=True)
        assert_whole_and_in_order(collected(), writers, 1000)
        assert channel.flush(LIMIT)
        assert channel.statistics()[:5] == (100_000, 0, 0, 0, 0)


@pytest.mark.parametrize("send_maxsize", [1, 7, 1000, None])
def test_greenlets_and_threads_put_together(pump, send_maxsize):
    """20 greenlets and 4 real threads: all messages arrive, whole, each writer's in order."""
    greenlets = [b"g%d" % i for i in range(20)]
    threads = [b"t%d" % i for i in range(4)]
    each = 100 if send_maxsize == 1 else 1000
    with collector(24 * each) as (endpoint, collected), real_threads(4) as spawn:
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=send_maxsize, pump=pump)
        running = [spawn(write, channel, who, each) for who in threads]
        running += [gevent.spawn(write, channel, who, each) for who in greenlets]
        with gevent.Timeout(LIMIT):
            for each_one in running:
                each_one.get()
        assert_whole_and_in_order(collected(), greenlets + threads, each)


@pytest.mark.parametrize("recv_maxsize", [1, 1000])
def test_greenlets_and_threads_get_together(pump, recv_maxsize):
    """20 greenlets and 4 real threads read one channel: each message reaches one of them, once."""
    number = 3000 if recv_maxsize == 1 else 20_000
    target = zgreen.Channel(zmq.PULL, bind="inproc://all", recv_maxsize=recv_maxsize, pump=pump)
    source = zgreen.Channel(zmq.PUSH, connect="inproc://all", pump=pump)
    got = []  # list.append from any thread

    def read():
        own = []
        for message in target:
            got.append(message)
            own.append(int(message))
        return own

    with real_threads(4) as spawn:
        readers = [spawn(read) for _ in range(4)] + [gevent.spawn(read) for _ in range(20)]
        for i in range(number):
            source.put(b"%d" % i)
        wait_for(lambda: len(got) >= number, "all messages")
        target.close()
        with gevent.Timeout(LIMIT):
            parts = [reader.get() for reader in readers]
    assert sorted(int(message) for message in got) == list(range(number))
    assert sorted(chain.from_iterable(parts)) == list(range(number))
    for own in parts:
        assert own == sorted(own)


def test_threads_put_and_get_on_the_same_channels(pump):
    """Requests from 4 threads and 20 greenlets through one pair of channels, echoed by others of both kinds."""
    a = zgreen.Channel(zmq.PAIR, bind="inproc://pair", send_maxsize=10, recv_maxsize=10, pump=pump)
    b = zgreen.Channel(zmq.PAIR, connect="inproc://pair", send_maxsize=10, recv_maxsize=10, pump=pump)
    each = 200
    back = []

    def echo():
        for message in b:
            b.put(message)

    def read():
        back.extend(tuple(message) for message in a)

    with real_threads(8) as spawn:
        running = [spawn(echo), spawn(echo), spawn(read), spawn(read), gevent.spawn(echo), gevent.spawn(read)]
        writers = [spawn(write, a, b"t%d" % i, each) for i in range(4)]
        writers += [gevent.spawn(write, a, b"g%d" % i, each) for i in range(20)]
        with gevent.Timeout(LIMIT):
            for writer in writers:
                writer.get()
        wait_for(lambda: len(back) == 24 * each, "all to come back")
        a.close()
        b.close()
        with gevent.Timeout(LIMIT):
            for each_one in running:
                each_one.get()
    names = [b"t%d" % i for i in range(4)] + [b"g%d" % i for i in range(20)]
    assert sorted(back) == sorted(tuple(message_of(who, i)) for who in names for i in range(each))


def test_thread_gets_while_the_hub_is_blocked(pump):
    """The owning thread wakes a thread that waits in get() directly; the hub's thread takes no part in it."""
    with raw_socket(zmq.PUSH, bind=ANY) as peer, real_threads(1) as spawn:
        channel = zgreen.Channel(zmq.PULL, connect=endpoint_of(peer), pump=pump)
        got = []
        result = spawn(lambda: [got.append(channel.get()) for _ in range(3)])
        for i in range(3):
            block_hub_until(lambda: channel.statistics().getters == 1, "the thread to wait in get()")
            peer.send(b"%d" % i)
            block_hub_until(lambda i=i: len(got) > i, "the thread to get the message")
        assert got == [b"0", b"1", b"2"]
        result.get(timeout=LIMIT)


def test_thread_puts_while_the_hub_is_blocked(pump):
    """The owning thread wakes a thread that waits in put() directly; what it puts goes out without the hub."""
    with raw_socket(zmq.PULL, bind=ANY) as peer, real_threads(1) as spawn:
        channel = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
        result = spawn(lambda: [channel.put(b"%d" % i) for i in range(3)])
        wait_for(lambda: channel.statistics().putters == 1, "the thread to wait in put()")
        assert channel.statistics().pending == 1
        channel.connect(endpoint_of(peer))
        assert [peer.recv() for _ in range(3)] == [b"0", b"1", b"2"]  # blocks the hub
        result.get(timeout=LIMIT)


def test_commands_of_a_thread_while_the_hub_is_blocked(pump):
    """bind, connect, options, flush and close of a foreign thread need no hub."""
    channel = zgreen.Channel(zmq.PUSH, pump=pump)
    done = []
    with raw_socket(zmq.PULL) as peer, real_threads(1) as spawn:

        def command():
            channel.setsockopt(zmq.SNDHWM, 17)
            channel.bind(ANY)
            channel.put(b"x")
            peer.connect(channel.last_endpoint)
            flushed = channel.flush(LIMIT)
            done.append((flushed, channel.getsockopt(zmq.SNDHWM), channel.close()))

        result = spawn(command)
        block_hub_until(lambda: done, "the commands")
        assert done == [(True, 17, 0)]
        assert peer.recv() == b"x"
        result.get(timeout=LIMIT)
    assert channel.closed
    wait_for(lambda: not pump.channels, "the hub to hear of the close")


def test_errors_of_commands_reach_the_thread(pump):
    """A refused bind raises in the thread that asked, names the endpoint, and the channel goes on."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    with real_threads(1) as spawn:
        error = spawn(outcome, channel.bind, "nonsense://").get(timeout=LIMIT)
        assert isinstance(error, zmq.ZMQError)
        assert "nonsense" in str(error)
        error = spawn(outcome, channel.bind, channel.last_endpoint).get(timeout=LIMIT)
        assert error.errno == zmq.EADDRINUSE
        assert channel.last_endpoint in str(error)
        assert isinstance(spawn(outcome, channel.get, timeout=0.01).get(timeout=LIMIT), Empty)


def test_time_limits_of_threads(pump):
    """timeout= of a thread's put and get is kept, whether or not the hub runs, and is no shorter than asked."""
    full = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
    full.put(b"x")
    empty = zgreen.Channel(zmq.PULL, pump=pump)
    outcomes = []

    def wait():
        for function, error in ((partial(full.put, b"y"), Full), (empty.get, Empty)):
            started = time.monotonic()
            refused = outcome(function, timeout=0.05)
            outcomes.append(isinstance(refused, error) and time.monotonic() - started >= 0.05)
        outcomes.append(full.flush(0.05))

    with real_threads(1) as spawn:
        result = spawn(wait)
        block_hub_until(lambda: len(outcomes) == 3, "the time limits")
        result.get(timeout=LIMIT)
        spawn(wait).get(timeout=LIMIT)
    assert outcomes == [True, True, False] * 2
    assert full.statistics().putters == empty.statistics().getters == 0
    assert full.close(0) == 1


def test_close_by_a_thread_wakes_greenlets_and_threads(pump):
    """Whoever waits, of either kind, gets ClosedError when a foreign thread closes the channel."""
    full = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
    full.put(b"x")
    empty = zgreen.Channel(zmq.PULL, pump=pump)
    with real_threads(5) as spawn:
        both = (spawn, gevent.spawn, spawn)
        waiting = [start(outcome, full.put, b"y") for start in both] + [start(outcome, empty.get) for start in both]
        wait_for(lambda: full.statistics().putters == empty.statistics().getters == 3, "all to wait")
        assert spawn(full.close, 0).get(timeout=LIMIT) == 1
        assert spawn(empty.close).get(timeout=LIMIT) == 0
        for each in waiting:
            assert isinstance(each.get(timeout=LIMIT), zgreen.ClosedError)
    assert full.closed
    assert empty.closed


def test_close_by_a_thread_wakes_threads_while_the_hub_is_blocked(pump):
    """The end of a channel reaches threads that wait, without the hub."""
    full = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
    full.put(b"x")
    empty = zgreen.Channel(zmq.PULL, pump=pump)
    ended = []

    def wait(function, *args):
        ended.append(outcome(function, *args))

    with real_threads(5) as spawn:
        results = [spawn(wait, *call) for call in ((full.put, b"y"), (empty.get,)) for _ in range(2)]
        wait_for(lambda: full.statistics().putters == empty.statistics().getters == 2, "all to wait")
        results.append(spawn(lambda: (full.close(0), empty.close(0))))
        block_hub_until(lambda: len(ended) == 4, "all to be woken")
        gevent.joinall(results)
    assert [type(error) for error in ended] == [zgreen.ClosedError] * 4


def test_shutdown_by_a_thread(pump):
    """Pump.shutdown() of a foreign thread sends what was put, wakes everybody, and ends the owning thread."""
    with raw_socket(zmq.PULL, bind=ANY) as peer, real_threads(3) as spawn:
        source = zgreen.Channel(zmq.PUSH, connect=endpoint_of(peer), pump=pump)
        empty = zgreen.Channel(zmq.PULL, pump=pump)
        waiting = [start(outcome, empty.get) for start in (spawn, gevent.spawn, spawn)]
        wait_for(lambda: empty.statistics().getters == 3, "all to wait")
        for i in range(500):
            source.put(b"%d" % i)
        assert spawn(pump.shutdown).get(timeout=LIMIT) == 0
        for each in waiting:
            assert isinstance(each.get(timeout=LIMIT), zgreen.ClosedError)
        assert [int(peer.recv()) for _ in range(500)] == list(range(500))
    assert pump.closed
    assert source.closed
    with pytest.raises(zgreen.ClosedError):
        source.put(b"late")


def test_shutdown_by_a_thread_while_the_hub_is_blocked(pump):
    """The owning thread can be ended without the hub, which is told when it runs again."""
    channel = zgreen.Channel(zmq.PULL, pump=pump)
    done = []
    with real_threads(1) as spawn:
        result = spawn(lambda: done.append(pump.shutdown(0)))
        block_hub_until(lambda: done, "the shutdown")
        with pytest.raises(zgreen.ClosedError):
            channel.get()
        result.get(timeout=LIMIT)
    wait_for(lambda: not pump.channels, "the hub to hear of it")


def test_channel_made_and_used_by_a_thread(pump):
    """A thread may make a channel on a running pump of another thread's hub; both may use it."""
    gate = Gate()

    def make():
        channel = zgreen.Channel(zmq.PULL, bind="inproc://made", pump=pump)
        made.append(channel)
        first = channel.get()
        gate.wait()
        return first

    made = []
    with real_threads(1) as spawn:
        result = spawn(make)
        wait_for(lambda: made, "the channel")
        source = zgreen.Channel(zmq.PUSH, connect="inproc://made", pump=pump)
        source.put(b"to the thread")
        wait_for(lambda: made[0].statistics().received == 1 and not made[0].statistics().waiting, "its get()")
        source.put(b"to the hub")
        assert made[0].get(timeout=LIMIT) == b"to the hub"
        gate.open()
        assert result.get(timeout=LIMIT) == b"to the thread"


def test_thread_with_a_pump_of_its_own():
    """In a thread of its own hub get_pump() is another pump, which works there and from here."""
    ready, gate = Gate(), Gate()
    made = []

    def work():
        with zgreen.Pump("other") as other:
            assert zgreen.get_pump() is not other
            channel = zgreen.Channel(zmq.PULL, bind=ANY, pump=other)
            implicit = zgreen.Channel(zmq.PUSH, connect=channel.last_endpoint)
            assert implicit.pump is zgreen.get_pump()
            implicit.put(b"within the thread")
            made.append((channel, implicit))
            first = channel.get(timeout=LIMIT)
            ready.open()
            gate.wait()
            implicit.pump.shutdown()
        return first

    with real_threads(1) as spawn:
        result = spawn(work)
        wait_for(lambda: made, "the channels")
        channel, implicit = made[0]
        assert implicit.pump is not zgreen.get_pump()
        ready.wait()
        implicit.put(b"from the other hub")  # its hub is blocked at the gate
        assert channel.get(timeout=LIMIT) == b"from the other hub"
        gate.open()
        assert result.get(timeout=LIMIT) == b"within the thread"


def test_send_of_a_thread_is_refused(pump):
    """send() gives an AsyncResult of the pump's hub: of another thread it is an error, before anything is put."""
    channel = zgreen.Channel(zmq.PUSH, pump=pump)
    with real_threads(1) as spawn:
        error = spawn(outcome, channel.send, b"x").get(timeout=LIMIT)
    assert isinstance(error, RuntimeError)
    assert "put()" in str(error)
    assert channel.statistics().pending == 0


def test_a_thread_with_the_number_of_an_ended_one_is_another_one():
    """The system gives the numbers of threads again: a check by number would let the next thread in."""
    code = """
        import _thread, gevent, zgreen
        from gevent import monkey
        from gevent.queue import Queue

        start, get_ident, allocate = (
            monkey.get_original("_thread", n) for n in ("start_new_thread", "get_ident", "allocate_lock")
        )

        def in_thread(function):
            ended, result = allocate(), []
            ended.acquire()
            def work():
                try:
                    result.append(function())
                except BaseException as error:
                    result.append(error)
                ended.release()
            start(work, ())
            ended.acquire()
            return result[0]

        def make():
            pump = zgreen.Pump().start()
            fan = zgreen.Fanout(zgreen.Channel("SUB", pump=pump))
            queue = Queue(items=["item"])
            return get_ident(), fan, queue

        def use():
            for call in (lambda: fan.subscribe("a"), lambda: zgreen.select(queue)):
                try:
                    return call()
                except RuntimeError as error:
                    assert "thread" in str(error), error
            return get_ident()

        def use_in_threads(number):
            used = [use()]  # of threads that all live at once, as the system chooses among the numbers that are free
            return used + in_thread(lambda: use_in_threads(number - 1)) if number else used

        for attempt in range(100):
            number, fan, queue = in_thread(make)
            used = in_thread(lambda: use_in_threads(64))
            if number in used:
                break
        print("the number came again:", number in used)
        import os; os._exit(0)  # the pumps of threads that have ended are another matter
    """
    assert run(code) == (0, "the number came again: True\n", "")
