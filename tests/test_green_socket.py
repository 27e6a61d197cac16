"""zgreen.green: sockets that look like pyzmq's: messages, options, errors, ends."""

import ast
import copy
import ctypes
import errno
import gc
import inspect
import socket as sockets
from pathlib import Path

import gevent
import pytest
import zmq as plain
import zmq.green as original
from gevent.event import Event
from support import LIMIT, run, wait_for

import zgreen.green as zmq


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def pair(context, left, right, **options):
    """Two sockets, the first bound, the second connected; options by name, of both."""
    one, other = context.socket(left), context.socket(right)
    for name, value in options.items():
        setattr(one, name, value)
        setattr(other, name, value)
    port = one.bind_to_random_port("tcp://127.0.0.1")
    other.connect(f"tcp://127.0.0.1:{port}")
    return one, other


def errno_of(function, *args, **options):
    with pytest.raises(zmq.ZMQError) as caught:
        function(*args, **options)
    return caught.value.errno


def test_the_names_are_those_of_zmq_green():
    exported = {}
    exec("from zgreen.green import *", exported)
    expected = {}
    exec("from zmq.green import *", expected)
    assert set(expected) <= set(exported)
    ours = {"Context", "Socket", "Poller", "select", "zmq_poll", "device", "proxy"}
    assert {name for name in set(expected) - {"__builtins__"} if exported[name] is not expected[name]} <= ours
    modules = {"core", "poll", "annotations"}  # of zmq.green's own
    missing = {name for name in set(dir(original)) - set(dir(zmq)) if not name.startswith("_")} - modules
    assert missing == set()


def test_the_stub_has_the_same_names():
    stub = ast.parse(Path(zmq.__file__).with_name("__init__.pyi").read_text())
    names = {*plain.constants.__all__, *plain.error.__all__}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
    assert names == {*zmq.__all__, "install"}


def test_they_are_pyzmqs_classes(context):
    socket = context.socket(zmq.PUSH)
    assert isinstance(context, plain.Context)
    assert isinstance(socket, plain.Socket)
    assert isinstance(socket, zmq.Socket)
    assert zmq.Context.instance() is zmq.Context.instance() is not plain.Context.instance()
    assert socket.type == zmq.PUSH
    assert socket.TYPE == zmq.PUSH
    assert "PUSH" in repr(socket)
    zmq.Context.instance().term()
    plain.Context.instance().term()


def test_no_handle_can_be_used(context):
    """Plain pyzmq calls are refused; none of them reaches descriptor 0."""
    socket = context.socket(zmq.PULL)
    assert errno_of(plain.zmq_poll, [(socket, zmq.POLLIN)], 0) == zmq.ENOTSOCK
    assert errno_of(plain.Socket.recv, socket, zmq.NOBLOCK) == zmq.ENOTSOCK
    assert errno_of(plain.Socket.shadow(socket).recv, zmq.NOBLOCK) == zmq.ENOTSOCK
    with plain.Context() as other, other.socket(zmq.PULL) as foreign:
        assert errno_of(zmq.Socket, foreign) == zmq.ENOTSUP


