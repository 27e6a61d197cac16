"""Channel: every name of its public face, and every cell of the tables of what put and get do."""

import array
import contextlib
import logging
import sys
from statistics import median

import gevent
import gevent.queue
import pytest
import zmq
from gevent.queue import Empty, Full
from support import (
    ANY,
    LIMIT,
    Gate,
    block_hub_until,
    channels,
    drained,
    endpoint_of,
    inproc,
    outcome,
    raw_socket,
    real_threads,
    stuck,
    wait_for,
)

import zgreen
from zgreen import BrokenError, Channel, ClosedError
from zgreen._engine._api import STREAK

NOBODY = "tcp://127.0.0.1:1"  # a port that nobody listens on


def park(count, function, *args, **options):
    """So many greenlets that call *function*; returns when they wait. Each one's value is what it gave or raised."""
    greenlets = [gevent.spawn(outcome, function, *args, **options) for _ in range(count)]
    gevent.sleep(0)
    return greenlets


# ---------------------------------------------------------------------- making one


@pytest.mark.parametrize("socket_type", [zmq.PUSH, "PUSH", "push", int(zmq.PUSH)])
def test_socket_type(pump, socket_type):
    channel = Channel(socket_type, pump=pump)
    assert channel.getsockopt(zmq.TYPE) == zmq.PUSH
    assert "PUSH" in repr(channel)


def test_the_implicit_pump():
    assert Channel("PUSH").pump is zgreen.get_pump()


def test_one_endpoint_or_several(pump):
    """bind and connect take an endpoint or an iterable of them."""
    server = Channel("PULL", bind=(inproc(), ANY), pump=pump)
    other = Channel("PULL", [inproc()], pump=pump)
    client = Channel("PUSH", None, iter([server.last_endpoint, other.last_endpoint]), pump=pump)
    for i in range(4):
        client.put(str(i))
    assert sorted([server.get(), server.get(), other.get(), other.get()]) == [b"0", b"1", b"2", b"3"]


def test_options_come_before_bind(pump):
    """An option that counts for later binds only has its effect."""
    channel = Channel("ROUTER", bind=ANY, options={zmq.SNDHWM: 7, zmq.IDENTITY: "name", zmq.IPV6: 1}, pump=pump)
    assert channel.getsockopt(zmq.SNDHWM) == 7
    assert channel.getsockopt(zmq.IDENTITY) == b"name"


def test_order_of_preparation(pump):
    """options, then configurator, then bind."""
    seen = []

    def configure(socket):
        seen.append((socket.get(zmq.SNDHWM), socket.get(zmq.LAST_ENDPOINT).rstrip(b"\0")))

    Channel("PUSH", bind=ANY, options={zmq.SNDHWM: 7}, configurator=configure, pump=pump)
    assert seen == [(7, b"")]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"socket_type": "PUSHY"}, ValueError, "unknown socket type 'PUSHY'"),
        ({"socket_type": None}, TypeError, "NoneType"),
        ({"bind": 5555}, TypeError, "bind must be an endpoint or an iterable of them, not int"),
        ({"bind": [5555]}, TypeError, "bind must be a str .*not int"),
        ({"connect": b"tcp://x:1"}, TypeError, "connect must be a str"),
        ({"options": [(zmq.SNDHWM, 1)]}, TypeError, "options must be a mapping .*not list"),
        ({"options": {"SNDHWM": 1}}, TypeError, "an option is one of zmq's constants.*'SNDHWM'"),
        ({"configurator": "bind"}, TypeError, "configurator must be callable, not str"),
        ({"send_maxsize": 0}, ValueError, "send_maxsize must be 1 or more, not 0; None means no limit"),
        ({"recv_maxsize": -1}, ValueError, "recv_maxsize must be 1 or more, not -1"),
        ({"send_maxsize": 1.5}, TypeError, "send_maxsize must be an int or None, not float"),
        ({"recv_maxsize": True}, TypeError, "recv_maxsize must be an int or None, not bool"),
        ({"overflow": "drop"}, ValueError, "overflow must be one of block, drop_oldest, drop_newest, not 'drop'"),
        ({"pump": "pump"}, TypeError, "pump must be a zgreen.Pump or None, not str"),
    ],
)
def test_wrong_arguments_name_what_is_wrong(pump, arguments, error, match):
    with pytest.raises(error, match=match):
        Channel(**({"socket_type": "PUSH", "pump": pump} | arguments))
    assert not pump.channels


def test_a_used_port_is_the_callers_error(pump):
    """It names the endpoint; the pump and its other channels go on, and the socket is closed."""
    server, client = channels(pump, "PULL", "PUSH")
    taken = Channel("PULL", bind=ANY, pump=pump)
    with pytest.raises(zmq.ZMQError, match=taken.last_endpoint) as caught:
        Channel("PULL", bind=taken.last_endpoint, pump=pump)
    assert caught.value.errno == zmq.EADDRINUSE
    with pytest.raises(zmq.ZMQError, match=taken.last_endpoint) as caught:
        server.bind(taken.last_endpoint)
    assert caught.value.errno == zmq.EADDRINUSE
    client.put("on")
    assert server.get() == b"on"
    assert pump.channels == (server, client, taken)


@pytest.mark.parametrize("endpoint", ["bogus://x", "tcp://", "nonsense", ""])
def test_a_bad_endpoint_is_named(pump, endpoint):
    server, client = channels(pump, "PULL", "PUSH")
    for way in ("bind", "connect"):
        with pytest.raises(zmq.ZMQError, match=f"'{endpoint}'"):
            Channel("PUSH", pump=pump, **{way: endpoint})
        with pytest.raises(zmq.ZMQError, match=f"'{endpoint}'"):
            getattr(client, way)(endpoint)
    client.put("on")
    assert server.get() == b"on"


