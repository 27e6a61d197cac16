"""The processes of a system whose capacity is computed: ``parts role=server ...``; each answers lines of its input.

server      a Fanout and a stream of server-sent events for each client
publisher   one that waits for its slowest subscriber, and for so many of them before it begins
proxy       zgreen.Proxy, which is libzmq's own
subscriber  counts what comes
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import zmq
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

import zgreen
import zgreen.sse

from .candidates._meter import allow_descriptors, resident
from .candidates._protocol import parse, say

QUEUE = 10_000  # messages: no client is to lose one


def _answer(commands: dict[str, Callable[..., Any]]) -> None:
    """Carry out what each line of standard input says, ``name argument ...``, and say what it gives, as JSON."""
    read = gevent.get_hub().threadpool.apply
    while line := read(sys.stdin.readline):
        name, *arguments = line.split()
        say(json.dumps(commands[name](*arguments)))


def server(spec: SimpleNamespace) -> None:
    # A server that is as busy as is planned for never waits actively; here it is idle in between.
    pump = zgreen.Pump("server", busy_wait=0)
    channel = zgreen.Channel(
        "sub", connect=spec.connect.split(","), options={zmq.RCVHWM: 0}, recv_maxsize=None, pump=pump
    )
    fan = zgreen.Fanout(channel)
    streams: list[zgreen.sse.EventStream] = []
    kept: list[Any] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:  # noqa: ARG001
        start_response("200 OK", zgreen.sse.HEADERS)
        streams.append(zgreen.sse.events(fan.subscribe("", maxsize=QUEUE), heartbeat=1000.0))
        return streams[-1]

    def figures() -> dict[str, float]:
        counts = fan.statistics()
        return {
            "cpu": time.process_time(), "resident": resident(), "streams": len(streams), "received": counts.received,
            "delivered": sum(stream.sent for stream in streams), "dropped": counts.dropped,
        }  # fmt: skip

    def subscribe(number: str) -> None:
        kept.extend(fan.subscribe("") for _ in range(int(number)))

    def receive() -> None:
        """Have all messages come, of which none is the topic that is wanted."""
        kept.append(fan.subscribe("x", exact=True))

    wsgi = WSGIServer(("127.0.0.1", 0), application, log=None, backlog=4096, spawn=Pool())
    wsgi.start()
    say(f"port {wsgi.server_port}")
    _answer({"figures": figures, "subscribe": subscribe, "receive": receive})


def proxy(spec: SimpleNamespace) -> None:
    options = {zmq.XPUB_NODROP: 1, zmq.XPUB_VERBOSE: 1, zmq.LINGER: 0}
    with zgreen.Proxy(spec.frontend, spec.backend, backend_options=options) as passing:

        def figures() -> dict[str, float]:
            return {"cpu": time.process_time(), **passing.statistics()._asdict()}

        say(f"ready {passing.frontend[0]} {passing.backend[0]}")
        _answer({"figures": figures})


def publisher(spec: SimpleNamespace) -> None:
    sockets = [_xpub() for _ in (spec.bind or spec.connect).split(",")]  # one each, so that each can say who is there
    if spec.bind:
        sockets[0].bind(spec.bind)
        say(f"ready {sockets[0].last_endpoint.decode()}")
    else:
        for socket, endpoint in zip(sockets, spec.connect.split(","), strict=True):
            socket.connect(endpoint)
        say("ready -")
    message = b"x" * (spec.size - 1) + b"\t"
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = line.split()
        if name == "wait":
            for socket in sockets:
                socket.recv()  # a subscription
        else:
            _publish(sockets, message, int(arguments[0]), float(arguments[1]))
        say("{}")


def _xpub() -> Any:
    context: Any = zmq.Context.instance()
    socket = context.socket(zmq.XPUB)
    socket.set(zmq.XPUB_NODROP, 1)  # send() waits instead
    return socket


def _publish(sockets: list[Any], message: bytes, number: int, rate: float) -> None:
    """So many messages, *rate* a second; 0: as fast as they are taken."""
    started = time.monotonic()
    for sent in range(number):
        if rate:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
        for socket in sockets:
            socket.send(message)


def subscriber(spec: SimpleNamespace) -> None:
    context: Any = zmq.Context.instance()
    socket = context.socket(zmq.SUB)
    socket.connect(spec.connect)
    socket.subscribe(b"")
    received = 0

    def answers() -> Iterator[None]:
        for _ in sys.stdin:
            say(json.dumps({"received": received}))
            yield

    thread = threading.Thread(target=lambda: list(answers()), daemon=True)
    thread.start()
    say("ready")
    while thread.is_alive():
        if socket.poll(100):
            socket.recv()
            received += 1


if __name__ == "__main__":
    allow_descriptors()
    given = parse(sys.argv[1:])
    {"server": server, "proxy": proxy, "publisher": publisher, "subscriber": subscriber}[given.role](given)
