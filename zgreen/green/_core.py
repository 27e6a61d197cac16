"""Core: what one green socket does, beside its face.

Until its first bind, connect, send or receive a socket is a plain zmq.Socket that its maker alone uses, so options take
effect at once. Then it is handed to the owning thread for good, with queues bounded by its high-water marks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from gevent.queue import Empty, Full

from .._engine._api import Plan
from .._errors import BrokenError, ClosedError
from .._hub.lanes import Sizes
from .._hub.wait import Deadline
from .._sockets import kind_of
from ._handing import Handing
from ._lanes import SocketLanes, translate
from ._life import ContextLife
from ._parts import Parts
from ._readiness import Readiness

_NOBLOCK, _SNDMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)  # as plain ints: those of pyzmq are slow
_SEND, _RECV = "send", "recv"  # whose turn it is at a REQ or REP
_NEVER_REFUSE = (zmq.PUB, zmq.XPUB, zmq.ROUTER)  # unless told to: they drop instead
_MAKE_REFUSE = (zmq.ROUTER_MANDATORY, zmq.XPUB_NODROP)


_AHEAD = 1000  # messages; where SNDHWM is no limit


def _refuse(_: Any) -> bool:
    return False


def _nothing() -> None:
    return None


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


class Core:
    """One socket. The greenlets of one hub use it, and, for `send` and `receive`, other threads too."""

    def __init__(self, life: ContextLife, context: zmq.Context[Any], kind: int) -> None:
        life.check_process()
        if life.terminating:
            raise zmq.ContextTerminated
        # --- set once
        self.life = life
        self._raw: zmq.Socket[bytes] | None = zmq.Socket(life.plain(context), kind)  # until it is handed over
        try:
            self.kind = kind_of(kind)
        except ValueError:
            self._raw.close(linger=0)
            raise zmq.ZMQError(zmq.ENOTSUP, f"zgreen.green has no sockets of type {kind}") from None
        # --- any thread reads these; the thread that closes, binds or sets an option writes
        self.lanes: SocketLanes | None = None
        self.closed = False
        self.linger = int(self._raw.get(zmq.LINGER))  # milliseconds; -1: without limit; so are the next two
        self.rcvtimeo = self.sndtimeo = -1
        self._hwm: dict[int, int] = {}  # SNDHWM and RCVHWM as the user has set them, once the socket is handed over
        self.refuses = kind not in _NEVER_REFUSE
        self._says_pollout = kind not in (*_NEVER_REFUSE, zmq.STREAM)  # POLLOUT says that libzmq takes a message
        self._relaxed = False
        self._handing = Handing()
        self.turn = _SEND if kind == zmq.REQ else _RECV if kind == zmq.REP else None
        self.parts = Parts()
        # One call of the pipe each, where nothing is in the way; see _open_short_ways. Any thread calls them.
        self.offer: Callable[[Any], bool] = _refuse
        self.take: Callable[[], Any] = _nothing
        self.readiness = Readiness(self)
        life.opened(self)

    # ------------------------------------------------------------------ life

    def check(self) -> None:
        """Raise what every call gets once the socket is closed, its context terminated, or this a forked process."""
        self.life.check_process()
        if self.closed:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        if self.life.terminating:
            raise zmq.ContextTerminated

    def ready(self) -> SocketLanes:
        """The lanes; hands the socket over if it is not yet."""
        self.check()
        return self.lanes or self._hand_over()

    def _hand_over(self) -> SocketLanes:
        pump = self.life.pump()  # may wait: another greenlet may hand the socket over, or close it, meanwhile
        if self.lanes is not None:
            return self.lanes
        self.check()
        raw = self._raw
        assert raw is not None
        ahead, prefetch = self._share(raw, zmq.SNDHWM, self._pollout_tells()), self._share(raw, zmq.RCVHWM, True)
        ahead = ahead or _AHEAD
        sizes = Sizes(ahead if self._pollout_tells() else self._hwm[zmq.SNDHWM] or None, prefetch, "block")
        plan = Plan(raw, self.kind.number, (), None, (), ())
        lanes = SocketLanes(pump._thread, self.kind, plan, sizes, ahead, self.life)
        self._raw, self.lanes = None, lanes
        self._open_short_ways()
        lanes.open()
        return lanes

    def _share(self, raw: zmq.Socket[bytes], option: int, divide: bool) -> int | None:
        """How many messages a queue of ours may hold, so that with libzmq's it holds as many as the mark says; None: no
        limit. A mark of 1 holds one message in each."""
        mark = self._hwm[option] = int(raw.get(option))
        if mark == 0:
            return None
        ours = max(1, mark // 2 if option == zmq.SNDHWM else mark // 4)
        if divide and mark > 1:
            raw.set(option, mark - ours)
        return ours

    def _pollout_tells(self) -> bool:
        """Whether POLLOUT says that libzmq takes the next message."""
        return self.refuses and self._says_pollout

    def _open_short_ways(self) -> None:
        """Set what `send` and `receive` try first; whenever something has changed that they depend on."""
        lanes, kind = self.lanes, self.kind
        offer: Callable[[Any], bool] = _refuse
        take: Callable[[], Any] = _nothing
        if lanes is not None and self.turn is None and not self.closed and not self.life.terminating:
            if kind.sends and not self.refuses:
                offer = lanes.pipe.offer
            elif kind.sends and self._says_pollout:
                offer = lanes.pipe.offer_writable
            if kind.receives:
                take = lanes.pipe.take
        self.offer, self.take = offer, take

    def wear(self, lanes: SocketLanes) -> None:
        """Be the socket of *lanes*, which are open, in the place of its own; see `monitor`."""
        raw, self._raw = self._raw, None
        assert raw is not None
        raw.close(linger=0)
        self.lanes = lanes
        self._open_short_ways()

    def close(self, linger: int | None, wait: bool = True) -> None:
        """Close the socket; *linger* in milliseconds. *wait* until libzmq has been told, so that names are free."""
        if self.closed:
            return
        self.closed = True
        self._open_short_ways()
        self.life.closed(self)
        linger = self.linger if linger is None else linger
        raw, self._raw = self._raw, None
        if self.life.forked():
            return
        if raw is not None:
            raw.close(linger)
        lanes = self.lanes
        if lanes is not None and lanes.thread.error() is None:
            lanes.close_now(_seconds(linger), wait)
        self.readiness.close()

    def wake(self) -> None:
        """Have all waiters get ETERM: the context is being terminated; any thread."""
        lanes = self.lanes
        self._open_short_ways()
        if lanes is not None:
            lanes.wake()
            if lanes.link.here():
                self._wake_here(lanes)
            else:
                lanes.link.mailbox.send(lambda: self._wake_here(lanes))

    def _wake_here(self, lanes: SocketLanes) -> None:
        self._handing.give_up(lanes)
        self.readiness.tell()

    # ------------------------------------------------------------------ send

    def send(self, frame: Any, flags: int) -> None:
        """Send a frame; with SNDMORE it is kept until the last of this greenlet's message comes."""
        flags = int(flags)
        first = self.parts.is_first()
        if not flags & _SNDMORE:
            self.send_message(self.parts.whole(frame), flags, begun=not first)
            return
        if first:
            self._check_first(flags)
        else:
            self.check()
        self.parts.add(frame)

    def _check_first(self, flags: int) -> None:
        """Refuse the first frame of a message that cannot be sent: libzmq never refuses a later one."""
        lanes = self.ready()
        if not self.kind.sends:
            raise zmq.ZMQError(zmq.ENOTSUP)
        if self.turn is _RECV and not self._relaxed:
            raise zmq.ZMQError(zmq.EFSM)
        if flags & _NOBLOCK and self.refuses and not lanes.pipe.writable:
            self.look()
            if not lanes.pipe.writable:
                raise zmq.Again

    def send_message(self, frames: Any, flags: int, begun: bool = False) -> None:
        """Send a whole message, bytes or a tuple of frames. *begun*: NOBLOCK was answered with its first frame."""
        lanes = self.lanes
        if lanes is None or self.life.terminating or self.closed:
            lanes = self.ready()
        if self.turn is None:
            self._send(lanes, frames, int(flags), begun)
            return
        if self.turn is _RECV:
            self.check()
            if not self._relaxed:
                raise zmq.ZMQError(zmq.EFSM)
            while lanes.pipe.try_pop(0) is not None:
                pass  # the reply to a request that is given up
        before, self.turn = self.turn, _RECV  # before it is sent: another greenlet's turn it is not
        try:
            self._send(lanes, frames, int(flags), begun)
        except BaseException:
            self.turn = before
            raise

    def _send(self, lanes: SocketLanes, frames: Any, flags: int, begun: bool) -> None:
        if not self.kind.sends:
            self.check()
            raise zmq.ZMQError(zmq.ENOTSUP)
        if lanes.pipe.due() and not flags & _NOBLOCK:
            lanes.link.breathe()
        if self._put_at_once(lanes, frames):
            return
        timeout = _seconds(self.sndtimeo)
        once = bool(flags & _NOBLOCK) or timeout == 0
        if not lanes.link.may_wait():  # a callback of the hub
            raise zmq.Again
        if once and not begun and self._pollout_tells() and lanes.pipe.quiet() and not lanes.pipe.writable:
            self.check()
            raise zmq.Again
        self._send_exactly(lanes, frames, once, begun, timeout)

    def _put_at_once(self, lanes: SocketLanes, frames: Any) -> bool:
        """Put the message if libzmq will take it, or drop it, as far as is known, and if no other sender waits."""
        pipe = lanes.pipe
        if self.refuses and not (self._says_pollout and pipe.writable):
            return False
        return pipe.try_push(frames, None, len(lanes.sends.line))

    def _send_exactly(self, lanes: SocketLanes, frames: Any, once: bool, begun: bool, timeout: float | None) -> None:
        """Return when libzmq has taken the message or, if the queue may hold some, when there is room in it."""
        try:
            if begun and once:
                if not lanes.pipe.push_over(frames):
                    raise lanes.state.put_error() or zmq.ZMQError(zmq.ENOTSOCK)
            elif self._pollout_tells() and lanes.pipe.takes_more and not once:
                lanes.sends.put(frames, None, True, timeout)
            else:
                self._handing.hand_in(lanes, frames, once, Deadline(timeout))
        except Full:
            raise zmq.Again from None
        except (ClosedError, BrokenError) as error:
            raise translate(error) from None

    # ------------------------------------------------------------------ receive

    def receive_frame(self, flags: int, copy: bool = True) -> Any:
        """The next frame of this greenlet's message, or the first of a new one."""
        rest = self.parts.left() if self.parts.receives else None
        if rest is not None:
            self.check()
            return self.parts.next_of(rest)
        message = self.receive(flags, copy)
        if type(message) is not list:
            return message
        return message[0] if len(message) == 1 else self.parts.first_of(message)

    def receive_message(self, flags: int, copy: bool = True) -> list[Any]:
        """The next message, or what is left of the one that this greenlet has begun to receive."""
        rest = self.parts.take_rest() if self.parts.receives else None
        if rest is not None:
            self.check()
            return rest
        message = self.receive(flags, copy)
        return message if type(message) is list else [message]

    def receive(self, flags: int, copy: bool = True) -> Any:
        """The next message: bytes or, if it has several frames, a list of bytes; without *copy* a list of frames."""
        lanes = self.lanes
        if lanes is None or self.life.terminating or self.closed:
            lanes = self.ready()
        if self.turn is _SEND:
            self.check()
            raise zmq.ZMQError(zmq.EFSM)
        if not self.kind.receives:
            self.check()
            raise zmq.ZMQError(zmq.ENOTSUP)
        message = self._receive_in_line(lanes, int(flags) & _NOBLOCK, copy)
        if self.turn is not None:
            self.turn = _SEND
        return message

    def _receive_in_line(self, lanes: SocketLanes, noblock: int, copy: bool) -> Any:
        pipe, timeout = lanes.pipe, _seconds(self.rcvtimeo)
        get = lanes.receives.get if copy else lanes.receives.get_frames
        try:
            if not noblock and timeout != 0:
                if pipe.due():
                    lanes.link.breathe()
                return get(True, timeout)
            pipe.count_one()
            if lanes.receives.line.reserved() < pipe.waiting() or not pipe.quiet():
                try:
                    return get(False, None)
                except Empty:
                    self.look()
            return get(False, None)
        except Empty:
            raise zmq.Again from None
        except (ClosedError, BrokenError) as error:
            raise translate(error) from None

    # ------------------------------------------------------------------ what readiness depends on

    def serve(self) -> None:
        """Have the owning thread look at the socket once: what libzmq has is here then. Not in a callback of the hub,
        which cannot wait."""
        lanes = self.ready()
        if lanes.link.may_wait():
            self.command(lanes.engine.serve)

    def look(self) -> None:
        """`serve`, unless it is known without asking that nothing has come."""
        if not self.ready().pipe.quiet():
            self.serve()

    def may_send(self) -> bool:
        """Whether the kind sends and, of a REQ or REP, it is the turn to send."""
        return self.kind.sends and (self.turn is not _RECV or self._relaxed)

    def may_receive(self) -> bool:
        """Whether the kind receives and, of a REQ or REP, it is the turn to receive."""
        return self.kind.receives and self.turn is not _SEND

    # ------------------------------------------------------------------ options and endpoints

    def command(self, command: Any, *args: Any) -> Any:
        """Have the owning thread carry out a command on the socket, and wait for the answer."""
        lanes = self.ready()
        try:
            return lanes.command(command, *args)
        except (ClosedError, BrokenError) as error:
            raise translate(error) from None

    def set(self, option: int, value: Any) -> None:
        """Set an option, as `zmq.Socket.set`."""
        self.check()
        if isinstance(value, str):
            raise TypeError("unicode not allowed, use setsockopt_string")
        if self._raw is not None:
            self._raw.set(option, value)
        else:
            assert self.lanes is not None
            self.command(self.lanes.engine.set_option, option, value)
        if option == zmq.LINGER:
            self.linger = int(value)
        elif option == zmq.RCVTIMEO:
            self.rcvtimeo = int(value)
        elif option == zmq.SNDTIMEO:
            self.sndtimeo = int(value)
        elif option in self._hwm:
            self._hwm[option] = int(value)
        elif option in _MAKE_REFUSE:
            self.refuses = bool(value)
            self._open_short_ways()
        elif option == zmq.REQ_RELAXED:
            self._relaxed = bool(value)

    def get(self, option: int) -> Any:
        """The value of an option, as `zmq.Socket.get`."""
        self.check()
        if option == zmq.EVENTS:
            return self.readiness.read()
        if option == zmq.FD:
            return self.readiness.descriptor()
        if option == zmq.RCVMORE:
            return int(self.parts.more())
        if option in self._hwm:
            return self._hwm[option]
        if self._raw is not None:
            return self._raw.get(option)
        assert self.lanes is not None
        return self.command(self.lanes.engine.get_option, option)