def test_an_unknown_option_is_named(pump):
    server, client = channels(pump, "PULL", "PUSH")
    with pytest.raises(zmq.ZMQError, match="option 9999 = 1"):
        Channel("PUSH", options={9999: 1}, pump=pump)
    with pytest.raises(zmq.ZMQError, match="option 9999 = 1"):
        client.setsockopt(9999, 1)
    with pytest.raises(zmq.ZMQError, match="option 9999"):
        client.getsockopt(9999)
    with pytest.raises(zmq.ZMQError, match="SNDHWM = -5"):
        client.setsockopt(zmq.SNDHWM, -5)
    with pytest.raises(TypeError, match="SNDHWM = 'x'"):
        client.setsockopt(zmq.SNDHWM, "x")
    with pytest.raises(TypeError, match="one of zmq's constants"):
        client.getsockopt("SNDHWM")
    client.put("on")
    assert server.get() == b"on"


def test_killed_while_it_is_made(pump):
    """The socket does not stay open without an owner."""
    gate = Gate()
    making = gevent.spawn(Channel, "PUSH", configurator=lambda _: gate.wait(), pump=pump)
    gevent.sleep(0)
    assert len(pump.channels) == 1
    making.kill()
    assert not pump.channels
    gate.open()
    wait_for(lambda: not pump._thread.engine._by_fd, "the socket to be closed")


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("message", "got"),
    [
        (b"x", b"x"),
        ("é", "é".encode()),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (array.array("B", [1, 2]), b"\1\2"),
        (zmq.Frame(b"x"), b"x"),
        (["x"], b"x"),
        (("a", b"", bytearray(b"c")), [b"a", b"", b"c"]),
        (b"", b""),
    ],
)
def test_messages(pump, message, got):
    server, client = channels(pump, "PULL", "PUSH")
    client.put(message)
    client.put_nowait(message)
    client.send(message).get()
    assert [server.get(), server.get(), server.get()] == [got] * 3


def test_multipart_always_gives_a_list(pump):
    server, client = channels(pump, "PULL", "PUSH", multipart=True)
    client.put("x")
    client.put(["x", "y"])
    assert [server.get(), server.get()] == [[b"x"], [b"x", b"y"]]


@pytest.mark.parametrize("put", ["put", "put_nowait", "send"])
def test_a_bad_message_is_the_callers_error(pump, put):
    """Before anything is queued; the next one goes on."""
    server, client = channels(pump, "PULL", "PUSH")
    for bad, match in ((5, "int"), (["x", None], "frame 1 .*NoneType"), ([], "empty list")):
        with pytest.raises(TypeError, match=match):
            getattr(client, put)(bad)
    assert client.statistics().pending == 0
    client.put("on")
    assert server.get() == b"on"


def test_put_on_a_receive_only_channel(pump):
    server, client = channels(pump, "PULL", "PUSH")
    for put in (server.put, server.put_nowait, server.send):
        with pytest.raises(TypeError, match="a PULL socket cannot send: get from it, do not put"):
            put("x")
    for get in (client.get, client.get_nowait, lambda: next(client)):
        with pytest.raises(TypeError, match="a PUSH socket cannot receive: put to it, do not get"):
            get()
    client.put("on")
    assert server.get() == b"on"


# ---------------------------------------------------------------------- put: room, full, closed


def test_order_of_puts_is_kept(pump):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=None)
    for i in range(3000):
        client.put(b"%d" % i)
    assert [server.get() for _ in range(3000)] == [b"%d" % i for i in range(3000)]


def test_put_while_libzmq_takes_none(pump):
    """It returns at once, and the message stays at the head until there is a peer."""
    client = stuck(pump)
    for i in range(10):
        client.put(b"%d" % i)
    assert client.statistics().pending == 10
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    assert [server.get() for _ in range(10)] == [b"%d" % i for i in range(10)]


def test_put_on_a_full_queue(pump):
    """Full at once if not to wait, Full after the timeout; nothing of it was put."""
    client = stuck(pump, send_maxsize=2)
    client.put("0")
    client.put("1")
    for put in (
        lambda: client.put_nowait("x"),
        lambda: client.put("x", False),
        lambda: client.put("x", timeout=0),
        lambda: client.put("x", timeout=0.01),
        lambda: client.put("x", block=False, timeout=LIMIT),
    ):
        with pytest.raises(Full):
            put()
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        client.put("x", timeout=-1)
    assert client.statistics().pending == 2
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    client.put("2")  # the next use works
    assert [server.get(), server.get(), server.get()] == [b"0", b"1", b"2"]
    assert client.flush(LIMIT)
    with pytest.raises(Empty):
        server.get_nowait()


