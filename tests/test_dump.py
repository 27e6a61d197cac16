"""Pump.dump and dump_on_signal: what they show of programs in which nothing moves, and that they show it always."""

import os
import signal
import subprocess
import sys
import textwrap

import gevent
import pytest
import zmq
from support import (
    LIMIT,
    Gate,
    break_pump,
    channels,
    finish,
    inproc,
    outcome,
    real_threads,
    run,
    script,
    wait_for,
    wait_until_asleep,
)

import zgreen
from zgreen import Channel, Pump


def waiting_in(pump, what):
    """The lines about those who wait in *what*."""
    found, inside = [], False
    for line in pump.dump().splitlines():
        if inside and line.startswith("      "):
            found.append(line.strip())
        else:
            inside = line.endswith(f" in {what}:")
    return found


def stubborn_putter(channel, message):
    channel.put(message)  # the putter's line


def patient_getter(channel):
    return channel.get()  # the getter's line


def parked(condition, function, *args):
    """A greenlet that waits in *function*, and whose end is killed by the test."""
    greenlet = gevent.spawn(function, *args)
    wait_for(condition)
    return greenlet


def test_the_state_of_pumps_and_channels(pump):
    new = Pump("new")
    assert new.dump().splitlines()[0] == f"<zgreen.Pump 'new'>: {pump.engine} engine, not started, 0 channels"
    new.shutdown()
    server, _ = channels(pump, "PULL", "PUSH")
    lines = pump.dump().splitlines()
    assert lines[0] == f"<zgreen.Pump 'test'>: {pump.engine} engine, running, 2 channels"
    assert lines[1].startswith("  woken: ")
    assert f"  {server}: open" in lines
    assert "    to get: 0 messages (at most 1000, peak 0); 0 received" in lines
    assert "    to send: 0 messages (at most 1000, peak 0); 0 sent" in lines
    assert waiting_in(pump, "put") == waiting_in(pump, "get") == []
    pump.shutdown()
    assert pump.dump().splitlines()[0] == "<zgreen.Pump 'test'>: was shut down, 0 channels"


def test_a_putter_and_the_reason(pump):
    """Who it is, where in the user's code it waits, for how long, and what it waits for."""
    client = Channel("PUSH", pump=pump, send_maxsize=1)
    client.put("0")
    putter = parked(lambda: client.statistics().putters, stubborn_putter, client, "1")
    [line] = waiting_in(pump, "put")
    assert f"{putter!r:.100}" in line
    assert f"{__file__}:" in line
    assert line.endswith("in stubborn_putter: channel.put(message)  # the putter's line")
    assert "    to send: 1 messages (at most 1, peak 1); 0 sent" in pump.dump().splitlines()
    assert "libzmq does not take them now" in pump.dump()
    putter.kill()
    assert waiting_in(pump, "put") == []


def test_a_getter(pump):
    server, _ = channels(pump, "PULL", "PUSH")
    getter = parked(lambda: server.statistics().getters, patient_getter, server)
    [line] = waiting_in(pump, "get")
    assert line.endswith("in patient_getter: return channel.get()  # the getter's line")
    getter.kill()


def test_how_long(pump):
    """The longest first, as they stand in line, and it grows."""
    server = Channel("PULL", pump=pump)
    getters = [gevent.spawn(server.get)]
    wait_for(lambda: waiting_in(pump, "get") and not waiting_in(pump, "get")[0].startswith("0.0 s"))
    getters.append(gevent.spawn(server.get))
    wait_for(lambda: server.statistics().getters == 2)
    first, second = (float(line.partition(" s: ")[0]) for line in waiting_in(pump, "get"))
    assert first >= second
    assert first > 0
    gevent.killall(getters)


def test_the_main_greenlet(pump):
    """Found from another greenlet, while the main one waits."""
    server = Channel("PULL", pump=pump)
    seen = gevent.spawn(lambda: waiting_in(pump, "get"))
    with gevent.Timeout(0.05, False):
        server.get()
    [line] = seen.get()
    assert "the main greenlet" in line or "Greenlet" in line
    assert line.endswith("in test_the_main_greenlet: server.get()")


NAMED_THREAD = """
import threading, time
import zgreen

pump = zgreen.Pump("p").start()
server = zgreen.Channel("PULL", bind="inproc://a", pump=pump)
client = zgreen.Channel("PUSH", connect="inproc://a", pump=pump)
thread = threading.Thread(target=lambda: server.get(), name="the patient thread")
thread.start()
while not server.statistics().getters:  # the hub is blocked meanwhile
    time.sleep(0.001)
print(pump.dump())
client.put("x")
thread.join()
pump.shutdown()
"""


