"""Channel.request: one exchange at a time on a REQ channel, whatever became of the one before."""

import gevent
import pytest
import zmq
from gevent.event import AsyncResult
from support import (
    ANY,
    LIMIT,
    Peer,
    break_pump,
    channels,
    endpoint_of,
    inproc,
    interruptions,
    outcome,
    raw_socket,
    real_threads,
    wait_for,
)

from zgreen import BrokenError, Channel, ClosedError


def echo(server, number):
    """Answer so many requests of a REP channel, in a greenlet."""

    def answer():
        for _ in range(number):
            server.put([b"re", server.get()])

    return gevent.spawn(answer)


def sent(client, number):
    wait_for(lambda: client.statistics().sent == number, f"{number} requests to be sent")


@pytest.fixture
def client(pump, router):
    return Channel(zmq.REQ, connect=endpoint_of(router), pump=pump)


def answer(router, request, reply):
    """Answer with the envelope: all up to and with the empty frame."""
    router.send_multipart([*request[: request.index(b"", 1) + 1], reply])


def begin(router, client, message):
    """Give up a request, and return what the server got of it."""
    greenlet = gevent.spawn(client.request, message)
    wait_for(lambda: router.poll(0), "the request")
    greenlet.kill()
    return router.recv_multipart()


def ask(router, client, message, reply):
    """A request that is answered."""
    greenlet = gevent.spawn(client.request, message, LIMIT)
    wait_for(lambda: router.poll(0), "the request")
    request = router.recv_multipart()
    assert request[-1] == message
    answer(router, request, reply)
    assert greenlet.get() == reply


def test_a_request_and_its_reply(pump):
    server, client = channels(pump, "REP", "REQ")
    answering = echo(server, 3)
    assert client.request("a") == [b"re", b"a"]
    assert client.request(bytearray(b"b"), timeout=LIMIT) == [b"re", b"b"]
    assert client.request(memoryview(b"c")) == [b"re", b"c"]
    answering.get()
    assert client.statistics()[:4] == (3, 3, 0, 0)


def test_a_request_of_several_frames(pump):
    server, client = channels(pump, "REP", "REQ", multipart=True)
    asking = gevent.spawn(client.request, ["a", b"", "b"])
    assert server.get() == [b"a", b"", b"b"]
    server.put("one frame")
    assert asking.get() == [b"one frame"]


def test_greenlets_in_turn(pump):
    """First come, first served, and each gets its own reply."""
    server, client = channels(pump, "REP", "REQ")
    asking = [gevent.spawn(client.request, b"%d" % i, LIMIT) for i in range(100)]
    for i in range(100):
        assert server.get() == b"%d" % i
        server.put(b"re %d" % i)
    assert [g.get() for g in asking] == [b"re %d" % i for i in range(100)]


def test_who_comes_in_between_goes_to_the_end_of_the_line(pump):
    """Who has just got its reply does not overtake who waits."""
    server, client = channels(pump, "REP", "REQ")

    def often(name):
        return [client.request(name, LIMIT) for _ in range(3)]

    greenlets = [gevent.spawn(often, name) for name in "ab"]
    order = []
    for _ in range(6):
        order.append(server.get())
        server.put("x")
    gevent.joinall(greenlets, raise_error=True)
    assert order == [b"a", b"b"] * 3


# ---------------------------------------------------------------------- timeouts and kills


def test_a_timeout_does_not_wedge_it(router, client):
    with pytest.raises(TimeoutError, match=r"REQ .*no reply within 0\.01 s"):
        client.request("lost", 0.01)
    sent(client, 1)
    for i in range(3):
        with pytest.raises(TimeoutError):
            client.request(b"lost %d" % i, 0.01)
    for name in (b"lost", b"lost 0", b"lost 1", b"lost 2"):
        assert router.recv_multipart()[-1] == name
    ask(router, client, b"ping", b"pong")
    ask(router, client, b"ping again", b"pong again")
    assert client.statistics().sent == 6


def test_a_late_reply_that_is_in_the_queue_already(router, client):
    late = begin(router, client, "given up")
    answer(router, late, b"late")
    wait_for(lambda: client.statistics().waiting, "the late reply")
    ask(router, client, b"ping", b"pong")


