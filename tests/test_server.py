"""serve(): handlers behind ROUTER and REP, with clients of every kind, plain pyzmq among them."""

import asyncio
import logging

import gevent
import pytest
import zmq
from gevent.event import AsyncResult, Event
from support import ANY, LIMIT, Peer, break_pump, outcome, raw_socket, real_threads, run, wait_for

from zgreen import Channel, ClosedError, Requester, serve


def echo(request):
    return [b"re", *(request if isinstance(request, list) else [request])]


@pytest.fixture
def router(pump):
    return Channel(zmq.ROUTER, bind=ANY, pump=pump)


@pytest.fixture
def rep(pump):
    return Channel(zmq.REP, bind=ANY, pump=pump)


def requester(channel):
    return Requester(connect=channel.last_endpoint, pump=channel.pump)


def running(server, number):
    wait_for(lambda: server.statistics().running == number, f"{number} handlers to run")


class Gated:
    """A handler that waits until it is let go; knows who runs."""

    def __init__(self):
        self.gate = Event()
        self.running = self.most = 0

    def __call__(self, request):
        self.running += 1
        self.most = max(self.most, self.running)
        self.gate.wait()
        self.running -= 1
        return request


# ---------------------------------------------------------------------- requests and replies


@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
def test_plain_clients(pump, kind):
    """A REQ and a DEALER that know nothing of zgreen, each in another process."""
    channel = Channel(kind, bind=ANY, pump=pump)
    with serve(channel, echo) as server:
        for client_kind, request in ((zmq.REQ, ["ping"]), (zmq.REQ, ["a", "", "b"]), (zmq.DEALER, ["", "ping"]),
                                     (zmq.DEALER, ["an id", "another", "", "a", "", "b"])):  # fmt: skip
            with Peer(client_kind, connect=channel.last_endpoint) as client:
                client.ask("reply", *request)
                envelope = request[: request.index("") + 1] if client_kind == zmq.DEALER else []
                assert client.ask("recv") == [*envelope, "re", *request[len(envelope) :]]
        assert server.statistics() == (4, 4, 0, 0, 0)
    channel.close()


def test_replies_go_to_the_right_clients(router):
    """Many clients, many requests of each at once, answered in another order."""

    def handler(request):
        gevent.sleep(0.0001 * (int(request.split()[1]) % 7))
        return b"re " + request

    with serve(router, handler) as server:
        clients = [requester(router) for _ in range(10)]
        clients += [Channel(zmq.REQ, connect=router.last_endpoint, pump=router.pump) for _ in range(10)]
        asking = {
            b"%d %d" % (n, i): gevent.spawn(client.request, b"%d %d" % (n, i), LIMIT)
            for n, client in enumerate(clients)
            for i in range(20)
        }
        assert {m: g.get() for m, g in asking.items()} == {m: b"re " + m for m in asking}
        assert server.statistics() == (400, 400, 0, 0, 0)


@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
@pytest.mark.parametrize("multipart", [False, True])
def test_a_handler_gets_what_get_would_give(pump, kind, multipart):
    got = []
    channel = Channel(kind, bind=ANY, multipart=multipart, pump=pump)
    with serve(channel, lambda request: got.append(request) or "ok"), requester(channel) as client:
        for message in ("one", ["two", "frames"], ["", "empty first"], ""):
            assert client.request(message, LIMIT) == b"ok"
    one = [b"one"] if multipart else b"one"
    assert got == [one, [b"two", b"frames"], [b"", b"empty first"], [b""] if multipart else b""]


@pytest.mark.parametrize("reply", ["str", b"bytes", bytearray(b"x"), ["a", b"", b"b"], ("t",), ""])
@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
def test_a_reply_is_any_message(pump, kind, reply):
    channel = Channel(kind, bind=ANY, pump=pump)
    with serve(channel, lambda _: reply), requester(channel) as client:
        frames = reply if isinstance(reply, (list, tuple)) else [reply]
        parts = [frame.encode() if isinstance(frame, str) else bytes(frame) for frame in frames]
        assert client.request("x", LIMIT) == (parts if len(parts) > 1 else parts[0])


# ---------------------------------------------------------------------- at once, and backpressure


def test_many_at_once(router):
    handler = Gated()
    with serve(router, handler, concurrency=50) as server, requester(router) as client:
        results = [client.submit(b"%d" % i) for i in range(50)]
        running(server, 50)
        handler.gate.set()
        assert [r.get(timeout=LIMIT) for r in results] == [b"%d" % i for i in range(50)]


