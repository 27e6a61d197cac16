"""Inbox: the bounded queue of one subscription, and the Waker that tells the waiters of many of them. Hub side.

All of this is the hub's thread's alone. A greenlet that puts into an inbox does not switch: its waiters are told by the
hub, later, a bounded number at a time, so that 10,000 waiters do not keep the hub from its other work.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Waiter
from gevent.queue import Empty

OVERFLOWS = ("drop_oldest", "drop_newest", "disconnect")

# Inboxes in one callback of the loop. gevent looks at the clock, then at timers and descriptors, every 50 callbacks:
# with 25 here and 250 deliveries in one go a timer is about 3 ms late under full load, with four times as many 15 ms.
_PASS = 25

MakeError = Callable[[], BaseException]


class Waker:
    """Has the hub look after inboxes in which something has happened."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self._due: deque[Inbox] = deque()
        self._scheduled = False
        self._told = 0  # inboxes, so far
        self.urgent = False  # an inbox is full, and its waiters have not been told yet

    def add(self, inbox: Inbox) -> None:
        """Have *inbox* tell its waiters soon; any greenlet."""
        if inbox.due:
            return
        inbox.due = True
        self._due.append(inbox)
        if not self._scheduled:
            self._scheduled = True
            self.hub.loop.run_callback(self._run)

    def catch_up(self) -> None:
        """Return when all waiters that are due now have been told; for a greenlet that would otherwise overtake
        them."""
        self.urgent = False
        goal = self._told + len(self._due)
        while self._told < goal:
            gevent.sleep(0)

    def _run(self) -> None:
        """One pass; the hub."""
        try:
            for _ in range(min(len(self._due), _PASS)):
                inbox = self._due[0]
                inbox.due = False
                inbox.tell()
                self._due.popleft()
                self._told += 1
        finally:  # a signal handler may raise between any two lines; then the first one is told once more
            self._scheduled = bool(self._due)
            if self._scheduled:
                self.hub.loop.run_callback(self._run)


# A waiter: a greenlet in `get`, by way of its Waiter, or a callback; and what that is called with. One is made for each
# message that is waited for, and a NamedTuple takes three times as long.
_Link = tuple[Callable[[Any], Any], Any]


class Inbox:
    """Messages for one subscription, what to do when there are too many, and its waiters."""

    __slots__ = (
        "_at_full",
        "_items",
        "_links",
        "_maxsize",
        "_overflow",
        "_waker",
        "dropped",
        "due",
        "error",
        "full",
        "left",
    )

    def __init__(self, waker: Waker, maxsize: int | None, overflow: str, at_full: Callable[[Inbox], Any]) -> None:
        self._waker = waker
        self._maxsize = sys.maxsize if maxsize is None else maxsize
        self._overflow = overflow
        self._at_full = at_full  # called once with this inbox, if it is "disconnect" that the user wants
        self._items: deque[Any] = deque()
        self._links: list[_Link] = []  # mostly one, or none: a deque would cost 600 bytes
        self.due = False  # in the waker's list
        self.dropped = 0
        self.full = False  # that was its end
        self.left = False  # the consumer wants nothing more: it has been told of the end, or has gone
        self.error: MakeError | None = None  # the end: what getters get when there is nothing left

    def __len__(self) -> int:
        return len(self._items)

    @property
    def maxsize(self) -> int:
        """How many messages there is room for; ``sys.maxsize``: no limit."""
        return self._maxsize

    def begin_with(self, items: list[Any], keep: Callable[[Any], bool]) -> None:
        """Put *items* before those that are there, of which only the ones for which *keep* is true stay. The oldest
        items for which there is no room are dropped, and counted."""
        there = [item for item in self._items if keep(item)]
        room = max(0, self._maxsize - len(there))
        lost = max(0, len(items) - room)
        self.dropped += lost
        self._items = deque([*items[lost:], *there])
        if self._links and self._items:
            self._waker.add(self)

    def offer(self, message: Any) -> bool:
        """Whether *message* is in; it never waits."""
        if self.error is not None:
            return False
        if len(self._items) >= self._maxsize:
            self.dropped += 1
            if self._overflow == "disconnect":
                self.full = True
                self._at_full(self)
            if self._overflow != "drop_oldest":
                return False
            self._items.popleft()
        self._items.append(message)
        if self._links:
            self._waker.add(self)
            if len(self._items) >= self._maxsize:
                self._waker.urgent = True
        return True

    def end(self, error: MakeError) -> None:
        """Take no more; getters get what is there, then *error*."""
        if self.error is None:
            self.error = error
            self._waker.add(self)

    def ready(self) -> bool:
        return bool(self._items) or self.error is not None

    def peek(self) -> Any:
        """The oldest message, which stays; or Empty, or the error of the end."""
        if self._items:
            return self._items[0]
        if self.error is not None:
            self.left = True
            raise self.error()
        raise Empty

    def take(self) -> Any:
        """The oldest message, or Empty, or the error of the end."""
        if self._items:
            return self._items.popleft()
        return self.peek()

    def take_many(self, limit: int) -> list[Any]:
        """As `take`, but up to *limit* messages."""
        items = self._items
        if len(items) <= limit and items:
            taken = list(items)
            items.clear()
            return taken
        return [self.take() for _ in range(min(limit, len(items)) or 1)]

    def wait(self, timeout: float | None) -> None:
        """For a caller that has found nothing to take: return when there is something, or Empty after *timeout*
        seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            waiter: Waiter[Any] = Waiter()
            self._links.append((waiter.switch, None))
            timer = None
            try:
                if deadline is not None:
                    timer = gevent.Timeout.start_new(max(0.0, deadline - time.monotonic()), Empty)
                waiter.get()
            finally:
                if timer is not None:
                    timer.close()
                if self._links:  # empty if this waiter was told, and no other waits
                    self.unlink(waiter.switch)
            if self._items or self.error is not None:  # as `ready`, without a call for each message
                return

    def link(self, callback: Callable[[Any], Any], subject: Any) -> None:
        """Have the hub call ``callback(subject)``, once, when `take` would not be Empty."""
        self._links.append((callback, subject))
        if self.ready():
            self._waker.add(self)

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        for link in self._links:
            if link[0] == callback:
                self._links.remove(link)
                return

    def tell(self) -> None:
        """Tell the waiters, in their order, as long as there is something to take; the hub.

        A greenlet that is told runs within the call, so it has taken its message before the next one is told.
        """
        try:
            for _ in range(len(self._links)):
                if not self._links or not (self._items or self.error is not None):
                    return
                link = self._links[0]
                try:
                    del self._links[0]  # no call from here to the callback's: a signal cannot separate them
                    link[0](link[1])
                except BaseException:  # noqa: BLE001 (one callback's fault is not the next one's)
                    self._waker.hub.handle_error(link, *sys.exc_info())
        finally:
            if self._links and self.ready():
                self._waker.add(self)
