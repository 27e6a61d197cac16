"""SendQueue and RecvQueue: gevent.queue's contract over a pipe. Hub side; any thread.

Each knows the Pipe's interface, a Link and nothing else of the project. They do not know why they were shut: whoever
shuts them gives a callable that makes the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.queue import Empty, Full

from .._arguments import check_timeout
from .._engine._api import Pipe
from .._engine._mailbox import Reply
from .line import Line
from .link import Link, TimedOut


class _Queue:
    """What both have: a pipe, a line, and an end."""

    def __init__(self, link: Link, pipe: Pipe, check: Callable[[], BaseException | None]) -> None:
        self._link = link
        self._pipe = pipe
        self._check = check  # the error that a caller gets now, or None

    def _ready(self) -> bool:
        raise NotImplementedError

    def _must_not_wait(self, block: bool, timeout: float | None) -> bool:
        if block:
            check_timeout(timeout)
        return not block or timeout == 0 or not self._link.may_wait()

    def _check_error(self) -> None:
        error = self._check()
        if error is not None:
            raise error

    def _check_waiter(self) -> BaseException | None:
        """What ends a wait. Not the end of the process: a traceback of a thread that waits then is of no use."""
        return None if self._link.exiting else self._check()


class SendQueue(_Queue):
    """What greenlets put, on its way to libzmq."""

    def __init__(self, link: Link, pipe: Pipe, check: Callable[[], BaseException | None]) -> None:
        super().__init__(link, pipe, check)
        self.line = Line(link, self._ready, pipe.listen_for_room)
        self._shut = False

    def shut(self) -> None:
        """Who waits for room does not put any more, whatever room there is: the channel is about to be closed."""
        self._shut = True

    def put(self, frames: Any, reply: Reply | None, block: bool, timeout: float | None) -> None:
        """Append a message; wait for room if there is none. An exception means: not put."""
        if self._pipe.try_push(frames, reply, len(self.line)):
            return
        self._check_error()
        if self._must_not_wait(block, timeout):
            raise Full

        def attempt() -> bool:
            if not self._shut and self._pipe.try_push(frames, reply, 0):
                return True
            error = self._check_waiter()
            if error is not None:
                raise error
            return False

        try:
            self.line.wait_turn(attempt, timeout)
        except TimedOut:
            raise Full from None

    def _ready(self) -> bool:
        return (not self._shut and self._pipe.wakes()) or self._check_waiter() is not None


class RecvQueue(_Queue):
    """What libzmq gave, until somebody gets it."""

    def __init__(self, link: Link, pipe: Pipe, check: Callable[[], BaseException | None]) -> None:
        super().__init__(link, pipe, check)
        self.line = Line(link, self._ready, pipe.listen_for_message)

    def get(self, block: bool, timeout: float | None) -> Any:
        """The oldest message; wait for one if there is none. An exception means: not got."""
        message = self._pipe.try_pop(self.line.claim())
        if message is not None:
            return message
        # the error first: nothing comes after it, but the last message may come just before
        error = self._check()
        if error is not None and not self._pipe.waiting():
            raise error
        if self._must_not_wait(block, timeout):
            raise Empty

        def attempt() -> bool:
            nonlocal message
            message = self._pipe.try_pop(0)
            if message is not None:
                return True
            error = self._check_waiter()
            if error is None:
                return False
            message = self._pipe.try_pop(0)  # the last may have come just before
            if message is None:
                raise error
            return True

        try:
            self.line.wait_turn(attempt, timeout)
        except TimedOut:
            raise Empty from None
        return message

    def ready(self) -> bool:
        """Whether a newcomer would get a message now, or the error that ends all."""
        return self._pipe.waiting() > self.line.reserved() or self._check_waiter() is not None

    def _ready(self) -> bool:
        return self._pipe.waiting() > 0 or self._check_waiter() is not None