def test_calls_that_do_not_wait_stay_on_the_short_way(pump):
    """However many come in a row: none is held up for the others' turn, so none pays for that."""
    number = 3 * STREAK
    client, server = channels(pump, "PUSH", "PULL")

    def calls_in(function, *args):
        """How many functions of Python one call of *function* takes."""
        count = 0

        def note(_frame, event, _arg):
            nonlocal count
            count += event == "call"

        sys.setprofile(note)
        try:
            function(*args)
        finally:
            sys.setprofile(None)
        return count

    for put in (client.put_nowait, lambda message: client.put(message, block=False)):
        for get in (server.get_nowait, lambda: server.get(block=False)):
            puts = [calls_in(put, b"x") for _ in range(number)]
            wait_for(lambda: server.statistics().waiting == number)
            gets = [calls_in(get) for _ in range(number)]
            for calls in (puts, gets):  # a few of either half wake the owning thread
                assert median(calls[number // 2 :]) == median(calls[: number // 2])


def test_putters_wait_in_turn_and_only_they(pump):
    """First come, first served; the hub and other channels go on."""
    client = stuck(pump, send_maxsize=1)
    client.put("first")
    putters = [gevent.spawn(client.put, b"%d" % i) for i in range(20)]
    wait_for(lambda: client.statistics().putters == 20)
    other_server, other_client = channels(pump, "PULL", "PUSH")
    other_client.put("meanwhile")
    assert other_server.get() == b"meanwhile"
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    assert [server.get() for _ in range(21)] == [b"first"] + [b"%d" % i for i in range(20)]
    gevent.joinall(putters, raise_error=True)


def test_a_killed_putter_has_put_nothing(pump):
    client = stuck(pump, send_maxsize=1)
    client.put("first")
    killed = gevent.spawn(client.put, "killed")
    after = gevent.spawn(client.put, "after")
    gevent.sleep(0)
    with gevent.Timeout(0.01, False):
        client.put("timed out")
    killed.kill()
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    after.get()
    assert client.flush(LIMIT)
    assert [server.get(), server.get()] == [b"first", b"after"]
    with pytest.raises(Empty):
        server.get(timeout=0.01)


def test_the_users_own_timeout_passes(pump):
    """gevent.Timeout is not turned into Full or Empty, even if it is shorter than timeout=."""
    client = stuck(pump, send_maxsize=1)
    client.put("x")
    server = Channel("PULL", pump=pump)
    for wait in (client.put, lambda m, timeout: server.get(timeout=timeout), lambda m, timeout: client.flush(timeout)):
        with gevent.Timeout(0.01) as timer:
            assert outcome_of_timeout(timer, wait, "y", timeout=LIMIT) is timer
    assert client.statistics().putters == server.statistics().getters == 0


def outcome_of_timeout(timer, function, *args, **options):
    """The gevent.Timeout that *function* ends with."""
    try:
        function(*args, **options)
    except gevent.Timeout as expired:
        return expired
    return None


def test_put_after_close(pump):
    """ClosedError, which says what was closed, whatever way one puts."""
    _, client = channels(pump, "PULL", "PUSH")
    client.close()
    for put in (client.put, client.put_nowait, client.send, lambda m: client.put(m, timeout=1)):
        with pytest.raises(ClosedError, match=r"zgreen.Channel PUSH inproc://.* was closed"):
            put("x")
    with pytest.raises(gevent.queue.ShutDown):
        client.put("x")


def test_close_wakes_those_who_wait_to_put(pump):
    client = stuck(pump, send_maxsize=1)
    client.put("x")
    putters = park(5, client.put, "y") + park(2, client.send, "z")
    with real_threads(1) as spawn:
        foreign = spawn(outcome, client.put, "from a thread")
        wait_for(lambda: client.statistics().putters == 8)
        assert client.close(linger=0) == 1
        assert [type(g.get()) for g in (*putters, foreign)] == [ClosedError] * 8


def test_a_publisher_connects_to_an_endpoint_once(pump):
    """As libzmq's PUB does, however often it is told to; else each message would come twice."""
    subscriber = Channel("SUB", bind=inproc(), subscribe="", pump=pump)
    endpoint = subscriber.last_endpoint
    for publisher in (Channel("PUB", connect=endpoint, pump=pump), Channel("PUB", connect=[endpoint] * 2, pump=pump)):
        publisher.connect(endpoint)
        assert publisher.wait_subscriber(timeout=LIMIT)
        messages = [b"%d" % number for number in range(20)]
        for message in messages:
            publisher.put(message)
            assert publisher.flush(LIMIT)
        assert [subscriber.get(timeout=LIMIT) for _ in messages] == messages
        publisher.close()


def test_a_channel_that_lingers_takes_no_puts(pump):
    """Those that wait for room learn of the close at once, not when the linger is over."""
    client = stuck(pump, send_maxsize=2)
    client.put("x")
    client.put("y")
    putters = park(2, client.put, "z")
    wait_for(lambda: client.statistics().putters == 2, "the putters")
    closing = gevent.spawn(client.close, LIMIT)
    assert [type(putter.get(timeout=LIMIT)) for putter in putters] == [ClosedError] * 2
    assert not closing.ready()
    client.close(0)


def test_a_channel_that_lingers_takes_no_puts_for_which_there_is_room(pump):
    client = stuck(pump)
    client.put("x")
    closing = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: client.closed, "the close")
    for put in (client.put, client.put_nowait, client.send, lambda message: client.put_many([message])):
        with pytest.raises(ClosedError):
            put(b"y")
    assert not closing.ready()
    assert client.close(0) == 1


def test_pending_messages_get_the_linger(pump, caplog):
    """close() waits for them as long as it is told, then counts and reports."""
    client = stuck(pump)
    reported = []
    client.on_error = lambda error, message: reported.append((type(error), message))
    client.put("a")
    client.put(["b", "c"])
    result = client.send("asked")
    with caplog.at_level(logging.WARNING, "zgreen"):
        assert client.close(linger=0.02) == 3
    assert "3 messages were not sent" in caplog.text
    assert reported == [(ClosedError, b"a"), (ClosedError, [b"b", b"c"])]
    with pytest.raises(ClosedError):
        result.get()
    assert client.statistics().unsent == 3
    assert pump.statistics().unsent == 3
    assert client.close() == 3


def test_pending_messages_go_out_while_it_lingers(pump):
    """A peer that comes in time gets them all: here it binds the port again."""
    probe = Channel("PULL", bind=ANY, pump=pump)
    endpoint = probe.last_endpoint
    probe.close()
    client = Channel("PUSH", connect=endpoint, options={zmq.SNDHWM: 1, zmq.RECONNECT_IVL: 10}, pump=pump)
    for i in range(50):
        client.put(b"%d" % i)
    closing = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: client.closed)
    server = Channel("PULL", bind=endpoint, pump=pump)
    assert [server.get() for _ in range(50)] == [b"%d" % i for i in range(50)]
    assert closing.get() == 0


@pytest.mark.parametrize("hwm", [10, 5])
def test_what_libzmq_held_when_the_linger_ran_out_is_counted(pump, hwm, caplog):
    """Up to the high-water mark, whether or not there was more in the send queue."""
    client = Channel("PUSH", connect=NOBODY, options={zmq.SNDHWM: hwm}, pump=pump)
    for i in range(10):
        client.put(b"%d" % i)
    wait_for(lambda: client.statistics().sent == hwm)
    with caplog.at_level(logging.WARNING, "zgreen"):
        assert client.close(linger=0.05) == 10
    assert (
        f"10 messages were not sent: {10 - hwm} were still queued, up to {hwm} may have been discarded by libzmq"
        in caplog.text
    )


