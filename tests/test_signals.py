"""SIGINT and SIGTERM: whoever waits, the main greenlet hears them at once; the owning thread never does."""

import os
import signal
import subprocess
import textwrap
import time

import gevent
import pytest
import zmq
from support import (
    ANY,
    LIMIT,
    block_hub_until,
    endpoint_of,
    finish,
    interruptions,
    raw_socket,
    readable,
    script,
    wait_for,
    wait_until_asleep,
)

import zgreen

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")

SOON = 4.5  # seconds in which a process ends that does not linger, even on a busy machine: the linger is 5 s

# A pipe's output is read line by line; `waiting` is printed by a greenlet that only runs when the main one waits.
PREAMBLE = """
    import os, signal, sys
    import gevent, zmq
    import zgreen

    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a background job of a shell
    options = {zmq.LINGER: int(sys.argv[1])}

    def receiver():
        return zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", options=options)

    def sender(messages):
        "A channel whose messages nobody takes."
        channel = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", options=options, send_maxsize=max(messages, 1))
        for _ in range(messages):
            channel.put("a message")
        return channel

    def wait_with_notice(wait):
        gevent.spawn(print, "waiting")
        return wait()
"""

# What the main greenlet waits in (with what it needs for that), and how many messages are not sent in the end.
WAITS = {
    "get": ("receiver()", "channel.get()", 0),
    "get_with_timeout": ("receiver()", "channel.get(timeout=60)", 0),
    "iteration": ("receiver()", "next(channel)", 0),
    "put_on_a_full_queue": ("sender(2)", "channel.put('one more')", 2),
    "flush": ("sender(1)", "channel.flush()", 1),
    "result_of_send": ("sender(0)", "channel.send('a message').get()", 1),
    "close": ("sender(1)", "channel.close(linger=60)", 1),
    "shutdown": ("sender(1)", "channel.pump.shutdown(linger=60)", 1),
}


def waiting(name, linger=100, patched=False):
    """A process whose main greenlet waits."""
    patch = "from gevent import monkey; monkey.patch_all()\n" if patched else ""
    setup, wait, _ = WAITS[name]
    code = f"channel = {setup}\nwait_with_notice(lambda: {wait})\n"
    process = script(patch + textwrap.dedent(PREAMBLE) + code, linger)
    assert process.stdout.readline() == "waiting\n"
    wait_until_asleep(process.pid)
    return process


def seconds_to_end(process, number):
    """From signal *number* to the end of the process; and what `finish` gives."""
    started = time.monotonic()
    process.send_signal(number)
    result = finish(process)
    return time.monotonic() - started, result


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_every_wait_of_the_main_greenlet(wait):
    """KeyboardInterrupt comes out of the wait; then the process ends as ever, after the linger (0.1 s here)."""
    *_, not_sent = WAITS[wait]
    seconds, (status, out, err) = seconds_to_end(waiting(wait), signal.SIGINT)
    assert status == -signal.SIGINT, err
    assert (out, err.count("Traceback"), "KeyboardInterrupt\n" in err) == ("", 1, True), err
    were = "message was" if not_sent == 1 else "messages were"
    assert err.count(f" {not_sent} {were} not sent") == bool(not_sent), err
    assert seconds < SOON


@pytest.mark.parametrize("wait", ["get", "put_on_a_full_queue", "close"])
def test_sigterm_ends_the_process_where_it_stands(wait):
    """Python does not handle SIGTERM: no linger, no report, and nothing that could keep the process."""
    seconds, result = seconds_to_end(waiting(wait, linger=60_000), signal.SIGTERM)
    assert result == (-signal.SIGTERM, "", "")
    assert seconds < SOON


def test_ctrl_c_under_monkey_patch_all():
    """The suite runs unpatched and patched; this is the patched process in either."""
    seconds, (status, _, err) = seconds_to_end(waiting("get", patched=True), signal.SIGINT)
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt\n" in err
    assert seconds < SOON


def test_a_program_that_handles_ctrl_c_goes_on():
    """The interrupted wait has taken and put nothing, and the channels work as before."""
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent("""
        pull = receiver()
        full = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", send_maxsize=1)
        full.put("first")
        for wait in (pull.get, lambda: full.put("never put")):
            try:
                wait_with_notice(wait)
            except KeyboardInterrupt:
                print("interrupted")
        print(full.statistics().pending, full.statistics().putters, pull.statistics().getters)
        pull.connect(full.last_endpoint)
        print(pull.get())
        full.put("second")
        print(pull.get())
    """)
    process = script(code, 100)
    for _ in range(2):
        assert process.stdout.readline() == "waiting\n"
        wait_until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    out = process.stdout.read()  # not finish(): readline() may have read on
    status, _, err = finish(process)
    assert (status, out) == (0, "1 0 0\nb'first'\nb'second'\n")
    assert "Traceback" not in err  # gevent's hub notes each KeyboardInterrupt in one line