def test_backpressure(pump):
    """All places taken: nothing more is taken from the channel, and what is there waits in order."""
    channel = Channel(zmq.ROUTER, bind=ANY, recv_maxsize=2, options={zmq.RCVHWM: 1}, pump=pump)
    handler = Gated()
    order = []

    def ordered(request):
        order.append(request)
        return handler(request)

    with serve(channel, ordered, concurrency=3) as server, requester(channel) as client:
        results = [client.submit(b"%d" % i) for i in range(30)]
        running(server, 3)
        wait_for(lambda: channel.statistics().waiting == 2)
        for _ in range(20):
            gevent.sleep(0)
        assert server.statistics()[0] == channel.statistics().received - 2 == 3
        handler.gate.set()
        assert [r.get(timeout=LIMIT) for r in results] == [b"%d" % i for i in range(30)]
    assert order == [b"%d" % i for i in range(30)]
    assert handler.most == 3


def test_a_rep_takes_one_at_a_time(rep):
    handler = Gated()
    with serve(rep, handler, concurrency=10) as server:
        clients = [requester(rep) for _ in range(5)]
        results = [client.submit("x") for client in clients]
        running(server, 1)
        handler.gate.set()
        assert [r.get(timeout=LIMIT) for r in results] == [b"x"] * 5
        assert handler.most == 1


# ---------------------------------------------------------------------- handlers that fail


class Wrong(Exception):
    pass


def failing(request):
    """What the request says."""
    if request == b"raise":
        raise Wrong("the handler's own")
    if request == b"timeout":
        gevent.Timeout.start_new(0)
        gevent.sleep(LIMIT)
    if request == b"kill":
        gevent.kill(gevent.getcurrent())  # when the hub runs
        gevent.sleep(LIMIT)
    if request == b"cancel":
        raise asyncio.CancelledError("the task's")
    if request == b"generator":
        raise GeneratorExit
    return {b"None": None, b"int": 5, b"empty": [], b"bad frame": ["a", None], b"good": "good"}[request]


FAILURES = {
    "raise": (Wrong, "the handler's own"),
    "timeout": (gevent.Timeout, "Timeout"),
    "kill": (gevent.GreenletExit, "GreenletExit"),
    "cancel": (asyncio.CancelledError, "the task's"),
    "generator": (GeneratorExit, "GeneratorExit"),
    "None": (TypeError, "handler must return a message as its reply: a message cannot be NoneType"),
    "int": (TypeError, "handler must return a message as its reply: a message cannot be int"),
    "empty": (TypeError, "handler must return a message as its reply: an empty list"),
    "bad frame": (TypeError, "handler must return a message as its reply: frame 1"),
    "unknown": (KeyError, "unknown"),
}


@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
def test_a_failure_is_logged_and_answered_by_on_error(pump, kind, caplog):
    channel = Channel(kind, bind=ANY, pump=pump)
    seen = []

    def on_error(error, request):
        seen.append((type(error), request))
        return ["error", type(error).__name__]

    with serve(channel, failing, on_error=on_error) as server, requester(channel) as client:
        for request, (error, text) in FAILURES.items():
            caplog.clear()
            with caplog.at_level(logging.ERROR, "zgreen"):
                assert client.request(request, LIMIT) == [b"error", error.__name__.encode()]
            assert seen.pop() == (error, request.encode())
            record = caplog.records[0]
            assert "the handler has failed" in record.getMessage()
            assert record.exc_info[0] is error
            assert text in caplog.text
            assert "Traceback" in caplog.text
            assert client.request("good", LIMIT) == b"good"
        assert server.statistics() == (2 * len(FAILURES), 2 * len(FAILURES), len(FAILURES), 0, 0)


def test_a_failure_without_on_error(router, rep, caplog):
    """A ROUTER's client gets nothing, a REP's an empty reply: a REP must answer."""
    with serve(router, failing) as server, requester(router) as client:
        with pytest.raises(TimeoutError):
            client.request("raise", 0.1)
        assert client.request("good", LIMIT) == b"good"
        assert server.statistics() == (2, 1, 1, 0, 0)
    with serve(rep, failing) as server, requester(rep) as client:
        for _ in range(2):
            assert client.request("raise", LIMIT) == b""
            assert client.request("good", LIMIT) == b"good"
        assert server.statistics() == (4, 4, 2, 0, 0)
    assert caplog.text.count("the handler has failed") == 3


@pytest.mark.parametrize("what", ["raise", "None"])
def test_on_error_that_fails_itself(router, rep, caplog, what):
    def on_error(error, request):
        return failing(what.encode())

    with serve(router, failing, on_error=on_error), requester(router) as client:
        with pytest.raises(TimeoutError):
            client.request("raise", 0.1)
        assert client.request("good", LIMIT) == b"good"
    with serve(rep, failing, on_error=on_error), requester(rep) as client:
        assert client.request("raise", LIMIT) == b""
        assert client.request("good", LIMIT) == b"good"
    assert caplog.text.count("on_error has failed") == 2
    assert ("on_error must return a message as its reply" in caplog.text) == (what == "None")


