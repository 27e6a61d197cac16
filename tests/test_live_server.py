"""``zgreen live`` without a browser: event streams over plain sockets, what is refused, how it ends."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import time

import gevent
import gevent.event
import gevent.socket
import pytest
import zmq
from live import Events, Live
from programs import Program
from support import ANY, LIMIT, endpoint_of, raw_socket

from zgreen.live import connections, wire
from zgreen.live.service import Service

CONTROL = b"\xff zgreen live"
JSON = {"Content_Type": "application/json"}
QUIET = ("--rate", "0")  # only what is posted


@contextlib.contextmanager
def publisher(bind=ANY):
    """A plain XPUB socket that zgreen live is to connect to, and its endpoint; it waits when it may not send.

    At the end its port is free again: its context has ended.
    """
    with raw_socket(zmq.XPUB, bind=bind) as xpub:
        xpub.setsockopt(zmq.XPUB_NODROP, 1)
        yield xpub, endpoint_of(xpub)


def read_all(peer):
    return b"".join(iter(lambda: peer.recv(65536), b""))


def subscriptions(xpub, number):
    """The next *number* (un)subscriptions that the publisher is told of."""
    return [xpub.recv() for _ in range(number)]


def test_a_stream_says_who_it_is_and_brings_messages_and_statistics():
    with Live() as live, Events(live.port) as events:
        assert events.hello["prefixes"] == [""]
        for topic, text in itertools.islice(events.messages(), 5):
            assert topic.startswith(("metal.", "weather."))
            assert text[0].isdigit() or text[0] == "-"
        found = events.next("statistics")
        assert found["pump"]["received"] > 0
        assert found["pump"]["engine"]
        assert found["fanout"]["subscriptions"] == found["all_connections"] == 1
        (connection,) = found["connections"]
        assert connection["number"] == events.hello["number"]
        assert connection["sent"] > 0
        assert connection["lost"] == 0
        assert os.getpgid(found["publisher"]["pid"]) != os.getpgid(live.pid)


def test_the_rate_is_that_of_the_option():
    with Live("--rate", "50") as live, Events(live.port) as events:
        first, began = events.next("statistics"), time.monotonic()
        last = [events.next("statistics") for _ in range(3)][-1]
        rate = (last["fanout"]["received"] - first["fanout"]["received"]) / (time.monotonic() - began)
        assert 25 < rate < 100


def test_what_is_posted_comes_to_every_stream():
    with Live(*QUIET) as live, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Events(live.port)) for _ in range(100)]
        live.say("hello", "<b>öffentlich</b>\n")
        live.say("", "")
        for events in streams:
            assert list(itertools.islice(events.messages(), 2)) == [("hello", "<b>öffentlich</b>\n"), ("", "")]
        found = streams[0].statistics_when(lambda value: value["all_connections"] == 100)
        assert found["fanout"]["prefixes"] == 1
        assert len(found["connections"]) == 50


def test_a_filter_is_told_to_the_publisher():
    with publisher() as (xpub, endpoint), Live("--connect", endpoint) as live:
        with Events(live.port) as events:
            assert sorted(subscriptions(xpub, 2)) == [b"\1", b"\1" + CONTROL]
            wanted = {"token": events.hello["token"], "prefixes": ["metal", "a", "metal"]}
            assert live.post("/subscriptions", wanted) == 202
            assert events.next("subscribed") == ["metal", "a"]
            assert sorted(subscriptions(xpub, 3)) == [b"\0", b"\1a", b"\1metal"]
            for topic in (b"weather", b"metal.tin", b"b", b"abc"):
                xpub.send_multipart([topic, b"text"])
            assert [topic for topic, _ in itertools.islice(events.messages(), 2)] == ["metal.tin", "abc"]
        assert sorted(subscriptions(xpub, 2)) == [b"\0a", b"\0metal"]  # the page has gone


def test_what_both_filters_want_comes_once_and_all_of_it():
    with (
        publisher() as (xpub, endpoint),
        Live("--connect", endpoint, "--queue", "100000") as live,
        Events(live.port) as events,
    ):
        subscriptions(xpub, 2)
        numbers = itertools.count()
        for wanted in [["a"], [""], ["a."], ["a", "x"], [""]] * 10:
            for _ in range(50):
                xpub.send_multipart([b"a.b", b"%d" % next(numbers)])
            assert live.post("/subscriptions", {"token": events.hello["token"], "prefixes": wanted}) == 202
        total = next(numbers)
        got = [int(text) for _, text in itertools.islice(events.messages(), total)]
        assert got == list(range(total))


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "disconnect"])
def test_a_client_that_does_not_read_loses_by_its_policy_and_no_other_does(policy):
    """It is slow in truth: nobody reads its socket, so the system's buffers fill, and then its queue."""
    with (
        publisher() as (xpub, endpoint),
        Live("--connect", endpoint, "--queue", "300", "--overflow", policy) as live,
        Events(live.port) as fast,
        Events(live.port, receive_buffer=4096) as slow,
    ):
        subscriptions(xpub, 2)
        texts, sent = fast.messages(), 0
        for _ in range(20):  # 100 messages of 2 kB at a time: the fast one has them before the next ones come
            for _ in range(100):
                xpub.send_multipart([b"t", b"%d " % sent + bytes(1990)])
                sent += 1
            for number in range(sent - 100, sent):
                assert int(next(texts)[1].split()[0]) == number
        found = fast.next("statistics")
        rows = {row["number"]: row for row in found["connections"]}
        assert rows[fast.hello["number"]]["lost"] == 0
        row = rows[slow.hello["number"]]
        assert row["queue"] <= 300
        if policy == "disconnect":
            assert found["fanout"]["disconnected"] == 1
            got = [int(text.split()[0]) for text in (value[1] for name, value in slow if name == "message")]
            assert got == list(range(len(got)))  # nothing is missing up to its end
            assert 300 < len(got) < sent
            return
        assert row["lost"] > 0
        got = [int(text.split()[0]) for _, text in itertools.islice(slow.messages(), sent - row["lost"])]
        assert got == sorted(set(got))
        assert (got[-1] == sent - 1) == (policy == "drop_oldest")


