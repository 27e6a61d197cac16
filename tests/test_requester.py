"""Requester: any number of requests at once over one DEALER, against servers written in plain pyzmq."""

import gc
import logging
import random
import time
import weakref

import gevent
import pytest
import zmq
from gevent.event import AsyncResult
from support import ANY, LIMIT, Peer, break_pump, endpoint_of, inproc, outcome, raw_socket, real_threads, run, script
from support import wait_for as wait

import zgreen
from zgreen import BrokenError, Channel, ClosedError, Requester

# A server as the ZeroMQ guide would write it; it knows nothing of zgreen. Arguments: the socket type, the endpoint.
SERVER = """
    import sys, zmq
    context = zmq.Context()
    s = context.socket(getattr(zmq, sys.argv[1]))
    s.bind(sys.argv[2])
    print(s.last_endpoint.rstrip(b"\\0").decode(), flush=True)
    while True:
        frames = s.recv_multipart()
        if sys.argv[1] == "ROUTER":
            split = frames.index(b"", 1) + 1
            s.send_multipart([*frames[:split], b"re", *frames[split:]])
        elif frames[-1] == b"die":
            import os
            os.kill(os.getpid(), 9)
        else:
            s.send_multipart([b"re", *frames])
"""


class Server:
    """SERVER in a real process of its own."""

    def __init__(self, kind, endpoint=ANY):
        self.process = script(SERVER, kind, endpoint)
        self.endpoint = self.process.stdout.readline().strip()
        assert self.endpoint, self.process.communicate()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.kill()


@pytest.fixture
def requester(pump, router):
    with Requester(connect=endpoint_of(router), pump=pump) as requester:
        yield requester
        assert requester.statistics().waiting == 0, "a request was left behind"


def requests(router, number):
    """The next requests, as they are on the wire."""
    found = []
    while len(found) < number:
        wait(lambda: router.poll(0), "a request")
        found.append(router.recv_multipart())
    return found


def counts(requester, **expected):
    """Wait until the statistics say so."""
    wait(lambda: {n: getattr(requester.statistics(), n) for n in expected} == expected, f"{expected}")


# ---------------------------------------------------------------------- any standard server


@pytest.mark.parametrize("kind", ["REP", "ROUTER"])
def test_a_plain_server_in_another_process(pump, kind):
    with Server(kind) as server, Requester(connect=server.endpoint, pump=pump) as requester:
        assert requester.request("ping", LIMIT) == [b"re", b"ping"]
        assert requester.request(["a", b"", bytearray(b"b")], timeout=LIMIT) == [b"re", b"a", b"", b"b"]
        greenlets = [gevent.spawn(requester.request, b"%d" % i, LIMIT) for i in range(200)]
        assert [g.get() for g in greenlets] == [[b"re", b"%d" % i] for i in range(200)]
        assert requester.statistics() == (202, 202, 0, 0, 0, 0, 0)


def test_the_wire(router, requester):
    """An id, the empty frame, the message; the id is another one each time."""
    results = [requester.submit(m) for m in ("x", ["y", b"", "z"])]
    (_, id1, *rest1), (_, id2, *rest2) = got = requests(router, 2)
    assert (rest1, rest2) == ([b"", b"x"], [b"", b"y", b"", b"z"])
    assert id1 != id2
    for frames in got:
        router.send_multipart(frames)
    assert [r.get(timeout=LIMIT) for r in results] == [b"x", [b"y", b"", b"z"]]


def test_a_bound_requester_and_a_server_that_connects(pump):
    with Requester(bind=ANY, pump=pump) as requester:
        asking = gevent.spawn(requester.request, "ping", LIMIT)
        with Peer(zmq.REP, connect=requester.channel.last_endpoint) as server:
            assert server.ask("recv") == ["ping"]
            server.ask("reply", "pong")
            assert asking.get() == b"pong"


def test_multipart(pump, router):
    with Requester(connect=endpoint_of(router), multipart=True, pump=pump) as requester:
        result = requester.submit("x")
        router.send_multipart(requests(router, 1)[0])
        assert result.get(timeout=LIMIT) == [b"x"]


def test_options_and_configurator_reach_the_channel(pump, router):
    seen = []
    options = {zmq.IMMEDIATE: 0, zmq.ROUTING_ID: b"me"}
    with Requester(connect=endpoint_of(router), options=options, configurator=seen.append, pump=pump) as requester:
        assert requester.channel.getsockopt(zmq.IMMEDIATE) == 0
        assert len(seen) == 1
        requester.submit("x")
        assert requests(router, 1)[0][0] == b"me"
    with Requester(pump=pump) as requester:
        assert requester.channel.getsockopt(zmq.IMMEDIATE) == 1


