"""Pump: one thread for its sockets; its start, its end as asked, and its end by an error."""

import contextlib
import gc
import logging
import threading
import weakref

import gevent
import pytest
import zmq
from gevent import monkey
from gevent.queue import ShutDown
from support import (
    ANY,
    LIMIT,
    Gate,
    block_hub_until,
    break_pump,
    channels,
    endpoint_of,
    inproc,
    open_descriptors,
    outcome,
    raw_socket,
    real_threads,
    run,
    wait_for,
)

from zgreen import BrokenError, Channel, ClosedError, Pump, get_pump, register_socket
from zgreen._hub import shutdown
from zgreen._hub.wait import Deadline

get_ident = monkey.get_original("_thread", "get_ident")


def works(pump):
    """Whether a message goes through two new channels of *pump*."""
    server, client = channels(pump, "PULL", "PUSH")
    client.put("on")
    got = server.get(timeout=LIMIT)
    client.close()
    server.close()
    return got == b"on"


def thread_of(pump):
    """The ident of the pump's thread, seen from within it."""
    seen = []
    Channel("PAIR", configurator=lambda _: seen.append(get_ident()), pump=pump).close()
    return seen[0]


# ---------------------------------------------------------------------- what a user sees


def test_names():
    """A given one, or a new one each."""
    with Pump("mine") as pump:
        assert pump.name == "mine"
        assert repr(pump) == "<zgreen.Pump 'mine'>"
    names = {Pump().name for _ in range(3)}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"name": 5}, TypeError, "name must be a str or None, not int"),
        ({"context": "c"}, TypeError, "context must be a zmq.Context or None, not str"),
        ({"io_threads": 0}, ValueError, "io_threads must be a positive int, not 0"),
        ({"io_threads": "2"}, ValueError, "io_threads must be a positive int, not '2'"),
        ({"engine": "steam"}, ValueError, "engine='steam': there is no such engine; there are "),
        ({"engine": 5}, TypeError, "engine must be a str or None, not int"),
    ],
)
def test_wrong_arguments_name_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        Pump(**arguments)


def test_the_engine_is_chosen_by_the_environment(monkeypatch):
    """engine= wins over ZGREEN_ENGINE, and an unknown one is an error that says where it came from."""
    monkeypatch.setenv("ZGREEN_ENGINE", "steam")
    with pytest.raises(ValueError, match="ZGREEN_ENGINE='steam'"):
        Pump()
    assert Pump(engine="python").engine == "python"
    monkeypatch.setenv("ZGREEN_ENGINE", "python")
    assert Pump().engine == "python"


def test_start_is_optional_and_idempotent():
    pump = Pump()
    assert not pump.closed
    assert pump.start() is pump
    ident = thread_of(pump)
    assert pump.start() is pump
    assert thread_of(pump) == ident != get_ident()
    with Pump() as other:
        assert thread_of(other) not in (ident, get_ident())


def test_start_by_many_greenlets_at_once():
    """One thread."""
    pump = Pump()
    gevent.joinall([gevent.spawn(pump.start) for _ in range(5)], raise_error=True)
    assert pump._thread.pool.size == 1


def test_channels_and_statistics(pump):
    """channels: the open ones, oldest first; the counts of closed ones stay."""
    assert pump.channels == ()
    server, client = channels(pump, "PULL", "PUSH")
    assert pump.channels == (server, client)
    client.put("x")
    assert server.get() == b"x"
    stuck = Channel("PUSH", pump=pump)
    stuck.put("y")
    assert pump.statistics()[:8] == (3, 1, 1, 1, 0, 0, 0, 0)
    stuck.close(linger=0)
    client.close()
    assert pump.channels == (server,)
    assert pump.statistics()[:8] == (1, 1, 1, 0, 0, 0, 0, 1)


def test_context(pump):
    """Its own: inproc endpoints of sockets made of it are found."""
    server = Channel("PULL", bind=inproc(), pump=pump)
    with pump.context.socket(zmq.PUSH) as socket:
        socket.connect(server.last_endpoint)
        socket.send(b"x")
        assert server.get() == b"x"
    assert pump.context.get(zmq.MAX_SOCKETS) > 1023


def test_io_threads():
    assert Pump(io_threads=3).context.get(zmq.IO_THREADS) == 3


