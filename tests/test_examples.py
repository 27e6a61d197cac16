"""Each file of examples/ is run as a user runs it, in real processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from programs import Program, run
from support import LIMIT, ROOT

CLIENTS, MESSAGES = range(5), range(3)  # of fan_in.py
WORDS = Counter(f"hey {client} {count}" for client in CLIENTS for count in MESSAGES)


def example(name: str) -> str:
    return str(ROOT / "examples" / name)


def test_every_example_is_tested() -> None:
    """Whoever adds an example adds a test here."""
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {
        "curve.py", "fan_in.py", "fan_out.py", "logging_pub.py", "monitor.py", "ping_pong.py", "proxy.py", "pub_sub.py",
        "requester.py", "select_any.py", "serve.py", "tracing.py", "wsgi_push.py",
    }  # fmt: skip


def test_ping_pong() -> None:
    assert run(example("ping_pong.py")) == ["ping", "pong"] * 3


def readme_code(number: int) -> str:
    """The program of the README with this *number*, from 0 on."""
    return (ROOT / "README.md").read_text().split("```python\n")[number + 1].split("```", 1)[0]


def test_the_first_program_of_the_readme_is_the_example() -> None:
    """The WSGI application of examples/howto/, which test_howto runs under gunicorn and uWSGI."""
    code = Path(example("howto/prefork.py")).read_text()
    assert readme_code(0).strip() == code[code.index("import os") : code.index("try:")].strip()


def test_the_one_line_for_programs_of_zmq_green() -> None:
    before = Path(example("howto/zmq_green_before.py")).read_text()
    old = "import zmq.green as zmq"
    assert before.count(old) == 1
    assert run("-c", before.replace(old, readme_code(1).strip())) == ["result 285", "nothing more"]
    assert run("-m", "zgreen.green", example("howto/zmq_green_before.py")) == ["result 285", "nothing more"]


def test_the_channel_of_the_readme() -> None:
    assert run("-c", readme_code(2)) == ["b'a message'", "[b'header', b'body']"]


def test_the_queues_of_the_readme() -> None:
    assert run("-c", readme_code(3)) == ["ping", "pong"]


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https:") or (ROOT / target).exists(), target


def check_fan_in(lines: list[str]) -> None:
    """All messages, each once, each client's in order, and nobody waited for the server to bind."""
    bound = lines.index("server has bound")
    assert sorted(lines[:bound]) == [f"client {client} has connected and put" for client in CLIENTS]
    heard = lines[bound + 1 :]
    assert Counter(heard) == WORDS
    for client in CLIENTS:
        own = [line for line in heard if line.startswith(f"hey {client} ")]
        assert own == [f"hey {client} {count}" for count in MESSAGES]


def test_fan_in_within_one_process() -> None:
    check_fan_in(run(example("fan_in.py")))


def test_fan_in_from_other_processes_over_tcp() -> None:
    with reserved_port() as port:
        check_fan_in(run(example("fan_in.py"), f"tcp://127.0.0.1:{port}"))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="ipc endpoints are Unix sockets")
def test_fan_in_from_other_processes_over_ipc(tmp_path: Path) -> None:
    check_fan_in(run(example("fan_in.py"), f"ipc://{os.path.relpath(tmp_path / 'fan-in')}"))


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port that stays free until the program binds it.

    A socket that is bound but does not listen keeps the system from giving the port to somebody else, and
    SO_REUSEADDR on both lets ZeroMQ, which sets it, bind and listen all the same.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_pub_sub() -> None:
    lines = run(example("pub_sub.py"))
    for topic in ("news", "weather"):
        got = [line for line in lines if line.startswith(f"subscriber to {topic}: ")]
        assert got == [f"subscriber to {topic}: {topic} number {number}" for number in range(3)]
    assert not [line for line in lines if "gossip" in line]


def test_requester() -> None:
    assert run(example("requester.py")) == [
        "2 + 2 = 4",
        "10 requests at once: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
        "the server is killed; a reply? False",
        "another server answers: 3 + 4 = 7",
    ]


def test_serve() -> None:
    assert run(example("serve.py")) == [
        "upper: HELLO",
        "10 slow requests took the time of one",
        "error: ZeroDivisionError",
        "all handlers have finished: True",
    ]


