"""register_socket: all of zmq-async's function, over the queues that the user brings."""

import asyncio
import gc
import logging
import queue

import gevent
import gevent.queue
import pytest
import zmq
import zmq.asyncio
import zmq.green
from gevent.queue import Empty, PriorityQueue, Queue, ShutDown, SimpleQueue
from support import (
    ANY,
    LIMIT,
    PATCHED,
    break_pump,
    channels,
    drained,
    endpoint_of,
    inproc,
    outcome,
    raw_socket,
    wait_for,
)

import zgreen
from zgreen import register_socket
from zgreen._hub.wait import Deadline
from zgreen._sockets import kind_of

TYPES = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "XPUB", "XSUB", "PULL", "PUSH", "STREAM"]
ONE_WAY_OUT = ["SUB", "PULL"]
ONE_WAY_IN = ["PUB", "PUSH"]


def queues_for(name):
    """The queues that a socket of this type can be tied to, as keyword arguments."""
    queues = {}
    if name not in ONE_WAY_OUT:
        queues["in_"] = Queue()
    if name not in ONE_WAY_IN:
        queues["out"] = Queue()
    return queues


def nothing(_socket):
    """A configurator that leaves the socket as it is."""


def registered(pump, name, endpoint, *, bind=False, **queues):
    def configure(socket):
        (socket.bind if bind else socket.connect)(endpoint)

    return register_socket(socket_type=name, configurator=configure, pump=pump, **queues)


# ---------------------------------------------------------------------- socket types


@pytest.mark.parametrize("name", TYPES)
def test_every_type_by_constant_and_by_name(pump, name):
    """zmq.REP, "REP" and "rep" are the same."""
    for socket_type in (getattr(zmq, name), int(getattr(zmq, name)), name, name.lower(), name.title()):
        seen = []
        queues = queues_for(name)
        channel = register_socket(
            socket_type=socket_type, configurator=lambda s, seen=seen: seen.append(s.type), pump=pump, **queues
        )
        assert seen == [getattr(zmq, name)]
        assert channel.close() == 0


@pytest.mark.parametrize(("alias", "name"), [("XREQ", "DEALER"), ("XREP", "ROUTER"), ("xreq", "DEALER")])
def test_aliases(pump, alias, name):
    """XREQ and XREP are the old names of DEALER and ROUTER."""
    assert kind_of(alias) == kind_of(name)
    channel = register_socket(Queue(), Queue(), socket_type=alias, configurator=nothing, pump=pump)
    assert channel.getsockopt(zmq.TYPE) == getattr(zmq, name)
    assert kind_of(zmq.XREQ).name == "DEALER"
    assert kind_of(zmq.XREP).name == "ROUTER"


@pytest.mark.parametrize(
    ("socket_type", "error", "match"),
    [
        ("REPP", ValueError, "unknown socket type 'REPP'; there are PAIR"),
        (99, ValueError, "unknown socket type 99"),
        (-1, ValueError, "unknown socket type -1"),
        (True, TypeError, "bool"),
        (b"REP", TypeError, "bytes"),
        (3.0, TypeError, "float"),
    ],
)
def test_no_such_type(pump, socket_type, error, match):
    with pytest.raises(error, match=match):
        register_socket(Queue(), Queue(), socket_type=socket_type, configurator=nothing, pump=pump)
    assert not pump.channels


# ---------------------------------------------------------------------- what may be given together


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (lambda s: {"socket_type": "REP", "configurator": nothing}, ValueError, "give in_, out, or both"),
        (lambda s: {"socket": s}, ValueError, "give in_, out, or both"),
        (lambda s: {"in_": Queue(), "out": Queue()}, ValueError, "give socket, or both socket_type and configurator"),
        (lambda s: {"out": Queue(), "socket_type": "SUB"}, ValueError, "give socket, or both socket_type and"),
        (lambda s: {"out": Queue(), "configurator": nothing}, ValueError, "give socket, or both socket_type and"),
        (lambda s: {"in_": Queue(), "socket": s, "socket_type": "PUSH"}, ValueError, "give either socket, or"),
        (lambda s: {"in_": Queue(), "socket": s, "configurator": nothing}, ValueError, "give either socket, or"),
        (lambda s: {"in_": Queue(), "socket_type": "PUSH", "configurator": 5}, TypeError, "configurator .* int"),
        (lambda s: {"in_": Queue(), "socket": "PUSH"}, TypeError, "socket must be a zmq.Socket, not str"),
        (lambda s: {"in_": [], "socket": s}, TypeError, r"in_ must have gevent.queue's get\(\), but list has none"),
        (lambda s: {"out": Queue, "in_": 5, "socket": s}, TypeError, r"in_ must have .*get\(\), but int has none"),
        (lambda s: {"out": [], "socket": s}, TypeError, r"out must have gevent.queue's put\(\), but list has none"),
        (lambda s: {"in_": Queue(), "socket_type": "SUB", "configurator": nothing}, ValueError, "SUB .*cannot send"),
        (lambda s: {"in_": Queue(), "socket_type": "PULL", "configurator": nothing}, ValueError, "PULL .*cannot send"),
        (lambda s: {"out": Queue(), "socket_type": "PUB", "configurator": nothing}, ValueError, "PUB .*cannot receive"),
        (lambda s: {"out": Queue(), "socket": s}, ValueError, "PUSH .*cannot receive"),
        (lambda s: {"in_": Queue(), "socket_type": "REQ", "configurator": nothing}, ValueError, "REQ .*both in_ and"),
        (lambda s: {"out": Queue(), "socket_type": "REP", "configurator": nothing}, ValueError, "REP .*both in_ and"),
        (lambda s: {"in_": Queue(), "socket": s, "pump": "pump"}, TypeError, "pump must be a zgreen.Pump.* not str"),
    ],
)
def test_wrong_combinations_say_which(pump, arguments, error, match):
    """Arguments that do not fit together are refused, and a socket given with them is still the caller's to use."""
    socket = pump.context.socket(zmq.PUSH)
    given = {"pump": pump} | arguments(socket)
    with pytest.raises(error, match=match):
        register_socket(**given)
    assert not pump.channels
    in_ = Queue()
    register_socket(in_, socket=socket, pump=pump)


