"""What the owning thread does as it is told, besides messages: flushes, failed opens, its own end; each engine.

One step at a time, as in test_pipe.py: this thread plays both sides.
"""

import pytest
import zmq
from benches import NOBODY, peer, push
from support import ANY, LIMIT, endpoint_of, inproc
from test_pipe import Bench, numbers, withdrawn

from zgreen._engine._api import Plan
from zgreen._engine._mailbox import Bell


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.end()


def sent(pipe):
    return pipe.counts().sent


def settled(bench, pipe, number):
    """Step until libzmq has taken or refused that many messages, and there is nothing left to do."""
    bench.until(lambda: sent(pipe) + pipe.counts().refused == number, f"{number} messages")
    bench.step(3)


def holding(bench, number, hwm=100, **options):
    """A pipe of which libzmq holds so many messages: there is nobody that they could be sent to."""
    pipe = bench.open(zmq.PUSH, connect=[NOBODY], options=[(zmq.SNDHWM, hwm)], **options)
    push(pipe, *numbers(number))
    bench.until(lambda: sent(pipe) == min(number, hwm))
    return pipe


# ---------------------------------------------------------------------- opening


class Unwatchable(zmq.Socket):
    """A socket that cannot be listened to."""

    def get(self, option):
        if option == zmq.FD:
            raise ZeroDivisionError("no descriptor")
        return super().get(option)


def test_an_open_that_fails_late_leaves_nothing(bench):
    """The socket is set up, but cannot be listened to: it is closed, and the pipe is one that was never opened."""
    socket = Unwatchable(bench.context, zmq.PUSH)
    pipe = bench.make()
    with pytest.raises(ZeroDivisionError, match="no descriptor"):
        bench.ask("open", pipe, Plan(socket, int(zmq.PUSH), (), None, (), ()))
    assert socket.closed
    assert bench.ask("close", pipe, None, 0).total == 0


def test_an_open_that_fails_last_leaves_nothing(bench, monkeypatch):
    """The loop refuses its descriptor."""

    def refuse(pipe):
        raise ZeroDivisionError("refused")

    monkeypatch.setattr(bench.engine, "_listen", refuse)
    socket = zmq.Socket(bench.context, zmq.PUSH)
    pipe = bench.make()
    with pytest.raises(ZeroDivisionError, match="refused"):
        bench.ask("open", pipe, Plan(socket, int(zmq.PUSH), (), None, (), ()))
    monkeypatch.undo()
    assert socket.closed
    assert pipe.fd == -1
    assert bench.ask("close", pipe, None, 0).total == 0


# ---------------------------------------------------------------------- flushes


def test_a_flush_is_answered_when_the_last_message_is_taken(bench):
    """Not before; and at once if there is none."""
    endpoint = inproc()
    pipe = bench.open(zmq.PUSH, bind=[endpoint], options=[(zmq.SNDHWM, 2)])
    assert bench.ask("flush", pipe) is None
    push(pipe, *numbers(5))
    flush = bench.post("flush", pipe)
    bench.step(5)
    with peer(bench, zmq.PULL, connect=endpoint, rcvhwm=1) as socket:
        bench.until(lambda: sent(pipe) >= 3)
        bench.step(5)
        assert flush not in bench.done
        for message in numbers(5):
            while not socket.poll(0):
                bench.step()
            assert socket.recv() == message
        bench.until(lambda: flush in bench.done)
        assert flush.error is None


def test_a_flush_counts_what_was_refused_before(bench):
    """It waits for its own messages, as many as there are, whatever became of earlier ones."""
    endpoint = inproc()
    router = bench.open(zmq.ROUTER, bind=[endpoint], options=[(zmq.ROUTER_MANDATORY, 1), (zmq.SNDHWM, 1)])
    with peer(bench, zmq.DEALER, connect=endpoint, identity=b"peer", rcvhwm=1) as socket:
        push(router, *[(b"nobody", number) for number in numbers(4)])
        socket.send(b"hello")
        settled(bench, router, 4)
        assert router.counts().refused == 4
        push(router, *[(b"peer", number) for number in numbers(5)])
        flush = bench.post("flush", router)
        bench.until(lambda: sent(router) >= 2)
        bench.step(5)
        assert flush not in bench.done
        for message in numbers(5):
            while not socket.poll(0):
                bench.step(timeout=0.01)
            assert socket.recv() == message
        bench.until(lambda: flush in bench.done)