@pytest.mark.parametrize("where", ["first", "last", "command", "alone"])
def test_over_inproc_nothing_is_lost_by_a_close(pump, where):
    """But a socket that has another endpoint, too, may lose what went there, whichever was the last."""
    Channel("PULL", bind=(name := inproc()), pump=pump)
    endpoints = {"first": (name, NOBODY), "last": (NOBODY, name), "command": (NOBODY,), "alone": (name,)}[where]
    client = Channel("PUSH", connect=endpoints, pump=pump)
    if where == "command":
        client.connect(name)
    for i in range(10):
        client.put(b"%d" % i)
    assert client.flush(LIMIT)
    assert client.close(linger=0.05) == (0 if where == "alone" else 10)


def test_zmq_linger_counts_where_nothing_is_said(pump):
    """close() without a linger takes the socket's own."""
    client = Channel("PUSH", connect=NOBODY, options={zmq.LINGER: 10}, pump=pump)
    client.put("x")
    wait_for(lambda: client.statistics().sent)
    with gevent.Timeout(LIMIT / 2):
        assert client.close() == 1


@pytest.mark.parametrize("linger", [None, 1e7, 1e300])
def test_a_linger_without_end(pump, linger):
    """As long as libzmq can count; the pump goes on with its other channels, and a shorter one still ends it."""
    endpoint = free_endpoint()
    for connect, taken in ((None, 0), (endpoint, 1)):
        client = Channel("PUSH", connect=connect, options={zmq.LINGER: 2**31 - 1}, pump=pump)
        client.put("x")
        wait_for(lambda c=client, taken=taken: c.statistics().sent == taken)
        patient = gevent.spawn(client.close, linger)
        wait_for(lambda c=client, taken=taken: c.closed and c._lanes.pipe.finished == taken)
        with Channel("PULL", pump=pump):
            assert client.close(linger=0.01) == patient.get(timeout=LIMIT) == 1
    with raw_socket(zmq.PULL, bind=endpoint) as server:
        assert server.recv() == b"x"  # libzmq is still at it


def free_endpoint():
    """One that nobody is bound to."""
    with raw_socket(zmq.PULL, bind=ANY) as probe:
        return endpoint_of(probe)


# ---------------------------------------------------------------------- put: refused for good


def test_a_rep_without_a_request(pump, caplog):
    """send() gives EFSM, put() reports to on_error, else to the log; it counts, and the pump goes on."""
    server, client = channels(pump, "REP", "REQ")
    with pytest.raises(zmq.ZMQError) as caught:
        server.send("nobody asked").get()
    assert caught.value.errno == zmq.EFSM
    reported = []
    server.on_error = lambda error, message: reported.append((error.errno, message))
    server.put("nor for this")
    wait_for(lambda: reported)
    assert reported == [(zmq.EFSM, b"nor for this")]
    server.on_error = None
    with caplog.at_level(logging.WARNING, "zgreen"):
        server.put("logged")
        wait_for(lambda: server.statistics().refused == 3)
        wait_for(lambda: caplog.text)
    assert "REP" in caplog.text
    assert "a message was not sent" in caplog.text
    client.put("ping")
    assert server.get() == b"ping"
    server.put("pong")
    assert client.get() == b"pong"
    assert pump.statistics().refused == 3


def test_a_router_with_mandatory(pump):
    """An address that nobody has is refused for good; the next message goes on."""
    router, dealer = channels(pump, "ROUTER", "DEALER")
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    dealer.put("hello")
    identity, _ = router.get()
    results = [router.send([b"nobody", b"x"]), router.send([identity, b"y"])]
    with pytest.raises(zmq.ZMQError) as caught:
        results[0].get()
    assert caught.value.errno == zmq.EHOSTUNREACH
    assert results[1].get() is None
    assert dealer.get() == b"y"


def test_on_error_that_itself_fails(pump, caplog):
    """It is logged; the pump and the channel go on."""
    server, client = channels(pump, "REP", "REQ")

    def fail(error, message):
        raise LookupError("on_error is wrong")

    server.on_error = fail
    with caplog.at_level(logging.ERROR, "zgreen"):
        server.put("x")
        wait_for(lambda: caplog.text)
    assert "on_error has failed" in caplog.text
    assert "on_error is wrong" in caplog.text
    client.put("ping")
    assert server.get() == b"ping"
    with pytest.raises(TypeError, match="on_error must be callable or None, not int"):
        server.on_error = 5
    assert server.on_error is fail


class Stop(BaseException):
    """What an `except Exception` lets pass."""


def test_on_error_that_fails_badly_does_not_keep_a_channel_from_ending(pump, hub_errors):
    """Even a BaseException (a Timeout, a GreenletExit) leaves no waiter behind and no channel half closed."""
    client = stuck(pump, send_maxsize=2)

    def fail(error, message):
        raise Stop

    client.on_error = fail
    client.put("a")
    result = client.send("b")
    waiting = park(2, client.put, "c")
    client.close(linger=0)
    assert isinstance(outcome(result.get, timeout=LIMIT), ClosedError)
    assert [type(g.get(timeout=LIMIT)) for g in waiting] == [ClosedError] * 2
    wait_for(lambda: client not in pump.channels)
    assert client.closed
    assert [type(error) for _, error in hub_errors] == [Stop]
    hub_errors.clear()


def test_on_error_may_close_the_channel(pump):
    """It runs in the hub, which cannot wait, so close() goes on by itself."""
    server, _ = channels(pump, "REP", "REQ")
    server.on_error = lambda error, message: server.close()
    server.put("x")
    wait_for(lambda: server not in pump.channels)


# ---------------------------------------------------------------------- send, flush


def test_send_is_set_when_libzmq_has_the_message(pump):
    client = stuck(pump)
    result = client.send("x")
    with pytest.raises(gevent.Timeout):
        result.get(timeout=0.01)
    assert not result.ready()
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    assert result.get() is None
    assert server.get() == b"x"


def test_send_waits_for_room(pump):
    """And a killed sender has sent nothing."""
    client = stuck(pump, send_maxsize=1)
    client.put("x")
    sender = gevent.spawn(client.send, "y")
    gevent.sleep(0)
    assert client.statistics().putters == 1
    sender.kill()
    assert client.statistics().putters == 0
    assert client.close(linger=0) == 1


