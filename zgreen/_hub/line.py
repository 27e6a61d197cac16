"""Line: the waiters for one condition of a pipe (room, or a message), first come, first served. Hub side; any thread.

Only the head of the line may take its turn, in its own greenlet or thread. So a waiter that was killed or timed out has
taken nothing. A waiter that leaves has the next head look. The pipe rings the bell of the head: the owning thread wakes
a foreign thread directly, even if the hub is not running.

A callback may stand in line too (`link`), for a caller that waits for several things at once. It is called at the head
of the line when it could go on, and it has left the line by then. For the length of the call the turn is its own.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import getcurrent, monkey
from gevent.hub import Waiter

from .._engine._mailbox import Bell, Mailbox
from .link import Link
from .wait import Deadline, TimedOut, wait_for_mail, wait_within

# A real lock, whatever was patched; reentrant, because a signal handler or a finalizer may put, too.
_RLock = monkey.get_original("_thread", "RLock")
_get_ident = monkey.get_original("_thread", "get_ident")

if TYPE_CHECKING:
    _Switch = Waiter[None]
else:
    _Switch = Waiter


class _GreenletWaiter(_Switch):
    """A greenlet of the hub."""

    __slots__ = ("bell", "shown", "since")

    counted = True
    foreign = False

    def __init__(self, link: Link, bell: Bell) -> None:
        super().__init__(link.hub)
        self.bell = bell  # the hub's, for the whole line
        self.shown: Any = getcurrent()  # in dumps
        self.since = time.monotonic_ns()

    def wake(self) -> None:
        """Switch to it; the hub."""
        self.switch(None)

    def wait(self, deadline: Deadline) -> None:
        """Wait to be woken; TimedOut at *deadline*."""
        wait_within(deadline.left(), self.get)
        self.clear()


class _ThreadWaiter:
    """A foreign thread. All of it blocks, on a mailbox of its own."""

    counted = True
    foreign = True

    def __init__(self) -> None:
        self._mailbox: Mailbox[Callable[[], Any]] = Mailbox()
        self.bell = Bell(self._mailbox, lambda: None)
        self.shown: Any = _get_ident()
        self.since = time.monotonic_ns()

    def wake(self) -> None:
        """Have it go on; any thread."""
        self.bell.ring()

    def wait(self, deadline: Deadline) -> None:
        """Wait to be woken; TimedOut at *deadline*."""
        if not wait_for_mail(self._mailbox, deadline):
            raise TimedOut


class _CallbackWaiter:
    """A callback. The hub's thread alone puts it in line and takes it out."""

    counted = False
    foreign = False

    def __init__(self, line: Line, bell: Bell, callback: Callable[[Any], Any], subject: Any) -> None:
        self._line = line
        self.bell = bell
        self.callback = self.shown = callback
        self.subject = subject
        self.since = time.monotonic_ns()

    def wake(self) -> None:
        """Leave the line and call the callback, now; the hub."""
        self._line.call_back(self)