def test_the_same_queue_twice_is_refused(pump):
    both = Queue()
    with pytest.raises(ValueError, match="the same queue"):
        register_socket(both, both, socket_type="PAIR", configurator=nothing, pump=pump)


def test_a_closed_pump_does_not_take_the_socket(pump):
    """Who gets ClosedError has not given his socket away: the next pump can have it."""
    socket = pump.context.socket(zmq.PUSH)
    closed = zgreen.Pump()
    closed.shutdown()
    with pytest.raises(zgreen.ClosedError):
        register_socket(Queue(), socket=socket, pump=closed)
    register_socket(Queue(), socket=socket, pump=pump)


@pytest.mark.skipif(PATCHED, reason="under monkey.patch_all() a queue of the standard library waits as a greenlet does")
@pytest.mark.parametrize("kind", [queue.Queue, queue.LifoQueue, queue.PriorityQueue])
def test_a_stdlib_queue_is_refused_unpatched(pump, kind):
    """Its waits would block the hub."""
    for arguments in ({"in_": kind()}, {"out": kind()}):
        with pytest.raises(TypeError, match=f"{next(iter(arguments))} is a {kind.__name__} of the standard library"):
            register_socket(socket_type="PAIR", configurator=nothing, pump=pump, **arguments)


@pytest.mark.skipif(not PATCHED, reason="only under monkey.patch_all() does it wait as a greenlet does")
def test_a_stdlib_queue_is_taken_patched(pump):
    in_, out = queue.Queue(), queue.Queue()
    endpoint = inproc()
    registered(pump, "PULL", endpoint, bind=True, out=out)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    in_.put(b"x")
    assert out.get(timeout=LIMIT) == b"x"
    in_.put(StopIteration)
    wait_for(lambda: channel.closed)


@pytest.mark.skipif(PATCHED, reason="patched, queue.SimpleQueue is gevent's")
def test_the_stdlib_simple_queue_is_refused(pump):
    with pytest.raises(TypeError, match="in_ is a SimpleQueue of the standard library"):
        register_socket(queue.SimpleQueue(), socket_type="PUSH", configurator=nothing, pump=pump)


def test_an_asyncio_queue_is_refused(pump):
    with pytest.raises(TypeError, match=r"in_ is of asyncio: use a queue of gevent\.queue"):
        register_socket(asyncio.Queue(), socket_type="PUSH", configurator=nothing, pump=pump)
    with pytest.raises(TypeError, match="out is of asyncio"):
        register_socket(None, asyncio.Queue(), socket_type="PULL", configurator=nothing, pump=pump)


# ---------------------------------------------------------------------- an existing socket


@pytest.mark.parametrize("transport", [ANY, "inproc"])
def test_a_bound_socket(pump, transport):
    """It keeps its endpoint, and what it received before is there."""
    socket = pump.context.socket(zmq.PULL)
    socket.bind(inproc() if transport == "inproc" else transport)
    endpoint = endpoint_of(socket)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    peer.put("before")
    assert socket.poll(LIMIT * 1000)  # the message is there, and its edge is eaten
    out = Queue()
    channel = register_socket(out=out, socket=socket, pump=pump)
    peer.put("after")
    assert [out.get(), out.get()] == [b"before", b"after"]
    assert channel.last_endpoint == endpoint


def test_a_connected_socket(pump):
    """What was sent before it was handed over comes first."""
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    socket = pump.context.socket(zmq.PUSH)
    socket.connect(server.last_endpoint)
    socket.send(b"before")
    in_ = Queue()
    register_socket(in_, socket=socket, pump=pump)
    in_.put("after")
    assert [server.get(), server.get()] == [b"before", b"after"]


