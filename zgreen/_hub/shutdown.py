"""The ways down: a shutdown, the exit of the process, the end of a hub's thread, a dropped pump, a fork. Hub side.

All but the fork are one sequence: close all channels, wait for their ends, stop the owning thread, wait for its end. A
greenlet waits for answers in the hub's mailbox. A thread that is not the hub's, and the exiting thread, block on a
mailbox of their own. Nothing is registered at import: a process that only imports zgreen pays nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import gevent
import zmq
from gevent import monkey

from .._engine._mailbox import Mailbox
from .._errors import BrokenError, ClosedError
from .call import Call
from .life import Life
from .thread import Member, OwningThread
from .wait import Deadline, TimedOut

logger = logging.getLogger("zgreen")

LINGER = 5.0  # seconds; the default of a close, and the most at the exit of the process, in total
GRACE = 2.0  # seconds that a shutdown gives libzmq and the thread beyond the linger
_GRACE_EACH = 0.002  # seconds more for each channel: libzmq ends one socket after the other
_HUB_LIMIT = 0.5  # seconds; at exit, for the hub of another thread, which may not be running
_SETTLE = 0.05  # seconds in which a hub gets from a callback into the lock that parks it
_PARKED = 60.0  # seconds; longer than the rest of an exit
_PATIENCE = 1.0  # seconds of an exit that need no explanation
_POLL = 0.001  # seconds between two looks at a thread that is about to end

_sleep = monkey.get_original("time", "sleep")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")


class _Ends:
    """The ends of all channels of one owning thread, and of the thread, under way."""

    def __init__(self, thread: OwningThread, linger: float | None, limit: float, mailbox: Mailbox[Any] | None) -> None:
        """Begin to close; do not wait. *mailbox*: wait on this one, without the hub."""
        thread.state.advance(Life.CLOSING)
        self._thread = thread
        self._mailbox = mailbox
        self._unsent_before = thread.unsent()
        self._closes: list[tuple[Member, Call]] = [
            (member, member.begin_close(linger, limit, mailbox)) for member in tuple(thread.members)
        ]

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the ends of the channels; False if one has not ended by *deadline*."""
        return all(self._wait(close, deadline) for _, close in self._closes)

    def stop_thread(self, deadline: Deadline) -> bool:
        """Have the owning thread end; False if it has not by *deadline*."""
        thread = self._thread
        if thread.error() is not None:  # it has ended; in the child of a fork no answer would come
            return True
        call = Call(thread.link, "shutdown", thread.error, self._mailbox)
        thread.send(call.reply, thread.engine.stop)
        return self._wait(call, deadline)

    def complain(self) -> None:
        """Log that the thread did not end in time."""
        logger.error("%s: its thread did not end in time; is a socket of its context still open?", self._thread.name)

    def unsent(self) -> int:
        """How many messages were not sent: of channels that have not ended, how many might still be."""
        count = self._unsent_before
        for member, close in self._closes:
            value = close.reply.value
            count += member.pending() if value is None else value.total
        return max(count, self._thread.unsent())

    @staticmethod
    def _wait(call: Call, deadline: Deadline) -> bool:
        try:
            call.wait(deadline)
        except TimedOut:
            return False
        except (ClosedError, BrokenError, zmq.ZMQError):
            pass  # the thread has ended meanwhile, which is what is waited for
        return True


