"""The pipe, as the hub side uses it: the same tests for each engine, driven one step at a time, without gevent.

This thread plays both sides: it is the hub side that pushes and pops, and by `step` the owning thread.
"""

import sys
from pathlib import Path

import pytest
import zmq
from benches import EngineBench, Owner, peer
from support import LIMIT, inproc, run

from zgreen._engine import _api, choose
from zgreen._engine._api import Plan
from zgreen._engine._mailbox import Bell


class Bench(EngineBench):
    """An engine of the suite's kind."""

    def __init__(self):
        super().__init__(choose(None))

    def pair(self, kinds=(zmq.PUSH, zmq.PULL), **sizes):
        """Two pipes whose sockets are connected; *sizes* are the second's."""
        endpoint = inproc()
        return self.open(kinds[0], bind=(endpoint,)), self.open(kinds[1], connect=(endpoint,), **sizes)

    def receiver(self, number, **sizes):
        """A pipe with that many messages to be got."""
        source, pipe = self.pair(**sizes)
        for message in numbers(number):
            assert source.try_push(message, None, 0)
        self.until(lambda: pipe.waiting() == number, "the messages")
        return pipe


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.end()


def numbers(*range_):
    return [b"%d" % i for i in range(*range_)]


def withdrawn(pipe):
    return [frames for frames, _ in pipe.withdraw()]


# ---------------------------------------------------------------------- the short way, and what is in its way


def test_what_is_reserved_is_left(bench):
    """The short way keeps what belongs to the callers that wait; the exact way keeps what it is told to."""
    pipe = bench.make(out=10)
    pipe.listen_for_room(None, 8)
    assert [pipe.offer(b"%d" % i) for i in range(4)] == [True, True, False, False]
    assert pipe.offer_now(b"2") is False
    assert pipe.try_push(b"2", None, 8) is False
    assert pipe.try_push(b"2", None, 7) is True
    assert withdrawn(pipe) == numbers(3)


def test_messages_that_are_reserved_are_left(bench):
    pipe = bench.receiver(6)
    pipe.listen_for_message(None, 4)
    assert [pipe.take(), pipe.take(), pipe.take(), pipe.take_now()] == [b"0", b"1", None, None]
    assert pipe.try_pop(4) is None
    assert pipe.try_pop(3) == b"2"
    pipe.listen_for_message(None, 0)
    assert [pipe.take(), pipe.take_now(), pipe.try_pop(0), pipe.take()] == [b"3", b"4", b"5", None]


def test_a_queue_without_a_limit(bench):
    """There is room beside whatever is reserved."""
    pipe = bench.make(out=None, in_=None)
    pipe.listen_for_room(None, 1000)
    assert pipe.offer(b"0")
    assert pipe.try_push(b"1", None, 10**6)
    assert pipe.wakes()
    assert withdrawn(pipe) == numbers(2)


def test_only_plain_messages_go_the_short_way(bench):
    pipe = bench.make()
    for message in ("text", b"", [], ["text"], [b"1", "text"], bytearray(b"1"), None, (b"1", 2)):
        taken = message == b""
        assert pipe.offer(message) is taken
        assert pipe.offer_now(message) is taken
    assert withdrawn(pipe) == [b"", b""]


@pytest.mark.parametrize("name", ["offer", "offer_now"])
def test_direct_puts_can_be_turned_off(bench, name):
    pipe = bench.make()
    pipe.direct_puts = False
    assert getattr(pipe, name)(b"0") is False
    assert pipe.try_push(b"0", None, 0)  # the exact way is open
    pipe.direct_puts = True
    assert getattr(pipe, name)(b"1") is True
    assert withdrawn(pipe) == numbers(2)


@pytest.mark.parametrize("name", ["take", "take_now"])
def test_direct_gets_can_be_turned_off(bench, name):
    pipe = bench.receiver(2)
    pipe.direct_gets = False
    assert getattr(pipe, name)() is None
    assert pipe.try_pop(0) == b"0"  # the exact way is open
    pipe.direct_gets = True
    assert getattr(pipe, name)() == b"1"


# ---------------------------------------------------------------------- whose turn it is


def test_after_a_streak_others_are_due(bench):
    """The short way refuses until that has been asked; all pipes of an engine count together."""
    pipe, full, empty = bench.make(out=None), bench.make(out=1), bench.make(zmq.PULL)
    assert full.offer(b"0")
    assert not pipe.due()
    for i in range(_api.STREAK - 1):
        assert not (full.offer(b"1") if i % 2 else empty.take())  # refused for another reason, and counted
    assert not pipe.due()
    assert pipe.offer(b"0") is False
    assert pipe.due()
    assert not pipe.due()  # its caller is the first of the next streak
    assert pipe.offer(b"0") is True
    for _ in range(_api.STREAK - 2):
        pipe.count_one()
    assert not pipe.due()
    pipe.count_one()
    assert pipe.due()
    assert withdrawn(pipe) == withdrawn(full) == [b"0"]


MANY = ("offer_many", "take_many")


@pytest.mark.parametrize(("way", "number"), [
    ("offer", 1), ("offer_writable", 1), ("take", 1), *((way, number) for way in MANY for number in (1, 3)),
])  # fmt: skip
def test_the_last_of_a_streak_is_not_refused(bench, way, number):
    """The next one is. Each message is counted, and a call that finds none, or is refused, as one."""
    source, pipe = bench.pair()
    source.watch_writable(None, 10)
    bench.until(lambda: source.writable)
    for message in numbers(number):
        assert source.offer_now(message)
    bench.until(lambda: pipe.waiting() == number and source.writable)

    def call():
        if way.startswith("take"):
            return getattr(pipe, way)(*((5,) if way in MANY else ()))
        return getattr(source, way)(*((numbers(number), 0) if way in MANY else (b"x",)))

    for _ in range(_api.STREAK - number):
        source.count_one()
    assert call()
    assert not source.due()
    source.count_one()
    assert source.due()  # which counts as one
    for _ in range(_api.STREAK - 1):
        source.count_one()
    assert not call()
    assert source.due()
    for _ in range(_api.STREAK - 2):
        source.count_one()
    source.direct_puts = pipe.direct_gets = False
    if way == "take_many":  # it finds none
        pipe.direct_gets = True
    assert not call()
    assert not source.due()
    source.count_one()
    assert source.due()


