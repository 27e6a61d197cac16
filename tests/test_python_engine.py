"""The Python engine, driven one step at a time, without gevent, over real sockets.

This thread plays both sides: it is the hub side that pushes and pops, and by step(0) the owning thread.
"""

import gc
import itertools
import subprocess
import sys
import textwrap
import time
from collections import deque
from types import SimpleNamespace

import pytest
import zmq
from benches import EngineBench, Owner, peer, push
from gevent import monkey
from support import ANY, LIMIT, endpoint_of, inproc, interruptions, readable, run, unmeasured

from zgreen._engine import _commands, _python
from zgreen._engine._api import Plan
from zgreen._engine._mailbox import Bell, Mailbox, Reply
from zgreen._engine._pipe import Pipe
from zgreen._engine._pipe_state import Streak
from zgreen._engine._python import PythonEngine
from zgreen._engine._signaler import Signaler

pytestmark = pytest.mark.once


TURN = _python._TURN


class CountingPoller:
    """Around the engine's own poller: which descriptors it gave, and how long it may wait."""

    def __init__(self, poller):
        self._poller = poller
        self.given = []
        self.timeouts = []

    def poll(self, timeout):
        self.timeouts.append(timeout)
        fds = self._poller.poll(timeout)
        self.given.extend(fds)
        return fds

    def __getattr__(self, name):
        return getattr(self._poller, name)


class Bench(EngineBench):
    """The Python engine, with a poller that counts."""

    open = EngineBench.open_at

    def __init__(self, epoll):
        super().__init__(PythonEngine, None, epoll)
        self.engine._poller = self.poller = CountingPoller(self.engine._poller)

    def settle(self):
        """Step until nothing is ready any more."""
        self.step(3)
        self.until(lambda: not self.engine._ready)


@pytest.fixture(params=["epoll", "zmq_poll"])
def bench(request):
    """With epoll, and with the poller for platforms that have none."""
    epoll = select_original("epoll") if request.param == "epoll" else None
    if request.param == "epoll" and epoll is None:
        pytest.skip("no epoll here")
    bench = Bench(epoll)
    yield bench
    bench.end()


def select_original(name):
    """What monkey.patch_all() has taken out of select, or None where there is none."""
    try:
        return monkey.get_original("select", name)
    except AttributeError:
        return None


def popped(pipe):
    messages = []
    while (message := pipe.try_pop(0)) is not None:
        messages.append(message)
    return messages


def numbers(*range_):
    return [b"%d" % i for i in range(*range_)]


# ---------------------------------------------------------------------- messages


def test_messages_go_both_ways(bench):
    a, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    b, _ = bench.open(zmq.PAIR, connect=[endpoint])
    push(a, b"one", (b"two", b"", b"three"))
    push(b, b"back")
    bench.until(lambda: b.waiting() == 2 and a.waiting() == 1)
    assert popped(b) == [b"one", [b"two", b"", b"three"]]
    assert popped(a) == [b"back"]
    assert (a.sent, a.received, b.sent, b.received) == (2, 1, 1, 2)


def test_a_reply_comes_when_libzmq_has_the_message(bench):
    pipe, _ = bench.open(zmq.PUSH)
    reply = bench.reply()
    push(pipe, b"x", reply=reply)
    bench.settle()
    assert reply not in bench.done
    with peer(bench, zmq.PULL, bind=ANY) as socket:
        bench.ask("connect", pipe, endpoint_of(socket))
        bench.until(lambda: reply in bench.done)
        assert reply.error is None
        assert socket.recv() == b"x"


# ---------------------------------------------------------------------- races for one message


class Raced(deque):
    """Just before the next operation of one name, another thread takes all that is there."""

    def __init__(self, items, name):
        super().__init__(items)
        self.taken = None
        self._name = name

    def popleft(self):
        self._race("popleft")
        return super().popleft()

    def __getitem__(self, index):
        self._race("__getitem__")
        return super().__getitem__(index)

    def _race(self, name):
        if name == self._name and self.taken is None:
            self.taken = list(self)
            self.clear()


@pytest.fixture
def hub_side():
    """An engine that runs nothing: pipes alone are looked at."""
    bench = Bench(None)
    yield bench
    bench.end()


@pytest.mark.parametrize("in_bytes", [None, 1])
def test_the_message_that_is_to_be_dropped_has_just_been_got(hub_side, in_bytes):
    """It is not counted as dropped."""
    pipe = hub_side.make(zmq.PULL, in_=1, overflow="drop_oldest", in_bytes=in_bytes)
    pipe.deliver(b"0")
    pipe.incoming = Raced(pipe.incoming, "popleft")
    pipe.deliver(b"1")
    assert (pipe.incoming.taken, pipe.received, pipe.dropped, popped(pipe)) == ([b"0"], 2, 0, [b"1"])
    pipe.deliver(b"2")
    pipe.deliver(b"3")
    assert (pipe.received, pipe.dropped, popped(pipe)) == (4, 1, [b"3"])


def test_a_putter_takes_its_message_back_while_all_are_withdrawn(hub_side):
    pipe = hub_side.make()
    push(pipe, b"0")
    pipe.outgoing = Raced(pipe.outgoing, "popleft")
    assert pipe.withdraw() == []
    assert [frames for frames, _ in pipe.outgoing.taken] == [b"0"]


class Ending(deque):
    """Just after messages have been appended, the owning thread ends: it withdraws the first *number* that are there.
    It has said before that it would."""

    def __init__(self, pipe, number):
        super().__init__()
        self._pipe = pipe
        self._number = number

    def append(self, item):
        super().append(item)
        self._end()

    def extend(self, items):
        super().extend(items)
        self._end()

    def _end(self):
        self._pipe.finished = True
        for _ in range(self._number):
            self.popleft()


@pytest.mark.parametrize("withdrawn", [0, 1, 2])
@pytest.mark.parametrize("out_bytes", [None, 100])
def test_how_many_of_the_last_puts_the_owning_thread_has_taken(hub_side, withdrawn, out_bytes):
    """Those that it has are put, and it answers for them. Those that it has not are taken back."""
    pipe = hub_side.make(out_bytes=out_bytes)
    pipe.outgoing = Ending(pipe, withdrawn)
    if out_bytes is None:
        assert pipe.offer_many(numbers(2), 0) == withdrawn
        assert pipe.pending() == 0
    if withdrawn == 2:
        return
    for way, arguments in (("offer", (b"x",)), ("try_push", (b"x", None, 0)), ("push_over", (b"x",))):
        pipe = hub_side.make(out_bytes=out_bytes)
        pipe.outgoing = Ending(pipe, withdrawn)
        assert getattr(pipe, way)(*arguments) is (withdrawn == 1)
        assert pipe.pending() == 0
    pipe = hub_side.make(out_bytes=out_bytes)
    pipe.outgoing = Ending(pipe, withdrawn)
    assert pipe.try_send(b"x", reply := hub_side.reply()) is (withdrawn == 1)
    assert pipe.once == ({reply} if withdrawn else set())


