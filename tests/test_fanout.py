"""Fanout: one channel, many subscriptions; over real sockets, seen from the publisher's side where it matters."""

from __future__ import annotations

import gc
import weakref

import gevent
import pytest
import zmq
from gevent.queue import Empty
from support import LIMIT, break_pump, channels, drained, inproc, outcome, real_threads, wait_for
from test_fork import WAYS, output

import zgreen
from zgreen.patterns._prefixes import PrefixIndex


@pytest.fixture
def pair(pump):
    """A PUSH channel and a fan-out of its PULL channel: what is put arrives, whoever has subscribed by then."""
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    with zgreen.Fanout(pull) as fan:
        yield push, fan


@pytest.fixture
def published(pump):
    """An XPUB channel that is told of each single subscription, and a fan-out of its SUB channel."""
    endpoint = inproc()
    xpub = zgreen.Channel("xpub", bind=endpoint, options={zmq.XPUB_VERBOSER: 1}, pump=pump)
    sub = zgreen.Channel("sub", connect=endpoint, pump=pump)
    with zgreen.Fanout(sub) as fan:
        yield xpub, fan


def events(xpub, number):
    """So many subscriptions and unsubscriptions, as the publisher hears of them."""
    return [xpub.get(timeout=LIMIT) for _ in range(number)]


def put_and_wait(push, fan, *messages):
    """Put, and return when the fan-out has delivered them all."""
    before = fan.statistics().received
    for message in messages:
        push.put(message)
    wait_for(lambda: fan.statistics().received == before + len(messages), "delivery")
    gevent.sleep(0)


# ---------------------------------------------------------------- delivery


def test_each_message_once_to_all_that_match(pair):
    push, fan = pair
    news, both, other, everything = (
        fan.subscribe("news"), fan.subscribe("news", b"news.it", "weather", "n"), fan.subscribe("sport"),
        fan.subscribe(""),
    )  # fmt: skip
    put_and_wait(push, fan, "news.it 1", "weather 2", "sport 3", "new 4")
    assert drained(news) == [b"news.it 1"]
    assert drained(both) == [b"news.it 1", b"weather 2", b"new 4"]
    assert drained(other) == [b"sport 3"]
    assert drained(everything) == [b"news.it 1", b"weather 2", b"sport 3", b"new 4"]
    assert fan.statistics() == (4, 6, 4, 0, 9, 0, 0, 0, 0, 0)


def test_the_first_frame_is_the_topic_and_may_be_as_short_as_the_prefix(pair):
    push, fan = pair
    sub = fan.subscribe("abc")
    put_and_wait(push, fan, [b"abc", b"1"], [b"ab", b"c2"], [b"abcd", b"3"], b"abc", b"", [b"", b"abc"])
    assert drained(sub) == [(b"abc", b"1"), (b"abcd", b"3"), b"abc"]
    assert fan.statistics().unmatched == 3


def test_all_get_the_same_object(pair):
    push, fan = pair
    subs = [fan.subscribe(prefix) for prefix in ("", "t", "to", "topic") for _ in range(5)]
    put_and_wait(push, fan, b"topic" + bytes(1000), [b"topic", bytes(1000)])
    for kind, frames in ((bytes, b"topic" + bytes(1000)), (tuple, (b"topic", bytes(1000)))):
        got = [sub.get_nowait() for sub in subs]
        assert type(got[0]) is kind
        assert got[0] == frames
        assert all(message is got[0] for message in got)


def test_multipart_gives_tuples_always(pump):
    pull, push = channels(pump, zmq.PULL, zmq.PUSH, multipart=True)
    with zgreen.Fanout(pull) as fan, fan.subscribe("") as sub:
        push.put("one")
        assert sub.get(timeout=LIMIT) == (b"one",)


