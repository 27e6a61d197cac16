"""Call: one command under way to the owning thread, and how its caller waits for the answer. Hub side; any thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import zmq
from gevent import monkey
from gevent.event import AsyncResult

from .._engine._mailbox import Mailbox, Reply
from .link import Link
from .wait import Deadline, TimedOut, wait_for_mail, wait_within

_get_ident = monkey.get_original("_thread", "get_ident")

HubMailbox = Mailbox[Callable[[], Any]]


class Waiting:
    """A caller that waits for something, for dumps."""

    __slots__ = ("caller", "since", "what")

    def __init__(self, link: Link, what: str) -> None:
        self.what = what
        self.caller: Any = gevent.getcurrent() if link.here() else _get_ident()
        self.since = time.monotonic_ns()

    @contextlib.contextmanager
    def shown_in(self, waiting: set[Waiting]) -> Iterator[None]:
        """Stand in *waiting* for the length of the block."""
        waiting.add(self)
        try:
            yield
        finally:
            waiting.discard(self)


class Call(Waiting):
    """A command under way.

    A greenlet of the hub waits on an AsyncResult. A foreign thread blocks on a mailbox of its own, so that it gets its
    answer even if the hub is not running.
    """

    __slots__ = ("_answered", "_ended", "_link", "_mailbox", "_result", "reply")

    def __init__(
        self,
        link: Link,
        what: str,
        ended: Callable[[], BaseException | None] = lambda: None,
        mailbox: HubMailbox | None = None,
    ) -> None:
        """*what* is shown in dumps. *ended* makes the error of a caller if the engine has failed, not the command.

        *mailbox*: block on this one, as a foreign thread does, without the hub; several calls may share it.
        """
        super().__init__(link, what)
        self._link = link
        self._ended = ended
        self._answered = False  # the waiting thread writes, or the hub for a greenlet
        self._result: AsyncResult[Any] | None = None
        self._mailbox = mailbox
        if link.here() and mailbox is None:
            self._result = AsyncResult()
            self.reply = link.reply(self._arrived)
        else:
            self._mailbox = mailbox if mailbox is not None else Mailbox()  # one without mail is false
            self.reply = Reply(self._mailbox, self._arrived)

    def wait(self, deadline: Deadline) -> Any:
        """The value, or the error raised; TimedOut at *deadline*."""
        if self._result is not None:
            return wait_within(deadline.left(), self._result.get)
        assert self._mailbox is not None
        while not self._answered:
            if not wait_for_mail(self._mailbox, deadline):
                raise TimedOut
        if self.reply.error is not None:
            raise self._error(self.reply.error)
        return self.reply.value

    def _arrived(self, reply: Reply) -> None:
        self._answered = True
        if self._result is None:
            return
        if reply.error is None:
            self._result.set(reply.value)
        elif not self._link.exiting:  # while the process ends a waiter is left in peace: its traceback is of no use
            self._result.set_exception(self._error(reply.error))

    def _error(self, error: BaseException) -> BaseException:
        ended = self._ended()
        if ended is not None and (ended.__cause__ is error or getattr(error, "errno", None) == zmq.ETERM):
            return ended
        return error


def by_what(waiting: Iterable[Waiting]) -> dict[str, list[tuple[Any, float]]]:
    """The callers that wait, by what they wait for, each with its seconds; see `Line.waiters`."""
    now = time.monotonic_ns()
    found: dict[str, list[tuple[Any, float]]] = {}
    for one in sorted(waiting, key=lambda one: one.since):
        found.setdefault(one.what, []).append((one.caller, (now - one.since) / 1e9))
    return found