# ---------------------------------------------------------------------- many, in any order


def test_replies_in_any_order(router, requester):
    results = [requester.submit(b"%d" % i) for i in range(300)]
    got = requests(router, 300)
    random.Random(7).shuffle(got)
    for frames in got:
        router.send_multipart([*frames[:-1], b"re " + frames[-1]])
    assert [r.get(timeout=LIMIT) for r in results] == [b"re %d" % i for i in range(300)]


def test_thousands_in_flight(pump):
    """All of them are out before the first is answered; from greenlets and as results; last come, first served."""
    number = 5000
    with raw_socket(zmq.ROUTER, bind=ANY, rcvhwm=0, sndhwm=0) as router:
        requester = Requester(connect=endpoint_of(router), send_maxsize=None, options={zmq.SNDHWM: 0}, pump=pump)
        greenlets = [gevent.spawn(requester.request, b"%d" % i, LIMIT) for i in range(0, number, 2)]
        results = [requester.submit(b"%d" % i) for i in range(1, number, 2)]
        got = requests(router, number)
        assert requester.statistics().waiting == number
        for frames in reversed(got):
            router.send_multipart(frames)
        assert [g.get() for g in greenlets] == [b"%d" % i for i in range(0, number, 2)]
        assert [r.get(timeout=LIMIT) for r in results] == [b"%d" % i for i in range(1, number, 2)]
        assert requester.statistics() == (number, number, 0, 0, 0, 0, 0)
        requester.close()


def test_backpressure(pump):
    """With nobody there, submit() waits for room, and gives up with its timeout."""
    with Requester(bind=ANY, send_maxsize=2, pump=pump) as requester:
        for _ in range(2):
            requester.submit("x")
        with pytest.raises(TimeoutError, match=r"no reply within 0\.01 s"):
            requester.submit("y", 0.01)
        waiting = gevent.spawn(requester.submit, "z")
        wait(lambda: requester.channel.statistics().putters == 1)
        waiting.kill()
        assert requester.statistics()[:3] == (4, 0, 1)
        assert requester.statistics().waiting == 2
        requester.close(linger=0)


def test_the_time_that_a_request_waits_for_room_counts(pump):
    with Requester(bind=ANY, send_maxsize=1, retries=1, pump=pump) as requester:
        requester.submit("first")
        waiting = gevent.spawn(requester.submit, "second", LIMIT)
        gevent.sleep(0.01)
        room = time.monotonic()
        with raw_socket(zmq.DEALER, connect=requester.channel.last_endpoint):
            assert waiting.get(timeout=LIMIT).deadline - LIMIT < room
        requester.close(linger=0)


def test_a_callers_own_timeout_passes_where_a_request_waits_for_room(pump):
    """It is none of the request's, which has tries left."""
    with Requester(bind=ANY, send_maxsize=1, retries=1, pump=pump) as requester:
        requester.submit("first")
        with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as own:
            requester.submit("second", LIMIT)
        assert caught.value is own
        requester.close(linger=0)


# ---------------------------------------------------------------------- timeouts, kills, late replies


def test_a_timeout_leaves_nothing_behind(router, requester, caplog):
    with pytest.raises(TimeoutError, match=r"Requester tcp://.*no reply within 0\.01 s$"):
        requester.request("x", 0.01)
    assert requester.statistics() == (1, 0, 1, 0, 0, 0, 0)
    late = requests(router, 1)[0]
    with caplog.at_level(logging.DEBUG, "zgreen"):
        router.send_multipart(late)
        counts(requester, late=1)
    assert "late reply was dropped" in caplog.text
    result = requester.submit("y")
    router.send_multipart(requests(router, 1)[0])
    router.send_multipart(late)
    assert result.get(timeout=LIMIT) == b"y"
    counts(requester, late=2, malformed=0)


def test_a_result_gets_its_timeout(router, requester):
    results = [requester.submit("x", 0.01 * i) for i in range(3)]
    assert {type(outcome(r.get, timeout=LIMIT)) for r in results} == {TimeoutError}
    assert requester.statistics() == (3, 0, 3, 0, 0, 0, 0)