def test_a_socket_of_another_context(pump):
    """It works, and closing it gives its context free."""
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.connect(server.last_endpoint)
    in_ = Queue()
    channel = register_socket(in_, socket=socket, pump=pump)
    in_.put("x")
    assert server.get() == b"x"
    assert channel.close() == 0
    assert socket.closed
    context.term()


def test_a_plain_socket_of_a_green_context(pump):
    """The context's class does not matter, the socket's does."""
    context = zmq.green.Context()
    socket = context.socket(zmq.PUSH, socket_class=zmq.Socket)
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    socket.connect(server.last_endpoint)
    in_ = Queue()
    channel = register_socket(in_, socket=socket, pump=pump)
    in_.put("x")
    assert server.get() == b"x"
    channel.close()
    super(zmq.green.Context, context).term()


@pytest.mark.parametrize("by", ["object", "address"])
def test_a_plain_shadow_of_a_socket(pump, by):
    """zmq.Socket(green_socket) is a plain socket too; made by address it does not know its context."""
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    context = zmq.Context()
    original = context.socket(zmq.PUSH)
    original.connect(server.last_endpoint)
    shadow = zmq.Socket(original) if by == "object" else zmq.Socket.shadow(original.underlying)
    in_ = Queue()
    channel = register_socket(in_, socket=shadow, pump=pump)
    in_.put("x")
    assert server.get() == b"x"
    channel.close()
    assert not pump.closed
    context.term()


def test_a_green_socket_is_refused_with_what_to_do(pump):
    with zmq.green.Context() as context, context.socket(zmq.PUSH) as socket:
        with pytest.raises(TypeError, match=r"zmq\.green.*make it with a plain zmq.Context, or give socket_type"):
            register_socket(Queue(), socket=socket, pump=pump)
        assert not socket.closed


def test_an_asyncio_socket_is_refused_with_what_to_do(pump):
    async def main():
        with zmq.asyncio.Context() as context, context.socket(zmq.PUSH) as socket:
            with pytest.raises(TypeError, match=r"zmq\.asyncio.*make it with a plain zmq.Context, or give socket_type"):
                register_socket(Queue(), socket=socket, pump=pump)
            assert not socket.closed

    asyncio.run(main())


def test_a_closed_socket_is_refused(pump):
    socket = pump.context.socket(zmq.PUSH)
    socket.close()
    with pytest.raises(ValueError, match="socket is closed"):
        register_socket(Queue(), socket=socket, pump=pump)


def test_a_socket_is_registered_once(pump):
    socket = pump.context.socket(zmq.PUSH)
    register_socket(Queue(), socket=socket, pump=pump)
    with pytest.raises(ValueError, match="socket is registered already"):
        register_socket(Queue(), socket=socket, pump=pump)


# ---------------------------------------------------------------------- configurator


def test_the_configurators_error_is_the_callers(pump):
    """Whatever it raises; the socket is closed and the pump goes on."""
    sockets = []

    def fail(socket):
        sockets.append(socket)
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        register_socket(Queue(), socket_type="PUSH", configurator=fail, pump=pump)
    assert sockets[0].closed
    assert not pump.channels
    with pytest.raises(zmq.ZMQError, match="bogus://x"):
        registered(pump, "PUSH", "bogus://x", in_=Queue())
    with pytest.raises(ValueError, match="the configurator has closed the socket"):
        register_socket(Queue(), socket_type="PUSH", configurator=lambda s: s.close(), pump=pump)
    with pytest.raises(SystemExit):
        register_socket(Queue(), socket_type="PUSH", configurator=lambda _: exit(3), pump=pump)
    channels(pump, "PUSH", "PULL")
    sockets.clear()
    gc.collect()


def test_the_configurator_runs_in_the_owning_thread(pump):
    seen = []
    get_ident = gevent.monkey.get_original("_thread", "get_ident")
    register_socket(Queue(), socket_type="PUSH", configurator=lambda _: seen.append(get_ident()), pump=pump)
    register_socket(Queue(), socket_type="PUSH", configurator=lambda _: seen.append(get_ident()), pump=pump)
    assert seen[0] == seen[1] != get_ident()


# ---------------------------------------------------------------------- in_, out, both


def test_the_implicit_pump():
    """Without pump= it is this hub's."""
    out = Queue()
    channel = register_socket(out=out, socket_type="SUB", configurator=nothing)
    assert channel.pump is zgreen.get_pump()


def test_pumps_own_register_socket(pump):
    channel = pump.register_socket(None, Queue(), socket_type="SUB", configurator=nothing)
    assert channel.pump is pump
    assert pump.channels == (channel,)


def in_queues():
    return [Queue(), Queue(1), Queue(64), SimpleQueue(), SimpleQueue(1), PriorityQueue(), gevent.queue.Channel()]


