"""Life: where an object is in its life, and the error of its callers from the end on (a leaf of the hub side)."""

from __future__ import annotations

import enum
from collections.abc import Callable

from gevent import monkey

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