def test_what_is_tried_but_once_is_forgotten_when_it_is_taken_back(hub_side):
    pipe = hub_side.make()
    replies = [hub_side.reply() for _ in range(3)]
    push(pipe, b"0")
    assert all(pipe.try_send(b"x", reply) for reply in replies)
    assert pipe.take_back(replies[1]) is True
    assert pipe.once == {replies[0], replies[2]}
    assert pipe.take_back(replies[1]) is False
    assert [reply for _, reply in pipe.withdraw()] == [None, replies[0], replies[2]]


@pytest.mark.parametrize(("way", "arguments", "none"), [
    ("try_pop", (0,), None), ("take", (), None), ("take_now", (), None), ("take_many", (3,), []),
    ("try_peek", (0,), None),
])  # fmt: skip
def test_another_thread_was_faster(hub_side, way, arguments, none):
    """There is no message, and no error."""
    pipe = hub_side.make(zmq.PULL)
    pipe.deliver(b"0")
    pipe.incoming = Raced(pipe.incoming, "__getitem__" if way == "try_peek" else "popleft")
    assert getattr(pipe, way)(*arguments) == none
    assert pipe.incoming.taken == [b"0"]
    pipe.deliver(b"1")
    assert popped(pipe) == [b"1"]


# ---------------------------------------------------------------------- the serve/park rule


def test_a_parked_socket_is_not_looked_at_again(bench):
    """Steps without news touch no socket and wait without a limit: an idle pump costs nothing."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[ANY])
    stuck, _ = bench.open(zmq.PUSH)
    push(stuck, b"nobody takes this")
    bench.settle()
    served = []
    original = bench.engine._serve
    bench.engine._serve = lambda pipe: (served.append(pipe), original(pipe))
    del bench.poller.given[:], bench.poller.timeouts[:]
    for _ in range(20):
        assert bench.engine._ready == type(bench.engine._ready)()
        bench.step()
    assert served == []
    assert bench.poller.given == []
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        socket.send(b"news")
        bench.until(lambda: pipe.waiting())
        assert pipe in served
        assert stuck not in served


def test_a_turn_that_has_received_all_is_the_last(bench):
    """It looks at the socket's events again, for what they said before is used up."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[inproc()])
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        bench.settle()
        socket.send(b"0")
        bench.step(2)  # one to see the descriptor, one to serve
        assert popped(pipe) == [b"0"]
        assert not bench.engine._ready


@pytest.mark.parametrize("eats", ["get_option", "set_option"])
def test_an_edge_eaten_by_a_command_is_not_lost(bench, eats):
    """The descriptor's edge is gone after the command; the socket is served because of the command."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[ANY])
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        socket.send(b"first")
        bench.until(lambda: pipe.waiting())
        bench.settle()
        for i in range(50):
            socket.send(b"%d" % i)
            assert pipe.socket.poll(LIMIT * 1000)  # it is there, and its edge is eaten by this very look
            arguments = {"get_option": (int(zmq.EVENTS),), "set_option": (int(zmq.RCVHWM), 1000)}[eats]
            bench.post(eats, pipe, *arguments)
            bench.step()
            assert popped(pipe)[-1] == b"%d" % i


def test_room_for_sending_comes_back_without_polling(bench):
    """A message that libzmq refused goes out when the peer has read, and the socket is parked meanwhile."""
    with peer(bench, zmq.PULL, bind=ANY, rcvhwm=1, rcvbuf=1024) as socket:
        pipe, _ = bench.open(zmq.PUSH, connect=[endpoint_of(socket)], options=[(zmq.SNDHWM, 1), (zmq.SNDBUF, 1024)])
        big = b"x" * 200_000
        push(pipe, *[big] * 20)
        bench.settle()
        bench.until(lambda: pipe.sent >= 1)
        for _ in range(10):
            bench.settle()
        assert pipe.pending()
        for _ in range(20):
            while not socket.poll(0):
                bench.step(timeout=0.01)
            assert socket.recv() == big
        bench.until(lambda: not pipe.pending())


def test_new_puts_behind_a_refused_one_ring_nobody(bench):
    """The owning thread waits for the descriptor, and says so; a put then costs no wake-up."""
    pipe, _ = bench.open(zmq.PUSH)
    push(pipe, b"x")
    bench.settle()
    assert not pipe.idle
    push(pipe, b"y")
    assert len(bench.engine.mailbox) == 0


def test_a_put_rings_once(bench):
    pipe, _ = bench.open(zmq.PUSH, bind=[inproc()])
    bench.settle()
    push(pipe, *numbers(10))
    assert len(bench.engine.mailbox) == 1


# ---------------------------------------------------------------------- credit


def test_no_credit_no_read(bench):
    """Only as many messages are read as there is room for; room made by the hub is used when half is free."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[inproc()], in_=4)
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        for message in numbers(20):
            socket.send(message)
        bench.settle()
        assert pipe.received == 4
        assert pipe.starved
        assert pipe.try_pop(0) == b"0"
        bench.settle()
        assert pipe.received == 4  # one place is not worth a wake-up
        assert pipe.try_pop(0) == b"1"
        bench.settle()
        assert pipe.received == 6
        got = []
        for _ in range(20):
            got += popped(pipe)
            bench.settle()
        assert got == numbers(2, 20)