@pytest.mark.parametrize("which", range(7))
def test_any_queue_in_and_any_queue_out(pump, which):
    """Bounded or not, first in or by priority, or gevent's Channel: all goes through, in order."""
    in_, out = in_queues()[which], in_queues()[which]
    endpoint = inproc()
    registered(pump, "PULL", endpoint, bind=True, out=out)
    registered(pump, "PUSH", endpoint, in_=in_)
    messages = [b"%03d" % i for i in range(200)]

    def write():
        for message in messages:
            in_.put(message)

    writer = gevent.spawn(write)
    got = [out.get() for _ in messages]
    writer.get()
    if isinstance(in_, PriorityQueue):
        assert sorted(got) == messages
    else:
        assert got == messages


def test_a_zgreen_channel_as_queue(pump):
    """What one socket receives, another sends: a device of two registrations and no code."""
    source, device_in = channels(pump, "PUSH", "PULL")
    sink, device_out = channels(pump, "PULL", "PUSH")
    endpoint = inproc()
    forwarder = registered(pump, "PAIR", endpoint, bind=True, in_=device_in)
    receiver = registered(pump, "PAIR", endpoint, out=device_out)
    source.put(["a", "b"])
    source.put("c")
    assert [sink.get(), sink.get()] == [[b"a", b"b"], b"c"]
    device_in.close()
    wait_for(lambda: forwarder not in pump.channels, "the forwarder to end with its in_")
    receiver.close()
    wait_for(lambda: device_out not in pump.channels, "out to be closed after its last message")


def test_both_ways(pump):
    """REQ and REP over inproc, as in zmq-async's quick start."""
    queues = [Queue(64) for _ in range(4)]
    req_in, req_out, rep_in, rep_out = queues
    endpoint = inproc()
    registered(pump, "REP", endpoint, bind=True, in_=rep_in, out=rep_out)
    registered(pump, "REQ", endpoint, in_=req_in, out=req_out)
    for i in range(3):
        req_in.put(f"ping {i}")
        assert rep_out.get() == b"ping %d" % i
        rep_in.put(f"pong {i}")
        assert req_out.get() == b"pong %d" % i
    req_in.shutdown()
    rep_in.shutdown()
    for out in (req_out, rep_out):
        with pytest.raises(ShutDown):
            out.get()
    wait_for(lambda: not pump.channels)


def test_a_req_with_several_greenlets_putting(pump):
    """Requests wait in the pipe while another awaits its reply; none is refused or lost."""
    in_, out = Queue(), Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.REP, bind=endpoint, pump=pump)
    channel = registered(pump, "REQ", endpoint, in_=in_, out=out)

    def ask(i):
        for j in range(10):
            in_.put(f"{i} {j}")

    def answer():
        for request in server:
            server.put(request)

    gevent.joinall([gevent.spawn(ask, i) for i in range(20)], raise_error=True)
    gevent.spawn(answer)
    got = [out.get() for _ in range(200)]
    assert len(set(got)) == 200
    for i in range(20):
        assert [m for m in got if m.startswith(b"%d " % i)] == [b"%d %d" % (i, j) for j in range(10)]
    assert channel.statistics().refused == 0


def test_a_full_out_stops_reading_only_there(pump):
    """Nobody reads out: ZeroMQ's high-water mark pushes back on that peer, and another socket goes on."""
    out = Queue(1)
    channel = registered(pump, "PULL", endpoint := inproc(), bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, options={zmq.SNDHWM: 10}, send_maxsize=10, pump=pump)
    count = 0
    with pytest.raises(gevent.queue.Full):  # noqa: PT012 (how many puts fit is libzmq's)
        while True:
            peer.put(b"%d" % count, timeout=0.2)
            count += 1
    other, another = channels(pump, "PUSH", "PULL")
    other.put("still")
    assert another.get() == b"still"
    assert [out.get() for _ in range(count)] == [b"%d" % i for i in range(count)]
    assert channel.statistics().dropped == 0


# ---------------------------------------------------------------------- the end


def test_shutting_down_in_closes_after_all_has_gone_out(pump):
    """Everything that was put before the shutdown is delivered, then the channel is closed and out is shut down."""
    in_, out = Queue(), Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, recv_maxsize=None, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    for i in range(5000):
        in_.put(b"%d" % i)
    in_.shutdown()
    assert [server.get() for _ in range(5000)] == [b"%d" % i for i in range(5000)]
    wait_for(lambda: channel not in pump.channels)
    with pytest.raises(zgreen.ClosedError):
        channel.put("x")
    assert out.empty()


def test_items_put_just_before_shutdown_while_the_feeder_waits(pump):
    """gevent throws ShutDown into a waiting get() even if items came at the same moment: they go out all the same."""
    in_ = Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    in_.put("zero")
    assert server.get() == b"zero"  # and now the feeder waits
    in_.put("one")
    in_.put("two")
    in_.shutdown()  # no greenlet has run since
    assert [server.get(), server.get()] == [b"one", b"two"]
    wait_for(lambda: channel not in pump.channels)


