"""Each file of examples/howto/ is run as a user runs it, in real processes: the how-to pages show these files."""

from __future__ import annotations

import ast
import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from programs import environment, run
from support import LIMIT, ROOT, raw_socket
from test_examples import reserved_port

import zgreen

pytestmark = pytest.mark.once


HOWTO = ROOT / "examples" / "howto"
LOG = re.compile(r"> ?: \d+ messages? (was|were) not sent")

# What each prints; it ends by itself. zgreen's own log, on standard error, is left out.
OUTPUT = {
    "first": ["hello"],
    "which_engine": None,
    "patched": [
        "from a greenlet",
        "from a real OS thread",
        "from a threading.Thread, which is a greenlet now",
    ],
    "exit": [
        "libzmq has taken all of it: True",
        "not sent: 0",
        "got: 100",
        "got from a process that just ended: 100",
        "not sent: b'lost' ClosedError",
        "not sent: 1",
    ],
    "buffers": [
        "put 40: 10 here, 10 there, the rest in ZeroMQ",
        "10 + 10 + 10 + 10 = 40",
        "put 4: 1 here, 1 there, the rest in ZeroMQ",
        "1 + 1 + 1 + 1 = 4",
    ],
    "timeouts": [
        "Empty: no message in 0.1 s",
        "Full: no room in 0.1 s; the second message was not put",
        "flushed: False",
        "gevent.Timeout: the third message was not put either",
        "got: first",
        "TimeoutError: no reply in 0.1 s; the next request may be made at once",
    ],
    "many_sockets": ["sum: 4950", "channels of the pump: 200", "command: stop"],
    "collector": ["b'an order' b'another order'", 'zgreen_pump_received_messages_total{pump="shop"} 2.0'],
    "green": ["45"],
    "zmq_green_before": ["result 285", "nothing more"],
    "zmq_green_after": ["result 285", "nothing more"],
    "zmq_async": [
        "alts! would be zgreen.select: 5",
        "<!! is get: 9",
        "poll! is get_nowait",
        "a closed channel gives no nil, but ShutDown",
        "the server has ended",
    ],
    "counts": ["1 message of 10 bytes", "from JSON: True", "1 channel is open, 1 message was sent", "True"],
    "why_slow": [
        "the hub is late: True",
        "0 put and not sent, 100 in ZeroMQ, 100 received and not got",
        "0 put and not sent, 0 in ZeroMQ, 0 received and not got",
    ],
    "request": ["reply to ping", "no reply in 0.1 s", "reply to next"],
    "certificates": ["an order", "a note", "allowed: 2"],
    "gevent_wait": ["the channel is ready: True", "hello", "the event is set: True"],
    "why_stuck": [
        "<zgreen.Channel PUSH inproc://lonely>: 2 put and not sent, 3 wait to put: no peer, or it does not read",
        "<zgreen.Channel PULL inproc://full>: 1 received, no consumer gets them",
        "<zgreen.Channel PUSH inproc://full>: idle",
        "<zgreen.Channel PULL inproc://quiet>: 1 wait to get: nothing comes",
        "got: 5",
    ],
}


def printed(name: str) -> list[str]:
    return [line for line in run(str(HOWTO / f"{name}.py")) if not LOG.search(line)]


def test_every_example_is_tested() -> None:
    """Whoever adds an example adds its output here."""
    assert {path.stem for path in HOWTO.glob("*.py")} == {*OUTPUT, "prefork"}


@pytest.mark.parametrize("name", [name for name, lines in OUTPUT.items() if lines is not None])
def test_output(name: str) -> None:
    assert printed(name) == OUTPUT[name]


def test_which_engine() -> None:
    lines = printed("which_engine")
    assert lines[0] in ("engine: python", "engine: native")
    assert lines[1] == f"zgreen {zgreen.__version__} libzmq {zmq.zmq_version()}"


def test_every_example_is_shown() -> None:
    """In a page of docs/: that is what it is for."""
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for path in HOWTO.glob("*.py"):
        assert f"examples/howto/{path.name}" in pages, path.name


PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_code_within_pages(page: Path) -> None:
    """Pages include their code from examples/. What little stands in one itself is Python, of names that there are."""
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "zgreen":
                assert hasattr(zgreen, node.attr) or importlib.util.find_spec(f"zgreen.{node.attr}"), node.attr


REQUESTS = 20


def commands(server: str) -> list[str]:
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
        return [sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "2", "--bind", "127.0.0.1:0",
                "prefork:application"]  # fmt: skip
    uwsgi = shutil.which("uwsgi", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if uwsgi is None:
        pytest.skip("uWSGI is not installed")
    # With --lazy-apps instead it works as well, but a worker that is told to end while it loads takes a minute to.
    return [uwsgi, "--master", "--gevent", "100", "--processes", "2", "--http-socket", "127.0.0.1:0",
            "--module", "prefork", "--virtualenv", sys.prefix, "--die-on-term"]  # fmt: skip


LISTENS = {"gunicorn": r"Listening at: http://127\.0\.0\.1:(\d+)", "uwsgi": r"bound to TCP address 127\.0\.0\.1:(\d+)"}


@pytest.mark.skipif(os.name != "posix", reason="prefork servers fork")
@pytest.mark.parametrize("server", LISTENS)
def test_prefork(server: str, tmp_path: Path) -> None:
    """What was put when the workers were told to end arrives, although the consumer only comes then."""
    with reserved_port() as port:
        endpoint = f"tcp://127.0.0.1:{port}"
        with started(server, endpoint, tmp_path) as (process, http_port):
            for number in range(REQUESTS):
                connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=LIMIT)
                connection.request("GET", f"/{number}")
                assert connection.getresponse().status == 202
                connection.close()
            process.send_signal(signal.SIGTERM)
            with raw_socket(zmq.PULL, bind=endpoint) as pull:
                got = [pull.recv_multipart() for _ in range(REQUESTS)]
    # Its own end is not waited for: a worker that was still starting may not have heard of it (see test_prefork.py).
    assert Counter(path for _, path in got) == Counter(f"/{number}".encode() for number in range(REQUESTS))


@contextlib.contextmanager
def started(server: str, endpoint: str, folder: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """The server's process and its port, once it listens."""
    log = folder / "log"
    path = os.pathsep.join([str(HOWTO), environment()["PYTHONPATH"]])
    with log.open("w") as output:
        process = subprocess.Popen(
            commands(server), cwd=folder, stdout=output, stderr=output, start_new_session=True,
            env={**environment(), "PYTHONPATH": path, "PUSH_TO": endpoint},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(LISTENS[server], log.read_text())):
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