def test_send_from_another_thread_is_refused(pump):
    """Its AsyncResult would belong to a hub of another thread."""
    client = stuck(pump)
    with real_threads(1) as spawn:
        error = spawn(outcome, client.send, "x").get()
    assert isinstance(error, RuntimeError)
    assert "from another thread use put()" in str(error)
    assert client.statistics().pending == 0


def test_flush(pump):
    """True when all that was put before is with libzmq; it counts as no message."""
    client = stuck(pump)
    assert client.flush() is True
    client.put("x")
    assert client.flush(timeout=0.01) is False
    assert client.flush(timeout=0) is False
    flushing = park(2, client.flush)
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    assert [g.get() for g in flushing] == [True, True]
    assert server.get() == b"x"
    assert client.statistics()[:4] == (1, 0, 0, 0)
    for wrong, error in ((-1, ValueError), ("1", TypeError), (float("nan"), ValueError)):
        with pytest.raises(error, match="timeout must be"):
            client.flush(wrong)


def test_flush_does_not_take_room_from_puts(pump):
    client = stuck(pump, send_maxsize=1)
    assert park(3, client.flush)[0].get() is True
    client.put_nowait("x")
    marks = park(3, client.flush)
    assert client.statistics().pending == 1
    assert client.close(linger=0) == 1
    assert [type(g.get()) for g in marks] == [ClosedError] * 3


def test_flush_on_a_closed_channel(pump):
    client = stuck(pump)
    client.close()
    with pytest.raises(ClosedError):
        client.flush()


def test_flush_from_another_thread(pump):
    client = stuck(pump)
    client.put("x")
    with real_threads(1) as spawn:
        assert spawn(client.flush, 0.01).get() is False
        flushing = spawn(client.flush)
        server = Channel("PULL", bind=inproc(), pump=pump)
        client.connect(server.last_endpoint)
        assert flushing.get() is True


# ---------------------------------------------------------------------- get


def test_get_waits_or_is_empty(pump):
    server, client = channels(pump, "PULL", "PUSH")
    for get in (
        server.get_nowait,
        lambda: server.get(False),
        lambda: server.get(timeout=0),
        lambda: server.get(timeout=0.01),
        lambda: server.get(block=False, timeout=LIMIT),
    ):
        with pytest.raises(Empty):
            get()
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        server.get(timeout=-1)
    getter = gevent.spawn(server.get, timeout=LIMIT)
    gevent.sleep(0)
    client.put("x")
    assert getter.get() == b"x"


def test_getters_are_served_in_turn(pump):
    server, client = channels(pump, "PULL", "PUSH")
    got = []
    getters = [gevent.spawn(lambda i=i: got.append((i, server.get()))) for i in range(20)]
    wait_for(lambda: server.statistics().getters == 20)
    for i in range(20):
        client.put(b"%d" % i)
    gevent.joinall(getters, raise_error=True)
    assert got == [(i, b"%d" % i) for i in range(20)]


def test_a_killed_getter_has_taken_nothing(pump):
    server, client = channels(pump, "PULL", "PUSH")
    killed = gevent.spawn(server.get)
    after = gevent.spawn(server.get)
    gevent.sleep(0)
    client.put("x")
    block_hub_until(lambda: server.statistics().waiting, "the message")
    killed.kill()
    assert after.get() == b"x"


def test_close_ends_getters_after_what_was_received(pump):
    """What was received can still be got, by those who wait and by iteration; then ClosedError."""
    server, client = channels(pump, "PULL", "PUSH")
    for i in range(5):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().waiting == 5)
    server.close()
    assert server.closed
    assert server.get() == b"0"
    assert server.get_nowait() == b"1"
    assert list(server) == [b"2", b"3", b"4"]
    for get in (server.get, server.get_nowait, lambda: server.get(timeout=0)):
        with pytest.raises(ClosedError, match="was closed"):
            get()
    assert list(server) == []


def test_close_wakes_those_who_wait_to_get(pump):
    server = Channel("PULL", pump=pump)
    getters = park(5, server.get) + park(1, list, server)
    with real_threads(1) as spawn:
        foreign = spawn(outcome, server.get)
        wait_for(lambda: server.statistics().getters == 7)
        server.close()
        results = [g.get() for g in (*getters, foreign)]
    assert [type(r) for r in results] == [ClosedError] * 5 + [list, ClosedError]


def test_iteration(pump):
    server, client = channels(pump, "PULL", "PUSH")
    reader = gevent.spawn(list, server)
    client.put("a")
    client.put("b")
    wait_for(lambda: server.statistics().received == 2 and not server.statistics().waiting)
    server.close()
    assert reader.get() == [b"a", b"b"]


# ---------------------------------------------------------------------- limits of the receive queue


def test_a_full_receive_queue_pushes_back(pump):
    """No more than recv_maxsize is read; what waits stays with ZeroMQ and the sender, and nothing is dropped."""
    server = Channel("PULL", bind=inproc(), recv_maxsize=3, options={zmq.RCVHWM: 1}, pump=pump)
    client = Channel("PUSH", connect=server.last_endpoint, send_maxsize=3, options={zmq.SNDHWM: 1}, pump=pump)
    count = 0
    with pytest.raises(Full):  # noqa: PT012 (how many fit is libzmq's)
        while True:
            client.put(b"%d" % count, timeout=0.1)
            count += 1
    assert server.statistics().received == 3
    assert 6 <= count <= 12
    assert [server.get() for _ in range(count)] == [b"%d" % i for i in range(count)]
    assert server.statistics().dropped == 0


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", range(15, 20)), ("drop_newest", range(5))])
def test_overflow_drops_and_counts(pump, overflow, kept):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=5, overflow=overflow)
    for i in range(20):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().received == 20)
    assert drained(server) == [b"%d" % i for i in kept]
    assert server.statistics().dropped == pump.statistics().dropped == 15