class Line:
    """The waiters for one condition.

    *ready* says whether the head could go on. *listen* tells the pipe which bell to ring (None: none) and how many
    items are reserved for the waiters.
    """

    def __init__(self, link: Link, ready: Callable[[], bool], listen: Callable[[Bell | None, int], None]) -> None:
        self._link = link
        self._ready = ready
        self._listen = listen
        self._bell = Bell(link.mailbox, self.dispatch)  # that of every greenlet and callback
        self._idle_bell = Bell(link.mailbox, self._tell_idle)
        # The lock covers _waiters, the counts below and the call of _listen, so the pipe's bell is always the head's.
        self._lock = _RLock()
        self._waiters: deque[_GreenletWaiter | _ThreadWaiter | _CallbackWaiter] = deque()
        # --- any thread writes these, under the lock; callbacks do not count
        self.waits = 0  # how many waits there were
        self._now = 0  # how many of them go on
        self._waited = 0  # nanoseconds: the ends of all finished waits less the beginnings of all waits
        # --- the hub's thread alone writes these; any thread reads _turn and _listeners
        self._turn = False  # a callback is being called, and its turn has not been used
        self._listeners: tuple[Callable[[], Any], ...] = ()  # called when there is something and no waiter
        self._dispatching = False
        self._callback: Any = None  # gevent's callback that will call `dispatch`

    def __len__(self) -> int:
        return len(self._waiters)

    # ------------------------------------------------------------------ waiting

    def wait_turn(self, attempt: Callable[[], bool], deadline: Deadline) -> None:
        """Wait until *attempt*, made at the head of the line, succeeds; TimedOut at *deadline*."""
        here = self._link.here()
        waiter = _GreenletWaiter(self._link, self._bell) if here else _ThreadWaiter()
        try:  # from here on, because a signal handler may raise after any call, and must leave no waiter in line
            with self._lock:
                self.waits += 1
                self._now += 1
                self._waited -= waiter.since
                self._waiters.append(waiter)  # no call since the counts: a waiter is in line if it is counted
                self._tell_pipe()
            # The attempt comes after the bell is set, so what happens in between rings.
            while not (self._waiters[0] is waiter and attempt()):
                waiter.wait(deadline)
        finally:
            try:
                self._pass_on(waiter)
            except BaseException:  # a signal handler's: see `wait`
                self._pass_on(waiter)
                raise

    def _pass_on(self, waiter: _GreenletWaiter | _ThreadWaiter) -> None:
        """Leave the line, and have the next head look."""
        self._leave(waiter)
        if waiter.foreign or not self._dispatching:  # `dispatch` goes on to the next head by itself
            self.nudge()

    def _leave(self, waiter: _GreenletWaiter | _ThreadWaiter | _CallbackWaiter) -> None:
        """Take *waiter* out of the line. Idempotent: safe to repeat after an interrupted call."""
        with self._lock:
            waiters, now = self._waiters, time.monotonic_ns()
            if waiters and waiters[0] is waiter:
                place = 0
            else:
                place = waiters.index(waiter) if waiter in waiters else -1
            if place >= 0:
                del waiters[place]  # no call from here to the counts: a signal cannot separate them
                if waiter.counted:
                    self._now -= 1
                    self._waited += now
            self._tell_pipe()

    def _tell_pipe(self) -> None:
        """Tell the pipe which bell to ring and how many items are reserved; under the lock.

        A callback's turn reserves one more item, so that the short way leaves it there.
        """
        waiting = len(self._waiters)
        if waiting:
            bell: Bell | None = self._waiters[0].bell
        else:
            bell = self._idle_bell if self._listeners else None
        self._listen(bell, waiting + self._turn)

    # ------------------------------------------------------------------ what is reserved for the waiters

    def reserved(self) -> int:
        """How many items belong to waiters, so that a newcomer must leave them. The turn of a callback is one.

        0 for the callback whose turn it is, and for a greenlet that it switches to.
        """
        if self._turn:
            return 0 if self._link.here() else len(self._waiters) + 1
        return len(self._waiters)

    def claim(self) -> int:
        """Like `reserved`, but uses up the turn if it is the caller's."""
        reserved = self.reserved()
        if self._turn and not reserved and self._link.here():
            self._set_turn(False)
        return reserved

    # ------------------------------------------------------------------ callbacks

    def link(self, callback: Callable[[Any], Any], subject: Any) -> None:
        """Have the hub call ``callback(subject)``, once, at the head of the line; the hub's thread."""
        with self._lock:
            self._waiters.append(_CallbackWaiter(self, self._bell, callback, subject))
            self._tell_pipe()
        self.nudge()  # after the bell is set: what happened before did not ring

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one `link` of *callback* that has not been called; the hub's thread."""
        with self._lock:
            for waiter in self._waiters:
                if isinstance(waiter, _CallbackWaiter) and waiter.callback == callback:
                    self._leave(waiter)
                    break
        self.nudge()

    def call_back(self, waiter: _CallbackWaiter) -> None:
        """Give a callback its turn, whether or not it is used; the hub."""
        self._leave(waiter)
        self._set_turn(True)
        try:
            waiter.callback(waiter.subject)
        except BaseException:  # noqa: BLE001 (one callback's fault is not the next one's)
            self._link.hub.handle_error((waiter.callback, waiter.subject), *sys.exc_info())
        finally:
            self._set_turn(False)

    def _set_turn(self, given: bool) -> None:
        with self._lock:
            self._turn = given
            self._tell_pipe()

    def listen_idle(self, callback: Callable[[], Any], listen: bool = True) -> None:
        """Have the hub call *callback* whenever there is something and no waiter, or no more; the hub's thread."""
        listeners = tuple(one for one in self._listeners if one != callback)
        with self._lock:
            self._listeners = (*listeners, callback) if listen else listeners
            self._tell_pipe()

    def _tell_idle(self) -> None:
        for listener in self._listeners:
            listener()

    # ------------------------------------------------------------------ giving turns

    def nudge(self) -> None:
        """Have the head look, if it could go on; any thread."""
        if not self._waiters:
            if self._listeners and self._ready():  # the bell that rang may have been that of a waiter that has left
                self._idle_bell.ring()
            return
        if not self._ready():
            return
        head = self._head()
        if head is None:  # it has left meanwhile, and had the next one look
            return
        if head.foreign or not self._link.here():
            head.bell.ring()
        elif not self._dispatching and not (self._callback and self._callback.pending):
            loop = self._link.hub.loop
            self._callback = loop.run_callback(self.dispatch)
            loop.run_callback(self.nudge)  # once more: a signal handler may raise as the first callback begins

    def dispatch(self) -> None:
        """Give turns, at most one to each present waiter; the hub, in a callback of its loop."""
        if self._link.may_wait():
            # The exiting thread runs this in place of the hub, but only the hub can switch to a greenlet.
            self._callback = self._link.hub.loop.run_callback(self.dispatch)
            return
        self._dispatching = True
        try:
            for _ in range(len(self._waiters)):
                if not self._waiters or not self._ready():
                    return
                head = self._head()  # after the look, in which a foreign thread may have left
                if head is None:
                    return
                head.wake()
                if head.foreign:
                    return  # it goes on by itself, and has the next one look
        finally:
            self._dispatching = False
            head = self._head()
            if head is not None and not head.foreign:
                self.nudge()  # waiters that came meanwhile may be able to go on

    def _head(self) -> _GreenletWaiter | _ThreadWaiter | _CallbackWaiter | None:
        """The first in line, or None; a foreign thread may leave at any time."""
        try:
            return self._waiters[0]
        except IndexError:
            return None

    # ------------------------------------------------------------------ what is told about the waiters

    def waited(self) -> float:
        """Seconds of all waits together, those that go on included; any thread."""
        with self._lock:
            return (self._waited + self._now * time.monotonic_ns()) / 1e9

    def waiters(self) -> list[tuple[Any, float]]:
        """Each waiter (a greenlet, a thread's number, a callback) and the seconds it has waited; any thread."""
        now = time.monotonic_ns()
        return [(waiter.shown, (now - waiter.since) / 1e9) for waiter in tuple(self._waiters)]

    def forked(self) -> None:
        """Forget the threads that wait, which the child of a fork does not have; nor has it the lock's holder."""
        self._lock = _RLock()
        for waiter in self._waiters:
            if isinstance(waiter, _ThreadWaiter):
                self._now -= 1
                self._waited += time.monotonic_ns()
        self._waiters = deque(waiter for waiter in self._waiters if not isinstance(waiter, _ThreadWaiter))
