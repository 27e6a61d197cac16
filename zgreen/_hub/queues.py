"""SendQueue and RecvQueue: gevent.queue's contract over a pipe. Hub side; any thread.

Each knows the Pipe's interface and a Link. Why a queue has ended it does not know: its owner gives a function that
makes the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent.queue import Empty, Full

from .._engine._api import Pipe
from .._engine._mailbox import Reply
from .line import Line
from .link import Link
from .wait import Deadline, TimedOut


class Source(Protocol):
    """Where received messages come from: the pipe, or something that looks at them as they pass."""

    def try_pop(self, reserved: int) -> Any: ...
    def try_peek(self, reserved: int) -> Any: ...
    def waiting(self) -> int: ...


class _Queue:
    """What both queues have: a link, and an end."""

    def __init__(self, link: Link, error: Callable[[], BaseException | None]) -> None:
        self._link = link
        self._error = error  # makes the error that a caller gets now, or gives None

    def _must_not_wait(self, block: bool, timeout: float | None) -> bool:
        return not block or timeout == 0 or not self._link.may_wait()

    def _waiters_error(self) -> BaseException | None:
        """What ends a wait. The end of the process does not: a traceback of a waiter is of no use then."""
        return None if self._link.exiting else self._error()


class SendQueue(_Queue):
    """What was put, on its way to libzmq."""

    def __init__(self, link: Link, pipe: Pipe, error: Callable[[], BaseException | None]) -> None:
        super().__init__(link, error)
        self._pipe = pipe
        self.line = Line(link, self._ready, pipe.listen_for_room)

    def put(self, frames: Any, reply: Reply | None, block: bool, timeout: float | None) -> None:
        """Append a message; wait for room if there is none. An exception means that it was not put."""
        if self._pipe.try_push(frames, reply, len(self.line)):
            return
        error = self._error()
        if error is not None:
            raise error
        if self._must_not_wait(block, timeout):
            raise Full

        def attempt() -> bool:
            if self._pipe.try_push(frames, reply, 0):
                return True
            error = self._waiters_error()
            if error is not None:
                raise error
            return False

        try:
            self.line.wait_turn(attempt, Deadline(timeout))
        except TimedOut:
            raise Full from None

    def _ready(self) -> bool:
        return self._pipe.wakes() or self._waiters_error() is not None


class RecvQueue(_Queue):
    """What libzmq gave, until a consumer gets it."""

    def __init__(
        self, link: Link, pipe: Pipe, error: Callable[[], BaseException | None], source: Source | None = None
    ) -> None:
        """*source*: where messages are taken from; None: the pipe."""
        super().__init__(link, error)
        self._pipe = pipe
        self._source: Source = source or pipe
        self.line = Line(link, self._ready, pipe.listen_for_message)

    def get(self, block: bool, timeout: float | None) -> Any:
        """The oldest message; wait for one if there is none. An exception means that none was got."""
        return self._first(self._source.try_pop, self.line.claim(), block, timeout)

    def get_frames(self, block: bool, timeout: float | None) -> Any:
        """As `get`, a list of zmq.Frame; see `_api.Pipe.try_pop_frames`."""
        return self._first(self._pipe.try_pop_frames, self.line.claim(), block, timeout)

    def peek(self, block: bool, timeout: float | None) -> Any:
        """What `get` would give, which stays."""
        return self._first(self._source.try_peek, self.line.reserved(), block, timeout)

    def _first(self, look: Callable[[int], Any], reserved: int, block: bool, timeout: float | None) -> Any:
        """What *look* gives, at once or in the caller's turn. *look* is told how many messages are for others."""
        message = look(reserved)
        if message is not None:
            return message
        # Make the error first: nothing comes after it, but the last message may come just before it.
        error = self._error()
        if error is not None and not self._source.waiting():
            raise error
        if self._must_not_wait(block, timeout):
            raise Empty

        def attempt() -> bool:
            nonlocal message
            message = look(0)
            if message is not None:
                return True
            error = self._waiters_error()
            if error is None:
                return False
            message = look(0)  # the last one may have come just before the end
            if message is None:
                raise error
            return True

        try:
            self.line.wait_turn(attempt, Deadline(timeout))
        except TimedOut:
            raise Empty from None
        return message

    def qsize(self) -> int:
        """How many messages have not been got."""
        return self._source.waiting()

    def ready(self) -> bool:
        """Whether a newcomer would get a message now, or the error of the end."""
        return self._source.waiting() > self.line.reserved() or self._waiters_error() is not None

    def _ready(self) -> bool:
        return self._source.waiting() > 0 or self._waiters_error() is not None