def test_streams_that_are_closed_are_forgotten():
    with Live() as live, Events(live.port) as stays:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(Events(live.port))
            stays.statistics_when(lambda value: value["all_connections"] == 21)
        stays.statistics_when(lambda value: value["fanout"]["subscriptions"] == value["all_connections"] == 1)


def test_any_bytes_are_shown():
    with publisher() as (xpub, endpoint), Live("--connect", endpoint) as live, Events(live.port) as events:
        subscriptions(xpub, 2)
        xpub.send_multipart([b"\xff\0", b"\xfe", b"", b"x" * 100_000])
        xpub.send(b"alone")
        (topic, text), alone = itertools.islice(events.messages(), 2)
        assert topic == "0xff00"
        assert text.startswith("0xfe |  | xxx")
        assert len(text) == 2000
        assert alone == ("alone", "")


# -- who may post what


def message(**values):
    return json.dumps({"topic": "t", "text": "x", **values}).encode()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (202, message(), JSON),
        (202, message(text="x" * 2000), {"Content_Type": "application/json; charset=utf-8"}),
        (400, message(text="x" * 2001), JSON),
        (400, message(topic="x" * 65), JSON),
        (400, message(topic=None), JSON),
        (400, message(text="\ud800"), JSON),
        (400, b"{", JSON),
        (400, b"[]", JSON),
        (400, b"[" * 8000, JSON),
        (400, b"\xff", JSON),
        (400, b"", JSON),
        (413, b" " * 8193, JSON),
        (415, message(), {"Content_Type": "text/plain"}),
        (415, message(), {}),
    ],
)
def test_limits_of_a_post(status, body, headers):
    with Live(*QUIET) as live:
        assert live.request("POST", "/messages", body, **headers)[0] == status