@pytest.mark.parametrize("handler", ["signal.signal", "gevent.signal_handler"])
def test_a_handler_of_sigterm_that_exits_has_everything_sent(handler):
    """The usual service: SIGTERM becomes sys.exit(), and what was put until then is delivered."""
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent(f"""
        {handler}(signal.SIGTERM, lambda *_: sys.exit(0))
        channel = zgreen.Channel(zmq.PUSH, connect=sys.argv[2], send_maxsize=None)
        for i in range(10_000):
            channel.put(str(i).ljust(5000))
        wait_with_notice(receiver().get)
    """)
    with raw_socket(zmq.PULL, bind=ANY, rcvhwm=1) as pull:
        process = script(code, -1, endpoint_of(pull))
        assert process.stdout.readline() == "waiting\n"
        wait_until_asleep(process.pid)
        process.send_signal(signal.SIGTERM)  # most of it is not sent yet: nobody reads
        assert [int(pull.recv()) for _ in range(10_000)] == list(range(10_000))
        assert finish(process) == (0, "", "")


@pytest.mark.parametrize("wait", ["put_on_a_full_queue", "in_another_thread"])
def test_a_second_ctrl_c_ends_the_linger(wait):
    """At exit the process waits 5 s for what was put; whoever does not want that says so again."""
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent("""
        def in_another_thread():
            from gevent.threadpool import ThreadPool
            channel = ThreadPool(1).spawn(sender, 2).get()  # it belongs to that thread's hub
            gevent.sleep(60)

        def put_on_a_full_queue():
            sender(2).put("one more")

        wait_with_notice(globals()[sys.argv[2]])
    """)
    process = script(code, 60_000, wait)
    assert process.stdout.readline() == "waiting\n"
    wait_until_asleep(process.pid)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    # The process does not say when it begins to linger, and a signal that comes before adds nothing: so press again.
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    seconds = time.monotonic() - started
    status, out, err = finish(process)
    assert status == -signal.SIGINT, err
    assert out == ""
    assert "Traceback" in err
    assert seconds < SOON


def test_a_handler_that_raises_does_not_deafen_the_hub():
    """The exception of a signal handler may come out of any line of Python code, the watcher's callback included.

    gevent stops a watcher for good whose callback raised.
    """
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent("""
        class Interrupted(KeyboardInterrupt):
            pass
        interrupted = 0
        def interrupt(number, frame):
            global interrupted
            if frame.f_code.co_name in ("_on_ring", "drain") and gevent.getcurrent() is gevent.get_hub():
                interrupted += 1
                raise Interrupted
        signal.signal(signal.SIGALRM, interrupt)
        pull = receiver()
        def send():  # in a real thread
            with zmq.Context() as context, context.socket(zmq.PUSH) as push:
                push.connect(pull.last_endpoint)
                while interrupted < 5:
                    push.send(b"a message")
                push.send(b"the last")
        gevent.get_hub().threadpool.spawn(send)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        message = None
        while message != b"the last":
            try:
                message = pull.get()
            except Interrupted:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("got the last")
    """)
    status, out, err = finish(script(code, 100))
    assert (status, out) == (0, "got the last\n"), err[-2000:]


def test_a_handler_that_raises_loses_no_mail(pump, hub_errors):
    """Wherever it does so as the hub takes what the owning thread has for it: each message reaches who waits for it."""
    pull = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=pull.last_endpoint) as push:

        def wait_and_send():
            getter = gevent.spawn(pull.get)
            wait_for(lambda: pull.statistics().getters)
            push.send(b"a message")
            block_hub_until(lambda: readable(pump._thread.link.mailbox))
            return getter

        getter, number = wait_and_send(), -1
        for number in interruptions(pump._thread.link._on_ring, "_hub/link.py", "_engine/_mailbox.py", "/weakref.py"):
            assert getter.get(timeout=LIMIT) == b"a message", f"at place {number}"
            hub_errors.clear()
            getter = wait_and_send()
        assert getter.get(timeout=LIMIT) == b"a message"
        assert number > 5


def test_signals_that_are_handled_disturb_nobody():
    """A handler runs thousands of times while messages pass: EINTR is nobody's error, and all arrive."""
    code = textwrap.dedent(PREAMBLE) + textwrap.dedent("""
        count = 0
        def handle(*_):
            global count
            count += 1
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        pull = receiver()
        push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)
        def put():
            for i in range(20_000):
                push.put(str(i))
        putter = gevent.spawn(put)
        assert [int(pull.get()) for _ in range(20_000)] == list(range(20_000))
        putter.get()
        while count < 100:
            gevent.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("ended")
    """)
    assert finish(script(code, 100)) == (0, "ended\n", "")