def test_the_users_own_context():
    """Channels use it, and it stays the user's at the end."""
    with zmq.Context() as context:
        with Pump(context=context) as pump:
            assert pump.context is context
            assert works(pump)
        assert not context.closed
        with Pump(context=context) as again:
            assert works(again)
    with pytest.raises(ValueError, match="context is terminated"):
        Pump(context=context)


def test_the_users_own_context_is_terminated():
    """Its channels break with the cause; the pump's thread lives, and says what is wrong to the next channel."""
    context = zmq.Context()
    with Pump(context=context) as pump:
        channel = Channel("PULL", pump=pump)
        getter = gevent.spawn(outcome, channel.get)
        gevent.sleep(0)
        context.term()
        error = getter.get()
        assert isinstance(error, BrokenError)
        assert error.__cause__.errno == zmq.ETERM
        with pytest.raises(zmq.ZMQError):
            Channel("PULL", pump=pump)
        assert not pump.closed


def test_register_socket_is_a_method_too(pump):
    queue = gevent.queue.Queue()
    channel = pump.register_socket(queue, socket_type="PUSH", configurator=lambda s: s.bind(inproc()))
    assert channel.pump is pump


# ---------------------------------------------------------------------- the implicit pump


def test_get_pump_is_one_per_hub():
    """The same one each time, made on first use; another hub has another."""
    pump = get_pump()
    assert get_pump() is pump
    assert Channel("PUSH").pump is pump

    def elsewhere():
        mine = get_pump()
        try:
            return mine is pump, mine is get_pump(), works(mine), mine.shutdown()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    with real_threads(1) as spawn:
        assert spawn(elsewhere).get() == (False, True, True, 0)
    assert works(pump)


def test_get_pump_anew_after_shutdown():
    pump = get_pump()
    pump.shutdown()
    again = get_pump()
    assert again is not pump
    assert works(again)


def test_get_pump_anew_while_one_is_shut_down():
    """One that is being closed takes no more channels."""
    pump = get_pump()
    stuck = Channel("PUSH")
    stuck.put("x")
    closing = gevent.spawn(pump.shutdown, LIMIT)
    wait_for(lambda: pump.closed)
    assert get_pump() is not pump
    with pytest.raises(ClosedError, match="was shut down"):
        Channel("PUSH", pump=pump)
    assert stuck.close(linger=0) == 1
    assert closing.get() == 1


def test_get_pump_anew_after_a_break(caplog):
    pump = get_pump()
    channels(pump, "PULL", "PUSH")
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        break_pump(pump, RuntimeError("injected"))
    again = get_pump()
    assert again is not pump
    assert works(again)


# ---------------------------------------------------------------------- shutdown


def test_shutdown_sends_what_was_put():
    """All channels together; then the thread and the context are gone."""
    with raw_socket(zmq.PULL, bind=ANY) as server:
        pump = Pump()
        clients = [Channel("PUSH", connect=endpoint_of(server), pump=pump) for _ in range(3)]
        for i in range(300):
            clients[i % 3].put(b"%d" % i)
        assert pump.shutdown() == 0
        assert sorted(server.recv() for _ in range(300)) == sorted(b"%d" % i for i in range(300))
        assert pump.closed
        assert pump.context.closed
        assert pump.channels == ()
        assert pump._thread.pool.size == 0


def test_shutdown_says_how_many_were_not_sent(caplog):
    """Again and again the same number."""
    pump = Pump()
    for n in range(1, 4):
        client = Channel("PUSH", pump=pump)
        for _ in range(n):
            client.put("x")
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        assert pump.shutdown(linger=0) == 6
    assert pump.shutdown() == 6
    assert pump.statistics().unsent == 6


def test_shutdown_is_bounded_by_the_linger():
    """Messages that nobody takes get it, once for all channels together."""
    pump = Pump()
    for _ in range(10):
        Channel("PUSH", pump=pump).put("x")
    with gevent.Timeout(LIMIT / 2):
        assert pump.shutdown(linger=0.1) == 10