def test_a_thread_by_its_name(tmp_path):
    """With its own line; while the hub is blocked. In a program that is not patched, where threads are threads."""
    path = tmp_path / "named.py"
    path.write_text(NAMED_THREAD)
    command = [sys.executable, str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    [line] = [line for line in out.splitlines() if "thread '" in line]
    assert line.partition(" s: ")[2].startswith("thread 'the patient thread'")
    assert line.endswith(', name="the patient thread")')


def test_a_thread_without_a_name(pump):
    server, client = channels(pump, "PULL", "PUSH")
    with real_threads(1) as spawn:
        got = spawn(patient_getter, server)
        wait_for(lambda: server.statistics().getters)
        [line] = waiting_in(pump, "get")
        client.put("x")
        assert got.get() == b"x"
    assert line.partition(" s: ")[2].startswith("thread ")
    assert "in patient_getter: " in line


def test_those_who_wait_for_commands(pump):
    """flush and close, each under its name."""
    client = Channel("PUSH", pump=pump)
    client.put("x")
    flush = gevent.spawn(outcome, client.flush)
    wait_for(lambda: waiting_in(pump, "flush"))
    close = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: waiting_in(pump, "close"))
    assert f"{close!r:.100}" in waiting_in(pump, "close")[0]
    assert f"  {client}: is being closed" in pump.dump().splitlines()
    assert client.close(linger=0) == 1
    close.join()
    assert isinstance(flush.get(), zgreen.ClosedError)
    assert pump.channels == ()


def test_a_configurator_that_waits(pump):
    """The owning thread is stuck in it: who opens the channel waits, and so does every other command."""
    other = Channel("PULL", pump=pump)
    gate = Gate()
    opener = gevent.spawn(Channel, "PULL", configurator=lambda socket: gate.wait(), pump=pump)
    asker = gevent.spawn(other.getsockopt, zmq.TYPE)
    wait_for(lambda: waiting_in(pump, "open") and waiting_in(pump, "get_option"))
    assert "commands and sends that the owning thread has not answered: 2" in pump.dump()
    gate.open()
    assert asker.get() == zmq.PULL
    opener.get()
    assert waiting_in(pump, "open") == waiting_in(pump, "get_option") == []


def test_those_who_wait_for_their_turn_to_request(pump):
    router = Channel("ROUTER", bind=inproc(), pump=pump)
    client = Channel("REQ", connect=router.last_endpoint, pump=pump)
    greenlets = [gevent.spawn(client.request, "x") for _ in range(3)]
    wait_for(lambda: len(waiting_in(pump, "request, for their turn")) == 2)
    wait_for(lambda: len(waiting_in(pump, "get")) == 1)
    gevent.killall(greenlets)
    assert waiting_in(pump, "request, for their turn") == []


def test_those_who_wait_for_subscribers(pump):
    pub = Channel("PUB", bind=inproc(), pump=pump)
    waiter = gevent.spawn(pub.wait_subscriber, "x")
    wait_for(lambda: waiting_in(pump, "wait_subscriber"))
    waiter.kill()
    assert waiting_in(pump, "wait_subscriber") == []


def test_those_who_wait_for_several_things(pump):
    """gevent.wait and select stand in line with a callback."""
    server = Channel("PULL", pump=pump)
    selector = gevent.spawn(gevent.wait, [server])
    wait_for(lambda: server.statistics().getters)
    [line] = waiting_in(pump, "get")
    assert line.partition(" s: ")[2].startswith("callback ")
    selector.kill()


def test_a_crowd_is_counted(pump):
    server = Channel("PULL", pump=pump)
    getters = [gevent.spawn(server.get) for _ in range(50)]
    wait_for(lambda: server.statistics().getters == 50)
    lines = waiting_in(pump, "get")
    assert len(lines) == 21
    assert lines[-1] == "and 30 more"
    assert "    50 in get:" in pump.dump().splitlines()
    gevent.killall(getters)


def test_a_full_receive_queue(pump):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=2)
    for _ in range(3):
        client.put("x")
    wait_for(lambda: server.statistics().waiting == 2)
    assert "no consumer gets them, or too slowly" in pump.dump()
    server.get()
    server.get()
    server.get()
    assert "no consumer gets them" not in pump.dump()


def test_the_last_error(pump):
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    assert isinstance(outcome(router.send([b"nobody", b"x"]).get), zmq.ZMQError)
    lines = pump.dump().splitlines()
    assert f"  last error: {router}: ZMQError: Host unreachable" in lines
    assert "    last error: ZMQError: Host unreachable" in lines
    assert "    to send: 0 messages (at most 1000, peak 1); 0 sent, 1 refused" in lines


def test_a_broken_pump(pump, caplog):
    break_pump(pump, RuntimeError("a test breaks it"))
    wait_for(lambda: pump.closed and pump.statistics().last_error)
    lines = pump.dump().splitlines()
    assert lines[0].startswith("<zgreen.Pump 'test'>: has ended by an error in its owning thread")
    assert "  last error: RuntimeError: a test breaks it" in lines


def test_a_dump_changes_nothing(pump):
    """It takes no message and wakes nobody."""
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(server.get)
    wait_for(lambda: server.statistics().getters)
    before = server.statistics()
    assert pump.dump()
    gevent.sleep(0)
    after = server.statistics()
    assert (after.getters, after.hub_wakeups, after.thread_wakeups) == (1, before.hub_wakeups, before.thread_wakeups)
    client.put("x")
    assert getter.get() == b"x"


# ---------------------------------------------------------------------- on a signal

