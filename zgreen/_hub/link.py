"""Link: one hub as the owning thread and foreign threads see it. Hub side; imports gevent and the leaves.

It owns the hub's mailbox, the io watcher that listens for rings, the answers that have not come yet, and the reports.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

from .._engine._mailbox import Mailbox, Reply
from .reports import Reports

_get_ident = monkey.get_original("_thread", "get_ident")
_threads = monkey.get_original("_thread", "_local")()

Inbox: TypeAlias = "deque[Callable[[], Any]]"


def _nothing(_inbox: Inbox) -> None:
    """Stand in for the engine's `look` before there is an engine and after its end."""


class _Mark:
    """It lives as long as its thread. The system gives a thread's number to another one later, so it proves nothing."""


def _this_thread() -> _Mark:
    try:
        mark: _Mark = _threads.mark
    except AttributeError:
        mark = _threads.mark = _Mark()
        _threads.last = _Last()  # a thread's marks end in the order in which they were set
    return mark


class _Last:
    """Destroys the hubs whose threads have ended, when all else of such a thread is done.

    gevent throws a LoopExit into the hub's parent for that, and the interpreter keeps it, with all frames on the stack,
    as the thread is ending. Called from here there are none of ours.
    """

    # each thread appends its own, and takes it; with what is called as the last that the thread does
    hubs: ClassVar[deque[tuple[gevent.hub.Hub, Callable[[], Any]]]] = deque()

    def __del__(self) -> None:
        for _ in range(len(self.hubs)):
            hub, then = self.hubs.popleft()
            if hub.thread_ident != _get_ident():
                self.hubs.append((hub, then))
                continue
            try:
                if hub.loop is not None:
                    hub.destroy(destroy_loop=True)
            finally:
                then()


class Link:
    """One hub, seen from other threads; made on the hub's thread."""

    def __init__(self, hub: gevent.hub.Hub, on_thread_end: Callable[[], Any] = lambda: None) -> None:
        """*on_thread_end* is called when the hub's thread has ended, on that thread, after its last Python code.

        Not in the child of a fork, which the thread never was in.
        """
        self.hub = hub
        # A fork ends the marks of the other threads, too, before any code of ours runs in the child.
        pid = os.getpid()
        self._thread = weakref.ref(_this_thread(), lambda _: on_thread_end() if os.getpid() == pid else None)
        self.mailbox: Mailbox[Callable[[], Any]] = Mailbox()
        self.reports = Reports(hub, self.here)
        self.look: Callable[[Inbox], Any] = _nothing  # appends what the engine has for the hub beside the mailbox
        # --- any thread reads these
        self.wakeups = 0  # the hub's thread writes: how often the hub was rung
        self.stopped = False  # the hub's thread writes
        self.exiting = False  # the exiting thread writes: the process ends, so waiters of this hub are left to wait
        # --- the hub's thread alone
        self.replies: set[Reply] = set()  # answers that have not come yet
        self._inbox: Inbox = deque()  # taken from the mailbox, not called yet
        self._watcher: Any = None
        self._turned = False  # the loop has run all callbacks since `breathe` looked last
        self._marking: Any = None  # gevent's callback that will call `_mark`

    # ------------------------------------------------------------------ which thread, which greenlet

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
        """Whether no other thread runs the hub: it is the caller's own, or its thread has ended."""
        return self.here() or self._thread() is None

    def may_wait(self) -> bool:
        """Whether the caller may wait: a greenlet or a foreign thread may, the hub itself (a callback) may not."""
        return gevent.getcurrent() is not self.hub

    def breathe(self) -> None:
        """Let the other greenlets run, unless they have run since the last call.

        Call this before an operation, never after it: a kill or a Timeout arrives here, and would lose a message that
        was already got, or repeat one that was already put.
        """
        if not self.here():
            return
        if not self._turned and self.may_wait():
            gevent.sleep(0)
        self._turned = False
        if self._marking is None or not self._marking.pending:
            self._marking = self.hub.loop.run_callback(self._mark)

    def _mark(self) -> None:
        """The loop calls this after all other callbacks, so every greenlet that could run has had its turn."""
        self._turned = True

    # ------------------------------------------------------------------ listening

    def start(self) -> None:
        """Listen for rings. The watcher keeps the loop alive, so a waiting get() never ends with LoopExit."""
        if self._watcher is not None:
            return
        self._watcher = self.hub.loop.io(self.mailbox.signaler.fileno(), 1)
        # The watcher goes through run_callback, which is C code. gevent stops an io watcher for good if its callback
        # raises, and a signal handler (Ctrl-C, sys.exit on SIGTERM) may raise inside any Python callback.
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
        """Let go of what belongs to the parent process; in the child of a fork."""
        self.stop()
        self._inbox.clear()
        self.reports.forget()

    def bury_hub(self, then: Callable[[], Any]) -> None:
        """Have the hub destroyed, and *then* called: its thread has ended, on which this is called."""
        _Last.hubs.append((self.hub, then))

    # ------------------------------------------------------------------ answers and mail

    def reply(self, then: Callable[[Reply], Any]) -> Reply:
        """Make a reply on which the hub will call *then*; on the hub's thread."""

        def arrived(reply: Reply) -> None:
            self.replies.discard(reply)
            then(reply)

        reply = Reply(self.mailbox, arrived)
        self.replies.add(reply)
        return reply

    def fail_replies(self, make_error: Callable[[], BaseException | None]) -> None:
        """Answer everything that is still asked, with an error: the owning thread never will; the hub's thread."""
        for reply in tuple(self.replies):
            reply.error = make_error()
            reply()

    def take_mail(self) -> None:
        """Call what was sent, in one pass over what is there now; the hub, or the thread that stands in for it.

        A signal handler may raise after any call. So an item is always either in the mailbox or in the inbox, and it
        leaves the inbox only when it was called.
        """
        inbox = self._inbox
        # Count first: what the owning thread notes beside its mailbox comes before the mail about its end.
        count = len(self.mailbox)
        self.look(inbox)
        self.mailbox.move(count, inbox)
        for _ in range(len(inbox)):
            if not inbox:  # the process ended while the hub was in here, and the exiting thread did the rest
                return
            item = inbox[0]
            try:
                item()
            except BaseException as error:  # noqa: BLE001 (reported: one receiver's fault is not the next one's)
                if not isinstance(error, Exception):
                    # A signal handler has raised, and the item has not done its work: once more, and only once, because
                    # an item that raises this by itself must not be called without end.
                    with contextlib.suppress(BaseException):
                        item()
                self.hub.handle_error(item, type(error), error, error.__traceback__)
            if inbox and inbox[0] is item:
                inbox.popleft()
        if self._watcher is None:  # stopped: a ring would not be heard
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
        except BaseException:  # a signal handler raised between two lines: there would be no other ring
            if not self.stopped:
                # The descriptor stays readable until it is drained. A callback of the loop would not do: a signal
                # handler may raise as it begins.
                self.mailbox.signaler.poke()
            raise