class Shutdown:
    """The ways down of one owning thread."""

    def __init__(self, thread: OwningThread) -> None:
        self.thread = thread
        self._greenlet: gevent.Greenlet[..., None] | None = None  # does the work; the hub's thread alone
        self._exit_ends: _Ends | None = None  # the exiting thread alone, or that which has set `claim`
        self.claim: Any = None  # under `_claims`: see `_hub_thread_ended`
        thread.on_hub_thread_end = self._hub_thread_ended
        watch(self)

    # ------------------------------------------------------------------ while the process goes on

    def run(self, linger: float | None, timeout: float | None) -> int:
        """Bring the thread down, from any thread, within *timeout* seconds; how many messages were not sent."""
        thread = self.thread
        deadline = Deadline((LINGER if linger is None else linger) + self._grace() if timeout is None else timeout)
        if not thread.link.here():
            return self._run_outside(linger, deadline)
        if self._greenlet is None and thread.state.now is not Life.ENDED:
            thread.state.advance(Life.CLOSING)
            # A greenlet of its own: a kill of the caller does not leave the work half done.
            self._greenlet = gevent.spawn(self._run_in_greenlet, linger, deadline)
        if not thread.link.may_wait():
            return thread.unsent() + sum(member.pending() for member in tuple(thread.members))
        if self._greenlet is not None:
            self._greenlet.join()
        elif thread.pool is not None:  # it has ended by itself; its OS thread may not be gone yet
            thread.changed.wait_until(lambda: thread.gone, deadline)
        thread.link.reports.wait()
        return thread.unsent()

    def _grace(self) -> float:
        return GRACE + _GRACE_EACH * len(self.thread.members)

    def dropped(self, _pump: Any = None) -> None:
        """The pump was collected: its messages are sent as at exit; any thread, in the middle of anything."""
        if self.thread.pool is None:
            self.thread.end_unstarted()
        else:
            self.thread.link.mailbox.send(self._run_dropped)

    def _run_dropped(self) -> None:
        if self.thread.state.now is Life.OPEN:
            self.run(None, None)

    def _run_in_greenlet(self, linger: float | None, deadline: Deadline) -> None:
        thread = self.thread
        ends = _Ends(thread, linger, LINGER, None)
        ends.wait(deadline)
        if thread.pool is None:  # it was never started: it ends as any other does, as the end of its context may block
            thread.spawn()
        if not (ends.stop_thread(deadline) and thread.changed.wait_until(lambda: thread.gone, deadline)):
            thread.link.reports.add(ends.complain)
            thread.link.hub.loop.run_callback(thread.run_over)  # give it up
            thread.changed.wait_until(lambda: thread.gone, Deadline(None))

    def _run_outside(self, linger: float | None, deadline: Deadline) -> int:
        """Without the hub, which may not be running any more; a foreign thread."""
        thread = self.thread
        if thread.pool is None or thread.error() is not None:
            thread.state.advance(Life.CLOSING)
            return thread.unsent()
        ends = _Ends(thread, linger, LINGER, Mailbox())
        if not (ends.wait(deadline) and ends.stop_thread(deadline)):
            ends.complain()
        thread.unsent_outside = max(thread.unsent_outside, ends.unsent())
        return thread.unsent_outside

    # ------------------------------------------------------------------ the end of the process, or of the hub's thread

    def begin_exit(self, deadline: Deadline, park: bool) -> bool:
        """See `Watched`."""
        thread = self.thread
        if thread.pool is None or thread.state.now is Life.ENDED:
            return False
        thread.link.exiting = park
        thread.link.reports.held = True  # see `_telling`
        self._exit_ends = _Ends(thread, None, deadline.left() or 0.0, thread.exit_mailbox)
        return True

    def closes_by(self, deadline: Deadline) -> bool:
        """Whether all channels have ended by *deadline*; after `begin_exit`."""
        return self._exit_ends is None or self._exit_ends.wait(deadline)

    def queued(self) -> int:
        """How many messages libzmq has not taken; any thread."""
        return sum(member.pending() for member in tuple(self.thread.members))

    def end_exit(self, deadline: Deadline) -> None:
        """See `Watched`."""
        assert self._exit_ends is not None
        ends, link = self._exit_ends, self.thread.link
        late = deadline.later(self._grace())
        if not link.alone():
            if not ends.wait(late):
                ends.complain()
            with _telling(late):
                self._have_hub_report(ends, late)
            return
        if not (ends.wait(late) and ends.stop_thread(late)):
            ends.complain()
        for _ in range(2):  # in place of the hub; what a traced channel has lost is told by way of replies
            link.take_mail()
        with _telling(late):
            link.reports.tell_now(late.left() or 0.0)

    def _have_hub_report(self, ends: _Ends, deadline: Deadline) -> None:
        """Wait until the hub of another thread has told what was not sent."""
        link = self.thread.link
        heard, told = (Call(link, "exit", mailbox=self.thread.exit_mailbox) for _ in range(2))

        def report() -> None:
            heard.reply.complete()
            link.reports.add(told.reply.complete)
            link.reports.release()

        link.mailbox.send(report)
        try:
            heard.wait(Deadline(_HUB_LIMIT))
            told.wait(deadline)
        except TimedOut:  # that hub does not run, or a log handler of the user's takes too long
            unsent = ends.unsent()
            if unsent:
                logger.warning("%s: %d messages were not sent", self.thread.name, unsent)

    def park(self, parked: set[Any]) -> None:
        """Have the thread of another hub wait for the end of the process. *parked* are the hubs that do.

        CPython ends a thread that asks for the GIL in the last phase of an exit by pthread_exit, and greenlet does not
        survive that in a thread that is running a hub. In a lock it does not ask.
        """
        link = self.thread.link
        if link.hub in parked or link.alone():
            return
        parked.add(link.hub)
        lock = _allocate_lock()
        lock.acquire()
        heard = Call(link, "exit", mailbox=self.thread.exit_mailbox)

        def wait_there() -> None:
            heard.reply.complete()
            lock.acquire(True, _PARKED)

        link.mailbox.send(wait_there)
        with contextlib.suppress(TimedOut):  # that hub does not run
            heard.wait(Deadline(_HUB_LIMIT))
            _sleep(_SETTLE)

    def _hub_thread_ended(self) -> None:
        """The thread that ran the hub has ended; on that thread, after its last Python code.

        All pumps of the hub are brought down here, as at exit, and so is the hub: no greenlet of it can run again.
        """
        if _exited is None:  # the interpreter has taken this module apart
            return
        hub = self.thread.link.hub
        claim = _allocate_lock()
        claim.acquire()
        with _claims:
            if _exited:  # the interpreter takes the marks of threads away that still run
                return
            ended = [one for one in tuple(_watched) if isinstance(one, Shutdown) and one.thread.link.hub is hub]
            for one in ended:
                one.claim = claim
        try:  # an exit that begins meanwhile leaves these to this thread, and waits for it
            bring_down(ended, park=False)
            for one in ended:
                one._leave_dead_hub()
                _watched.discard(one)
        finally:
            self.thread.link.bury_hub(claim.release)

    def _leave_dead_hub(self) -> None:
        thread, deadline = self.thread, Deadline(GRACE)
        while thread.pool is not None and thread.pool.size and not deadline.passed():
            _sleep(_POLL)  # the worker still uses the loop for a moment
        with contextlib.suppress(Exception):  # the loop may have been destroyed already
            thread.leave_dead_hub()

    # ------------------------------------------------------------------ fork, and dumps

    def forked(self) -> None:
        """See `Watched`."""
        self.thread.forked()

    def dump(self) -> str:
        """See `Watched`."""
        return self.thread.dump()