def test_no_limit(pump):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=None, send_maxsize=None)
    for i in range(5000):
        client.put_nowait(b"%d" % i)
    wait_for(lambda: server.statistics().waiting == 5000)


# ---------------------------------------------------------------------- the socket


def test_bind_unbind_connect_disconnect(pump):
    """At run time, with the real port in last_endpoint; after unbind the port is free."""
    server = Channel("PULL", pump=pump)
    client = Channel("PUSH", pump=pump)
    assert server.last_endpoint == ""
    server.bind(ANY)
    endpoint = server.last_endpoint
    assert endpoint.startswith("tcp://127.0.0.1:")
    assert not endpoint.endswith("*")
    client.connect(endpoint)
    assert client.last_endpoint == endpoint
    client.put("x")
    assert server.get() == b"x"
    client.disconnect(endpoint)
    server.unbind(endpoint)
    for wrong in (client.disconnect, server.unbind):
        with pytest.raises(zmq.ZMQError, match=endpoint):
            wrong(endpoint)
    for method in (client.connect, client.disconnect, server.bind, server.unbind):
        with pytest.raises(TypeError, match="endpoint must be a str"):
            method(5555)

    def bound():
        with contextlib.suppress(zmq.ZMQError):  # libzmq closes the listener in its own time
            server.bind(endpoint)
            return True

    wait_for(bound)


def test_options(pump):
    channel = Channel("DEALER", pump=pump)
    channel.setsockopt(zmq.SNDHWM, 5)
    assert channel.getsockopt(zmq.SNDHWM) == 5
    channel.setsockopt(zmq.IDENTITY, b"me")
    assert channel.getsockopt(zmq.IDENTITY) == b"me"


def test_reading_events_does_not_eat_the_edge(pump):
    """Any getsockopt may; the pump looks at the socket again."""
    server, client = channels(pump, "PULL", "PUSH")
    for i in range(200):
        client.put(b"%d" % i)
        server.getsockopt(zmq.EVENTS)
        assert server.get(timeout=LIMIT) == b"%d" % i


def test_subscribe(pump):
    """By str or bytes; each subscribe is undone by one unsubscribe."""
    publisher, subscriber = channels(pump, "XPUB", "SUB")
    subscriber.subscribe("é")
    assert publisher.get() == b"\1" + "é".encode()
    subscriber.subscribe(b"b")
    assert publisher.get() == b"\1b"
    publisher.put("é 1")
    publisher.put("other")
    publisher.put(["b", "2"])
    assert subscriber.get() == "é 1".encode()
    assert subscriber.get() == [b"b", b"2"]
    subscriber.unsubscribe("é")
    assert publisher.get() == b"\0" + "é".encode()
    publisher.put("é 2")
    publisher.put("b 3")
    assert subscriber.get() == b"b 3"
    with pytest.raises(TypeError, match="a topic is str or bytes, not int"):
        subscriber.subscribe(5)
    with pytest.raises(TypeError, match="only a SUB socket has subscriptions"):
        publisher.subscribe("x")


def test_two_hundred_topics(pump):
    """Subscriptions come and go while messages are sent; the ones that stand get theirs."""
    publisher = Channel("XPUB", bind=ANY, recv_maxsize=None, pump=pump)
    subscribers = [Channel("SUB", connect=publisher.last_endpoint, pump=pump) for _ in range(3)]
    stop = []

    def publish():
        while not stop:
            publisher.put(b"churn %d" % publisher.statistics().sent)
            gevent.sleep(0)

    publishing = gevent.spawn(publish)

    def churn(subscriber):
        for i in range(200):
            subscriber.subscribe(f"topic {i}")
        for i in range(199):
            subscriber.unsubscribe(f"topic {i}")

    gevent.joinall([gevent.spawn(churn, s) for s in subscribers], raise_error=True)
    stop.append(1)
    publishing.get()
    counts = {}

    def all_known():
        for event in drained(publisher):
            counts[event[1:]] = event[0]
        return sum(counts.values()) == 1 and len(counts) == 200

    wait_for(all_known, "the publisher to know all subscriptions")
    publisher.put("topic 199")
    assert [s.get() for s in subscribers] == [b"topic 199"] * 3


# ---------------------------------------------------------------------- REQ, REP


def test_requests_of_several_greenlets_wait_their_turn(pump):
    """A REQ that awaits a reply refuses the next request for now, not for good."""
    server, client = channels(pump, "REP", "REQ")
    gevent.joinall([gevent.spawn(client.put, b"%d" % i) for i in range(50)], raise_error=True)
    for i in range(50):
        request = server.get()
        assert request == b"%d" % i
        server.put(b"re " + request)
        assert client.get() == b"re %d" % i
    assert client.statistics().refused == 0


def test_multipart_requests_wait_whole(pump):
    server, client = channels(pump, "REP", "REQ")
    client.put(["a", "1", "2"])
    client.put(["b", "1", "2"])
    for name in (b"a", b"b"):
        assert server.get() == [name, b"1", b"2"]
        server.put([name, "done"])
        assert client.get() == [name, b"done"]


# ---------------------------------------------------------------------- state and end


def test_statistics(pump):
    server, client = channels(pump, "PULL", "PUSH")
    client.put("x")
    client.put("y")
    wait_for(lambda: server.statistics().waiting == 2)
    server.get()
    statistics = server.statistics()
    assert statistics[:9] == (0, 2, 0, 1, 0, 0, 0, 0, 0)
    assert client.statistics().sent == 2
    getters = park(1, stuck(pump).flush) + park(2, Channel("PULL", pump=pump).get)
    assert [c.statistics().getters for c in pump.channels] == [0, 0, 0, 2]
    gevent.killall(getters)


def test_close_is_idempotent(pump):
    """Again, by many at once, and from the hub; the port is free when it returns."""
    server = Channel("PULL", bind=ANY, pump=pump)
    closers = [gevent.spawn(server.close) for _ in range(5)]
    assert [g.get() for g in closers] == [0] * 5
    assert server.close() == server.close(linger=0) == 0
    Channel("PULL", bind=server.last_endpoint, pump=pump)
    with server as same:
        assert same is server
    for wrong, error in ((-1, ValueError), ("1", TypeError), (float("inf"), ValueError), (True, TypeError)):
        with pytest.raises(error, match="linger must be"):
            server.close(wrong)


