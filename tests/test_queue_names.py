"""The names of gevent's queues on a channel and on a monitor; limits in bytes; subscribe; what repr() says."""

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import ANY, LIMIT, break_pump, channels, inproc, outcome, real_threads, stuck, wait_for

from zgreen import BrokenError, Channel, ClosedError


def received(channel, count):
    """Wait until so many messages can be got."""
    wait_for(lambda: channel.qsize() >= count, f"{count} messages")


# ---------------------------------------------------------------------- what can be got


def test_sizes(pump):
    """Of what can be got; an empty channel is not a false one."""
    server, client = channels(pump, "PULL", "PUSH")
    assert (server.qsize(), len(server), server.empty(), bool(server)) == (0, 0, True, True)
    client.put_many([b"a", b"b"])
    received(server, 2)
    assert (server.qsize(), len(server), server.empty(), bool(server)) == (2, 2, False, True)
    server.close()
    assert server.qsize() == 2
    server.get_many(2)
    assert server.empty()
    assert bool(server)


def test_full_is_of_what_can_be_put(pump):
    channel = stuck(pump, send_maxsize=2)
    channel.put(b"a")
    assert not channel.full()
    channel.put(b"b")
    assert channel.full()
    assert channel.qsize() == 0
    assert channel.empty()
    assert not stuck(pump, send_maxsize=None).full()
    limited = stuck(pump, send_maxbytes=2)
    limited.put(b"a")
    assert not limited.full()
    limited.put(b"b")
    assert limited.full()
    assert not Channel("SUB", pump=pump).full()


def test_what_a_publisher_hears_of_subscribers_is_not_to_be_got(pump):
    publisher, subscriber = channels(pump, "PUB", "SUB")
    subscriber.subscribe("")
    wait_for(lambda: publisher._lanes.pipe.waiting(), "the subscription, at which nobody has looked")
    assert publisher.qsize() == 0
    assert publisher.wait_subscriber(timeout=LIMIT)
    assert publisher.qsize() == 0


@pytest.mark.parametrize("options", [{}, {"overflow": "drop_oldest"}, {"recv_maxbytes": 1}])
def test_peek(pump, options):
    """It gives what get gives next, and leaves it there."""
    server, client = channels(pump, "PULL", "PUSH", **options)
    client.put_many([[b"a", b"b"], b"c"])
    received(server, 1)
    seen = server.peek()
    assert seen == [b"a", b"b"]
    seen.append(b"mine")
    assert server.peek_nowait() == server.get() == [b"a", b"b"]
    received(server, 1)
    assert server.peek(timeout=0) == server.peek(block=False) == b"c"
    assert server.get_nowait() == b"c"


def test_peek_of_nothing(pump):
    server, client = channels(pump, "PULL", "PUSH")
    with pytest.raises(Empty):
        server.peek_nowait()
    with pytest.raises(Empty):
        server.peek(timeout=0.01)
    with pytest.raises(ValueError, match="timeout"):
        server.peek(timeout=-1)
    with pytest.raises(TypeError, match="a PUSH socket cannot receive"):
        client.peek()


def test_peek_waits_in_line_and_has_the_next_one_go_on(pump):
    """One that peeks, one that gets: both have the message."""
    server, client = channels(pump, "PULL", "PUSH")
    peeker = gevent.spawn(server.peek)
    wait_for(lambda: server.statistics().getters == 1)
    getter = gevent.spawn(server.get)
    wait_for(lambda: server.statistics().getters == 2)
    client.put(b"a")
    assert peeker.get(timeout=LIMIT) == getter.get(timeout=LIMIT) == b"a"


def test_peek_leaves_what_others_wait_for(pump):
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(server.get)
    wait_for(lambda: server.statistics().getters == 1)
    client.put(b"a")
    assert outcome(server.peek_nowait).__class__ is Empty
    assert getter.get(timeout=LIMIT) == b"a"


@pytest.mark.parametrize(("end", "kind"), [("kill", KeyError), ("close", ClosedError), ("break", BrokenError)])
def test_peek_ended(pump, end, kind):
    server = Channel("PULL", pump=pump)
    peeker = gevent.spawn(outcome, server.peek)
    wait_for(lambda: server.statistics().getters)
    if end == "kill":
        peeker.kill(KeyError())
    elif end == "close":
        server.close()
    else:
        break_pump(pump, ZeroDivisionError("test"))
    assert type(peeker.get(timeout=LIMIT)) is kind


def test_peek_and_get_in_foreign_threads(pump):
    """A look never changes the order."""
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=5)
    numbers = [b"%d" % number for number in range(2000)]

    def get():
        return [server.get(timeout=LIMIT) for _ in numbers]

    with real_threads(1) as spawn:
        getter = spawn(get)
        putter = gevent.spawn(client.put_many, numbers)
        while not getter.ready():
            outcome(server.peek_nowait)
            gevent.sleep(0.001)  # a hub that never sleeps keeps the GIL from other threads for seconds
        assert getter.get() == numbers
    putter.get(timeout=LIMIT)


def test_peek_does_not_drop(pump):
    """A small message with a large one behind it, which alone is more than the limit."""
    server, client = channels(pump, "PULL", "PUSH", overflow="drop_oldest", recv_maxbytes=10)
    client.put_many([b"a", b"b" * 100])
    received(server, 2)
    assert server.peek() == server.peek() == b"a"
    assert server.get_many(5) == [b"a", b"b" * 100]
    assert server.statistics().dropped == 0


