"""Waiting: deadlines, conditions, and lines of waiters. Hub side; any thread.

There are five ways to wait in the project, and three of them are here: a `Line` for a turn at a queue, a `Change` for a
condition, and a raw block on a mailbox for foreign threads and for the exit. `Call` waits for an answer; a fan-out's
inboxes have a wait of their own, made for thousands of waiters.

A Python signal handler (Ctrl-C, sys.exit on SIGTERM) may raise before any line of Python code. docs/design.rst states
what zgreen promises then: no message is lost and no caller is stuck. So the last step of a wait is idempotent, and is
run once more if it was interrupted. It cannot be handed to a helper: the handler may raise as that is being called.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey
from gevent.hub import Waiter

from .._engine._mailbox import Mailbox
from .link import Link

_poll = monkey.get_original("select", "poll")

_LONGEST_POLL = 1e6  # seconds; poll() counts milliseconds in an int of C


class TimedOut(Exception):
    """The time to wait is over. Callers turn it into Full, Empty or False."""


class Deadline:
    """A moment by which a wait must be over, or none."""

    __slots__ = ("at",)

    def __init__(self, timeout: float | None) -> None:
        """*timeout*: seconds from now; None: no limit."""
        self.at = math.inf if timeout is None else time.monotonic() + timeout  # in seconds of time.monotonic()

    def left(self) -> float | None:
        """The seconds that are left, at least 0; None: no limit."""
        return None if self.at == math.inf else max(0.0, self.at - time.monotonic())

    def later(self, seconds: float) -> Deadline:
        """A deadline that is so much later."""
        other = Deadline(None)
        other.at = self.at + seconds
        return other

    def passed(self) -> bool:
        """Whether the moment has come."""
        return time.monotonic() >= self.at

    def milliseconds(self) -> int | None:
        """`left` as poll() takes it."""
        left = self.left()
        return None if left is None else math.ceil(min(left, _LONGEST_POLL) * 1000)


def wait_within(timeout: float | None, wait: Callable[[], Any]) -> Any:
    """Call *wait* in a greenlet; TimedOut after *timeout* seconds. The caller's own gevent.Timeout passes through."""
    if timeout is None:
        return wait()
    timer = gevent.Timeout(timeout)
    try:
        timer.start()  # inside the try: a signal handler may raise after any call, and the timer would go off later
        return wait()
    except gevent.Timeout as expired:
        if expired is not timer:
            raise
        raise TimedOut from None
    finally:
        try:
            timer.close()  # cancel() would leak the timer
        except BaseException:  # a signal handler's: see above
            timer.close()
            raise


def wait_for_mail(mailbox: Mailbox[Callable[[], Any]], deadline: Deadline) -> bool:
    """Block this thread until its *mailbox* is rung, then call what was sent; False at *deadline*.

    There may be nothing to call: an engine rings to say "look again".
    """
    poller = _poll()
    poller.register(mailbox.signaler.fileno(), 1)  # POLLIN
    if mailbox.sleeping():
        while not poller.poll(deadline.milliseconds()) and not len(mailbox):
            if deadline.passed():
                return False
        mailbox.signaler.drain()
    mailbox.asleep = False
    while (item := mailbox.take()) is not None:
        item()
    return True


class Change:
    """A condition that greenlets of one hub wait for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiters: deque[Waiter[None]] = deque()  # the hub's thread alone

    def tell(self) -> None:
        """Have all waiters look at their predicates; any thread."""
        if not self._link.here():
            self._link.mailbox.send(self._wake)
        elif self._waiters:
            self._link.hub.loop.run_callback(self._wake)

    def wait_until(self, predicate: Callable[[], Any], deadline: Deadline) -> bool:
        """Wait until *predicate* is true, as each `tell` makes it looked at; False if it is not at *deadline*.

        On the hub's thread. The hub itself does not wait. While the process ends no waiter is woken: see
        `Link.exiting`.
        """
        while not predicate():
            if deadline.passed() or not self._link.may_wait():
                return False
            waiter: Waiter[None] = Waiter(self._link.hub)
            self._waiters.append(waiter)
            try:
                wait_within(deadline.left(), waiter.get)
            except TimedOut:
                return bool(predicate())
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True

    def _wake(self) -> None:
        """Wake all present waiters; the hub."""
        if self._link.exiting:
            return
        try:
            for waiter in tuple(self._waiters):
                if waiter in self._waiters:  # it has not timed out meanwhile
                    waiter.switch(None)
        except BaseException:  # a signal handler raised: the waiters that were not woken yet must be
            self.tell()
            raise
