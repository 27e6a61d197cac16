"""Fanout as a hub of topics: whole topics, a change in one step, what is kept and replayed, the queue's other names."""

from __future__ import annotations

import gc
import itertools

import gevent
import pytest
import zmq
from gevent.queue import Empty
from hypothesis import given, settings
from hypothesis import strategies as st
from support import LIMIT, channels, drained, inproc, outcome, real_threads, wait_for
from test_fanout import events, put_and_wait

import zgreen
from zgreen.patterns._history import History
from zgreen.patterns._prefixes import PrefixIndex, Wanted


@pytest.fixture
def pair(pump):
    """A PUSH channel and a fan-out of its PULL channel, which keeps three messages of each topic."""
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    with zgreen.Fanout(pull, keep=3) as fan:
        yield push, fan


@pytest.fixture
def published(pump):
    """An XPUB channel that is told of each single subscription, and its SUB channel."""
    endpoint = inproc()
    xpub = zgreen.Channel("xpub", bind=endpoint, options={zmq.XPUB_VERBOSER: 1}, pump=pump)
    return xpub, zgreen.Channel("sub", connect=endpoint, pump=pump)


# ---------------------------------------------------------------- whole topics


def test_exact_takes_whole_topics(pair):
    push, fan = pair
    red, reds, both = fan.subscribe("red", exact=True), fan.subscribe("red"), fan.subscribe("red", "blue", exact=True)
    put_and_wait(push, fan, [b"red", b"1"], [b"redder", b"2"], "red", [b"re", b"3"], [b"blue", b"4"])
    assert drained(red) == [(b"red", b"1"), b"red"]
    assert drained(reds) == [(b"red", b"1"), (b"redder", b"2"), b"red"]
    assert drained(both) == [(b"red", b"1"), b"red", (b"blue", b"4")]
    assert (red.exact, reds.exact) == (True, False)
    assert fan.statistics()[1:4] == (2, 5, 1)


def test_what_libzmq_brings_beyond_a_whole_topic_is_counted(published):
    xpub, sub = published
    with zgreen.Fanout(sub) as fan, fan.subscribe("red", exact=True) as red:
        assert events(xpub, 1) == [b"\1red"]
        xpub.put("redder")
        xpub.put("red")
        assert red.get(timeout=LIMIT) == b"red"
        assert fan.statistics().unmatched == 1


def test_upstream_hears_once_of_a_prefix_that_is_a_topic_too(published):
    xpub, sub = published
    with zgreen.Fanout(sub) as fan:
        exact, prefix = fan.subscribe("a", exact=True), fan.subscribe("a")
        exact.close()
        fan.subscribe("b").close()
        prefix.close()
        fan.subscribe("end")
        assert events(xpub, 5) == [b"\1a", b"\1b", b"\0b", b"\0a", b"\1end"]


def test_exact_costs_one_look_for_all_topics():
    index: PrefixIndex[int] = PrefixIndex()
    for number in range(1000):
        index.add(bytes(number), number, True)
    assert index._lengths == []
    assert list(index.match(bytes(500))) == [500]


# ---------------------------------------------------------------- change


def test_change_neither_loses_nor_doubles(pair):
    push, fan = pair
    sub = fan.subscribe("a", "b", maxsize=None)
    put_and_wait(push, fan, "a1", "c1")
    sub.change("a", "c")
    put_and_wait(push, fan, "a2", "b2", "c2")
    sub.change("")
    put_and_wait(push, fan, "a3", "d3")
    assert drained(sub) == [b"a1", b"a2", b"c2", b"a3", b"d3"]
    assert sub.prefixes == (b"",)
    assert set(fan.topics()) == {b""}


def test_change_between_topics_and_prefixes(pair):
    push, fan = pair
    sub = fan.subscribe("a")
    sub.change("a", exact=True)
    put_and_wait(push, fan, "ab", "a")
    sub.change("b")
    put_and_wait(push, fan, "bb", "b")
    sub.change("b", exact=False)
    put_and_wait(push, fan, "bc")
    assert drained(sub) == [b"a", b"b", b"bc"]


def test_upstream_has_the_new_before_it_loses_the_old(published):
    xpub, sub = published
    with zgreen.Fanout(sub) as fan:
        one, other = fan.subscribe("a", "b"), fan.subscribe("b")
        one.change("ab", "c", "b")
        other.change("ab")
        assert events(xpub, 5) == [b"\1a", b"\1b", b"\1ab", b"\1c", b"\0a"]
        one.change("ab")
        assert sorted(events(xpub, 2)) == [b"\0b", b"\0c"]


