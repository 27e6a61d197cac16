"""The ends of sockets, in the engine that ZGREEN_ENGINE says, driven one step at a time, over real sockets."""

import errno
import sys
import time

import pytest
import zmq
from benches import NOBODY, EngineBench, Owner, push
from gevent import monkey
from support import ANY, LIMIT, endpoint_of, inproc, open_descriptors, raw_socket, run, wait_for

from zgreen._engine import _closing, _farewells, choose
from zgreen._engine._api import Plan, Unsent


class Bench(EngineBench):
    """An engine of the suite's kind, with all that a pump gives it."""

    def __init__(self, context=None):
        epoll = monkey.get_original("select", "epoll")
        start_thread = monkey.get_original("_thread", "start_new_thread")
        super().__init__(choose(None), context, epoll, context is None, start_thread)

    def close(self, pipe, linger, limit=LIMIT):
        return self.post("close", pipe, linger, limit)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.end()


@pytest.fixture
def users():
    """A bench over a context of the user's."""
    context = zmq.Context()
    bench = Bench(context)
    yield bench
    bench.end()
    context.term()


def end_of(pipe):
    """What its owner was told: how many messages were queued, how many libzmq may hold."""
    left, held, error = pipe.owner.end
    assert error is None
    return len(left), held


def stuck(bench, sent, queued):
    """A pipe of whose messages libzmq has taken some, and cannot send them."""
    pipe = bench.open(zmq.PUSH, connect=[NOBODY], options=[(zmq.SNDHWM, sent)])
    push(pipe, *[b"x"] * (sent + queued))
    bench.until(lambda: pipe.pending() == queued)
    return pipe


def test_a_report_in_words():
    assert str(Unsent(1, 2)) == (
        "3 messages were not sent: 1 was still queued, up to 2 may have been discarded by libzmq"
    )
    assert str(Unsent(2, 1)).endswith("not sent: 2 were still queued, up to 1 may have been discarded by libzmq")
    assert str(Unsent(1, 0)) == "1 message was not sent"
    assert str(Unsent(5, 0)) == "5 messages were not sent"


# ---------------------------------------------------------------------- several closes


def test_all_closes_of_a_socket_have_the_same_value(bench):
    """One while messages are pending, one while libzmq lingers, and one that comes when it is over."""
    pipe = stuck(bench, sent=2, queued=3)
    replies = [bench.close(pipe, 0.1), bench.close(pipe, LIMIT)]
    bench.until(lambda: pipe.fd < 0)
    assert pipe.owner.end is None
    replies.append(bench.close(pipe, LIMIT))
    assert [bench.get(reply) for reply in replies] == [(3, 2)] * 3
    assert bench.ask("close", pipe, 0.0, 0.0) == (3, 2)
    assert end_of(pipe) == (3, 2)


@pytest.mark.parametrize(("queued", "watched"), [(0, True), (0, False), (3, True)])
def test_a_second_close_never_lengthens_the_linger(bench, queued, watched):
    """Whether or not libzmq has all, and has been told to close."""
    pipe = stuck(bench, sent=2, queued=queued)
    if not watched:
        bench.engine._farewells.reserve.pair = refuse
    replies = [bench.close(pipe, linger) for linger in (0.05, 1000.0)]
    for reply in replies:
        assert bench.get(reply) == (queued, 2)


def test_a_second_close_that_comes_when_all_is_sent_does_not_lengthen_the_linger(bench):
    """The first one has not been looked at since: what it asked for holds."""
    pipe = stuck(bench, sent=2, queued=1)
    deadline = time.monotonic() + 0.05
    first = bench.close(pipe, 0.05)
    bench.engine._take_mail()
    bench.post("connect", pipe, "tcp://127.0.0.1:2")  # there is room for the last one now
    second = bench.close(pipe, 1000.0)
    assert (bench.get(first), bench.get(second)) == ((0, 3), (0, 3))
    assert time.monotonic() >= deadline


def test_a_second_close_just_behind_a_turn_that_has_sent_all_does_not_lengthen_the_linger(bench):
    """The socket is still open then: the loop has not come to the end of the first one."""
    pipe = stuck(bench, sent=2, queued=1)
    first = bench.close(pipe, 0.05)
    bench.post("connect", pipe, "tcp://127.0.0.1:2")  # there is room for the last one now
    bench.post("serve", pipe)
    second = bench.close(pipe, 1000.0)
    assert (bench.get(first), bench.get(second)) == ((0, 3), (0, 3))