def test_10_000_subscriptions(pair):
    """10,000 greenlets wait; each gets each message, and others run all the time."""
    push, fan = pair
    number, rounds = 10_000, 3
    subs = [fan.subscribe("all", f"own.{n}.") for n in range(number)]
    got = [[] for _ in subs]

    def reader(sub, mine):
        for message in sub:
            mine.append(message)

    readers = [gevent.spawn(reader, sub, mine) for sub, mine in zip(subs, got, strict=True)]
    turns, longest = 0, 0

    def other():
        nonlocal turns, longest
        while True:
            before = fan.statistics().delivered
            gevent.sleep(0)
            turns += 1
            longest = max(longest, fan.statistics().delivered - before)

    beside = gevent.spawn(other)
    for n in range(rounds):
        push.put(f"all {n}")
    push.put("own.77.x")
    wait_for(lambda: sum(map(len, got)) == number * rounds + 1, "all of it")
    beside.kill()
    assert turns >= number * rounds / 500
    assert longest <= 500
    expected = [b"all %d" % n for n in range(rounds)]
    assert got.pop(77) == [*expected, b"own.77.x"]
    assert all(mine == expected for mine in got)
    fan.close()
    gevent.joinall(readers, timeout=LIMIT)
    assert all(reader.successful() for reader in readers)


def test_matching_costs_no_look_at_other_prefixes():
    """Counted: how often a hash of a prefix is asked for. 100,000 prefixes that do not match add nothing."""

    class Topic(bytes):
        looks = 0

        def __getitem__(self, key):
            Topic.looks += 1
            return bytes(self)[key]

    index: PrefixIndex[int] = PrefixIndex()
    for member, prefix in enumerate([b"a", b"abc", b"abcdef", bytes(1000)]):
        index.add(prefix, member)

    def looks():
        Topic.looks = 0
        assert index.match(Topic(b"abcde")) == [0, 1]
        return Topic.looks

    few = looks()
    for number in range(100_000):
        index.add(b"%06d" % number, number)
    assert len(index) == 100_004
    assert looks() == few == 2
    for number in range(100_000):
        assert index.discard(b"%06d" % number, number)
    assert looks() == 2
    assert len(index) == 4


def test_a_subscription_ends_in_the_middle_of_a_delivery(pair):
    """The delivery breathes; who closes then, or comes then, gets nothing of that message."""
    push, fan = pair
    subs = [fan.subscribe("") for _ in range(3000)]
    late = []

    def meanwhile(first):
        assert (first.qsize(), subs[-1].qsize()) == (1, 0)
        subs[-1].close()
        late.append(fan.subscribe(""))

    subs[0].rawlink(meanwhile)
    push.put("x")
    wait_for(lambda: fan.statistics().delivered == 2999)
    assert [sub.qsize() for sub in subs] == [1] * 2999 + [0]
    assert late[0].qsize() == 0
    assert isinstance(outcome(subs[-1].get), zgreen.ClosedError)


# ---------------------------------------------------------------- slow and dead subscribers


def test_drop_oldest(pair):
    push, fan = pair
    slow, quick = fan.subscribe("", maxsize=3), fan.subscribe("")
    put_and_wait(push, fan, *"abcdefg")
    assert (drained(slow), slow.dropped) == ([b"e", b"f", b"g"], 4)
    assert (drained(quick), quick.dropped) == ([b"a", b"b", b"c", b"d", b"e", b"f", b"g"], 0)
    assert fan.statistics().dropped == 4
    slow.close()
    assert fan.statistics().dropped == 4


def test_drop_newest(pair):
    push, fan = pair
    slow, quick = fan.subscribe("", maxsize=3, overflow="drop_newest"), fan.subscribe("", maxsize=None)
    put_and_wait(push, fan, *"abcdefg")
    assert (drained(slow), slow.dropped) == ([b"a", b"b", b"c"], 4)
    assert quick.qsize() == 7
    put_and_wait(push, fan, "h")
    assert drained(slow) == [b"h"]
    assert fan.statistics().delivered == 3 + 1 + 8


def test_disconnect(pair):
    push, fan = pair
    slow, quick = fan.subscribe("", maxsize=3, overflow="disconnect"), fan.subscribe("")
    put_and_wait(push, fan, *"abcdefg")
    assert slow.closed
    assert slow.dropped == 1
    assert fan.statistics() == (1, 1, 7, 0, 10, 1, 1, 0, 0, 0)
    assert [slow.get() for _ in range(3)] == [b"a", b"b", b"c"]
    for _ in range(2):
        with pytest.raises(zgreen.ClosedError, match="was disconnected"):
            slow.get(timeout=LIMIT)
    with pytest.raises(zgreen.ClosedError, match="was disconnected"):
        next(slow)
    slow.close()
    assert quick.qsize() == 7