def test_a_queue_of_one(bench):
    """Each message got makes room for the next."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[inproc()], in_=1)
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        for message in numbers(5):
            socket.send(message)
        for message in numbers(5):
            bench.settle()
            assert popped(pipe) == [message]


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", numbers(7, 10)), ("drop_newest", numbers(3))])
def test_overflow(bench, overflow, kept):
    """All is read, as the user chose, and the drops are counted."""
    pipe, endpoint = bench.open(zmq.PULL, bind=[inproc()], in_=3, overflow=overflow)
    with peer(bench, zmq.PUSH, connect=endpoint) as socket:
        for message in numbers(10):
            socket.send(message)
        bench.settle()
        assert (pipe.received, pipe.dropped) == (10, 7)
        assert popped(pipe) == kept


# ---------------------------------------------------------------------- turns


def test_turns_are_bounded_and_go_round(bench):
    """A socket with much to send gets a turn's worth, then the others have theirs."""
    busy, endpoint = bench.open(zmq.PUSH, bind=[inproc()], out=None, options=[(zmq.SNDHWM, 0)])
    other, elsewhere = bench.open(zmq.PUSH, bind=[inproc()])
    with (
        peer(bench, zmq.PULL, connect=endpoint, rcvhwm=0) as sink,
        peer(bench, zmq.PULL, connect=elsewhere) as sink_of_other,
    ):
        bench.settle()
        push(busy, *numbers(5 * TURN))
        push(other, b"x")
        bench.engine.step(0)
        assert busy.sent == TURN
        assert other.sent == 1
        bench.engine.step(0)
        assert busy.sent == 2 * TURN
        push(other, b"y")
        bench.engine.step(0)
        assert busy.sent == 3 * TURN
        assert other.sent == 2
        bench.until(lambda: not busy.pending())
        assert [sink.recv() for _ in range(5 * TURN)] == numbers(5 * TURN)
        assert [sink_of_other.recv(), sink_of_other.recv()] == [b"x", b"y"]


def test_a_pipe_that_is_touched_twice_has_one_turn(bench):
    pipe, _ = bench.open(zmq.PUSH)
    bench.settle()
    for _ in range(2):
        bench.engine.mailbox.send(pipe)
    bench.engine._take_mail()
    assert list(bench.engine._ready) == [pipe]


def test_receiving_turns_are_bounded(bench):
    busy, endpoint = bench.open(zmq.PULL, bind=[inproc()], in_=None, options=[(zmq.RCVHWM, 0)])
    other, elsewhere = bench.open(zmq.PULL, bind=[inproc()])
    with (
        peer(bench, zmq.PUSH, connect=endpoint, sndhwm=0) as source,
        peer(bench, zmq.PUSH, connect=elsewhere) as source_of_other,
    ):
        bench.settle()
        for message in numbers(3 * TURN + 1):
            source.send(message)
        source_of_other.send(b"x")
        bench.step(2)  # one to see the descriptors, one to serve
        assert busy.received == TURN
        assert other.received == 1
        bench.step()
        assert busy.received == 2 * TURN
        bench.until(lambda: busy.received == 3 * TURN + 1)
        assert popped(busy) == numbers(3 * TURN + 1)


def test_mail_is_taken_in_bounded_passes(bench):
    """A command that has another one posted does not keep the sockets from their turn."""
    served = []
    original = bench.engine._serve
    bench.engine._serve = lambda pipe: (served.append(pipe), original(pipe))
    count = 0

    def again(_reply):
        nonlocal count
        count += 1
        bench.engine.post(Reply(bench.hub, lambda _: None), again)

    pipe, _ = bench.open(zmq.PULL, bind=[inproc()])
    bench.engine.post(bench.reply(), again)
    before = len(served)
    bench.post("get_option", pipe, int(zmq.EVENTS))
    bench.engine.step(0)
    assert count == 1
    assert len(served) == before + 1


# ---------------------------------------------------------------------- refused


def test_eagain_stays_at_the_head(bench):
    """What libzmq does not take now is the first that it takes later."""
    pipe, _ = bench.open(zmq.PUSH)
    push(pipe, (b"a", b"b"), b"c")
    for _ in range(5):
        bench.settle()
    assert pipe.pending() == 2
    assert (pipe.sent, pipe.refused) == (0, 0)
    with peer(bench, zmq.PULL, bind=ANY) as socket:
        bench.ask("connect", pipe, endpoint_of(socket))
        bench.until(lambda: pipe.sent == 2)
        assert socket.recv_multipart() == [b"a", b"b"]
        assert socket.recv() == b"c"


def test_a_req_waits_for_its_reply(bench):
    """EFSM of a REQ means: not now."""
    req, endpoint = bench.open(zmq.REQ, bind=[inproc()])
    with peer(bench, zmq.REP, connect=endpoint) as rep:
        push(req, b"1", (b"2", b"two"), b"3")
        for expected in ([b"1"], [b"2", b"two"], [b"3"]):
            bench.until(lambda: rep.poll(0))
            for _ in range(3):
                bench.settle()
            assert rep.recv_multipart() == expected
            assert not rep.poll(0)
            rep.send_multipart(expected)
            message = bench.until(lambda: req.try_pop(0))
            assert message == (expected if len(expected) > 1 else expected[0])
    assert req.refused == 0


def test_a_rep_without_a_request_is_refused_for_good(bench):
    """EFSM of a REP is the putter's error; a request that comes then is answered."""
    rep, endpoint = bench.open(zmq.REP, bind=[inproc()])
    reply = bench.reply()
    push(rep, b"told", reply=reply)
    push(rep, (b"re", b"ported"))
    bench.settle()
    assert reply.error.errno == zmq.EFSM
    assert [(frames, error.errno) for frames, error in rep.owner.refusals] == [((b"re", b"ported"), zmq.EFSM)]
    assert rep.refused == 2
    with peer(bench, zmq.REQ, connect=endpoint) as req:
        req.send(b"ping")
        assert bench.until(lambda: rep.try_pop(0)) == b"ping"
        push(rep, b"pong")
        bench.settle()
        assert req.recv() == b"pong"


def test_a_router_with_mandatory_waits_for_a_full_peer(bench):
    """EAGAIN although POLLOUT is there (another peer has room): a timer tries again, without a busy loop."""
    router, endpoint = bench.open(
        zmq.ROUTER, bind=[inproc()], options=[(zmq.ROUTER_MANDATORY, 1), (zmq.SNDHWM, 1), (zmq.IDENTITY, b"r")]
    )
    with (
        peer(bench, zmq.DEALER, connect=endpoint, identity=b"full", rcvhwm=1) as full,
        peer(bench, zmq.DEALER, connect=endpoint, identity=b"free", rcvhwm=1) as free,
    ):
        full.send(b"hello")
        free.send(b"hello")
        bench.until(lambda: router.received == 2)
        popped(router)
        push(router, *[(b"full", b"%d" % i) for i in range(5)])
        bench.until(lambda: router in bench.engine._stalled, "the stall")
        sent = router.sent
        assert 1 <= sent < 5
        del bench.poller.timeouts[:]
        started = time.monotonic()
        for _ in range(5):
            bench.engine.step(LIMIT)  # each sleeps until the timer: this is no busy loop
        assert time.monotonic() - started > 0.1
        assert all(t is not None and t <= _python._RETRY for t in bench.poller.timeouts)
        got = []
        while len(got) < 5:
            bench.step(timeout=0.01)
            while full.poll(0):
                got.append(full.recv())
        assert got == numbers(5)


