"""zmq.green: pyzmq's own sockets for gevent, one greenlet at a time in each direction, so sharing needs a Semaphore.

Where one greenlet alone sends or receives there is none, as a user would not need it. With zgreen.green in the place of
zmq.green this is a candidate of zgreen's, see zgreen_channel; then there is none at all.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import zmq.green as zmq
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.queue import Full, Queue

from . import _sse
from ._endpoints import endpoints_of
from ._fan_out import announce, count
from ._greenlets import measure
from ._meter import Meter, Opening, Sending, age, allow_descriptors, clock, stamped, work
from ._protocol import END, batch_of, done, main, messages_of, say, share_of
from ._wsgi import serve

CONTEXT = zmq.Context()  # kept: one that is collected waits for its sockets


def socket_of(kind: int, endpoint: str, hwm: int = 1000) -> Any:
    socket = CONTEXT.socket(kind)
    socket.sndhwm = socket.rcvhwm = hwm
    socket.connect(endpoint)
    return socket


def needs_lock(greenlets: int) -> bool:
    return greenlets > 1 and zmq.__name__ == "zmq.green"


def lock_for(greenlets: int) -> Any:
    return Semaphore() if needs_lock(greenlets) else contextlib.nullcontext()


def sender(spec: SimpleNamespace, socket: Any) -> Any:
    """A function that puts one message, from any greenlet."""
    send = socket.send if spec.frames == 1 else socket.send_multipart
    if not needs_lock(spec.greenlets):
        return send
    lock = Semaphore()

    def put(message: Any) -> None:
        with lock:
            send(message)

    return put


def finish(socket: Any, sending: Sending, greenlets: list[gevent.Greenlet[..., Any]]) -> dict[str, float]:
    sent = sum(g.get() for g in greenlets)
    socket.send(END)
    done()
    return sending.figures(sent)


def push(spec: SimpleNamespace) -> dict[str, float]:
    message, batch, share = messages_of(spec), batch_of(spec), share_of(spec)
    socket = socket_of(zmq.PUSH, spec.endpoint, spec.hwm)
    put = sender(spec, socket)
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds

    def greenlet() -> int:
        sent = 0
        while sent < share and (spec.messages or clock() < deadline):
            for _ in range(batch):
                put(message)
            sent += batch
        return sent

    return finish(socket, sending, [gevent.spawn(greenlet) for _ in range(spec.greenlets)])


def pull(spec: SimpleNamespace) -> dict[str, float]:
    batch, over = batch_of(spec), Event()
    meter = Meter(spec, over.set)
    socket = socket_of(zmq.PULL, spec.endpoint, spec.hwm)
    receive = socket.recv if spec.frames == 1 else socket.recv_multipart
    lock = lock_for(spec.greenlets)

    def alone() -> None:
        while not meter.done:
            for _ in range(batch):
                receive()
            meter.add(batch)

    def shared() -> None:
        while not meter.done:
            for _ in range(batch):
                with lock:
                    receive()
            meter.add(batch)

    function = shared if needs_lock(spec.greenlets) else alone
    return measure(meter, over, [gevent.spawn(function) for _ in range(spec.greenlets)])


def round_trip(spec: SimpleNamespace) -> dict[str, float]:
    over = Event()
    meter = Meter(spec, over.set)
    socket = socket_of(zmq.DEALER, spec.endpoint)
    sending, receiving = lock_for(spec.in_flight), lock_for(spec.in_flight)

    def greenlet() -> None:
        while not meter.done:
            with sending:
                socket.send(stamped(spec.size))
            with receiving:
                reply = socket.recv()
            meter.latencies.append(age(reply))
            meter.add(1)

    return measure(meter, over, [gevent.spawn(greenlet) for _ in range(spec.in_flight)])


def busy_hub(spec: SimpleNamespace) -> dict[str, float]:
    socket = socket_of(zmq.PUSH, spec.endpoint)
    put = sender(spec, socket)
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds

    def greenlet() -> int:
        sent = 0
        while clock() < deadline:
            work(spec.work_us)
            put(stamped(spec.size))
            sent += 1
            gevent.sleep(0)
        return sent

    return finish(socket, sending, [gevent.spawn(greenlet) for _ in range(spec.greenlets)])


def requests(spec: SimpleNamespace) -> dict[str, float]:
    """One REQ, one request at a time."""
    over = Event()
    meter = Meter(spec, over.set)
    socket = socket_of(zmq.REQ, spec.endpoint)

    def greenlet() -> None:
        while not meter.done:
            socket.send(stamped(spec.size))
            meter.latencies.append(age(socket.recv()))
            meter.add(1)

    return measure(meter, over, [gevent.spawn(greenlet)])


def refused(spec: SimpleNamespace) -> dict[str, float]:
    """NOBLOCK on a PUSH without a peer."""
    socket = CONTEXT.socket(zmq.PUSH)

    def attempt() -> None:
        try:
            socket.send(b"x", zmq.NOBLOCK)
        except zmq.Again:
            pass

    return repeated(spec, attempt)


def polled(spec: SimpleNamespace) -> dict[str, float]:
    """A look at a PULL that receives nothing."""
    socket = socket_of(zmq.PULL, spec.endpoint + ".idle")
    return repeated(spec, lambda: socket.poll(0))


def repeated(spec: SimpleNamespace, call: Callable[[], object]) -> dict[str, float]:
    over = Event()
    meter = Meter(spec, over.set)

    def greenlet() -> None:
        while not meter.done:
            begun = time.perf_counter_ns()
            call()
            meter.latencies.append(time.perf_counter_ns() - begun)
            meter.add(1)

    return measure(meter, over, [gevent.spawn(greenlet)])


def wsgi(spec: SimpleNamespace) -> dict[str, float]:
    socket = socket_of(zmq.PUSH, spec.endpoint)
    return serve(spec, sender(spec, socket), lambda: None)


def allow_many() -> None:
    allow_descriptors()
    CONTEXT.set(zmq.MAX_SOCKETS, 10_000)


def many_sockets(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    over = Event()
    meter = Meter(spec, over.set)
    sockets = [socket_of(zmq.PULL, endpoint) for endpoint in endpoints_of(spec)]

    def greenlet(socket: Any) -> None:
        while not meter.done:
            socket.recv()
            meter.add(1)

    return measure(meter, over, [gevent.spawn(greenlet, socket) for socket in sockets])


def idle(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    endpoints = endpoints_of(spec)
    sockets = [socket_of(zmq.PULL, endpoints[0])]
    opening = Opening()
    sockets += [socket_of(zmq.PULL, endpoint) for endpoint in endpoints[1:]]
    getters = [gevent.spawn(socket.recv) for socket in sockets] if spec.getters else []
    gevent.sleep(spec.settle)
    opening.opened(len(sockets) - 1)
    gevent.sleep(spec.seconds)
    figures = opening.figures()
    say("done")
    gevent.killall(getters)
    return figures


def subscribed(spec: SimpleNamespace) -> Any:
    socket = socket_of(zmq.SUB, spec.endpoint, spec.hwm)
    socket.subscribe(b"")
    return socket


def fan_out(spec: SimpleNamespace) -> dict[str, float]:
    return fan_out_to_sockets(spec) if spec.socket_each else fan_out_to_queues(spec)


def fan_out_to_queues(spec: SimpleNamespace) -> dict[str, float]:
    """As bounded, and as patient with those who wait, as zgreen's subscriptions are."""
    queues: list[Queue[bytes]] = [Queue(64) for _ in range(spec.greenlets)]
    socket = subscribed(spec)
    announce(spec, 1)
    gevent.spawn(hand_out, socket, queues)
    return count(spec, [queue.get for queue in queues])