def test_calls_that_must_not_wait_are_not_held_up(bench):
    """They neither count nor refuse because others are due."""
    source, pipe = bench.pair()
    number = 3 * _api.STREAK
    assert all(source.offer_now(b"%d" % i) for i in range(number))
    assert not source.due()
    bench.until(lambda: pipe.waiting() == number)
    assert [pipe.take_now() for _ in range(number)] == numbers(number)
    assert not source.due()
    for _ in range(_api.STREAK + 1):
        source.count_one()
    assert source.offer(b"0") is False
    assert source.offer_now(b"0") is True
    bench.until(pipe.waiting)
    assert pipe.take() is None
    assert pipe.take_now() == b"0"
    assert source.due()


def test_calls_that_are_turned_off_count(bench):
    pipe = bench.make()
    pipe.direct_puts = pipe.direct_gets = False
    for i in range(_api.STREAK + 1):
        assert not pipe.due()
        assert not (pipe.offer(b"0") if i % 2 else pipe.take())
    assert pipe.due()


# ---------------------------------------------------------------------- room and credit, at their exact bounds


def test_when_a_waiter_for_room_should_look(bench):
    """While a ring is owed: if there is much room. At rest: if there is any."""
    pipe = bench.open(zmq.PUSH, out=8)
    seen = []
    for message in numbers(8):
        seen.append(pipe.wakes())
        assert pipe.try_push(message, None, 0)
    assert [*seen, pipe.wakes()] == [True] * 6 + [False] * 3
    assert not pipe.try_push(b"8", None, 0)
    bench.step(5)  # nobody takes them, and the ring is paid
    assert (pipe.pending(), pipe.wakes()) == (8, False)
    pipe = bench.open(zmq.PUSH, out=8)
    for message in numbers(7):
        assert pipe.try_push(message, None, 0)
    assert not pipe.wakes()
    bench.step(5)
    assert (pipe.pending(), pipe.wakes()) == (7, True)


def test_a_turn_that_leaves_the_queue_full_rings_nobody(bench):
    rings = Rings(bench)
    pipe = bench.open(zmq.PUSH, out=2)
    pipe.listen_for_room(rings.bell, 1)
    assert pipe.try_push(b"0", None, 0)
    assert pipe.try_push(b"1", reply := bench.reply(), 0)
    bench.step(5)
    assert (pipe.pending(), rings.number, pipe.counts().rings) == (2, 0, 0)
    assert bench.ask("take_back", pipe, reply)
    bench.step(5)
    assert rings.number == 0  # its place comes free when its turn comes


def test_a_little_room_wakes_waiters_that_are_more_than_a_quarter(bench):
    pipe = bench.open(zmq.PUSH, out=8)
    for message in numbers(6):
        assert pipe.try_push(message, None, 0)
    pipe.listen_for_room(None, 2)
    assert not pipe.wakes()
    pipe.listen_for_room(None, 3)
    assert pipe.wakes()


def test_credit_is_asked_for_once(bench):
    """Once the owning thread has been told of the room, the gets that follow leave it alone."""
    source, pipe = bench.pair(in_=4)
    assert source.offer_many(numbers(8), 0) == 8
    bench.until(lambda: pipe.waiting() == 4)
    bench.step(5)
    touches = pipe.counts().touches
    assert [pipe.try_pop(0) for _ in range(4)] == numbers(4)
    bench.until(lambda: pipe.waiting() == 4)
    assert pipe.counts().touches == touches + 1


def test_a_get_asks_for_nothing_while_there_is_credit(bench):
    pipe = bench.receiver(3, in_=10)
    bench.step(5)
    touches = pipe.counts().touches
    assert [pipe.take(), pipe.take_now(), pipe.try_pop(0)] == numbers(3)
    bench.step(5)
    assert pipe.counts().touches == touches


def test_credit_is_asked_for_when_half_of_the_places_are_free(bench):
    for in_, kept in ((4, 2), (5, 2), (1, 0)):
        source, pipe = bench.pair(in_=in_)
        assert source.offer_many(numbers(10), 0) == 10
        bench.until(lambda pipe=pipe, in_=in_: pipe.waiting() == in_)
        bench.step(5)
        touches = pipe.counts().touches
        for left in range(in_ - 1, -1, -1):
            assert pipe.try_pop(0) is not None
            bench.step(5)
            if left == kept:
                break
            assert (pipe.waiting(), pipe.counts().touches) == (left, touches)
        assert (pipe.waiting(), pipe.counts().touches) == (in_, touches + 1)


def test_a_limit_that_changes(bench):
    """Nothing is received while it is 0, and what it allows is received at once when it grows."""
    source, pipe = bench.pair(in_=4)
    assert source.offer_many(numbers(20), 0) == 20
    bench.until(lambda: pipe.waiting() == 4)
    pipe.limit_waiting(0)
    assert pipe.take_many(3) == numbers(3)
    bench.step(10)
    assert pipe.waiting() == 1
    assert pipe.take_now() == b"3"
    bench.step(10)
    assert pipe.waiting() == 0
    pipe.limit_waiting(6)
    bench.until(lambda: pipe.waiting() == 6)
    bench.step(10)
    assert pipe.waiting() == 6
    pipe.limit_waiting(11)  # more than half of it waits, so this is not worth a wake-up
    bench.step(10)
    assert pipe.waiting() == 6
    pipe.limit_waiting(12)
    bench.until(lambda: pipe.waiting() == 12)
    assert pipe.take_many(20) == numbers(4, 16)


def test_a_look_leaves_the_message_and_what_is_reserved(bench):
    pipe = bench.receiver(2)
    assert [pipe.try_peek(2), pipe.try_peek(1), pipe.try_peek(0), pipe.waiting()] == [None, b"0", b"0", 2]
    assert [pipe.try_pop(0), pipe.try_pop(0)] == numbers(2)
    assert pipe.try_peek(0) is None


@pytest.mark.parametrize("multipart", [False, True])
def test_messages_as_frames(bench, multipart):
    """Each can be got either way."""
    endpoint = inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,))
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PULL), 10, 10, "block", multipart)
    pipe.keep_frames()
    bench.ask("open", pipe, Plan(None, int(zmq.PULL), (), None, (), (endpoint,)))
    messages = [b"0", (b"1", b"2"), b"3", (b"4", b"5")]
    assert source.offer_many(messages, 0) == 4
    bench.until(lambda: pipe.waiting() == 4)
    assert (pipe.try_pop_frames(4), pipe.waiting()) == (None, 4)
    for expected in ([b"0"], [b"1", b"2"]):
        frames = pipe.try_pop_frames(1)
        assert {type(frame) for frame in frames} == {zmq.Frame}
        assert [frame.bytes for frame in frames] == expected
    assert pipe.try_pop(1) == ([b"3"] if multipart else b"3")
    assert pipe.take_now() == [b"4", b"5"]
    assert pipe.try_pop_frames(0) is pipe.try_pop(0) is None