def test_a_close_sends_what_is_pending_first(bench):
    """Although the owning thread has not looked at the pipe before."""
    pull = bench.open(zmq.PULL, bind=[name := inproc()])
    pipe = bench.open(zmq.PUSH, connect=[name])
    push(pipe, *[b"x"] * 5)
    assert bench.get(bench.close(pipe, LIMIT)) == (0, 0)
    bench.until(lambda: pull.waiting() == 5)


def test_a_second_close_shortens_the_wait_for_libzmq(bench, monkeypatch):
    """Which goes on: it has been told the first linger."""
    monkeypatch.setattr(_closing, "_GRACE", 0.0)
    pipe = stuck(bench, sent=2, queued=0)
    first = bench.close(pipe, 2.0)
    bench.until(lambda: pipe.fd < 0)
    assert bench.ask("close", pipe, 0.01, LIMIT) == (0, 2)
    assert bench.get(first) == (0, 2)
    assert bench.engine._farewells.watched == 1


def test_what_is_left_stays_in_the_pipe_until_the_end_is_told(bench, monkeypatch):
    """So the hub side, if it gives up this thread meanwhile, knows how many they are."""
    monkeypatch.setattr(_closing, "_MARGIN", 0.3)
    pipe = stuck(bench, sent=2, queued=3)
    reply = bench.close(pipe, 0.01)
    bench.until(lambda: pipe.fd < 0)
    assert (pipe.pending(), pipe.finished, reply in bench.done) == (3, True, False)
    assert not pipe.try_push(b"late", None, 0)
    assert bench.get(reply) == (3, 2)
    assert pipe.pending() == 0


def test_a_close_without_linger_counts_what_was_queued(bench):
    pipe = stuck(bench, sent=2, queued=3)
    assert bench.ask("close", pipe, 0.0, 0.0) == (3, 0)


# ---------------------------------------------------------------------- what libzmq may have discarded


def test_a_late_thread_does_not_take_an_end_for_the_lingers(bench, monkeypatch):
    """The socket has ended in time; the thread looks when the linger that was asked for is over."""
    monkeypatch.setattr(_closing, "_MARGIN", 1000.0)
    with raw_socket(zmq.PULL, bind=ANY) as server:
        pipe = bench.open(zmq.PUSH, connect=[endpoint_of(server)])
        push(pipe, b"1", b"2")
        bench.until(lambda: not pipe.pending())
        assert [server.recv(), server.recv()] == [b"1", b"2"]
        reply = bench.close(pipe, 0.01)
        bench.engine._take_mail()
        late = time.monotonic() + 0.02
        while time.monotonic() < late:
            pass
        assert bench.get(reply) == (0, 0)


def test_a_late_thread_looks_before_it_gives_up(bench, monkeypatch):
    """The time for the wait is over, but the end has come."""
    monkeypatch.setattr(_closing, "_MARGIN", 1000.0)
    monkeypatch.setattr(_closing, "_GRACE", -1000.0)
    with raw_socket(zmq.PULL, bind=ANY) as server:
        pipe = bench.open(zmq.PUSH, connect=[endpoint_of(server)])
        push(pipe, b"1")
        bench.until(lambda: not pipe.pending())
        assert server.recv() == b"1"
        reply = bench.close(pipe, 0.05)
        with monkeypatch.context() as patch:
            patch.setattr(bench.engine._farewells, "look", lambda _farewell: None)  # it does not come to it
            bench.engine._take_mail()
        wait_until_readable(bench, pipe)
        late = time.monotonic() + 0.06
        while time.monotonic() < late:
            pass
        assert bench.engine._farewells.look_at_clock(None) is None
        assert bench.get(reply) == (0, 0)