def test_two_refusals_that_are_not_in_a_row_are_no_stall(bench):
    """POLLOUT was there: the peer made room just after the refusal. So each is sent in the next turn."""
    pipe, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    with peer(bench, zmq.PAIR, connect=endpoint) as socket:
        bench.settle()
        fail_at(pipe, "send_frame", 1, 3, 5, error=zmq.Again)
        for message in numbers(3):
            push(pipe, message)
            bench.step()
            assert (pipe.pending(), len(bench.engine._ready), bench.engine._stalled) == (1, 1, {})
            bench.step()
            assert (pipe.pending(), bench.engine._stalled) == (0, {})
            assert socket.recv() == message


def test_two_refusals_in_a_row_are_a_stall(bench):
    pipe, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    with peer(bench, zmq.PAIR, connect=endpoint) as socket:
        bench.settle()
        fail_at(pipe, "send_frame", 1, 2, error=zmq.Again)
        push(pipe, b"0")
        bench.step(2)
        assert (pipe.pending(), len(bench.engine._ready), list(bench.engine._stalled)) == (1, 0, [pipe])
        bench.until(lambda: not pipe.pending())
        assert bench.engine._stalled == {}
        assert socket.recv() == b"0"


def test_a_router_with_mandatory_refuses_strangers(bench):
    router, _ = bench.open(zmq.ROUTER, bind=[inproc()], options=[(zmq.ROUTER_MANDATORY, 1)])
    push(router, (b"nobody", b"x"))
    bench.settle()
    assert router.owner.refusals[0][1].errno == zmq.EHOSTUNREACH


# ---------------------------------------------------------------------- whole messages


def test_multipart_is_all_or_nothing_when_the_peer_dies(bench):
    """PULL peers come and go at every point, between messages and within; only whole messages arrive, in order."""
    frames = 7
    pipe, endpoint = bench.open(zmq.PUSH, bind=[ANY], out=None, options=[(zmq.SNDHWM, 1), (zmq.SNDBUF, 4096)])
    put = 0
    got = []
    original = pipe.send_frame
    interrupt = []  # after so many frames more the peer goes away

    def send_frame(*args):
        if interrupt:
            interrupt[0] -= 1
            if interrupt[0] <= 0:
                interrupt.clear()
                sockets.pop().close(linger=0)
                wait_for_disconnect()
        return original(*args)

    pipe.send_frame = send_frame
    monitor = pipe.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def wait_for_disconnect():
        """The loss is on its way to our socket's mailbox: the next call may see it."""
        while monitor.poll(int(LIMIT * 1000)):
            event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
            if event == zmq.EVENT_DISCONNECTED:
                return

    for round_ in range(60):
        sockets = [bench.context.socket(zmq.PULL)]
        socket = sockets[0]
        socket.rcvhwm = 1
        socket.linger = 0
        socket.connect(endpoint)
        for _ in range(4):
            push(pipe, tuple([b"%d" % put] + [b"%d.%d" % (put, i) + b"x" * 3000 for i in range(1, frames)]))
            put += 1
        deadline = time.monotonic() + LIMIT
        seen = 0
        interrupt[:] = [10**9]
        while seen < 1 + round_ % 3:
            assert time.monotonic() < deadline
            bench.step(timeout=0.001)
            while socket.poll(0):
                got.append(socket.recv_multipart())
                seen += 1
        interrupt[:] = [1 + round_ % (2 * frames)]
        for _ in range(20):
            if not sockets:
                break
            bench.step()
            while sockets and socket.poll(0):
                got.append(socket.recv_multipart())
        interrupt.clear()
        for socket in sockets:  # it was not interrupted within: then between
            socket.close(linger=0)
        bench.settle()
    pipe.socket.disable_monitor()
    monitor.close()
    # Have all that is left taken, so that the socket is not closed while a message is half on its way to a peer that
    # has gone: libzmq 4.3.5 aborts on that (session_base.cpp, clean_pipes).
    pipe.send_frame = original
    socket = bench.context.socket(zmq.PULL)
    socket.connect(endpoint)
    push(pipe, (b"the last",))
    deadline = time.monotonic() + LIMIT
    while True:
        assert time.monotonic() < deadline
        bench.step(timeout=0.001)
        if socket.poll(0):
            message = socket.recv_multipart()
            if message == [b"the last"]:
                break
            got.append(message)
    socket.close(linger=0)
    for message in got:
        number = message[0]
        assert len(message) == frames
        assert all(frame.startswith(b"%s.%d" % (number, i)) for i, frame in enumerate(message[1:], 1))
    order = [int(message[0]) for message in got]
    assert order == sorted(set(order))


def test_a_peer_that_goes_between_two_frames(bench):
    """The next peer gets whole messages only, also where libzmq says EAGAIN in the middle of one.

    It does so between two commands from the peer that goes, the next of which makes it swallow the rest without a
    word; which it is cannot be forced, so this goes on until both have been seen.
    """
    pipe, endpoint = bench.open(zmq.PUSH, bind=[inproc()])
    fd_of_pipe = select_original("poll")()
    fd_of_pipe.register(pipe.socket.get(zmq.FD), 1)
    original = pipe.send_frame
    seen = set()
    whole = ((b"a", b"b", b"c", b"d"), (b"e", b"f"), (b"g", b"h"))
    deadline = time.monotonic() + LIMIT / 2
    for cut in itertools.cycle([1, 2, 3]):
        if len(seen) == 2 or time.monotonic() > deadline:
            break
        first = bench.context.socket(zmq.PULL)
        first.connect(endpoint)
        first.monitor(ends := inproc(), zmq.EVENT_MONITOR_STOPPED)
        count = 0
        refused = []

        def send_frame(*args, cut=cut, first=first, refused=refused):
            nonlocal count
            count += 1
            if count == cut + 1:
                first.close(linger=0)
                assert fd_of_pipe.poll(LIMIT * 1000)
                pipe.socket.get(zmq.EVENTS)  # libzmq learns of it
            try:
                return original(*args)
            except zmq.Again:
                if count == cut + 1:
                    refused.append(count)
                raise

        pipe.send_frame = send_frame
        with peer(bench, zmq.PAIR, connect=ends) as end_of_first:
            push(pipe, *whole)
            bench.until(lambda s=end_of_first: pipe.socket.get(zmq.EVENTS) is not None and s.poll(0))
        pipe.send_frame = original
        with peer(bench, zmq.PULL, connect=endpoint) as second:
            push(pipe, (b"the", b"end"))
            got = []
            while not got or got[-1] != [b"the", b"end"]:
                bench.until(lambda s=second: s.poll(0))
                got.append(second.recv_multipart())
        # What libzmq refused is sent again, whole; what it swallowed, or had for the peer that has gone, it has taken.
        assert got[:-1] == [list(message) for message in whole][0 if refused else len(whole) + 1 - len(got) :]
        seen.add("refused" if refused else "swallowed")
    if len(seen) < 2:
        pytest.skip(f"libzmq has only {seen} in {LIMIT / 2:g} s")