def test_the_last_one_disconnected_is_unsubscribed_upstream(published):
    xpub, fan = published
    slow = fan.subscribe("t", maxsize=1, overflow="disconnect")
    assert events(xpub, 1) == [b"\1t"]
    xpub.put("t1")
    xpub.put("t2")
    assert events(xpub, 1) == [b"\0t"]
    assert slow.closed
    again = fan.subscribe("t")
    assert events(xpub, 1) == [b"\1t"]
    xpub.put("t3")
    assert again.get(timeout=LIMIT) == b"t3"


def test_a_dead_subscriber_costs_the_others_nothing(pair):
    """Its greenlet was killed, nobody closed it: it is full, and that is all."""
    push, fan = pair
    dead, alive = fan.subscribe("", maxsize=2), fan.subscribe("")
    greenlet = gevent.spawn(dead.get)
    wait_for(lambda: dead._inbox._links)
    greenlet.kill()
    got = []
    reader = gevent.spawn(lambda: [got.append(message) for message in alive])
    put_and_wait(push, fan, *(b"%d" % n for n in range(500)))
    wait_for(lambda: len(got) == 500)
    assert got == [b"%d" % n for n in range(500)]
    assert alive.dropped == 0
    assert (dead.qsize(), dead.dropped) == (2, 498)
    reader.kill()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "disconnect"])
def test_who_waits_is_not_slow(pair, overflow):
    """A burst does not overtake those who wait for messages, however little room they have."""
    push, fan = pair
    subs = [fan.subscribe("", maxsize=1, overflow=overflow) for _ in range(250)]
    got = [[] for _ in subs]

    def reader(sub, mine):
        for message in sub:
            mine.append(message)

    readers = [gevent.spawn(reader, sub, mine) for sub, mine in zip(subs, got, strict=True)]
    wait_for(lambda: all(sub._inbox._links for sub in subs))
    for n in range(50):
        push.put(b"%d" % n)
    wait_for(lambda: fan.statistics().received == 50)
    wait_for(lambda: all(sub._inbox._links and not sub.qsize() for sub in subs))
    assert all(mine == [b"%d" % n for n in range(50)] for mine in got)
    assert fan.statistics().dropped == 0
    gevent.killall(readers)


def test_a_callback_that_takes_nothing_does_not_hold_up_the_others(pair):
    push, fan = pair
    stubborn, other = fan.subscribe("", maxsize=1), fan.subscribe("")
    calls = []

    def again(sub):
        calls.append(sub)
        sub.rawlink(again)

    stubborn.rawlink(again)
    for n in range(20):
        push.put(b"%d" % n)
    assert [other.get(timeout=LIMIT) for _ in range(20)] == [b"%d" % n for n in range(20)]
    assert set(calls) == {stubborn}
    stubborn.unlink(again)