# ---------------------------------------------------------------------- many at once


def test_many_at_once(bench):
    source, pipe = bench.pair()
    messages = [b"0", (b"1", b"2"), [b"3"], b"", [b"4", b"5", b"6"]]
    assert source.offer_many(messages, 0) == 5
    assert source.offer_many(tuple(messages), 3) == 2
    assert source.offer_many(messages, 5) == 0
    assert source.offer_many([], 0) == 0
    expected = [b"0", [b"1", b"2"], b"3", b"", [b"4", b"5", b"6"], b"", [b"4", b"5", b"6"]]
    bench.until(lambda: pipe.waiting() == 7)
    assert pipe.take_many(3) == expected[:3]
    assert pipe.waiting() == 4
    assert pipe.take_many(0) == []
    assert pipe.take_many(100) == expected[3:]
    assert pipe.take_many(100) == []


def test_a_list_that_was_offered_can_be_changed(bench):
    pipe = bench.make()
    frames = [b"1", b"2"]
    assert pipe.offer_many([frames], 0) == 1
    frames[0] = b"changed"
    assert withdrawn(pipe) == [(b"1", b"2")]


@pytest.mark.parametrize("odd", ["text", bytearray(b"x"), [], (), ["text"], [b"1", 2], None, 1])
def test_many_end_before_what_needs_encode(bench, odd):
    pipe = bench.make()
    assert pipe.offer_many([b"0", b"1", odd, b"2"], 0) == 2
    assert pipe.offer_many([b"0", b"1", odd, b"2"], 2) == 0
    assert pipe.offer_many([b"0", b"1", odd, b"2"], 3) == 1
    assert withdrawn(pipe) == numbers(3)


def test_many_leave_what_is_reserved(bench):
    pipe = bench.make(out=10)
    pipe.listen_for_room(None, 4)
    assert pipe.offer_many(numbers(20), 0) == 6
    assert pipe.offer_many(numbers(20), 6) == 0
    pipe.listen_for_room(None, 20)
    assert pipe.offer_many(numbers(20), 6) == 0
    pipe.listen_for_room(None, 0)
    assert pipe.offer_many(numbers(20), 6) == 4
    assert withdrawn(pipe) == numbers(10)
    pipe = bench.receiver(6)
    pipe.listen_for_message(None, 4)
    assert pipe.take_many(100) == numbers(2)
    assert pipe.take_many(100) == []
    pipe.listen_for_message(None, 20)
    assert pipe.take_many(100) == []
    pipe.listen_for_message(None, 0)
    assert pipe.take_many(100) == numbers(2, 6)


def test_many_have_an_end(bench):
    """So that one call does not keep the others from their turn without a bound."""
    source, pipe = bench.pair(in_=None)
    wide = bench.make(out=None)
    number = _api.MANY + 10
    assert wide.offer_many(numbers(number), 0) == _api.MANY
    assert wide.due()
    assert withdrawn(wide) == numbers(_api.MANY)
    for message in numbers(number):
        bench.until(lambda message=message: source.try_push(message, None, 0))
    bench.until(lambda: pipe.waiting() == number)
    assert pipe.take_many(number) == numbers(_api.MANY)
    assert pipe.due()
    assert pipe.take_many(number) == numbers(_api.MANY, number)


def test_many_count_as_so_many(bench):
    source, pipe = bench.pair()
    assert source.offer_many(numbers(_api.STREAK - 1), 0) == _api.STREAK - 1
    assert not source.due()
    assert source.offer_many(numbers(2), 0) == 2  # not one by one
    assert source.due()
    for _ in range(_api.STREAK - 1):
        assert source.offer_many([], 0) == 0
    assert not source.due()
    assert source.offer_many(numbers(2), 0) == 0
    assert pipe.take_many(2) == []
    assert source.due()
    bench.until(lambda: pipe.waiting() == _api.STREAK + 1)
    assert len(pipe.take_many(_api.STREAK + 1)) == _api.STREAK + 1
    assert source.due()


def test_many_can_be_turned_off(bench):
    source, pipe = bench.pair()
    source.direct_puts = pipe.direct_gets = False
    assert source.offer_many([b"0"], 0) == 0
    assert source.try_push(b"0", None, 0)
    bench.until(pipe.waiting)
    assert pipe.take_many(1) == []
    pipe.direct_gets = True
    assert pipe.take_many(1) == [b"0"]


def test_many_wake_the_owning_thread(bench):
    """As one does: the sleeping thread sends them, and receives when there is room again."""
    source, pipe = bench.pair(in_=4)
    bench.step(5)
    assert source.offer_many(numbers(10), 0) == 10
    bench.until(lambda: pipe.waiting() == 4)
    bench.step(5)
    assert pipe.take_many(10) == numbers(4)
    bench.until(lambda: pipe.waiting() == 4)
    bench.step(5)
    assert pipe.take_many(2) == numbers(4, 6)
    bench.until(lambda: pipe.waiting() == 4)
    assert pipe.take_many(10) == numbers(6, 10)


def test_many_into_a_closed_pipe(bench):
    pipe = bench.make()
    pipe.open = False
    assert pipe.offer_many(numbers(3), 0) == 0
    ended = bench.open(zmq.PUSH)
    bench.ask("close", ended, 0.0, 0.0)
    assert ended.offer_many(numbers(3), 0) == 0
    assert ended.pending() == 0


def test_many_of_a_dropping_queue(bench):
    for overflow, kept in (("drop_oldest", numbers(7, 10)), ("drop_newest", numbers(3))):
        source, pipe = bench.pair(in_=3, overflow=overflow)
        assert source.offer_many(numbers(10), 0) == 10
        bench.until(lambda pipe=pipe: pipe.counts().received == 10)
        assert pipe.take_many(10) == kept


# ---------------------------------------------------------------------- whether libzmq would take a message


class Rings:
    """A bell of the hub's, and how often it was answered."""

    def __init__(self, bench):
        self.number = 0
        self.bell = Bell(bench.hub, self._answer)

    def _answer(self):
        self.number += 1


