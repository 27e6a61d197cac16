"""What pushes back on whom: the send queue, ZeroMQ's high-water marks, the receive queue; and what is dropped.

The peers are other processes which read and write exactly when the test says so.
"""

import logging
from collections import Counter

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import ANY, LIMIT, Peer, cpu_seconds, resident_bytes, unanswered, wait_for

import zgreen

# Small buffers of the kernel's, so that few messages fill the way to the peer.
SMALL = {zmq.SNDHWM: 10, zmq.RCVHWM: 10, zmq.SNDBUF: 16384, zmq.RCVBUF: 16384}
IDLE = 0.05  # of a core


def put_all(channel, numbers, size=0, to=None):
    padding = bytes(size)
    for number in numbers:
        message = b"%d " % number + padding
        channel.put(message if to is None else [to, message])


def assert_idle(seconds=1):
    """This process, the owning thread and libzmq's included, does next to nothing for a while."""
    before = cpu_seconds()
    gevent.sleep(seconds)
    used = cpu_seconds() - before
    assert used < IDLE * seconds, f"{used / seconds:.1%} of a core"


def is_stuck(channel, send_maxsize):
    """Whether a putter waits although the owning thread has done all that it can."""
    s = channel.statistics()
    return s.putters and s.pending == send_maxsize


def wait_until_stuck(channel, send_maxsize):
    """Wait until libzmq takes no more: a putter waits, and the count of what was sent has stopped."""

    def steady():
        sent = channel.statistics().sent
        gevent.sleep(0.05)
        return is_stuck(channel, send_maxsize) and channel.statistics().sent == sent

    wait_for(steady, "the peer's high-water mark")


# ---------------------------------------------------------------------- sending


def test_200_000_puts_to_a_slow_peer(pump):
    """All arrive, in order; the memory is bounded by the queues although the peer is 200 MB behind."""
    number, size, bursts = 200_000, 1000, 10
    # the kernel's buffers would grow to 10 MB and more
    kernel = {zmq.SNDBUF: 100_000, zmq.RCVBUF: 100_000}
    channel = zgreen.Channel(zmq.PUSH, bind=ANY, options=kernel, pump=pump)
    with Peer(zmq.PULL, connect=channel.last_endpoint, options=kernel) as peer:
        peer_start = resident_bytes()
        putter = gevent.spawn(put_all, channel, range(number), size)
        most = 0
        for burst in range(bursts):
            wait_until_stuck(channel, 1000)
            most = max(most, resident_bytes())
            assert peer.ask("read", number // bursts) == (burst + 1) * number // bursts
        putter.get(timeout=LIMIT)
    # two queues of 1,000 messages of 1 kB each, and what an allocator keeps for itself
    assert most - peer_start < 30e6, f"{(most - peer_start) / 1e6:.0f} MB more"


def test_puts_without_a_peer_wait_and_lose_nothing(pump):
    """With no peer the queue fills and putters wait; with the first peer all go on, in order."""
    channel = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=10, pump=pump)
    putter = gevent.spawn(put_all, channel, range(1000))
    wait_for(lambda: is_stuck(channel, 10), "the queue to be full")
    with pytest.raises(Full):
        channel.put_nowait(b"x")
    with pytest.raises(Full):
        channel.put(b"x", timeout=0.01)
    assert channel.statistics().sent == 0
    with Peer(zmq.PULL, connect=channel.last_endpoint) as peer:
        assert peer.ask("read", 1000) == 1000
        putter.get(timeout=LIMIT)


@pytest.mark.parametrize("send_maxsize", [1, 2, None])
def test_send_maxsize(pump, send_maxsize):
    """So many messages can be put that libzmq does not take; None: any number."""
    channel = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=send_maxsize, pump=pump)
    fits = send_maxsize or 20_000
    for i in range(fits):
        channel.put_nowait(b"%d" % i)
    assert channel.statistics().pending == fits
    if send_maxsize is not None:
        with pytest.raises(Full):
            channel.put_nowait(b"x")
    with Peer(zmq.PULL, connect=channel.last_endpoint) as peer:
        assert peer.ask("read", fits) == fits
        peer.start("read", 1000)
        put_all(channel, range(fits, fits + 1000))
        assert peer.finish() == fits + 1000
    assert channel.statistics().sent == fits + 1000


