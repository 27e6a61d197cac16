"""Core: what one green socket does, beside its face.

Until its first bind, connect, send or receive a socket is a plain zmq.Socket that its maker alone uses, so options take
effect at once. Then it is handed to the owning thread for good, with queues bounded by its high-water marks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import zmq
from gevent.queue import Empty, Full

from .._engine._api import Plan
from .._engine._mailbox import Bell
from .._engine._signaler import Signaler
from .._errors import BrokenError, ClosedError
from .._hub.lanes import Sizes
from .._hub.wait import Deadline
from .._sockets import kind_of
from ._handing import Handing
from ._lanes import SocketLanes, translate
from ._life import ContextLife

_SEND, _RECV = "send", "recv"  # whose turn it is at a REQ or REP
_NEVER_REFUSE = (zmq.PUB, zmq.XPUB, zmq.ROUTER)  # unless told to: they drop instead
_MAKE_REFUSE = (zmq.ROUTER_MANDATORY, zmq.XPUB_NODROP)


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
        self._rcvhwm: int | None = None  # what the user has set, once the socket is handed over
        self._refuses = kind not in _NEVER_REFUSE
        self._says_pollout = kind not in (*_NEVER_REFUSE, zmq.STREAM)  # POLLOUT says that libzmq takes a message
        self._relaxed = False
        self._handing = Handing()
        self.turn = _SEND if kind == zmq.REQ else _RECV if kind == zmq.REP else None
        # --- each greenlet writes its own entry
        self._sending: WeakKeyDictionary[Any, list[bytes]] = WeakKeyDictionary()  # frames that were sent with SNDMORE
        self._rest: WeakKeyDictionary[Any, deque[bytes]] = WeakKeyDictionary()  # frames of a message not got whole
        # --- the hub's thread alone
        self._listeners: list[Callable[[], Any]] = []
        self._signaler: Signaler | None = None
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
        sndhwm, rcvhwm = int(raw.get(zmq.SNDHWM)), int(raw.get(zmq.RCVHWM))
        # Both together hold RCVHWM: what libzmq holds, and what is in the receive queue.
        prefetch = max(1, rcvhwm // 4) if rcvhwm else 0
        if rcvhwm > 1:
            raw.set(zmq.RCVHWM, rcvhwm - prefetch)
            self._rcvhwm = rcvhwm
        sizes = Sizes(sndhwm or None, prefetch or None, "block")
        lanes = SocketLanes(pump._thread, self.kind, Plan(raw, self.kind.number, (), None, (), ()), sizes, self.life)
        self._raw, self.lanes = None, lanes
        lanes.pipe.watch_writable(None)
        lanes.open()
        return lanes

    def wear(self, lanes: SocketLanes) -> None:
        """Be the socket of *lanes*, which are open, in the place of its own; see `monitor`."""
        raw, self._raw = self._raw, None
        assert raw is not None
        raw.close(linger=0)
        self.lanes = lanes

    def close(self, linger: int | None, wait: bool = True) -> None:
        """Close the socket; *linger* in milliseconds. *wait* until libzmq has been told, so that names are free."""
        if self.closed:
            return
        self.closed = True
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
        self._listeners = [one for one in self._listeners if one != self._ring_descriptor]
        self._signaler = None  # its descriptors are closed with it
        self.tell()

    def wake(self) -> None:
        """Have all waiters get ETERM: the context is being terminated; any thread."""
        lanes = self.lanes
        if lanes is not None:
            lanes.wake()
            if lanes.link.here():
                self._wake_here(lanes)
            else:
                lanes.link.mailbox.send(lambda: self._wake_here(lanes))

    def _wake_here(self, lanes: SocketLanes) -> None:
        self._handing.give_up(lanes)
        self.tell()

    # ------------------------------------------------------------------ send

    def send(self, frame: bytes, flags: int) -> None:
        """Send a frame; with SNDMORE it is kept until the last of this greenlet's message comes."""
        me = gevent.getcurrent()
        begun = self._sending.get(me)
        if flags & zmq.SNDMORE:
            if begun is None:
                self._check_first(flags)
                self._sending[me] = [frame]
            else:
                self.check()
                begun.append(frame)
        elif begun is None:
            self.send_message(frame, flags)
        else:
            del self._sending[me]
            self.send_message((*begun, frame), flags, begun=True)

    def _check_first(self, flags: int) -> None:
        """Refuse the first frame of a message that cannot be sent: libzmq never refuses a later one."""
        lanes = self.ready()
        if not self.kind.sends:
            raise zmq.ZMQError(zmq.ENOTSUP)
        if self.turn is _RECV and not self._relaxed:
            raise zmq.ZMQError(zmq.EFSM)
        if flags & zmq.NOBLOCK and self._refuses and not lanes.pipe.writable:
            self.serve()
            if not lanes.pipe.writable:
                raise zmq.Again

    def send_message(self, frames: Any, flags: int, begun: bool = False) -> None:
        """Send a whole message, bytes or a tuple of bytes. *begun*: NOBLOCK was answered with its first frame."""
        lanes = self.lanes
        if lanes is None or self.life.terminating or self.closed:
            lanes = self.ready()
        if self.turn is None:
            self._send(lanes, frames, flags, begun)
            return
        if self.turn is _RECV:
            self.check()
            if not self._relaxed:
                raise zmq.ZMQError(zmq.EFSM)
            while lanes.pipe.try_pop(0) is not None:
                pass  # the reply to a request that is given up
        before, self.turn = self.turn, _RECV  # before it is sent: another greenlet's turn it is not
        try:
            self._send(lanes, frames, flags, begun)
        except BaseException:
            self.turn = before
            raise

    def _send(self, lanes: SocketLanes, frames: Any, flags: int, begun: bool) -> None:
        pipe = lanes.pipe
        if self._refuses:
            if self._says_pollout and pipe.offer_writable(frames):
                return
        elif pipe.offer(frames):
            return
        self._send_exactly(lanes, frames, flags, begun)

    def _send_exactly(self, lanes: SocketLanes, frames: Any, flags: int, begun: bool) -> None:
        """Where the short way has refused. It returns when libzmq has taken the message."""
        if not self.kind.sends:
            self.check()
            raise zmq.ZMQError(zmq.ENOTSUP)
        timeout = _seconds(self.sndtimeo)
        once = bool(flags & zmq.NOBLOCK) or timeout == 0
        if lanes.pipe.due() and not once:
            lanes.link.breathe()
        if not lanes.link.may_wait():  # a callback of the hub
            if not self._refuses and lanes.pipe.try_push(frames, None, len(lanes.sends.line)):
                return
            raise zmq.Again
        try:
            if begun and once:
                if not lanes.pipe.push_over(frames):
                    raise lanes.state.put_error() or zmq.ZMQError(zmq.ENOTSOCK)
            else:
                self._handing.hand_in(lanes, frames, once, Deadline(timeout))
        except Full:
            raise zmq.Again from None
        except (ClosedError, BrokenError) as error:
            raise translate(error) from None

    # ------------------------------------------------------------------ receive

    def receive_frame(self, flags: int) -> tuple[bytes, bool]:
        """The next frame of this greenlet's message, or the first of a new one, and whether more follow."""
        rest = self._rest_of_mine() if self._rest else None
        if rest is None:
            frames = self.receive(flags)
            if len(frames) == 1:
                return frames[0], False
            rest = self._rest[gevent.getcurrent()] = deque(frames)
        else:
            self.check()
        frame = rest.popleft()
        if not rest:
            self._rest.pop(gevent.getcurrent(), None)
        return frame, bool(rest)

    def receive_message(self, flags: int) -> list[bytes]:
        """The next message, or what is left of the one that this greenlet has begun to receive."""
        rest = self._rest_of_mine() if self._rest else None
        if rest is None:
            return self.receive(flags)
        self.check()
        self._rest.pop(gevent.getcurrent(), None)
        return list(rest)

    def _rest_of_mine(self) -> deque[bytes] | None:
        """What is left of this greenlet's message, or of one whose greenlet has ended."""
        me = gevent.getcurrent()
        rest = self._rest.get(me)
        if rest is None:
            for other in list(self._rest):
                if other.dead and (rest := self._rest.pop(other, None)):
                    self._rest[me] = rest
                    break
        return rest

    def more(self) -> bool:
        """RCVMORE: whether this greenlet has not received its message whole."""
        return bool(self._rest.get(gevent.getcurrent()))

    def receive(self, flags: int) -> list[bytes]:
        """The next message."""
        lanes = self.lanes
        if lanes is None or self.life.terminating or self.closed:
            lanes = self.ready()
        if self.turn is _SEND:
            self.check()
            raise zmq.ZMQError(zmq.EFSM)
        message = lanes.pipe.take_now() if flags & zmq.NOBLOCK else lanes.pipe.take()
        if message is None:
            message = self._receive_in_line(lanes, flags)
        if self.turn is not None:
            self.turn = _SEND
        return message  # type: ignore[no-any-return]

    def _receive_in_line(self, lanes: SocketLanes, flags: int) -> Any:
        if not self.kind.receives:
            self.check()
            raise zmq.ZMQError(zmq.ENOTSUP)
        timeout = _seconds(self.rcvtimeo)
        try:
            if not flags & zmq.NOBLOCK and timeout != 0:
                return lanes.get(True, timeout)
            try:
                return lanes.get(False, None)
            except Empty:
                self.serve()
                return lanes.get(False, None)
        except Empty:
            raise zmq.Again from None
        except (ClosedError, BrokenError) as error:
            raise translate(error) from None

    # ------------------------------------------------------------------ events

    def serve(self) -> None:
        """Have the owning thread look at the socket once: what libzmq has is here then. Not in a callback of the hub,
        which cannot wait."""
        lanes = self.ready()
        if lanes.link.may_wait():
            self.command(lanes.engine.serve)

    def events(self) -> int:
        """POLLIN and POLLOUT, as they are now; a socket that is closed says both, as its next call does not wait."""
        if self.closed or self.life.terminating:
            return int(zmq.POLLIN | zmq.POLLOUT)
        lanes = self.ready()
        found = 0
        if self.kind.receives and self.turn is not _SEND and (self.more() or lanes.receives.ready()):
            found |= zmq.POLLIN
        my_turn = self.kind.sends and (self.turn is not _RECV or self._relaxed)
        if my_turn and (not self._refuses or lanes.pipe.writable):
            found |= zmq.POLLOUT
        return found

    def listen(self, listener: Callable[[], Any]) -> None:
        """Have the hub call *listener* whenever `events` may have changed; the hub's thread."""
        lanes = self.ready()
        lanes.link.check_here(f"{lanes.name}: polling")
        if not self._listeners:
            lanes.pipe.watch_writable(Bell(lanes.link.mailbox, self.tell))
            lanes.receives.line.listen_idle(self.tell)
        self._listeners = [*self._listeners, listener]

    def ignore(self, listener: Callable[[], Any]) -> None:
        """Undo `listen`."""
        self._listeners = [one for one in self._listeners if one is not listener]
        if not self._listeners and self.lanes is not None:
            self.lanes.pipe.watch_writable(None)
            self.lanes.receives.line.listen_idle(self.tell, False)

    def tell(self) -> None:
        """Call the listeners; the hub's thread."""
        for listener in self._listeners:
            listener()

    def descriptor(self) -> int:
        """A descriptor that is readable while something can be received; reading EVENTS makes it quiet."""
        if self._signaler is None:
            self._signaler = Signaler()
            self.listen(self._ring_descriptor)
            self._ring_descriptor()
        return self._signaler.fileno()

    def _ring_descriptor(self) -> None:
        assert self._signaler is not None
        if self.events() & zmq.POLLIN:
            self._signaler.ring()

    def _events_read(self) -> int:
        found = self.events()
        if not found and self.kind.receives:
            self.serve()
            found = self.events()
        if self._signaler is not None:
            self._signaler.drain()
            self._ring_descriptor()
        return found

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
        elif option == zmq.RCVHWM and self.lanes is not None:
            self._rcvhwm = int(value)
        elif option in _MAKE_REFUSE:
            self._refuses = bool(value)
        elif option == zmq.REQ_RELAXED:
            self._relaxed = bool(value)

    def get(self, option: int) -> Any:
        """The value of an option, as `zmq.Socket.get`."""
        self.check()
        if option == zmq.EVENTS:
            return self._events_read()
        if option == zmq.FD:
            self.ready()
            return self.descriptor()
        if option == zmq.RCVMORE:
            return int(self.more())
        if option == zmq.RCVHWM and self._rcvhwm is not None:
            return self._rcvhwm
        if self._raw is not None:
            return self._raw.get(option)
        assert self.lanes is not None
        return self.command(self.lanes.engine.get_option, option)