def test_writable_is_kept_for_those_that_ask(bench):
    """No peer, a peer with room, one that is full, and room again; and the bell tells."""
    rings, endpoint = Rings(bench), inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,), options=((zmq.SNDHWM, 1),))
    bench.step(5)
    assert source.writable is False
    source.watch_writable(rings.bell)
    bench.step(5)
    assert (source.writable, source.takes_more, rings.number) == (False, False, 0)  # no peer
    sink = bench.open(zmq.PULL, connect=(endpoint,), options=((zmq.RCVHWM, 1),), in_=1)
    bench.until(lambda: source.writable)
    assert rings.number == 1
    sent = 0
    while source.offer_writable(b"%d" % sent):
        assert source.writable is False  # as many as may are pending
        sent += 1
        bench.step(5)
    assert (source.writable, source.takes_more) == (False, True)  # libzmq was filled by what was sent
    assert sent >= 4  # one is pending, one waits in the pipe of the other, and libzmq holds two
    assert source.pending() == 1
    told = rings.number
    bench.step(20)
    assert rings.number == told
    assert sink.try_pop(0) == b"0"
    bench.until(lambda: source.writable)
    assert rings.number > told
    assert source.offer_writable(b"more")


def test_it_is_kept_from_the_moment_somebody_asks(bench):
    """The owning thread is asked to look, once, though there is nothing else for it to do."""
    source, _ = bench.pair()
    bench.step(10)
    touches = source.counts().touches
    source.watch_writable(None, 1)
    bench.step(5)
    assert source.writable
    source.watch_writable(None, 2)
    bench.step(5)
    assert source.counts().touches == touches + 1


def test_as_many_as_was_said_may_be_pending_while_it_is_writable(bench):
    endpoint = inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,), options=((zmq.SNDHWM, 1),))
    source.watch_writable(None, 3)
    assert not source.offer_writable(b"x")
    bench.open(zmq.PULL, connect=(endpoint,), options=((zmq.RCVHWM, 1),), in_=1)
    bench.until(lambda: source.writable)
    sent = 0
    for _ in range(20):
        sent += source.offer_writable((b"%d" % sent, b"tail"))
        bench.step(5)
    assert (source.pending(), source.writable) == (3, False)
    assert sent == source.sent + 3


def test_it_is_not_writable_when_its_peer_has_gone(bench):
    source, sink = bench.pair()
    source.watch_writable(None, 3)
    bench.until(lambda: source.writable)
    bench.ask("close", sink, 0.0, 0.0)
    bench.until(lambda: not source.writable)
    assert not source.offer_writable(b"x")


def test_writable_is_false_without_a_peer_whatever_is_pending(bench):
    pipe = bench.open(zmq.PUSH, bind=(inproc(),))
    pipe.watch_writable(None)
    assert pipe.try_push(b"0", None, 0)
    bench.step(5)
    assert pipe.writable is False
    assert pipe.offer_writable(b"1") is False
    assert pipe.pending() == 1


def test_a_ring_for_whoever_has_seen_a_turn_half_done(bench):
    """Until the message is sent it is false. Its turn ends with a ring, though the one before had ended with true."""
    rings = Rings(bench)
    source, _ = bench.pair()
    source.watch_writable(rings.bell)
    bench.until(lambda: source.writable)
    for number in range(3):
        bench.step(5)
        told = rings.number
        assert source.offer_writable(b"%d" % number)
        bench.until(lambda: source.writable)
        assert rings.number > told


def test_the_end_of_a_socket_is_told_to_those_that_wait_for_room_in_libzmq(bench):
    rings = Rings(bench)
    source, _ = bench.pair()
    source.watch_writable(rings.bell)
    bench.until(lambda: source.writable)
    told = rings.number
    bench.ask("close", source, 0.0, 0.0)
    bench.until(lambda: rings.number > told)
    assert source.writable is False
    assert source.offer_writable(b"x") is False


def test_what_is_offered_while_writable_is_counted_and_leaves_what_is_reserved(bench):
    endpoint = inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,), out=1)
    bench.open(zmq.PULL, connect=(endpoint,))
    source.watch_writable(None)
    bench.until(lambda: source.writable)
    source.listen_for_room(None, 1)
    assert source.offer_writable(b"x") is False
    source.listen_for_room(None, 0)
    assert source.offer_writable("text") is False
    source.direct_puts = False
    assert source.offer_writable(b"x") is False
    source.direct_puts = True
    assert source.offer_writable(b"x") is True
    bench.until(lambda: source.writable)
    for _ in range(_api.STREAK):
        source.count_one()
    assert source.offer_writable(b"x") is False
    assert source.due()
    assert source.offer_writable(b"x") is True


def test_it_is_not_quiet_while_the_owning_thread_is_awake_or_without_a_socket(bench):
    source, sink = bench.pair()
    assert not sink.quiet()  # the owning thread is this one
    assert not bench.make().quiet()
    bench.ask("close", source, 0.0, 0.0)
    bench.until(lambda: source.fd < 0)
    assert not source.quiet()


# ---------------------------------------------------------------------- limits in bytes


def sized(*sizes):
    return [b"%d" % (i % 10) * size for i, size in enumerate(sizes)]


def test_a_limit_of_pending_bytes(bench):
    """There is room while less is pending, so one message always is let through."""
    pipe = bench.make(out_bytes=100)
    large, a, b, c = sized(1000, 60, 60, 60)
    assert pipe.wakes()
    assert pipe.offer(large)
    assert pipe.pending_bytes() == 1000
    assert not pipe.wakes()
    assert [pipe.offer(a), pipe.offer_now(a), pipe.try_push(a, None, 0), pipe.offer_many([a], 0)] == [False] * 3 + [0]
    assert withdrawn(pipe) == [large]
    pipe = bench.make(out_bytes=100)
    assert pipe.try_push((a[:30], a[30:]), None, 0)
    assert pipe.wakes()
    assert pipe.offer_many([b, c], 0) == 1
    assert pipe.offer_many([b, c], 1) == 0
    assert pipe.pending_bytes() == 120
    assert pipe.push_over(c)
    assert pipe.pending_bytes() == 180
    assert [frames for frames, _ in pipe.withdraw()] == [(a[:30], a[30:]), b, c]
    pipe = bench.make(out_bytes=100)
    pipe.listen_for_room(None, 1)
    assert pipe.offer(a) is False  # nobody knows how much the one that waits needs
    assert pipe.try_push(a, None, 0) is True
    assert withdrawn(pipe) == [a]