def test_an_end_that_has_come_leaves_no_alarm(bench):
    """With an alarm the owning thread of the native engine goes back to Python at times, for which it needs the GIL."""
    with raw_socket(zmq.PULL, bind=ANY) as server:
        ends = [bench.open(zmq.PUSH, connect=[endpoint_of(server)]) for _ in range(2)]
        first, second = (bench.close(pipe, LIMIT) for pipe in ends)
        assert [bench.get(first), bench.get(second)] == [(0, 0), (0, 0)]
    assert bench.engine._farewells.look_at_clock(None) is None


def test_a_thread_that_is_later_than_libzmqs_timer_says_an_upper_bound(bench, monkeypatch):
    """It cannot know which of the two came first."""
    monkeypatch.setattr(_closing, "_MARGIN", 0.0)
    with raw_socket(zmq.PULL, bind=ANY) as server:
        pipe = bench.open(zmq.PUSH, connect=[endpoint_of(server)])
        push(pipe, b"1", b"2")
        bench.until(lambda: not pipe.pending())
        assert [server.recv(), server.recv()] == [b"1", b"2"]
        monkeypatch.setattr(bench.engine._farewells, "look", lambda _farewell: None)  # it does not come to it
        reply = bench.close(pipe, 0.001)
        bench.engine._take_mail()
        late = time.monotonic() + 0.01
        while time.monotonic() < late:
            pass
        monkeypatch.undo()
        assert bench.get(reply) == (0, 2)


def test_ends_are_noticed_while_many_sockets_are_closed_in_one_go(bench, monkeypatch):
    """The engine looks for them between two closes, so that it is not late for the first ones."""
    monkeypatch.setattr(_farewells, "_OFTEN", 0.0)
    first, second = (bench.open(zmq.PULL, bind=[ANY]) for _ in range(2))
    replies = [bench.close(first, 0.0)]
    with monkeypatch.context() as patch:
        patch.setattr(bench.engine._farewells, "look", lambda _farewell: None)  # the end has not come yet
        bench.engine._take_mail()
    wait_until_readable(bench, first)
    replies.append(bench.close(second, 0.0))
    bench.engine._take_mail()
    assert first.end.unsent == (0, 0)
    assert [bench.get(reply) for reply in replies] == [(0, 0)] * 2


def wait_until_readable(bench, pipe):
    """Wait for the end of its socket, without telling of it."""
    farewell = bench.engine._farewells._awaited.get(pipe)
    if farewell is not None:
        assert zmq.zmq_poll([(farewell.fd, zmq.POLLIN)], int(LIMIT * 1000))


@pytest.mark.parametrize("order", ["tcp first", "inproc first"])
def test_endpoints_of_a_configurator_are_known(bench, order):
    """The end is waited for where one of them is far, and counted; a name over inproc is free at once."""
    name = inproc()

    def configure(socket):
        socket.sndhwm = 3
        if order == "tcp first":
            socket.connect(NOBODY)
        socket.bind(name)
        if order == "inproc first":
            socket.connect(NOBODY)

    pipe = bench.open(zmq.DEALER, configurator=configure)
    push(pipe, b"1", b"2")
    bench.until(lambda: not pipe.pending())
    reply = bench.close(pipe, 0.2)
    bench.engine._farewells.reserve.pair = refuse  # so that the socket stays open while its linger runs
    bench.until(lambda: pipe.fd < 0)
    again = bench.open(zmq.DEALER, bind=[name])
    assert pipe.owner.end is None
    assert bench.get(reply) == (0, 2)
    bench.ask("close", again, 0.0, 0.0)


def test_names_over_inproc_are_free_when_the_close_is_told(bench):
    """Though its peer has not read, so that the socket has not ended; bound when it was opened, or later."""
    for _ in range(20):
        pipe = bench.open(zmq.PUSH, bind=["inproc://first"])
        bench.ask("bind", pipe, "inproc://second")
        peer = bench.open(zmq.PULL, connect=["inproc://first", "inproc://second"], out=1)
        push(pipe, *[b"x"] * 100)
        bench.until(lambda p=pipe: not p.pending())
        assert bench.ask("close", pipe, LIMIT, LIMIT) == (0, 0)
        pipe = bench.open(zmq.PUSH, bind=["inproc://first", "inproc://second"])
        bench.ask("close", pipe, 0.0, 0.0)
        bench.ask("close", peer, 0.0, 0.0)