def test_a_late_reply_that_comes_with_the_next_one(router, client):
    """libzmq throws it away, before the reply and after it."""
    late = begin(router, client, "given up")
    asking = gevent.spawn(client.request, b"ping", LIMIT)
    wait_for(lambda: router.poll(0))
    request = router.recv_multipart()
    answer(router, late, b"late")
    answer(router, request, b"pong")
    answer(router, late, b"late again")
    assert asking.get() == b"pong"
    ask(router, client, b"ping", b"pong")


def give_late_reply(pump, router, client, late):
    """From the next restart on, have the *late* reply come just before it: the pump has read what came until then."""
    other = Channel(zmq.DEALER, connect=endpoint_of(router), pump=pump)
    other.put(["", "who is there"])
    wait_for(lambda: router.poll(0), "the other one")
    to_other = router.recv_multipart()
    call, restarts = client._lanes.command, []

    def call_with_a_late_reply(command, *args):
        if command.__name__ == "restart":
            answer(router, late, b"late")
            answer(router, to_other, b"the pump has read what came before this")
            other.get(timeout=LIMIT)
            restarts.append(True)
        return call(command, *args)

    client._lanes.command = call_with_a_late_reply
    return restarts


def test_a_late_reply_just_before_the_next_request_is_sent(pump, router, client):
    """The receive queue has been emptied, the next request is not sent: the REQ must not accept it."""
    late = begin(router, client, "given up")
    restarts = give_late_reply(pump, router, client, late)
    ask(router, client, b"ping", b"pong")
    assert restarts == [True]


class Killed(BaseException):
    """What a killed greenlet gets."""


def test_a_late_reply_to_one_that_was_killed_while_its_command_was_under_way(pump, router, client):
    """What the owning thread does for it is done all the same: the next one must know that."""
    client.put("put before")
    sent(client, 1)
    router.recv_multipart()
    call = client._lanes.command

    def call_that_is_killed(command, *args):
        if command.__name__ != "restart":
            return call(command, *args)
        client._lanes.post(command, *args)
        raise Killed

    client._lanes.command = call_that_is_killed
    with pytest.raises(Killed):
        client.request("killed")
    late = router.recv_multipart()
    client._lanes.command = call
    restarts = give_late_reply(pump, router, client, late)
    ask(router, client, b"ping", b"pong")
    assert restarts == [True]


def test_two_given_up_and_one_late(router, client):
    first, second = begin(router, client, "first"), begin(router, client, "second")
    answer(router, first, b"late 1")
    answer(router, second, b"late 2")
    ask(router, client, b"ping", b"pong")
    answer(router, second, b"late 2 again")
    ask(router, client, b"ping", b"pong")


def test_replies_that_race_with_timeouts(pump):
    """A server that answers as fast as clients give up: whatever arrives when, a reply is that of its request."""
    server = Channel(zmq.ROUTER, bind=ANY, pump=pump)
    client = Channel(zmq.REQ, connect=server.last_endpoint, pump=pump)

    def serve():
        for request in server:
            if request[-1].endswith(b"3"):
                gevent.sleep(0.001)
            server.put(request)

    serving = gevent.spawn(serve)
    got = lost = 0
    for i in range(400):
        try:
            assert client.request(b"%d" % i, 0.0002 * (i % 7)) == b"%d" % i
            got += 1
        except TimeoutError:
            lost += 1
    assert client.request("last", LIMIT) == b"last"
    assert got + lost == 400
    assert lost, "no request timed out: the test has shown nothing"
    server.close()
    serving.get()


def test_a_kill_and_a_timeout_of_the_callers_own(router, client):
    mine = gevent.Timeout()

    def asking():
        with pytest.raises(gevent.Timeout) as caught:
            client.request("x", LIMIT)
        return caught.value is mine

    greenlet = gevent.spawn(asking)
    wait_for(lambda: router.poll(0), "the request")
    gevent.kill(greenlet, mine)  # as its timer does when the time is over
    assert greenlet.get()
    assert router.recv_multipart()[-1] == b"x"
    ask(router, client, b"ping", b"pong")


def test_a_turn_that_never_comes(router, client):
    """Who gives up in the line has sent nothing, and the others go on."""
    first = gevent.spawn(client.request, "first", LIMIT)
    sent(client, 1)
    killed = gevent.spawn(client.request, "killed", LIMIT)
    last = gevent.spawn(client.request, "last", LIMIT)
    gevent.sleep(0)
    with pytest.raises(TimeoutError):
        client.request("too late", 0.01)
    killed.kill()
    for name, greenlet in ((b"first", first), (b"last", last)):
        request = router.recv_multipart()
        assert request[-1] == name
        answer(router, request, b"re " + name)
        assert greenlet.get() == b"re " + name
    assert not router.poll(0)


