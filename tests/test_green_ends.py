"""zgreen.green: what is left when a call is given up, a socket closed, or a context terminated or dropped."""

import gc
import logging

import gevent
import pytest
import zmq as plain
from gevent.event import Event
from support import LIMIT, Gate, real_threads, unanswered, wait_for

import zgreen.green as zmq
from zgreen._hub.wait import Deadline


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def errno_of(function, *args, **options):
    with pytest.raises(zmq.ZMQError) as caught:
        function(*args, **options)
    return caught.value.errno


# ---------------------------------------------------------------------- calls that are given up


def test_a_send_that_was_given_up_leaves_no_reply_that_is_waited_for(context):
    """One was pending, the other waited for room behind it."""
    one = context.socket(zmq.PUSH)
    one.sndhwm, one.linger = 1, 0
    sender = gevent.spawn(one.send, b"pending")
    wait_for(lambda: one._core.lanes is not None and one._core.lanes.pipe.pending())
    thread = one._core.lanes.thread
    one.SNDTIMEO = 10
    with pytest.raises(zmq.Again):
        one.send(b"behind")
    assert len(set(unanswered(thread))) == len(one._core._handing.calls) == 1
    sender.kill()
    with pytest.raises(zmq.Again):
        one.send(b"pending")
    assert not unanswered(thread)
    assert not one._core._handing.calls


def test_a_kill_while_the_socket_is_handed_over_leaves_it_usable(context):
    """The order is forced: the owning thread is kept from opening it until the caller is dead."""
    first, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    first.bind("inproc://handed")
    gate = Gate()

    def block(reply):
        gate.wait()
        reply.complete()

    blocked = first._core.lanes.thread.post(block)
    caller = gevent.spawn(other.recv)
    wait_for(lambda: other._core.lanes is not None)
    caller.kill()
    gate.open()
    blocked.wait(Deadline(LIMIT))
    other.connect("inproc://handed")
    first.send(b"next")
    assert other.recv() == b"next"


def test_a_request_that_was_not_sent_may_be_sent_again(context):
    request = context.socket(zmq.REQ)
    for _ in range(2):  # not EFSM
        with pytest.raises(zmq.Again):
            request.send(b"x", zmq.NOBLOCK)


# ---------------------------------------------------------------------- close


def test_a_socket_that_is_closed_while_its_first_call_starts_the_thread(context):
    socket = context.socket(zmq.PULL)
    receiver = gevent.spawn(errno_of, socket.recv)
    gevent.sleep(0)
    assert socket._core.lanes is None  # the thread is not ready yet
    socket.close()
    assert receiver.get() == zmq.ENOTSOCK


def test_a_closed_socket_gives_nothing_that_has_come_and_takes_nothing(context):
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    one.bind("inproc://come")
    other.connect("inproc://come")
    for _ in range(3):
        one.send(b"x")
    assert other.recv() == b"x"
    assert other.poll(LIMIT * 1000) == zmq.POLLIN
    other.close()
    for call in (other.recv, other.recv_multipart, lambda: other.send(b"y"), lambda: other.send_multipart([b"y"])):
        assert errno_of(call) == zmq.ENOTSOCK


def test_a_close_that_lingers_wakes_those_who_receive(context):
    one, peer = context.socket(zmq.DEALER), context.socket(zmq.DEALER, socket_class=plain.Socket)
    one.sndhwm, peer.rcvhwm, peer.rcvtimeo = 10, 1, int(LIMIT * 1000)
    one.bind("inproc://lingers")
    peer.connect("inproc://lingers")
    assert one.poll(LIMIT * 1000, zmq.POLLOUT)
    for _ in range(8):  # the peer reads none: two of them stay in the queue
        one.send(b"x")
    receiver = gevent.spawn(errno_of, one.recv)
    wait_for(lambda: len(one._core.lanes.receives.line))
    one.close(linger=int(LIMIT * 1000))
    assert receiver.get(timeout=LIMIT) == zmq.ENOTSOCK
    assert one._core.lanes.pipe.pending() == 2
    assert [peer.recv() for _ in range(8)] == [b"x"] * 8
    peer.close()


def test_what_a_close_loses_is_not_reported(context, caplog):
    """LINGER has said that it may be lost."""
    caplog.set_level(logging.DEBUG, "zgreen")
    one = context.socket(zmq.PUSH)
    sender = gevent.spawn(errno_of, one.send, b"lost")
    wait_for(lambda: one._core.lanes is not None and one._core.lanes.pipe.pending())
    one.close(linger=0)
    assert sender.get() == zmq.ENOTSOCK
    context.term()
    assert caplog.records == []


def test_a_close_wakes_those_who_poll(context):
    """Also by a thread that is not the hub's."""
    for close in (zmq.Socket.close, lambda socket: gevent.get_hub().threadpool.apply(socket.close)):
        for kind, event in ((zmq.PULL, zmq.POLLIN), (zmq.PUSH, zmq.POLLOUT)):
            socket = context.socket(kind)
            assert socket.FD >= 0
            polls = [gevent.spawn(errno_of, zmq.zmq_poll, [(socket, event)]),
                     gevent.spawn(errno_of, socket.poll, None, event)]  # fmt: skip
            wait_for(lambda socket=socket: len(socket._core.readiness._listeners) == 3)
            close(socket)
            assert [poll.get(timeout=LIMIT) for poll in polls] == [zmq.ENOTSOCK] * 2


# ---------------------------------------------------------------------- the end of a context


def test_term_of_another_thread_wakes_waiters():
    context = zmq.Context()
    sending, receiving = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    waits = [gevent.spawn(errno_of, sending.send, b"x"), gevent.spawn(errno_of, receiving.recv),
             gevent.spawn(errno_of, receiving.poll)]  # fmt: skip
    wait_for(lambda: sending._core._handing.calls and receiving._core.readiness._listeners)
    with real_threads(1) as spawn:
        term = spawn(context.term)
        assert [wait.get(timeout=LIMIT) for wait in waits] == [zmq.ETERM] * 3
        sending.close(linger=0)
        receiving.close()
        term.get(timeout=LIMIT)
    assert context.closed


def test_term_waits_until_all_sockets_are_closed():
    context = zmq.Context()
    unused, used = context.socket(zmq.PULL), context.socket(zmq.PULL)
    used.bind("inproc://used")
    term = gevent.spawn(context.term)
    for socket in (unused, used):
        term.join(timeout=0.05)
        assert not term.ready()
        socket.close()
    term.get(timeout=LIMIT)


@pytest.mark.parametrize("used", [True, False])
def test_a_context_that_nobody_has_is_terminated(used):
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    if used:
        socket.bind("inproc://dropped")
    beneath = context._life._plain
    del socket, context
    gc.collect()
    wait_for(lambda: beneath.closed, "the end of the context")


# ---------------------------------------------------------------------- frames


def test_nobody_takes_the_rest_of_a_message_whose_greenlet_lives(context):
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    one.bind("inproc://rest")
    other.connect("inproc://rest")
    one.send_multipart([b"1", b"2"])
    one.send(b"3")
    begun, go_on = Event(), Event()

    def receive():
        first = other.recv()
        begun.set()
        go_on.wait()
        return [first, other.recv()]

    receiver = gevent.spawn(receive)
    begun.wait()
    assert not other.RCVMORE
    assert other.recv() == b"3"
    go_on.set()
    assert receiver.get() == [b"1", b"2"]