def test_flush_that_times_out_takes_no_room(pump):
    """However often flush() gives up, the send queue has the room that it had."""
    channel = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=2, pump=pump)
    channel.put(b"0")
    for _ in range(5):
        assert not channel.flush(0.001)
    wait_for(lambda: not unanswered(pump._thread), "the end of the flushes, of which nothing is left")
    channel.put_nowait(b"1")
    with pytest.raises(Full):
        channel.put_nowait(b"2")
    with Peer(zmq.PULL, connect=channel.last_endpoint) as peer:
        assert peer.ask("read", 2) == 2
    assert channel.flush(LIMIT)


# ---------------------------------------------------------------------- receiving


@pytest.mark.parametrize("recv_maxsize", [1, 10])
def test_nobody_gets(pump, recv_maxsize):
    """The receive queue fills, then ZeroMQ's high-water mark stops the peer; nothing is lost."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, options=SMALL, recv_maxsize=recv_maxsize, pump=pump)
    with Peer(zmq.PUSH, connect=channel.last_endpoint, options=SMALL) as peer:
        sent = peer.ask("fill", 100_000, 1000)
        assert recv_maxsize < sent < 100_000
        assert channel.statistics().waiting == channel.statistics().received == recv_maxsize
        assert_idle()
        assert [int(channel.get(timeout=LIMIT).split()[0]) for _ in range(sent)] == list(range(sent))
        with pytest.raises(Empty):
            channel.get_nowait()
        peer.ask("send", 1, 0)
        assert int(channel.get(timeout=LIMIT).split()[0]) == sent


def test_unbounded_receive_queue(pump):
    """recv_maxsize=None: all that comes is received, whether or not somebody gets it."""
    channel = zgreen.Channel(zmq.PULL, bind=ANY, recv_maxsize=None, pump=pump)
    with Peer(zmq.PUSH, connect=channel.last_endpoint) as peer:
        assert peer.ask("send", 20_000, 10) == 20_000
        wait_for(lambda: channel.statistics().waiting == 20_000, "all")
        assert [int(channel.get().split()[0]) for _ in range(20_000)] == list(range(20_000))


@pytest.mark.parametrize("recv_maxsize", [1, 7, 1000])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_overflow_drops_and_counts(pump, overflow, recv_maxsize):
    """A full receive queue keeps the newest, or the oldest, as asked; the rest is counted, and the peer never waits."""
    number = 5000
    channel = zgreen.Channel(zmq.PULL, bind=ANY, recv_maxsize=recv_maxsize, overflow=overflow, pump=pump)
    with Peer(zmq.PUSH, connect=channel.last_endpoint, options=SMALL) as peer:
        assert peer.ask("send", number, 100) == number
        wait_for(lambda: channel.statistics().received == number, "all to be received")
        s = channel.statistics()
        assert (s.dropped, s.waiting) == (number - recv_maxsize, recv_maxsize)
        got = [int(channel.get_nowait().split()[0]) for _ in range(recv_maxsize)]
        first = number - recv_maxsize if overflow == "drop_oldest" else 0
        assert got == list(range(first, first + recv_maxsize))
        peer.ask("send", 1, 0)
        assert int(channel.get(timeout=LIMIT).split()[0]) == number


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_overflow_with_a_reader_counts_exactly(pump, overflow):
    """With somebody getting meanwhile: what was got and what was dropped is what was received; order is kept."""
    number = 20_000
    channel = zgreen.Channel(zmq.PULL, bind=ANY, recv_maxsize=5, overflow=overflow, pump=pump)
    got = []

    def read():
        while True:
            got.append(int(channel.get().split()[0]))
            gevent.sleep(0)

    reader = gevent.spawn(read)
    with Peer(zmq.PUSH, connect=channel.last_endpoint) as peer:
        peer.ask("send", number, 0)
        wait_for(lambda: channel.statistics().received == number, "all to be received")
        wait_for(lambda: channel.statistics().waiting == 0, "the rest to be got")
        reader.kill()
    assert got == sorted(set(got))
    assert len(got) + channel.statistics().dropped == number
    assert got[-1] == number - 1 or overflow == "drop_newest"


# ---------------------------------------------------------------------- sockets that say they could, and cannot


def subscribed(channel, peer):
    """Wait until the peer's subscription has arrived: something that is put reaches it."""

    def arrived():
        channel.put(b"probe")
        return peer.ask("take")

    wait_for(arrived, "the subscription")


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB])
def test_nodrop_with_a_slow_subscriber(pump, kind):
    """With XPUB_NODROP a subscriber at its high-water mark stops the putters: nothing lost, no busy waiting."""
    number = 500
    options = {**SMALL, zmq.XPUB_NODROP: 1}
    channel = zgreen.Channel(kind, bind=ANY, options=options, send_maxsize=5, pump=pump)
    slow = Peer(zmq.SUB, connect=channel.last_endpoint, options={**SMALL, zmq.SUBSCRIBE: ""})
    fast = Peer(zmq.SUB, connect=channel.last_endpoint, options={**SMALL, zmq.SUBSCRIBE: ""})
    with slow, fast:
        subscribed(channel, slow)
        subscribed(channel, fast)
        fast.start("read", number, "probe")
        putter = gevent.spawn(put_all, channel, range(number), 10_000)
        wait_until_stuck(channel, 5)
        assert_idle()
        stuck_at = channel.statistics().sent
        slow.start("read", number, "probe")
        assert slow.finish() == number
        assert fast.finish() == number
        putter.get(timeout=LIMIT)
        assert stuck_at < channel.statistics().sent
    assert channel.statistics().refused == 0