def test_a_pipe_without_a_limit_of_bytes_counts_none(bench):
    source, pipe = bench.pair()
    assert source.offer(b"x" * 1000)
    assert source.pending_bytes() == 0
    bench.until(pipe.waiting)
    assert pipe.waiting_bytes() == 0


def test_room_in_bytes_is_told(bench):
    """To those that wait for it, when what is pending has gone out or was taken back."""
    rings, endpoint = Rings(bench), inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,), out_bytes=100)
    a, b = sized(150, 150)
    reply = bench.reply()
    assert source.try_push(a, reply, 0)
    source.listen_for_room(rings.bell, 1)
    bench.step(10)
    assert (source.wakes(), source.try_push(b, None, 0)) == (False, False)
    rings.number = 0
    assert bench.ask("take_back", source, reply) is True
    bench.until(lambda: rings.number)
    assert source.pending_bytes() == 0
    assert source.try_push(b, None, 0)
    bench.step(10)
    rings.number = 0
    sink = bench.open(zmq.PULL, connect=(endpoint,))
    bench.until(lambda: rings.number)
    assert source.wakes()
    bench.until(sink.waiting)
    assert sink.try_pop(0) == b


def test_credit_in_bytes(bench):
    """No more is read while as much waits; credit is used again when half of it is free."""
    source, pipe = bench.pair(in_bytes=100)
    messages = sized(60, 60, 60, 500, 1, 1, 150, 60, 60)
    assert source.offer_many(messages, 0) == 9
    bench.until(lambda: pipe.waiting() == 2)
    bench.step(10)
    assert (pipe.waiting(), pipe.waiting_bytes()) == (2, 120)
    got = [pipe.take()]
    bench.step(10)
    assert (pipe.waiting(), pipe.waiting_bytes()) == (1, 60)  # not worth a wake-up
    got.append(pipe.take_now())
    bench.until(lambda: pipe.waiting() == 2)
    bench.step(10)
    assert pipe.waiting_bytes() == 560
    while len(got) < 9:
        bench.until(pipe.waiting)
        got += pipe.take_many(100)
    assert got == messages
    assert pipe.waiting_bytes() == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_a_dropping_queue_with_a_limit_of_bytes(bench, overflow):
    source, pipe = bench.pair(in_bytes=100, overflow=overflow)
    messages = [*sized(*[20] * 10), b"x" * 200, b"y" * 20]
    for number, message in enumerate(messages, 1):
        assert source.try_push(message, None, 0)
        bench.until(lambda number=number: pipe.counts().received == number)
        if number == 11:
            large = (pipe.waiting(), pipe.waiting_bytes(), pipe.counts().dropped)
    if overflow == "drop_newest":
        assert large == (5, 100, 6)
        assert pipe.take_many(10) == messages[:5]
        assert pipe.counts().dropped == 7
    else:
        assert large == (5, 280, 6)
        assert pipe.take_many(10) == messages[-1:]  # all but the last had to go for the large one
        assert pipe.counts().dropped == 11
    assert pipe.waiting_bytes() == 0


def test_what_is_given_up_or_refused_leaves_no_bytes(bench):
    pipe = bench.open(zmq.PUSH, out_bytes=100)
    reply = bench.reply()
    assert pipe.try_send(b"x" * 1000, reply)
    bench.until(lambda: reply in bench.done)
    assert (pipe.pending(), pipe.pending_bytes()) == (0, 0)
    rep = bench.open(zmq.REP, out_bytes=100)
    assert rep.try_push(b"x" * 1000, None, 0)
    bench.until(lambda: rep.owner.refusals)
    assert (rep.pending(), rep.pending_bytes()) == (0, 0)


# ---------------------------------------------------------------------- tried but once


def outcome(bench, reply, what="the reply"):
    """None, or the error."""
    bench.until(lambda: reply in bench.done, what)
    return reply.error


def test_try_send(bench):
    """Taken, or Again, and nothing stays behind."""
    endpoint = inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,), options=((zmq.SNDHWM, 1),))
    reply = bench.reply()
    assert source.try_send(b"no peer", reply)
    assert isinstance(outcome(bench, reply), zmq.Again)
    assert source.pending() == 0
    sink = bench.open(zmq.PULL, connect=(endpoint,), options=((zmq.RCVHWM, 1),), in_=1)
    taken = 0
    while True:
        reply = bench.reply()
        assert source.try_send((b"%d" % taken, b""), reply)
        if outcome(bench, reply) is not None:
            break
        taken += 1
        bench.step(5)
    assert isinstance(reply.error, zmq.Again)
    assert source.pending() == 0
    assert taken >= 3
    got = []
    for _ in range(taken):
        bench.until(sink.waiting)
        got.append(sink.try_pop(0))
    assert got == [[b"%d" % i, b""] for i in range(taken)]
    bench.step(5)
    assert sink.waiting() == 0
    assert (source.counts().sent, source.counts().refused) == (taken, 0)


def test_try_send_knows_no_limit(bench):
    """It does not stay in the queue."""
    pipe = bench.open(zmq.PUSH, out=1)
    replies = [bench.reply() for _ in range(5)]
    assert all(pipe.try_send(b"x", reply) for reply in replies)
    bench.until(lambda: len(bench.done) >= 5)
    assert all(isinstance(reply.error, zmq.Again) for reply in replies)
    assert [reply for reply in bench.done if reply in replies] == replies


def test_try_send_keeps_the_order_of_the_pipe(bench):
    source, pipe = bench.pair()
    replies = [bench.reply(), bench.reply()]
    assert source.try_push(b"0", None, 0)
    assert source.try_send(b"1", replies[0])
    assert source.try_push(b"2", None, 0)
    assert source.try_send(b"3", replies[1])
    bench.until(lambda: pipe.waiting() == 4)
    assert pipe.take_many(4) == numbers(4)
    assert [outcome(bench, reply) for reply in replies] == [None, None]


