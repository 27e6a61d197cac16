"""Subscription: what a fan-out gives to each who wants messages; a queue's face over an inbox. Hub side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from .._errors import ClosedError, ForkedError
from ._inbox import Inbox, MakeError


class Home(Protocol):
    """The fan-out, as far as its subscriptions are concerned."""

    def check_thread(self) -> None: ...
    def may_wait(self) -> bool: ...
    def close_one(self, inbox: Inbox, error: MakeError) -> None: ...
    def abandon(self, inbox: Inbox) -> None: ...


class Subscription:
    """What :meth:`Fanout.subscribe` gives: a queue of messages, with gevent.queue's ``get``.

    A message is ``bytes``, or a tuple of ``bytes`` if it has several frames (or its channel says ``multipart=True``):
    the same object for all subscriptions, which is why it is not a list. ``with`` closes it at the end. One that is
    forgotten, and not closed, leaves by itself with the next message. Any number of greenlets may get from it, on the
    thread of the pump's hub only.
    """

    def __init__(self, fan: Home, inbox: Inbox, prefixes: tuple[bytes, ...]) -> None:
        self._fan = fan
        self._inbox = inbox
        self._prefixes = prefixes

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """What it wants."""
        return self._prefixes

    @property
    def dropped(self) -> int:
        """How many messages it has lost by its own policy."""
        return self._inbox.dropped

    @property
    def closed(self) -> bool:
        """Whether no more messages come to it; those that are there can still be got."""
        return self._inbox.error is not None

    def qsize(self) -> int:
        """How many messages wait to be got."""
        return len(self._inbox)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The oldest message; wait for one if there is none.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Empty: none within *timeout*, or none now if *block* is false.
        :raises ClosedError: it was closed or disconnected, or the fan-out or the channel was closed, and all that had
            come has been got.
        :raises BrokenError: likewise, for a channel that has ended by itself.

        An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken.
        """
        self._fan.check_thread()
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number of seconds")
        if self._inbox.ready() or not block or timeout == 0 or not self._fan.may_wait():
            return self._inbox.take()
        return self._inbox.wait(timeout)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(False)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next message; ends when the subscription, the fan-out or the channel was closed. A subscription that was
        disconnected has lost something, so that raises :class:`ClosedError`; what get() raises otherwise is raised."""
        try:
            return self.get()
        except ForkedError:
            raise
        except ClosedError:
            if self._inbox.full:
                raise
            raise StopIteration from None

    def close(self) -> None:
        """Want no more messages; what has come can still be got, and then :class:`ClosedError`. Again: nothing."""
        self._fan.close_one(self._inbox, partial(ClosedError, f"{self} was closed"))

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._inbox.error is None:
            self._fan.abandon(self._inbox)

    def __repr__(self) -> str:
        shown = [repr(prefix) for prefix in self._prefixes[:3]] + ["..."] * (len(self._prefixes) > 3)
        return f"<zgreen.Subscription to {', '.join(shown)}>"

    # ------------------------------------------------------------------ gevent's protocol of waiting

    def ready(self) -> bool:
        """Whether :meth:`get` would return or raise at once."""
        self._fan.check_thread()
        return self._inbox.ready()

    def rawlink(self, callback: Any) -> None:
        """Have the hub call ``callback(subscription)``, once, when :meth:`ready`: for ``gevent.wait``. The callback
        must not wait."""
        self._fan.check_thread()
        self._inbox.link(callback, self)

    def unlink(self, callback: Any) -> None:
        """Undo one :meth:`rawlink` of *callback*; nothing, if it has been called."""
        self._fan.check_thread()
        self._inbox.unlink(callback)