def test_shutdown_wakes_everybody():
    """Getters, putters, flushers, those who wait for send(): ClosedError, which names the pump."""
    with Pump("ends") as pump:
        stuck = Channel("PUSH", send_maxsize=2, pump=pump)
        stuck.put("x")
        result = stuck.send("y")
        empty = Channel("PULL", pump=pump)
        waiting = [gevent.spawn(outcome, f) for f in (lambda: stuck.put("z"), empty.get, stuck.flush, result.get)]
        with real_threads(2) as spawn:
            waiting += [spawn(outcome, stuck.put, "z"), spawn(outcome, empty.get)]
            wait_for(lambda: stuck.statistics().putters == empty.statistics().getters == 2)
            pump.shutdown(linger=0)
            for greenlet in waiting:
                error = greenlet.get(timeout=LIMIT)
                assert isinstance(error, ClosedError)
                assert isinstance(error, ShutDown)
        for use in (lambda: stuck.put("x"), empty.get, stuck.flush, lambda: empty.bind(ANY)):
            with pytest.raises(ClosedError, match=r"was closed by the shutdown of <zgreen\.Pump 'ends'>"):
                use()
        assert list(empty) == []


def test_shutdown_while_channels_are_used():
    """Putters and getters at full speed each end with ClosedError; every message that was put is got or counted."""
    pump = Pump()
    server, client = channels(pump, "PULL", "PUSH")
    put, got = [], []

    def write():
        with contextlib.suppress(ClosedError):
            while True:
                client.put("x")
                put.append(1)

    def read():
        got.extend(server)

    greenlets = [gevent.spawn(f) for f in (write, write, read, read)]
    wait_for(lambda: len(got) > 1000)
    pump.shutdown()
    gevent.joinall(greenlets, timeout=LIMIT, raise_error=True)
    assert all(g.dead for g in greenlets)
    assert len(got) <= len(put)
    assert client.statistics().sent + client.statistics().unsent >= len(put)


def test_shutdown_of_a_pump_that_never_started():
    """Its context is terminated all the same, and it stays shut."""
    pump = Pump()
    assert pump.shutdown() == 0
    assert pump.closed
    assert pump.context.closed
    assert pump.shutdown() == 0
    with pytest.raises(ClosedError, match="was shut down"):
        pump.start()
    with pytest.raises(ClosedError, match="was shut down"), pump:
        pass


def test_shutdown_by_many_at_once_and_from_the_hub():
    pump = Pump().start()
    Channel("PUSH", pump=pump).put("x")
    gevent.get_hub().loop.run_callback(pump.shutdown, 0)
    jobs = [gevent.spawn(pump.shutdown, 0) for _ in range(3)]
    assert [job.get() for job in jobs] == [1, 1, 1]


def test_a_second_shutdown_does_not_cut_the_first_one_short(tmp_path):
    """Its linger of 0 counts for nothing: what was put still has the linger of the first one."""
    endpoint = f"ipc://{tmp_path}/late"
    pump = Pump().start()
    messages = [b"%d" % number for number in range(5)]
    Channel("PUSH", connect=endpoint, options={zmq.SNDHWM: 1}, pump=pump).put_many(messages)
    first = gevent.spawn(pump.shutdown, LIMIT)
    wait_for(lambda: pump.closed, "the first one")
    second = gevent.spawn(pump.shutdown, 0)
    for _ in range(3):  # until it waits
        gevent.sleep(0)
    with raw_socket(zmq.PULL, bind=endpoint) as peer:
        assert [peer.recv() for _ in messages] == messages
        assert [first.get(timeout=LIMIT), second.get(timeout=LIMIT)] == [0, 0]


def test_a_killed_shutdown_goes_on():
    pump = Pump().start()
    Channel("PUSH", pump=pump).put("x")
    job = gevent.spawn(pump.shutdown, 0.05)
    wait_for(lambda: pump.closed)
    job.kill()
    wait_for(lambda: pump.context.closed)
    assert pump.shutdown() == 1


def test_shutdown_from_another_thread():
    """While the hub runs, and while it does not."""
    for join in (True, False):
        pump = Pump()
        client = Channel("PUSH", pump=pump)
        client.put("x")
        with real_threads(1) as spawn:
            gate = Gate()
            job = spawn(lambda p=pump, g=gate: (p.shutdown(linger=0), g.open()))
            if join:
                job.get()
            else:
                gate.wait()  # this thread is blocked, its hub with it
        wait_for(lambda p=pump: not p.channels)
        assert pump.shutdown() == 1


