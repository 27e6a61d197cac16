"""put_many and get_many of a channel: order, room, ends, kills, turns; nothing is lost and nothing comes twice."""

import time
from itertools import pairwise

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import (
    LIMIT,
    block_hub_until,
    break_pump,
    channels,
    inproc,
    outcome,
    raw_socket,
    real_threads,
    stuck,
    wait_for,
)

import zgreen
from zgreen import BrokenError, Channel, ClosedError
from zgreen._engine._api import MANY

NUMBERS = [b"%d" % number for number in range(2500)]


def get_all(channel, count):
    """So many messages, with get_many."""
    found = []
    while len(found) < count:
        found += channel.get_many(count - len(found), timeout=LIMIT)
    return found


def received(channel, count):
    """Wait until so many messages can be got."""
    wait_for(lambda: channel.statistics().waiting >= count, f"{count} messages")


# ---------------------------------------------------------------------- put_many


@pytest.mark.parametrize("maxsize", [1, 7, 1000, None])
def test_all_in_order(pump, maxsize):
    """Whatever room there is."""
    server, client = channels(pump, "PULL", "PUSH", send_maxsize=maxsize, recv_maxsize=maxsize)
    getter = gevent.spawn(get_all, server, len(NUMBERS))
    client.put_many(NUMBERS)
    assert getter.get(timeout=LIMIT) == NUMBERS


def test_any_messages_of_any_iterable(pump):
    """What put takes, put_many takes; the caller's lists are its own afterwards."""
    server, client = channels(pump, "PULL", "PUSH")
    frames = [b"a", "ä"]
    client.put_many(iter(["text", frames, memoryview(b"view"), (b"one",), b"plain"]))
    frames.append(b"later")
    assert get_all(server, 5) == [b"text", [b"a", "ä".encode()], b"view", b"one", b"plain"]


def test_none_goes_if_one_is_no_message(pump):
    channel = stuck(pump)
    with pytest.raises(TypeError, match="message 2 of put_many: a message cannot be int: 5"):
        channel.put_many([b"a", "b", 5, b"c"])
    assert channel.statistics().pending == 0


@pytest.mark.parametrize("one", [b"message", "message", bytearray(b"m"), memoryview(b"m")])
def test_one_message_is_not_many(pump, one):
    """It would be taken apart into characters."""
    with pytest.raises(TypeError, match="use put"):
        stuck(pump).put_many(one)


def test_the_list_stays_as_it_was_and_may_be_changed_meanwhile(pump):
    """It is the caller's: what is put is what was in it at the call."""
    server = Channel("PULL", bind=inproc(), pump=pump)
    channel = stuck(pump, send_maxsize=2)
    messages = ["a", "b", "c", "d"]
    putter = gevent.spawn(channel.put_many, messages)
    wait_for(lambda: channel.statistics().putters, "the wait for room")
    assert messages == ["a", "b", "c", "d"]
    messages[2:] = ["x"]
    channel.connect(server.last_endpoint)
    putter.get(timeout=LIMIT)
    assert get_all(server, 4) == [b"a", b"b", b"c", b"d"]


def test_the_timeout_is_for_all_messages(monkeypatch, pump):
    """Each wait for room has what is left of it, not all of it again."""
    left = []

    def put(_message, _block, timeout):
        left.append(timeout)
        now = time.monotonic()
        wait_for(lambda: time.monotonic() > now, "the clock")

    channel = stuck(pump, send_maxsize=1)
    monkeypatch.setattr(channel._lanes, "put", put)
    channel.put_many([b"a", b"b", b"c"], timeout=LIMIT)
    assert len(left) == 2
    assert LIMIT >= left[0] > left[1]


def test_nothing_to_put(pump):
    channel = stuck(pump)
    channel.put_many([])
    assert channel.statistics().pending == 0