def test_a_stream_through_many_changes_is_whole(published):
    """All messages match what is wanted before and after each change."""
    xpub, sub = published
    number = 2000
    with zgreen.Fanout(sub) as fan, fan.subscribe("", maxsize=None) as subscription:
        events(xpub, 1)
        gevent.spawn(lambda: [gevent.sleep(0) if n % 20 == 0 else xpub.put(b"abc %d" % n) for n in range(number)])
        for prefix in itertools.cycle(["a", "ab", "abc", ""]):
            subscription.change(prefix)
            if fan.statistics().received >= number - number // 20:
                break
            gevent.sleep(0)
        got = [int(message[4:]) for message in drained(subscription)]
    assert got == [n for n in range(number) if n % 20]


def test_killed_while_it_changes(published):
    xpub, sub = published
    with zgreen.Fanout(sub) as fan:
        subscription = fan.subscribe("a")
        greenlet = gevent.spawn(subscription.change, "b", "c")
        gevent.sleep(0)
        greenlet.kill()
        assert subscription.prefixes == (b"b", b"c")
        assert events(xpub, 1) == [b"\1a"]
        assert sorted(events(xpub, 3)) == [b"\0a", b"\1b", b"\1c"]


def test_change_by_a_callback_of_the_hub(published):
    xpub, sub = published
    with zgreen.Fanout(sub) as fan:
        subscription = fan.subscribe("a")
        subscription.rawlink(lambda ready: ready.change("b"))
        assert events(xpub, 1) == [b"\1a"]
        xpub.put("a")
        assert sorted(events(xpub, 2)) == [b"\0a", b"\1b"]


def test_wrong_changes(pair):
    _, fan = pair
    sub = fan.subscribe("a")
    for wrong, says in (((), "at least one"), ((1,), "str or bytes")):
        with pytest.raises(TypeError, match=says):
            sub.change(*wrong)
    with pytest.raises(TypeError, match="exact must be True or False"):
        sub.change("a", exact="yes")
    assert sub.prefixes == (b"a",)
    sub.close()
    with pytest.raises(zgreen.ClosedError, match="was closed"):
        sub.change("b")
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, sub.change, "b").get(timeout=LIMIT), RuntimeError)


# ---------------------------------------------------------------- what is kept


def test_replay(pair):
    push, fan = pair
    put_and_wait(push, fan, *([b"a", b"%d" % n] for n in range(5)), [b"b", b"0"], [b"a", b"5"])
    assert drained(fan.subscribe("")) == []
    sub = fan.subscribe("a", replay=3)
    assert drained(sub) == [(b"a", b"3"), (b"a", b"4"), (b"a", b"5")]
    both = fan.subscribe("", replay=2)
    put_and_wait(push, fan, [b"c", b"0"])
    assert drained(both) == [(b"a", b"4"), (b"b", b"0"), (b"a", b"5"), (b"c", b"0")]
    assert drained(fan.subscribe("a", exact=True, replay=1)) == [(b"a", b"5")]
    assert drained(fan.subscribe("", replay=3, maxsize=2)) == [(b"a", b"5"), (b"c", b"0")]
    assert fan.statistics()[-2:] == (5, 10)


def test_replay_has_a_message_that_is_just_being_delivered(pair):
    """The delivery breathes; who comes then gets it once."""
    push, fan = pair
    subs = [fan.subscribe("") for _ in range(1000)]
    late = []
    subs[0].rawlink(lambda _: late.append(fan.subscribe("", replay=1)))
    put_and_wait(push, fan, "x")
    wait_for(lambda: fan.statistics().delivered == 1000)
    assert drained(late[0]) == [b"x"]


def test_replay_is_not_more_than_is_kept(pair, pump):
    _, fan = pair
    with pytest.raises(ValueError, match="replay must be 0 to 3, not 4: make the Fanout with keep=4"):
        fan.subscribe("", replay=4)
    with pytest.raises(TypeError, match="replay must be an int"):
        fan.subscribe("", replay=True)
    with (
        zgreen.Fanout(zgreen.Channel("pull", pump=pump)) as none,
        pytest.raises(ValueError, match="replay must be 0 to 0"),
    ):
        none.subscribe("", replay=1)


