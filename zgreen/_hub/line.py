"""Who waits for one condition of a pipe (room, a message): first come, first served. Hub side; any thread.

Only the head of the line may take its turn, in its own greenlet or thread, so a killed or timed out waiter has taken
nothing. Whoever leaves sees to it that the next head is told. The pipe's bell is always the head's: the owning thread
wakes a foreign thread directly, even if the hub is not running.

A callback may stand in line too (`link`), for whoever waits for several things at once. It is told when it is at the
head and could go on; it has left the line then, whether or not it takes its turn.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import getcurrent, monkey
from gevent.hub import Waiter

from .._engine._mailbox import Bell, Mailbox
from .link import Link, TimedOut, wait_for_mail, wait_within

# A real one, whatever was patched; reentrant, because a signal handler or a finalizer may put, too.
_RLock = monkey.get_original("_thread", "RLock")
_get_ident = monkey.get_original("_thread", "get_ident")

if TYPE_CHECKING:
    _Waiter = Waiter[None]
else:
    _Waiter = Waiter


class _GreenletWaiter(_Waiter):
    """A greenlet of the hub."""

    __slots__ = ("since", "who")

    who: Any
    since: int


class _ThreadWaiter:
    """A foreign thread: it blocks, all of it, on a mailbox of its own."""

    def __init__(self) -> None:
        self._mailbox: Mailbox[Callable[[], Any]] = Mailbox()
        self.bell = Bell(self._mailbox, lambda: None)
        self.who: Any = None
        self.since = 0

    def switch(self, _value: None) -> None:
        """Wake it."""
        self.bell.ring()

    def get(self) -> None:
        """Wait to be woken."""
        wait_for_mail(self._mailbox, math.inf)

    def clear(self) -> None:
        """Be ready to wait again."""

    def wait_until(self, deadline: float) -> None:
        if not wait_for_mail(self._mailbox, deadline):
            raise TimedOut


class _LinkWaiter:
    """A callback; the hub's thread alone puts it in line and takes it out."""

    def __init__(self, line: Line, callback: Callable[[Any], Any], subject: Any) -> None:
        self._line = line
        self.callback = self.who = callback
        self.subject = subject
        self.since = time.monotonic_ns()

    def switch(self, _value: None) -> None:
        """Leave the line and call, now; the hub only."""
        self._line.tell(self)


