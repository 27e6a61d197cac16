"""What the checks of arguments let through, and what they say of the rest; and that all callers use them."""

from __future__ import annotations

import math

import gevent
import pytest
import zmq

import zgreen
from zgreen._arguments import (
    OVERFLOWS,
    check_endpoint,
    check_limit,
    check_maxsize,
    check_overflow,
    check_seconds,
    check_timeout,
    endpoints_of,
    options_of,
    topic_of,
    topics_of,
)

GOOD = [
    "tcp://127.0.0.1:5555", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65535", "tcp://127.0.0.1:005555", "tcp://*:*",
    "tcp://*:!", "tcp://lo:*", "tcp://[::1]:5555", "tcp://[::]:*", "tcp://[fe80::1%eth0]:5555",
    "tcp://192.0.2.1:0;192.0.2.7:5555", "tcp://[::1]:0;[::1]:5555", "tcp://[::1]", "tcp://nowhere", "tcp://",
    "inproc://a:99999", "inproc://a:b", "ipc:///tmp/a:99999", "ipc://*", "udp://239.0.0.1:5555", "udp://*:x",
    "pgm://eth0;239.192.1.1:5555", "epgm://eth0;239.192.1.1:5555", "vmci://1:99999", "ws://*:8080/path", "wss://*:443",
    "bogus://x:y", "nonsense", "", "/tmp/a:5555", ":", "a:b",
]  # fmt: skip

BAD = [
    ("tcp://127.0.0.1:65536", "65536"),
    ("tcp://127.0.0.1:99999", "99999"),
    (f"tcp://127.0.0.1:{2**64}", str(2**64)),
    ("tcp://127.0.0.1:-1", "-1"),
    ("tcp://127.0.0.1:+1", "+1"),
    ("tcp://127.0.0.1:", ""),
    ("tcp://127.0.0.1:http", "http"),
    ("tcp://127.0.0.1:55x5", "55x5"),
    ("tcp://127.0.0.1: 5555", " 5555"),
    ("tcp://127.0.0.1:5555\n", "5555\n"),
    ("tcp://127.0.0.1:\u0665\u0665", "\u0665\u0665"),  # digits, but not libzmq's
    ("tcp://*:**", "**"),
    ("tcp://[::1]:99999", "99999"),
    ("tcp://[::1]:x", "x"),
    ("tcp://192.0.2.1:99999;192.0.2.7:5555", "99999"),
    ("tcp://192.0.2.1:0;192.0.2.7:x", "x"),
]


@pytest.mark.parametrize("endpoint", GOOD)
def test_what_libzmq_can_judge_itself_passes(endpoint):
    assert check_endpoint("bind", endpoint) == endpoint
    assert endpoints_of("bind", endpoint) == endpoints_of("bind", [endpoint]) == (endpoint,)


@pytest.mark.parametrize(("endpoint", "port"), BAD)
def test_an_impossible_port_is_named(endpoint, port):
    with pytest.raises(ValueError, match="port") as caught:
        check_endpoint("bind", endpoint)
    what = "the port must be a number up to 65535, or * for any free one"
    assert str(caught.value) == f"bind {endpoint!r}: {what}, not {port!r}"


@pytest.mark.parametrize(
    "endpoint", ["localhost:5555", "127.0.0.1:5555", "*:5555", ":5555", "[::1]:5555", "*:*", "a:!"]
)
def test_an_endpoint_without_a_transport_is_told_what_is_missing(endpoint):
    with pytest.raises(ValueError, match="transport") as caught:
        check_endpoint("connect", endpoint)
    assert str(caught.value) == f"connect {endpoint!r} has no transport: write 'tcp://{endpoint}'"