def test_a_callback_that_fails_is_reported(pair, hub_errors):
    push, fan = pair
    sub = fan.subscribe("")
    sub.rawlink(lambda _: 1 // 0)
    waiting = gevent.spawn(sub.get)
    wait_for(lambda: len(sub._inbox._links) == 2)
    push.put("x")
    assert waiting.get(timeout=LIMIT) == b"x"
    assert isinstance(hub_errors.pop()[1], ZeroDivisionError)


# ---------------------------------------------------------------- what libzmq is told


def test_upstream_is_told_of_the_first_and_the_last_only(published):
    xpub, fan = published
    first, second = fan.subscribe("a", "b", "a"), fan.subscribe("b", b"c")
    second.close()
    second.close()
    third = fan.subscribe("b")
    first.close()
    third.close()
    fan.subscribe("end")
    told = events(xpub, 7)
    assert told == [b"\1a", b"\1b", b"\1c", b"\0c", b"\0a", b"\0b", b"\1end"]


def test_many_at_once_still_one_upstream(published):
    xpub, fan = published
    coming = [gevent.spawn(fan.subscribe, "same") for _ in range(50)]
    subs = [greenlet.get(timeout=LIMIT) for greenlet in coming]
    gevent.joinall([gevent.spawn(sub.close) for sub in subs], timeout=LIMIT, raise_error=True)
    with fan.subscribe("end"):
        assert events(xpub, 3) == [b"\1same", b"\0same", b"\1end"]


def test_10_000_subscriptions_are_one_to_the_publisher(published):
    xpub, fan = published
    subs = [fan.subscribe("all") for _ in range(10_000)]
    for sub in subs:
        sub.close()
    fan.subscribe("end")
    assert events(xpub, 3) == [b"\1all", b"\0all", b"\1end"]


def test_closed_by_a_callback_of_the_hub(published):
    """Where nobody may wait, libzmq is told a moment later."""
    xpub, fan = published
    sub = fan.subscribe("t")
    assert events(xpub, 1) == [b"\1t"]
    sub.rawlink(lambda ready: ready.close())
    xpub.put("t1")
    assert events(xpub, 1) == [b"\0t"]
    assert list(sub) == [b"t1"]


def test_killed_while_it_subscribes_leaves_nothing(published):
    xpub, fan = published
    for _ in range(20):
        greenlet = gevent.spawn(fan.subscribe, "killed")
        gevent.sleep(0)
        assert fan.statistics().subscriptions == 1
        greenlet.kill()
        if not isinstance(greenlet.value, gevent.GreenletExit):  # it had subscribed by then
            greenlet.value.close()
        assert fan.statistics().subscriptions == 0
    fan.subscribe("end")
    told = events(xpub, 41)
    told.remove(b"\1end")
    assert told == [b"\1killed", b"\0killed"] * 20


def test_killed_while_it_closes_unsubscribes_all_the_same(published):
    xpub, fan = published
    prefixes = [f"{number}." for number in range(20)]
    sub = fan.subscribe(*prefixes)
    assert len(events(xpub, 20)) == 20
    greenlet = gevent.spawn(sub.close)
    gevent.sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, gevent.GreenletExit)
    assert sorted(events(xpub, 20)) == sorted(b"\0" + prefix.encode() for prefix in prefixes)


def test_a_subscription_of_the_users_own_is_not_ours(published):
    xpub, fan = published
    fan.channel.subscribe("own")
    sub = fan.subscribe("own", "x")
    sub.close()
    sub = fan.subscribe("x")
    events(xpub, 5)
    xpub.put("own 1")
    xpub.put("x 2")
    assert sub.get(timeout=LIMIT) == b"x 2"
    assert fan.statistics().unmatched == 1


def test_pull_tells_nobody(pair):
    push, fan = pair
    with fan.subscribe("a") as sub:
        put_and_wait(push, fan, "b", "a")
        assert drained(sub) == [b"a"]


# ---------------------------------------------------------------- get


def test_get_waits_and_times_out(pair):
    push, fan = pair
    sub = fan.subscribe("")
    with pytest.raises(Empty):
        sub.get(timeout=0.01)
    with pytest.raises(Empty):
        sub.get_nowait()
    with pytest.raises(Empty):
        sub.get(timeout=0)
    with pytest.raises(ValueError, match="non-negative"):
        sub.get(timeout=-1)
    getters = [gevent.spawn(sub.get) for _ in range(5)]
    wait_for(lambda: len(sub._inbox._links) == 5)
    for n in range(5):
        push.put(f"{n}")
    assert [getter.get(timeout=LIMIT) for getter in getters] == [b"0", b"1", b"2", b"3", b"4"]


def test_killed_and_timed_out_getters_take_nothing(pair):
    push, fan = pair
    sub = fan.subscribe("", maxsize=None)
    got = []

    def reader(limit):
        with gevent.Timeout(limit, False):
            while True:
                got.append(sub.get())

    total = 2000
    victims = [gevent.spawn(reader, 0.001 * n) for n in range(1, 40)]
    stable = gevent.spawn(reader, LIMIT)
    for n in range(total):
        push.put(b"%d" % n)
        if n % 50 == 0 and victims:
            victims.pop().kill(block=False)
        if n % 10 == 0:
            gevent.sleep(0)
    wait_for(lambda: len(got) == total, "all messages")
    stable.kill()
    gevent.joinall(victims, timeout=LIMIT)
    assert sorted(map(int, got)) == list(range(total))
    assert not sub._inbox._links