def test_shutdown_from_two_threads_at_once(caplog):
    """Both ask the thread, which has not come to either, to end: both are told that it has."""
    pump = Pump().start()
    gate = Gate()
    waiting = pump._thread.post(lambda reply: (gate.wait(), reply.complete()))
    wait_for(lambda: not len(pump._thread.engine.mailbox), "the thread to wait")
    with real_threads(2) as spawn:
        jobs = [spawn(pump.shutdown, linger=0, timeout=LIMIT) for _ in range(2)]
        wait_for(lambda: len(pump._thread.engine.mailbox) == 2, "both to ask")
        gate.open()
        assert [job.get(timeout=LIMIT) for job in jobs] == [0, 0]
    waiting.wait(Deadline(LIMIT))
    assert "did not end in time" not in caplog.text


def test_shutdown_from_another_thread_says_how_many_were_not_sent():
    """Though the hub, which is told of each, does not run meanwhile; a second call says the same."""
    with real_threads(1) as spawn:
        for _ in range(3):
            pump = Pump()
            closed, client = Channel("PUSH", pump=pump), Channel("PUSH", pump=pump)
            closed.put("x")
            assert closed.close(linger=0) == 1
            client.put("y")
            client.put("z")
            said = []
            job = spawn(lambda p=pump, s=said: s.extend((p.shutdown(linger=0), p.shutdown(linger=0))))
            block_hub_until(lambda s=said: len(s) == 2)
            assert said == [3, 3]
            job.get()
            wait_for(lambda p=pump: not p.channels)
            assert pump.shutdown() == 3


def test_shutdown_from_another_thread_that_takes_too_long_counts_what_may_not_be_sent(caplog):
    """The channels have not ended, and may never."""
    pump = Pump().start()
    client = Channel("PUSH", pump=pump)
    client.put_many(["x", "y"])
    with real_threads(1) as spawn:
        assert spawn(pump.shutdown, LIMIT, 0).get(timeout=LIMIT) == 2
    assert "did not end in time" in caplog.text
    assert pump.shutdown(0) == 2


def test_shutdown_of_a_never_started_pump_from_another_thread():
    pump = Pump()
    with real_threads(1) as spawn, gevent.Timeout(LIMIT / 10):
        assert spawn(pump.shutdown).get() == 0
    with pytest.raises(ClosedError):
        pump.start()


@pytest.mark.parametrize("started", [True, False])
def test_a_socket_that_the_user_left_open(started, caplog):
    """It keeps the context from ending: shutdown() stays within its timeout, says so, and the hub is not blocked."""
    pump = Pump("held")
    socket = pump.context.socket(zmq.PUSH)
    if started:
        assert works(pump)
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            gevent.sleep(0.01)

    ticking = gevent.spawn(tick)
    # if the hub blocks after all: another thread lets it go, so that the test fails and does not hang
    rescue = monkey.get_original("threading", "Timer")(LIMIT / 6, socket.close)
    rescue.daemon = True
    rescue.start()
    with caplog.at_level(logging.ERROR, "zgreen"):
        pump.shutdown(timeout=0.3)
    assert len(ticks) > 3
    assert "is a socket of its context still open?" in caplog.text
    assert pump.closed
    rescue.cancel()
    ticking.kill()
    socket.close()
    wait_for(lambda: pump.context.closed, "the thread to go on")
    if pump._thread.pool is not None:
        pump._thread.pool.kill()


def test_a_thread_that_is_given_up_keeps_its_messages(caplog):
    """shutdown() is over before the thread has come to them: they are counted, not taken away from under it."""
    pump = Pump("busy").start()
    channel = Channel("PUSH", pump=pump)
    sent = [channel.send(b"%d" % i) for i in range(3)]
    gate = Gate()
    opening = gevent.spawn(outcome, Channel, "PULL", configurator=lambda _: gate.wait(), pump=pump)
    wait_for(lambda: len(pump.channels) == 2)
    with caplog.at_level(logging.WARNING, "zgreen"):
        assert pump.shutdown(linger=LIMIT, timeout=0) == 3
    assert "3 messages were not sent" in caplog.text
    assert (channel._lanes.pipe.pending(), channel._lanes.pipe.finished) == (3, False)
    assert channel.statistics().unsent == channel.close() == pump.shutdown() == 3
    for result in sent:
        assert isinstance(outcome(result.get, timeout=LIMIT), ClosedError)
    for put in (channel.put, channel.put_nowait, channel.send):
        with pytest.raises(ClosedError):
            put(b"late")
    gate.open()
    end_given_up(pump)
    assert isinstance(opening.get(), ClosedError)


