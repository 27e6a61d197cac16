"""Life: where an object is in its life, and the errors that its callers get then (a leaf of the hub side)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from gevent import monkey

from .._errors import BrokenError, ClosedError, broken

# A real lock, whatever was patched; reentrant, because a signal handler or a finalizer may come here, too.
_RLock = monkey.get_original("_thread", "RLock")


class Life(enum.IntEnum):
    """The states. An object only goes forwards."""

    OPEN = 0
    CLOSING = 1
    ENDED = 2


class State:
    """The state of one object; any thread."""

    def __init__(self) -> None:
        self.lock = _RLock()  # covers the two below, and whatever else its owner says
        self.now = Life.OPEN  # read without the lock
        self._make_error: Callable[[], BaseException] | None = None  # set before ENDED; read without the lock

    def advance(self, life: Life, make_error: Callable[[], BaseException] | None = None) -> bool:
        """Go forwards to *life*; False if the object is there already, or beyond it.

        *make_error*: what makes the error of callers from now on. It makes a new one each time, because each caller's
        gets a traceback of its own.
        """
        with self.lock:
            if self.now >= life:
                return False
            self._make_error = make_error
            self.now = life
            return True

    def error(self) -> BaseException | None:
        """Make the error that a caller gets, or give None before the end."""
        return None if self._make_error is None else self._make_error()

    def forked(self, make_error: Callable[[], BaseException]) -> None:
        """End, in the child of a fork, which has neither the lock's holder nor any other thread."""
        self.lock = _RLock()
        self._make_error = make_error
        self.now = Life.ENDED


class Thread(Protocol):
    """The part of an owning thread that the state of its channels needs."""

    name: str
    state: State

    def error(self) -> BaseException | None: ...


class ChannelState(State):
    """The state of a channel, and the one place where the errors of its callers are made; any thread.

    Each error is a new one, because each caller's gets a traceback of its own.
    """

    def __init__(self, name: Callable[[], str], finished: Callable[[], bool], thread: Thread) -> None:
        """*name* gives the channel's name for the errors. *finished*: whether all that was put has left its pipe."""
        super().__init__()
        self._name = name
        self._finished = finished
        self._thread = thread

    def get_error(self) -> BaseException | None:
        """Make what a get raises when there is no message, or give None."""
        error = self.error()
        if error is None and self.now is Life.CLOSING and self._finished():
            error = self.closed_error()  # a foreign thread may look before the hub has been told
        return error or self._thread.error()

    def put_error(self) -> BaseException | None:
        """Make what a put raises, or give None."""
        error = self.get_error()
        if error is None and self.now is Life.CLOSING:
            error = self.closed_error()
        return error

    def check_open(self) -> None:
        """Raise what callers get if the channel has ended, or is being closed."""
        error = self.put_error()
        if error is not None:
            raise error

    def closed_error(self) -> ClosedError:
        """Make the error of callers that come too late, where nothing more is known of the end."""
        return ClosedError(f"{self._name()} was closed")

    def end(self, cause: BaseException | None) -> Callable[[], BaseException]:
        """Go forwards to ENDED, because of *cause* or (None) a close; what makes the errors of callers from now on."""
        make_error = self._error_of_end(self._name(), cause)
        self.advance(Life.ENDED, make_error)
        return make_error

    def _error_of_end(self, name: str, cause: BaseException | None) -> Callable[[], BaseException]:
        thread = self._thread
        if cause is None:
            by = f" by the shutdown of {thread.name}" if thread.state.now is not Life.OPEN else ""
            return lambda: ClosedError(f"{name} was closed{by}")
        if isinstance(cause, (ClosedError, BrokenError)):  # the owning thread's
            return lambda: thread.error() or cause
        return lambda: broken(f"{name} has ended by an error of its socket: {cause}", cause)