def test_a_refusal_answers_a_flush(bench):
    """A message that will never be sent is waited for no more."""
    router = bench.open(zmq.ROUTER, bind=[inproc()], options=[(zmq.ROUTER_MANDATORY, 1)])
    push(router, (b"nobody", b"x"))
    assert bench.ask("flush", router) is None


def test_flushes_are_answered_in_their_order(bench):
    endpoint = inproc()
    pipe = bench.open(zmq.PUSH, bind=[endpoint])
    flushes = []
    for message in numbers(3):
        push(pipe, message)
        flushes.append(bench.post("flush", pipe))
    bench.step(3)
    assert not bench.done[1:]
    with peer(bench, zmq.PULL, connect=endpoint):
        bench.until(lambda: flushes[-1] in bench.done)
    assert [reply for reply in bench.done if reply in flushes] == flushes


def test_a_flush_that_is_given_up_is_forgotten(bench):
    """Its reply comes, nobody waits for it any more; the others are not touched."""
    pipe = bench.open(zmq.PUSH)
    push(pipe, b"x")
    flushes = [bench.post("flush", pipe) for _ in range(3)]
    bench.step()
    bench.ask("forget_flush", pipe, flushes[1])
    assert [reply in bench.done for reply in flushes] == [False, True, False]
    assert [reply for _, reply in pipe.flushes] == [flushes[0], flushes[2]]
    bench.ask("forget_flush", pipe, flushes[1])  # again: nothing
    assert [reply for _, reply in pipe.flushes] == [flushes[0], flushes[2]]


def test_the_end_of_the_socket_answers_flushes(bench):
    pipe = bench.open(zmq.PUSH)
    push(pipe, b"x")
    flush = bench.post("flush", pipe)
    assert bench.ask("close", pipe, 0.0, 0.0).total == 1
    assert bench.done.count(flush) == 1
    assert flush.error.errno == zmq.ENOTSOCK
    with pytest.raises(zmq.ZMQError) as caught:
        bench.ask("flush", pipe)
    assert caught.value.errno == zmq.ENOTSOCK


# ---------------------------------------------------------------------- the end of a socket


class Noting(zmq.Socket):
    """A socket that says with which linger it was closed."""

    lingers = ()

    def close(self, linger=None):
        type(self).lingers = (*self.lingers, linger)
        super().close(linger)


def test_libzmq_gets_whole_milliseconds_of_linger_and_no_less(bench):
    Noting.lingers = ()
    pipe = bench.make()
    socket = Noting(bench.context, zmq.PUSH)
    bench.ask("open", pipe, Plan(socket, int(zmq.PUSH), (), None, (), ()))
    bench.ask("close", pipe, 0.9, LIMIT)
    assert len(Noting.lingers) == 1
    assert 900 <= Noting.lingers[0] <= 1000  # with a little more than was asked, so that its own timer is the later one


def test_libzmq_gets_no_linger_when_it_is_used_up(bench):
    """All of it has gone by while messages were pending."""
    Noting.lingers = ()
    pipe = bench.make()
    socket = Noting(bench.context, zmq.PUSH)
    bench.ask("open", pipe, Plan(socket, int(zmq.PUSH), (), None, (), ()))
    push(pipe, b"x")
    assert bench.ask("close", pipe, 0.01, LIMIT).total == 1
    [linger] = Noting.lingers
    assert linger <= 100  # the little that is more than was asked


def test_a_name_that_was_unbound_may_be_anothers(bench):
    """The close does not take it away."""
    endpoint = inproc()
    pipe = bench.open(zmq.PULL, bind=[endpoint])
    bench.ask("unbind", pipe, endpoint)
    other = bench.open(zmq.PULL, bind=[endpoint])
    bench.ask("close", pipe, 0.0, 0.0)
    source = bench.open(zmq.PUSH, connect=[endpoint])
    push(source, b"x")
    bench.until(lambda: other.try_pop(0) == b"x", "the message")


def test_who_asked_for_a_linger_is_told_although_it_is_cut_short(bench):
    pipe = holding(bench, 5, hwm=3)
    first = bench.post("close", pipe, LIMIT, LIMIT)
    bench.step(3)
    assert bench.ask("close", pipe, 0.0, LIMIT).total == 5
    assert first.value.total == 5


