"""``zgreen live`` as a test sees it: the process, an event stream over a plain socket, requests."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

from programs import Program
from support import LIMIT


class Live(Program):
    """``python -m zgreen live``; *port* is the page's."""

    def __init__(self, *options: str, start: tuple[str, ...] = ("-m", "zgreen")) -> None:
        super().__init__(*start, "live", "--json", *options)
        self.url: str = json.loads(self.line_with('"url"'))["url"]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def connected(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, value: Any) -> int:
        """Status of the answer."""
        return self.request("POST", path, json.dumps(value).encode(), Content_Type="application/json")[0]

    def say(self, topic: str, text: str) -> None:
        """What the page's form does."""
        assert self.post("/messages", {"topic": topic, "text": text}) == 202


class Events:
    """A browser's event stream; what is not asked for waits in the socket."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(LIMIT)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(b"GET /events HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
        self._file = self._socket.makefile("rb")
        head = list(iter(self._file.readline, b"\r\n"))
        assert b" 200 " in head[0], head
        assert b"Content-Type: text/event-stream\r\n" in head, head
        self._all = self._read()
        self.hello = self.next("hello")

    def _read(self) -> Iterator[tuple[str, Any]]:
        name = "message"
        for line in self._file:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
            elif not field:
                name = "message"

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._all

    def next(self, wanted: str) -> Any:
        """The value of the next event of that name."""
        for name, value in self._all:
            if name == wanted:
                return value
        raise AssertionError(f"the stream ended before an event {wanted}")

    def messages(self) -> Iterator[tuple[str, str]]:
        """Topic and text of each message, without end."""
        for name, value in self._all:
            if name == "message":
                yield tuple(value)

    def statistics_when(self, condition: Any) -> Any:
        """The first statistics that meet *condition*."""
        while not condition(value := self.next("statistics")):
            pass
        return value

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
        self._socket.close()