def test_messages_go_both_ways(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    one.send(b"a")
    assert other.recv() == b"a"
    other.send_multipart([b"b", bytearray(b"c"), memoryview(b"d")])
    assert one.recv_multipart() == [b"b", b"c", b"d"]
    one.send_string("Ä")
    assert other.recv_string() == "Ä"
    one.send_json({"a": 1})
    assert other.recv_json() == {"a": 1}
    one.send_pyobj((1, 2))
    assert other.recv_pyobj() == (1, 2)
    one.send_serialized(3, lambda number: [b"x"] * number)
    assert other.recv_serialized(len) == 3
    one.send(b"buffer")
    buffer = bytearray(4)
    assert other.recv_into(buffer) == 6
    assert buffer == b"buff"


def test_frame_by_frame(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    one.send(b"1", zmq.SNDMORE)
    one.send(zmq.Frame(b"2"), zmq.SNDMORE)
    one.send(b"3")
    first = other.recv(copy=False)
    assert (first.bytes, bytes(first.buffer), first.more, other.RCVMORE) == (b"1", b"1", True, 1)
    assert (other.recv(), other.getsockopt(zmq.RCVMORE)) == (b"2", 1)
    assert (other.recv(), other.get(zmq.RCVMORE)) == (b"3", 0)
    one.send_multipart([b"a", b"b"])
    assert [(frame.bytes, frame.more) for frame in other.recv_multipart(copy=False)] == [(b"a", True), (b"b", False)]


def test_a_copy_is_another_face_of_the_same_socket(context):
    one, other = pair(context, zmq.PUSH, zmq.PULL)
    face = copy.copy(one)
    face.send(b"x")
    del face
    gc.collect()
    one.send(b"y")
    assert [other.recv(), other.recv()] == [b"x", b"y"]


def test_frames_have_the_properties_of_their_message(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    one.send_multipart([b"x", b"y"])
    for frame in other.recv_multipart(copy=False):
        assert (frame["Socket-Type"], frame.get("Peer-Address")) == ("PAIR", "127.0.0.1")
        assert frame.get(zmq.MORE) == frame.more == (frame.bytes == b"x")
        assert errno_of(frame.get, "User-Id") == zmq.EINVAL
        other.send(frame, copy=False)
    assert [one.recv(), one.recv(copy=False).bytes] == [b"x", b"y"]


def test_the_rest_of_a_message_may_be_received_in_another_way(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    for _ in range(2):
        one.send_multipart([b"1", b"2", b"3"])
    assert (other.recv(), other.recv(copy=False).bytes, other.recv_multipart()) == (b"1", b"2", [b"3"])
    frames = [other.recv(copy=False), other.recv(), *other.recv_multipart(copy=False)]
    assert [bytes(frame) for frame in frames] == [b"1", b"2", b"3"]
    assert (frames[0].more, frames[2].more) == (True, False)


def test_content_stays_where_it_is(context):
    """Over inproc the received Frame has the very memory that was sent, and so has one that is sent on."""
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    one.bind("inproc://memory")
    other.connect("inproc://memory")
    content = bytearray(b"x" * 100_000)

    def place(data):
        return ctypes.addressof(ctypes.c_char.from_buffer(data))

    one.send(content, copy=False)
    frame = other.recv(copy=False, track=True)
    assert (type(frame), place(frame), frame.tracker.done) == (plain.Frame, place(content), True)
    other.send(frame)
    del frame
    assert [place(frame) for frame in one.recv_multipart(copy=False)] == [place(content)]


def test_received_frames_are_those_of_pyzmq(context):
    """Short and long, alone and in messages; each outlives its socket, and pyzmq's own sockets send it."""
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    contents = [b"", b"x", b"y" * 33, b"z" * 34, b"w" * 1000]
    frames = []
    for size in range(1, len(contents) + 1):
        one.send_multipart(contents[:size])
        frames += other.recv_multipart(copy=False)
    one.close()
    other.close()
    assert [frame.bytes for frame in frames if not frame.more] == contents
    assert sum(frame.more for frame in frames) == 10
    with plain.Context() as real, real.socket(plain.PUSH) as push, real.socket(plain.PULL) as pull:
        push.bind("inproc://real")
        pull.connect("inproc://real")
        for frame in frames:
            push.send(copy.copy(frame))
            assert (pull.recv(), frame.buffer) == (frame.bytes, memoryview(frame.bytes))


def test_large_frames_go_without_a_copy(context):
    one, other = pair(context, zmq.PUSH, zmq.PULL)
    content = bytearray(b"x" * 100_000)
    frame = zmq.Frame(content, copy=False, track=True)
    assert one.send(frame, track=True) is frame.tracker
    tracker = one.send_multipart([b"head", content], copy=False, track=True)
    assert not frame.tracker.done
    assert [len(other.recv()), [len(part) for part in other.recv_multipart()]] == [100_000, [4, 100_000]]
    one.send(b"", 0)  # releases what libzmq has let go of
    assert other.recv() == b""
    tracker.wait(LIMIT)
    kept = frame.tracker
    del frame
    kept.wait(LIMIT)


def test_a_monitor_tells_the_events_that_were_asked_for(context):
    from zmq.utils.monitor import recv_monitor_message

    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    monitor = one.get_monitor_socket(zmq.EVENT_ACCEPTED, "inproc://events")
    port = one.bind_to_random_port("tcp://127.0.0.1")
    other.connect(f"tcp://127.0.0.1:{port}")
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_ACCEPTED  # not LISTENING, which came before
    assert errno_of(other.monitor, "inproc://mine") == zmq.ENOTSUP


def test_a_tracker_is_done(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    assert one.send(b"x") is None
    assert one.send(b"x", copy=False, track=True).done
    assert one.send_multipart([b"x", b"y"], copy=False, track=True).done
    with pytest.raises(ValueError, match="tracked"):
        one.send(zmq.Frame(b"x"), track=True)
    with pytest.raises(TypeError):
        one.send("text")
    with pytest.raises(TypeError):
        one.send_multipart([b"x", 5])
    del other


def test_frames_of_three_greenlets_never_mix(context):
    one, other = pair(context, zmq.PUSH, zmq.PULL)

    def send(name):
        for number in range(50):
            one.send(name, zmq.SNDMORE)
            gevent.sleep(0)
            one.send(b"%d" % number)

    senders = [gevent.spawn(send, name) for name in (b"a", b"b", b"c")]
    got = [other.recv_multipart() for _ in range(150)]
    gevent.joinall(senders, raise_error=True)
    for name in (b"a", b"b", b"c"):
        assert [message for message in got if message[0] == name] == [[name, b"%d" % number] for number in range(50)]


def test_the_rest_of_a_dead_greenlets_message_goes_to_the_next(context):
    one, other = pair(context, zmq.PAIR, zmq.PAIR)
    one.send_multipart([b"1", b"2"])
    first = gevent.spawn(other.recv)
    assert first.get() == b"1"
    assert other.recv() == b"2"


def test_several_receive_on_one_socket(context):
    one, other = pair(context, zmq.PUSH, zmq.PULL)
    receivers = [gevent.spawn(other.recv) for _ in range(5)]
    gevent.sleep(0)
    for number in range(5):
        one.send(b"%d" % number)
    gevent.joinall(receivers, raise_error=True)
    assert sorted(one.value for one in receivers) == [b"0", b"1", b"2", b"3", b"4"]


def test_noblock_says_again_both_ways(context):
    one = context.socket(zmq.PUSH)
    for _ in range(2):
        with pytest.raises(zmq.Again):
            one.send(b"x", zmq.NOBLOCK)
    with pytest.raises(zmq.Again):
        one.send_multipart([b"x", b"y"], zmq.NOBLOCK)
    lonely = context.socket(zmq.PULL)
    with pytest.raises(zmq.Again):
        lonely.recv(zmq.NOBLOCK)
    with pytest.raises(zmq.Again):
        lonely.recv_multipart(zmq.DONTWAIT)


def test_noblock_knows_at_once_that_its_peer_has_gone(context):
    """A disconnect tells it at once. After a close, it is told by libzmq's reaper, some time later."""
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    one.linger = 0
    one.bind("inproc://gone")
    for _ in range(20):
        other.connect("inproc://gone")
        one.send(b"x")
        assert other.recv() == b"x"
        other.disconnect("inproc://gone")
        with pytest.raises(zmq.Again):
            one.send(b"y", zmq.NOBLOCK)


def test_noblock_knows_at_once_that_a_peer_has_come(context):
    """With the first frame of a message and with a message: no false Again."""
    for number in range(10):
        one, peer = context.socket(zmq.PUSH), context.socket(zmq.PULL, socket_class=plain.Socket)
        peer.rcvtimeo = int(LIMIT * 1000)
        one.bind(f"inproc://come.{number}")
        peer.connect(f"inproc://come.{number}")
        if number % 2:
            one.send(b"1", zmq.NOBLOCK | zmq.SNDMORE)
        one.send(b"2", zmq.NOBLOCK)
        assert peer.recv_multipart() == [b"1", b"2"][1 - number % 2 :]
        peer.close()


def test_the_marks_count_what_is_prefetched(context):
    """10 here and 10 there, and what one side of libzmq reads ahead."""
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    one.hwm = other.hwm = 10
    one.bind("inproc://marks")
    other.connect("inproc://marks")
    assert (one.hwm, other.RCVHWM) == (10, 10)
    one.send(b"x")
    other.recv()
    sent = 0
    refused = 0
    while refused < 20:  # the other side takes what it takes meanwhile
        try:
            one.send(b"x" * 10, zmq.NOBLOCK)
            sent += 1
        except zmq.Again:
            refused += 1
            gevent.sleep(0.005)
    assert 15 <= sent <= 25
    assert [other.recv() for _ in range(sent)] == [b"x" * 10] * sent


def sent_without_a_wait(socket, at_most=100):
    """How many messages the socket takes with NOBLOCK, the owning thread having done its part after each."""
    for number in range(at_most):
        try:
            socket.send(b"%d" % number, zmq.NOBLOCK)
        except zmq.Again:
            return number
        socket._core.serve()
    return at_most


def test_a_mark_of_1_holds_one_message_on_either_side(context):
    """And one more is in libzmq's queue of the peer."""
    one, peer = context.socket(zmq.PUSH), context.socket(zmq.PULL, socket_class=plain.Socket)
    one.sndhwm = peer.rcvhwm = 1
    one.linger = 0  # of what is sent here nothing is received
    one.bind("inproc://mark")
    peer.connect("inproc://mark")
    assert one.poll(LIMIT * 1000, zmq.POLLOUT)
    assert sent_without_a_wait(one) == 3
    peer.close()


def test_what_is_accepted_after_the_peers_have_gone_goes_to_the_next(context):
    one, peer = context.socket(zmq.PUSH), context.socket(zmq.PULL, socket_class=plain.Socket)
    one.sndhwm, peer.rcvhwm, one.linger = 10, 1, 0
    one.bind("inproc://gone")
    peer.connect("inproc://gone")
    assert one.poll(LIMIT * 1000, zmq.POLLOUT)
    assert sent_without_a_wait(one, 6) == 6  # so libzmq is full: its half of the mark, and one in the queue of the peer
    peer.disconnect("inproc://gone")
    one._core.serve()
    assert sent_without_a_wait(one) == 5
    other = context.socket(zmq.PULL)
    other.connect("inproc://gone")
    assert [other.recv() for _ in range(5)] == [b"%d" % number for number in range(5)]
    peer.close()


def test_marks_are_taken_at_the_first_bind(context):
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    other.bind("inproc://late")
    other.rcvhwm = 1  # for libzmq, of later binds; the queue keeps its size
    one.connect("inproc://late")
    for number in range(100):
        one.send(b"%d" % number)
    assert other.RCVHWM == 1
    assert [other.recv() for _ in range(100)] == [b"%d" % number for number in range(100)]


def test_noblock_finds_what_has_come(context):
    """No false Again: what another context of the same thread has delivered is found at once."""
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    other.bind("inproc://found")
    one.connect("inproc://found")
    for number in range(20):
        one.send(b"%d" % number)
        one.get(zmq.TYPE)  # so the owning thread has sent it
        assert other.recv(zmq.NOBLOCK) == b"%d" % number


def test_timeouts(context):
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    one.SNDTIMEO = 20
    other.setsockopt(zmq.RCVTIMEO, 20)
    assert (one.sndtimeo, other.getsockopt(zmq.RCVTIMEO)) == (20, 20)
    with pytest.raises(zmq.Again):
        one.send(b"never")
    with pytest.raises(zmq.Again):
        other.recv()
    port = one.bind_to_random_port("tcp://127.0.0.1")
    other.connect(f"tcp://127.0.0.1:{port}")
    one.SNDTIMEO = other.RCVTIMEO = -1
    one.send(b"first")
    assert other.recv() == b"first"


@pytest.mark.parametrize("end", ["timeout", "kill"])
def test_nothing_is_left_of_a_send_that_was_given_up(context, end):
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)

    def send():
        with gevent.Timeout(0.01 if end == "timeout" else None, False):
            one.send(b"given up")

    sender = gevent.spawn(send)
    if end == "kill":
        wait_for(lambda: one._core._handing.calls)
        sender.kill()
    sender.get()
    one.bind("inproc://left")
    other.connect("inproc://left")
    one.send(b"next")
    assert other.recv() == b"next"


def test_a_kill_in_its_first_call_leaves_the_socket_usable(context):
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    for socket, call in ((one, lambda: one.send(b"given up")), (other, other.recv)):
        caller = gevent.spawn(call)
        wait_for(lambda socket=socket: socket._core.lanes is not None)
        caller.kill()
    one.bind("inproc://killed")
    other.connect("inproc://killed")
    one.send(b"next")
    assert other.recv() == b"next"


def test_a_kill_may_come_as_libzmq_takes_the_message(context):
    """The owning thread has sent it, and the hub has not heard of that: the order is forced by blocking the hub."""
    one = context.socket(zmq.PUSH)
    port = one.bind_to_random_port("tcp://127.0.0.1")
    sender = gevent.spawn(one.send, b"taken")
    wait_for(lambda: one._core._handing.calls)
    with plain.Context() as other, other.socket(zmq.PULL) as receiver:
        receiver.connect(f"tcp://127.0.0.1:{port}")
        assert receiver.poll(LIMIT * 1000)  # the hub does not run meanwhile
        sender.kill()
        assert isinstance(sender.value, gevent.GreenletExit)
        assert receiver.recv() == b"taken"
    assert one._core.lanes.pipe.pending() == 0


def test_request_and_reply_in_turn(context):
    reply, request = pair(context, zmq.REP, zmq.REQ)
    assert errno_of(request.recv) == zmq.EFSM
    assert errno_of(reply.send, b"x") == zmq.EFSM
    for _ in range(3):
        request.send(b"question")
        assert errno_of(request.send, b"again") == zmq.EFSM
        assert reply.recv() == b"question"
        assert errno_of(reply.recv, zmq.NOBLOCK) == zmq.EFSM
        assert request.poll(0) == 0
        reply.send_multipart([b"an", b"swer"])
        assert request.recv_multipart() == [b"an", b"swer"]


def test_a_relaxed_request_forgets_the_reply_to_the_one_before(context):
    reply, request = pair(context, zmq.REP, zmq.REQ)
    request.REQ_RELAXED = 1
    for number in (b"1", b"2"):
        request.send(number)  # the second time the first reply has come, and nobody has received it
        assert reply.recv() == number
        reply.send(number)
        assert request.poll(LIMIT * 1000) == zmq.POLLIN
    assert request.recv() == b"2"


def test_a_router_that_must_know_its_peer(context):
    router = context.socket(zmq.ROUTER)
    router.ROUTER_MANDATORY = 1
    port = router.bind_to_random_port("tcp://127.0.0.1")
    assert errno_of(router.send_multipart, [b"nobody", b"x"]) == zmq.EHOSTUNREACH
    dealer = context.socket(zmq.DEALER)
    dealer.IDENTITY = b"me"
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"me", b"hello"]
    router.send(b"me", zmq.SNDMORE)
    router.send(b"there", zmq.NOBLOCK)
    assert dealer.recv() == b"there"


def test_subscriptions(context):
    publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
    publisher.bind("inproc://news")
    subscriber.connect("inproc://news")
    subscriber.subscribe("a")
    subscriber.setsockopt(zmq.SUBSCRIBE, b"b")
    subscriber.unsubscribe(b"b")
    subscriber.rcvtimeo = 10

    def arrived():
        publisher.send_multipart([b"b", b"not wanted"])
        publisher.send_multipart([b"a", b"wanted"], zmq.NOBLOCK)
        try:
            return subscriber.recv_multipart() == [b"a", b"wanted"]
        except zmq.Again:
            return False

    wait_for(arrived)
    assert publisher.getsockopt(zmq.TYPE) == zmq.PUB


def test_options_and_errors_come_at_the_call(context):
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 7)
    socket.identity = b"name"
    socket.setsockopt_string(zmq.IDENTITY, "other")
    assert (socket.linger, socket.identity, socket.get_string(zmq.IDENTITY)) == (7, b"other", "other")
    for _ in range(2):  # before and after the owning thread has it
        with pytest.raises(TypeError):
            socket.setsockopt(zmq.IDENTITY, "text")
        assert errno_of(socket.setsockopt, zmq.SNDHWM, -5) == zmq.EINVAL
        assert errno_of(socket.get, 9999) == zmq.EINVAL
        assert errno_of(socket.bind, "tcp://127.0.0.1") == zmq.EINVAL
        assert errno_of(socket.connect, "no://protocol") == zmq.EPROTONOSUPPORT
        with pytest.raises(TypeError):
            socket.bind(5)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    assert socket.last_endpoint == b"tcp://127.0.0.1:%d" % port
    assert errno_of(context.socket(zmq.PUSH).bind, f"tcp://127.0.0.1:{port}") == zmq.EADDRINUSE
    socket.unbind(socket.last_endpoint)
    with socket.connect("tcp://127.0.0.1:9"):
        pass
    assert errno_of(socket.disconnect, "tcp://127.0.0.1:9") == errno.ENOENT


def test_what_a_kind_cannot(context):
    assert errno_of(context.socket(zmq.PULL).send, b"x") == zmq.ENOTSUP
    assert errno_of(context.socket(zmq.PUSH).recv) == zmq.ENOTSUP
    assert errno_of(context.socket, 99) == zmq.EINVAL


def test_closed(context):
    with context.socket(zmq.PUSH) as socket:
        socket.bind("inproc://closed")
        assert not socket.closed
    assert socket.closed
    assert "closed" in repr(socket)
    for call in (lambda: socket.send(b""), socket.recv, lambda: socket.get(zmq.TYPE), lambda: socket.bind("inproc://x"),
                 lambda: socket.setsockopt(zmq.LINGER, 1)):  # fmt: skip
        assert errno_of(call) == zmq.ENOTSOCK
    socket.close()
    context.socket(zmq.PUSH).bind("inproc://closed")  # the name is free


def test_a_waiting_receiver_learns_of_the_close(context):
    socket = context.socket(zmq.PULL)
    receiver = gevent.spawn(errno_of, socket.recv)
    wait_for(lambda: socket._core.lanes is not None and len(socket._core.lanes.receives.line))
    socket.close()
    assert receiver.get() == zmq.ENOTSOCK


def test_a_socket_that_nobody_has_is_closed(context):
    socket = context.socket(zmq.PUSH)
    socket.bind("inproc://dropped")
    core = socket._core
    del socket
    gc.collect()
    assert core.closed


def test_a_subclass_with_a_constructor_and_methods_of_its_own(context):
    class Mine(zmq.Socket):
        def __new__(cls, *args, **options):
            return super().__new__(cls, *args)

        def __init__(self, context, kind, note):
            super().__init__(context, kind)
            self.__dict__["note"] = note

        def send(self, data, flags=0, **options):
            self.note.append(data)
            return super().send(data, flags, **options)

    sent = []
    socket = Mine(context, zmq.PUB, sent)
    socket.send_multipart([b"a", b"b"])
    assert sent == [b"a", b"b"]
    socket.close()


def test_a_context_subclass_that_skips_our_constructor():
    class Mine(zmq.Context):
        def __init__(self):
            super(zmq.Context, self).__init__()

    mine = Mine()
    with mine.socket(zmq.PUSH) as socket:
        socket.bind("inproc://mine")
    mine.term()
    assert mine.closed
    assert errno_of(mine.socket, zmq.PUSH) == zmq.ENOTSUP


def test_term_wakes_waiters_and_nobody_else_waits(context):
    receiving, sending = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    waits = [gevent.spawn(errno_of, receiving.recv), gevent.spawn(errno_of, sending.send, b"x"),
             gevent.spawn(errno_of, receiving.poll)]  # fmt: skip
    wait_for(lambda: sending._core._handing.calls and receiving._core.readiness._listeners)
    term = gevent.spawn(context.term)
    assert [wait.get() for wait in waits] == [zmq.ETERM] * 3
    assert errno_of(receiving.recv) == errno_of(context.socket, zmq.PUSH) == zmq.ETERM
    assert not term.ready()  # other greenlets run: this one does
    receiving.close()
    sending.close(linger=0)
    term.get()
    assert context.closed


def test_the_instance_is_a_new_one_while_the_old_one_ends():
    first = zmq.Context.instance()
    socket = first.socket(zmq.PULL)
    term = gevent.spawn(first.term)
    wait_for(lambda: first._life.terminating)
    second = zmq.Context.instance()
    assert second is not first
    second.socket(zmq.PULL).close()
    second.term()
    socket.close()
    term.get()
    assert first.closed


def test_term_waits_for_what_is_to_be_sent(context):
    sending = context.socket(zmq.PUSH)
    with sockets.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sending.connect(f"tcp://127.0.0.1:{port}")
    for _ in range(10):
        sending.send(b"x")
    sending.close()
    term = gevent.spawn(context.term)
    other = zmq.Context()
    receiving = other.socket(zmq.PULL)
    assert not term.ready()
    receiving.bind(f"tcp://127.0.0.1:{port}")
    assert [receiving.recv() for _ in range(10)] == [b"x"] * 10
    term.get()
    other.destroy()


def test_the_monitor(context):
    from zmq.utils.monitor import recv_monitor_message

    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    monitor = one.get_monitor_socket()
    assert one.get_monitor_socket() is monitor
    seen = Event()

    def watch():
        while recv_monitor_message(monitor)["event"] != zmq.EVENT_HANDSHAKE_SUCCEEDED:
            pass
        seen.set()

    watcher = gevent.spawn(watch)
    port = one.bind_to_random_port("tcp://127.0.0.1")
    other.connect(f"tcp://127.0.0.1:{port}")
    assert seen.wait(LIMIT)
    watcher.get()
    one.disable_monitor()
    assert monitor.closed


def test_exit_delivers_what_was_sent():
    status, out, err = run("""
        import gevent, os, zgreen.green as zmq, subprocess, sys, textwrap
        code = '''
        import zgreen.green as zmq
        context = zmq.Context()
        socket = context.socket(zmq.PUSH)
        socket.connect("{}")
        for _ in range(100):
            socket.send(b"x" * 200000)
        '''
        context = zmq.Context()
        socket = context.socket(zmq.PULL)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code).format(f"tcp://127.0.0.1:{port}")])
        socket.rcvtimeo = 20000
        print(sum(len(socket.recv()) for _ in range(100)), child.wait())
        context.destroy()
    """)
    assert (status, out.split(), err) == (0, ["20000000", "0"], "")


def test_the_child_of_a_fork():
    status, out, err = run("""
        import gevent, os, zgreen.green as zmq
        context = zmq.Context()
        socket = context.socket(zmq.PULL)
        other = context.socket(zmq.PUSH)
        socket.bind("inproc://parent")
        pid = gevent.os.fork()
        if pid == 0:
            for call in (socket.recv, other.recv, lambda: context.socket(zmq.PUSH), lambda: other.bind("inproc://x")):
                try:
                    call()
                    print("no error", flush=True)
                except zmq.ZMQError as error:
                    assert error.errno == zmq.ENOTSOCK, error
            socket.close()
            context.term()
            own = zmq.Context()
            one, two = own.socket(zmq.PUSH), own.socket(zmq.PULL)
            one.bind("inproc://child")
            two.connect("inproc://child")
            one.send(b"works")
            print(two.recv().decode(), flush=True)
            own.destroy()
            os._exit(0)
        gevent.os.waitpid(pid, 0)
        other.connect("inproc://parent")
        other.send(b"still")
        print(socket.recv().decode())
        context.destroy()
    """)
    assert (status, out.split(), err) == (0, ["works", "still"], "")


def test_public_methods_say_what_they_do():
    for thing in (zmq.Context, zmq.Socket, zmq.Poller, zmq.select, zmq.zmq_poll, zmq.device, zmq.proxy, zmq.install):
        assert inspect.getdoc(thing)