@pytest.mark.parametrize("parked", [False, True], ids=["in one turn", "parked before"])
def test_try_send_behind_a_message_that_libzmq_refuses_for_now(bench, parked):
    """The message before it stays, so it would be refused, too: Again, at once; nothing else of the pipe changes."""
    endpoint = inproc()
    source = bench.open(zmq.PUSH, bind=(endpoint,))
    stays = [bench.reply(), bench.reply()]
    assert source.try_push(b"0", stays[0], 0)
    if parked:
        bench.step(10)
    once = [bench.reply() for _ in range(3)]
    assert source.try_send(b"x", once[0])
    assert source.try_push((b"1", b"1"), stays[1], 0)
    flush = bench.post("flush", source)
    assert source.try_send((b"y", b"y"), once[1])
    assert source.try_send(b"z", once[2])
    assert source.try_push(b"2", None, 0)
    for reply in once:
        assert isinstance(outcome(bench, reply), zmq.Again)
    assert not any(reply in bench.done for reply in (*stays, flush))
    sink = bench.open(zmq.PULL, connect=(endpoint,))
    bench.until(lambda: sink.waiting() == 3)
    assert sink.take_many(4) == [b"0", [b"1", b"1"], b"2"]
    assert [outcome(bench, reply) for reply in (*stays, flush)] == [None] * 3
    assert (source.pending(), source.counts().sent, source.counts().refused) == (0, 3, 0)


def test_a_flush_waits_for_what_was_there_whatever_is_given_up_behind_it(bench):
    source = bench.open(zmq.PUSH)
    assert source.try_push(b"0", None, 0)
    flush = bench.post("flush", source)
    bench.step(5)
    for _ in range(3):
        assert source.try_send(b"x", reply := bench.reply())
        assert isinstance(outcome(bench, reply), zmq.Again)
    bench.step(10)
    assert flush not in bench.done
    assert withdrawn(source) == [b"0"]


def test_errors_of_try_send(bench):
    """As libzmq says them; what it refuses for good is counted."""
    rep, router = bench.open(zmq.REP), bench.open(zmq.ROUTER, options=((zmq.ROUTER_MANDATORY, 1),))
    endpoint = inproc()
    req = bench.open(zmq.REQ, bind=(endpoint,))
    server = bench.open(zmq.REP, connect=(endpoint,))
    assert rep.try_send(b"no request", reply := bench.reply())
    assert outcome(bench, reply).errno == zmq.EFSM
    assert router.try_send((b"nobody", b"x"), reply := bench.reply())
    assert outcome(bench, reply).errno == zmq.EHOSTUNREACH
    assert (rep.counts().refused, router.counts().refused) == (1, 1)
    assert req.try_send(b"1", reply := bench.reply())
    assert outcome(bench, reply) is None
    assert req.try_send(b"2", reply := bench.reply())
    assert outcome(bench, reply).errno == zmq.EFSM
    assert req.counts().refused == 0  # but for now
    assert rep.owner.refusals == router.owner.refusals == []
    bench.until(server.waiting)
    assert server.try_pop(0) == b"1"


def test_try_send_into_an_ended_pipe(bench):
    pipe = bench.make()
    pipe.open = False
    assert pipe.try_send(b"x", bench.reply()) is False
    ended = bench.open(zmq.PUSH)
    bench.ask("close", ended, 0.0, 0.0)
    assert ended.try_send(b"x", bench.reply()) is False
    assert ended.pending() == 0


def test_what_was_to_be_tried_when_the_socket_ends_comes_back(bench):
    """With its reply, for the owner to answer."""
    pipe = bench.open(zmq.PUSH)
    reply = bench.reply()
    closing = bench.post("close", pipe, 0.0, 0.0)
    assert pipe.try_send(b"x", reply)
    bench.until(lambda: closing in bench.done)
    if reply in bench.done:
        assert isinstance(reply.error, zmq.Again)
    else:
        assert pipe.owner.end[0] == [(b"x", reply)]


# ---------------------------------------------------------------------- taken back


def test_a_pending_message_can_be_taken_back(bench):
    """Wherever it is; the others keep their order, and flushes theirs."""
    endpoint = inproc()
    for parked in (0, 2, 5):
        for index in range(5):
            source = bench.open(zmq.PUSH, bind=(endpoint,))
            replies = [bench.reply() for _ in range(5)]
            for number, reply in enumerate(replies):
                assert source.try_push((b"%d" % number, b""), reply, 0)
                if number == parked - 1:
                    bench.step(10)
            flush = bench.post("flush", source)
            assert bench.ask("take_back", source, replies[index]) is True
            assert bench.ask("take_back", source, replies[index]) is False
            sink = bench.open(zmq.PULL, connect=(endpoint,))
            bench.until(lambda sink=sink: sink.waiting() == 4)
            left = [number for number in range(5) if number != index]
            assert sink.take_many(5) == [[b"%d" % number, b""] for number in left]
            assert outcome(bench, flush) is None
            assert [number for number in range(5) if replies[number] in bench.done] == left
            assert source.counts().sent == 4
            assert source.pending() == 0
            for pipe in (source, sink):
                bench.ask("close", pipe, 0.0, 0.0)


def test_a_message_that_is_gone_cannot_be_taken_back(bench):
    source, _ = bench.pair()
    reply = bench.reply()
    assert source.try_push(b"1", reply, 0)
    bench.until(lambda: source.pending() == 0)
    taken = bench.post("take_back", source, reply)
    bench.until(lambda: taken in bench.done)
    assert taken.value is False
    assert bench.done.index(reply) < bench.done.index(taken)
    assert bench.ask("take_back", source, bench.reply()) is False


def test_the_last_pending_message_is_taken_back(bench):
    """Nothing is pending then, there is room, and those that wait for it are told."""
    rings = Rings(bench)
    source = bench.open(zmq.PUSH, out=1)
    assert source.try_push(b"0", reply := bench.reply(), 0)
    source.listen_for_room(rings.bell, 1)
    bench.step(10)
    assert source.pending() == 1
    rings.number = 0
    flush = bench.post("flush", source)
    assert bench.ask("take_back", source, reply) is True
    assert outcome(bench, flush) is None
    bench.until(lambda: source.pending() == 0)
    bench.until(lambda: rings.number, "a ring for the room")
    source.listen_for_room(None, 0)
    assert source.offer(b"1") is True
    assert withdrawn(source) == [b"1"]


def test_what_was_taken_back_is_not_unsent(bench):
    source = bench.open(zmq.PUSH)
    replies = [bench.reply() for _ in range(3)]
    for number, reply in enumerate(replies):
        assert source.try_push(b"%d" % number, reply, 0)
    bench.step(10)
    assert bench.ask("take_back", source, replies[1]) is True
    assert bench.ask("close", source, 0.0, 0.0).queued == 2
    assert source.owner.end[0] == [(b"0", replies[0]), (b"2", replies[2])]


