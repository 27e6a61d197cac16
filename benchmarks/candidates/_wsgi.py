"""A gevent WSGI server, each request of which pushes one message in the way that the candidate gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from ._protocol import END, done, say

BODY = b"accepted\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def serve(spec: SimpleNamespace, push: Callable[[bytes], Any], flush: Callable[[], Any]) -> dict[str, float]:
    """Serve until the runner writes a line; *push* may be called by any number of greenlets at once."""
    payload = b"x" * spec.size
    sent = 0

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:  # noqa: ARG001
        nonlocal sent
        if spec.push:
            push(payload)
            sent += 1
        start_response("202 Accepted", HEADERS)
        return [BODY]

    # pywsgi sends headers and body in two pieces: without TCP_NODELAY, which accepted connections inherit from the
    # listener, the second waits 40 ms for the client's delayed acknowledgement, and that is all one would measure.
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    server = WSGIServer(listener, application, log=None, spawn=Pool())  # stop() waits for the requests of a pool only
    server.start()
    say(f"port {server.server_port}")
    gevent.get_hub().threadpool.apply(sys.stdin.readline)  # "stop", from the runner, when the load is over
    server.stop(timeout=5)
    push(END)
    flush()
    done()
    return {"sent": sent}
