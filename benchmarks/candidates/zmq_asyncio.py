"""zmq.asyncio: tasks instead of greenlets. Its sockets may be shared by tasks without a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import zmq
import zmq.asyncio

from ._endpoints import endpoints_of
from ._meter import Meter, Opening, Sending, age, allow_descriptors, clock, stamped, work
from ._protocol import END, batch_of, done, main, messages_of, share_of

CONTEXT = zmq.asyncio.Context()  # kept: one that is collected waits for its sockets


def socket_of(kind: int, endpoint: str, hwm: int = 1000) -> Any:
    socket = CONTEXT.socket(kind)
    socket.sndhwm = socket.rcvhwm = hwm
    socket.connect(endpoint)
    return socket


async def finish(socket: Any, sending: Sending, tasks: list[Awaitable[int]]) -> dict[str, float]:
    sent = sum(await asyncio.gather(*tasks))
    await socket.send(END)
    done()
    return sending.figures(sent)


async def push(spec: SimpleNamespace) -> dict[str, float]:
    message, batch, share = messages_of(spec), batch_of(spec), share_of(spec)
    socket = socket_of(zmq.PUSH, spec.endpoint, spec.hwm)
    send = socket.send if spec.frames == 1 else socket.send_multipart
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds

    async def task() -> int:
        sent = 0
        while sent < share and (spec.messages or clock() < deadline):
            for _ in range(batch):
                await send(message)
            sent += batch
        return sent

    return await finish(socket, sending, [task() for _ in range(spec.greenlets)])


async def measure(meter: Meter, over: asyncio.Event, coroutines: list[Any]) -> dict[str, float]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await over.wait()
    done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return meter.figures()


async def pull(spec: SimpleNamespace) -> dict[str, float]:
    batch, over = batch_of(spec), asyncio.Event()
    meter = Meter(spec, over.set)
    socket = socket_of(zmq.PULL, spec.endpoint, spec.hwm)
    receive = socket.recv if spec.frames == 1 else socket.recv_multipart

    async def task() -> None:
        while not meter.done:
            for _ in range(batch):
                await receive()
            meter.add(batch)

    return await measure(meter, over, [task() for _ in range(spec.greenlets)])


async def round_trip(spec: SimpleNamespace) -> dict[str, float]:
    over = asyncio.Event()
    meter = Meter(spec, over.set)
    socket = socket_of(zmq.DEALER, spec.endpoint)

    async def task() -> None:
        while not meter.done:
            await socket.send(stamped(spec.size))
            meter.latencies.append(age(await socket.recv()))
            meter.add(1)

    return await measure(meter, over, [task() for _ in range(spec.in_flight)])


async def busy_hub(spec: SimpleNamespace) -> dict[str, float]:
    socket = socket_of(zmq.PUSH, spec.endpoint)
    sending = Sending()
    deadline = clock() + spec.warm + spec.seconds

    async def task() -> int:
        sent = 0
        while clock() < deadline:
            work(spec.work_us)
            await socket.send(stamped(spec.size))
            sent += 1
            await asyncio.sleep(0)
        return sent

    return await finish(socket, sending, [task() for _ in range(spec.greenlets)])


def allow_many() -> None:
    allow_descriptors()
    CONTEXT.set(zmq.MAX_SOCKETS, 10_000)


async def many_sockets(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    over = asyncio.Event()
    meter = Meter(spec, over.set)
    sockets = [socket_of(zmq.PULL, endpoint) for endpoint in endpoints_of(spec)]

    async def task(socket: Any) -> None:
        while not meter.done:
            await socket.recv()
            meter.add(1)

    return await measure(meter, over, [task(socket) for socket in sockets])


async def idle(spec: SimpleNamespace) -> dict[str, float]:
    allow_many()
    endpoints = endpoints_of(spec)
    sockets = [socket_of(zmq.PULL, endpoints[0])]
    opening = Opening()
    sockets += [socket_of(zmq.PULL, endpoint) for endpoint in endpoints[1:]]
    getters = [asyncio.ensure_future(socket.recv()) for socket in sockets] if spec.getters else []
    await asyncio.sleep(spec.settle)
    opening.opened(len(sockets) - 1)
    await asyncio.sleep(spec.seconds)
    figures = opening.figures()
    done()
    for getter in getters:
        getter.cancel()
    return figures


def run(function: Callable[[SimpleNamespace], Any]) -> Callable[[SimpleNamespace], dict[str, float]]:
    return lambda spec: asyncio.run(function(spec))


if __name__ == "__main__":
    main({function.__name__: run(function)
          for function in (push, pull, round_trip, busy_hub, many_sockets, idle)})  # fmt: skip