class Watched(Protocol):
    """What must be looked after at exit and in the child of a fork: an owning thread, or a proxy's."""

    def begin_exit(self, deadline: Deadline, park: bool) -> bool:
        """Begin to end, do not wait; False if there is nothing to do. *park*: waiters are left to wait."""

    def end_exit(self, deadline: Deadline) -> None:
        """Wait for what `begin_exit` began, without the hub."""

    def park(self, parked: set[Any]) -> None:
        """The process ends: have another thread that runs the hub do nothing any more."""

    def forked(self) -> None:
        """This is the child of a fork: touch no libzmq object."""

    def dump(self) -> str:
        """A picture in words; any thread, and a signal handler."""


# Any thread adds and discards; each is one operation of C.
_watched: weakref.WeakSet[Watched] = weakref.WeakSet()
_registered = False  # survives a fork, as what was registered does
_multiprocess_pid = 0
_claims = _allocate_lock()  # held for a moment, by the exiting thread and by threads that end
# Held while reports are told without the hub, or by another hub on request. Under `monkey.patch_all()` the lock of a
# log handler belongs to a hub, in most programs to the main thread's. A thread that has to wait for it while that hub
# does not run any more waits for ever. So they tell one after the other.
_tellers = _allocate_lock()
_exited: bool | None = False  # the exiting thread writes, under `_claims`: `_at_exit` has begun


