"""zgreen.sse: server-sent events to real clients of a real server."""

from __future__ import annotations

import contextlib
import re

import gevent
import gevent.socket
import pytest
import zmq
from gevent.pywsgi import WSGIServer
from servers import EventSource
from support import LIMIT, channels, outcome, real_threads, wait_for
from test_fanout import put_and_wait

import zgreen
from zgreen import sse


class Service:
    """A fan-out behind a server whose every response is a stream; *options* are for `sse.events`."""

    def __init__(self, pump, keep=0):
        pull, self.push = channels(pump, zmq.PULL, zmq.PUSH)
        self.fan = zgreen.Fanout(pull, keep=keep)
        self.options = {}
        self.subscribe = {}
        self.streams = []
        self.server = WSGIServer(("127.0.0.1", 0), self.application, log=None, error_log=None)
        self.server.start()
        self.clients = []

    def application(self, environ, start_response):
        topics = environ["QUERY_STRING"].split(",")
        subscription = self.fan.subscribe(*topics, **self.subscribe)
        given = environ.get("HTTP_LAST_EVENT_ID")
        stream = sse.events(subscription, last_event_id=given, **self.options)
        self.streams.append((subscription, stream))
        start_response("200 OK", sse.HEADERS)
        return stream

    def client(self, topics="", **headers):
        before = len(self.streams)
        client = EventSource(
            self.server.server_port, f"/?{topics}", gevent.socket.create_connection,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        )  # fmt: skip
        wait_for(lambda: len(self.streams) > before)
        self.clients.append(client)
        return client

    def put(self, *messages):
        put_and_wait(self.push, self.fan, *messages)


@pytest.fixture
def service(pump):
    with contextlib.closing(Service(pump).server) as server:
        yield server.application.__self__
    server.application.__self__.fan.close()


@pytest.fixture
def keeping(pump):
    with contextlib.closing(Service(pump, keep=10).server) as server:
        yield server.application.__self__
    server.application.__self__.fan.close()


def take(client, number):
    events = client.events()
    with gevent.Timeout(LIMIT):
        return [next(events) for _ in range(number)]


def test_a_stream(service):
    client = service.client("a,b")
    assert client.response.headers["Content-Type"] == "text/event-stream"
    service.put([b"a", b"1"], [b"c", b"2"], "b and more", [b"b", b"line\r\nanother\rthird\n", b"frame"])
    assert take(client, 3) == [
        (None, "1", None), (None, "b and more", None), (None, "line\nanother\nthird\n\nframe", None),
    ]  # fmt: skip
    assert service.streams[0][1].sent == 3