@pytest.mark.parametrize("kind", [SimpleQueue, gevent.queue.Channel, Queue])
@pytest.mark.parametrize("end", [StopIteration, StopIteration()])
def test_stop_iteration_closes(pump, kind, end):
    """For queues without shutdown(), and harmless for those with."""
    in_ = kind()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    for message in ("a", "b", end):
        in_.put(message)
    assert [server.get(), server.get()] == [b"a", b"b"]
    wait_for(lambda: channel not in pump.channels)


@pytest.mark.parametrize("kind", [SimpleQueue, gevent.queue.Channel])
def test_an_out_without_shutdown_is_given_stop_iteration(pump, kind):
    """So `for message in out` ends."""
    out = kind()
    endpoint = inproc()
    channel = registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    reader = gevent.spawn(list, out)
    peer.put("a")
    peer.put("b")
    wait_for(lambda: channel.statistics().received == 2 and not channel.statistics().waiting)
    channel.close()
    assert reader.get() == [b"a", b"b"]


class Narrow:
    """A queue that holds one item and does not tell so: up to 1,000 messages more are read for it."""

    def __init__(self):
        queue = Queue(1)
        self.get, self.put, self.shutdown = queue.get, queue.put, queue.shutdown


def test_out_is_shut_down_after_its_last_message(pump):
    """What had been received when the channel was closed can still be got, then ShutDown."""
    out = Narrow()
    endpoint = inproc()
    channel = registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    for i in range(50):
        peer.put(b"%d" % i)
    wait_for(lambda: channel.statistics().received == 50)
    channel.close()
    assert [out.get() for _ in range(50)] == [b"%d" % i for i in range(50)]
    with pytest.raises(ShutDown):
        out.get()


def test_a_late_reader_gets_all_that_was_received_before_the_close(pump):
    """Out is full when the channel is closed; its reader comes later, and is not told of the end too early."""
    out = Narrow()
    endpoint = inproc()
    channel = registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    for message in ("a", "b", "c"):
        peer.put(message)
    wait_for(lambda: channel.statistics().received == 3)
    channel.close()
    got = []

    def read():
        while True:
            got.append(out.get())

    assert isinstance(gevent.spawn(outcome, read).get(timeout=LIMIT), ShutDown)
    assert got == [b"a", b"b", b"c"]


def test_what_was_sent_is_not_sent_again_by_the_close(pump):
    in_ = Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    for message in ("first", "last"):
        in_.put(message)
        assert server.get(timeout=LIMIT) == message.encode()
    assert channel.close() == 0
    assert channel.statistics().sent == 2


def test_iterating_out_raises_shutdown_at_the_end(pump):
    """As gevent's own queues do."""
    out = Queue()
    channel = registered(pump, "PULL", inproc(), bind=True, out=out)
    reader = gevent.spawn(outcome, list, out)
    channel.close()
    assert isinstance(reader.get(), ShutDown)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue, gevent.queue.Channel, PriorityQueue])
def test_closing_the_channel_sends_what_in_holds(pump, kind):
    """close() ends in_ first: what was put there goes out, waiting putters included, and later puts do not hang."""
    in_ = kind()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, recv_maxsize=None, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    started = []

    def put(message):
        started.append(message)
        in_.put(message)

    putters = [gevent.spawn(put, b"%03d" % i) for i in range(100)]
    wait_for(lambda: len(started) == 100)
    assert channel.close() == 0
    assert [server.get() for _ in range(100)] == [b"%03d" % i for i in range(100)]
    gevent.joinall(putters, raise_error=True)
    if hasattr(in_, "shutdown"):
        with pytest.raises(ShutDown):
            in_.put("late")


def narrow(pump, in_):
    """A PULL channel, and a registered PUSH fed by *in_*, with hardly any room between the two."""
    endpoint = inproc()
    small = {zmq.RCVHWM: 1}
    server = zgreen.Channel(zmq.PULL, bind=endpoint, recv_maxsize=1, options=small, pump=pump)

    def configure(socket):
        socket.sndhwm = 1
        socket.connect(endpoint)

    return server, register_socket(in_, socket_type="PUSH", configurator=configure, pump=pump)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue, gevent.queue.Channel])
def test_closing_with_more_in_than_the_pipe_holds(pump, kind):
    """The order stands, though a put of the feeder's was waiting for room when the close came."""
    count = 1500
    in_ = kind()
    server, channel = narrow(pump, in_)
    putters = [gevent.spawn(in_.put, b"%d" % i) for i in range(count)]
    wait_for(lambda: channel.statistics().putters)
    closing = gevent.spawn(channel.close, LIMIT)
    assert [server.get(timeout=LIMIT) for _ in range(count)] == [b"%d" % i for i in range(count)]
    assert closing.get(timeout=LIMIT) == 0
    gevent.joinall(putters, timeout=LIMIT, raise_error=True)