def router(pump, **options):
    return zgreen.Channel(zmq.ROUTER, bind=ANY, options={**SMALL, zmq.ROUTER_MANDATORY: 1}, pump=pump, **options)


def dealer(channel, name):
    """A peer of *channel*, which knows it by *name*."""
    peer = Peer(zmq.DEALER, connect=channel.last_endpoint, options={**SMALL, zmq.ROUTING_ID: name})
    peer.ask("reply", "hello")
    assert channel.get(timeout=LIMIT) == [name.encode(), b"hello"]
    return peer


def test_unknown_peer_reaches_who_sent(pump):
    """ROUTER_MANDATORY and nobody by that name: EHOSTUNREACH in the result of send()."""
    channel = router(pump)
    with pytest.raises(zmq.ZMQError) as refused:
        channel.send([b"nobody", b"x"]).get(timeout=LIMIT)
    assert refused.value.errno == zmq.EHOSTUNREACH
    assert channel.statistics().refused == 1
    with dealer(channel, "somebody") as peer:
        channel.send([b"somebody", b"x"]).get(timeout=LIMIT)
        assert peer.ask("recv") == ["x"]


def test_unknown_peer_reaches_on_error(pump):
    """What was put goes to on_error with its error, each message once; the messages between are delivered."""
    channel = router(pump)
    refused = Counter()
    channel.on_error = lambda error, message: refused.update([(error.errno, tuple(message))])
    with dealer(channel, "known") as peer:
        peer.start("read", 100)
        for i in range(100):
            channel.put([b"unknown%d" % i, b"frame", b""])
            channel.put([b"known", b"%d" % i])
        assert peer.finish() == 100
        assert channel.flush(LIMIT)
        wait_for(lambda: len(refused) == 100, "the errors")
    assert refused == {(zmq.EHOSTUNREACH, (b"unknown%d" % i, b"frame", b"")): 1 for i in range(100)}
    assert channel.statistics().refused == 100


def test_unknown_peer_reaches_the_log(pump, caplog):
    """Without on_error the log says that a message was not sent, and why."""
    channel = router(pump)
    with caplog.at_level(logging.WARNING, "zgreen"):
        channel.put([b"nobody", b"x"])
        wait_for(lambda: caplog.records, "the log")
    assert "not sent" in caplog.text
    assert "unreachable" in caplog.text


def test_an_on_error_that_fails_is_logged(pump, caplog):
    """An exception of on_error does not stop the rest."""
    channel = router(pump)
    calls = []

    def on_error(error, message):
        calls.append(message)
        raise ValueError("mine")

    channel.on_error = on_error
    with caplog.at_level(logging.ERROR, "zgreen"):
        channel.put([b"nobody", b"1"])
        channel.put([b"nobody", b"2"])
        wait_for(lambda: len(calls) == 2, "both")
    assert caplog.text.count("on_error has failed") == 2


def test_router_with_one_peer_at_its_high_water_mark(pump):
    """With ROUTER_MANDATORY the message stays pending until that peer reads, and the CPU idles meanwhile."""
    number = 300
    channel = router(pump, send_maxsize=5)
    with dealer(channel, "slow") as slow, dealer(channel, "other") as other:
        putter = gevent.spawn(put_all, channel, range(number), 10_000, b"slow")
        wait_until_stuck(channel, 5)
        assert 0 < channel.statistics().sent < number
        behind = gevent.spawn(channel.put, [b"other", b"0"])
        assert_idle()
        other.ask("reply", "receiving goes on")
        assert channel.get(timeout=LIMIT) == [b"other", b"receiving goes on"]
        slow.start("read", number)
        assert slow.finish() == number
        assert other.ask("read", 1) == 1
        putter.get(timeout=LIMIT)
        behind.get(timeout=LIMIT)
    assert channel.statistics().refused == 0
