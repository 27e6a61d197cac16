"""Blocking pyzmq: one thread, one loop, no greenlets. It does not care how many greenlets a variant asks for."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import zmq

from ._endpoints import endpoints_of
from ._meter import Meter, Opening, Sending, age, allow_descriptors, clock, stamped, work
from ._protocol import END, batch_of, done, main, messages_of

CONTEXT = zmq.Context()  # kept: one that is collected waits for its sockets


def socket_of(kind: int, endpoint: str, hwm: int = 1000) -> Any:
    socket = CONTEXT.socket(kind)
    socket.sndhwm = socket.rcvhwm = hwm
    socket.connect(endpoint)
    return socket


def finish(socket: Any, sending: Sending, sent: int) -> dict[str, float]:
    socket.send(END)
    done()
    return sending.figures(sent)


def push(spec: SimpleNamespace) -> dict[str, float]:
    message, batch = messages_of(spec), batch_of(spec)
    socket = socket_of(zmq.PUSH, spec.endpoint, spec.hwm)
    send = socket.send if spec.frames == 1 else socket.send_multipart
    limit = spec.messages or float("inf")
    sent = 0
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds
    while sent < limit and (spec.messages or clock() < deadline):
        for _ in range(batch):
            send(message)
        sent += batch
    return finish(socket, sending, sent)


def pull(spec: SimpleNamespace) -> dict[str, float]:
    batch, meter = batch_of(spec), Meter(spec)
    socket = socket_of(zmq.PULL, spec.endpoint, spec.hwm)
    receive = socket.recv if spec.frames == 1 else socket.recv_multipart
    while not meter.done:
        for _ in range(batch):
            receive()
        meter.add(batch)
    done()
    return meter.figures()


def round_trip(spec: SimpleNamespace) -> dict[str, float]:
    """As many in flight as asked for, by one thread: a reply comes, the next request goes."""
    meter = Meter(spec)
    socket = socket_of(zmq.DEALER, spec.endpoint)
    for _ in range(spec.in_flight):
        socket.send(stamped(spec.size))
    while not meter.done:
        meter.latencies.append(age(socket.recv()))
        meter.add(1)
        socket.send(stamped(spec.size))
    done()
    return meter.figures()


def busy_hub(spec: SimpleNamespace) -> dict[str, float]:
    """The same work and the same puts, but nothing runs in between: no greenlets to switch."""
    socket = socket_of(zmq.PUSH, spec.endpoint)
    sent = 0
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds
    while clock() < deadline:
        work(spec.work_us)
        socket.send(stamped(spec.size))
        sent += 1
    return finish(socket, sending, sent)


def wsgi(spec: SimpleNamespace) -> dict[str, float]:
    """A gevent server that blocks its whole hub whenever ZeroMQ does; with push=0, one that pushes nothing."""
    from ._wsgi import serve  # no gevent in the other scenarios

    socket = socket_of(zmq.PUSH, spec.endpoint)
    return serve(spec, socket.send, lambda: None)


def many_sockets(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    meter, poller = Meter(spec), zmq.Poller()
    for endpoint in endpoints_of(spec):
        poller.register(socket_of(zmq.PULL, endpoint), zmq.POLLIN)
    while not meter.done:
        for socket, _ in poller.poll():
            socket.recv()
            meter.add(1)
    done()
    return meter.figures()


def allow_many() -> None:
    allow_descriptors()
    CONTEXT.set(zmq.MAX_SOCKETS, 10_000)


def idle(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    endpoints = endpoints_of(spec)
    sockets = [socket_of(zmq.PULL, endpoints[0])]
    opening = Opening()
    sockets += [socket_of(zmq.PULL, endpoint) for endpoint in endpoints[1:]]
    time.sleep(spec.settle)
    opening.opened(len(sockets) - 1)
    time.sleep(spec.seconds)
    figures = opening.figures()
    done()
    return figures


if __name__ == "__main__":
    main({function.__name__: function
          for function in (push, pull, round_trip, busy_hub, wsgi, many_sockets, idle)})  # fmt: skip
