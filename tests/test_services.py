"""Each program of examples/services/, as a user runs it: with real servers and clients, told to end by a signal."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest
from programs import Program
from servers import EventSource
from support import LIMIT, ROOT

SERVICES = ROOT / "examples" / "services"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it is told to end by a signal")


def test_every_example_is_shown():
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for path in SERVICES.iterdir():
        if path.is_file():
            assert f"examples/services/{path.name}" in pages, path.name


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_sse(signum):
    with Program(str(SERVICES / "sse.py"), "0") as program:
        port = int(program.line_with("http").rstrip("/").rpartition(":")[2])
        page = EventSource(port, "/")
        assert b"EventSource" in page.response.read()
        page.close()
        streams = [EventSource(port, "/events") for _ in range(3)]
        received = [client.events() for client in streams]
        assert all(next(events)[1].startswith("tick ") for events in received)
        program.signal(signum)
        if signum == signal.SIGTERM:
            assert all(event[1].startswith("tick ") for events in received for event in events)
            assert all(client.retry for client in streams)
            assert program.end() == 0
        for client in streams:
            client.close()
        program.end()
        if signum == signal.SIGTERM:
            assert "Traceback" not in program.output


def test_status_page():
    pytest.importorskip("bottle")
    with Program(str(SERVICES / "status_page.py"), "0") as program:
        port = int(program.line_with("http").rstrip("/").rpartition(":")[2])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=LIMIT) as answer:
            told = json.load(answer)
        assert {channel["type"] for channel in told["pumps"][0]["channels"]} <= {"PULL", "PUSH"}
        assert told["process"] == program.pid
        program.signal(signal.SIGTERM)
        assert program.end() == 0
        assert "Traceback" not in program.output
