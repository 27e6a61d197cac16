"""HTTP load: wrk where it is installed, else a process of our own (``python -m benchmarks.load port seconds``).

Both keep CONNECTIONS connections busy, each with one request at a time.
"""

from __future__ import annotations

import json
import re
import selectors
import shutil
import socket
import sys
import time
from typing import Any

CONNECTIONS = 64
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def tool() -> str:
    """Which of the two it is, for the record."""
    return "wrk" if shutil.which("wrk") else "own process in Python (wrk is not installed)"


def measure(port: int, seconds: int) -> dict[str, Any]:
    """Load the server on *port*; requests per second, and the latencies' p50 and p99 in microseconds."""
    if shutil.which("wrk"):
        _wrk(port, 1)  # so that neither connections nor caches are new
        return _wrk(port, seconds)
    from . import processes  # here, as the process that is started runs this file alone

    words = [sys.executable, __file__, str(port), str(seconds)]
    result: dict[str, Any] = json.loads(processes.run(words, check=True).stdout)
    return result


def _wrk(port: int, seconds: int) -> dict[str, Any]:
    from . import processes

    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    return parse(processes.run(words, check=True).stdout)


def parse(text: str) -> dict[str, Any]:
    """What wrk has printed."""

    def latency(percent: int) -> float:
        found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
        assert found, text
        return float(found[1]) * _UNITS[found[2]]

    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    assert rate, text
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    return {
        "rate": float(rate[1]), "p50_us": latency(50), "p99_us": latency(99),
        "errors": (errors[1] if errors else "") + (f" {bad[1]} bad responses" if bad else ""),
    }  # fmt: skip


class _Connection:
    """One connection with one request at a time; a response may come in pieces."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ask()

    def ask(self) -> None:
        self._response = b""
        self.asked = time.perf_counter()
        self.socket.sendall(REQUEST)

    def read(self) -> bool | None:
        """Whether the response was a good one; None: it has not all come yet."""
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("the server has closed a connection")
        self._response += piece
        head, end, body = self._response.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if not end or not length or len(body) < int(length[1]):
            return None
        return head.startswith(b"HTTP/1.1 2")


def _own(port: int, seconds: float, warm: float = 0.3) -> dict[str, Any]:
    selector = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        connection = _Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    latencies: list[float] = []
    bad = 0
    begin = time.perf_counter() + warm
    end = begin + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select(1.0):
            good = key.data.read()
            if good is None:
                continue
            bad += not good
            now = time.perf_counter()
            if now >= begin:
                latencies.append(now - key.data.asked)
            key.data.ask()
    latencies.sort()
    if not latencies:
        return {"rate": 0.0, "p50_us": 0.0, "p99_us": 0.0, "errors": "no response at all"}
    return {
        "rate": len(latencies) / seconds,
        "p50_us": latencies[len(latencies) // 2] * 1e6, "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
        "errors": f"{bad} bad responses" if bad else "",
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_own(int(sys.argv[1]), float(sys.argv[2]))))
