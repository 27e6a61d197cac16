"""Subscription: what a fan-out gives to each consumer; a queue's face over an inbox. Hub side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, Protocol

from gevent.queue import Empty

from .._arguments import check_limit, check_seconds, check_timeout
from .._errors import ClosedError, ForkedError
from .._types import S
from ._history import Numbered
from ._inbox import Inbox, MakeError
from ._prefixes import Wanted, wanted_of


class Home(Protocol):
    """The fan-out, as far as its subscriptions are concerned."""

    @property
    def token(self) -> str: ...
    @property
    def checks(self) -> tuple[Callable[[], bool], Callable[[], bool]]: ...
    def check_thread(self) -> None: ...
    def change_one(self, inbox: Inbox, wanted: Wanted) -> None: ...
    def close_one(self, inbox: Inbox, error: MakeError) -> None: ...
    def abandon(self, inbox: Inbox) -> None: ...
    def kept(self, wanted: Wanted, after: int, until: int) -> list[Numbered]: ...


class Subscription(Generic[S]):
    """What :meth:`Fanout.subscribe` gives: a queue of messages, with the getting half of gevent.queue's methods.

    A message is ``bytes``, or a tuple of ``bytes`` if it has several frames (or its channel says ``multipart=True``):
    the same object for all subscriptions, which is why it is not a list. ``with`` closes it at the end. One that is
    forgotten, and not closed, leaves by itself with the next message. Any number of greenlets may get from it, on the
    thread of the pump's hub only.
    """

    def __init__(self, fan: Home, inbox: Inbox, wanted: Wanted, since: int) -> None:
        self._fan = fan
        self._here, self._may_wait = fan.checks
        self._inbox = inbox
        self._wanted = wanted
        self._since = since  # the number of the last message that was received before this was made

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """What it wants."""
        return self._wanted.prefixes

    @property
    def exact(self) -> bool:
        """Whether :attr:`prefixes` are whole topics."""
        return self._wanted.exact

    @property
    def dropped(self) -> int:
        """How many messages it has lost by its own policy."""
        return self._inbox.dropped

    @property
    def closed(self) -> bool:
        """Whether no more messages come to it; those that are there can still be got."""
        return self._inbox.error is not None

    def change(self, *prefixes: str | bytes, exact: bool | None = None) -> None:
        """Want *prefixes* from now on, in place of what it wanted before.

        :param prefixes: as of :meth:`Fanout.subscribe`.
        :param exact: likewise; None: as before.
        :raises TypeError: one of these is not what it should be.
        :raises ClosedError, BrokenError: the subscription has ended.

        It is one step: a message that is wanted before and after comes once. What had come before can still be got.
        libzmq is told of new prefixes before old ones are taken back; if the caller is killed while it waits for that,
        the change is made all the same. You will not get what was published before the publisher heard of a new prefix.
        """
        self._fan.check_thread()
        wanted = wanted_of(prefixes, self._wanted.exact if exact is None else exact)
        if self._inbox.error is not None:
            raise self._inbox.error()
        self._wanted = wanted
        self._fan.change_one(self._inbox, wanted)

    # ------------------------------------------------------------------ the queue

    def qsize(self) -> int:
        """How many messages wait to be got."""
        return len(self._inbox)

    def __len__(self) -> int:
        return len(self._inbox)

    def __bool__(self) -> bool:
        """True, as of gevent's queues: being empty is not being false."""
        return True

    def empty(self) -> bool:
        """Whether no message waits to be got."""
        return not len(self._inbox)

    def full(self) -> bool:
        """Whether there is no room: the next message is subject to the policy."""
        return len(self._inbox) >= self._inbox.maxsize

    def get(self, block: bool = True, timeout: float | None = None) -> S:
        """The oldest message; wait for one if there is none.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Empty: none within *timeout*, or none now if *block* is false.
        :raises ClosedError: it was closed or disconnected, or the fan-out or the channel was closed, and all that had
            come has been got.
        :raises BrokenError: likewise, for a channel that has ended by itself.

        An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken.
        """
        self._wait(block, timeout)
        item = self._inbox.take()
        message: S = item.message if type(item) is Numbered else item  # as `_message`, without a call
        return message

    def get_nowait(self) -> S:
        """``get(block=False)``."""
        return self.get(False)

    def peek(self, block: bool = True, timeout: float | None = None) -> S:
        """The message that :meth:`get` would give, which stays; parameters and errors as there."""
        self._wait(block, timeout)
        message: S = _message(self._inbox.peek())
        return message

    def peek_nowait(self) -> S:
        """``peek(block=False)``."""
        return self.peek(False)

    def get_many(self, limit: int, timeout: float | None = None) -> list[S]:
        """The oldest messages, at least one and up to *limit*: wait for one if there is none, not for more.

        :param timeout: seconds; None: no limit; 0: do not wait.
        :raises gevent.queue.Empty: none within *timeout*.
        :raises ClosedError, BrokenError: as :meth:`get`.
        """
        check_limit(limit)
        self._wait(True, timeout)
        return [_message(item) for item in self._inbox.take_many(limit)]

    def get_numbered(self, limit: int, timeout: float | None) -> list[tuple[int | None, Any]]:
        """Internal: as `get_many`, each with its number in the fan-out, None if that keeps no messages; none at the
        end."""
        self._wait(True, timeout)
        if self.closed and self.empty():
            return []
        items = self._inbox.take_many(limit)
        return [(item.number, item.message) if type(item) is Numbered else (None, item) for item in items]

    def _wait(self, block: bool, timeout: float | None) -> None:
        """Return when there is something to take, or when the caller does not want to wait."""
        if not self._here():
            self._fan.check_thread()  # raises
        if timeout is not None:
            check_timeout(timeout)
        if block and timeout != 0 and not self._inbox.ready() and self._may_wait():
            self._inbox.wait(timeout)

    # ------------------------------------------------------------------ iteration

    def __iter__(self) -> Iterator[S]:
        return self

    def __next__(self) -> S:
        """The next message; ends when the subscription, the fan-out or the channel was closed. A subscription that was
        disconnected has lost something, so that raises :class:`ClosedError`; what get() raises otherwise is raised."""
        return self._next(None)

    def messages(self, timeout: float | None = 15.0) -> Iterator[S | None]:
        """Iterate as ``for message in subscription`` does, but give None whenever nothing has come for *timeout*
        seconds: the moment for a heartbeat. ``timeout=None``: never."""
        check_seconds("timeout", timeout)
        return self._messages(timeout)

    def _messages(self, timeout: float | None) -> Iterator[S | None]:
        while True:
            try:
                message = self._next(timeout)
            except Empty:
                message = None
            except StopIteration:
                return
            yield message

    def _next(self, timeout: float | None) -> S:
        try:
            return self.get(timeout=timeout)
        except ForkedError:
            raise
        except ClosedError:
            if self._inbox.full:
                raise
            raise StopIteration from None

    # ------------------------------------------------------------------ after a reconnect

    @property
    def token(self) -> str:
        """Internal: tells the numbers of one fan-out from those of another."""
        return self._fan.token

    def resume(self, find: Callable[[list[Numbered]], list[Numbered] | None]) -> None:
        """Internal: begin where an earlier subscription ended. *find* gets the kept messages that are wanted, received
        before this subscription was made, and returns those to begin with; None: as if this had not been called."""
        self._fan.check_thread()
        found = find(self._fan.kept(self._wanted, 0, self._since))
        if found is not None:
            since = self._since
            self._inbox.begin_with(found, lambda item: item.number > since)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Want no more messages; what has come can still be got, and then :class:`ClosedError`. Again: nothing."""
        self._fan.close_one(self._inbox, partial(ClosedError, f"{self} was closed"))
        self._inbox.left = True

    def __enter__(self) -> Subscription[S]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._inbox.left = True
        if self._inbox.error is None:
            self._fan.abandon(self._inbox)

    def __str__(self) -> str:
        shown = [repr(prefix) for prefix in self.prefixes[:3]] + ["..."] * (len(self.prefixes) > 3)
        return f"<zgreen.Subscription to {'exactly ' * self.exact}{', '.join(shown)}>"

    def __repr__(self) -> str:
        maxsize = self._inbox.maxsize
        limit = "" if maxsize == sys.maxsize else f" of {maxsize}"
        state = "closed" if self.closed else "open"
        return f"{str(self)[:-1]}: {state}, {len(self)}{limit} messages wait, {self.dropped} dropped>"

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


def _message(item: Any) -> Any:
    """What a user gets: of a fan-out that keeps messages, the inboxes hold them with their numbers."""
    return item.message if type(item) is Numbered else item