def test_gevent_wait_on_subscriptions(pair):
    push, fan = pair
    a, b = fan.subscribe("a"), fan.subscribe("b")
    assert gevent.wait([a, b], timeout=0.01) == []
    gevent.spawn(push.put, "b1")
    assert gevent.wait([a, b], count=1, timeout=LIMIT) == [b]
    assert b.get_nowait() == b"b1"
    assert not a._inbox._links + b._inbox._links


# ---------------------------------------------------------------- the end


def test_close_of_a_subscription(pair):
    push, fan = pair
    with fan.subscribe("") as sub:
        waiting = gevent.spawn(outcome, fan.subscribe("never").get)
        put_and_wait(push, fan, "1", "2")
        assert not sub.closed
    assert sub.closed
    put_and_wait(push, fan, "3")
    assert list(sub) == [b"1", b"2"]
    with pytest.raises(zgreen.ClosedError, match="Subscription to b''> was closed"):
        sub.get()
    waiting.kill()


def test_close_wakes_who_waits(pair):
    _, fan = pair
    sub = fan.subscribe("")
    waiting = [gevent.spawn(outcome, sub.get) for _ in range(3)]
    loop = gevent.spawn(list, sub)
    wait_for(lambda: len(sub._inbox._links) == 4)
    sub.close()
    for greenlet in waiting:
        assert isinstance(greenlet.get(timeout=LIMIT), zgreen.ClosedError)
    assert loop.get(timeout=LIMIT) == []


def test_close_of_the_fan_leaves_the_channel(published):
    xpub, fan = published
    subs = [fan.subscribe("a"), fan.subscribe("b")]
    assert events(xpub, 2) == [b"\1a", b"\1b"]
    fan.close()
    fan.close()
    assert sorted(events(xpub, 2)) == [b"\0a", b"\0b"]
    assert fan.closed
    for sub in subs:
        with pytest.raises(zgreen.ClosedError, match=r"Fanout of <zgreen\.Channel SUB"):
            sub.get(timeout=LIMIT)
    with pytest.raises(zgreen.ClosedError, match="Fanout"):
        fan.subscribe("a")
    assert not fan.channel.closed
    assert wait_for(lambda: fan.channel.statistics().getters == 0)
    with zgreen.Fanout(fan.channel) as second, second.subscribe("c") as sub:
        assert events(xpub, 1) == [b"\1c"]
        xpub.put("c")
        assert sub.get(timeout=LIMIT) == b"c"


def test_the_end_of_the_channel_ends_all(pair):
    push, fan = pair
    sub, idle = fan.subscribe("a"), fan.subscribe("b")
    waiting = gevent.spawn(outcome, idle.get)
    put_and_wait(push, fan, "a1")
    fan.channel.close()
    error = waiting.get(timeout=LIMIT)
    assert isinstance(error, zgreen.ClosedError)
    assert "PULL" in str(error)
    assert list(sub) == [b"a1"]
    assert fan.closed
    with pytest.raises(zgreen.ClosedError, match="PULL"):
        fan.subscribe("c")
    fan.close()


def test_a_broken_pump(hub_errors, caplog):
    pump = zgreen.Pump("breaks").start()
    pull, _ = channels(pump, zmq.PULL, zmq.PUSH)
    fan = zgreen.Fanout(pull)
    subs = [fan.subscribe(""), fan.subscribe("")]
    gevent.sleep(0)
    cause = RuntimeError("on purpose")
    break_pump(pump, cause)
    for sub in subs:
        with pytest.raises(zgreen.BrokenError) as caught:
            sub.get(timeout=LIMIT)
        assert caught.value.__cause__ is cause
        with pytest.raises(zgreen.BrokenError):
            next(sub)
    with pytest.raises(zgreen.BrokenError):
        fan.subscribe("")


@pytest.mark.parametrize("way", WAYS)
def test_in_the_child_of_a_fork(way):
    """All ends there, and goes on in the parent."""
    lines = output(
        """
        push, pull = pair()
        fan = zgreen.Fanout(pull)
        sub = fan.subscribe("")
        push.put("before")
        while not sub.qsize():
            gevent.sleep(0.001)
        waiting = gevent.spawn(what, fan.subscribe("never").get)
        gevent.sleep(0.001)
        pid = fork()
        if pid == 0:
            print("child", waiting.get(timeout=LIMIT), what(fan.subscribe, "x"), what(sub.get), what(sub.get),
                  what(lambda: list(sub)), flush=True)
            os._exit(0)
        print(status_of(pid))
        push.put("after")
        print("parent", sub.get(), sub.get(), waiting.dead)
        """,
        way,
    )
    assert lines == [
        "child ForkedError ForkedError b'before' ForkedError ForkedError", "0", "parent b'before' b'after' False",
    ]  # fmt: skip


