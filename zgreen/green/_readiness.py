"""Readiness: which events a green socket has now, and what is told when they may have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from .._engine._mailbox import Bell
from .._engine._signaler import Signaler

if TYPE_CHECKING:
    from ._core import Core
    from ._lanes import SocketLanes

_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)  # as plain ints: those of pyzmq are slow


class Readiness:
    """POLLIN and POLLOUT of one socket. Any thread may ask; the hub's thread alone listens."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._listeners: list[Callable[[], Any]] = []  # the hub's thread alone
        self._signaler: Signaler | None = None  # from the first `descriptor` on; the thread that closes takes it away

    # ------------------------------------------------------------------ ask

    def now(self) -> int:
        """The events as far as is known; a socket that is closed has both, as its next call does not wait."""
        core = self._core
        if core.closed or core.life.terminating:
            return _POLLIN | _POLLOUT
        lanes = core.ready()
        found = 0
        if core.may_receive() and (core.parts.more() or lanes.receives.ready()):
            found |= _POLLIN
        if core.may_send() and (not core.refuses or lanes.pipe.writable):
            found |= _POLLOUT
        return found

    def poll(self, wanted: int) -> int:
        """Those of the *wanted* events that are there, without a wait."""
        core = self._core
        core.check()
        lanes = core.ready()
        lanes.pipe.count_one()
        if lanes.pipe.due() and lanes.link.may_wait():
            lanes.link.breathe()
        found = self.now() & wanted
        if not found:
            core.look()
            found = self.now() & wanted
        return found

    def read(self) -> int:
        """The value of the option EVENTS. It makes `descriptor` quiet, unless something can be received."""
        found = self.now()
        if not found:
            self._core.look()
            found = self.now()
        if self._signaler is not None:
            self._signaler.drain()
            self._ring_descriptor()
        return found

    # ------------------------------------------------------------------ listen

    def listen(self, listener: Callable[[], Any]) -> None:
        """Have the hub call *listener* whenever the events may have changed; the hub's thread."""
        lanes = self._check_here()
        if not self._listeners:
            lanes.watch_writable(Bell(lanes.link.mailbox, self.tell))
            lanes.receives.line.listen_idle(self.tell)
        self._listeners = [*self._listeners, listener]

    def _check_here(self) -> SocketLanes:
        lanes = self._core.ready()
        lanes.link.check_here(f"{lanes.name}: polling")
        return lanes

    def ignore(self, listener: Callable[[], Any]) -> None:
        """Undo `listen`."""
        self._listeners = [one for one in self._listeners if one is not listener]
        lanes = self._core.lanes
        if not self._listeners and lanes is not None:
            lanes.watch_writable(None)
            lanes.receives.line.listen_idle(self.tell, False)

    def tell(self) -> None:
        """Call the listeners; the hub's thread."""
        for listener in self._listeners:
            listener()

    def descriptor(self) -> int:
        """A descriptor that is readable while something can be received; `read` makes it quiet."""
        if self._signaler is None:
            self._check_here()  # first: it may fail or wait
        if self._signaler is None:
            self._signaler = Signaler()
            self.listen(self._ring_descriptor)
            self._ring_descriptor()
        return self._signaler.fileno()

    def _ring_descriptor(self) -> None:
        signaler = self._signaler  # None if another thread has closed the socket
        if signaler is not None and self.now() & _POLLIN:
            signaler.ring()

    def close(self) -> None:
        """The socket was closed: let go of the descriptor. The lanes tell the listeners. Any thread."""
        self._signaler = None  # its descriptors are closed with it