def test_a_second_close_shortens_the_linger(pump):
    """close(linger=0) beside a patient close() ends both."""
    client = stuck(pump)
    client.put("x")
    patient = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: client.closed)
    assert not patient.dead
    with gevent.Timeout(LIMIT / 2):
        assert client.close(linger=0) == 1
        assert patient.get() == 1


def test_a_second_close_shortens_the_linger_that_libzmq_has(pump):
    """Also when all is with libzmq already, which cannot be told to hurry: then nobody waits for it."""
    probe = Channel("PULL", bind=ANY, pump=pump)
    probe.close()
    client = Channel("PUSH", connect=probe.last_endpoint, options={zmq.RECONNECT_IVL: 10}, pump=pump)
    client.put("x")
    wait_for(lambda: client.statistics().sent)
    patient = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: client._lanes.pipe.finished)
    with gevent.Timeout(LIMIT / 2):
        client.close(linger=0)
        patient.get()
    with raw_socket(zmq.PULL, bind=probe.last_endpoint) as server:
        assert server.recv() == b"x"  # libzmq was still at it


@pytest.mark.parametrize(
    ("bound", "connected"), [("PULL", "PUSH"), ("REQ", "REP"), ("REP", "REQ"), ("ROUTER", "DEALER")]
)
def test_close_is_bounded_whatever_the_peer_does(pump, bound, connected):
    """Over inproc libzmq ends a socket when its peer has read all: a peer that does not read must not hold close()."""
    server, client = channels(pump, bound, connected, recv_maxsize=1)
    if client.socket_type == "REP":
        server.put("a request that is never answered")
        assert client.get()
        server, client = client, server
    elif client.socket_type != "REQ":
        for i in range(10):
            client.put(b"%d" % i)
        assert client.flush(LIMIT)
    for channel in (server, client) if client.socket_type == "REQ" else (client,):
        with gevent.Timeout(LIMIT / 2):
            channel.close(linger=0.05)
        assert channel not in pump.channels


def test_a_killed_closer_leaves_the_close_under_way(pump):
    client = stuck(pump)
    client.put("x")
    closer = gevent.spawn(client.close, 0.05)
    wait_for(lambda: client.closed)
    closer.kill()
    wait_for(lambda: client not in pump.channels)
    assert client.statistics().unsent == 1


def test_close_from_another_thread(pump):
    server, client = channels(pump, "PULL", "PUSH")
    client.put("x")
    with real_threads(1) as spawn:
        assert spawn(client.close).get() == 0
    assert server.get() == b"x"
    assert client.closed


def test_with(pump):
    server = Channel("PULL", bind=inproc(), pump=pump)
    with Channel("PUSH", connect=server.last_endpoint, pump=pump) as client:
        client.put("x")
    assert client.closed
    assert server.get() == b"x"


def test_commands_on_a_closed_channel(pump):
    """ClosedError, not a ZMQError of a socket that is not there."""
    channel = Channel("SUB", bind=inproc(), pump=pump)
    channel.close()
    for command in (
        lambda: channel.bind(ANY),
        lambda: channel.unbind(ANY),
        lambda: channel.connect(NOBODY),
        lambda: channel.disconnect(NOBODY),
        lambda: channel.setsockopt(zmq.SNDHWM, 1),
        lambda: channel.getsockopt(zmq.SNDHWM),
        lambda: channel.subscribe(""),
        lambda: channel.unsubscribe(""),
    ):
        with pytest.raises(ClosedError, match="was closed"):
            command()
    assert repr(channel).startswith("<zgreen.Channel SUB inproc://")


def test_a_command_on_a_closing_channel(pump):
    client = stuck(pump)
    client.put("x")
    closing = gevent.spawn(client.close, LIMIT)
    wait_for(lambda: client.closed)
    with pytest.raises(ClosedError):
        client.connect(NOBODY)
    assert client.close(linger=0) == 1
    closing.get()


def test_the_context_is_terminated_under_a_channel(pump):
    """A user's own: BrokenError with the cause for this channel's waiters; the pump goes on."""
    context = zmq.Context()
    socket = context.socket(zmq.PAIR)
    queue = gevent.queue.Queue()
    channel = zgreen.register_socket(queue, socket=socket, pump=pump)
    channel.put("never sent")
    waiting = [*park(2, channel.get), *park(1, channel.flush)]
    result = channel.send("neither")
    context.term()  # returns when the owning thread has closed the socket
    for error in (*(g.get() for g in waiting), outcome(result.get)):
        assert isinstance(error, BrokenError)
        assert error.__cause__.errno == zmq.ETERM
    for use in (channel.get, channel.flush, lambda: channel.put("x"), lambda: next(channel), lambda: channel.bind(ANY)):
        with pytest.raises(BrokenError, match="PAIR") as caught:
            use()
        assert caught.value.__cause__.errno == zmq.ETERM
    assert channel.closed
    assert channel.close() == 2
    assert channel not in pump.channels
    server, client = channels(pump, "PULL", "PUSH")
    client.put("on")
    assert server.get() == b"on"


def test_with_a_plain_peer(pump):
    """What comes and goes is plain ZeroMQ."""
    with raw_socket(zmq.DEALER, bind=ANY) as peer:
        channel = Channel("ROUTER", pump=pump)
        channel.connect(endpoint_of(peer))
        peer.send_multipart([b"", b"a", b"b"])
        identity, *rest = channel.get()
        assert rest == [b"", b"a", b"b"]
        channel.put([identity, "", "answer"])
        assert channel.flush(LIMIT)
        assert peer.recv_multipart() == [b"", b"answer"]


# ---------------------------------------------------------------------- other threads