def test_delivery_that_is_killed_ends_all(pair):
    _, fan = pair
    sub = fan.subscribe("")
    gevent.sleep(0)
    fan._greenlet.kill()
    with pytest.raises(zgreen.BrokenError, match="GreenletExit"):
        sub.get(timeout=LIMIT)


def test_an_error_of_the_delivery_ends_all_and_is_reported(pair, monkeypatch, hub_errors):
    source, fan = pair

    def fail(message):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(fan, "_deliver", fail)
    sub = fan.subscribe("")
    source.put("message")
    with pytest.raises(zgreen.BrokenError, match="oops"):
        sub.get(timeout=LIMIT)
    gevent.sleep(0)
    ((_, error),) = hub_errors
    assert isinstance(error, ZeroDivisionError)
    hub_errors.clear()


def test_a_forgotten_subscription_leaves_by_itself(published):
    xpub, fan = published
    kept = fan.subscribe("kept")
    forgotten = [fan.subscribe("gone", "kept") for _ in range(10)]
    assert events(xpub, 2) == [b"\1kept", b"\1gone"]
    seen = [weakref.ref(sub) for sub in forgotten]
    del forgotten
    gc.collect()
    assert not [ref for ref in seen if ref()]
    xpub.put("kept 1")
    assert events(xpub, 1) == [b"\0gone"]
    assert kept.get(timeout=LIMIT) == b"kept 1"
    assert fan.statistics() == (1, 1, 1, 0, 1, 0, 0, 10, 0, 0)


def test_a_fan_out_that_was_never_used_is_forgotten(pump):
    channel = zgreen.Channel("pull", pump=pump)
    zgreen.Fanout(channel)
    gc.collect()
    zgreen.Fanout(channel).close()


# ---------------------------------------------------------------- wrong calls


@pytest.mark.parametrize("kind", ["push", "pub", "dealer", "xsub"])
def test_the_wrong_socket(pump, kind):
    channel = zgreen.Channel(kind, pump=pump)
    with pytest.raises(TypeError, match=kind.upper()):
        zgreen.Fanout(channel)


def test_no_channel():
    with pytest.raises(TypeError, match=r"zgreen\.Channel, not Queue"):
        zgreen.Fanout(gevent.queue.Queue())


def test_a_closed_channel(pump):
    channel = zgreen.Channel("sub", pump=pump)
    channel.close()
    with pytest.raises(zgreen.ClosedError):
        zgreen.Fanout(channel)


def test_two_of_one_channel(pair):
    _, fan = pair
    fan.subscribe("")
    with pytest.raises(ValueError, match="another Fanout"):
        zgreen.Fanout(fan.channel)


@pytest.mark.parametrize("get", [
    lambda channel: channel.get(timeout=LIMIT), lambda channel: channel.get(timeout=0), zgreen.Channel.get_nowait,
    lambda channel: channel.get_many(3, timeout=LIMIT), zgreen.Channel.peek, zgreen.Channel.peek_nowait, next,
    zgreen.Channel.ready, lambda channel: channel.rawlink(print), lambda channel: zgreen.select(channel, timeout=0),
])  # fmt: skip
def test_its_channel_gives_messages_to_nobody_else(pair, get):
    push, fan = pair
    sub = fan.subscribe("")
    put_and_wait(push, fan, "1")
    with pytest.raises(RuntimeError, match=r"<zgreen\.Fanout of .* gets from it.*subscribe there") as caught:
        get(fan.channel)
    assert not isinstance(caught.value, zgreen.ClosedError)
    assert (sub.get(timeout=LIMIT), fan.channel.qsize()) == (b"1", 0)


@pytest.mark.parametrize("get", [
    lambda channel: channel.get(timeout=LIMIT), zgreen.Channel.get_nowait, lambda channel: channel.get(False), next,
])  # fmt: skip
def test_what_waits_in_its_channel_is_nobody_elses_either(pair, get):
    push, fan = pair
    push.put("1")
    wait_for(lambda: fan.channel.qsize() == 1, "the message")  # nobody has subscribed, so it stays
    with pytest.raises(RuntimeError, match="gets from it"):
        get(fan.channel)
    assert fan.subscribe("").get(timeout=LIMIT) == b"1"