def hand_out(socket: Any, queues: list[Queue[bytes]]) -> None:
    """Put each message to all queues, of which there are all when the first one comes."""
    message = socket.recv()
    puts = [queue.put_nowait for queue in queues]
    while True:
        for put in puts:
            try:
                put(message)
            except Full:
                pass  # drop_newest
        gevent.sleep(0)
        message = socket.recv()


def fan_out_to_sockets(spec: SimpleNamespace) -> dict[str, float]:
    """As many as there are descriptors for: each socket has one, and each connection one."""
    allow_descriptors()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    number = min(spec.greenlets, (descriptors - 100) // 2)
    CONTEXT.set(zmq.MAX_SOCKETS, number + 100)
    sockets = [subscribed(spec) for _ in range(number)]
    announce(spec, number)
    return count(spec, [socket.recv for socket in sockets])


def sse(spec: SimpleNamespace) -> dict[str, float]:
    if spec.socket_each:
        allow_descriptors()
        CONTEXT.set(zmq.MAX_SOCKETS, spec.clients + 100)
        return _sse.serve(spec, lambda: map(_sse.event, iter(subscribed(spec).recv, None)), spec.clients)
    queues: list[Queue[bytes]] = []
    gevent.spawn(hand_out, subscribed(spec), queues)

    def body() -> Iterator[bytes]:
        queues.append(Queue(64))
        return map(_sse.event, iter(queues[-1].get, None))

    return _sse.serve(spec, body, 1)


FUNCTIONS = {
    function.__name__: function
    for function in (push, pull, round_trip, busy_hub, wsgi, many_sockets, idle, fan_out, sse)
}  # fmt: skip
# of the scenario "green"
GREEN = {f"green_{function.__name__}": function for function in (push, pull, busy_hub, requests, refused, polled)}

if __name__ == "__main__":
    main(FUNCTIONS | GREEN)
