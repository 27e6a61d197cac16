"""The sockets of an engine that are being closed; the owning thread only."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import zmq

from ._closing import Farewell, Reserve, has_stopped

# Seconds: how often to look for ends while many sockets are closed in one go, so that no end is noticed too late.
_OFTEN = 0.02


class Loop(Protocol):
    """What an engine does for its farewells."""

    def watch(self, farewell: Farewell) -> None:
        """Call `Farewells.look` whenever the farewell's descriptor is readable."""

    def unwatch(self, farewell: Farewell) -> None:
        """Undo `watch`."""

    def tell_end(self, pipe: Any, held: int, error: BaseException | None) -> None:
        """The end has come, or is not waited for any more."""


class Farewells:
    """Each from when the pipe is served no more until its socket has ended."""

    def __init__(self, context: zmq.Context[Any], loop: Loop) -> None:
        self.reserve = Reserve(context)
        self._loop = loop
        self._awaited: dict[Any, Farewell] = {}  # pipe -> its farewell, until the end is told
        self._watched: set[Farewell] = set()  # those whose PAIR is open: they may have been told
        self._alarm = math.inf  # the first of the awaited ones' alarms, or earlier
        self._looked = 0.0  # when `_look_at_all` was last called

    def __len__(self) -> int:
        """How many ends have not been told yet."""
        return len(self._awaited)

    def __contains__(self, pipe: Any) -> bool:
        """Whether the end of the socket of *pipe* has not been told yet."""
        return pipe in self._awaited

    @property
    def watched(self) -> int:
        """How many descriptors `Loop.watch` was given and `Loop.unwatch` was not."""
        return len(self._watched)

    def begin(self, pipe: Any, linger: float) -> None:
        """Close the socket of *pipe*: libzmq has *linger* seconds to send what it holds."""
        farewell = self._awaited[pipe] = Farewell(pipe, linger)
        self._close(farewell)
        if time.monotonic() - self._looked >= _OFTEN:
            self._look_at_all()

    def shorten(self, pipe: Any, linger: float) -> None:
        """Wait for the end no longer than *linger* seconds from now, if it is waited for longer."""
        farewell = self._awaited[pipe]
        farewell.shorten(linger)
        self._alarm = min(self._alarm, farewell.alarm)

    def look(self, farewell: Farewell) -> None:
        """See whether its end has come."""
        if not farewell.is_over():
            return
        self._loop.unwatch(farewell)
        self._watched.discard(farewell)
        farewell.drop()
        self._tell(farewell)

    def look_at_clock(self, timeout: float | None) -> float | None:
        """Do what is due; return how long to sleep at most."""
        now = time.monotonic()
        if now >= self._alarm:
            for farewell in [farewell for farewell in self._awaited.values() if farewell.alarm <= now]:
                self._wake(farewell)
            self._alarm = min((farewell.alarm for farewell in self._awaited.values()), default=math.inf)
        if self._alarm == math.inf:
            return timeout
        left = max(0.0, self._alarm - now)
        return left if timeout is None else min(timeout, left)

    def tell_all(self) -> None:
        """Wait for no end any more."""
        for farewell in list(self._awaited.values()):
            farewell.give_up()
            self._tell(farewell)

    def leave(self, owns_context: bool, start_thread: Callable[..., Any] | None) -> None:
        """The engine ends, and with it the context, if that is its own."""
        self.reserve.drop()
        late, self._watched = self._watched, set()
        for farewell in late:
            self._loop.unwatch(farewell)
        if late and not owns_context and start_thread is not None:
            pairs = {farewell.fd: farewell.release() for farewell in late}
            with contextlib.suppress(RuntimeError):  # no thread is to be had
                start_thread(_wait_for_all, (pairs,))
        for farewell in late:  # the end of our own context does not wait for what libzmq has to say
            farewell.drop()

    def _close(self, farewell: Farewell) -> None:
        farewell.close(self.reserve)
        self._alarm = min(self._alarm, farewell.alarm)
        if not farewell.closed:
            return
        if farewell.fd < 0:
            self._tell(farewell)
            return
        self._watched.add(farewell)
        self._loop.watch(farewell)
        self.look(farewell)

    def _wake(self, farewell: Farewell) -> None:
        """Its alarm has come."""
        if not farewell.closed:
            self._close(farewell)
            return
        self.look(farewell)  # first: this thread may be late
        if farewell.pipe in self._awaited:
            farewell.give_up()
            self._tell(farewell)

    def _look_at_all(self) -> None:
        by_fd = {farewell.fd: farewell for farewell in self._watched}
        for fd, _ in zmq.zmq_poll([(fd, zmq.POLLIN) for fd in by_fd], 0) if by_fd else ():
            self.look(by_fd[fd])
        self._looked = time.monotonic()

    def _tell(self, farewell: Farewell) -> None:
        if self._awaited.pop(farewell.pipe, None) is not None:
            if not self._awaited:
                self._alarm = math.inf
            self._loop.tell_end(farewell.pipe, farewell.held, None)


def _wait_for_all(pairs: dict[int, zmq.Socket[bytes]]) -> None:
    """Keep the PAIRs, by their descriptors, until the sockets have ended that they watch; in a thread of its own.

    The context is the user's. There the end of a socket may come at any time, over inproc for example when a peer has
    read all, and libzmq's thread that ends all sockets of the context would then wait for a PAIR that is gone.
    """
    while pairs:
        for fd, _ in zmq.zmq_poll([(fd, zmq.POLLIN) for fd in pairs], -1):
            if has_stopped(pairs[fd]):
                pairs.pop(fd).close(linger=0)
