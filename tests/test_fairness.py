"""Who gets a turn: others beside a greenlet that never stops; those who came first before those who came later."""

from itertools import pairwise

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import ANY, LIMIT, endpoint_of, outcome, raw_socket, real_threads, wait_for

import zgreen

BREATH = 100  # after so many operations others get their turn


def put_for_ever(channel, count):
    while True:
        channel.put(b"x")
        count[0] += 1


def get_for_ever(channel, count):
    while True:
        channel.get()
        count[0] += 1


def tick_for_ever(ticks):
    while True:
        gevent.sleep(0.01)
        ticks[0] += 1


def test_heartbeat_beside_endless_puts_and_gets(pump):
    """A 10 ms heartbeat ticks on while one greenlet puts and another gets without end."""
    source = zgreen.Channel(zmq.PUSH, bind="inproc://endless", pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://endless", pump=pump)
    ticks, puts, gets = [0], [0], [0]
    greenlets = [
        gevent.spawn(put_for_ever, source, puts),
        gevent.spawn(get_for_ever, target, gets),
        gevent.spawn(tick_for_ever, ticks),
    ]
    wait_for(lambda: ticks[0] >= 100, "100 ticks")
    assert puts[0] > 1000
    assert gets[0] > 1000
    gevent.killall(greenlets)
    pump.shutdown(0)


def test_puts_that_never_wait_give_turns(pump):
    """A putter whose queue is never full lets others run after a bounded number of puts."""
    channel = zgreen.Channel(zmq.PUSH, bind="inproc://unbounded", send_maxsize=None, pump=pump)
    puts, seen = [0], []
    putter = gevent.spawn(put_for_ever, channel, puts)
    for _ in range(50):
        gevent.sleep(0)
        seen.append(puts[0])
    putter.kill()
    assert max(b - a for a, b in pairwise(seen)) <= BREATH
    assert seen[-1] > BREATH
    channel.close(0)


def test_gets_that_never_wait_give_turns(pump):
    """A getter whose queue is never empty lets others run after a bounded number of gets."""
    source = zgreen.Channel(zmq.PUSH, bind="inproc://stock", pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://stock", recv_maxsize=None, pump=pump)
    for _ in range(5000):
        source.put(b"x")
    wait_for(lambda: target.statistics().waiting == 5000, "the stock")
    gets, seen = [0], [0]  # none were got before its first turn
    getter = gevent.spawn(get_for_ever, target, gets)
    for _ in range(40):
        gevent.sleep(0)
        seen.append(gets[0])
    getter.kill()
    assert max(b - a for a, b in pairwise(seen)) <= BREATH
    assert seen[-1] > BREATH


def test_drop_oldest_getter_and_flood_leave_turns(pump):
    """The hub's own work for a flood of messages is bounded per turn, too: send() results and dropped messages."""
    source = zgreen.Channel(zmq.PUSH, bind="inproc://flood", pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://flood", recv_maxsize=1, overflow="drop_oldest", pump=pump)
    ticks, sent, gets = [0], [0], [0]

    def send_for_ever():
        while True:
            source.send(b"x")
            sent[0] += 1

    greenlets = [
        gevent.spawn(send_for_ever),
        gevent.spawn(get_for_ever, target, gets),
        gevent.spawn(tick_for_ever, ticks),
    ]
    wait_for(lambda: ticks[0] >= 50 and gets[0], "50 ticks")
    gevent.killall(greenlets)
    assert sent[0] > 1000
    assert source.flush(LIMIT)


def wait_in_line(start, functions, count):
    """Start one waiter after the other, each only when the one before waits."""
    waiting = []
    for i, function in enumerate(functions):
        waiting.append(start[i % len(start)](function))
        wait_for(lambda i=i: count() == i + 1, f"waiter {i}")
    return waiting


@pytest.mark.parametrize("kinds", ["greenlets", "threads", "both"])
@pytest.mark.parametrize("maxsize", [1, 3, 50])
def test_putters_are_served_in_the_order_they_came(pump, kinds, maxsize):
    """Those who wait in put() go on first come, first served, whatever they are."""
    channel = zgreen.Channel(zmq.PUSH, send_maxsize=maxsize, pump=pump)
    with real_threads(10) as spawn, raw_socket(zmq.PULL, bind=ANY) as peer:
        for i in range(maxsize):
            channel.put(b"%d" % i)
        start = {"greenlets": [gevent.spawn], "threads": [spawn], "both": [gevent.spawn, spawn]}[kinds]
        calls = [lambda i=i: channel.put(b"%d" % i) for i in range(maxsize, maxsize + 10)]
        waiting = wait_in_line(start, calls, lambda: channel.statistics().putters)
        channel.connect(endpoint_of(peer))
        with gevent.Timeout(LIMIT):
            for waiter in waiting:
                waiter.get()
        assert [int(peer.recv()) for _ in range(maxsize + 10)] == list(range(maxsize + 10))


@pytest.mark.parametrize("kinds", ["greenlets", "threads", "both"])
@pytest.mark.parametrize("maxsize", [1, 50])
def test_getters_are_served_in_the_order_they_came(pump, kinds, maxsize):
    """Those who wait in get() get the messages in the order they came, whatever they are."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, recv_maxsize=maxsize, pump=pump)
    with real_threads(10) as spawn, raw_socket(zmq.PUSH, connect=channel.last_endpoint) as peer:
        start = {"greenlets": [gevent.spawn], "threads": [spawn], "both": [gevent.spawn, spawn]}[kinds]
        waiting = wait_in_line(start, [channel.get] * 10, lambda: channel.statistics().getters)
        for i in range(10):
            peer.send(b"%d" % i)
        with gevent.Timeout(LIMIT):
            assert [int(waiter.get()) for waiter in waiting] == list(range(10))


def busy_until(condition):
    """Wait without ever letting another greenlet run; the owning thread does."""
    for _ in range(100_000_000):
        if condition():
            return
    raise AssertionError("it did not happen")


def test_put_nowait_leaves_room_to_those_who_wait(pump):
    """As many places as there are waiting putters are theirs, even before they have run."""
    channel = zgreen.Channel(zmq.PUSH, send_maxsize=3, pump=pump)
    for _ in range(3):
        channel.put(b"x")
    waiting = [gevent.spawn(channel.put, b"waited") for _ in range(3)]
    wait_for(lambda: channel.statistics().putters == 3, "the putters")
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        # the connect goes out, and the hub does not run before the queue has been emptied
        with real_threads(1) as spawn:
            connected = spawn(channel.connect, endpoint_of(peer))
            busy_until(lambda: channel.statistics().pending == 0)
            with pytest.raises(Full):
                channel.put_nowait(b"pushed in")
            assert channel.statistics().putters == 3
            connected.get(timeout=LIMIT)
        gevent.joinall(waiting, timeout=LIMIT, raise_error=True)
        assert [peer.recv() for _ in range(6)] == [b"x"] * 3 + [b"waited"] * 3


def test_get_nowait_leaves_messages_to_those_who_wait(pump):
    """As many messages as there are waiting getters are theirs, even before they have run."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=channel.last_endpoint) as peer:
        waiting = [gevent.spawn(channel.get) for _ in range(3)]
        wait_for(lambda: channel.statistics().getters == 3, "the getters")
        for i in range(3):
            peer.send(b"%d" % i)
        busy_until(lambda: channel.statistics().waiting == 3)
        with pytest.raises(Empty):
            channel.get_nowait()
        gevent.joinall(waiting, timeout=LIMIT, raise_error=True)
        assert [waiter.get() for waiter in waiting] == [b"0", b"1", b"2"]


def test_a_waiter_that_leaves_does_not_hold_up_the_line(pump):
    """When the head of the line is killed at the moment its turn comes, the next one has the turn."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=channel.last_endpoint) as peer:
        for _ in range(50):
            waiting = wait_in_line([gevent.spawn], [channel.get] * 3, lambda: channel.statistics().getters)
            peer.send(b"x")
            busy_until(lambda: channel.statistics().waiting == 1)
            waiting[0].kill(block=False)
            assert not waiting[1].ready()
            # either the kill or its turn came first
            wait_for(lambda w=waiting: b"x" in (w[0].value, w[1].value), "one of the two to get it")
            gevent.killall(waiting)
            wait_for(lambda: channel.statistics().getters == 0, "all to leave")


def test_put_and_get_in_the_hub_never_wait(pump):
    """In a callback of the loop put and get raise Full and Empty at once, however long they were told to wait."""
    full = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
    empty = zgreen.Channel(zmq.PULL, pump=pump)
    outcomes = []

    def in_the_hub():
        assert gevent.getcurrent() is gevent.get_hub()
        outcomes.append(outcome(full.put, b"fits"))
        outcomes.append(outcome(full.put, b"x"))
        outcomes.append(outcome(full.put, b"x", timeout=LIMIT))
        outcomes.append(outcome(full.send, b"x"))
        outcomes.append(outcome(empty.get))
        outcomes.append(outcome(empty.get, timeout=LIMIT))
        outcomes.append("end")

    gevent.get_hub().loop.run_callback(in_the_hub)
    wait_for(lambda: outcomes[-1:] == ["end"], "the callback")
    assert [type(each) for each in outcomes[1:-1]] == [Full, Full, Full, Empty, Empty]
    assert outcomes[0] is None
    assert full.close(0) == 1


def test_many_puts_and_gets_in_the_hub(pump):
    """Where a greenlet would breathe, a callback of the loop goes on; its messages arrive."""
    source = zgreen.Channel(zmq.PUSH, bind="inproc://from-the-hub", pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://from-the-hub", pump=pump)
    got = []

    def put_500():
        for i in range(500):
            source.put(b"%d" % i)

    def get_500():
        got.extend(int(target.get()) for _ in range(500))

    gevent.get_hub().loop.run_callback(put_500)
    wait_for(lambda: target.statistics().waiting == 500, "the messages")
    gevent.get_hub().loop.run_callback(get_500)
    wait_for(lambda: got, "the callback")
    assert got == list(range(500))