def test_room_that_comes_while_the_close_empties_in(pump):
    """The feeder, which waits for it, must not put what the close has put in its place; a queue's get() that is not to
    wait may let others run, as that of gevent's Channel does."""

    class LetsOthersRun(Queue):
        def get(self, block=True, timeout=None):
            while not block and channel.statistics().putters:
                got.append(server.get(timeout=LIMIT))
                gevent.sleep(0)
            return super().get(block, timeout)

    in_, got = LetsOthersRun(), []
    server, channel = narrow(pump, in_)
    for i in range(1500):
        in_.put(b"%d" % i)
    wait_for(lambda: channel.statistics().putters)
    closing = gevent.spawn(channel.close, LIMIT)
    wait_for(lambda: got and not channel.statistics().putters)
    while len(got) < 1500:
        got.append(server.get(timeout=LIMIT))
    assert got == [b"%d" % i for i in range(1500)]
    assert closing.get(timeout=LIMIT) == 0


def test_a_putter_waiting_at_a_full_in_is_woken_by_the_close(pump):
    """There is no peer: the linger runs out, and whoever waits for room in in_ gets ShutDown."""
    in_ = Queue(1)
    channel = register_socket(in_, socket_type="PUSH", configurator=nothing, pump=pump)
    lost = []
    channel.on_error = lambda error, message: lost.append(message)

    def write():
        for i in range(10**6):
            in_.put(b"%d" % i)

    writer = gevent.spawn(outcome, write)
    wait_for(lambda: channel.statistics().putters and in_.full())
    assert channel.close(linger=0) >= 1000
    assert isinstance(writer.get(), ShutDown)
    assert all(isinstance(m, bytes) for m in lost)


def test_the_linger_of_close_holds_for_what_in_held(pump):
    """The feeder ends before the close does; that must not cut the linger down to the socket's own."""
    in_ = Queue()
    endpoint = inproc()

    def configure(socket):
        socket.linger = 0

    channel = register_socket(in_, socket_type="PUSH", configurator=configure, pump=pump)
    in_.put("x")
    closing = gevent.spawn(channel.close, linger=LIMIT)
    wait_for(lambda: channel.statistics().pending)
    wait_for(lambda: in_.is_shutdown)
    for _ in range(3):  # whatever ends with the feeder has had its turn
        gevent.sleep(0)
        pump._thread.post(pump._thread.engine.ping).wait(Deadline(LIMIT))
    assert not closing.dead
    # a peer comes; a closing channel takes no commands, so it is brought to the socket by the owning thread's own hand
    server = zgreen.Channel(
        zmq.PULL, bind=endpoint, pump=pump, configurator=lambda _: channel._lanes.pipe.socket.connect(endpoint)
    )
    assert server.get() == b"x"
    assert closing.get() == 0


def test_pump_shutdown_sends_what_in_holds():
    """As close() does, for all channels, and ends the thread."""
    with raw_socket(zmq.PULL, bind=ANY) as server:
        in_ = Queue()
        pump = zgreen.Pump()
        registered(pump, "PUSH", endpoint_of(server), in_=in_)
        for i in range(500):
            in_.put(b"%d" % i)
        assert pump.shutdown() == 0
        assert [server.recv() for _ in range(500)] == [b"%d" % i for i in range(500)]
        assert in_.is_shutdown


def test_close_from_another_thread(pump):
    """It drains in_ too: the hub does it."""
    in_ = Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    in_.put("x")
    assert gevent.get_hub().threadpool.spawn(channel.close).get() == 0
    assert server.get() == b"x"
    with pytest.raises(ShutDown):
        in_.put("y")


class CannotBeShutDown(Queue):
    """Its author has it fail."""

    def shutdown(self, *args):
        raise LookupError("cannot shut down")


@pytest.mark.parametrize("by", ["close", "Pump.shutdown", "another thread"])
def test_closing_with_an_in_whose_shutdown_fails(by, caplog):
    """It is said, once; what was put there still goes out, and all ends."""
    in_ = CannotBeShutDown()
    with raw_socket(zmq.PULL, bind=ANY) as server, zgreen.Pump() as pump:
        channel = registered(pump, "PUSH", endpoint_of(server), in_=in_)
        feeders = [channel._lanes.feeder._greenlet]
        gevent.sleep(0)  # it waits in in_.get()
        for i in range(10):
            in_.put(b"%d" % i)
        with caplog.at_level(logging.ERROR, "zgreen"):
            if by == "close":
                assert channel.close() == 0
            elif by == "another thread":
                assert gevent.get_hub().threadpool.spawn(channel.close).get(timeout=LIMIT) == 0
            assert pump.shutdown() == 0
        assert [server.recv() for _ in range(10)] == [b"%d" % i for i in range(10)]
        assert caplog.text.count("in_ cannot be shut down") == 1
        gevent.joinall(feeders, timeout=LIMIT)
        assert all(feeder.dead for feeder in feeders)