@pytest.mark.parametrize(("options", "error"), [
    ({"keep": -1}, ValueError), ({"keep": "1"}, TypeError), ({"keep": 1, "keep_topics": 0}, ValueError),
    ({"keep": 1, "keep_bytes": None}, TypeError), ({"keep": 1, "keep_bytes": 1.5}, TypeError),
])  # fmt: skip
def test_wrong_bounds(pump, options, error):
    channel = zgreen.Channel("pull", pump=pump)
    with pytest.raises(error, match="keep"):
        zgreen.Fanout(channel, **options)


def test_a_prefix_that_was_left_stays_subscribed(published):
    """As many as topics are kept; then the one that was left first is taken back, and what was kept of it is gone."""
    xpub, sub = published
    with zgreen.Fanout(sub, keep=5, keep_topics=2) as fan:
        for topic in "abb":
            fan.subscribe(topic).close()
        xpub.put("a")
        wait_for(lambda: fan.statistics().kept == 1)
        with fan.subscribe("a", replay=1) as again:
            assert again.get_nowait() == b"a"
        fan.subscribe("c").close()
        assert events(xpub, 4) == [b"\1a", b"\1b", b"\1c", b"\0b"]
        with fan.subscribe("a", exact=True):
            fan.subscribe("d").close()
            fan.subscribe("e").close()
            assert fan.statistics().kept == 1
        assert events(xpub, 3) == [b"\1d", b"\1e", b"\0c"]
        assert fan.statistics().kept == 1
        fan.subscribe("f").close()
        fan.subscribe("g").close()
        assert fan.statistics().kept == 0
        assert fan.subscribe("a", replay=1).empty()
    told = sorted(events(xpub, 9))
    assert told == [b"\0" + t for t in (b"a", b"a", b"d", b"e", b"f", b"g")] + [b"\1" + t for t in (b"a", b"f", b"g")]


def kept_naively(plan, per_topic, max_topics, max_bytes):
    """The same rules without an index."""
    kept = []
    for number, (topic, size) in enumerate(plan, 1):
        if size <= max_bytes:
            kept.append((number, topic, size))
        while True:
            order = list(dict.fromkeys(t for _, t, _ in reversed(kept)))  # that was published last is the first
            over = [t for t in order if sum(k[1] == t for k in kept) > per_topic]
            if not over and len(order) > max_topics:
                kept = [k for k in kept if k[1] != order[-1]]
                continue
            if not over and sum(k[2] for k in kept) > max_bytes:
                over = order[-1:]
            if not over:
                break
            kept.remove(next(k for k in kept if k[1] == over[0]))
    return [number for number, _, _ in kept]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(1, 12)), max_size=30),
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 30),
)  # fmt: skip
def test_history_keeps_its_bounds(plan, per_topic, max_topics, max_bytes):
    history = History(per_topic, max_topics, max_bytes)
    for topic, size in plan:
        history.add((topic, bytes(size - 1)))
    found = history.find(lambda topic: True)
    assert [numbered.number for numbered in found] == kept_naively(plan, per_topic, max_topics, max_bytes)
    assert history.messages == len(found)
    assert history.bytes == sum(len(frame) for numbered in found for frame in numbered.message) <= max_bytes
    assert history.last == len(plan)


TOPICS = st.binary(max_size=4).map(lambda value: bytes(byte % 2 for byte in value))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.lists(TOPICS, min_size=1, max_size=3), st.booleans()), max_size=8),
    st.lists(TOPICS),
    st.data(),
)
def test_the_index_is_a_look_at_all(wishes, topics, data):
    """Whatever is added and discarded, match gives those whose wish matches, each once."""
    index: PrefixIndex[int] = PrefixIndex()
    members = {n: Wanted(tuple(dict.fromkeys(prefixes)), exact) for n, (prefixes, exact) in enumerate(wishes)}
    for number, wanted in members.items():
        for prefix in wanted.prefixes:
            index.add(prefix, number, wanted.exact)
    for number in data.draw(st.lists(st.sampled_from(sorted(members)), unique=True)) if members else ():
        wanted = members.pop(number)
        for prefix in wanted.prefixes:
            left = any(prefix in other.prefixes for other in members.values())
            assert index.discard(prefix, number, wanted.exact) == (not left)
    for topic in topics:
        expected = {number for number, wanted in members.items() if wanted.matches(topic)}
        found = list(index.match(topic))
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert index.wants(topic) == bool(expected)
    assert len(index) == len({prefix for wanted in members.values() for prefix in wanted.prefixes})