def test_a_kill_and_a_timeout_of_the_callers_own(router, requester):
    killed = gevent.spawn(requester.request, "killed", LIMIT)
    requests(router, 1)
    killed.kill()
    with gevent.Timeout(0.01) as mine, pytest.raises(gevent.Timeout) as caught:
        requester.request("timed out", LIMIT)
    assert caught.value is mine
    assert requester.statistics() == (2, 0, 0, 0, 0, 0, 0)


def test_forget(router, requester):
    result = requester.submit("x", LIMIT)
    assert requester.forget(result) is True
    assert requester.forget(result) is False
    assert requester.forget(AsyncResult()) is False
    router.send_multipart(requests(router, 1)[0])
    counts(requester, late=1, answered=0, waiting=0)
    assert not result.ready()


def test_the_memory_of_a_request_is_freed(router, requester):
    """What the table does not hold nobody holds: neither a timer nor the receiver."""
    result = requester.submit("x", LIMIT)
    requester.forget(result)
    gone = weakref.ref(result)
    del result
    wait(lambda: gc.collect() is not None and gone() is None, "the request to be freed")


def test_a_storm_of_timeouts_and_kills(pump):
    """Each reply is that of its request, and at the end every reply was got or is counted late."""
    server = Channel(zmq.ROUTER, bind=ANY, pump=pump)
    requester = Requester(connect=server.last_endpoint, pump=pump)

    def serve():
        chance = random.Random(3)
        for request in server:
            gevent.spawn_later(chance.random() * 0.02, server.put, request)

    def ask(number):
        try:
            assert requester.request(b"%d" % number, 0.001 * (number % 20)) == b"%d" % number
        except TimeoutError:
            return 0
        return 1

    serving = gevent.spawn(serve)
    greenlets = [gevent.spawn(ask, number) for number in range(1000)]
    for greenlet in greenlets[::7]:
        gevent.sleep(0)
        greenlet.kill()
    gevent.joinall(greenlets, raise_error=True)
    assert requester.request("last", LIMIT) == b"last"
    answered = 1 + sum(g.value for g in greenlets if isinstance(g.value, int))
    wait(lambda: requester.statistics().late + answered == requester.channel.statistics().sent, "the late replies")
    statistics = requester.statistics()
    assert statistics.answered == answered
    assert statistics.timed_out > 0
    assert statistics.malformed == statistics.waiting == 0
    requester.close()
    server.close()
    serving.get()


# ---------------------------------------------------------------------- lost servers


def test_a_lost_server_is_a_timeout(pump):
    with Server("REP") as server, Requester(connect=server.endpoint, pump=pump) as requester:
        assert requester.request("ping", LIMIT) == [b"re", b"ping"]
        with pytest.raises(TimeoutError):
            requester.request("die", 0.3)
        assert wait(server.process.poll, "the server to die") == -9
        with pytest.raises(TimeoutError):
            requester.request("nobody is there", 0.05)
        assert requester.statistics().waiting == 0
        requester.close(linger=0)


def test_retries_reach_the_next_server(pump):
    """The one that gets the request first dies of it; the one that is there then gets it again, and answers."""
    with Server("REP") as first, Peer(zmq.REP, bind=ANY) as second:
        requester = Requester(connect=first.endpoint, retries=1000, pump=pump)
        assert requester.request("ping", LIMIT) == [b"re", b"ping"]
        asking = gevent.spawn(requester.request, "die", 0.1)
        assert wait(first.process.poll, "the first server to die") == -9
        requester.channel.connect(second.endpoint)
        assert second.ask("recv") == ["die"]
        second.ask("reply", "no")
        assert asking.get(timeout=LIMIT) == b"no"
        assert requester.statistics().retries > 0
        requester.close(linger=0)


def test_a_restart_on_the_same_port(pump):
    """Killed with the request in its hands; the one that comes after it gets it again."""
    with Peer(zmq.REP, bind=ANY) as server:
        endpoint = server.endpoint
        requester = Requester(connect=endpoint, retries=1000, options={zmq.RECONNECT_IVL: 10}, pump=pump)
        asking = gevent.spawn(requester.request, "work", 0.1)
        assert server.ask("recv") == ["work"]
        server.kill()
    with Peer(zmq.REP, bind=endpoint) as server:
        assert server.ask("recv") == ["work"]
        server.ask("reply", "done")
        assert asking.get(timeout=LIMIT) == b"done"
    assert requester.statistics().answered == 1
    assert requester.statistics().retries > 0
    requester.close(linger=0)