def test_a_killed_handler_of_a_rep_answers(rep):
    """Else the REP would be stuck."""
    greenlets = []

    def handler(request):
        if request == b"kill me":
            greenlets.append(gevent.getcurrent())
            gevent.sleep(LIMIT)
        return request

    with serve(rep, handler), requester(rep) as client:
        result = client.submit("kill me")
        wait_for(lambda: greenlets)[0].kill()
        assert result.get(timeout=LIMIT) == b""
        assert client.request("good", LIMIT) == b"good"


def test_an_on_error_of_a_rep_that_is_killed_answers(rep):
    greenlets = []

    def on_error(error, request):
        greenlets.append(gevent.getcurrent())
        gevent.sleep(LIMIT)

    with serve(rep, failing, on_error=on_error), requester(rep) as client:
        result = client.submit("raise")
        wait_for(lambda: greenlets)[0].kill()
        assert result.get(timeout=LIMIT) == b""
        assert client.request("good", LIMIT) == b"good"


def test_an_on_error_that_takes_too_long_is_logged(rep, caplog):
    def on_error(error, request):
        with gevent.Timeout(0.001):
            gevent.sleep(LIMIT)

    with serve(rep, failing, on_error=on_error), requester(rep) as client:
        assert client.request("raise", LIMIT) == b""
    assert caplog.text.count("on_error has failed") == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_was_stopped_accepts_nothing(router, begun):
    server = serve(router, failing)
    if begun:
        gevent.sleep(0)  # it waits for a request
    assert server.accepting
    assert server.stop()
    assert not server.accepting


@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt()"])
def test_an_end_of_the_process_is_no_failure_of_a_handler(kind, error):
    """It ends the process, is counted, and is not for the log or on_error."""
    code = """
        import gevent, zgreen
        def handler(request):
            raise %s
        def on_error(error, request):
            print("on_error")
        channel = zgreen.Channel("%s", bind="tcp://127.0.0.1:*")
        server = zgreen.serve(channel, handler, on_error=on_error)
        client = zgreen.Requester(connect=channel.last_endpoint)
        try:
            client.request("x", %r)
        except (SystemExit, KeyboardInterrupt) as error:
            print(repr(error), server.statistics().failed)
            raise SystemExit(3)
    """
    status, out, err = run(code % (error, kind, LIMIT))
    assert (status, out) == (3, f"{error} 1\n"), err
    assert "has failed" not in err


def test_requests_without_a_delimiter(router, caplog):
    """Each is a counted, logged drop; the client's next request is answered."""
    with serve(router, echo) as server, raw_socket(zmq.DEALER, connect=router.last_endpoint) as client:
        bad = [[b"no delimiter"], [b"no", b"delimiter"], [b""], [b"an id", b""]]
        with caplog.at_level(logging.WARNING, "zgreen"):
            for frames in bad:
                client.send_multipart(frames)
            wait_for(lambda: server.statistics().malformed == len(bad))
        assert caplog.text.count("was dropped: it has no empty frame with a request behind it") == len(bad)
        client.send_multipart([b"", b"good"])
        wait_for(lambda: client.poll(0))
        assert client.recv_multipart() == [b"", b"re", b"good"]
        assert server.statistics() == (1, 1, 0, len(bad), 0)


# ---------------------------------------------------------------------- stop, and the end


@pytest.mark.parametrize("kind", ["ROUTER", "REP"])
def test_stop_finishes_what_is_running(pump, kind):
    """And leaves the channel, with what waits in it, to the next server."""
    channel = Channel(kind, bind=ANY, pump=pump)
    handler = Gated()
    server = serve(channel, handler, concurrency=1)
    clients = [requester(channel) for _ in range(3)]
    results = [client.submit("x") for client in clients]
    running(server, 1)
    assert server.stop(0.01) is False
    assert not server.accepting
    assert server.statistics()[:2] == (1, 0)
    gevent.spawn_later(0.01, handler.gate.set)
    assert server.stop() is True
    assert server.statistics() == (1, 1, 0, 0, 0)
    assert server.stop() is server.stop(0) is server.join() is True
    wait_for(lambda: sum(r.ready() for r in results) == 1)
    assert not channel.closed
    with serve(channel, lambda request: b"2nd " + request):
        assert sorted(r.get(timeout=LIMIT) for r in results) == [b"2nd x", b"2nd x", b"x"]