def test_each_connection_may_hold_as_much_as_the_high_water_mark(bench):
    """Of a socket that is bound their number is not known, so that all that libzmq has taken is the limit."""
    pipe = bench.open(zmq.PUSH, bind=[inproc(), ANY], options=[(zmq.SNDHWM, 1)])
    assert pipe.end.connections is None
    pipe = bench.open(zmq.PUSH, connect=[NOBODY, "tcp://127.0.0.1:2"], options=[(zmq.SNDHWM, 4)])
    push(pipe, *[b"x"] * 10)
    bench.until(lambda: pipe.pending() == 2)
    assert bench.ask("close", pipe, 0.05, LIMIT) == (2, 8)


def test_without_a_high_water_mark_a_connection_may_hold_all(bench):
    pipe = bench.open(zmq.PUSH, connect=[NOBODY], options=[(zmq.SNDHWM, 0)])
    push(pipe, *[bytes(10_000)] * 10)
    bench.until(lambda: not pipe.pending())
    assert bench.ask("close", pipe, 0.05, LIMIT) == (0, 10)


def test_a_shadow_that_does_not_know_its_context_has_an_upper_bound(bench):
    """Its end cannot be watched."""
    context = zmq.Context()
    original = context.socket(zmq.PUSH)
    original.connect(NOBODY)
    pipe = bench.open(zmq.PUSH, socket=zmq.Socket.shadow(original.underlying))
    push(pipe, b"1", b"2")
    bench.until(lambda: not pipe.pending())
    assert bench.ask("close", pipe, 0.05, LIMIT) == (0, 2)
    context.term()


# ---------------------------------------------------------------------- flush


def test_a_flush_is_not_done_because_of_an_earlier_refusal(bench):
    """Its target counts what was refused: else that would stand for a message that is pending."""
    pipe = bench.open(zmq.ROUTER, bind=["inproc://router"], options=[(zmq.ROUTER_MANDATORY, 1), (zmq.SNDHWM, 1)])
    full = bench.context.socket(zmq.DEALER)
    full.identity, full.rcvhwm, full.rcvtimeo = b"full", 1, int(LIMIT * 1000)
    full.connect("inproc://router")
    full.send(b"hello")
    bench.until(lambda: pipe.try_pop(0))
    push(pipe, (b"nobody", b"x"), *[(b"full", b"x")] * 5)
    bench.until(lambda: pipe.owner.refusals and pipe.counts().sent)
    flushes = [bench.post("flush", pipe) for _ in range(2)]
    bench.ask("ping")
    assert pipe.pending()
    assert not set(bench.done) & set(flushes)
    bench.ask("forget_flush", pipe, flushes[0])
    assert set(bench.done) & set(flushes) == {flushes[0]}
    for _ in range(5):
        bench.until(lambda: full.poll(0))
        full.recv()
    assert bench.get(flushes[1]) is None
    full.close(linger=0)


def test_a_flush_ends_with_its_socket(bench):
    pipe = stuck(bench, sent=1, queued=1)
    flush = bench.post("flush", pipe)
    bench.ask("close", pipe, 0.0, 0.0)
    with pytest.raises(zmq.ZMQError) as caught:
        bench.get(flush)
    assert caught.value.errno == zmq.ENOTSOCK


# ---------------------------------------------------------------------- monitors


@pytest.mark.parametrize("first", ["socket", "pair"])
def test_a_monitor_ends_with_whichever_socket_is_closed_first(bench, first):
    """The last event of the PAIR is MONITOR_STOPPED; the socket can be monitored again, and nothing stands still."""
    pipe = bench.open(zmq.PULL, bind=[ANY])
    pair = bench.open(zmq.PAIR, options=[(zmq.RCVHWM, 0)])
    bench.ask("monitor", pipe, pair, "inproc://events")
    with pytest.raises(ValueError, match="has a monitor already"):
        bench.ask("monitor", pipe, pair, "inproc://more")
    if first == "socket":
        bench.ask("close", pipe, 0.0, 0.0)
        events = []
        bench.until(lambda: events.append(pair.try_pop(0)) or events[-1])
        assert int.from_bytes(events[-1][0][:2], sys.byteorder) == zmq.EVENT_MONITOR_STOPPED
    bench.ask("close", pair, 0.0, 0.0)
    if first == "pair":
        other = bench.open(zmq.PAIR, options=[(zmq.RCVHWM, 0)])
        bench.ask("monitor", pipe, other, "inproc://again")
        bench.ask("close", pipe, 0.0, 0.0)
        pair = other
    with pytest.raises(zmq.ZMQError) as caught:
        bench.ask("monitor", pipe, pair, "inproc://closed")
    assert caught.value.errno == zmq.ENOTSOCK