def test_counts_by_topic(pair):
    push, fan = pair
    fan.subscribe("kept alive by nobody")
    gc.collect()
    subs = [
        fan.subscribe("red", exact=True),
        fan.subscribe("red", exact=True),
        fan.subscribe("red"),
        fan.subscribe("b"),
    ]
    put_and_wait(push, fan, "red", "redder", "blue")
    assert fan.topics() == {b"red": (1, 2, 2), b"b": (1, 0, 1)}
    subs[2].close()
    assert fan.topics()[b"red"] == (0, 2, 1)


# ---------------------------------------------------------------- the queue


def test_get_many(pair):
    push, fan = pair
    sub = fan.subscribe("")
    put_and_wait(push, fan, *"abcde")
    assert sub.get_many(2) == [b"a", b"b"]
    assert sub.get_many(3) == [b"c", b"d", b"e"]
    with pytest.raises(Empty):
        sub.get_many(3, timeout=0)
    with pytest.raises(Empty):
        sub.get_many(3, timeout=0.01)
    later = gevent.spawn(sub.get_many, 10)
    wait_for(lambda: sub._inbox._links)
    push.put("f")
    assert later.get(timeout=LIMIT) == [b"f"]
    put_and_wait(push, fan, "g", "h")
    sub.close()
    assert sub.get_many(10) == [b"g", b"h"]
    with pytest.raises(zgreen.ClosedError):
        sub.get_many(10)


@pytest.mark.parametrize(("args", "error"), [
    ((0,), ValueError), ((-1,), ValueError), (("1",), TypeError), ((True,), TypeError), ((None,), TypeError),
    ((1, -1), ValueError), ((1, "1"), TypeError),
])  # fmt: skip
def test_get_many_of_something_else(pair, args, error):
    with pytest.raises(error):
        pair[1].subscribe("").get_many(*args)


def test_messages_with_a_heartbeat(pair):
    push, fan = pair
    sub = fan.subscribe("")
    messages = sub.messages(timeout=0.01)
    assert next(messages) is None
    put_and_wait(push, fan, "a", "b")
    assert [next(messages), next(messages), next(messages)] == [b"a", b"b", None]
    put_and_wait(push, fan, "c")
    sub.close()
    assert list(messages) == [b"c"]
    with pytest.raises(ValueError, match="timeout"):
        sub.messages(timeout=-1)


def test_messages_of_one_that_is_disconnected(pair):
    push, fan = pair
    sub = fan.subscribe("", maxsize=1, overflow="disconnect")
    put_and_wait(push, fan, "a", "b")
    messages = sub.messages()
    assert next(messages) == b"a"
    with pytest.raises(zgreen.ClosedError, match="disconnected"):
        next(messages)


def test_the_names_of_a_queue(pair):
    push, fan = pair
    sub = fan.subscribe("a", maxsize=2)
    assert sub.empty()
    assert not sub.full()
    assert sub
    with pytest.raises(Empty):
        sub.peek_nowait()
    peeking = gevent.spawn(sub.peek)
    wait_for(lambda: sub._inbox._links)
    put_and_wait(push, fan, [b"a", b"1"])
    assert peeking.get(timeout=LIMIT) == sub.peek() == sub.peek_nowait() == (b"a", b"1")
    assert (len(sub), sub.qsize(), sub.empty(), sub.full()) == (1, 1, False, False)
    assert repr(sub) == "<zgreen.Subscription to b'a': open, 1 of 2 messages wait, 0 dropped>"
    put_and_wait(push, fan, "a", "a")
    assert sub.full()
    sub.close()
    assert repr(sub) == "<zgreen.Subscription to b'a': closed, 2 of 2 messages wait, 1 dropped>"
    assert drained(sub) == [b"a", b"a"]
    with pytest.raises(zgreen.ClosedError):
        sub.peek()
    unlimited = fan.subscribe("", maxsize=None)
    assert not unlimited.full()
    assert "open, 0 messages wait" in repr(unlimited)
    assert repr(fan).endswith(": open, 1 subscriptions>")
    fan.close()
    assert repr(fan).endswith(": closed, 0 subscriptions>")


def test_a_thread_whose_number_was_reused_is_another(pump):
    """As `flask run` has them: a thread for each request, whose identifiers come again."""
    channel = zgreen.Channel("pull", pump=pump)
    with zgreen.Fanout(channel) as fan:
        for _ in range(5):
            with real_threads(1) as spawn:
                assert isinstance(spawn(outcome, fan.subscribe, "").get(timeout=LIMIT), RuntimeError)