def test_a_thread_that_is_given_up_as_it_sends():
    """It is within libzmq, and then goes on with what it was sending."""
    pump = Pump(engine="python").start()
    with raw_socket(zmq.PULL, bind=ANY) as server:
        channel = Channel("PUSH", connect=endpoint_of(server), pump=pump)
        entered, gate, send_frame = Gate(), Gate(), channel._lanes.pipe.send_frame

        def send_when_open(*args):
            if not channel._lanes.pipe.sent:
                entered.open()
                gate.wait()
            return send_frame(*args)

        channel._lanes.pipe.send_frame = send_when_open
        channel.put(b"1")
        entered.wait()
        channel.put(b"2")
        assert pump.shutdown(linger=LIMIT, timeout=0) == 2
        gate.open()
        end_given_up(pump)
        assert channel._lanes.pipe.sent >= 1


def end_given_up(pump):
    """Wait for the end of a thread for which shutdown() has not waited."""
    wait_for(lambda: pump._thread.engine.ended, "the thread to go on")
    assert pump._thread.engine.failure is None
    pump._thread.pool.kill()


def test_wrong_times():
    pump = Pump()
    for arguments, error, match in (
        ({"linger": -1}, ValueError, "linger must be 0 or more"),
        ({"linger": "1"}, TypeError, "linger must be a number of seconds or None, not str"),
        ({"timeout": float("inf")}, ValueError, "timeout must be 0 or more, and finite"),
        ({"timeout": True}, TypeError, "timeout must be a number"),
    ):
        with pytest.raises(error, match=match):
            pump.shutdown(**arguments)
    assert not pump.closed


def test_leaving_with_shuts_down():
    with Pump() as pump:
        channel = Channel("PULL", pump=pump)
    assert pump.closed
    assert channel.closed


def test_a_channel_that_is_being_made_at_shutdown():
    """It gets ClosedError, or is made and closed; nothing stays open."""
    pump = Pump().start()
    gate = Gate()
    making = gevent.spawn(outcome, Channel, "PUSH", configurator=lambda _: gate.wait(), pump=pump)
    gevent.sleep(0)
    closing = gevent.spawn(pump.shutdown)
    wait_for(lambda: pump.closed)
    gate.open()
    closing.get()
    made = making.get(timeout=LIMIT)
    assert isinstance(made, ClosedError) or made.closed
    assert pump.context.closed


# ---------------------------------------------------------------------- an error in the owning thread


@pytest.mark.parametrize("error", [RuntimeError("injected"), MemoryError(), KeyboardInterrupt()])
def test_an_error_in_the_owning_thread_wakes_everybody(error, caplog):
    """Every waiter gets BrokenError with the cause, whatever it waits for, on the hub's thread or on another."""
    pump = Pump("breaks").start()
    stuck = Channel("PUSH", send_maxsize=2, pump=pump)
    stuck.put("x")
    result = stuck.send("y")
    empty = Channel("PULL", pump=pump)
    uses = (lambda: stuck.put("z"), lambda: stuck.send("z"), empty.get, lambda: next(empty), stuck.flush, result.get)
    waiting = [gevent.spawn(outcome, use) for use in uses]
    with real_threads(4) as spawn:
        waiting += [spawn(outcome, f) for f in (lambda: stuck.put("z"), empty.get, stuck.flush, lambda: next(empty))]
        wait_for(lambda: stuck.statistics().putters == 3 and empty.statistics().getters == 4)
        with caplog.at_level(logging.ERROR, "zgreen"):
            break_pump(pump, error)
        for greenlet in waiting:
            broken = greenlet.get(timeout=LIMIT)
            assert type(broken) is BrokenError
            assert broken.__cause__ is error
            assert "'breaks'" in str(broken)
    assert "has ended by an error" in caplog.text
    for use in (
        lambda: stuck.put("x"),
        lambda: stuck.put_nowait("x"),
        lambda: stuck.send("x"),
        empty.get,
        empty.get_nowait,
        stuck.flush,
        lambda: empty.bind(ANY),
        lambda: empty.setsockopt(zmq.RCVHWM, 1),
        lambda: Channel("PUSH", pump=pump),
        pump.start,
    ):
        with pytest.raises(BrokenError) as caught:
            use()
        assert caught.value.__cause__ is error
    assert pump.closed
    assert stuck.closed
    assert pump.channels == ()
    assert stuck.close() == 2
    assert pump.shutdown() == 2
    assert pump.context.closed