# ---------------------------------------------------------------------- an engine that fails


def fail(bench):
    """Have the engine's loop end by an error."""

    def step(timeout):
        raise ZeroDivisionError("oops")

    bench.engine.step = step
    bench.engine.run()
    bench.over = True
    bench.take_mail()


@pytest.mark.parametrize("watched", [True, False])
def test_an_engine_that_fails_says_what_libzmq_may_still_hold(bench, watched):
    """Of a socket that is being closed, whether or not libzmq has been told to; it is closed then."""
    pipe = stuck(bench, sent=2, queued=0)
    if not watched:
        bench.engine._farewells.reserve.pair = refuse
    reply = bench.close(pipe, LIMIT)
    bench.until(lambda: pipe.fd < 0)
    assert pipe.socket.closed is watched
    fail(bench)
    assert reply.value == (0, 2)
    assert end_of(pipe) == (0, 2)
    assert pipe.socket.closed


@pytest.mark.parametrize("first", ["pair", "socket"])
def test_an_engine_that_fails_beside_a_monitor_blocks_no_other_socket(users, first):
    """The monitor is stopped before either of the two is closed: libzmq's thread that ends sockets is not held up."""
    opened = {}
    for name in ("pair", "socket") if first == "pair" else ("socket", "pair"):
        kind = zmq.PAIR if name == "pair" else zmq.PULL
        opened[name] = users.open(kind, options=[(zmq.RCVHWM, 0)])
    users.ask("monitor", opened["socket"], opened["pair"], inproc())
    before = open_descriptors()
    fail(users)
    for _ in range(20):  # each ends in that thread
        users.context.socket(zmq.PULL).close()
    wait_for(lambda: open_descriptors() < before, "the sockets to end")


# ---------------------------------------------------------------------- a context of the user's


def test_a_context_can_be_terminated_when_all_is_closed(users):
    """The engine, which goes on, keeps no socket of it."""
    pipe = users.open(zmq.PULL, bind=[ANY])
    assert users.ask("close", pipe, None, 0.0) == (0, 0)
    users.context.term()
    with pytest.raises(zmq.ZMQError):
        users.open(zmq.PULL)


def test_a_socket_that_ends_after_its_engine_blocks_no_other(users):
    """It has an inproc peer that reads late, and a far endpoint; libzmq's thread that ends sockets goes on then."""
    peer = users.context.socket(zmq.PULL)
    peer.bind(name := inproc())
    pipe = users.open(zmq.PUSH, connect=[name, NOBODY])
    push(pipe, b"1", b"2")
    users.until(lambda: not pipe.pending())
    users.close(pipe, 0.01)
    users.end()
    assert end_of(pipe) == (0, 2)
    peer.recv()
    before = open_descriptors()
    peer.close()
    for _ in range(20):  # each ends in that thread
        users.context.socket(zmq.PULL).close()
    wait_for(lambda: open_descriptors() < before, "the sockets to end")


# ---------------------------------------------------------------------- no descriptors