def test_a_link_to_its_channel_can_be_undone(pair):
    """Though none can be made."""
    _, fan = pair
    fan.channel.unlink(print)


def test_its_channel_tells_of_its_end(pair):
    _, fan = pair
    fan.channel.close()
    assert not fan.closed  # nobody has subscribed, so it gets nothing from the channel, not even its end
    for get in (fan.channel.get, fan.channel.peek, lambda: fan.channel.get_many(1)):
        with pytest.raises(zgreen.ClosedError):
            get()


def test_its_channel_in_another_thread(pair):
    _, fan = pair
    with real_threads(1) as spawn:
        for function in (fan.channel.get, lambda: fan.channel.get_many(1)):
            error = spawn(outcome, function).get(timeout=LIMIT)
            assert isinstance(error, RuntimeError)
            assert "Fanout" in str(error)


@pytest.mark.parametrize("end", ["close", "forget"])
def test_its_channel_is_free_again(pump, end):
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    fan = zgreen.Fanout(pull)
    if end == "close":
        fan.close()
    del fan
    gc.collect()
    push.put_many(["1", "2", "3"])
    assert pull.peek(timeout=LIMIT) == b"1"
    assert pull.get(timeout=LIMIT) == b"1"
    assert zgreen.select(pull, timeout=LIMIT) == (pull, b"2")
    assert pull.get_many(2, timeout=LIMIT) == [b"3"]
    zgreen.Fanout(pull).close()


def test_a_channel_that_others_wait_for_is_refused(pump):
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    waiter = gevent.spawn(pull.get)
    wait_for(lambda: pull.statistics().getters, "the waiter")
    with pytest.raises(ValueError, match=r"1 greenlets wait in its get\(\)"):
        zgreen.Fanout(pull)
    push.put("for the waiter")
    assert waiter.get(timeout=LIMIT) == b"for the waiter"
    zgreen.Fanout(pull).close()


def test_what_is_in_hand_at_the_close_is_counted(pair):
    """The first of three messages fills an inbox somebody waits at, so the rest must stay in hand until it was told."""
    push, fan = pair
    sub = fan.subscribe("", maxsize=1)
    sub.rawlink(lambda _: fan.close())
    push.put_many(["1", "2", "3"])
    push.flush(LIMIT)
    wait_for(lambda: fan.closed, "the close")
    assert sub.get(timeout=LIMIT) == b"1"
    statistics = fan.statistics()
    assert (statistics.delivered, statistics.received - statistics.unmatched) == (1, 1)
    left = [fan.channel.get(timeout=LIMIT) for _ in range(3 - statistics.received)]
    assert left == [b"%d" % number for number in range(statistics.received + 1, 4)]


@pytest.mark.parametrize(("args", "options", "error", "says"), [
    ((), {}, TypeError, "at least one prefix"),
    ((1,), {}, TypeError, "str or bytes, not int"),
    ((["a"],), {}, TypeError, "str or bytes, not list"),
    (("a", None), {}, TypeError, "str or bytes, not NoneType"),
    (("a",), {"maxsize": 0}, ValueError, "maxsize must be 1 or more"),
    (("a",), {"maxsize": "1"}, TypeError, "maxsize must be an int"),
    (("a",), {"overflow": "block"}, ValueError, "drop_oldest, drop_newest, disconnect, not 'block'"),
])  # fmt: skip
def test_wrong_arguments(pair, args, options, error, says):
    _, fan = pair
    with pytest.raises(error, match=says):
        fan.subscribe(*args, **options)
    assert fan.statistics() == (0,) * 10


def test_another_thread_is_refused(pair):
    _, fan = pair
    sub = fan.subscribe("")
    with real_threads(1) as spawn:
        for function in (lambda: fan.subscribe("x"), fan.close, sub.get, sub.close, sub.ready,
                         lambda: zgreen.Fanout(fan.channel)):  # fmt: skip
            assert isinstance(spawn(outcome, function).get(timeout=LIMIT), RuntimeError)
    assert not sub.closed