def test_put_many_to_what_cannot_send(pump):
    with pytest.raises(TypeError, match="a SUB socket cannot send"):
        Channel("SUB", pump=pump).put_many([b"a"])


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_full(pump, timeout):
    """What there is room for is put."""
    channel = stuck(pump, send_maxsize=5)
    with pytest.raises(Full) as full:
        channel.put_many(NUMBERS[:9], timeout)
    assert full.value.messages_put == 5
    assert channel.statistics().pending == 5
    with pytest.raises(Full) as full:
        channel.put_many(NUMBERS[:9], timeout)
    assert full.value.messages_put == 0


@pytest.mark.parametrize(
    ("end", "kind"), [("kill", KeyError), ("timeout", gevent.Timeout), ("close", ClosedError), ("break", BrokenError)]
)
def test_ended_while_it_waits_for_room(pump, end, kind):
    """The error says how many were put, and those are in the queue, once."""
    channel = stuck(pump, send_maxsize=5)

    def put():
        try:
            with gevent.Timeout(0.01 if end == "timeout" else None):
                channel.put_many(NUMBERS[:9])
        except (Exception, gevent.Timeout) as error:  # noqa: BLE001 (the test looks at it)
            return error

    putter = gevent.spawn(put)
    wait_for(lambda: channel.statistics().putters or putter.dead, "the putter")
    if end == "kill":
        putter.kill(KeyError())
    elif end == "close":
        assert channel.close(0) == 5
    elif end == "break":
        break_pump(pump, ZeroDivisionError("test"))
    error = putter.get(timeout=LIMIT)
    assert type(error) is kind
    assert error.messages_put == 5
    if end in ("kill", "timeout"):
        assert channel.close(0) == 5


def test_every_put_is_accounted_for(pump):
    """Killed again and again while it waits for room: the numbers add up to what comes."""
    server, client = channels(pump, "PULL", "PUSH", send_maxsize=3, recv_maxsize=3)
    done, found = 0, []

    def put():
        client.put_many(NUMBERS[done:200])

    while done < 200:
        putter = gevent.spawn(outcome, put)
        wait_for(lambda: client.statistics().putters or putter.dead, "the putter")  # noqa: B023
        putter.kill(KeyError())
        error = putter.get(timeout=LIMIT)
        done += error.messages_put if isinstance(error, KeyError) else 200 - done
        if server.statistics().waiting:
            found += server.get_many(100)
    found += get_all(server, 200 - len(found))
    assert found == NUMBERS[:200]


def test_others_get_their_turn_beside_endless_batches(pump):
    channel = Channel(zmq.PUSH, bind=inproc(), send_maxsize=None, pump=pump)
    batches = 0

    def put():
        nonlocal batches
        while True:
            channel.put_many(NUMBERS[:10])
            batches += 1

    putter = gevent.spawn(put)
    seen = []
    for _ in range(20):
        gevent.sleep(0)
        seen.append(batches)
    putter.kill()
    assert max(b - a for a, b in pairwise(seen)) <= 12  # a hundred messages, and what began before


def test_one_endless_batch_gives_turns(pump):
    channel = Channel(zmq.PUSH, bind=inproc(), send_maxsize=None, pump=pump)
    putter = gevent.spawn(channel.put_many, [b"x"] * (20 * MANY))
    seen = [0]
    while not putter.ready():
        gevent.sleep(0)
        seen.append(channel.statistics().pending)
    assert max(b - a for a, b in pairwise(seen)) <= 2 * MANY


def test_places_are_kept_for_those_who_wait(pump):
    """A put that has waited longer is not overtaken."""
    server = Channel("PULL", bind=inproc(), pump=pump)
    client = stuck(pump, send_maxsize=2)
    client.put_many([b"before"] * 2)
    first = gevent.spawn(client.put, b"first")
    wait_for(lambda: client.statistics().putters == 1)
    second = gevent.spawn(client.put_many, NUMBERS[:5])
    wait_for(lambda: client.statistics().putters == 2)
    client.connect(server.last_endpoint)
    assert get_all(server, 8) == [b"before", b"before", b"first", *NUMBERS[:5]]
    gevent.joinall([first, second], timeout=LIMIT, raise_error=True)