def test_no_server_yet(pump):
    """A request that libzmq has not taken stays the only one; the next are not sent before it is."""
    client = Channel(zmq.REQ, bind=ANY, pump=pump)  # a bound socket has nobody to send to before somebody connects
    for _ in range(5):
        with pytest.raises(TimeoutError):
            client.request("early", 0.01)
    assert client.statistics().pending == 1
    asking = gevent.spawn(client.request, "in time", LIMIT)
    with raw_socket(zmq.REP, connect=client.last_endpoint) as server:
        assert server.recv() == b"early"
        server.send(b"late")
        wait_for(lambda: server.poll(0))
        assert server.recv() == b"in time"
        server.send(b"yes")
        assert asking.get() == b"yes"
        assert client.statistics().pending == 0


def test_a_server_that_goes_away(pump):
    """With the request; a new one connects. What is sent before libzmq knows of it is lost, so ask again."""
    client = Channel(zmq.REQ, bind=ANY, pump=pump)
    with raw_socket(zmq.REP, connect=client.last_endpoint) as server:
        lost = gevent.spawn(client.request, ["lost", "request"])
        wait_for(lambda: server.poll(0))
        assert server.recv_multipart() == [b"lost", b"request"]
    lost.kill()

    def ask_until_answered():
        while True:
            try:
                return client.request(["new", "request"], 0.1)
            except TimeoutError:
                continue

    asking = gevent.spawn(ask_until_answered)
    with raw_socket(zmq.REP, connect=client.last_endpoint) as server:

        def answered():
            if server.poll(0):
                assert server.recv_multipart() == [b"new", b"request"]
                server.send(b"reply")
            return asking.ready()

        wait_for(answered)
    assert asking.get() == b"reply"


def test_a_killed_server_process_and_a_new_one(pump):
    """Plain pyzmq on the other side, killed while it has the request."""
    with Peer(zmq.REP, bind=ANY) as server:
        endpoint = server.endpoint
        client = Channel(zmq.REQ, connect=endpoint, options={zmq.RECONNECT_IVL: 10}, pump=pump)
        asking = gevent.spawn(client.request, "ping", LIMIT)
        assert server.ask("recv") == ["ping"]
        server.ask("reply", "pong")
        assert asking.get() == b"pong"
        asking = gevent.spawn(outcome, client.request, "lost", 0.5)
        assert server.ask("recv") == ["lost"]
        server.kill()
        assert isinstance(asking.get(), TimeoutError)
    with Peer(zmq.REP, bind=endpoint) as server:
        asking = gevent.spawn(client.request, "ping", LIMIT)
        assert server.ask("recv") == ["ping"]
        server.ask("reply", "pong")
        assert asking.get() == b"pong"


# ---------------------------------------------------------------------- beside put and get


def test_a_put_still_waits_for_the_reply_of_another(pump):
    """request() leaves the REQ strict, also after it had to give up a reply."""
    server, client = channels(pump, "REP", "REQ")
    with pytest.raises(TimeoutError):
        client.request("lost", 0.01)
    assert server.get() == b"lost"
    server.put("late")
    asking = gevent.spawn(client.request, "ping", LIMIT)
    assert server.get() == b"ping"
    server.put("pong")
    assert asking.get() == b"pong"
    for i in range(3):
        client.put(b"%d" % i)
    for i in range(3):
        assert server.get() == b"%d" % i
        assert client.statistics().pending == 2 - i
        server.put(b"re %d" % i)
        assert client.get() == b"re %d" % i


@pytest.mark.parametrize("way", ["timeout", "kill"])
def test_a_put_waits_for_a_reply_after_a_request_that_was_given_up_unsent(pump, way):
    """Nobody was there to send the first one to; the second gave up while it waited for that."""
    client = Channel(zmq.REQ, bind=ANY, pump=pump)
    with pytest.raises(TimeoutError):
        client.request("first", 0.01)
    if way == "timeout":
        with pytest.raises(TimeoutError):
            client.request("second", 0.1)  # which is spent with waiting for the first to be sent
    else:
        second = gevent.spawn(client.request, "second")
        wait_for(
            lambda: [one for one in client._lanes.waiting if one.what == "flush"],
            "the second to wait for the first to be sent",
        )
        second.kill()
    with Channel("REP", connect=client.last_endpoint, pump=pump) as server:
        assert server.get(timeout=LIMIT) == b"first"
        server.put("late")
        assert client.get(timeout=LIMIT) == b"late"
        client.put("a")
        client.put("b")
        assert server.get(timeout=LIMIT) == b"a"
        for _ in range(2):  # the owning thread has looked at the socket in between
            client.getsockopt(zmq.TYPE)
        assert client.statistics().pending == 1
        server.put("re a")
        assert server.get(timeout=LIMIT) == b"b"
        client.close(linger=0)