@pytest.mark.parametrize(("kind", "refused", "rest"), [
    (zmq.PUSH, 0, ""), (zmq.PUSH, 1, "cd"), (zmq.PUSH, 2, "d"), (zmq.PUSH, 3, ""), (zmq.DEALER, 1, "cd"),
    (zmq.REQ, 1, "cd"), (zmq.PAIR, 0, ""), (zmq.PAIR, 1, ""), (zmq.PAIR, 3, ""),
])  # fmt: skip
def test_what_libzmq_is_given_after_it_has_refused_a_frame(kind, refused, rest):
    """The rest of the message, which it swallows. Not if it has refused the first one, or the last one: then it would
    send the rest as a message. A PAIR swallows nothing."""
    given = []

    def send(frame, flags):
        assert flags & zmq.DONTWAIT
        given.append(frame.decode() + ("+" if flags & zmq.SNDMORE else "."))
        if len(given) == refused + 1:
            raise zmq.Again

    with pytest.raises(zmq.Again):
        _python._send_parts(SimpleNamespace(kind=int(kind), send_frame=send), (b"a", b"b", b"c", b"d"))
    marks = {"a": "a+", "b": "b+", "c": "c+", "d": "d."}
    assert given == [marks[frame] for frame in "abcd"[: refused + 1] + rest]


@pytest.mark.parametrize("kind", [zmq.PUSH, zmq.PAIR])
def test_a_message_whose_first_frame_is_refused_is_sent_whole(bench, kind):
    """The peer has made room since."""
    pipe, endpoint = bench.open(kind, bind=[inproc()])
    with peer(bench, zmq.PULL if kind == zmq.PUSH else kind, connect=endpoint) as socket:
        bench.settle()
        fail_at(pipe, "send_frame", 1, error=zmq.Again)
        push(pipe, (b"a", b"b", b"c"), b"d")
        bench.until(lambda: not pipe.pending())
        assert [socket.recv_multipart(), socket.recv_multipart()] == [[b"a", b"b", b"c"], [b"d"]]


NO_MEMORY = """
    import os, resource
    import zmq, zgreen
    from gevent.event import AsyncResult
    from zgreen._engine._setup import restart

    large = bytes(1 << 30)
    pump = zgreen.Pump(engine="python")
    target = zgreen.Channel(zmq.PULL, bind="inproc://x", pump=pump)
    source = zgreen.Channel(zmq.PUSH, connect="inproc://x", pump=pump)
    context = zmq.Context()
    req, router = context.socket(zmq.REQ), context.socket(zmq.ROUTER)
    router.bind("inproc://y")
    req.connect("inproc://y")
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), -1))

    told = AsyncResult()
    source.on_error = lambda error, message: told.set((type(error).__name__, message[0], len(message)))
    source.put([b"1", large, b"3"])
    print(*told.get(timeout={limit}))
    source.put([b"first", bytes(1 << 20), b"last"])
    print([len(frame) for frame in target.get(timeout={limit})])

    restart(req, (b"0", b"0"))
    try:
        restart(req, (b"1", large))
    except zmq.ZMQError as error:
        print(error)
    restart(req, (b"first", bytes(1 << 20)))
    for _ in range(2):
        print([len(frame) for frame in router.recv_multipart()[3:]], flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
def test_no_memory_for_a_later_frame():
    """The message is refused, all of it: its first frames do not begin the next one."""
    status, out, err = run(NO_MEMORY.replace("{limit}", str(LIMIT)))
    refused = "ZMQError b'1' 3\n", "[5, 1048576, 4]\n", "Cannot allocate memory\n"
    assert (status, out, err) == (0, "".join(refused) + "[1, 1]\n[5, 1048576]\n", "")


# ---------------------------------------------------------------------- close


def test_close_sends_what_is_pending(bench):
    """Then the reply says 0, the owner is told, and the port can be bound again at once."""
    with peer(bench, zmq.PULL, bind=ANY) as socket:
        pipe, _ = bench.open(zmq.PUSH, connect=[endpoint_of(socket)], out=None)
        push(pipe, *numbers(3 * TURN))
        assert bench.ask("close", pipe, None, LIMIT).total == 0
        assert pipe.owner.end == ([], 0, None)
        assert [socket.recv() for _ in range(3 * TURN)] == numbers(3 * TURN)


def test_the_port_is_free_when_the_close_is_reported(bench):
    pipe, endpoint = bench.open(zmq.PULL, bind=[ANY])
    for _ in range(20):
        assert bench.ask("close", pipe, None, 0).total == 0
        pipe, again = bench.open(zmq.PULL, bind=[endpoint])
        assert again == endpoint


def test_close_gives_up_after_the_linger(bench):
    """What was not with libzmq comes back with its asker's reply; mail and sockets go on meanwhile."""
    pipe, _ = bench.open(zmq.PUSH)
    reply = bench.reply()
    push(pipe, b"a", (b"b", b"c"))
    push(pipe, b"d", reply=reply)
    started = time.monotonic()
    closing = bench.post("close", pipe, 0.1, LIMIT)
    assert bench.ask("ping") is True
    assert closing not in bench.done
    bench.until(lambda: closing in bench.done)
    assert time.monotonic() - started >= 0.1
    assert closing.value == (3, 0)
    assert pipe.owner.end == ([(b"a", None), ((b"b", b"c"), None), (b"d", reply)], 0, None)


@pytest.mark.parametrize("hwm", [10, 6])
def test_what_libzmq_may_have_thrown_away(bench, hwm):
    """Taken by libzmq, and not sent when the linger ran out: counted, up to the high-water mark."""
    pipe, _ = bench.open(zmq.PUSH, connect=["tcp://127.0.0.1:1"], options=[(zmq.SNDHWM, hwm)])
    push(pipe, *numbers(10))
    bench.until(lambda: pipe.sent == hwm)
    assert bench.ask("close", pipe, 0.05, LIMIT).total == 10
    unsent, held, error = pipe.owner.end
    assert ([frames for frames, _ in unsent], held, error) == (numbers(hwm, 10), hwm, None)