def broken_while(pump, spawn, *functions):
    """What *functions*, waited for by greenlets and by real threads, end with when the thread breaks under them.

    A gate holds the owning thread in a configurator until all of them have posted their commands.
    """
    error = RuntimeError("injected")
    gate = Gate()
    held = []

    def hold(_socket):
        held.append(1)
        gate.wait()

    holding = gevent.spawn(outcome, Channel, "PAIR", configurator=hold, pump=pump)
    wait_for(lambda: held)
    waiting = [gevent.spawn(outcome, f) for f in functions] + [spawn(outcome, f) for f in functions]
    wait_for(lambda: len(pump._thread.engine.mailbox) >= 2 * len(functions))

    def fail(*_):
        raise error

    pump._thread.engine._take_mail = fail  # the commands are there, and nobody will look at them
    gate.open()
    return error, [w.get(timeout=LIMIT) for w in waiting], holding.get(timeout=LIMIT)


def test_commands_under_way_when_the_owning_thread_fails(caplog):
    """Whoever waits for a command's answer gets BrokenError with the cause too, and close() just returns."""
    pump = Pump("breaks").start()
    channel = Channel("PULL", pump=pump)
    with real_threads(4) as spawn, caplog.at_level(logging.CRITICAL, "zgreen"):
        commands = (lambda: channel.bind(ANY), lambda: channel.getsockopt(zmq.TYPE), lambda: Channel("PUSH", pump=pump))
        error, results, _ = broken_while(pump, spawn, *commands)
    for result in results:
        assert type(result) is BrokenError
        assert result.__cause__ is error
    wait_for(lambda: pump._thread.pool.size == 0)


def test_a_shutdown_has_more_time_for_more_channels(monkeypatch, caplog):
    """libzmq ends one socket after the other; of ten thousand that takes some seconds."""
    monkeypatch.setattr(shutdown, "GRACE", 0.0)
    monkeypatch.setattr(shutdown, "_GRACE_EACH", LIMIT)
    pump = Pump("has many").start()
    for _ in range(3):
        Channel("PULL", bind=ANY, pump=pump)
    with caplog.at_level(logging.ERROR, "zgreen"):
        assert pump.shutdown(0) == 0
    assert caplog.messages == []


def test_close_under_way_when_the_owning_thread_fails(caplog):
    """It returns, with what is known to be unsent; while our queue drains, and while libzmq lingers."""
    pump = Pump("breaks").start()
    stuck = Channel("PUSH", pump=pump)
    stuck.put("x")
    result = stuck.send("y")
    lingering = Channel("PUSH", connect="tcp://127.0.0.1:1", pump=pump)
    lingering.put("x")
    wait_for(lambda: lingering.statistics().sent)
    closing = [gevent.spawn(outcome, c.close, 0.5) for c in (stuck, lingering)]
    wait_for(lambda: lingering._lanes.pipe.finished)
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        break_pump(pump, RuntimeError("injected"))
        # of the third nothing is known: libzmq goes on with it
        assert closing[0].get(timeout=LIMIT) == 2
        assert closing[1].get(timeout=LIMIT) in (0, 1)
    assert type(outcome(result.get, timeout=LIMIT)) is BrokenError
    assert pump.shutdown() in (2, 3)


def test_shutdown_under_way_when_the_owning_thread_fails(caplog):
    pump = Pump("breaks").start()
    Channel("PUSH", pump=pump).put("x")
    closing = gevent.spawn(pump.shutdown, LIMIT)
    wait_for(lambda: pump.closed)
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        break_pump(pump, RuntimeError("injected"))
    assert closing.get(timeout=LIMIT) == 1


def test_another_pump_goes_on(pump, caplog):
    other = Pump("breaks").start()
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        break_pump(other, RuntimeError("injected"))
    assert works(pump)


def test_received_messages_can_be_got_from_a_broken_pump(caplog):
    """As after a close: first what was received, then the error."""
    pump = Pump("breaks").start()
    server, client = channels(pump, "PULL", "PUSH")
    client.put("x")
    wait_for(lambda: server.statistics().waiting)
    with caplog.at_level(logging.CRITICAL, "zgreen"):
        break_pump(pump, RuntimeError("injected"))
    assert server.get() == b"x"
    with pytest.raises(BrokenError):
        server.get()


