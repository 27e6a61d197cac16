"""Received: the getting half of `Channel`, with the names of gevent's queues. Hub side; any thread, but as it says."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol

from .._arguments import check_limit, check_timeout
from .._errors import ClosedError, ForkedError
from .._types import M
from .lanes import Lanes
from .many import get_many
from .queues import RecvQueue


class Reader(Protocol):
    """The one object that gets from a channel: a fan-out."""

    @property
    def closed(self) -> bool: ...


class Received(Generic[M]):
    """What was received, until a consumer gets it."""

    _lanes: Lanes
    _take: Callable[[], M | None]  # one call into the engine, where nothing is in the way
    _take_now: Callable[[], M | None]
    _reader: weakref.ref[Reader] | None = None  # the hub's thread writes, any thread reads

    def get(self, block: bool = True, timeout: float | None = None) -> M:
        """The oldest message, ``bytes`` or a list of ``bytes``; wait for one if there is none.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Empty: none within *timeout*, or none now if *block* is false.
        :raises TypeError: the socket cannot receive.
        :raises ClosedError: the channel or its pump is closed, and all that was received has been got.
        :raises BrokenError: likewise, for one that has ended by itself.
        :raises RuntimeError: a :class:`Fanout` gets from it.

        An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken.
        """
        if timeout is not None:
            check_timeout(timeout)
        message = self._take() if block else self._take_now()
        return message if message is not None else self._free().get(block, timeout)

    def get_nowait(self) -> M:
        """``get(block=False)``."""
        message = self._take_now()
        return message if message is not None else self._free().get(False, None)

    def get_many(self, limit: int, timeout: float | None = None) -> list[M]:
        """The oldest messages, at least one and up to *limit*, but 1,000 at most: wait for one if there is none, not
        for more.

        :param timeout: seconds; None: no limit; 0: do not wait.
        :raises gevent.queue.Empty: none within *timeout*.
        :raises TypeError, ValueError: *limit* is no int of 1 or more.
        :raises ClosedError, BrokenError: as :meth:`get`.

        An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken. What other greenlets wait
        for in :meth:`get` is left to them.
        """
        check_limit(limit)
        if timeout is not None:
            check_timeout(timeout)
        return get_many(self._free(), limit, timeout)

    def __iter__(self) -> Iterator[M]:
        return self

    def __next__(self) -> M:
        """The next message; ends when the channel is closed, raises if it broke or belongs to the parent process."""
        try:
            return self.get()
        except ForkedError:
            raise
        except ClosedError:
            raise StopIteration from None

    # ------------------------------------------------------------------ what can be got

    def peek(self, block: bool = True, timeout: float | None = None) -> M:
        """The message that :meth:`get` would give, which stays; parameters and errors as there.

        Another consumer may get it before you do.
        """
        check_timeout(timeout)
        message: M = self._free().peek(block, timeout)
        return message

    def peek_nowait(self) -> M:
        """``peek(block=False)``."""
        return self.peek(False)

    def qsize(self) -> int:
        """How many received messages have not been got; 0 of a socket that cannot receive. From any thread."""
        lanes = self._lanes
        return lanes.receives.qsize() if lanes.kind.receives else 0

    def __len__(self) -> int:
        return self.qsize()

    def __bool__(self) -> bool:
        """True, as of gevent's queues: being empty is not being false."""
        return True

    def empty(self) -> bool:
        """Whether :meth:`qsize` is 0. From any thread."""
        return not self.qsize()

    # ------------------------------------------------------------------ one reader alone

    def _give_to(self, reader: Reader) -> None:
        """Let *reader* alone get from this, by way of `seam.get_many`, until it is closed; the hub's thread."""
        self._reader = weakref.ref(reader)
        self._take = self._take_now = _nothing  # so that every get asks `_free`

    def _take_back(self) -> None:
        """Let all get from this again; the hub's thread."""
        self._reader = None
        self._take, self._take_now = self._lanes.pipe.take, self._lanes.pipe.take_now

    def _read_by(self) -> Reader | None:
        """The open reader that alone gets from this; any thread."""
        reader = self._reader() if self._reader is not None else None
        return None if reader is None or reader.closed else reader

    def _free(self) -> Lanes:
        """The lanes, to get from; an error while a reader alone may."""
        reader = self._read_by()
        if reader is not None:
            error = self._lanes.state.get_error()
            raise error or RuntimeError(
                f"{self}: {reader} gets from it, and would lose what you take: subscribe there, or close it first"
            )
        return self._lanes

    # ------------------------------------------------------------------ gevent's protocol of waiting

    def ready(self) -> bool:
        """Whether :meth:`get` would return or raise at once: a message can be got for which no getter waits,
        or the channel has ended. On the thread of the pump's hub only, as are :meth:`rawlink` and :meth:`unlink`.

        :raises TypeError: the socket cannot receive.
        :raises RuntimeError: this is another thread, or a :class:`Fanout` gets from it.
        """
        return self._linked().ready()

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Have the hub call ``callback(channel)``, once, when a message can be got or the channel has ended: what
        ``gevent.wait`` and ``gevent.iwait`` use. The callback must not wait.

        It stands in line with the greenlets in :meth:`get`, and its turn is the length of the call: in it,
        :meth:`get_nowait` (once) and a greenlet that is switched to from it need not wait behind the others. What is
        not taken then is for the next in line. Errors as of :meth:`ready`.
        """
        self._linked().line.link(callback, self)

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one :meth:`rawlink` of *callback*; nothing, if it has been called. Errors as of :meth:`ready`, but
        a :class:`Fanout` does not matter."""
        self._linked(self._lanes).line.unlink(callback)

    def _linked(self, lanes: Lanes | None = None) -> RecvQueue:
        """The receive queue, for a caller that waits for several things at once."""
        lanes = lanes or self._free()
        if not lanes.kind.receives:
            raise lanes.kind.cannot("receive", lanes.name)
        lanes.link.check_here(f"{self}: waiting for several things at once")
        return lanes.receives


def _nothing() -> None:
    """In place of the short way into the engine: there is a reason to take the exact one."""
