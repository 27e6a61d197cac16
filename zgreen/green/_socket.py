"""Socket: the face of a zmq.Socket over the lanes of the core.

pyzmq's base class gets an address that libzmq takes for no socket: whatever reaches libzmq by that is refused.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import zmq

from ._core import Core
from ._frame import received, sent
from ._monitor import open_monitor
from ._poll import Poller

_SNDMORE = int(zmq.SNDMORE)  # pyzmq's own is slow

# libzmq looks for a mark in what a handle points to, and says ENOTSOCK where it is missing. With NULL for a handle
# zmq_poll would poll descriptor 0 instead.
_NO_SOCKET = ctypes.create_string_buffer(65536)


class Socket(zmq.Socket[bytes]):
    """As :class:`zmq.Socket`, but no call blocks the hub. See pyzmq for its methods; what differs is in the how-to.

    Any number of greenlets may send and receive. A message of several frames that is sent or received frame by frame
    belongs to one greenlet. RCVTIMEO and SNDTIMEO work, and after an exception nothing of a message is left to be sent;
    but a gevent.Timeout or a kill may come in the very moment in which libzmq has taken the message.
    """

    _repr_cls = "zmq.green.Socket"
    _poller_class = Poller
    _core: Core | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Socket:
        self = super().__new__(cls, *args, **kwargs)
        object.__setattr__(self, "_core", None)  # here, because subclasses may have a constructor of their own
        return self

    def __init__(
        self,
        ctx_or_socket: Any = None,
        socket_type: int = 0,
        *,
        shadow: Any = 0,
        copy_threshold: int | None = None,
    ) -> None:
        other = shadow or ctx_or_socket
        if isinstance(other, Socket):
            self._shadow = True
            self.__dict__["_shadow_obj"] = other  # the one that closes it when it is collected
            core, ctx_or_socket = other._open(), other.context
        elif shadow or isinstance(other, zmq.Socket):
            raise zmq.ZMQError(zmq.ENOTSUP, "a zgreen.green.Socket cannot shadow a socket of another kind")
        else:
            core = None
        if ctx_or_socket is None:
            raise TypeError("context must be specified")
        life = getattr(ctx_or_socket, "_life", None)
        if life is None:
            raise TypeError("context must be a zgreen.green.Context; Context.shadow() makes one of another")
        zmq.backend.Socket.__init__(
            self, ctx_or_socket, -1, shadow=ctypes.addressof(_NO_SOCKET), copy_threshold=copy_threshold
        )
        self._core = core = core or Core(life, ctx_or_socket, int(socket_type))
        self.__dict__["type"] = zmq.SocketType(core.kind.number)
        self._type_name = core.kind.name

    def _open(self) -> Core:
        if self._core is None:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        return self._core

    def __del__(self) -> None:
        core = self.__dict__.get("_core")
        if core is not None and not self._shadow and not sys.is_finalizing():
            core.close(None, wait=False)

    @property
    def closed(self) -> bool:
        """Whether the socket is closed, or belongs to the parent process."""
        return self._core is None or self._core.closed or self._core.life.forked()

    def __copy__(self, memo: Any = None) -> Socket:
        """Another face of the same socket."""
        return type(self)(self)

    __deepcopy__ = __copy__

    def close(self, linger: int | None = None) -> None:
        """Close the socket, and do not wait for what is still to be sent.

        :param linger: milliseconds that it may still go out; -1: without limit; default: the option LINGER.
        """
        if self._core is not None:
            self.context._rm_socket(self)
            self._core.close(linger)
            self._closed = True

    # ------------------------------------------------------------------ send

    def send(  # type: ignore[override]  # pyzmq has an overload for each kind of result
        self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """Send a frame; returns when libzmq has taken the message, or is about to.

        :raises zmq.Again: NOBLOCK, or SNDTIMEO is over; nothing will be sent.
        """
        core = self._core
        if (
            (type(data) is bytes and copy and not kwargs and core is not None and not core.parts.sends)
            and not (flags and int(flags) & _SNDMORE)
            and core.offer(data)
        ):
            return None
        return self._send(data, flags, copy, track, **kwargs)

    def _send(self, data: Any, flags: int, copy: bool, track: bool, **kwargs: Any) -> Any:
        if any(value is not None for value in kwargs.values()):
            raise zmq.ZMQError(zmq.ENOTSUP, "routing_id and group are of socket types that zgreen.green has not")
        core = self._open()
        frame, tracker = sent(data, copy, track, self.copy_threshold)
        core.send(frame if type(frame) is bytes or (flags and int(flags) & _SNDMORE) else (frame,), flags)
        return tracker

    def send_multipart(
        self, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """Send the frames of a message; see `send`."""
        core = self._open()
        own = type(self).send is not Socket.send  # a subclass's, through which all frames shall go
        if own or kwargs or core.parts.sends or (flags and int(flags) & _SNDMORE):
            return super().send_multipart(msg_parts, flags, copy, track, **kwargs)
        if copy and core.offer(msg_parts):
            return None
        tracker = None
        frames = []
        for number, part in enumerate(msg_parts):
            try:
                frame, tracker = sent(part, copy, track, self.copy_threshold)
            except TypeError:
                raise TypeError(f"Frame {number} ({part!r:.32}) does not support the buffer interface.") from None
            frames.append(frame)
        core.send_message(tuple(frames), flags) if frames else msg_parts[-1]
        return tracker

    # ------------------------------------------------------------------ receive

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive a frame: bytes, or with *copy* false a :class:`zmq.Frame`.

        :raises zmq.Again: NOBLOCK and there is no message, or RCVTIMEO is over.
        """
        core = self._open()
        if copy:
            if not core.parts.receives:
                message = core.take()
                if type(message) is bytes:
                    return message
                if message is not None:
                    return core.parts.first_of(message)
            frame = core.receive_frame(flags)
            return frame if type(frame) is bytes else frame.bytes
        frame = core.receive_frame(flags, copy=False)
        return received(frame, core.parts.more(), track)

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> list[Any]:
        """Receive all frames of a message; see `recv`."""
        if type(self).recv is not Socket.recv:
            return super().recv_multipart(flags, copy, track)
        core = self._open()
        if copy and not core.parts.receives:
            message = core.take()
            if message is not None:
                return message if type(message) is list else [message]
        frames: list[Any] = core.receive_message(flags, copy)
        if copy:
            return [frame if type(frame) is bytes else frame.bytes for frame in frames]
        last = len(frames) - 1
        return [received(frame, number < last, track) for number, frame in enumerate(frames)]

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        """Receive a frame into *buffer*, up to *nbytes* of it, and return the length of the frame."""
        view = memoryview(buffer)
        if view.readonly:
            raise BufferError("recv_into: the buffer is read-only")
        if not view.contiguous:
            raise BufferError("recv_into: the buffer is not contiguous")
        view = view.cast("B")
        if nbytes < 0:
            raise ValueError(f"nbytes={nbytes} must not be negative")
        if nbytes > len(view):
            raise ValueError(f"nbytes={nbytes} is more than the {len(view)} bytes of the buffer")
        frame = self.recv(flags)
        size = min(nbytes or len(view), len(frame))
        view[:size] = frame[:size]
        return len(frame)

    def poll(self, timeout: int | None = None, flags: int = zmq.POLLIN) -> int:
        """Wait for *flags*, up to *timeout* milliseconds; None or negative: no limit. Returns those that are there."""
        if timeout == 0 and not self.closed:
            return self._open().readiness.poll(int(flags))
        return super().poll(timeout, flags)

    # ------------------------------------------------------------------ options

    def set(self, option: int, optval: Any) -> None:
        """Set an option; see :meth:`zmq.Socket.set`."""
        self._open().set(option, optval)

    def get(self, option: int) -> Any:
        """The value of an option; see :meth:`zmq.Socket.get`. FD is a descriptor of ours: poll it for reading only."""
        return self._open().get(option)

    setsockopt = set  # noqa: A003
    getsockopt = get

    # ------------------------------------------------------------------ endpoints

    def _attach(self, how: str, addr: Any) -> None:
        core, endpoint = self._open(), _text(addr)
        lanes = core.ready()
        core.command(getattr(lanes.engine, how), endpoint)
        if how in ("unbind", "disconnect"):
            lanes.settle()

    def bind(self, addr: Any) -> Any:
        """Bind to *addr*; returns a context manager that undoes it."""
        self._attach("bind", addr)
        return self._bind_cm(addr)

    def connect(self, addr: Any) -> Any:
        """Connect to *addr*; returns a context manager that undoes it."""
        self._attach("connect", addr)
        return self._connect_cm(addr)

    def unbind(self, addr: Any) -> None:
        """Undo a bind."""
        self._attach("unbind", addr)

    def disconnect(self, addr: Any) -> None:
        """Undo a connect."""
        self._attach("disconnect", addr)

    # ------------------------------------------------------------------ monitor, and what only a handle can do

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Any:
        """A PAIR socket that receives the *events* of this one, all by default, for
        :func:`zmq.utils.monitor.recv_monitor_message`; by way of *addr*, an inproc name that nothing else uses.
        """
        if self._monitor_socket is None or self._monitor_socket.closed:
            self._open().ready()
            pair = type(self)(self.context, zmq.PAIR)
            wanted = zmq.EVENT_ALL if events is None else events
            self.context._add_socket(pair)
            open_monitor(self._open(), pair._open(), int(wanted), addr)
            self._monitor_socket = pair
        return self._monitor_socket

    def disable_monitor(self) -> None:
        """Close the socket that `get_monitor_socket` has given."""
        if self._monitor_socket is not None:
            self._monitor_socket.close()
            self._monitor_socket = None

    def monitor(self, addr: str | bytes | None, events: int = zmq.EVENT_ALL) -> None:  # noqa: ARG002
        """Not at an address of one's own: see `get_monitor_socket`.

        :raises zmq.ZMQError: always, ENOTSUP.
        """
        raise zmq.ZMQError(zmq.ENOTSUP, "use get_monitor_socket()")

    def join(self, group: str | bytes) -> None:  # noqa: ARG002
        """Of RADIO and DISH sockets alone.

        :raises zmq.ZMQError: always, ENOTSUP.
        """
        raise zmq.ZMQError(zmq.ENOTSUP)

    leave = join


def _text(addr: Any) -> str:
    if isinstance(addr, bytes):
        return addr.decode()
    if not isinstance(addr, str):
        raise TypeError(f"expected str, got: {addr!r}")
    return addr