@contextlib.contextmanager
def _telling(deadline: Deadline) -> Iterator[None]:
    """Hold `_tellers`; but without it from *deadline* on: a report may take any time."""
    tellers = _tellers
    held = tellers.acquire(True, deadline.left() or 0.0)
    try:
        yield
    finally:
        if held:
            tellers.release()


def watch(one: Watched) -> None:
    """Look after *one* from now on."""
    global _registered
    _watched.add(one)
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    _register_with_multiprocessing()


def watched() -> list[Watched]:
    """All that are looked after; any thread, and a signal handler."""
    return list(_watched)


def bring_down(ones: Sequence[Watched], park: bool) -> None:
    """End them all, together, within `LINGER`, without the hub. *park*: the process ends.

    The hub does not run meanwhile, the calling thread itself waits for the owning threads. For with the hub all other
    greenlets would run on, with tracebacks of those that find their channel closed, and in the child of a fork even the
    parent's.
    """
    deadline = Deadline(LINGER)
    ending = [one for one in ones if one.begin_exit(deadline, park)]
    if park:
        _say_what_is_waited_for([one for one in ending if isinstance(one, Shutdown)], deadline)
    for one in ending:
        one.end_exit(deadline)
    if park:
        parked: set[Any] = set()  # a hub may have several pumps, of which each needs it to end
        for one in ending:
            one.park(parked)


def _say_what_is_waited_for(ones: Sequence[Shutdown], deadline: Deadline) -> None:
    """Log a line if messages hold the exit up for longer than a user would expect."""
    early = Deadline(_PATIENCE)
    waited_for = [one for one in ones if not one.closes_by(early)]
    queued = sum(one.queued() for one in waited_for)
    if queued:
        with _telling(deadline):
            logger.warning(
                "the process ends: %d messages that libzmq does not take are given up to %.0f s more; "
                "Ctrl-C gives them up", queued, deadline.left() or 0.0,
            )  # fmt: skip


def _at_exit(park: bool = True) -> None:
    global _exited
    late = Deadline(LINGER).later(GRACE)
    with _claims:
        _exited = True
        ones = list(_watched)
    claims = {one.claim for one in ones if isinstance(one, Shutdown) and one.claim is not None}
    try:
        bring_down([one for one in ones if not (isinstance(one, Shutdown) and one.claim in claims)], park)
        for claim in claims:
            claim.acquire(True, late.left() or 0.0)
    except KeyboardInterrupt:  # the user does not want to wait; a traceback would say nothing
        queued = sum(one.queued() for one in ones if isinstance(one, Shutdown))
        if queued:
            logger.warning("%d messages were not sent: the wait for them was interrupted", queued)


def _register_with_multiprocessing() -> None:
    """A child of multiprocessing ends with os._exit(): atexit is not run there, its own finalizers are."""
    global _multiprocess_pid
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or _multiprocess_pid == os.getpid():
        return
    _multiprocess_pid = os.getpid()
    from multiprocessing.util import Finalize

    Finalize(None, _at_exit, kwargs={"park": False}, exitpriority=100)  # its threads are joined later: wake them


def _after_fork() -> None:
    """In the child of a fork, before any of its code runs.

    Its hub gets a loop of its own: until then it works on the epoll descriptor that it shares with the parent, and what
    it stops to watch the parent would not hear any more.
    """
    global _claims, _tellers
    _claims, _tellers = _allocate_lock(), _allocate_lock()  # another thread may have held them
    ones = tuple(_watched)
    _watched.clear()
    hub = gevent._hub_local.get_hub_if_exists()
    if hub is not None and hub.loop is not None:
        hub.loop.reinit()
    for one in ones:
        one.forked()