def test_a_pump_is_not_kept_by_what_it_leaves_behind():
    """Made and shut down again and again, it leaves no descriptor and no thread."""

    def once():
        with Pump() as pump:
            assert works(pump)

    once()
    gc.collect()
    before = open_descriptors(), threading.active_count()
    for _ in range(20):
        once()
    del _
    gc.collect()
    assert (open_descriptors(), threading.active_count()) == before


def test_get_pump_keeps_none_that_has_ended():
    """Nor, with it, the hub of a thread that has ended."""
    pump = weakref.ref(get_pump())
    pump().shutdown(linger=0)
    wait_for(lambda: (gc.collect(), pump() is None)[1], "the pump to be garbage")


def test_a_thread_that_could_not_be_started_can_be_later(monkeypatch):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    pump = Pump()
    with monkeypatch.context() as patch:
        patch.setattr("gevent.threadpool.ThreadPool.spawn", no_thread)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                pump.start()
    with pump:
        assert works(pump)


def test_a_thread_with_the_ident_of_the_hubs_which_has_ended():
    """The system gives idents out again. The next thread with the ident is a foreign one, and the pump has ended."""
    code = """
        import _thread, gevent.queue, zgreen
        from gevent import monkey
        start, ident, allocate_lock = (
            monkey.get_original("_thread", name) for name in ("start_new_thread", "get_ident", "allocate_lock")
        )
        channels = {}
        threads = _thread._count()

        def in_a_thread(function):
            lock = allocate_lock()
            lock.acquire()
            start(lambda: (function(), lock.release()), ())
            lock.acquire()

        def wait_for_their_end():
            while _thread._count() > threads:  # a thread counts until its ident is free
                gevent.sleep(0.001)

        def make():
            in_ = gevent.queue.Queue()
            bind = lambda socket: socket.bind("tcp://127.0.0.1:*")
            channels[ident()] = zgreen.register_socket(in_, socket_type="push", configurator=bind)

        def use():
            channel = channels.pop(ident(), None)
            if channel is not None:
                for call in (channel.flush, lambda: channel.put(b"1")):
                    try:
                        call()
                    except zgreen.ClosedError as error:
                        print(type(error).__name__, end=" ")
                print(channel.close(linger=0), channel.pump.shutdown())

        def use_in_threads(number):
            use()
            if number:
                in_a_thread(lambda: use_in_threads(number - 1))

        for made in range(1, 101):
            in_a_thread(make)
            wait_for_their_end()
            use_in_threads(64)  # at once, as the system chooses among the idents that are free
            wait_for_their_end()
            if len(channels) < made:
                break
    """
    status, out, err = run(code)
    assert (status, set(out.splitlines())) == (0, {"ClosedError ClosedError 0 0"}), err


def test_importing_starts_nothing():
    """No thread, no context, no descriptor."""
    status, out, err = run("""
        import os, threading
        import zmq, gevent.threadpool, logging
        before = len(os.listdir("/proc/self/fd")), threading.active_count(), len(os.listdir("/proc/self/task"))
        import zgreen
        after = len(os.listdir("/proc/self/fd")), threading.active_count(), len(os.listdir("/proc/self/task"))
        print(before == after)
    """)
    assert (status, out.strip(), err) == (0, "True", "")


def test_the_pumps_own_context_is_terminated():
    """The pump has broken: everybody who waits is told, and nothing is left in its list."""
    pump = Pump().start()
    in_ = gevent.queue.Queue(1)
    register_socket(in_, socket_type="PUSH", configurator=lambda socket: socket.bind(ANY), pump=pump)
    publisher = Channel("XPUB", bind=ANY, pump=pump)
    waiting = [gevent.spawn(outcome, publisher.wait_subscriber, "x"), gevent.spawn(outcome, publisher.get)]

    def put_without_end():
        while True:
            in_.put(b"x")

    producer = gevent.spawn(outcome, put_without_end)
    gevent.sleep(0)
    terminating = gevent.get_hub().threadpool.spawn(pump.context.term)
    for error in (waiter.get(timeout=LIMIT) for waiter in waiting):
        assert isinstance(error, BrokenError)
    assert isinstance(producer.get(timeout=LIMIT), ShutDown)
    wait_for(lambda: pump.closed, "the pump to have broken")
    assert pump.channels == ()
    terminating.get(timeout=LIMIT)