class Line:
    """The line of one queue; *ready* says whether the head could go on, *listen* takes the bell to ring (or None) and
    how many wait."""

    def __init__(self, link: Link, ready: Callable[[], bool], listen: Callable[[Bell | None, int], None]) -> None:
        self._link = link
        self._ready = ready
        self._listen = listen
        self._bell = Bell(link.mailbox, self.dispatch)  # every greenlet's
        self._idle_bell: Bell | None = None  # under the lock
        self._lock = _RLock()  # over _waiters and _listen together, so that the bell is the head's
        self._waiters: deque[_GreenletWaiter | _ThreadWaiter | _LinkWaiter] = deque()
        # the hub's thread alone
        self._dispatching = False  # in dispatch
        self._callback: Any = None  # gevent's, which will call dispatch, if it is pending
        # whoever waits writes these, under the lock; callbacks do not count
        self.waits = 0  # how often somebody had to wait
        self._now = 0  # so many wait now
        self._waited = 0  # nanoseconds: the ends of all waits, less their beginnings, so less those of `_now`
        self._turn = False  # a callback is being told, and nobody has taken its turn; the hub's thread alone writes

    def __len__(self) -> int:
        return len(self._waiters)

    def wait_turn(self, attempt: Callable[[], bool], timeout: float | None) -> None:
        """Wait until *attempt*, made at the head of the line, succeeds; TimedOut after *timeout* seconds."""
        here = self._link.here()
        waiter = _GreenletWaiter(self._link.hub) if here else _ThreadWaiter()
        waiter.who = getcurrent() if here else _get_ident()
        waiter.since = time.monotonic_ns()
        deadline = None if timeout is None else time.monotonic() + timeout
        try:  # from here on: a signal handler may raise after any call, and who is gone must not stand in line
            with self._lock:
                self.waits += 1
                self._now += 1
                self._waited -= waiter.since
                self._waiters.append(waiter)  # no call between the counts and this one: it is in line if it is counted
                self._tell_pipe()
            # The attempt comes after the bell is set: what happens in between rings.
            while not (self._waiters[0] is waiter and attempt()):
                if deadline is None:
                    waiter.get()
                elif isinstance(waiter, _ThreadWaiter):
                    waiter.wait_until(deadline)
                else:
                    wait_within(max(0.0, deadline - time.monotonic()), waiter.get)
                waiter.clear()
        finally:
            try:
                self._pass_on(waiter, here)
            except BaseException:  # a signal handler's: once more
                self._pass_on(waiter, here)
                raise

    def _pass_on(self, waiter: _GreenletWaiter | _ThreadWaiter, here: bool) -> None:
        self._leave(waiter)
        if not here or not self._dispatching:
            self.nudge()

    def _leave(self, waiter: _GreenletWaiter | _ThreadWaiter | _LinkWaiter) -> None:
        """Also for one who does not stand in line, or whom a signal handler has kept from leaving wholly."""
        with self._lock:
            waiters, counted, now = self._waiters, type(waiter) is not _LinkWaiter, time.monotonic_ns()
            if waiters and waiters[0] is waiter:
                place = 0
            else:
                place = waiters.index(waiter) if waiter in waiters else -1
            if place >= 0:
                del waiters[place]  # from here on no call: gone and counted are one
                if counted:
                    self._now -= 1
                    self._waited += now
            self._tell_pipe()

    def waited(self) -> float:
        """Seconds, of all waits together, those that go on included; any thread."""
        with self._lock:
            return (self._waited + self._now * time.monotonic_ns()) / 1e9

    def who(self) -> list[tuple[Any, float]]:
        """Who stands in line (a greenlet, a thread's ident, a callback), and for how many seconds; any thread."""
        now = time.monotonic_ns()
        return [(waiter.who, (now - waiter.since) / 1e9) for waiter in tuple(self._waiters)]

    def _tell_pipe(self) -> None:
        """Tell the pipe which bell to ring and how much is reserved for the waiters, and for the turn of a callback
        while it lasts: that is claimed here. Under the lock."""
        waiting = len(self._waiters)
        if not waiting:
            bell = self._idle_bell
        else:
            head = self._waiters[0]
            bell = head.bell if type(head) is _ThreadWaiter else self._bell
        self._listen(bell, waiting + self._turn)

    def listen_idle(self, bell: Bell | None) -> None:
        """Have *bell* rung when there is something while nobody waits; any thread."""
        with self._lock:
            self._idle_bell = bell
            self._tell_pipe()

    def link(self, callback: Callable[[Any], Any], subject: Any) -> None:
        """Have the hub call ``callback(subject)``, once, at the head of the line and when it could go on; the hub's
        thread."""
        with self._lock:
            self._waiters.append(_LinkWaiter(self, callback, subject))
            self._tell_pipe()
        self.nudge()  # after the bell is set: what happened before did not ring

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one `link`, if it has not been told; the hub's thread."""
        with self._lock:
            for waiter in self._waiters:
                if isinstance(waiter, _LinkWaiter) and waiter.callback == callback:
                    self._leave(waiter)
                    break
        self.nudge()

    def tell(self, waiter: _LinkWaiter) -> None:
        """The turn of a callback, whether or not anybody takes it; the hub."""
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

    def reserved(self) -> int:
        """How many turns belong to those who wait: a newcomer must leave them. None to whoever is being told."""
        return 0 if self._turn and self._link.here() else len(self._waiters)

    def claim(self) -> int:
        """`reserved`, for a newcomer who now tries: being told is good for one turn."""
        if self._turn and self._link.here():
            self._set_turn(False)
            return 0
        return len(self._waiters)

    def forked(self) -> None:
        """In the child of a fork: the threads that wait are not there, nor is the one that may have held the lock."""
        self._lock = _RLock()
        for waiter in self._waiters:
            if isinstance(waiter, _ThreadWaiter):
                self._now -= 1
                self._waited += time.monotonic_ns()
        self._waiters = deque(waiter for waiter in self._waiters if not isinstance(waiter, _ThreadWaiter))

    def nudge(self) -> None:
        """Have the head look, if it could go on; any thread."""
        if not self._waiters or not self._ready():
            return
        try:
            head = self._waiters[0]
        except IndexError:  # it left, and saw to the next
            return
        if self._link.here() and type(head) is not _ThreadWaiter:
            if not self._dispatching and not (self._callback and self._callback.pending):
                loop = self._link.hub.loop
                self._callback = loop.run_callback(self.dispatch)
                loop.run_callback(self.nudge)  # a signal handler may raise as the one before begins
        else:
            (head.bell if type(head) is _ThreadWaiter else self._bell).ring()

    def dispatch(self) -> None:
        """Give turns, no more than there are waiters now; the hub, in a callback of its loop."""
        if self._link.may_wait():  # somebody in place of the hub, as the process ends; only the hub can wake a greenlet
            self._callback = self._link.hub.loop.run_callback(self.dispatch)
            return
        self._dispatching = True  # those who leave need not call for us
        try:
            for _ in range(len(self._waiters)):
                if not self._waiters or not self._ready():
                    return
                head = self._waiters[0]
                head.switch(None)
                if type(head) is _ThreadWaiter:
                    return  # it goes on by itself, and nudges the next
        finally:
            self._dispatching = False
            self._again()

    def _again(self) -> None:
        """After a bounded pass: the next one, if those who came meanwhile could go on."""
        if self._waiters and not isinstance(self._waiters[0], _ThreadWaiter):
            self.nudge()
