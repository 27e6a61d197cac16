"""A user's program of zgreen.green, typed. Not run: mypy and pyright read it, both strict."""

from __future__ import annotations

from typing import Any

import zgreen.green as zmq
from zgreen.green import Context, Poller, Socket


class Counting(zmq.Socket):
    """A subclass with state and a method of its own."""

    sent = 0

    def put(self, body: bytes) -> None:
        self.send(body)
        self.__dict__["sent"] = self.sent + 1


def open_sockets(context: Context) -> tuple[Socket, Socket]:
    push: zmq.Socket = context.socket(zmq.PUSH)
    pull = context.socket(zmq.PULL)
    port: int = pull.bind_to_random_port("tcp://127.0.0.1")
    push.connect(f"tcp://127.0.0.1:{port}")
    with pull.bind("inproc://more") as bound:
        bound.recv()
    push.disconnect(f"tcp://127.0.0.1:{port}")
    pull.unbind("inproc://more")
    return push, pull


def options(socket: Socket) -> bytes:
    socket.linger = 0
    socket.rcvtimeo = socket.SNDTIMEO = 500
    socket.setsockopt(zmq.SNDHWM, 10)
    socket.set(zmq.RCVHWM, 10)
    socket.setsockopt_string(zmq.IDENTITY, "name")
    socket.subscribe("topic")
    socket.hwm = 10
    limit: int = socket.hwm
    value: int | bytes = socket.getsockopt(zmq.LINGER)
    print(limit, value, socket.closed, socket.socket_type)
    return socket.get_string(zmq.IDENTITY).encode()


def messages(socket: Socket) -> list[bytes]:
    socket.send(b"body")
    socket.send(memoryview(b"body"), zmq.SNDMORE)
    socket.send(bytearray(b"body"), flags=zmq.NOBLOCK, copy=True)
    socket.send_string("text")
    socket.send_json({"a": [1, None]})
    socket.send_pyobj(("a", 1))
    socket.send_multipart([b"head", bytearray(b"body"), zmq.Frame(b"tail")])
    body: bytes = socket.recv()
    again: bytes = socket.recv(zmq.NOBLOCK)
    text: str = socket.recv_string()
    length: int = socket.recv_into(bytearray(10), nbytes=5)
    frames: list[bytes] = socket.recv_multipart()
    print(text, length, socket.recv_json(), socket.recv_pyobj(), socket.recv_serialized(len))
    return [body, again, *frames]


def frames(socket: Socket) -> bytes:
    tracker: zmq.MessageTracker = socket.send(b"body", copy=False, track=True)
    tracker.wait(timeout=1)
    frame: zmq.Frame = socket.recv(copy=False)
    rest: list[zmq.Frame] = socket.recv_multipart(copy=False)
    print(frame.more, frame["Peer-Address"], frame.get(zmq.MORE), len(frame.buffer))
    socket.send(frame, zmq.SNDMORE)
    socket.send_multipart(rest, copy=False)
    return frame.bytes


def poll(one: Socket, other: Socket, descriptor: int) -> list[Socket]:
    poller = Poller()
    poller.register(one, zmq.POLLIN | zmq.POLLOUT)
    poller.register(other)
    poller.register(descriptor, zmq.POLLIN)
    poller.modify(one, zmq.POLLIN)
    poller.unregister(other)
    events: dict[Any, int] = dict(poller.poll(100))
    if one.poll(timeout=50, flags=zmq.POLLIN) & zmq.POLLIN:
        print(zmq.zmq_poll([(one, zmq.POLLIN)], 10))
    readable, writable, _ = zmq.select([one, descriptor], [other], [], timeout=1.0)
    print(readable, writable, one.fileno())
    return [socket for socket in (one, other) if events.get(socket) == zmq.POLLIN]


def errors(socket: Socket) -> int | None:
    try:
        socket.send(b"x", zmq.NOBLOCK)
    except zmq.Again:
        return None
    except zmq.ContextTerminated:
        raise
    except zmq.ZMQError as error:
        return error.errno
    return 0


def serve(context: Context) -> None:
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    monitor: Socket = front.get_monitor_socket()
    monitor.close(linger=0)
    front.disable_monitor()
    zmq.proxy(front, back)


def main() -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as request:
        request.send(b"question")
        print(request.recv())
    shared: zmq.Context = Context.instance()
    push, pull = open_sockets(shared)
    counting = Counting(shared, zmq.PUSH)
    counting.put(b"x")
    counting.close()
    print(options(push), messages(pull), frames(pull), poll(push, pull, 0), errors(push))
    zmq.device(zmq.QUEUE, push, pull)
    shared.set(zmq.IO_THREADS, 2)
    other = Context.shadow(shared)
    other.destroy(linger=0)
    shared.term()


zmq.install()
main()