def test_tries_are_counted_and_timed(router, pump):
    """Each try has the same id; TimeoutError comes after the last one."""
    with Requester(connect=endpoint_of(router), retries=2, pump=pump) as requester:
        connected = requester.submit("are you there")
        router.send_multipart(requests(router, 1)[0])
        connected.get(timeout=LIMIT)
        with pytest.raises(TimeoutError, match=r"no reply within 0\.2 s 3 times"):
            requester.request("x", 0.2)
        got = requests(router, 3)
        assert got[0] == got[1] == got[2]
        assert requester.statistics() == (2, 1, 1, 2, 0, 0, 0)


def test_a_late_reply_to_the_first_try_is_the_reply(router, pump):
    """The other one is dropped and counted."""
    with Requester(connect=endpoint_of(router), retries=1000, pump=pump) as requester:
        asking = gevent.spawn(requester.request, "x", 0.05)
        first, second = requests(router, 2)
        router.send_multipart([*first[:-1], b"first"])
        assert asking.get(timeout=LIMIT) == b"first"
        router.send_multipart([*second[:-1], b"second"])
        counts(requester, answered=1, late=1)


def test_a_try_that_waits_for_a_server_is_not_doubled(pump):
    """However many tries there were: the server that comes gets the request once, and answers in time."""
    with Requester(bind=ANY, retries=10000, pump=pump) as requester:
        results = [requester.submit(b"%d" % i, 0.005) for i in range(3)]
        begun = [result.deadline for result in results]
        wait(lambda: all(r.deadline > t + 0.02 for r, t in zip(results, begun, strict=True)), "some tries to be over")
        assert requester.channel.statistics().pending == 3
        assert requester.statistics().retries == 0
        with raw_socket(zmq.DEALER, connect=requester.channel.last_endpoint) as server:
            got = [server.recv_multipart() for _ in range(3)]
            assert [frames[1:] for frames in got] == [[b"", b"0"], [b"", b"1"], [b"", b"2"]]
            for frames in got:
                server.send_multipart(frames)
            assert [r.get(timeout=LIMIT) for r in results] == [b"0", b"1", b"2"]
        requester.close(linger=0)


def test_a_server_that_hangs(router, pump):
    """It has the requests and answers nobody: later tries go to the other one as well."""
    with Server("REP") as server, Requester(connect=endpoint_of(router), retries=1000, pump=pump) as requester:
        asking = [gevent.spawn(requester.request, b"%d" % i, 0.1) for i in range(20)]
        requests(router, 20)
        requester.channel.connect(server.endpoint)
        assert [g.get(timeout=LIMIT) for g in asking] == [[b"re", b"%d" % i] for i in range(20)]
        assert requester.statistics().retries >= 20
        assert requester.statistics().answered == 20


@pytest.mark.parametrize("first", ["bind", "connect"])
def test_inproc(pump, first):
    endpoint = inproc()
    if first == "bind":
        server = Channel(zmq.REP, bind=endpoint, pump=pump)
    with Requester(connect=endpoint, pump=pump) as requester:
        result = requester.submit("ping")
        if first == "connect":
            server = Channel(zmq.REP, bind=endpoint, pump=pump)
        assert server.get(timeout=LIMIT) == b"ping"
        server.put("pong")
        assert result.get(timeout=LIMIT) == b"pong"


def test_without_a_timeout_there_is_no_retry(router, pump):
    with Requester(connect=endpoint_of(router), retries=5, pump=pump) as requester:
        result = requester.submit("x")
        request = requests(router, 1)[0]
        assert not router.poll(100)
        router.send_multipart(request)
        assert result.get(timeout=LIMIT) == b"x"
        assert requester.statistics().retries == 0


def test_a_retry_that_finds_no_room(pump):
    """Its time passes, and it is no retry that was sent."""
    with Requester(bind=ANY, send_maxsize=1, retries=3, pump=pump) as requester:
        with pytest.raises(TimeoutError, match="4 times"):
            requester.request("x", 0.02)
        with pytest.raises(TimeoutError, match="4 times"):
            requester.request("no room at all", 0.02)
        assert requester.statistics() == (2, 0, 2, 0, 0, 0, 0)
        requester.close(linger=0)


# ---------------------------------------------------------------------- malformed replies