def test_a_message_that_is_tried_but_once_can_be_taken_back(bench):
    """If its turn has not come."""
    source = bench.open(zmq.PUSH)
    reply = bench.reply()
    taken = bench.post("take_back", source, reply)
    assert source.try_send(b"x", reply)  # before the owning thread looks at its mail
    bench.until(lambda: taken in bench.done)
    bench.step(10)
    assert (taken.value, reply in bench.done) in ((True, False), (False, True))
    reply = bench.reply()
    assert source.try_send(b"y", reply)
    assert isinstance(outcome(bench, reply), zmq.Again)
    assert source.pending() == 0


def test_a_pipe_without_a_socket_gives_its_messages_back(bench):
    pipe = bench.make()
    assert pipe.try_push(b"x", reply := bench.reply(), 0)
    assert bench.ask("take_back", pipe, reply) is True
    assert withdrawn(pipe) == []


# ---------------------------------------------------------------------- serve, then reply


def test_serve(bench):
    """What had arrived, and only that, is in the pipe when the reply comes; and what was pending has been sent."""
    source, pipe = bench.pair()
    bench.step(10)
    for number in range(20):
        assert source.try_push(b"%d" % number, None, 0)
        assert bench.ask("serve", source) is None
        assert source.pending() == 0
        assert bench.ask("serve", pipe) is None
        assert pipe.take_now() == b"%d" % number
    assert bench.ask("serve", pipe) is None
    assert pipe.waiting() == 0


def test_serve_looks_at_a_socket_that_has_not_been_heard_of(bench):
    """What has arrived is there with the reply, although the owning thread has not polled since."""
    endpoint = inproc()
    pipe = bench.open(zmq.PULL, bind=(endpoint,))
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        bench.step(10)
        socket.send(b"0")
        reply = bench.post("serve", pipe)
        bench.step()
        assert reply in bench.done
        assert pipe.take_now() == b"0"


def test_others_that_have_work_are_served_before(bench):
    """What they send may be for this one."""
    source, pipe = bench.pair()
    bench.step(10)
    assert source.try_push(b"0", None, 0)
    reply = bench.post("serve", pipe)
    bench.step()
    assert reply in bench.done
    assert pipe.take_now() == b"0"


def test_serve_without_room(bench):
    source, pipe = bench.pair(in_=1)
    assert source.offer_many(numbers(3), 0) == 3
    bench.until(lambda: pipe.waiting() == 1 and not source.pending())
    bench.ask("serve", pipe)
    assert pipe.waiting() == 1
    assert pipe.take_now() == b"0"
    bench.ask("serve", pipe)
    assert pipe.take_now() == b"1"


def test_serve_a_socket_that_is_closed(bench):
    pipe = bench.open(zmq.PULL)
    bench.ask("close", pipe, 0.0, 0.0)
    with pytest.raises(zmq.ZMQError) as raised:
        bench.ask("serve", pipe)
    assert raised.value.errno == zmq.ENOTSOCK


def test_serve_a_socket_that_fails(bench):
    """Its end is told as ever."""
    pipe = bench.open(zmq.PULL)
    pipe.socket.close(linger=0)
    bench.ask("serve", pipe)
    bench.until(lambda: pipe.owner.end)
    assert pipe.owner.end[2].errno == zmq.ENOTSOCK


# ---------------------------------------------------------------------- beyond the limit, and too late


def test_push_over_knows_no_limit(bench):
    pipe = bench.make(out=2)
    pipe.listen_for_room(None, 5)
    assert [pipe.push_over(message) for message in numbers(4)] == [True] * 4
    assert pipe.push_over((b"4", b"5")) is True
    assert pipe.pending() == 5
    assert not pipe.try_push(b"x", None, 0)
    assert withdrawn(pipe) == [*numbers(4), (b"4", b"5")]


def test_nothing_new_is_pushed_into_a_closed_pipe(bench):
    pipe = bench.make()
    pipe.open = False
    assert [pipe.offer(b"0"), pipe.offer_now(b"0"), pipe.try_push(b"0", None, 0)] == [False] * 3
    assert pipe.pending() == 0
    assert pipe.push_over(b"0")  # for what was put elsewhere before the close
    assert pipe.withdraw() == [(b"0", None)]


def test_nothing_is_pushed_when_the_owning_thread_has_looked_for_the_last_time(bench):
    """The hub side has not been told: this is a thread that has just found the pipe open."""
    pipe = bench.open(zmq.PUSH)
    bench.ask("close", pipe, 0.0, 0.0)
    assert pipe.open
    assert pipe.finished
    reply = bench.reply()
    assert [pipe.offer(b"0"), pipe.offer_now(b"0"), pipe.try_push(b"0", reply, 0), pipe.push_over(b"0")] == [False] * 4
    assert pipe.pending() == 0
    assert reply not in bench.done


def test_what_was_withdrawn_is_the_last(bench):
    """The hub side withdraws when it gives up the owning thread: nothing is pushed from then on."""
    for options in ({}, {"out_bytes": 100}):
        pipe = bench.make(**options)
        pipe.watch_writable(None)
        assert pipe.try_push(b"0", reply := bench.reply(), 0)
        assert pipe.offer(b"1")
        assert not pipe.finished
        assert pipe.withdraw() == [(b"0", reply), (b"1", None)]
        assert pipe.finished
        assert not pipe.takes_more
        assert not pipe.wakes()
        late = [pipe.offer(b"2"), pipe.offer_now(b"2"), pipe.try_push(b"2", None, 0), pipe.push_over(b"2")]
        assert [*late, pipe.offer_many([b"2"], 0), pipe.try_send(b"2", bench.reply())] == [False] * 4 + [0, False]
        assert (pipe.pending(), pipe.pending_bytes(), pipe.withdraw()) == (0, 0, [])


# ---------------------------------------------------------------------- no memory