def test_put_and_get_from_other_threads(pump):
    """Any OS thread may; one that waits blocks itself only."""
    server, client = channels(pump, "PULL", "PUSH", send_maxsize=1, recv_maxsize=1)

    def write(name):
        for i in range(300):
            client.put(b"%d %d" % (name, i))

    def read():
        return [server.get() for _ in range(300)]

    with real_threads(4) as spawn:
        writers = [spawn(write, n) for n in range(2)] + [gevent.spawn(write, 2)]
        readers = [spawn(read) for _ in range(2)] + [gevent.spawn(read)]
        got = [reader.get() for reader in readers]
        for writer in writers:
            writer.get()
    everything = [message for part in got for message in part]
    assert sorted(everything) == sorted(b"%d %d" % (n, i) for n in range(3) for i in range(300))
    for part in got:  # each reader sees each writer's in order
        for name in (b"0", b"1", b"2"):
            numbers = [int(m.split()[1]) for m in part if m.startswith(name + b" ")]
            assert numbers == sorted(numbers)


def test_timeouts_in_other_threads(pump):
    client = stuck(pump, send_maxsize=1)
    server = Channel("PULL", pump=pump)
    client.put("x")
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, client.put, "y", timeout=0.01).get(), Full)
        assert isinstance(spawn(outcome, client.put_nowait, "y").get(), Full)
        assert isinstance(spawn(outcome, server.get, timeout=0.01).get(), Empty)
        assert isinstance(spawn(outcome, server.get_nowait).get(), Empty)
    assert client.statistics().pending == 1


def test_a_timeout_without_end_in_another_thread(pump):
    """Longer than poll() can wait."""
    client = stuck(pump, send_maxsize=1)
    client.put("x")
    with raw_socket(zmq.PULL, bind=ANY) as server, real_threads(1) as spawn:
        put = spawn(outcome, client.put, "y", timeout=1e7)
        wait_for(lambda: client.statistics().putters or put.ready())
        client.connect(endpoint_of(server))
        assert put.get(timeout=LIMIT) is None


def test_commands_from_another_thread(pump):
    server = Channel("PULL", pump=pump)
    with real_threads(1) as spawn:
        spawn(server.bind, ANY).get()
        assert isinstance(spawn(outcome, server.bind, "bogus://").get(), zmq.ZMQError)
        assert spawn(server.getsockopt, zmq.TYPE).get() == zmq.PULL
    assert server.last_endpoint.startswith("tcp://127.0.0.1:")


def test_put_from_the_hub_itself(pump):
    """A callback of the loop cannot wait: it gets Full or Empty at once."""
    server, client = channels(pump, "PULL", "PUSH")
    empty = Channel("PULL", pump=pump)
    full = stuck(pump, send_maxsize=1)
    full.put("x")
    results = []

    def callback():
        results.append(outcome(client.put, "from the hub"))
        results.append(outcome(full.put, "y"))
        results.append(outcome(empty.get))

    gevent.get_hub().loop.run_callback(callback)
    wait_for(lambda: len(results) == 3)
    assert results[0] is None
    assert [type(r) for r in results[1:]] == [Full, Empty]
    assert server.get() == b"from the hub"


def test_what_was_refused_is_told_before_the_end(pump, monkeypatch):
    """Though both happen between two looks of the hub, which finds them in two places."""
    router = Channel(zmq.ROUTER, bind=ANY, options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    link, told = pump._thread.link, []
    router.on_error = lambda *_: told.append("refused")
    leave = router._lanes._leave
    monkeypatch.setattr(router._lanes, "_leave", lambda: (link.reports.add(told.append, "the end"), leave()))
    look = link.look

    def look_and_be_late(into):
        look(into)
        link.look = look
        router.put([b"nobody", b"x"])
        router._lanes.begin_close(0.0, 0.0)
        block_hub_until(
            lambda: router._lanes.ended in [getattr(item, "func", None) for item in tuple(link.mailbox._items)]
        )

    link.look = look_and_be_late
    link.take_mail()
    wait_for(lambda: "the end" in told)
    assert told == ["refused", "the end"]


@pytest.mark.parametrize("kind", ["SUB", "XSUB"])
def test_10_000_subscriptions_survive_restarts_of_the_publisher(pump, kind):
    """Each is a message to the publisher, and libzmq drops those above SNDHWM without a word."""
    topics = {b"\1topic-%d." % i for i in range(10_000)}

    def subscribe(socket):
        for topic in topics:
            socket.send(topic) if kind == "XSUB" else socket.set(zmq.SUBSCRIBE, topic[1:])

    with zgreen.Channel("PULL", bind=ANY, pump=pump) as probe:
        endpoint = probe.last_endpoint
    options = {zmq.RECONNECT_IVL: 10}
    subscriber = Channel(kind, connect=endpoint, configurator=subscribe, options=options, pump=pump)
    for _ in range(10):
        with raw_socket(zmq.XPUB, bind=endpoint) as publisher:
            publisher.rcvtimeo = int(LIMIT * 1000)
            assert {publisher.recv() for _ in topics} == topics
    subscriber.close(linger=0)


@pytest.mark.parametrize("kind", ["SUB", "XSUB"])
def test_a_high_water_mark_that_the_user_sets_for_subscriptions_stays(pump, kind):
    channel = Channel(kind, options={zmq.SNDHWM: 7}, pump=pump)
    assert channel.getsockopt(zmq.SNDHWM) == 7
    channel = Channel(kind, configurator=lambda socket: socket.set(zmq.SNDHWM, 8), pump=pump)
    assert channel.getsockopt(zmq.SNDHWM) == 8
    channel = Channel(kind, pump=pump)
    assert channel.getsockopt(zmq.SNDHWM) == 0


def test_a_channel_whose_making_was_killed_is_closed(pump):
    """The owning thread opens the socket all the same: its address must become free again."""
    with Channel("PULL", bind=ANY, pump=pump) as channel:
        address = channel.last_endpoint
    making = gevent.spawn(Channel, "PULL", bind=address, pump=pump)
    gevent.sleep(0)  # it waits for the answer now
    making.kill()
    wait_for(lambda: not isinstance(outcome(probe, pump, address), zmq.ZMQError), "the address to be free")


def probe(pump, address):
    Channel("PULL", bind=address, pump=pump).close()