def test_close_without_linger(bench):
    """0: at once; nobody asks what libzmq held."""
    pipe, _ = bench.open(zmq.PUSH, connect=["tcp://127.0.0.1:1"], options=[(zmq.SNDHWM, 2)])
    push(pipe, *numbers(5))
    bench.until(lambda: pipe.sent == 2)
    started = time.monotonic()
    assert bench.ask("close", pipe, 0.0, LIMIT) == (3, 0)
    assert time.monotonic() - started < LIMIT / 4


@pytest.mark.parametrize(
    ("option", "linger", "limit", "expected"), [(-1, None, 0.05, 0.05), (50, None, LIMIT, 0.05), (-1, 0.05, 0.0, 0.05)]
)
def test_how_long_it_lingers(bench, option, linger, limit, expected):
    """What is asked; else what ZMQ_LINGER says, within the limit."""
    pipe, _ = bench.open(zmq.PUSH, options=[(zmq.LINGER, option)])
    push(pipe, b"x")
    started = time.monotonic()
    assert bench.ask("close", pipe, linger, limit).total == 1
    assert expected <= time.monotonic() - started < expected + LIMIT / 4


def test_the_shortest_linger_counts(bench):
    pipe, _ = bench.open(zmq.PUSH)
    push(pipe, b"x")
    patient = bench.post("close", pipe, LIMIT, LIMIT)
    bench.step()
    assert bench.ask("close", pipe, 0.01, LIMIT).total == 1
    assert patient.value == (1, 0)
    assert bench.ask("close", pipe, None, LIMIT) == (1, 0)  # over


def test_closing_a_pipe_that_was_never_opened(bench):
    """Its open, if it comes later, is refused."""
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PUSH), 1, 1, "block", False)
    assert bench.ask("close", pipe, None, 0).total == 0
    with pytest.raises(zmq.ZMQError):
        bench.ask("open", pipe, Plan(None, int(zmq.PUSH), (), None, (), ()))


def test_a_put_that_races_with_the_end_is_not_lost(bench):
    """Pushed after the owning thread took what was there: the putter gets its message back."""
    pipe, _ = bench.open(zmq.PUSH)
    bench.ask("close", pipe, 0.0, 0.0)
    assert pipe.open  # the hub side has not said so: this is a thread that has just looked
    assert pipe.try_push(b"late", None, 0) is False
    assert pipe.pending() == 0


HUB_SIDE = ("_engine/_pipe.py", "_engine/_pipe_state.py", "_engine/_mailbox.py", "_engine/_signaler.py")


def asleep(bench):
    """Have the owning thread at rest, as if it slept: from now on it must be rung to look at anything."""
    bench.settle()
    bench.engine.mailbox.signaler.drain()
    bench.engine.mailbox.asleep = True


def assert_rung(bench, place):
    """What is in the owning thread's mailbox must not lie unseen."""
    assert readable(bench.engine.mailbox), f"at place {place}: the owning thread sleeps on"


@pytest.mark.parametrize("lines", [False, True], ids=["calls", "lines"])
@pytest.mark.parametrize("way", ["offer", "offer_now", "try_push", "push_over", "offer_many"])
def test_a_put_that_a_signal_handler_ends_does_not_stall_the_pipe(bench, way, lines):
    """Wherever it raises: the message is not there, or it goes out; and so does the next one."""
    a, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    b, _ = bench.open(zmq.PAIR, connect=[endpoint])
    arguments = {"try_push": (b"put", None, 0), "offer_many": ([b"put"], 0)}.get(way, (b"put",))
    asleep(bench)
    number = -1
    for number in interruptions(lambda: getattr(a, way)(*arguments), *HUB_SIDE, lines=lines):
        if a.pending():
            assert_rung(bench, number)
        bench.settle()
        assert a.pending() == 0, f"at place {number}: it is stuck"
        assert popped(b) in ([], [b"put"])
        asleep(bench)
        assert a.try_push(b"next", None, 0)
        assert_rung(bench, number)
        bench.settle()
        assert popped(b) == [b"next"], f"at place {number}: the next one is stuck"
        assert a.due() in (True, False)  # or the next streak ends in between
        asleep(bench)
    bench.settle()
    assert popped(b) == [b"put"]
    assert number > 5


@pytest.mark.parametrize("way", ["take", "take_now", "try_pop", "take_many"])
def test_a_get_that_a_signal_handler_ends_does_not_stall_the_pipe(bench, way):
    """Before whatever line it raises: no message is lost, and what comes next is received."""
    a, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    b, _ = bench.open(zmq.PAIR, connect=[endpoint], in_=1)
    arguments = {"try_pop": (0,), "take_many": (1,)}.get(way, ())
    got = []

    def get():
        message = getattr(b, way)(*arguments)
        got.extend(message if way == "take_many" else [message])

    push(a, *numbers(2))
    asleep(bench)
    number = -1
    for number in interruptions(get, *HUB_SIDE, lines=True):
        assert got == numbers(number)
        got += popped(b)
        assert_rung(bench, number)
        bench.settle()
        assert b.waiting() == 1, f"at place {number}: the next one is stuck"
        assert b.starved
        push(a, b"%d" % (number + 2))
        assert b.due() in (True, False)
        asleep(bench)
    assert number > 5
    assert got == numbers(number + 2)


def test_a_put_into_an_ended_pipe_that_a_signal_handler_ends_leaves_nothing(bench):
    pipe, _ = bench.open(zmq.PUSH)
    bench.ask("close", pipe, 0.0, 0.0)
    number = -1
    for number in interruptions(lambda: pipe.try_push(b"late", None, 0), "_engine/_pipe.py", lines=True):
        assert pipe.pending() == 0, f"at place {number}"
    assert number > 5


def test_there_is_room_exactly_when_a_put_would_be_taken(bench):
    """Else whoever waits for room looks again and again."""
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PUSH), 1, 1, "block", False)
    assert pipe.wakes()
    pipe.open = False
    assert not pipe.wakes()
    assert not pipe.try_push(b"late", None, 0)
    pipe.open = pipe.finished = True  # its socket has failed, and the hub has not been told
    assert not pipe.wakes()
    assert not pipe.try_push(b"late", None, 0)


