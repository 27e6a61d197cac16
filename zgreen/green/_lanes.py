"""Lanes of a socket that has the face of a zmq.Socket: their errors are pyzmq's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, Protocol

import zmq

from .._engine._api import Plan, Unsent
from .._engine._mailbox import Bell, Reply
from .._errors import BrokenError, ClosedError
from .._hub.lanes import Lanes, Sizes
from .._hub.life import ChannelState, Life
from .._hub.thread import OwningThread
from .._hub.wait import Deadline
from .._sockets import Kind


class ContextState(Protocol):
    """What lanes must know of the context of their socket."""

    terminating: bool  # `Context.term` has begun; any thread reads it


def translate(error: BaseException) -> zmq.ZMQError:
    """Return what pyzmq would raise where the core raises *error*, because its lanes or their thread have ended."""
    if isinstance(error, zmq.ZMQError):
        return error
    if isinstance(error.__cause__, zmq.ZMQError):
        return type(error.__cause__)(error.__cause__.errno)
    return zmq.ZMQError(zmq.ENOTSOCK)


class _SocketState(ChannelState):
    """The state of a green socket. It ends for its callers when its close begins, or the end of its context."""

    def __init__(
        self, life: ContextState, name: Callable[[], str], finished: Callable[[], bool], thread: OwningThread
    ) -> None:
        super().__init__(name, finished, thread)
        self._life = life

    def get_error(self) -> BaseException | None:
        """As of `ChannelState`, but from the beginning of a close or of `Context.term` on; any thread."""
        error = super().get_error()
        if error is None and self._life.terminating:
            return zmq.ContextTerminated()
        if error is None and self.now is Life.CLOSING:
            return self.closed_error()
        return error


class SocketLanes(Lanes):
    """The lanes of one green socket."""

    def __init__(
        self, thread: OwningThread, kind: Kind, plan: Plan, sizes: Sizes, ahead: int, life: ContextState
    ) -> None:
        """*ahead*: how many messages may be pending while the socket counts as writable."""
        self._ahead = ahead  # set once
        self._life = life  # set once; before the rest, which asks for errors
        self.closed_by_user = False  # the thread that closes it writes, before the close is under way
        super().__init__(thread, kind, plan, sizes, False, lambda _: None)
        self.pipe.keep_frames()
        self.watch_writable(None)

    @property
    def name(self) -> str:
        """For errors and logs."""
        return super().name.replace("zgreen.Channel", "zgreen.green.Socket", 1)

    def make_state(self) -> ChannelState:
        """See `Lanes`."""
        return _SocketState(self._life, lambda: self.name, lambda: self.pipe.finished, self.thread)

    def open(self) -> None:
        """As of `Lanes`; but if the caller is killed meanwhile, the opening goes on, before the commands of others."""
        self.thread.join(self)
        self.trace()
        call = self.post(self.engine.open, self.plan)
        try:
            last = self._wait(call)
        except BaseException:
            if call.reply.error is not None or self.thread.error() is not None:
                self.abandon()
            raise
        self.endpoints.opened(last, ())

    def ended(self, left: list[tuple[Any, Reply | None]], unsent: Unsent, error: BaseException | None) -> None:
        """See `_api.Owner`. LINGER has said what may be lost at a close, as with libzmq: it is not reported."""
        super().ended(left, Unsent(0, 0) if self.closed_by_user else unsent, error)

    def close_now(self, linger: float | None, wait: bool) -> None:
        """Begin to close; *linger* in seconds, None: without limit. *wait* until libzmq has been told."""
        self.closed_by_user = True
        self.begin_close(math.inf if linger is None else linger, math.inf)
        self.wake()
        if wait:
            self.settle()

    def settle(self) -> None:
        """Wait until the sockets of the same thread know that a peer of theirs has gone by the command before this.

        In the owning thread's first pass their descriptors are found readable, in the second they have their turns.
        """
        if self.link.may_wait():
            with contextlib.suppress(ClosedError, BrokenError, zmq.ZMQError):  # the thread has ended, and with it all
                for _ in range(3):
                    self.thread.post(self.engine.ping).wait(Deadline(None))

    def watch_writable(self, bell: Bell | None) -> None:
        """Have *bell*, if any, rung when the socket may have become writable; see `_api.Pipe`."""
        self.pipe.watch_writable(bell, self._ahead)

    def wake(self) -> None:
        """Have all waiters look at the state; any thread."""
        self.sends.line.nudge()
        self.receives.line.nudge()