def test_malformed_replies_are_dropped(router, requester, caplog):
    result = requester.submit("x")
    peer, key, _, _ = request = requests(router, 1)[0]
    bad = [[b"one frame"], [key, b"no delimiter"], [key, b"no", b"delimiter"], [key, b""], [b"", b"x", b"y"],
           [b"unknown", b"", b"x"], [key[:-1], b"", b"x"], [key + b"x", b"", b"x"], [b"", key, b"", b"x"]]  # fmt: skip
    with caplog.at_level(logging.WARNING, "zgreen"):
        for frames in bad:
            router.send_multipart([peer, *frames])
        counts(requester, malformed=len(bad))
    assert len(caplog.records) == len(bad)
    assert "is not [id, empty frame, reply]" in caplog.text
    assert "nothing was asked with its id" in caplog.text
    router.send_multipart(request)
    assert result.get(timeout=LIMIT) == b"x"
    counts(requester, answered=1, late=0, malformed=len(bad))


def test_replies_to_another_requester_of_the_same_name(pump):
    """Who comes after it under its ROUTING_ID may get what was meant for it."""
    options = {zmq.ROUTING_ID: b"the same"}
    with raw_socket(zmq.ROUTER, bind=ANY, router_handover=1) as router:
        with Requester(connect=endpoint_of(router), options=options, pump=pump) as requester:
            requester.submit("x")
            old = requests(router, 1)[0]
        with Requester(connect=endpoint_of(router), options=options, pump=pump) as requester:
            result = requester.submit("y")
            new = requests(router, 1)[0]
            router.send_multipart(old)
            router.send_multipart(new)
            assert result.get(timeout=LIMIT) == b"y"
            assert requester.statistics().malformed == 1


# ---------------------------------------------------------------------- bad input, threads


def test_bad_input(requester):
    for wrong, error in ((5, TypeError), (None, TypeError), ([], TypeError), (["a", 5], TypeError)):
        with pytest.raises(error):
            requester.request(wrong)
        with pytest.raises(error):
            requester.submit(wrong)
    with pytest.raises(TypeError, match="frame 1 of a message cannot be int"):
        requester.request(["a", 5])
    for wrong, error in ((-1, ValueError), ("1", TypeError), (float("inf"), ValueError), (True, TypeError)):
        with pytest.raises(error, match="timeout must be"):
            requester.request("x", wrong)
    with pytest.raises(ValueError, match="linger must be"):
        requester.close(-1)
    assert requester.statistics() == (0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"retries": -1}, ValueError, "retries must be 0 or more"),
        ({"retries": 1.5}, TypeError, "retries must be an int, not float"),
        ({"retries": True}, TypeError, "retries must be an int, not bool"),
        ({"options": [1]}, TypeError, "options must be a mapping"),
        ({"options": {"SNDHWM": 1}}, TypeError, "an option is one of zmq's constants"),
        ({"configurator": 1}, TypeError, "configurator must be callable"),
        ({"send_maxsize": 0}, ValueError, "send_maxsize"),
        ({"connect": 5}, TypeError, "connect must be"),
        ({"connect": "nonsense"}, zmq.ZMQError, "nonsense"),
        ({"pump": 5}, TypeError, r"pump must be a zgreen\.Pump"),
    ],
)
def test_bad_arguments(pump, options, error, match):
    with pytest.raises(error, match=match):
        Requester(**{"pump": pump, **options})
    assert not pump.channels


def test_another_thread_gets_an_error(pump, requester):
    """And the hub itself, which cannot wait."""
    with real_threads(1) as spawn:
        for what in (lambda: requester.request("x"), lambda: requester.submit("x"), requester.close):
            assert isinstance(spawn(outcome, what).get(), RuntimeError)
        assert isinstance(spawn(outcome, lambda: Requester(pump=pump)).get(), RuntimeError)
    result = AsyncResult()
    gevent.get_hub().loop.run_callback(lambda: result.set(outcome(requester.submit, "x")))
    error = result.get(timeout=LIMIT)
    assert isinstance(error, RuntimeError)
    assert "a callback of the hub spawns one" in str(error)
    assert not requester.closed
    assert requester.statistics().requests == 0


# ---------------------------------------------------------------------- the end


