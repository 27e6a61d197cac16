"""Call: a command under way to the owning thread, and how its asker waits for it. Hub side; any thread."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import zmq
from gevent import monkey
from gevent.event import AsyncResult

from .._engine._mailbox import Mailbox, Reply
from .link import Link, TimedOut, wait_for_mail, wait_within

_get_ident = monkey.get_original("_thread", "get_ident")


class Callers:
    """Who waits for the answer to a command, for `dump`; any thread adds and takes itself away."""

    def __init__(self) -> None:
        self._now: dict[object, tuple[str, Any, int]] = {}

    @contextlib.contextmanager
    def waiting(self, what: str, here: bool) -> Iterator[None]:
        """While the caller waits. *here*: it is a greenlet of the hub's thread."""
        key = object()
        self._now[key] = (what, gevent.getcurrent() if here else _get_ident(), time.monotonic_ns())
        try:
            yield
        finally:
            self._now.pop(key, None)

    def who(self) -> dict[str, list[tuple[Any, float]]]:
        """By what they wait for: as `Line.who`."""
        now = time.monotonic_ns()
        found: dict[str, list[tuple[Any, float]]] = {}
        for what, who, since in tuple(self._now.values()):
            found.setdefault(what, []).append((who, (now - since) / 1e9))
        return found


class Call:
    """A greenlet of the hub waits on an AsyncResult; a foreign thread blocks on a mailbox of its own, so it gets its
    answer even if the hub is not running."""

    __slots__ = ("_ended", "_mailbox", "_result", "reply")

    def __init__(
        self, link: Link, ended: Callable[[], BaseException | None] = lambda: None, blocking: bool = False
    ) -> None:
        """*blocking*: do as a foreign thread does, without the hub."""
        self._ended = ended  # what a caller gets if it was the engine that failed, not the command
        self._result: AsyncResult[Any] | None = None
        self._mailbox: Mailbox[Callable[[], Any]] | None = None
        if link.here() and not blocking:
            self._result = AsyncResult()
            self.reply = link.reply(self._arrived)
        else:
            self._mailbox = Mailbox()
            self.reply = Reply(self._mailbox, lambda _: None)

    def wait(self, timeout: float | None = None) -> Any:
        """The value, or the error raised; TimedOut after *timeout* seconds."""
        if self._result is not None:
            return wait_within(timeout, self._result.get)
        assert self._mailbox is not None
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        if not wait_for_mail(self._mailbox, deadline):
            raise TimedOut
        if self.reply.error is not None:
            raise self._error(self.reply.error)
        return self.reply.value

    def _arrived(self, reply: Reply) -> None:
        assert self._result is not None
        if reply.error is not None:
            self._result.set_exception(self._error(reply.error))
        else:
            self._result.set(reply.value)

    def _error(self, error: BaseException) -> BaseException:
        ended = self._ended()
        if ended is not None and (ended.__cause__ is error or getattr(error, "errno", None) == zmq.ETERM):
            return ended
        return error