class Unprintable:
    """No message, and of no use in the error that says so."""

    def __repr__(self):
        raise LookupError


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_closing_with_what_is_no_message_in_in(pump, kind):
    """It goes to on_error; what was put after it goes out."""
    in_ = kind()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    wrong = []
    channel.on_error = lambda error, message: wrong.append((type(error), message))
    released = memoryview(b"x")
    released.release()
    for item in (b"a", "\ud800", b"b", [b"x", released], Unprintable(), b"c"):
        in_.put(item)
    assert channel.close() == 0
    assert [server.get(timeout=LIMIT) for _ in range(3)] == [b"a", b"b", b"c"]
    assert [error for error, _ in wrong] == [TypeError, TypeError, LookupError]


# ---------------------------------------------------------------------- what goes wrong on the way


def test_a_bad_item_goes_to_on_error_and_the_next_goes_on(pump, caplog):
    in_ = Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    wrong = []
    channel.on_error = lambda error, message: wrong.append((type(error), message))
    for item in ("a", 5, None, [], ["x", 5], "b"):
        in_.put(item)
    assert [server.get(), server.get()] == [b"a", b"b"]
    assert wrong == [(TypeError, 5), (TypeError, None), (TypeError, []), (TypeError, ["x", 5])]
    channel.on_error = None
    with caplog.at_level(logging.WARNING, "zgreen"):
        in_.put(7)
        in_.put("c")
        assert server.get() == b"c"
    assert "cannot be int: 7" in caplog.text


@pytest.mark.parametrize("traced", [False, True])
def test_more_than_the_pipe_holds_goes_in_order(pump, traced):
    """A batch has every kind of message, what is none, and its end in the middle."""
    in_ = Queue()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, recv_maxsize=10, options={zmq.RCVHWM: 1}, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    wrong = []
    channel.on_error = lambda error, message: wrong.append(message)
    pump.on_event = (lambda event: None) if traced else None
    for number in range(3000):
        in_.put(str(number))
        in_.put([b"frames", bytearray(b"%d" % number)])
        if number % 1000 == 0:
            in_.put(number)
    in_.put(StopIteration)
    in_.put("after the end")
    got = [server.get(timeout=LIMIT) for _ in range(6000)]
    assert got == [message for n in range(3000) for message in (b"%d" % n, [b"frames", b"%d" % n])]
    wait_for(lambda: channel.closed)
    assert wrong == [0, 1000, 2000]
    assert in_.get_nowait() == "after the end"
    assert server.empty()


def test_what_is_in_hand_as_the_channel_breaks_is_reported():
    pump = zgreen.Pump("breaks")
    in_ = Queue()
    channel = registered(pump, "PUSH", inproc(), bind=True, in_=in_)  # without a peer: 1,000 are pending
    wrong = []
    channel.on_error = lambda error, message: wrong.append((type(error), message))
    for number in range(1100):
        in_.put(b"%d" % number)
    wait_for(lambda: channel.statistics().putters)
    taken = 1100 - in_.qsize()
    break_pump(pump, ZeroDivisionError())
    wait_for(lambda: len(wrong) == taken)
    assert sorted(wrong) == sorted((zgreen.BrokenError, b"%d" % number) for number in range(taken))


def test_a_put_on_rep_without_a_request_goes_to_on_error(pump):
    """The pump goes on, and so does the REP."""
    in_, out = Queue(), Queue()
    endpoint = inproc()
    channel = registered(pump, "REP", endpoint, bind=True, in_=in_, out=out)
    wrong = []
    channel.on_error = lambda error, message: wrong.append((error.errno, message))
    in_.put("nobody asked")
    in_.put(["nor", "for this"])
    wait_for(lambda: len(wrong) == 2)
    assert wrong == [(zmq.EFSM, b"nobody asked"), (zmq.EFSM, [b"nor", b"for this"])]
    client = zgreen.Channel(zmq.REQ, connect=endpoint, pump=pump)
    client.put("ping")
    assert out.get() == b"ping"
    in_.put("pong")
    assert client.get() == b"pong"
    assert channel.statistics().refused == 2


def test_an_out_that_is_shut_down_by_its_reader(pump, caplog):
    """The reader wants no more: the message at hand is lost, which is said, and the channel is closed."""
    out = Queue()
    endpoint = inproc()
    channel = registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    peer.put("a")
    assert out.get() == b"a"
    out.shutdown()
    with caplog.at_level(logging.WARNING, "zgreen"):
        peer.put("b")
        wait_for(lambda: channel not in pump.channels)
    assert "out has ended" in caplog.text