def test_the_body_of_a_large_post_is_not_waited_for():
    """It has only been announced, and the answer comes."""
    with Live(*QUIET) as live, socket.create_connection(("127.0.0.1", live.port), LIMIT) as client:
        head = "POST /messages HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n{}\r\n\r\n"
        client.sendall(head.format(live.port, "Content-Length: 1000000000").encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    with Live(*QUIET) as live, socket.create_connection(("127.0.0.1", live.port), LIMIT) as client:
        client.sendall(head.format(live.port, "Transfer-Encoding: chunked").encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 411 ")
    with Live(*QUIET) as live, socket.create_connection(("127.0.0.1", live.port), LIMIT) as client:
        client.sendall(head.format(live.port, "Content-Length: 10").encode() + b"{")
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_other_sites_and_other_names_are_refused():
    with Live(*QUIET) as live:

        def post(**headers):
            return live.request("POST", "/messages", message(), **JSON, **headers)[0]

        assert post(Origin=f"http://127.0.0.1:{live.port}") == 202
        assert post(Host=f"localhost:{live.port}", Origin=f"http://localhost:{live.port}") == 202
        for origin in ("http://example.org", "null", f"https://127.0.0.1:{live.port}", "http://127.0.0.1:1", ""):
            assert post(Origin=origin) == 403, origin
        for host in ("example.org", f"example.org:{live.port}", "127.0.0.1", "127.0.0.1:1"):
            assert post(Host=host) == 403, host
            assert live.request("GET", "/", Host=host)[0] == 403, host
            assert live.request("GET", "/events", Host=host)[0] == 403, host


def test_subscriptions_are_checked():
    with Live(*QUIET) as live, Events(live.port) as events:
        token = events.hello["token"]
        assert live.post("/subscriptions", {"token": token[:-1], "prefixes": ["a"]}) == 404
        assert live.post("/subscriptions", {"prefixes": ["a"]}) == 400
        for wrong in ([], "a", None, [1], ["a"] * 17, ["a" * 65], ["\ud800"]):
            assert live.post("/subscriptions", {"token": token, "prefixes": wrong}) == 400, wrong
        assert events.next("statistics")["connections"][0]["prefixes"] == [""]


def test_pages_and_methods():
    with Live(*QUIET) as live:
        for path, part in (("/", b"<!doctype html>"), ("/page.css", b"color"), ("/page.js", b"use strict")):
            status, body = live.request("GET", path)
            assert (status, part in body) == (200, True), path
        assert b"http://" not in live.request("GET", "/")[1]
        assert live.request("GET", "/page/../__init__.py")[0] == 404
        assert live.request("GET", "/messages")[0] == 405
        assert live.request("POST", "/", b"")[0] == 405


def test_paths_are_taken_to_the_letter():
    with Live(*QUIET) as live:
        for path in ("/page.css/", "//page.css", "/PAGE.CSS", "/page.css%ff", "/index.html", "/status/nosuch"):
            assert live.request("GET", path)[0] == 404, path
        _, told = live.request("GET", "/<b>nosuch")
        assert json.loads(told) == {"error": "there is no such page"}
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("PUT", "/messages")
            assert connection.getresponse().getheader("Allow") == "POST"


def test_the_status_page_is_there_too():
    with Live(*QUIET) as live:
        status, body = live.request("GET", "/status/status.json")
        (pump,) = json.loads(body)["pumps"]
        assert (status, pump["name"], pump["open"]) == (200, "live", True)
        assert "SUB" in [channel["type"] for channel in pump["channels"]]
        assert b"uplot.js" in live.request("GET", "/status/")[1]
        assert live.request("GET", "/status/status.json", Host="example.org")[0] == 403
        assert live.request("POST", "/status/status.json", b"")[0] == 405


def test_requests_that_wait_keep_their_own_answers():
    """bottle's request and response are one and the same for all greenlets here."""
    with Live(*QUIET) as live, live.connected() as waits:
        waits.sendall(
            f"POST /messages HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(message())}\r\nConnection: close\r\n\r\n{{".encode()
        )
        with Events(live.port) as events:  # served after the request above, which waits for its body
            assert live.request("GET", "/page.css")[0] == 200
            assert live.request("GET", "/nosuch")[0] == 404
            waits.sendall(message()[1:])
            head, _, body = read_all(waits).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202 ")
            assert b"Content-Type: application/json" in head
            assert body == b"{}"
            assert next(events.messages()) == ("t", "x")


def test_a_head_is_answered_without_a_body():
    with Live(*QUIET) as live, live.connected() as peer:
        peer.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % live.port)
        head, _, body = read_all(peer).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Length: %d" % len(live.request("GET", "/")[1]) in head
        assert body == b""
        assert live.request("HEAD", "/nosuch") == (404, b"")
        assert live.request("HEAD", "/events") == (405, b"")


def test_a_client_that_leaves_before_its_body_has_come():
    with Live(*QUIET) as live, live.connected() as peer:
        head = f"POST /messages HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nContent-Type: application/json\r\n"
        peer.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer).startswith(b"HTTP/1.1 400 ")
        live.signal(signal.SIGTERM)
        assert live.end() == 0
        assert "Traceback" not in live.output


