"""A user's program about channels, typed. Not run: mypy and pyright read it, both strict."""

from __future__ import annotations

from typing import Any

import gevent
import zmq
from gevent.event import AsyncResult
from gevent.queue import Empty, Full, Queue

import zgreen


def push(channel: zgreen.Channel, body: bytes) -> bool:
    try:
        channel.put(["header", body, memoryview(b"tail")], timeout=2.0)
        channel.put_nowait("text")
    except Full:
        return False
    except zgreen.ForkedError:
        raise
    except zgreen.ClosedError as error:
        print(error.source)
        return False
    result: AsyncResult[None] = channel.send(b"checked")
    result.get()
    return channel.flush(timeout=1)


def pull(channel: zgreen.Channel) -> list[bytes]:
    found: list[bytes] = []
    try:
        found.append(channel.get(timeout=0.5))
        found.append(channel.get_nowait())
    except Empty:
        pass
    for message in channel:  # made with multipart=True: each is a list
        frames: list[bytes] = message
        found.extend(frames)
    return found


def configure(socket: zmq.Socket[bytes]) -> None:
    socket.bind("tcp://127.0.0.1:*")


def on_error(error: BaseException, message: Any) -> None:
    print(error, message)


def main() -> None:
    with zgreen.Pump("mine", io_threads=2) as pump:
        listening = zgreen.Channel(
            zmq.PULL, configurator=configure, overflow="drop_oldest", recv_maxsize=None, multipart=True, pump=pump
        )
        pushing = zgreen.Channel("push", connect=[listening.last_endpoint], options={zmq.SNDHWM: 10}, monitor=True)
        pushing.on_error = on_error
        pushing.on_error = None
        connected: bool = pushing.wait_connected(timeout=1.0)
        unsent: int = pushing.close(linger=0.5)
        statistics: zgreen.ChannelStatistics = listening.statistics()
        sent: int = statistics.sent + pump.statistics().sent
        channels: tuple[zgreen.Channel, ...] = pump.channels
        print(connected, unsent, sent, channels, pump.engine, pump.name, pump.context.closed)
        with pushing.monitor(maxsize=10) as events:
            for event in events:
                name: str = event.name
                print(name, event.endpoint, event.value, event.reason)
    total: int = pump.shutdown(linger=1, timeout=3)
    print(total, zgreen.__version__, zgreen.get_pump().closed)


def queues() -> None:
    in_: Queue[str] = Queue(10)
    out: Queue[bytes] = Queue(10)
    channel: zgreen.Channel = zgreen.register_socket(
        in_, out, socket_type=zmq.REQ, configurator=lambda s: s.connect("inproc://a")
    )
    other: zgreen.Channel = zgreen.get_pump().register_socket(in_, out, socket=zmq.Context().socket(zmq.DEALER))
    print(channel.closed, other.getsockopt(zmq.LINGER))
    gevent.wait([channel], timeout=1)