def test_what_encode_returns(service):
    service.options["encode"] = lambda message: sse.Event(
        message[1], event=message[0], id="an\nid\0", retry=0.25 if message[1] == b"last" else None
    )
    client = service.client()
    service.put([b"to\r\npic", b"\xff\xfe\r"], [b"x", b"data: y\n\nevent: evil"], [b"", b"last"])
    assert take(client, 3) == [
        ("to pic", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\n", "an id "),
        ("x", "data: y\n\nevent: evil", "an id "),
        ("", "last", "an id "),
    ]
    assert client.retry == 250


@pytest.mark.parametrize("event", [sse.Event("a\ud800b"), sse.Event("a?b")])
def test_what_utf_8_cannot_hold_is_replaced(event):
    assert event.encoded() == b"data: a?b\n\n"


def test_small_events_alone_are_kept_for_other_streams(service):
    """What two streams send is one object; a large event would take memory as long as it is kept."""
    sse._small.cache_clear()
    bodies = [iter(sse.events(service.fan.subscribe(""), **options)) for options in ({}, {}, {"encode": bytearray})]
    for body in bodies:
        next(body)  # the comment
    service.put(b"small")
    first, second, third = map(next, bodies)
    assert first == second == third == b"data: small\n\n"
    assert first is second
    service.put(b"x" * 1024, b"y" * 1025)
    kept = sse._small.cache_info().currsize
    assert [len(next(body)) for body in bodies] == [1024 + 1025 + 2 * len(b"data: \n\n")] * 3
    assert sse._small.cache_info().currsize == kept + 1


def test_a_departed_client_is_noticed_without_a_message(service):
    """By the second write after it has gone, as the first one only brings the news."""
    service.options["heartbeat"] = 0.02
    clients = [service.client() for _ in range(6)]
    stays = service.client()
    assert service.fan.statistics().subscriptions == 7
    for client in clients:
        client.close()
    wait_for(lambda: service.fan.statistics().subscriptions == 1, "the clients to be missed")
    service.put("x")
    assert take(stays, 1) == [(None, "x", None)]
    assert stays.comments


def test_a_heartbeat_is_two_writes():
    """A stream of which the pause is known: half of the heartbeat."""
    stream = sse.EventStream(None, 15.0, sse.default_encode)
    assert stream._pause == 7.5


def test_the_end_of_the_service_ends_streams(service):
    client = service.client()
    service.put("x")
    gevent.spawn_later(0, service.fan.close)
    assert list(client.events()) == [(None, "x", None)]
    assert 500 <= client.retry <= 2500
    subscription, stream = service.streams[0]
    wait_for(lambda: subscription._inbox.left)
    assert list(stream) == []


def test_a_client_that_comes_too_late():
    assert re.fullmatch(rb"retry: [0-9]{3,4}\n\n", b"".join(sse.come_back()))


def test_a_slow_client_is_told_to_come_back(service):
    service.subscribe.update(maxsize=2, overflow="disconnect")
    subscription = service.fan.subscribe("", **service.subscribe)
    stream = sse.events(subscription)
    service.put("a", "b", "c")
    assert b"".join(stream).split(b"retry")[0] == b":\n\ndata: a\n\ndata: b\n\n"


def test_closed_before_it_began(service):
    subscription = service.fan.subscribe("")
    stream = sse.events(subscription)
    stream.close()
    stream.close()
    assert subscription.closed
    assert service.fan.statistics().subscriptions == 0


def test_an_encode_that_fails_ends_its_stream_only(service, hub_errors):
    service.options["encode"] = lambda message: 1 // (message != b"bad")
    client = service.client()
    service.options["encode"] = sse.default_encode
    other = service.client()
    service.put("bad")
    with contextlib.suppress(OSError, Exception):
        list(client.events())
    wait_for(lambda: service.fan.statistics().subscriptions == 1)
    assert take(other, 1) == [(None, "bad", None)]
    wait_for(lambda: hub_errors)
    assert all(isinstance(error, ZeroDivisionError) for _, error in hub_errors)
    hub_errors.clear()


# ---------------------------------------------------------------- after a reconnect


def test_a_client_that_comes_back_gets_what_it_missed(keeping):
    first = keeping.client("a")
    keeping.put([b"a", b"1"], [b"b", b"2"], [b"a", b"3"])
    seen = take(first, 2)
    first.close()
    keeping.put([b"a", b"4"], [b"b", b"5"], [b"a", b"6"])
    again = keeping.client("a", Last_Event_ID=seen[0][2])
    keeping.put([b"a", b"7"])
    got = take(again, 4)
    assert [data for _, data, _ in seen + got] == ["1", "3", "3", "4", "6", "7"]
    assert len({identity for _, _, identity in seen + got}) == 5
    last = keeping.client("a", Last_Event_ID=got[-1][2])
    keeping.put([b"a", b"8"])
    assert [data for _, data, _ in take(last, 1)] == ["8"]


def test_it_takes_the_place_of_a_replay(keeping):
    """Whoever comes anew gets the last two, whoever comes back what it missed."""
    keeping.subscribe["replay"] = 2
    keeping.put(*([b"a", b"%d" % n] for n in range(5)))
    new = keeping.client("a")
    seen = take(new, 2)
    assert [data for _, data, _ in seen] == ["3", "4"]
    keeping.put([b"a", b"5"])
    token, _, number = seen[0][2].rpartition("-")
    back = keeping.client("a", Last_Event_ID=f"{token}-{int(number) - 3}")
    keeping.put([b"a", b"6"])
    assert [data for _, data, _ in take(back, 6)] == ["1", "2", "3", "4", "5", "6"]


NONSENSE = ["", "x", "-1", "0-0", "{token}-", "{token}-1.5", "{token}--1", "{token}-" + "9" * 999, "{token}x-1", "\xe9"]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_starts_anew(keeping, nonsense):
    keeping.subscribe["replay"] = 1
    keeping.put([b"a", b"1"], [b"a", b"2"])
    client = keeping.client("a", Last_Event_ID=nonsense.format(token=keeping.fan.token))
    assert [data for _, data, _ in take(client, 1)] == ["2"]


def test_ids_that_the_publisher_gives(pump):
    """Another worker, with another fan-out, knows them too."""
    workers = [Service(pump, keep=10) for _ in range(2)]
    for worker in workers:
        worker.options["encode"] = lambda message: sse.Event(message[1], id=message[2])
    messages = [[b"a", b"%d" % n, b"id-%d" % n] for n in range(5)]
    workers[1].put([b"other", b"", b"x"], *messages[:4])
    client = workers[0].client("a")
    workers[0].put(*messages[:2])
    seen = take(client, 2)
    assert seen[-1] == (None, "1", "id-1")
    back = workers[1].client("a", Last_Event_ID=seen[-1][2])
    workers[1].put(messages[4])
    assert take(back, 3) == [(None, "2", "id-2"), (None, "3", "id-3"), (None, "4", "id-4")]
    for worker in workers:
        worker.fan.close()
        worker.server.close()


def test_an_id_that_was_given_twice_is_the_last_one(keeping):
    """The client has had all that came before it."""
    keeping.options["encode"] = lambda message: sse.Event(message[1], id=message[2])
    first = keeping.client("a")
    keeping.put([b"a", b"0", b"same"], [b"a", b"1", b"same"], [b"a", b"2", b"other"])
    assert len(take(first, 3)) == 3
    assert take(keeping.client("a", Last_Event_ID="same"), 1) == [(None, "2", "other")]


def test_an_encode_that_fails_while_it_looks_for_an_id(keeping):
    keeping.put([b"a", b"1"])
    subscription = keeping.fan.subscribe("a")
    with pytest.raises(ZeroDivisionError):
        sse.events(subscription, encode=lambda message: 1 // 0, last_event_id="x")
    assert subscription.closed


@pytest.mark.parametrize(("options", "error", "says"), [
    ({"heartbeat": 0}, ValueError, "more than 0"), ({"heartbeat": -1}, ValueError, "heartbeat"),
    ({"heartbeat": None}, TypeError, "is not noticed"), ({"heartbeat": "1"}, TypeError, "heartbeat"),
    ({"encode": "json"}, TypeError, "encode must be callable"), ({"last_event_id": b"1"}, TypeError, "str or None"),
])  # fmt: skip
def test_wrong_arguments(service, options, error, says):
    with service.fan.subscribe("") as subscription, pytest.raises(error, match=says):
        sse.events(subscription, **options)


def test_no_subscription(service):
    with pytest.raises(TypeError, match=r"zgreen\.Subscription, not Channel"):
        sse.events(service.fan.channel)


def test_another_thread(service):
    stream = sse.events(service.fan.subscribe(""))
    next(stream)
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, next, stream).get(timeout=LIMIT), RuntimeError)