def test_only_this_machine_is_served():
    with Live(*QUIET) as live:
        with open("/proc/net/tcp") as table:
            ours = [line.split()[1] for line in table if f":{live.port:04X} 00000000:0000 0A" in line]
        assert ours == [f"0100007F:{live.port:04X}"]


# -- connections that want too much


def test_half_requests_do_not_keep_the_page_from_others():
    """As many as there may be connections at once, of which each holds one for as long as it likes."""
    with Live(*QUIET) as live, contextlib.ExitStack() as stack:
        for number in range(1000):
            peer = stack.enter_context(live.connected())
            peer.sendall((b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n")[number % 3])
        assert live.request("GET", "/")[0] == 200
        with Events(live.port) as events:
            live.say("a", "x")
            assert next(events.messages()) == ("a", "x")


@pytest.fixture
def serving(monkeypatch):
    """Serve an application within limits that are over soon; its port. gevent's hub runs while a test waits."""
    servers = []

    def serve(application, **limits):
        for name, value in limits.items():
            monkeypatch.setattr(connections, name, value)
        servers.append(connections.Server(("127.0.0.1", 0), application, log=None))
        servers[0].start()
        return servers[0]

    yield serve
    servers[0].stop(timeout=0)


def connect(server):
    peer = gevent.socket.create_connection(("127.0.0.1", server.server_port), timeout=LIMIT)
    peer.settimeout(LIMIT)
    return peer


@pytest.mark.parametrize("half", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_does_not_come_wholly_is_given_up(serving, half):
    server = serving(None, HEAD_LIMIT=0.05)
    with connect(server) as peer:
        peer.sendall(half)
        assert peer.recv(100) == b""
    assert not server.heads


def test_a_request_that_has_come_is_answered_however_long_that_takes(serving):
    def application(_environ, start_response):
        gevent.sleep(0.2)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = serving(application, HEAD_LIMIT=0.1)
    with connect(server) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(peer).endswith(b"ok")  # and then the connection is at rest, and is closed


def test_the_oldest_of_too_many_half_requests_is_given_up(serving):
    server = serving(None, MAX_HEADS=2)
    with connect(server) as first, connect(server) as second, contextlib.ExitStack() as stack:
        for _ in range(2):
            assert len(server.heads) <= 2
            stack.enter_context(connect(server))
        for peer in (first, second):
            assert peer.recv(100) == b""
        assert len(server.heads) == 2


def test_a_client_that_does_not_read_is_given_up(serving):
    ended = gevent.event.Event()

    def application(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield bytes(100_000)
        finally:
            ended.set()

    with connect(serving(application, WRITE_LIMIT=0.05)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ended.wait(LIMIT)


# -- publishers that come and go


def test_the_statistics_say_whether_there_is_a_publisher():
    with contextlib.ExitStack() as stack:
        with publisher() as (_, endpoint):
            live = stack.enter_context(Live("--connect", endpoint))
            events = stack.enter_context(Events(live.port))
            events.statistics_when(lambda value: value["connected"] is True)
        events.statistics_when(lambda value: value["connected"] is False)
        with publisher(endpoint):
            events.statistics_when(lambda value: value["connected"] is True)


def test_a_message_is_shown_as_text_or_as_hexadecimal_digits():
    euros = "\N{EURO SIGN}" * 2700  # 8,100 bytes, of which the first 8,000 end within a character
    assert wire.shown((b"t", euros.encode())) == ("t", euros[:1999] + "\N{HORIZONTAL ELLIPSIS}")
    assert wire.shown((b"t", "\N{EURO SIGN}".encode()[:2], b"a\0b")) == ("t", "0xe282 | a\0b")
    assert wire.shown((b"\xff" * 100, b"", b"\x80" + b"a" * 10_000))[0] == "0x" + "ff" * 64
    assert wire.shown((b"t", b"\x80" * 10_000))[1] == "0x" + "80" * 998 + "8\N{HORIZONTAL ELLIPSIS}"


def test_a_publisher_that_was_killed_is_started_again():
    with Live(*QUIET) as live, Events(live.port) as events:
        live.say("a", "before")
        messages = events.messages()
        assert next(messages) == ("a", "before")
        first = events.next("statistics")["publisher"]
        os.kill(first["pid"], signal.SIGKILL)
        found = events.statistics_when(lambda value: value["publisher"]["pid"] not in (None, first["pid"]))
        assert found["publisher"]["restarts"] == 1
        live.say("a", "after")
        assert next(messages) == ("a", "after")


def test_the_publisher_is_not_the_business_of_the_current_folder(tmp_path, monkeypatch):
    """Modules of the same names that lie there are the user's; the console script does not look there either."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("random", "zmq", "zgreen"):
        (here / f"{name}.py").write_text("raise RuntimeError('not for you')")
    start = tmp_path / "start.py"
    start.write_text("from zgreen.__main__ import console_script\nconsole_script()\n")
    monkeypatch.chdir(here)
    with Live(*QUIET, start=(str(start),)) as live, Events(live.port) as events:
        live.say("a", "x")
        assert next(events.messages()) == ("a", "x")
        assert events.next("statistics")["publisher"]["restarts"] == 0


def test_a_real_publisher_that_comes_again_is_picked_up():
    with contextlib.ExitStack() as stack:
        with publisher() as (xpub, endpoint):
            live = stack.enter_context(Live("--connect", endpoint))
            events = stack.enter_context(Events(live.port))
            subscriptions(xpub, 2)
            xpub.send_multipart([b"t", b"1"])
            assert next(events.messages()) == ("t", "1")
        with publisher(endpoint) as (again, _):
            assert sorted(subscriptions(again, 2)) == [b"\1", b"\1" + CONTROL]
            again.send_multipart([b"t", b"2"])
            assert next(events.messages()) == ("t", "2")


def test_publishers_may_connect_and_pages_may_push_to_a_real_one():
    with raw_socket(zmq.PULL, bind=ANY) as pull, reserved() as port:
        options = ("--bind", f"tcp://127.0.0.1:{port}", "--push", endpoint_of(pull))
        with Live(*options) as live, Events(live.port) as events:
            live.say("t", "x")
            assert pull.recv_multipart() == [b"t", b"x"]
            with raw_socket(zmq.XPUB, connect=f"tcp://127.0.0.1:{port}") as xpub:
                subscriptions(xpub, 2)
                xpub.send_multipart([b"t", b"y"])
                assert next(events.messages()) == ("t", "y")


@contextlib.contextmanager
def reserved():
    """A port that stays free until ZeroMQ binds it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_without_anybody_to_push_to_a_post_is_refused():
    with publisher() as (_, endpoint), Live("--connect", endpoint) as live:
        assert live.post("/messages", {"topic": "t", "text": "x"}) == 409


def test_push_is_for_publishers_of_ones_own():
    """What pages post would go there and never come back: the publisher that is started does not pull there."""
    with Program("-m", "zgreen", "live", "--push", "tcp://127.0.0.1:1") as program:
        assert program.end() == 2, program.output
        assert "--push is for --connect or --bind" in program.output
    with pytest.raises(ValueError, match="push is for connect or bind"):
        Service(push="tcp://127.0.0.1:1")


# -- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_with_open_streams(number):
    """One that reads, one that does not (its server side waits in a write), and the publisher process ends too."""
    with (
        publisher() as (xpub, endpoint),
        Live("--connect", endpoint) as live,
        Events(live.port) as reads,
        Events(live.port, receive_buffer=4096) as slow,
    ):
        subscriptions(xpub, 2)
        for _ in range(500):
            xpub.send_multipart([b"t", bytes(2000)])
        reads.statistics_when(
            lambda value: any(c["queue"] > 0 for c in value["connections"] if c["number"] == slow.hello["number"])
        )
        began = time.monotonic()
        live.signal(number)
        assert live.end() == 0, live.output
        assert time.monotonic() - began < LIMIT / 6
        assert "Traceback" not in live.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_publisher_ends_with_the_server(number):
    with Live() as live:
        with Events(live.port) as events:
            live.kill_at_limit.append(events.next("statistics")["publisher"]["pid"])
        live.signal(number)
        # the publisher holds the server's standard error: that it comes to its end proves that it has
        assert live.end() in (0, -signal.SIGKILL)
        assert not live.over_limit


def test_what_is_wrong_is_said_without_a_traceback():
    with Live(*QUIET) as live:
        taken, wrong = ["--port", str(live.port)], ["--bind", "tcp://127.0.0.1:x"]
        for options, status in ((taken, 1), (["--connect", "nonsense"], 2), (wrong, 1)):
            with Program("-m", "zgreen", "live", *options) as program:
                assert program.end() == status, program.output
                assert program.output.startswith("python -m zgreen live: ")
                assert "Traceback" not in program.output
                assert options[1].rpartition(":")[2] in program.output  # which port, or which endpoint