def test_stop_loses_no_request(router):
    """Servers that come and go, in the middle of everything: each request is handled once."""
    handled = []

    def handler(request):
        handled.append(request)
        return request

    with requester(router) as client:
        asking = [gevent.spawn(client.request, b"%d" % i, LIMIT) for i in range(500)]
        while not all(g.dead for g in asking):
            server = serve(router, handler, concurrency=3)
            gevent.sleep(0.001)
            assert server.stop(LIMIT)
        assert [g.get() for g in asking] == [b"%d" % i for i in range(500)]
    assert len(handled) == 500


def test_it_ends_with_its_channel(router):
    server = serve(router, echo)
    joining = gevent.spawn(server.join)
    assert server.join(0.01) is False
    assert server.accepting
    router.close()
    assert joining.get(timeout=LIMIT) is True
    assert not server.accepting
    with pytest.raises(ClosedError):
        serve(router, echo)


def test_it_ends_with_a_broken_pump(pump, router):
    server = serve(router, echo)
    gevent.sleep(0)
    break_pump(pump, MemoryError("the test's"))
    assert server.join(LIMIT) is True


def test_a_reply_that_comes_after_the_end_of_the_channel(router, caplog):
    handler = Gated()
    server = serve(router, handler)
    with requester(router) as client:
        client.submit("x")
        running(server, 1)
        router.close()
        handler.gate.set()
        assert server.join(LIMIT) is True
    assert "a reply was not sent" in caplog.text
    assert server.statistics() == (1, 0, 0, 0, 0)


def test_stop_in_a_handler_is_refused(router):
    """It would wait for itself."""
    servers = []
    with requester(router) as client:
        servers.append(serve(router, lambda _: type(outcome(servers[0].stop)).__name__))
        assert client.request("x", LIMIT) == b"RuntimeError"
        assert servers[0].accepting
        assert servers[0].stop(LIMIT)


def test_a_killed_client(router):
    """The reply to one that is gone goes nowhere; the others get theirs."""
    handler = Gated()
    with serve(router, handler) as server, requester(router) as client:
        with Peer(zmq.REQ, connect=router.last_endpoint) as lost:
            lost.ask("reply", "from one that dies")
            running(server, 1)
            lost.kill()
        result = client.submit("x")
        running(server, 2)
        handler.gate.set()
        assert result.get(timeout=LIMIT) == b"x"


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("kind", ["DEALER", "REQ", "PULL", "PUSH", "SUB", "PUB", "PAIR", "XPUB", "XSUB", "STREAM"])
def test_not_on_another_socket(pump, kind):
    channel = Channel(kind, pump=pump)
    with pytest.raises(TypeError, match=rf"{kind}.*a ROUTER \(many at once\) or a REP"):
        serve(channel, echo)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((5,), TypeError, "handler must be callable, not int"),
        ((echo, 0), ValueError, "concurrency must be 1 or more, not 0"),
        ((echo, 1.5), TypeError, "concurrency must be an int, not float"),
        ((echo, True), TypeError, "concurrency must be an int, not bool"),
        ((echo, 1, 5), TypeError, "on_error must be callable or None, not int"),
    ],
)
def test_bad_arguments(router, arguments, error, match):
    with pytest.raises(error, match=match):
        serve(router, *arguments)
    with pytest.raises(TypeError, match=r"channel must be a zgreen\.Channel, not str"):
        serve("tcp://127.0.0.1:*", echo)


def test_times(router):
    with serve(router, echo) as server:
        for wrong, error in ((-1, ValueError), ("1", TypeError), (float("inf"), ValueError)):
            with pytest.raises(error, match="timeout must be"):
                server.stop(wrong)
            with pytest.raises(error, match="timeout must be"):
                server.join(wrong)
        assert server.accepting


def test_another_thread_gets_an_error(router):
    """And the hub itself, which cannot wait."""
    server = serve(router, echo)
    with real_threads(1) as spawn:
        for what in (server.stop, server.join, lambda: serve(router, echo)):
            assert isinstance(spawn(outcome, what).get(), RuntimeError)
    result = AsyncResult()
    gevent.get_hub().loop.run_callback(lambda: result.set(outcome(server.stop)))
    error = result.get(timeout=LIMIT)
    assert isinstance(error, RuntimeError)
    assert "a callback of the hub spawns one" in str(error)
    assert server.accepting
    assert server.stop(LIMIT)


def test_exit_while_it_serves():
    """No traceback, and the reply that was put goes out."""
    code = """
        import gevent, zmq, zgreen
        server = zgreen.Channel(zmq.ROUTER, bind="tcp://127.0.0.1:*")
        zgreen.serve(server, lambda request: request)
        requester = zgreen.Requester(connect=server.last_endpoint)
        print(requester.request("ping", 20).decode())
    """
    assert run(code) == (0, "ping\n", "")