# ---------------------------------------------------------------------- get_many


def test_what_is_there_up_to_limit(pump):
    server, client = channels(pump, "PULL", "PUSH")
    client.put_many(NUMBERS[:5])
    received(server, 5)
    assert server.get_many(2) == NUMBERS[:2]
    assert server.get_many(10**30) == NUMBERS[2:5]
    with pytest.raises(Empty):
        server.get_many(3, timeout=0)
    with pytest.raises(Empty):
        server.get_many(3, timeout=0.01)


def test_it_waits_for_the_first(pump):
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(server.get_many, 10)
    wait_for(lambda: server.statistics().getters)
    client.put(b"a")
    assert getter.get(timeout=LIMIT) == [b"a"]


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), (None, TypeError)]
)
def test_limits_that_are_none(pump, limit, error):
    with pytest.raises(error, match="limit must be"):
        Channel("PULL", pump=pump).get_many(limit)


@pytest.mark.parametrize("call", [lambda c: c.get_many(1, -1), lambda c: c.put_many([b"a"], -1)])
def test_timeouts_that_are_none(pump, call):
    with pytest.raises(ValueError, match="timeout"):
        call(Channel("PAIR", pump=pump))


def test_get_many_of_what_cannot_receive(pump):
    with pytest.raises(TypeError, match="a PUSH socket cannot receive"):
        Channel("PUSH", pump=pump).get_many(1)


def test_a_batch_is_whole_although_others_are_due(pump):
    """The limit of operations between two turns does not cut it."""
    server, client = channels(pump, "PULL", "PUSH")
    for _ in range(5):
        client.put_many(NUMBERS[:300])
        received(server, 300)
        assert server.get_many(300) == NUMBERS[:300]


def test_a_batch_is_whole_although_others_are_due_as_its_wait_ends(pump):
    """The others had their turn while it waited. It has no more than its limit either."""
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(server.get_many, 10)
    wait_for(lambda: server.statistics().getters, "the getter")
    client.put_many(NUMBERS[:300])  # more than may come between two turns
    block_hub_until(lambda: server.statistics().waiting == 300, "the messages")
    assert getter.get(timeout=LIMIT) == NUMBERS[:10]
    assert server.get_many(290) == NUMBERS[10:300]


def test_close_after_messages(pump):
    """What was received can be got, and then there is the error."""
    server, client = channels(pump, "PULL", "PUSH")
    client.put_many(NUMBERS[:5])
    received(server, 5)
    server.close(0)
    assert server.get_many(3) == NUMBERS[:3]
    assert server.get_many(3) == NUMBERS[3:5]
    with pytest.raises(ClosedError):
        server.get_many(3)


@pytest.mark.parametrize("end", ["kill", "timeout", "close"])
def test_ended_while_it_waits_for_a_message(pump, end):
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(outcome, server.get_many, 5, timeout=0.01 if end == "timeout" else None)
    wait_for(lambda: server.statistics().getters or getter.dead)
    if end == "kill":
        getter.kill(KeyError())
    elif end == "close":
        server.close(0)
    assert type(getter.get(timeout=LIMIT)) is {"kill": KeyError, "timeout": Empty, "close": ClosedError}[end]
    if end != "close":
        client.put(b"a")
        assert server.get_many(5, timeout=LIMIT) == [b"a"]


def test_messages_are_left_to_those_who_wait(pump):
    """One that gets many takes nothing that an earlier getter waits for."""
    server, client = channels(pump, "PULL", "PUSH")
    getters = []
    for number in range(3):
        getters.append(gevent.spawn(server.get_many, 10))
        wait_for(lambda: server.statistics().getters == number + 1)  # noqa: B023
    client.put_many(NUMBERS[:30])
    batches = [getter.get(timeout=LIMIT) for getter in getters]
    firsts = [int(batch[0]) for batch in batches]
    assert firsts == sorted(firsts)
    taken = [message for batch in batches for message in batch]
    assert sorted(taken + get_all(server, 30 - len(taken)), key=int) == NUMBERS[:30]