def test_who_waits_for_room_is_left_asleep_while_a_ring_will_come(bench):
    """To wake somebody for a little room costs ten times a put."""
    rung = []
    with peer(bench, zmq.PULL, bind="inproc://much", rcvhwm=0):
        pipe, _ = bench.open(zmq.PUSH, connect=("inproc://much",), options=((zmq.SNDHWM, 0),), out=400)
        bench.settle()
        pipe.listen_for_room(Bell(bench.hub, lambda: rung.append(pipe.pending())), 1)
        push(pipe, *[b"x"] * 400)
        assert not pipe.wakes()
        bench.step()  # a turn sends 100
        assert (pipe.pending(), pipe.wakes(), rung) == (300, False, [])
        pipe.places_reserved = 101
        assert pipe.wakes()  # so many need all of it
        pipe.places_reserved = 1
        bench.step()
        assert (pipe.pending(), pipe.wakes(), rung) == (200, True, [])  # much room
        bench.step()
        assert (pipe.pending(), pipe.wakes(), rung) == (100, True, [100])  # the ring
        bench.settle()
        push(pipe, *[b"x"] * 399)
        assert not pipe.wakes()  # the first of these has asked for a turn
        bench.settle()
        assert (pipe.pending(), pipe.wakes(), rung[-1]) == (0, True, 0)


def test_a_turn_that_sends_nothing_pays_the_ring_it_owes(bench):
    """Who waits was left asleep because of it."""
    rung = []
    pipe, _ = bench.open(zmq.PUSH, bind=("inproc://nobody",), out=4)
    bench.settle()
    pipe.listen_for_room(Bell(bench.hub, lambda: rung.append(pipe.pending())), 1)
    push(pipe, b"1", b"2", b"3")
    assert not pipe.wakes()
    bench.settle()
    assert (pipe.pending(), pipe.wakes(), rung) == (3, True, [3])


def test_commands_on_a_closed_pipe(bench):
    pipe, _ = bench.open(zmq.PULL)
    bench.ask("close", pipe, 0.0, 0.0)
    with pytest.raises(zmq.ZMQError) as caught:
        bench.ask("bind", pipe, ANY)
    assert caught.value.errno == zmq.ENOTSOCK


def test_a_failed_open_leaves_nothing(bench):
    """Neither a socket nor a descriptor to listen to."""
    sockets = []
    before = dict(bench.engine._by_fd)
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PULL), 1, 1, "block", False)
    with pytest.raises(zmq.ZMQError, match="bogus"):
        bench.ask("open", pipe, Plan(None, int(zmq.PULL), (), sockets.append, ["bogus://"], ()))
    assert sockets[0].closed
    assert bench.engine._by_fd == before


def test_a_socket_that_fails_ends_alone(bench):
    """Its context is terminated: the owner is told why, the others go on."""
    other_context = zmq.Context()
    socket = other_context.socket(zmq.PAIR)
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PAIR), 10, 10, "block", False)
    bench.ask("open", pipe, Plan(socket, int(zmq.PAIR), (), None, (), ()))
    push(pipe, b"never")
    terminating = in_a_thread(other_context.term)
    bench.until(lambda: pipe.owner.end)
    terminating()
    unsent, held, error = pipe.owner.end
    assert ([frames for frames, _ in unsent], held, error.errno) == ([b"never"], 0, zmq.ETERM)
    assert socket.closed
    test_messages_go_both_ways(bench)


def in_a_thread(function):
    """Run *function* in a real thread; returns what waits for its end."""
    lock = monkey.get_original("_thread", "allocate_lock")()
    lock.acquire()

    def run():
        function()
        lock.release()

    monkey.get_original("_thread", "start_new_thread")(run, ())
    return lambda: lock.acquire(timeout=LIMIT)


# ---------------------------------------------------------------------- the end of the thread


def test_stop(bench):
    """What is open is closed without linger, all are told, and the context is terminated."""
    pipe, _ = bench.open(zmq.PUSH)
    push(pipe, b"x")
    other, _ = bench.open(zmq.PULL)
    stop = bench.post("stop")
    bench.engine.run()
    bench.over = True
    bench.take_mail()
    assert stop in bench.done
    assert pipe.owner.end == ([(b"x", None)], 0, None)
    assert other.owner.end == ([], 0, None)
    assert bench.context.closed
    assert bench.engine.ended
    assert bench.engine.failure is None
    assert bench.ends == 1


def test_a_socket_that_fails_in_the_middle_of_a_turn(bench):
    """What libzmq had taken, or given, by then is counted, told and to be got; a flush of it is done."""
    pipe, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    with peer(bench, zmq.PAIR, connect=endpoint) as socket:
        bench.settle()
        fail_at(pipe, "send_frame", 3)
        push(pipe, b"1", b"2")
        flush = bench.post("flush", pipe)
        bench.engine._take_mail()
        push(pipe, b"3")
        bench.until(lambda: pipe.owner.end)
        assert flush in bench.done
        assert flush.error is None
        assert (pipe.sent, pipe.send_turns, pipe.largest_send) == (2, 1, 2)
        assert ([frames for frames, _ in pipe.owner.end[0]], pipe.owner.end[2].errno) == ([b"3"], zmq.ENOTSOCK)
        assert [socket.recv(), socket.recv()] == [b"1", b"2"]
    pipe, endpoint = bench.open(zmq.PAIR, bind=[inproc()])
    with peer(bench, zmq.PAIR, connect=endpoint) as socket:
        bench.settle()
        fail_at(pipe, "recv_frame", 3)
        rung = []
        pipe.listen_for_message(Bell(bench.hub, lambda: rung.append(pipe.waiting())), 1)
        for message in (b"1", b"2", b"3"):
            socket.send(message)
        bench.until(lambda: pipe.owner.end)
        assert (pipe.received, pipe.receive_turns, pipe.largest_receive, pipe.peak_waiting) == (2, 1, 2, 2)
        assert rung
        assert popped(pipe) == [b"1", b"2"]


def gone():
    return zmq.ZMQError(zmq.ENOTSOCK)


def fail_at(pipe, name, *numbers_of_calls, error=gone):
    """Have some calls of a method of the socket fail, by default as if the socket were gone."""
    method = getattr(pipe, name)
    calls = itertools.count(1)

    def call(*args):
        if next(calls) in numbers_of_calls:
            raise error()
        return method(*args)

    setattr(pipe, name, call)


def test_two_stops(bench):
    """Both who asked are told of the end."""
    stops = [bench.post("stop"), bench.post("stop")]
    bench.engine.run()
    bench.over = True
    bench.take_mail()
    assert set(bench.done) == set(stops)
    assert [stop.error for stop in stops] == [None, None]


