"""Threads as greenlets, and every schedule of them with up to so many preemptions: tests/core/explore_scheduler.hpp in
Python, for the engine in Python.

A thread may be preempted at each *point*: an access to what another thread uses too, if one of them writes. Which
variables those are is learnt on the way. CPython runs such an access (an attribute, one operation of a deque) in one.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Hashable
from typing import Any

from greenlet import getcurrent, greenlet

MAX_STEPS = 3000  # of one schedule; more: the threads go on without end
NEVER = float("inf")


class Failed(Exception):
    """A schedule in which something is wrong; the text has its trace."""


class _End(BaseException):
    """Unwinds a thread that still sleeps when a schedule is over."""


class _Thread:
    def __init__(self, scheduler: Scheduler, name: str, body: Callable[[], Any], must_end: bool, number: int) -> None:
        self.name = name
        self.bit = 1 << number
        self.must_end = must_end
        self.ended = False
        self.ready: Callable[[], bool] | None = None  # what it waits for
        self.deadline = NEVER
        self.waits_for = ""
        self.greenlet = greenlet(lambda *_: scheduler._run(self, body))

    def can_go_on(self, now: float) -> bool:
        if self.ended:
            return False
        return self.ready is None or now >= self.deadline or self.ready()


class Scheduler:
    """Runs schedules; `explore` is its face."""

    def __init__(self, preemptions: int, time_limit: float) -> None:
        self._bound = preemptions
        self._time_limit = time_limit
        # of the search
        self._trail: list[list[Any]] = []  # [threads that could go on, which of them did]
        self._uses: dict[Hashable, list[Any]] = {}  # [who reads, who writes, whether that is shared]
        self._learnt = False
        self.clear()

    def clear(self) -> None:
        """Forget the threads of the last schedule."""
        self._threads: list[_Thread] = []
        self._me: _Thread | None = None  # None: set-up, checks
        self._main = getcurrent()
        self._depth = self._preemptions = self._steps = self._keys = 0
        self._ending = False
        self._error: BaseException | None = None
        self._trace: list[str] | None = None
        self._known = {key: list(uses) for key, uses in self._uses.items()}
        self.now = 0.0
        self.readable: dict[int, bool] = {}  # descriptors, which are only numbers here

    # ------------------------------------------------------------------ set-up

    def spawn(self, name: str, body: Callable[[], Any], must_end: bool = True) -> None:
        """A thread; one that need not end may sleep for ever."""
        self._threads.append(_Thread(self, name, body, must_end, len(self._threads)))

    def new_key(self, name: str) -> Hashable:
        """What is made in the same order in each schedule has the same key in each."""
        self._keys += 1
        return (name, self._keys)

    # ------------------------------------------------------------------ in a thread

    def point(self, key: Hashable, writes: bool) -> None:
        """Another thread may go on before this one uses what has that *key*."""
        me = self._me
        if me is None or self._ending:
            return
        uses = self._uses.get(key)
        if uses is None:
            uses = self._uses[key] = [0, 0, False]
        if not uses[writes] & me.bit:
            uses[writes] |= me.bit
            both = uses[0] | uses[1]
            if uses[1] and both & (both - 1) and not uses[2]:
                uses[2] = self._learnt = True
        if not uses[2]:
            return
        self._steps += 1
        assert self._steps < MAX_STEPS, "the threads go on without end"
        if self._preemptions < self._bound:
            self._pick(me)
        if self._trace is not None:
            self._note(me, _where())

    def wait(self, ready: Callable[[], bool], what: str, seconds: float | None = None) -> bool:
        """Sleep until *ready*; False after so many seconds, which pass only while all threads sleep."""
        me = self._me
        if ready() or me is None:
            return True
        if self._ending:
            raise _End
        me.ready = ready
        me.deadline = NEVER if seconds is None else self.now + seconds
        me.waits_for = what
        self._note(me, f"sleeps, {what}")
        self._pick(me)
        me.ready = None
        self._note(me, "wakes up")
        return ready()

    def done(self) -> None:
        """The thread that calls has done what it must; it may sleep for ever from now on."""
        assert self._me is not None
        self._me.must_end = False

    # ------------------------------------------------------------------ one schedule

    def run(self) -> None:
        """Until no thread can go on; raises what a thread raised."""
        self._pick(None)
        if self._error is not None:
            raise self._error
        assert self._depth == len(self._trail), "the same schedule has gone another way"
        for thread in self._threads:
            assert thread.ended or not thread.must_end, f"the {thread.name} sleeps for ever, {thread.waits_for}"

    def end(self) -> None:
        """Unwind the threads that still sleep."""
        self._ending = True
        for thread in self._threads:
            if not thread.ended:
                self._me = thread
                thread.greenlet.switch()
        self._me = None

    def _run(self, thread: _Thread, body: Callable[[], Any]) -> None:
        try:
            if not self._ending:
                body()
        except _End:
            pass
        except BaseException as error:  # noqa: BLE001 (raised by run)
            self._error = error
        thread.ended = True
        self._note(thread, "ends")
        over = self._ending or self._error is not None
        self._me = next_ = None if over else self._choose(thread)
        # A greenlet that returns gives control to its parent. One that switched away here would stay for ever, with all
        # that its frames hold.
        thread.greenlet.parent = self._main if next_ is None else next_.greenlet

    def _options(self, me: _Thread | None) -> list[_Thread]:
        options = []
        if me is not None and me.can_go_on(self.now):
            options.append(me)
            if self._preemptions >= self._bound:
                return options
        options += [thread for thread in self._threads if thread is not me and thread.can_go_on(self.now)]
        return options

    def _pick(self, me: _Thread | None) -> None:
        """Choose the thread that goes on instead of *me*; return when *me* does."""
        self._go(self._choose(me))

    def _choose(self, me: _Thread | None) -> _Thread | None:
        """Choose the thread that goes on instead of *me*; None: the schedule is over."""
        options = self._options(me)
        while not options:
            due = min((thread.deadline for thread in self._threads if not thread.ended), default=NEVER)
            if due > self._time_limit:
                return None
            self.now = due
            options = self._options(me)
        chosen = options[0]
        if len(options) > 1:
            bits = [thread.bit for thread in options]
            if self._depth == len(self._trail):
                self._trail.append([bits, 0])
            known, pick = self._trail[self._depth]
            assert known == bits, "the same schedule has gone another way"
            self._depth += 1
            chosen = options[pick]
        if chosen is not me and options[0] is me:
            self._preemptions += 1
            self._note(me, "-- is preempted --")
        return chosen

    def _go(self, thread: _Thread | None) -> None:
        me = self._me
        if thread is me:
            return
        self._me = thread
        (self._main if thread is None else thread.greenlet).switch()
        if self._ending and me is not None:
            raise _End

    def _note(self, thread: _Thread | None, what: str) -> None:
        if self._trace is not None and not self._ending:
            self._trace.append(f"{thread.name if thread else '':8} {what}")

    # ------------------------------------------------------------------ all of them

    def next(self) -> bool | None:
        """Have the next schedule run; False if that was the last, None if they begin anew."""
        if self._learnt:
            self._learnt = False
            self._trail.clear()
            return None
        while self._trail:
            bits, pick = self._trail[-1]
            if pick + 1 < len(bits):
                self._trail[-1][1] += 1
                return True
            self._trail.pop()
        return False

    def replay(self) -> None:
        """Have the last schedule run again, with a trace."""
        known = self._known
        self._uses = known
        self.clear()
        self._trace = []

    def trace(self) -> str:
        """What the last schedule was, if it was replayed."""
        return "\n".join(self._trace or ())


def _where() -> str:
    """The source line that the thread is at, of what is explored."""
    frame = sys._getframe(2)
    while frame.f_back is not None and (frame.f_code.co_filename == __file__ or frame.f_globals.get("SEAM")):
        frame = frame.f_back
    name, number = frame.f_code.co_filename, frame.f_lineno
    return f"{name.rpartition('/')[2]}:{number}  {linecache.getline(name, number).strip()}"


def explore(build: Callable[[Scheduler], Callable[[], None]], preemptions: int, time_limit: float = 0.0) -> int:
    """Run all schedules of the threads that *build* spawns; it gives the check of what must be true in the end.

    Return how many there were; raise Failed at the first that fails.
    """
    schedules = 0
    for bound in range(preemptions + 1):
        scheduler = Scheduler(bound, time_limit)
        schedules, more = 0, True
        while more is not False:
            schedules += 1
            scheduler.clear()
            try:
                _run_one(scheduler, build)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                kind = type(error)
                scheduler.replay()
                try:
                    _run_one(scheduler, build)
                except kind:
                    pass
                raise Failed(f"{reason}\n(schedule {schedules}, {bound} preemptions)\n{scheduler.trace()}") from error
            more = scheduler.next()
            if more is None:
                schedules = 0
    return schedules


def _run_one(scheduler: Scheduler, build: Callable[[Scheduler], Callable[[], None]]) -> None:
    try:
        check = build(scheduler)
        scheduler.run()
        check()
    finally:
        scheduler.end()