NO_MEMORY = """
import resource, sys, time, zgreen, gevent

MIB = 1 << 20
overflow, shape, big = sys.argv[1], sys.argv[2], bytes(30 * MIB)
first = [b"1", big] if shape == "frames" else big
a = zgreen.Channel("PAIR", bind="inproc://a")
b = zgreen.Channel("PAIR", connect="inproc://a", overflow=overflow, recv_maxsize=3, multipart=shape == "list")
for message in (first, b"2", b"3"):
    a.put(message)
deadline = time.monotonic() + {limit}
while b.statistics().waiting < 3 and time.monotonic() < deadline:
    gevent.sleep(0.01)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
for _ in range(2):
    resource.setrlimit(resource.RLIMIT_AS, (now + 8 * MIB, hard))
    try:
        got = b.get_nowait()
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert zgreen.get_pump().engine == "native"  # the Python engine has copied it when it came
        assert b.statistics().waiting == 3
        got = None
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if got is not None:
        break
else:
    assert zgreen.get_pump().engine == "native"
    got = b.get_nowait()
lengths = [len(got)] if type(got) is bytes else [len(frame) for frame in got]
print([length // MIB for length in lengths], b.get(), b.get(), b.statistics().dropped)
a.close(0)
b.close(0)
"""


MANY_AND_NO_MEMORY = """
import resource, sys, time, zmq
sys.path.insert(0, {folder!r})
from test_pipe import Bench, numbers

MIB = 1 << 20
bench = Bench()
source, pipe = bench.pair(overflow=sys.argv[1])
messages = [*numbers(5), (b"5", bytes(30 * MIB)), *numbers(6, 9)]
assert source.offer_many(messages, 0) == 9
bench.until(lambda: pipe.waiting() == 9)
del messages
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)


def take(limit):
    resource.setrlimit(resource.RLIMIT_AS, (now + 8 * MIB, hard))
    try:
        return pipe.take_many(limit)
    except MemoryError:
        return "MemoryError"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


got = take(9)
if bench.engine.name == "native":  # the Python engine has copied it when it came
    assert got == numbers(5)
    assert take(9) == take(9) == "MemoryError"
    assert pipe.waiting() == 4
    big = bytes(30 * MIB)
    resource.setrlimit(resource.RLIMIT_AS, (now + 8 * MIB, hard))
    try:
        source.offer_many([b"0", (b"1", b"2")], 0)  # there is memory for small ones
        bench.step(5)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert pipe.waiting() == 6
    got += pipe.take_many(9)
    assert got.pop() == [b"1", b"2"] and got.pop() == b"0"
assert got[:5] == numbers(5) and got[6:] == numbers(6, 9), got
print([len(frame) // MIB for frame in got[5]])
bench.end()
"""


LARGE_AND_NO_MEMORY = """
import resource, sys
sys.path.insert(0, {folder!r})
from test_pipe import Bench

MIB = 1 << 20
bench = Bench()
source, pipe = bench.pair(overflow="drop_oldest", in_bytes=20 * MIB)
for size in (12, 30):
    assert source.try_push(bytes(size * MIB), None, 0)
    bench.until(lambda: not source.pending())
bench.until(lambda: pipe.waiting() == 2)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (now + 8 * MIB, hard))
got = []
try:
    got.append(getattr(pipe, sys.argv[1])(0))
except MemoryError:
    assert bench.engine.name == "native"  # the Python engine has copied it when it came
    assert pipe.waiting() == 2
finally:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
while pipe.waiting():
    got.append(pipe.try_pop(0))
print([len(message) // MIB for message in got[-2:]], pipe.counts().dropped)
bench.end()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
@pytest.mark.parametrize("way", ["try_pop", "try_peek"])
def test_a_get_that_has_no_memory_drops_nothing_although_the_rest_reaches_the_limit_of_bytes(way):
    """All of it was there together, as one message beyond the limit may be."""
    program = LARGE_AND_NO_MEMORY.replace("{folder!r}", repr(str(Path(__file__).parent)))
    assert run(program, way) == (0, "[12, 30] 0\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest"])
def test_many_and_no_memory(overflow):
    """Those before the one that there is no memory for are taken; it stays the first."""
    program = MANY_AND_NO_MEMORY.replace("{folder!r}", repr(str(Path(__file__).parent)))
    assert run(program, overflow) == (0, "[0, 30]\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
@pytest.mark.parametrize("shape", ["frame", "frames", "list"])
@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest"])
def test_a_get_that_has_no_memory_loses_nothing(overflow, shape):
    """The message stays the first, and comes when there is memory again."""
    status, out, err = run(NO_MEMORY.replace("{limit}", str(LIMIT)), overflow, shape)
    sizes = "[0, 30]" if shape == "frames" else "[30]"
    rest = "[b'2'] [b'3'] 0" if shape == "list" else "b'2' b'3' 0"
    assert (status, out, err) == (0, f"{sizes} {rest}\n", "")


def test_messages_as_they_were_pushed(bench):
    """What is taken back at the end, and what libzmq refuses."""
    pipe = bench.make()
    replies = [bench.reply(), None, bench.reply()]
    messages = [b"0", (b"1", b"2"), (b"3",)]
    for message, reply in zip(messages, replies, strict=True):
        assert pipe.try_push(message, reply, 0)
    assert [reply for _, reply in pipe.withdraw()] == replies
    assert pipe.pending() == 0
    rep = bench.open(zmq.REP)
    assert rep.try_push((b"1", b"2"), None, 0)
    bench.until(lambda: rep.owner.refusals)
    [(frames, error)] = rep.owner.refusals
    assert (frames, error.errno) == ((b"1", b"2"), zmq.EFSM)


# ---------------------------------------------------------------------- counts


def test_counts(bench):
    """One tuple, the fields in the order that the interface promises."""
    assert _api.PipeCounts._fields == (
        "sent", "received", "refused", "dropped", "sent_bytes", "received_bytes", "peak_pending", "peak_waiting",
        "send_turns", "receive_turns", "largest_send", "largest_receive", "rings", "touches",
    )  # fmt: skip
    source, pipe = bench.pair(overflow="drop_newest", in_=3)
    assert pipe.counts() == (0,) * 14
    assert source.counts() == (0,) * 14
    for message in [*numbers(4), (b"45", b"67")]:
        assert source.try_push(message, None, 0)
    bench.until(lambda: pipe.counts().received == 5)
    sent, received = source.counts(), pipe.counts()
    assert type(sent) is type(received) is _api.PipeCounts
    assert sent == (5, 0, 0, 0, 8, 0, 5, 0, 1, 0, 5, 0, 0, 1)
    assert received[:9] == (0, 5, 0, 2, 0, 8, 0, 3, 0)
    assert received.receive_turns >= 1
    assert 1 <= received.largest_receive <= 5


def test_refusals_are_counted(bench):
    rep = bench.open(zmq.REP)
    assert rep.try_push(b"no request", None, 0)
    bench.until(lambda: rep.owner.refusals)
    assert rep.counts().refused == 1
    assert rep.counts().sent == 0