def test_a_socket_without_a_linger_of_its_own_is_closed_at_once(bench):
    """zmq.LINGER is 0, and nobody says otherwise."""
    pipe = bench.open(zmq.PUSH, connect=[NOBODY], options=[(zmq.LINGER, 0), (zmq.IMMEDIATE, 1)])
    push(pipe, b"x")
    bench.step(3)
    bench.post("close", pipe, None, 10 * LIMIT)
    bench.step(2)
    assert pipe.fd == -1


def test_a_close_ends_when_the_last_message_is_sent(bench):
    """The linger is a limit, no pause."""
    endpoint = inproc()
    pipe = bench.open(zmq.PUSH, bind=[endpoint])
    push(pipe, *numbers(3))
    closing = bench.post("close", pipe, 100 * LIMIT, 100 * LIMIT)
    bench.step(5)
    assert closing not in bench.done
    with peer(bench, zmq.PULL, connect=endpoint) as socket:
        bench.until(lambda: closing in bench.done, "the close")
        assert closing.value == (0, 0)
        assert [socket.recv() for _ in range(3)] == numbers(3)


def test_a_second_close_does_not_lengthen_the_linger(bench):
    pipe = bench.open(zmq.PUSH)
    push(pipe, b"x")
    closes = [bench.post("close", pipe, linger, LIMIT) for linger in (0.05, 100 * LIMIT)]
    bench.until(lambda: set(closes) <= set(bench.done), "both closes")
    assert [closing.value for closing in closes] == [(1, 0), (1, 0)]


def test_the_end_rings_both_bells(bench):
    """Foreign threads that wait for room or for a message learn of the end in this way."""
    pipe = bench.open(zmq.PAIR, out=1)
    push(pipe, b"x")
    rung = []
    pipe.listen_for_room(Bell(bench.hub, lambda: rung.append("room")), 1)
    pipe.listen_for_message(Bell(bench.hub, lambda: rung.append("message")), 1)
    bench.ask("close", pipe, 0.0, 0.0)
    assert sorted(rung) == ["message", "room"]


# ---------------------------------------------------------------------- the end of the thread


def test_a_stop_waits_for_sockets_that_are_being_closed(bench):
    pipe = holding(bench, 2)
    closing = bench.post("close", pipe, 0.1, LIMIT)
    bench.step(2)
    stop = bench.post("stop")
    bench.until(lambda: bench.over)
    assert closing in bench.done
    assert closing.value.total == 2
    assert stop not in bench.done  # only when the thread ends


def test_mail_that_nobody_looked_at_is_answered_at_the_end(bench):
    """It came after the loop's last look, and before the thread said that it had ended."""
    bench.post("stop")
    bench.until(lambda: bench.over)
    late = bench.post("ping")
    bench.engine._end()
    bench.take_mail()
    assert late in bench.done
    assert late.error.errno == zmq.ETERM


@pytest.mark.parametrize("first", ["pair", "socket"])
def test_an_engine_that_fails_beside_a_monitor_ends(bench, first):
    """Whichever of the two sockets is closed first, libzmq's threads are not left blocked in an event for nobody."""
    endpoint = inproc()
    pair = bench.open(zmq.PAIR, connect=[endpoint]) if first == "pair" else None
    with zmq.Context() as context, context.socket(zmq.PULL) as sink:
        sink.bind(ANY)
        pipe = bench.open(zmq.PUSH, connect=[endpoint_of(sink)])
        pair = pair or bench.open(zmq.PAIR, connect=[endpoint])
        bench.ask("monitor", pipe, pair, endpoint)

        def fail(timeout):
            raise ZeroDivisionError("oops")

        bench.engine.step = fail
        bench.engine.run()  # terminates the context
        bench.over = True
    assert isinstance(bench.engine.failure, ZeroDivisionError)


# ---------------------------------------------------------------------- sizes


def test_a_queue_of_one_holds_one(bench):
    pipe = bench.make(out=1)
    assert pipe.try_push(b"1", None, 0)
    assert not pipe.try_push(b"2", None, 0)
    assert not pipe.wakes()
    assert withdrawn(pipe) == [b"1"]