@pytest.mark.parametrize("endpoint", [b"tcp://127.0.0.1:5555", bytearray(b"tcp://127.0.0.1:5555")])
def test_an_endpoint_of_bytes_is_told_to_be_a_str(endpoint):
    with pytest.raises(TypeError, match=f"connect must be a str like .*, not {type(endpoint).__name__}$"):
        endpoints_of("connect", endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:99999", "localhost:5555"])
def test_all_that_take_an_endpoint_check_it(pump, endpoint):
    channel = zgreen.Channel("PULL", pump=pump)
    calls = [
        channel.bind, channel.unbind, channel.connect, channel.disconnect,
        lambda end: zgreen.Channel("PULL", bind=end, pump=pump),
        lambda end: zgreen.Channel("PULL", bind=["tcp://127.0.0.1:*", end], pump=pump),
        lambda end: zgreen.Channel("PULL", connect=end, pump=pump),
        lambda end: zgreen.Requester(end, pump=pump),
        lambda end: zgreen.Requester(connect=end, pump=pump),
        lambda end: zgreen.Proxy(end, "tcp://127.0.0.1:*", pump=pump),
        lambda end: zgreen.Proxy("tcp://127.0.0.1:*", end, pump=pump),
        lambda end: zgreen.Proxy("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", capture=end, pump=pump),
        lambda end: zgreen.Proxy(frontend_connect=end, backend="tcp://127.0.0.1:*", pump=pump),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=r"has no transport|the port must be"):
            call(endpoint)
    assert pump.channels == (channel,)


def test_port_zero_is_what_libzmq_makes_of_it(pump):
    """Any free port for a bind, an attempt without end for a connect."""
    channel = zgreen.Channel("PULL", bind="tcp://127.0.0.1:0", pump=pump)
    assert int(channel.last_endpoint.rpartition(":")[2]) > 0
    zgreen.Channel("PULL", connect="tcp://127.0.0.1:0", pump=pump)


WRONG_TIMES = [
    *((value, TypeError) for value in ("1", b"1", True, False, [], 1j)),
    *((value, ValueError) for value in (-1, -0.001, -math.inf, math.nan)),
]


@pytest.mark.parametrize(("value", "error"), WRONG_TIMES)
def test_a_time_that_cannot_be_meant_is_an_error_that_names_it(value, error):
    for check in (lambda: check_seconds("linger", value), lambda: check_timeout(value)):
        with pytest.raises(error, match=r"linger|'timeout'") as caught:
            check()
        assert (type(value).__name__ if error is TypeError else repr(value)) in str(caught.value)


def test_times_that_pass():
    for value in (None, 0, 0.0, 1, 0.5, 10**9):
        check_seconds("timeout", value)
        check_timeout(value)
    check_timeout(math.inf)  # for gevent's queues that is no limit
    with pytest.raises(ValueError, match="finite"):
        check_seconds("linger", math.inf)


@pytest.mark.parametrize(("value", "error"), WRONG_TIMES)
def test_all_that_take_a_time_check_it(pump, value, error):
    """In time: with an empty queue, and a full one."""
    pull = zgreen.Channel("PULL", bind="tcp://127.0.0.1:*", pump=pump)
    push = zgreen.Channel("PUSH", send_maxsize=1, options={zmq.LINGER: 0}, pump=pump)
    push.put("it is full now")
    req = zgreen.Channel("REQ", pump=pump)
    pub = zgreen.Channel("PUB", pump=pump)
    requester = zgreen.Requester(pump=pump)
    sub = zgreen.Fanout(pull).subscribe("")
    server = zgreen.serve(zgreen.Channel("REP", pump=pump), bytes)
    proxy = zgreen.Proxy("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", pump=pump)
    calls = {
        "get": lambda: pull.get(timeout=value),
        "put": lambda: push.put("x", timeout=value),
        "flush": lambda: push.flush(value),
        "close": lambda: push.close(value),
        "request": lambda: req.request("x", value),
        "wait_connected": lambda: push.wait_connected(value),
        "wait_subscriber": lambda: pub.wait_subscriber("", value),
        "Requester.request": lambda: requester.request("x", value),
        "Requester.submit": lambda: requester.submit("x", value),
        "Requester.close": lambda: requester.close(value),
        "Subscription.get": lambda: sub.get(timeout=value),
        "select": lambda: zgreen.select(sub, timeout=value),
        "Server.stop": lambda: server.stop(value),
        "Server.join": lambda: server.join(value),
        "Proxy.join": lambda: proxy.join(value),
        "Proxy.close": lambda: proxy.close(value),
        "Proxy.pause": lambda: proxy.pause(value),
        "Proxy.statistics": lambda: proxy.statistics(value),
        "Pump.shutdown": lambda: pump.shutdown(value),
        "Pump.shutdown timeout": lambda: pump.shutdown(timeout=value),
    }
    for name, call in calls.items():
        with gevent.Timeout(5, AssertionError(f"{name} waits")), pytest.raises(error, match=r"timeout|linger"):
            call()


def test_text_as_an_option_is_shown_as_it_was_given(pump):
    with pytest.raises(TypeError, match=r"^expected a number, got text \(option SNDHWM = 'x'\)$"):
        zgreen.Channel("PUSH", options={zmq.SNDHWM: "x"}, pump=pump)
    with pytest.raises(TypeError, match=r"option SNDHWM = b'x'"):
        zgreen.Channel("PUSH", options={zmq.SNDHWM: b"x"}, pump=pump)
    with pytest.raises(TypeError, match=r"^frontend: .*not str|option SNDHWM = 'x'"):
        zgreen.Proxy("inproc://a", "inproc://b", frontend_options={zmq.SNDHWM: "x"}, pump=pump).start()
    channel = zgreen.Channel("DEALER", options={zmq.IDENTITY: "näme"}, pump=pump)
    assert channel.getsockopt(zmq.IDENTITY) == "näme".encode()
    channel.setsockopt(zmq.IDENTITY, "other")
    assert channel.getsockopt(zmq.IDENTITY) == b"other"


@pytest.mark.once
def test_topics():
    """None: no topic. Text is sent as UTF-8; "" is a topic, that of all messages."""
    assert topic_of("näme") == topic_of("näme".encode()) == "näme".encode()
    assert [topics_of(value) for value in (None, "", b"", "ab", b"ab")] == [(), (b"",), (b"",), (b"ab",), (b"ab",)]
    assert topics_of(["a", b"b"]) == topics_of(iter(("a", b"b"))) == (b"a", b"b")
    assert topics_of([]) == ()
    for check, value in ((topic_of, None), (topic_of, 1), (topics_of, 1), (topics_of, [1]), (topics_of, [["a"]])):
        with pytest.raises(TypeError, match="topic"):
            check(value)


@pytest.mark.once
def test_options():
    assert options_of(None) == options_of({}) == ()
    assert options_of({zmq.SNDHWM: 5, int(zmq.LINGER): 0}) == ((int(zmq.SNDHWM), 5), (int(zmq.LINGER), 0))
    for value in ([(zmq.SNDHWM, 5)], 5, "SNDHWM"):
        with pytest.raises(TypeError, match=f"options must be a mapping .*, not {type(value).__name__}"):
            options_of(value)
    for option in ("SNDHWM", True, 1.0, None):
        with pytest.raises(TypeError, match="an option is one of zmq's constants"):
            options_of({option: 1})


@pytest.mark.once
def test_endpoints():
    assert endpoints_of("bind", None) == endpoints_of("bind", []) == ()
    assert endpoints_of("bind", iter(["inproc://a", "inproc://b"])) == ("inproc://a", "inproc://b")
    for value in (5, [5], [b"inproc://a"]):
        with pytest.raises(TypeError, match=r"^bind must be"):
            endpoints_of("bind", value)


@pytest.mark.once
def test_sizes_and_limits():
    assert [check_maxsize("maxsize", value) for value in (None, 1, 10**9)] == [None, 1, 10**9]
    check_limit(1)
    for check in (lambda value: check_maxsize("limit", value), check_limit):
        for value in (0, -1):
            with pytest.raises(ValueError, match=f"^limit must be 1 or more, not {value}"):
                check(value)
        for value in (True, False, 1.0, "1", b"1"):
            with pytest.raises(TypeError, match=f"^limit must be an int.*, not {type(value).__name__}"):
                check(value)
    with pytest.raises(TypeError, match="NoneType"):
        check_limit(None)


@pytest.mark.once
def test_what_becomes_of_messages_without_room():
    for value in OVERFLOWS:
        check_overflow(value, OVERFLOWS)
    for value in ("BLOCK", "", None, 1, "drop"):
        with pytest.raises(
            ValueError, match=f"^overflow must be one of block, drop_oldest, drop_newest, not {value!r}$"
        ):
            check_overflow(value, OVERFLOWS)