NO_DESCRIPTORS = """
    import os, resource, sys, time
    sys.path.insert(0, {tests!r})
    import zmq
    from benches import NOBODY, push
    from test_ends import Bench

    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    bench = Bench({context})
    server = zmq.Context().socket(zmq.PULL)
    server.rcvhwm = 1
    port = server.bind_to_random_port("tcp://127.0.0.1")
    pipes = [bench.open(zmq.PUSH, connect=["tcp://127.0.0.1:%d" % port], out=None) for _ in range(5)]
    for pipe in pipes:
        push(pipe, *[bytes(60000)] * 100)
    dead = bench.open(zmq.PUSH, connect=[NOBODY])
    push(dead, b"1", b"2")
    bench.until(lambda: not dead.pending())
    held = []
    while True:
        try:
            held.append(os.dup(0))
        except OSError:
            break
    got, replies = 0, [bench.close(pipe, {limit}) for pipe in pipes] + [bench.close(dead, 0.5)]
    deadline = time.monotonic() + {limit}
    while time.monotonic() < deadline and (got < 500 or len(set(bench.done) & set(replies)) < 6):
        bench.step(timeout=0.001)
        while True:
            try:
                server.recv(zmq.DONTWAIT)
                got += 1
            except zmq.Again:
                break
    print(got, [tuple(reply.value) for reply in replies])
    for fd in held:
        os.close(fd)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.parametrize("context", ["None", "zmq.Context()"])
def test_a_close_without_descriptors_loses_nothing_and_counts_right(context):
    """The sockets stay open until there are descriptors for their farewells: one is made after the other."""
    tests = __file__.rpartition("/")[0]
    status, out, err = run(NO_DESCRIPTORS.format(tests=tests, limit=LIMIT, context=context))
    assert (status, out) == (0, "500 [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 2)]\n"), err


@pytest.mark.parametrize("sent", [0, 2])
def test_a_close_that_gets_no_place_for_a_pair_says_an_upper_bound_when_its_linger_is_over(users, sent):
    """Nothing else gives up a place in the context, and the reserve is gone: it is not told earlier."""
    pipe = users.open(zmq.PUSH, connect=[NOBODY])
    push(pipe, *[b"x"] * sent)
    users.until(lambda: not pipe.pending())
    users.engine._farewells.reserve.drop()
    users.engine._farewells.reserve.pair = refuse
    end = time.monotonic() + 0.3
    assert users.ask("close", pipe, 0.3, LIMIT) == (0, sent)
    assert not sent or time.monotonic() >= end


def test_a_reserve_makes_room(bench):
    """A PAIR whose monitor has no place comes back; one socket stays for the next try, and the others are closed."""
    reserve = bench.engine._farewells.reserve
    reserve.fill()
    before = open_descriptors()
    pair = reserve.pair(bench.context)
    reserve.make_room(pair)
    assert pair.closed
    wait_for(lambda: open_descriptors() < before, "the sockets to end")
    pair = reserve.pair(bench.context)  # the one that stayed: the place of the other is for the monitor
    assert open_descriptors() < before
    reserve.make_room(pair)
    assert not pair.closed
    with zmq.Context() as other:  # of a socket of a context of the user's: the reserve cannot use it
        reserve.make_room(reserve.pair(other))


def test_a_pair_that_cannot_be_had_is_not_waited_for_beyond_the_linger(bench):
    bench.engine._farewells.reserve.pair = refuse
    pipe = stuck(bench, sent=1, queued=0)
    assert bench.ask("close", pipe, 0.1, LIMIT) == (0, 1)
    del bench.engine._farewells.reserve.pair


def refuse(_context):
    raise zmq.ZMQError(errno.EMFILE)


def test_the_reserve_is_made_before_a_socket_is_opened(bench):
    """A socket that could not be closed rightly is not opened."""
    bench.engine._farewells.reserve.fill = lambda: refuse(None)
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PULL), 1, 1, "block", False)
    with pytest.raises(zmq.ZMQError) as caught:
        bench.ask("open", pipe, Plan(None, int(zmq.PULL), (), None, (), ()))
    assert caught.value.errno == errno.EMFILE
    del bench.engine._farewells.reserve.fill
    bench.ask("open", pipe, Plan(None, int(zmq.PULL), (), None, (), ()))


@pytest.mark.parametrize("first", ["publisher", "subscriber"])
def test_a_subscriber_that_is_closed_beside_its_publisher_does_not_wait_for_its_linger(bench, first):
    """libzmq itself often waits for the whole linger if the publisher is the first one."""
    for _ in range(5):
        pub = bench.open(zmq.XPUB, bind=[ANY])
        sub = bench.open(zmq.SUB, connect=[endpoint_of(pub.socket)], options=[(zmq.SUBSCRIBE, b"a")])
        bench.until(lambda pub=pub: pub.waiting())
        pipes = [pub, sub] if first == "publisher" else [sub, pub]
        replies = [bench.close(pipe, 1000.0) for pipe in pipes]
        bench.until(lambda replies=replies: all(reply.value for reply in replies))