STUCK = """
    import os, signal, sys, time
    import gevent
    import zgreen

    zgreen.dump_on_signal()
    pump = zgreen.Pump("the pump").start()
    server = zgreen.Channel("PULL", bind="tcp://127.0.0.1:*", pump=pump)
    other = zgreen.Pump("another").start()

    def worker():
        server.get()  # waits for ever

    greenlet = gevent.spawn(worker)
    gevent.sleep(0)
"""
END = """
    greenlet.kill()
    pump.shutdown(linger=0)
    other.shutdown(linger=0)
    print("end")
"""


def lines_until(stream, text):
    found = []
    for line in iter(stream.readline, ""):
        found.append(line.rstrip("\n"))
        if text in line:
            return found
    raise AssertionError(f"no {text!r} in {found}")


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_signal_while_the_hub_is_idle(tmp_path):
    """The main greenlet waits as well, and goes on as if nothing had been."""
    waits = """
    gevent.spawn(print, "waiting")
    gevent.get_hub().threadpool.spawn(sys.stdin.read).get()
"""
    process = script(STUCK + waits + END, path=tmp_path / "idle.py", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "waiting\n"
    wait_until_asleep(process.pid)
    process.send_signal(signal.SIGUSR1)
    lines = lines_until(process.stderr, "in worker: server.get()  # waits for ever")
    assert lines[0].startswith(f"zgreen: signal {int(signal.SIGUSR1)} in process {process.pid}")
    assert [line for line in lines if line.startswith("<zgreen.Pump 'another'>: ")]
    assert [line for line in lines if line.startswith("<zgreen.Pump 'the pump'>: ")]
    status, out, err = finish(process)  # closes its stdin
    assert (status, out, err.count("Traceback")) == (0, "end\n", 0), err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_signal_while_the_hub_is_blocked(tmp_path):
    """By Python code that does not end: the dump comes, and says where that is."""
    blocked = """
    def spin():
        print("blocked")
        while not done:
            pass
    done = []
    signal.signal(signal.SIGUSR2, lambda *_: done.append(1))
    spin()
"""
    process = script(STUCK + blocked + END, path=tmp_path / "blocked.py")
    assert process.stdout.readline() == "blocked\n"
    process.send_signal(signal.SIGUSR1)
    lines = lines_until(process.stderr, "in worker: ")
    assert " in spin: " in lines[0]
    process.send_signal(signal.SIGUSR2)
    status, out, err = finish(process)
    assert (status, out, err.count("Traceback")) == (0, "end\n", 0), err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_many_signals_at_any_moment():
    """In the middle of puts, gets, statistics and writes to standard error: nothing is lost, nothing hangs or fails."""
    code = """
    import os, signal, sys
    import gevent, gevent.queue
    import zgreen

    previous = zgreen.dump_on_signal()
    assert previous is signal.SIG_DFL, previous
    pump = zgreen.Pump("busy").start()
    server = zgreen.Channel("PULL", bind="inproc://a", pump=pump)
    client = zgreen.Channel("PUSH", connect="inproc://a", pump=pump, send_maxsize=5)
    left = [200]
    signal.signal(signal.SIGALRM, lambda *_: (left.append(left.pop() - 1), os.kill(os.getpid(), signal.SIGUSR1)))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    def putter():
        number = 0
        while left[0] > 0:
            client.put(b"%d" % number)
            sys.stderr.write("a line of the program\\n")
            number += 1
        client.close()
        return number

    putting = gevent.spawn(putter)
    got = 0
    while not (putting.ready() and not server.statistics().waiting and got == putting.value):
        try:
            message = server.get(timeout=0.01)
        except gevent.queue.Empty:
            continue
        assert message == b"%d" % got, (message, got)
        got += 1
        pump.statistics()
    signal.setitimer(signal.ITIMER_REAL, 0)
    pump.shutdown()
    print("all", got == putting.value)
    """
    status, out, err = run(textwrap.dedent(code))
    assert (status, out) == (0, "all True\n"), err[-3000:]
    assert "Traceback" not in err
    assert err.count("<zgreen.Pump 'busy'>: ") >= 10


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_without_pumps_and_after_a_fork():
    """A child's dump shows its own pumps, not the parent's."""
    code = """
        import os, signal
        import zgreen

        zgreen.dump_on_signal(signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        pump = zgreen.Pump("the parent's").start()
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGUSR2)
            os._exit(0)
        os.waitpid(pid, 0)
        pump.shutdown()
    """
    status, _, err = run(code)
    assert status == 0, err
    assert err.count("no pumps\n") == 2
    assert "the parent's" not in err


def test_it_is_opt_in_and_checked(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    assert zgreen.dump_on_signal(signal.SIGTERM) is before
    signal.signal(signal.SIGTERM, before)
    monkeypatch.delattr(signal, "SIGUSR1")
    with pytest.raises(ValueError, match="no SIGUSR1: give a signum"):
        zgreen.dump_on_signal()
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, zgreen.dump_on_signal, signal.SIGTERM).get(), ValueError)
    assert signal.getsignal(signal.SIGTERM) is before