def test_both_from_foreign_threads(pump):
    """All threads together: each message once, each thread's in order."""
    server, client = channels(pump, "PULL", "PUSH", send_maxsize=10, recv_maxsize=10)
    with real_threads(4) as spawn:
        gets = [spawn(get_all, server, 1000) for _ in range(2)]
        puts = [spawn(client.put_many, [b"%d %d" % (name, i) for i in range(1000)]) for name in range(2)]
        for put in puts:
            put.get(timeout=LIMIT)
        found = [get.get(timeout=LIMIT) for get in gets]
    assert len({*found[0], *found[1]}) == 2000
    for messages in found:
        for name in (b"0", b"1"):
            mine = [int(message.split()[1]) for message in messages if message.startswith(name)]
            assert mine == sorted(mine)


def test_close_while_a_foreign_thread_waits_for_room(pump):
    channel = stuck(pump, send_maxsize=5)
    with real_threads(1) as spawn:
        putter = spawn(outcome, channel.put_many, NUMBERS[:9])
        wait_for(lambda: channel.statistics().putters)
        assert channel.close(0) == 5
        error = putter.get(timeout=LIMIT)
    assert type(error) is ClosedError
    assert error.messages_put == 5


# ---------------------------------------------------------------------- where the short way is closed


def test_batches_are_traced(pump):
    """Somebody who listens is told of each message."""
    events = []
    pump.on_event = events.append
    server, client = channels(pump, "PULL", "PUSH")
    client.put_many(NUMBERS[:300])
    received(server, 300)
    assert server.get_many(200) == NUMBERS[:200]
    assert server.get_many(200) == NUMBERS[200:300]
    wait_for(lambda: sum(event.kind == "got" for event in events) == 300)
    assert [event.size for event in events if event.kind == "put"] == [len(number) for number in NUMBERS[:300]]


def test_a_traced_batch_that_meets_the_end_is_not_lost(pump):
    """The end is told by the next call."""
    pump.on_event = lambda _: None
    server, client = channels(pump, "PULL", "PUSH")
    client.put_many(NUMBERS[:5])
    received(server, 5)
    server.close(0)
    assert server.get_many(9) == NUMBERS[:5]
    with pytest.raises(ClosedError):
        server.get_many(9)


def test_batches_of_an_xpub(pump):
    """It looks at each message that comes, for wait_subscriber."""
    channel = Channel("XPUB", bind=inproc(), pump=pump)
    subscriber = Channel("SUB", connect=channel.last_endpoint, pump=pump)
    for topic in ("a", "b", "c"):
        subscriber.subscribe(topic)
    assert channel.wait_subscriber("c", timeout=LIMIT)
    assert channel.get_many(2) == [b"\x01a", b"\x01b"]
    assert channel.get_many(5) == [b"\x01c"]
    channel.put_many([b"a1", b"x", b"c1"])
    assert get_all(subscriber, 2) == [b"a1", b"c1"]


def test_multipart(pump):
    server, client = channels(pump, "PULL", "PUSH", multipart=True)
    client.put_many([b"a", [b"b", b"c"]])
    assert get_all(server, 2) == [[b"a"], [b"b", b"c"]]


def test_peers_of_another_library(pump):
    with raw_socket(zmq.PULL, bind="tcp://127.0.0.1:*") as socket:
        endpoint = socket.last_endpoint.rstrip(b"\0").decode()
        client = Channel("PUSH", connect=endpoint, pump=pump)
        client.put_many(NUMBERS[:10])
        assert [socket.recv() for _ in range(10)] == NUMBERS[:10]


def test_in_a_child_of_a_fork_it_says_so():
    """As put and get do."""
    channel = Channel("PUSH", bind=inproc())
    channel._lanes.forked()
    with pytest.raises(zgreen.ForkedError) as error:
        channel.put_many([b"a"])
    assert error.value.messages_put == 0
