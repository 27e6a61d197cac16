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
    """Of a channel as it is made by default: one frame or several."""
    found: list[bytes] = []
    try:
        message: bytes | list[bytes] = channel.get(timeout=0.5)
        found.extend([message] if isinstance(message, bytes) else message)
        for other in channel.get_many(100, timeout=1.0):
            found.extend([other] if isinstance(other, bytes) else other)
    except Empty:
        pass
    wrong: bytes = channel.get_nowait()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    found.append(wrong)
    for topic, body in channel:  # a message of one frame is taken apart into its bytes, which are numbers
        found += [topic, body]  # type: ignore[list-item]  # pyright: ignore[reportAssignmentType]
    return found


def pull_frames(channel: zgreen.Channel[list[bytes]]) -> list[bytes]:
    """Of one made with multipart=True: always a list."""
    found: list[bytes] = channel.get(timeout=0.5)
    found += channel.peek()
    found += channel.request("status", timeout=1.0)
    batch: list[list[bytes]] = channel.get_many(100)
    for topic, body in channel:
        found += [topic, body]
    for frames in batch:
        found += frames
    return found


def put_all(channel: zgreen.Channel, messages: list[bytes]) -> int:
    try:
        channel.put_many(messages, timeout=1.0)
    except Full as full:
        return int(getattr(full, "messages_put", 0))
    return len(messages)


def show(channel: zgreen.Channel) -> None:
    if channel and not channel.empty() and not channel.full():
        print(channel.qsize(), len(channel), channel.peek(timeout=0), repr(channel))


def made() -> None:
    one: zgreen.Channel = zgreen.Channel(zmq.SUB, subscribe=["a", b"b"], overflow="drop_newest", send_maxbytes=10**6)
    frames: zgreen.Channel[list[bytes]] = zgreen.Channel(zmq.PULL, multipart=True, recv_maxbytes=10**6)
    zgreen.Channel(zmq.SUB, overflow="newest")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    print(pull(one), pull(frames), pull_frames(frames))
    pull_frames(one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


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