def test_mail_after_the_end_is_answered(bench):
    bench.post("stop")
    bench.engine.run()
    bench.over = True
    late = bench.post("ping")
    bench.take_mail()
    assert late in bench.done
    assert late.error.errno == zmq.ETERM


def test_an_open_behind_a_stop_is_refused(bench):
    """Nothing is opened that nobody would close."""
    pipe = bench.engine.make_pipe(Owner(), int(zmq.PULL), 1, 1, "block", False)
    bench.post("stop")
    opening = bench.post("open", pipe, Plan(None, int(zmq.PULL), (), None, (), ()))
    bench.engine.run()
    bench.over = True
    bench.take_mail()
    assert opening.error.errno == zmq.ETERM


@pytest.mark.parametrize("error", [RuntimeError("injected"), MemoryError(), SystemExit(3)])
def test_an_error_in_the_loop_tells_everybody(bench, error):
    """Bells ring, replies come, the hub is told once; mail after that is answered with the reason."""
    pipe, _ = bench.open(zmq.PULL, bind=[inproc()])
    closing, _ = bench.open(zmq.PUSH)
    push(closing, b"x")
    gone, _ = bench.open(zmq.PUSH, connect=["tcp://127.0.0.1:1"])
    push(gone, b"y")
    bench.until(lambda: gone.sent)
    replies = [bench.post("close", closing, LIMIT, LIMIT), bench.post("close", gone, 0.2, LIMIT)]
    bench.until(lambda: gone.finished)
    rung = []
    mailbox = Mailbox()
    pipe.message_bell = Bell(mailbox, lambda: rung.append("message"))
    pipe.room_bell = Bell(mailbox, lambda: rung.append("room"))

    def serve(_pipe):
        raise error

    bench.engine._serve = serve
    bench.post("get_option", pipe, int(zmq.TYPE))
    bench.engine.run()
    bench.over = True
    while (item := mailbox.take()) is not None:
        item()
    bench.take_mail()
    assert sorted(rung) == ["message", "room"]
    assert bench.engine.failure is error
    assert bench.engine.ended
    assert bench.ends == 1
    assert set(replies) <= set(bench.done)
    late = bench.post("ping")
    bench.take_mail()
    assert late.error is error
    assert bench.context.closed


def test_an_error_of_a_command_is_its_askers(bench):
    """Whatever it is, the loop goes on."""

    def fail(_socket):
        raise SystemExit

    pipe = bench.engine.make_pipe(Owner(), int(zmq.PULL), 1, 1, "block", False)
    with pytest.raises(SystemExit):
        bench.ask("open", pipe, Plan(None, int(zmq.PULL), (), fail, (), ()))
    test_messages_go_both_ways(bench)


# ---------------------------------------------------------------------- sleeping


def test_an_idle_engine_sleeps_without_a_limit(bench):
    """Nothing closes, nothing is stalled: the poller may wait for ever."""
    bench.open(zmq.PULL, bind=[ANY])
    bench.settle()
    del bench.poller.timeouts[:]
    bench.engine._poller.poll = lambda timeout: bench.poller.timeouts.append(timeout) or []
    bench.engine.step(None)
    assert bench.poller.timeouts == [None]
    del bench.engine._poller.poll


def test_mail_that_comes_before_it_sleeps_keeps_it_awake(bench):
    bench.engine.mailbox.send((bench.engine.ping, (), bench.reply()))
    bench.engine._take_mail = lambda: None  # as if it came just after the look
    bench.engine.step(LIMIT)
    assert bench.poller.timeouts[-1] == 0
    del bench.engine._take_mail
    assert not bench.engine.mailbox.asleep


def test_mail_wakes_it(bench):
    """The bell rings only if it sleeps."""
    reply = bench.reply()
    ring = in_a_thread(lambda: bench.engine.post(reply, bench.engine.ping))
    started = time.monotonic()
    while not len(bench.engine.mailbox):
        bench.engine.step(LIMIT)
    assert time.monotonic() - started < LIMIT / 2
    bench.step()
    assert reply in bench.done
    assert ring()


def test_a_ring_is_answered(bench):
    """Its descriptor is not readable any more. A sleep is counted, a look is none."""
    asleep(bench)
    reply = bench.post("ping")
    assert readable(bench.engine.mailbox)
    bench.until(lambda: reply in bench.done)
    bench.step()
    assert not readable(bench.engine.mailbox)
    wakeups = bench.engine.wakeups
    bench.step(3)
    assert bench.engine.wakeups == wakeups
    bench.step(2, timeout=0.001)
    assert bench.engine.wakeups == wakeups + 2


def test_it_is_quiet_only_while_nothing_is_under_way():
    """Neither from libzmq nor in the mailbox of an owning thread that sleeps."""
    mailbox = Mailbox()
    pipe = Pipe(mailbox, Streak(), None, int(zmq.PAIR), 1, 1, "block", False)
    signaler = Signaler()
    assert not pipe.quiet()  # it has no socket yet
    pipe.fd = signaler.fileno()
    assert not pipe.quiet()  # the thread is awake
    assert mailbox.sleeping()
    assert pipe.quiet()
    signaler.ring()
    assert not pipe.quiet()
    signaler.drain()
    mailbox._items.append(pipe)  # a sender is about to look whether the thread sleeps
    assert not pipe.quiet()


def test_imports_no_gevent():
    """The whole engine runs in a process that never imports gevent."""
    code = """
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "gevent":
                    raise ImportError("gevent is not for the owning thread")
        sys.meta_path.insert(0, Refuse())
        import types, os
        import importlib.util
        package = types.ModuleType("zgreen")
        package.__path__ = [sys.argv[1]]
        sys.modules["zgreen"] = package
        import zgreen._engine._python
        print("gevent" in sys.modules)
    """
    import zgreen

    path = zgreen.__path__[0]
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), path],
        env=unmeasured(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (out.returncode, out.stdout.strip(), out.stderr) == (0, "False", "")


def test_default_linger():
    """What close() gives where nobody says anything."""
    assert _commands._DEFAULT_LINGER == 5.0


def test_a_refused_message_is_not_kept_by_its_error(bench):
    """Its traceback leads to the message. In a cycle it would keep that until the garbage collector comes."""
    pipe, _ = bench.open(zmq.PUSH)
    gc.collect()
    gc.disable()
    try:
        push(pipe, b"x")
        bench.step(3)
        assert pipe.pending() == 1
        assert not [one for one in gc.get_objects() if isinstance(one, zmq.Again)]
    finally:
        gc.enable()