def test_an_out_that_is_a_channel_and_has_broken(pump, caplog):
    """Of its messages one is lost, not each that is received from then on."""
    other = zgreen.Pump("other")
    out = zgreen.Channel(zmq.PUSH, bind=inproc(), pump=other)
    endpoint = inproc()
    channel = registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    break_pump(other, ZeroDivisionError())
    caplog.clear()
    for message in ("a", "b", "c"):
        peer.put(message)
    wait_for(lambda: channel not in pump.channels)
    assert caplog.text.count("a message is lost") == 1


def test_an_out_that_is_shut_down_while_in_goes_on(pump):
    """What is put can still be sent."""
    in_, out = Queue(), Queue()
    endpoint = inproc()
    registered(pump, "PAIR", endpoint, bind=True, in_=in_, out=out)
    peer = zgreen.Channel(zmq.PAIR, connect=endpoint, pump=pump)
    out.shutdown()
    peer.put("to nobody")
    in_.put("still")
    assert peer.get() == b"still"


class FailsOnce(Queue):
    """Raises what no queue of gevent's does."""

    def put(self, item, *args):
        if item == b"bad put":
            raise LookupError("no place for it")
        super().put(item, *args)

    def get(self, *args, **options):
        item = super().get(*args, **options)
        if item == b"bad get":
            raise LookupError("cannot give it")
        return item


def test_an_out_that_fails_loses_one_message_and_says_so(pump, caplog):
    out = FailsOnce()
    endpoint = inproc()
    registered(pump, "PULL", endpoint, bind=True, out=out)
    peer = zgreen.Channel(zmq.PUSH, connect=endpoint, pump=pump)
    with caplog.at_level(logging.ERROR, "zgreen"):
        for message in ("a", "bad put", "b"):
            peer.put(message)
        assert [out.get(), out.get()] == [b"a", b"b"]
    assert "out has refused a message, which is lost" in caplog.text
    assert "no place for it" in caplog.text


def test_an_in_that_fails_is_closed_and_says_so(pump, caplog):
    in_ = FailsOnce()
    endpoint = inproc()
    server = zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump)
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    with caplog.at_level(logging.ERROR, "zgreen"):
        in_.put(b"a")
        in_.put(b"bad get")
        wait_for(lambda: channel not in pump.channels)
    assert server.get() == b"a"
    assert "in_ has failed" in caplog.text
    assert "cannot give it" in caplog.text


def test_a_broken_pump_ends_both_queues(pump, caplog):
    """Nobody waits on in_ or out for ever; what in_ still holds can be got from it."""
    in_, out = Queue(1), Queue()
    with zgreen.Pump("breaks") as broken:
        registered(broken, "PAIR", inproc(), bind=True, in_=in_, out=out)
        reader = gevent.spawn(outcome, out.get)
        gevent.sleep(0)  # it waits
        with caplog.at_level(logging.CRITICAL, "zgreen"):
            break_pump(broken, RuntimeError("injected"))
        assert isinstance(reader.get(), ShutDown)
        with pytest.raises(ShutDown):
            in_.put("x")


def test_drained_is_empty_of_what_was_sent(pump):
    """in_ holds nothing that has been sent as well: an item is in one place."""
    in_ = Queue()
    server, _ = channels(pump, "PULL", "PUSH")
    endpoint = server.last_endpoint
    channel = registered(pump, "PUSH", endpoint, in_=in_)
    for i in range(10):
        in_.put(b"%d" % i)
    channel.close()
    assert drained(in_) == []
    assert sorted(server.get() for _ in range(10)) == [b"%d" % i for i in range(10)]
    with pytest.raises(Empty):
        server.get_nowait()


def test_positional_in_and_out(pump):
    """register_socket(in_, out, ...): the first is what you write."""
    in_, out = Queue(), Queue()
    endpoint = inproc()
    register_socket(None, out, socket_type="PULL", configurator=lambda s: s.bind(endpoint), pump=pump)
    register_socket(in_, socket_type="PUSH", configurator=lambda s: s.connect(endpoint), pump=pump)
    in_.put("x")
    assert out.get() == b"x"


@pytest.mark.parametrize(
    ("make", "most"),
    [(lambda: Queue(1), 2), (lambda: Queue(10), 11), (gevent.queue.Channel, 1)],
    ids=["1", "10", "Channel"],
)
def test_no_more_is_read_than_a_bounded_out_holds(pump, make, most):
    """And one message in hand; the rest stays with libzmq and the peer. Nothing is lost, and the order is kept."""
    out = make()
    server = registered(pump, "PULL", endpoint := inproc(), out=out, bind=True)
    client = zgreen.Channel("PUSH", connect=endpoint, pump=pump, send_maxsize=None)
    for i in range(3000):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().received == most, "the owning thread to have read what it may")
    for _ in range(10):
        gevent.sleep(0)
        pump._thread.post(pump._thread.engine.ping).wait(Deadline(LIMIT))
        assert server.statistics().received == most
    assert [out.get(timeout=LIMIT) for _ in range(3000)] == [b"%d" % i for i in range(3000)]
