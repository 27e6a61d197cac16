"""The hub's end of the crossing: its mailbox, the watcher that listens, and who is on which thread.

Owns the io watcher and the mailbox into which the owning thread writes; hub side; imports gevent and the leaves.
"""

from __future__ import annotations

import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

from .._engine._mailbox import Mailbox, Reply

_threads = monkey.get_original("_thread", "_local")()
_poll = monkey.get_original("select", "poll")

_LONGEST_POLL = 1e6  # seconds

Inbox: TypeAlias = "deque[Callable[[], Any]]"


def _nothing(_inbox: Inbox) -> None:
    """In place of an engine's `look`."""


class _Thread:
    """A thread, by a mark that ends with it; its ident may be the next one's."""


def _this_thread() -> _Thread:
    try:
        thread: _Thread = _threads.mark
    except AttributeError:
        thread = _threads.mark = _Thread()
    return thread


class Link:
    """One hub, as the owning thread and foreign threads see it."""

    def __init__(self, hub: gevent.hub.Hub) -> None:
        """On the hub's thread."""
        self.hub = hub
        self._thread = weakref.ref(_this_thread())
        self.mailbox: Mailbox[Callable[[], Any]] = Mailbox()
        self.replies: set[Reply] = set()  # the hub's thread alone: those that have not come yet
        self.look: Callable[[Inbox], Any] = _nothing  # appends what the engine has beside the mailbox
        self.stopped = False
        self.wakeups = 0  # how often it was rung; the hub's thread writes
        self.exiting = False  # the process ends: who waits is not woken for that
        self._inbox: Inbox = deque()  # taken from the mailbox, not done
        self._watcher: Any = None
        # the hub's thread alone: see breathe
        self._turned = False
        self._marking: Any = None  # gevent's callback, which will call _mark, if it is pending

    def here(self) -> bool:
        """Whether the caller is on the hub's thread."""
        return get_hub_if_exists() is self.hub

    def check_here(self, what: object) -> None:
        """Raise a RuntimeError unless the caller is on the hub's thread; *what* begins its text."""
        if not self.here():
            raise RuntimeError(
                f"{what} works on the thread of the pump's hub only: from another thread use put() and get()"
            )

    def alone(self) -> bool:
        """Whether nobody else runs the hub: it is the caller's, or its thread has ended."""
        return self.here() or self._thread() is None

    def may_wait(self) -> bool:
        """Whether the caller may wait: not the hub itself (a callback of the loop). A foreign thread may."""
        return gevent.getcurrent() is not self.hub

    def breathe(self) -> None:
        """Let the other greenlets run, unless they have run since the last call. Before an operation, never after: a
        kill or Timeout comes here, and what was put or got by then would be lost or done twice."""
        if not self.here():
            return
        if not self._turned and self.may_wait():
            gevent.sleep(0)
        self._turned = False
        if self._marking is None or not self._marking.pending:
            self._marking = self.hub.loop.run_callback(self._mark)

    def _mark(self) -> None:
        """The loop has gone through its callbacks: whoever could run has had a turn."""
        self._turned = True

    def start(self) -> None:
        """Listen; on the hub's thread. The watcher keeps the loop alive, so a waiting get() never is a LoopExit."""
        if self._watcher is not None:
            return
        self._watcher = self.hub.loop.io(self.mailbox.signaler.fileno(), 1)
        # By way of run_callback, which is C: gevent stops an io watcher for good if its callback raises, and in Python
        # code any signal handler (Ctrl-C, sys.exit on SIGTERM) may raise.
        self._watcher.start(self.hub.loop.run_callback, self._on_ring)
        self.mailbox.asleep = True

    def stop(self) -> None:
        """Stop listening, for good; on the hub's thread."""
        self.stopped = True
        self.look = _nothing
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def forked(self) -> None:
        """In the child of a fork, whose hub may be in the middle of its mail: that is the parent's."""
        self.stop()
        self._inbox.clear()

    def reply(self, then: Callable[[Reply], Any]) -> Reply:
        """A reply on which *then* is called by the hub; on the hub's thread."""

        def arrived(reply: Reply) -> None:
            self.replies.discard(reply)
            then(reply)

        reply = Reply(self.mailbox, arrived)
        self.replies.add(reply)
        return reply

    def take_mail(self) -> None:
        """Call what was sent, in a pass bounded by what is there now; the hub.

        A signal handler may raise after any call, so nothing is ever taken from one place and not yet in the next.
        """
        inbox = self._inbox
        count = len(self.mailbox)  # first: what the owning thread has noted beside the mailbox comes before its end
        self.look(inbox)
        self.mailbox.move(count, inbox)
        for _ in range(len(inbox)):
            if not inbox:  # the process ended while the hub was in here, and somebody else did the rest
                return
            item = inbox[0]
            try:
                item()
            except BaseException as error:  # noqa: BLE001 (one receiver's fault is not the next one's)
                if not isinstance(error, Exception):  # a signal handler's: the receiver has not done its work
                    inbox.append(item)
                self.hub.handle_error(item, type(error), error, error.__traceback__)
            if inbox and inbox[0] is item:
                inbox.popleft()
        if self._watcher is None:  # stopped: nobody would hear a ring
            if inbox:
                self.hub.loop.run_callback(self.take_mail)
        elif inbox or not self.mailbox.sleeping():
            self.mailbox.signaler.ring()

    def _on_ring(self) -> None:
        if self.stopped:
            return
        self.wakeups += 1
        try:
            self.mailbox.signaler.drain()
            self.take_mail()
        except BaseException:  # a signal handler's, between two lines: nobody would ring again
            if not self.stopped:
                self.mailbox.signaler.poke()  # which lasts: a callback of the loop might be interrupted as it begins
            raise


class TimedOut(Exception):
    """The time to wait is over; callers make Full, Empty or False of it."""


def wait_within(timeout: float | None, wait: Callable[[], Any]) -> Any:
    """Call *wait* in a greenlet; TimedOut after *timeout* seconds. The caller's own gevent.Timeout passes through."""
    if timeout is None:
        return wait()
    timer = gevent.Timeout(timeout)
    try:
        timer.start()  # in here: a signal handler may raise after any call, and a timer that is left goes off
        return wait()
    except gevent.Timeout as expired:
        if expired is not timer:
            raise
        raise TimedOut from None
    finally:
        try:
            timer.close()  # cancel() would leak the timer
        except BaseException:  # a signal handler's
            timer.close()
            raise


def _milliseconds_until(deadline: float) -> int | None:
    """As poll() wants it, which takes an int of C."""
    if deadline == math.inf:
        return None
    return math.ceil(min(max(0.0, deadline - time.monotonic()), _LONGEST_POLL) * 1000)


def wait_for_mail(mailbox: Mailbox[Callable[[], Any]], deadline: float) -> bool:
    """Block this thread until its *mailbox* is rung, and take what is there (perhaps nothing: an engine may ring to
    say "look"); False at *deadline* (monotonic seconds)."""
    poller = _poll()
    poller.register(mailbox.signaler.fileno(), 1)  # POLLIN
    if mailbox.sleeping():
        while not poller.poll(_milliseconds_until(deadline)) and not len(mailbox):
            if time.monotonic() >= deadline:
                return False
        mailbox.signaler.drain()
    mailbox.asleep = False
    while (item := mailbox.take()) is not None:
        item()
    return True
