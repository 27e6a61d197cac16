"""Operations on a socket other than sending and receiving; the owning thread only.

Errors pass unchanged, but name the endpoint or the option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import zmq

from .._sockets import option_name
from ._api import Plan
from ._closing import End

Socket: TypeAlias = "zmq.Socket[bytes]"

_LARGE = 65536  # bytes

# A subscription is a message to the publisher. When a publisher comes late or comes back, all of them are sent again,
# and libzmq silently drops those above SNDHWM. So these sockets have no high-water mark, unless the user sets one.
_SUBSCRIBERS = (zmq.SUB, zmq.XSUB)


class NotingSocket(zmq.Socket[bytes]):
    """Notes its endpoints: libzmq tells of the last one only, and a configurator may use others."""

    end: End | None = None  # where to note the endpoints; None: nowhere

    def bind(self, addr: str) -> Any:
        undo = super().bind(addr)
        if self.end is not None:
            self.end.note(addr, bound=True)
        return undo

    def connect(self, addr: str) -> Any:
        undo = super().connect(addr)
        if self.end is not None:
            self.end.note(addr, bound=False)
        return undo


def set_up(context: zmq.Context[Any], plan: Plan, end: End) -> Socket:
    """Make a socket (or take the one handed over) and prepare it; nothing is left open if that fails.

    Its endpoints are noted in *end*. Of a socket that was handed over only the last one can be known.
    """
    end.subscribes = plan.kind == zmq.SUB
    socket: Socket | None = plan.socket
    if socket is None:
        # socket_class: a plain socket even of a zmq.green or zmq.asyncio context
        socket = made = context.socket(plan.kind, socket_class=NotingSocket)
        made.end = end
        if plan.kind in _SUBSCRIBERS:
            made.set(zmq.SNDHWM, 0)
    else:
        made = None
        end.note_before(last_endpoint(socket))
    try:
        for option, value in plan.options:
            set_option(socket, option, value)
        if plan.configurator is not None:
            plan.configurator(socket)
        for endpoint in plan.bind:
            socket.bind(endpoint)
        for endpoint in plan.connect:
            socket.connect(endpoint)
        if socket.closed:
            raise ValueError("the configurator has closed the socket")
        if made is not None:
            made.end = None  # from now on the engine notes them
        return socket
    except BaseException:
        socket.close(linger=0)
        raise


def set_option(socket: Socket, option: int, value: Any) -> None:
    """Set an option; text becomes UTF-8."""
    with _naming(f"option {option_name(option)} = {value!r:.60}"):
        try:
            socket.set(option, value.encode() if isinstance(value, str) else value)
        except TypeError:
            if not isinstance(value, str):
                raise
            raise TypeError("expected a number, got text") from None  # pyzmq would show the bytes


def get_option(socket: Socket, option: int) -> Any:
    with _naming(f"option {option_name(option)}"):
        return socket.get(option)


def unbind(socket: Socket, endpoint: str) -> None:
    with _naming(f"unbind {endpoint!r}"):
        zmq.backend.Socket.unbind(socket, endpoint)


def disconnect(socket: Socket, endpoint: str) -> None:
    with _naming(f"disconnect {endpoint!r}"):
        zmq.backend.Socket.disconnect(socket, endpoint)


def last_endpoint(socket: Socket) -> str:
    value = socket.get(zmq.LAST_ENDPOINT)
    return bytes(value).rstrip(b"\0").decode()


def bind(socket: Socket, endpoint: str) -> str:
    socket.bind(endpoint)  # pyzmq names the endpoint
    return last_endpoint(socket)


def connect(socket: Socket, endpoint: str) -> str:
    socket.connect(endpoint)
    return last_endpoint(socket)


def restart(socket: Socket, frames: bytes | tuple[bytes, ...]) -> bool:
    """Have a REQ give up the reply that it awaits and send *frames*, correlated, instead.

    False: there is no peer for them now. The reply is given up all the same: libzmq counts the request id up, and
    leaves the state of awaiting, before it looks for a peer (`req_t::xsend` in req.cpp).
    """
    socket.set(zmq.REQ_CORRELATE, 1)
    socket.set(zmq.REQ_RELAXED, 1)
    try:
        return _send_now(socket, (frames,) if isinstance(frames, bytes) else in_memory(frames))
    finally:
        socket.set(zmq.REQ_RELAXED, 0)


def in_memory(frames: Sequence[bytes | zmq.Frame]) -> list[bytes | zmq.Frame]:
    """Copy frames for which libzmq may lack memory into libzmq's own memory beforehand. If one of them were refused in
    the middle of a message, libzmq would keep the frames before it, and append the next message to them."""
    return [zmq.Frame(one, copy=True) if type(one) is bytes and len(one) >= _LARGE else one for one in frames]


def _send_now(socket: Socket, frames: Sequence[bytes | zmq.Frame]) -> bool:
    """Send all frames, or say that libzmq takes none now. Begins again if the peer goes away between two frames."""
    flags = [zmq.DONTWAIT | zmq.SNDMORE] * (len(frames) - 1) + [zmq.DONTWAIT]
    while True:
        refused_at = None
        for i, frame in enumerate(frames):
            try:
                socket.send(frame, flags[i])
            except zmq.Again:
                if i == 0:
                    return False
                refused_at = i  # libzmq swallows the rest of this message, which it must be given
        if refused_at is None:
            return True


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except zmq.ZMQError as error:
        error.strerror = f"{error.strerror} ({what})"
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise type(error)(f"{error} ({what})") from error
