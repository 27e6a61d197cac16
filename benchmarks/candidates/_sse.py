"""A gevent WSGI server of event streams, each of which takes its messages in the way that the candidate gives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from .. import processes, runner
from ._fan_out import announce
from ._meter import Meter, allow_descriptors
from ._protocol import done

HEADERS = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]


def serve(spec: SimpleNamespace, make: Callable[[], Iterable[bytes]], subscribers: int) -> dict[str, float]:
    """Serve as many clients as *spec* says; *make* makes the body of a response. The publisher begins when all are
    there, and *subscribers* sockets have subscribed. What is counted is the events that the server has been given."""
    allow_descriptors()
    over, complete = Event(), Event()
    meter = Meter(spec, over.set)
    streams = 0

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:  # noqa: ARG001
        nonlocal streams
        start_response("200 OK", HEADERS)
        body = make()
        yield b":\n\n"  # so that the headers go
        streams += 1
        if streams == spec.clients:
            complete.set()
        for piece in body:
            meter.add(piece.count(b"data: "))
            yield piece

    server = WSGIServer(("127.0.0.1", 0), application, log=None, backlog=4096, spawn=Pool())
    server.start()
    with processes.signals_wait():
        readers = subprocess.Popen(
            [*runner.python("readers"), str(server.server_port), str(spec.clients)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        with gevent.Timeout(runner.LIMIT):
            complete.wait()
            announce(spec, subscribers)
            over.wait()
    finally:
        readers.kill()
        readers.wait()
    done()
    return {**meter.figures(), "receivers": streams}


def event(message: bytes) -> bytes:
    """As server-sent events have it."""
    return b"data: %s\n\n" % message