def test_fan_out() -> None:
    lines = run(example("fan_out.py"))
    gold = [f"gold {price}" for price in range(5)]
    expected = {"gold": gold, "all": [*gold, "tin 5"], "slow": [*gold[-2:], "lost 3"], "subscribed to": ["gold tin"]}
    for name, texts in expected.items():
        assert [line for line in lines if line.startswith(f"{name}: ")] == [f"{name}: {text}" for text in texts]
    assert len(lines) == 15


def test_select_any() -> None:
    lines = run(example("select_any.py"))
    for name, word in (("job", "dig"), ("news", "news"), ("tick", "tick")):
        own = [line for line in lines if line.startswith(f"{name}: ") or line == f"no more {name}"]
        assert own == [*(f"{name}: {word} {number}" for number in range(3)), f"no more {name}"]
    assert len(lines) == 12


def test_curve() -> None:
    assert run(example("curve.py")) == [
        "stranger: HANDSHAKE_FAILED_AUTH ZAP status 400: refused",
        "friend: HANDSHAKE_SUCCEEDED",
        "hello from the friend",
    ]


def test_monitor() -> None:
    lines = run(example("monitor.py"))
    assert [line for line in lines if not line.startswith("server: ")] == [
        "a peer there at once: False",
        "connected: True",
        "subscribed: True",
        "news: the first message is not lost",
    ]
    assert {"server: ACCEPTED", "server: HANDSHAKE_SUCCEEDED"} <= set(lines)


def test_logging_pub() -> None:
    assert run(example("logging_pub.py")) == ["shop.ERROR orders: order 5 is lost", "sent 2, dropped 0"]


def test_proxy() -> None:
    lines = run(example("proxy.py"))
    for server in "123":
        for topic in ("gold", "tin"):
            got = [line.split(": ")[1] for line in lines if line.startswith(f"server {server}, browser of {topic}: ")]
            assert {line.split()[0] for line in got} == {topic}
            for publisher in ("alice", "bob"):
                prices = [int(line.split()[1]) for line in got if line.endswith(f"from {publisher}")]
                assert len(prices) >= 3
                assert prices == list(range(prices[0], prices[0] + len(prices))), "in order, and none is missing"
    assert "servers ended with [0, 0, 0]" in lines
    assert lines[-1].startswith("proxy: statistics: frontend_received=")


def test_tracing() -> None:
    """One trace for each request, from the sender's span by way of the frame to the receiver's."""
    assert run(example("tracing.py")) == [
        line
        for request in ("one", "two")
        for line in (
            f"request {request}",
            "  in the send queue, within send",
            f"  send, within request {request}",
            "  work, within send",
        )
    ]


def post(port: int, path: str, body: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def port_of(program: Program) -> int:
    return int(program.line_with("serving on").rpartition(":")[2])


def test_wsgi_push_ends_after_the_requests_given() -> None:
    requests = range(20)
    with Program(example("wsgi_push.py"), "--requests", str(len(requests))) as program:
        port = port_of(program)
        with ThreadPoolExecutor(5) as threads:
            status = threads.map(lambda number: post(port, f"/path/{number}", f"body {number}"), requests)
            assert list(status) == [202] * len(requests)
        assert program.end() == 0, program.output
        got = [line for line in program.lines if line.startswith("worker got")]
        assert sorted(got) == sorted(f"worker got /path/{number} body {number}" for number in requests)


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_wsgi_push_serves_until_told_to_end(number: signal.Signals) -> None:
    with Program(example("wsgi_push.py")) as program:
        port = port_of(program)
        assert post(port, "/a", "b") == 202
        program.line_with("worker got /a b")
        program.signal(number)
        assert program.end() == 0, program.output
        assert "stopping" in program.lines
        assert "Traceback" not in program.output


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_every_example_ends_well_at_sigterm(name: str, tmp_path: Path) -> None:
    """And leaves no process behind: one would hold the output open."""
    arguments = [f"ipc://{os.path.relpath(tmp_path / 'fan-in')}"] if name == "fan_in.py" else []
    with Program(example(name), *arguments) as program:
        program.line_with("")  # it is at work
        program.signal(signal.SIGTERM)
        assert program.end() in (0, 128 + signal.SIGTERM, -signal.SIGTERM), program.output
        assert not program.over_limit, program.output
        assert "Traceback" not in program.output