def test_close_ends_everybody_who_waits(pump, router):
    requester = Requester(connect=endpoint_of(router), pump=pump)
    greenlets = [gevent.spawn(outcome, requester.request, "x", LIMIT) for _ in range(20)]
    result = requester.submit("y")
    counts(requester, waiting=21)
    requester.close()
    errors = [g.get(timeout=LIMIT) for g in greenlets] + [outcome(result.get, timeout=LIMIT)]
    assert {type(e) for e in errors} == {ClosedError}
    assert len({id(e) for e in errors}) == len(errors)
    assert requester.closed
    assert requester.close() == 0
    with pytest.raises(ClosedError):
        requester.request("z")
    assert requester.statistics().waiting == 0
    wait(lambda: requester._receiver.dead, "the receiver to end")


def test_close_ends_those_who_wait_for_room(pump):
    requester = Requester(bind=ANY, send_maxsize=1, pump=pump)
    requester.submit("x")
    waiting = gevent.spawn(outcome, requester.request, "y")
    wait(lambda: requester.channel.statistics().putters == 1)
    assert requester.close(linger=0) == 1
    assert isinstance(waiting.get(timeout=LIMIT), ClosedError)
    assert requester.statistics().waiting == 0


def test_the_end_of_the_pump(router):
    pump = zgreen.Pump("short").start()
    requester = Requester(connect=endpoint_of(router), pump=pump)
    waiting = gevent.spawn(outcome, requester.request, "x")
    counts(requester, waiting=1)
    pump.shutdown()
    assert isinstance(waiting.get(timeout=LIMIT), ClosedError)


def test_a_broken_pump(pump, router):
    requester = Requester(connect=endpoint_of(router), retries=3, pump=pump)
    waiting = [gevent.spawn(outcome, requester.request, "x", LIMIT) for _ in range(3)]
    counts(requester, waiting=3)
    reason = MemoryError("the test's")
    break_pump(pump, reason)
    errors = [g.get(timeout=LIMIT) for g in waiting]
    assert [type(e) for e in errors] == [BrokenError] * 3
    assert [e.__cause__ for e in errors] == [reason] * 3
    with pytest.raises(BrokenError):
        requester.request("y")


def test_a_killed_receiver_leaves_nobody_waiting(pump, router):
    """gevent.killall of all greenlets that somebody finds, for example."""
    requester = Requester(connect=endpoint_of(router), pump=pump)
    waiting = gevent.spawn(outcome, requester.request, "x")
    counts(requester, waiting=1)
    requester._receiver.kill()
    with pytest.raises(ClosedError):
        requester.submit("y")
    assert isinstance(waiting.get(timeout=LIMIT), ClosedError)
    wait(lambda: requester.closed)
    assert requester.statistics().waiting == 0


def test_the_child_of_a_fork():
    """Who waits there, and who asks there, gets ForkedError; the parent goes on."""
    code = """
        import os, gevent, zmq, zgreen
        server = zgreen.Channel(zmq.ROUTER, bind="tcp://127.0.0.1:*")
        requester = zgreen.Requester(connect=server.last_endpoint)
        def ask():
            try:
                return requester.request("x")
            except Exception as error:
                return type(error)
        asking = gevent.spawn(ask)
        request = server.get(timeout=20)
        pid = os.fork()
        if pid == 0:
            ok = asking.get(timeout=20) is ask() is zgreen.ForkedError
            os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        server.put(request)
        assert asking.get(timeout=20) == b"x"
        requester.close()
        print("done")
    """
    status, out, err = run(code)
    assert (status, out) == (0, "done\n"), err


def test_exit_with_requests_under_way():
    """No traceback, and not a wait for the replies."""
    code = """
        import gevent, zmq, zgreen
        server = zgreen.Channel(zmq.ROUTER, bind="tcp://127.0.0.1:*")
        requester = zgreen.Requester(connect=server.last_endpoint)
        gevent.spawn(requester.request, "x", 30)
        result = requester.submit("y")
        for _ in range(2):
            server.get(timeout=20)
        print("done")
    """
    assert run(code) == (0, "done\n", "")


def test_a_timer_that_comes_early_does_not_end_a_try(requester, router):
    """The clock of a loop that was blocked is behind, so a timer that starts then goes off too soon."""
    result = requester.submit("x", timeout=LIMIT)
    (frames,) = requests(router, 1)
    first = result.timer
    requester._try_is_over(result)  # as the loop does
    assert not result.ready()
    assert result.timer is not first
    assert result.timer.active
    counts(requester, timed_out=0, waiting=1)
    router.send_multipart([*frames[:-1], b"re"])
    assert result.get(timeout=LIMIT) == b"re"