def test_peek_of_an_xpub(pump):
    """What wait_subscriber has looked at, and what it has not."""
    publisher, subscriber = channels(pump, "XPUB", "SUB", multipart=True)
    subscriber.subscribe("a")
    received(publisher, 1)
    assert publisher.peek() == [b"\x01a"]
    assert publisher.wait_subscriber("a", timeout=LIMIT)
    assert publisher.peek() == publisher.get() == [b"\x01a"]
    with pytest.raises(Empty):
        publisher.peek_nowait()


# ---------------------------------------------------------------------- limits in bytes


def test_send_maxbytes(pump):
    """There is room while less than that waits: one message always goes in."""
    channel = stuck(pump, send_maxbytes=10)
    channel.put(b"x" * 100)
    assert channel.full()
    assert channel.statistics().pending_bytes == 100
    with pytest.raises(Full):
        channel.put_nowait(b"")
    other = stuck(pump, send_maxbytes=10)
    with pytest.raises(Full) as full:
        other.put_many([b"1234"] * 5, timeout=0)
    assert full.value.messages_put == 3


def test_recv_maxbytes(pump):
    """No more are read then; all come in the end."""
    server, client = channels(pump, "PULL", "PUSH", recv_maxbytes=10)
    messages = [b"%04d" % number for number in range(50)]
    client.put_many(messages)
    assert client.flush(LIMIT)
    received(server, 3)
    assert server.qsize() == 3
    assert server.statistics().waiting_bytes == 12
    assert [server.get(timeout=LIMIT) for _ in messages] == messages


@pytest.mark.parametrize("name", ["send_maxbytes", "recv_maxbytes"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)])
def test_limits_in_bytes_that_are_none(pump, name, value, error):
    with pytest.raises(error, match=name):
        Channel("PAIR", pump=pump, **{name: value})


# ---------------------------------------------------------------------- subscribe


@pytest.mark.parametrize(
    ("topics", "expected"),
    [("a", [b"a1"]), (b"b", [b"b1"]), (["a", b"b"], [b"a1", b"b1"]), ("", [b"a1", b"b1", b"c1"])],
)
def test_subscribe(pump, topics, expected):
    publisher = Channel("PUB", bind=inproc(), pump=pump)
    subscriber = Channel(zmq.SUB, connect=publisher.last_endpoint, subscribe=topics, pump=pump)
    for topic in [topics] if isinstance(topics, (str, bytes)) else topics:
        assert publisher.wait_subscriber(topic, timeout=LIMIT)
    publisher.put_many([b"a1", b"b1", b"c1"])
    assert [subscriber.get(timeout=LIMIT) for _ in expected] == expected


def test_subscribe_to_something_else(pump):
    with pytest.raises(TypeError, match="a PUSH socket has no subscriptions"):
        Channel("PUSH", subscribe="a", pump=pump)
    with pytest.raises(TypeError, match="subscribe must be a topic or an iterable"):
        Channel("SUB", subscribe=5, pump=pump)
    with pytest.raises(TypeError, match="a topic is str or bytes, not int"):
        Channel("SUB", subscribe=["a", 5], pump=pump)


# ---------------------------------------------------------------------- repr


def test_repr_shows_the_state(pump):
    """str(), in errors and logs, is the short name."""
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=7, send_maxsize=None)
    name = client.last_endpoint
    client.put_many([b"a", b"b"])
    received(server, 2)
    assert str(server) == f"<zgreen.Channel PULL {name}>"
    assert repr(server) == f"<zgreen.Channel PULL {name}: open, 2 of 7 messages to get>"
    assert repr(client) == f"<zgreen.Channel PUSH {name}: open, 0 messages to send>"
    server.close()
    assert repr(server) == f"<zgreen.Channel PULL {name}: closed, 2 of 7 messages to get>"
    pair = Channel("PAIR", pump=pump)
    assert repr(pair) == "<zgreen.Channel PAIR: open, 0 of 1000 messages to send, 0 of 1000 messages to get>"
    break_pump(pump, ZeroDivisionError("test"))
    assert repr(pair).startswith("<zgreen.Channel PAIR: broken, ")


def test_repr_while_it_is_being_closed(pump):
    channel = stuck(pump)
    channel.put(b"a")
    closer = gevent.spawn(channel.close, LIMIT)
    wait_for(lambda: channel.closed)
    assert repr(channel) == f"{str(channel)[:-1]}: closing, 1 of 1000 messages to send>"
    channel.close(0)
    closer.get(timeout=LIMIT)


# ---------------------------------------------------------------------- a monitor


def test_names_of_a_monitor(pump):
    server = Channel("PULL", bind=ANY, pump=pump)
    with server.monitor(maxsize=50) as events:
        assert (events.qsize(), len(events), events.empty(), events.full(), bool(events)) == (0, 0, True, False, True)
        with pytest.raises(Empty):
            events.peek_nowait()
        waiting = gevent.spawn(events.peek)
        Channel("PUSH", connect=server.last_endpoint, pump=pump)
        first = waiting.get(timeout=LIMIT)
        assert first.name == "ACCEPTED"
        assert events.peek(timeout=0) == first
        assert len(events) == events.qsize() >= 1
        assert not events.empty()
        wait_for(lambda: len(events) >= 2)
        batch = events.get_many(2)
        assert batch[0] == first
        assert len(batch) == 2
    while not events.empty():
        events.get_many(100)
    with pytest.raises(ClosedError):
        events.get_many(100)


def test_a_monitor_that_is_full(pump):
    server = Channel("PULL", bind=ANY, pump=pump)
    with server.monitor(maxsize=1) as events:
        Channel("PUSH", connect=server.last_endpoint, pump=pump)
        wait_for(events.full)
        assert f"1 of 1 events wait, {events.dropped} dropped" in repr(events)
