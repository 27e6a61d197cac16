"""The errors that zgreen raises itself (a leaf: imports gevent's ShutDown only).

::

    ZgreenError
     +-- ClosedError     you (or the pump's shutdown) closed it; also a gevent.queue.ShutDown
     |    +-- ForkedError    it belongs to the parent process
     +-- BrokenError     it ended by itself; ``__cause__`` says why

``Full`` and ``Empty`` are gevent's own, ``zmq.ZMQError`` is pyzmq's own: both pass unchanged.
"""

from __future__ import annotations

from typing import Any

from gevent.queue import ShutDown

__all__ = ["BrokenError", "ClosedError", "ForkedError", "ZgreenError"]


class ZgreenError(Exception):
    """What all errors of zgreen's own have in common."""

    source: Any = None  #: the channel, subscription or queue that has ended, if :func:`zgreen.select` raises this


class ClosedError(ZgreenError, ShutDown):
    """The channel, or the pump it belongs to, was closed; the message says which.

    It stays so: every later call gives this error again. It is a :class:`gevent.queue.ShutDown` too, so that code
    written for gevent's queues needs no change. You will not get it for a channel that ended by itself: that is
    :class:`BrokenError`.
    """


class ForkedError(ClosedError):
    """The channel or pump was made by the parent of this process and cannot be used here.

    Make a new one (``zgreen.get_pump()`` gives each process its own). The parent's is untouched.
    """


class BrokenError(ZgreenError):
    """The pump's owning thread, or the channel's socket, ended by itself; ``__cause__`` is the reason."""


def again(error: ClosedError | BrokenError) -> ClosedError | BrokenError:
    """Return a new error like *error*: each caller that is given one adds a traceback to it."""
    new = type(error)(*error.args)
    new.__cause__ = error.__cause__
    return new


def broken(text: str, cause: BaseException | None) -> BrokenError:
    """Return a BrokenError that says *text*, with the reason."""
    error = BrokenError(text)
    error.__cause__ = cause
    return error