def test_a_reply_to_an_earlier_put_is_not_taken(pump):
    """Neither one that is in the queue, nor one that comes late, before and after the first request."""
    server, client = channels(pump, "REP", "REQ")
    for _ in range(2):
        client.put("put")
        assert server.get() == b"put"
        server.put("re put")
        wait_for(lambda: client.statistics().waiting)
        answering = echo(server, 1)
        assert client.request("request", LIMIT) == [b"re", b"request"]
        answering.get()
        client.put("put")
        assert server.get() == b"put"
        asking = gevent.spawn(client.request, "request", LIMIT)
        server.put("late")
        assert server.get() == b"request"
        server.put("reply")
        assert asking.get() == b"reply"


# ---------------------------------------------------------------------- refused, and the end


def test_a_reply_to_a_put_that_is_still_queued_is_not_taken(pump):
    """There is no server yet as the request is made."""
    server = Channel(zmq.REP, bind=inproc(), pump=pump)
    client = Channel(zmq.REQ, pump=pump)
    client.put("put before")
    asking = gevent.spawn(client.request, "ping", LIMIT)
    wait_for(lambda: client._lanes.waiting or client.statistics().getters, "the request to be under way")
    client.connect(server.last_endpoint)
    echo(server, 2)
    assert asking.get() == [b"re", b"ping"]


@pytest.mark.parametrize("kind", ["DEALER", "REP", "ROUTER", "PUSH", "PULL", "SUB"])
def test_not_on_another_socket(pump, kind):
    channel = Channel(kind, bind=inproc(), pump=pump)
    with pytest.raises(TypeError, match=rf"{kind} .*only a REQ socket .*zgreen\.Requester"):
        channel.request("x")


def test_bad_input(client):
    for wrong, error in ((5, TypeError), (None, TypeError), ([], TypeError), (["a", 5], TypeError)):
        with pytest.raises(error):
            client.request(wrong)
    for wrong, error in ((-1, ValueError), ("1", TypeError), (float("inf"), ValueError), (True, TypeError)):
        with pytest.raises(error, match="timeout must be"):
            client.request("x", wrong)
    with pytest.raises(ValueError, match=r"^timeout must be 0 or more, and finite: seconds, not -1$"):
        client.request("x", -1)  # what None means is for each caller's documentation: here it is no limit
    assert client.statistics().sent == client.statistics().pending == 0


def test_not_from_another_thread_nor_from_the_hub(client):
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, client.request, "x", LIMIT).get(), RuntimeError)
    result = AsyncResult()
    gevent.get_hub().loop.run_callback(lambda: result.set(outcome(client.request, "x", LIMIT)))
    assert isinstance(result.get(timeout=LIMIT), RuntimeError)


def test_close_ends_all_who_wait(router, client):
    greenlets = [gevent.spawn(outcome, client.request, "x") for _ in range(10)]
    sent(client, 1)
    client.close(linger=0)
    assert [type(g.get(timeout=LIMIT)) for g in greenlets] == [ClosedError] * 10
    with pytest.raises(ClosedError):
        client.request("x")


def test_a_broken_pump(pump, router, client):
    greenlets = [gevent.spawn(outcome, client.request, "x") for _ in range(3)]
    sent(client, 1)
    pump_error = MemoryError("the test's")
    break_pump(pump, pump_error)
    errors = [g.get(timeout=LIMIT) for g in greenlets]
    assert [type(e) for e in errors] == [BrokenError] * 3
    assert {e.__cause__ for e in errors} == {pump_error}


def test_a_signal_handler_that_raises_keeps_nobody_from_the_next_turn(pump):
    """Wherever it does so: before the turn is taken, or within the exchange."""
    server, client = channels(pump, "REP", "REQ")
    gevent.spawn(lambda: [server.put([b"re", request]) for request in server])
    number = -1
    for number in interruptions(lambda: client.request("x"), "_hub/exchange.py"):
        assert client.request(b"%d" % number, timeout=LIMIT) == [b"re", b"%d" % number]
    assert number > 3
