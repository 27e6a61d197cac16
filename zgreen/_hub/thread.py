"""OwningThread: the life of one owning thread: it starts, takes commands, and ends. Hub side.

It owns the worker of a private ThreadPool, the link, the engine and the list of open lanes. How all of it is brought to
an end in order stands in `shutdown`.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import zmq
from gevent import monkey
from gevent.threadpool import ThreadPool

from .._engine._api import Command, Engine, EngineClass
from .._engine._mailbox import Mailbox, Reply
from .._errors import BrokenError, ClosedError, ForkedError, broken
from .call import Call
from .dump import Picture, picture_of_pump, place_of
from .faces import Channel
from .life import Life, State
from .link import Link
from .statistics import NOTHING, ChannelStatistics, PumpStatistics, add, describe, finish
from .tracer import Events
from .wait import Change, Deadline

logger = logging.getLogger("zgreen")

_START_LIMIT = 30.0  # seconds; a thread that has not started by then never will

_start_thread = monkey.get_original("_thread", "start_new_thread")


def _select_original(name: str) -> Any:
    try:
        return monkey.get_original("select", name)
    except AttributeError:
        return None  # not on this platform


class Member(Protocol):
    """What an owning thread needs to know of the lanes of its sockets. The hub's thread calls these, but for the first,
    and `begin_close`, which any thread may call."""

    def statistics(self) -> ChannelStatistics: ...
    def picture(self) -> Picture: ...
    def face(self) -> Channel | None: ...
    def trace(self) -> None: ...
    def begin_close(self, linger: float | None, limit: float, mailbox: Mailbox[Any] | None = None) -> Call: ...
    def pending(self) -> int: ...
    def thread_ended(self, gone: bool) -> None: ...
    def forked(self) -> None: ...


class OwningThread:
    """One OS thread that owns ZeroMQ sockets, as the hub side sees it."""

    def __init__(
        self,
        name: str,
        hub: gevent.hub.Hub,
        context: zmq.Context[Any],
        owns_context: bool,
        engine: EngineClass,
        busy_wait: float | None = None,
    ) -> None:
        """*name* stands in errors and logs."""
        self.name = name
        self._own_context = context if owns_context else None
        self.link = Link(hub, self._hub_thread_ended)
        self.engine: Engine = engine(
            context, self.link.mailbox, self._engine_ended, _select_original("epoll"), owns_context, _start_thread,
            busy_wait,
        )  # fmt: skip
        self.link.look = self.engine.look
        self.exit_mailbox: Mailbox[Any] = Mailbox()  # for the way down without the hub: no descriptor may be left then
        self.events = Events(self.link, name)
        # --- any thread reads these
        self.state = State()
        self.gone = False  # the hub's thread writes: the OS thread has ended, or is given up
        self.pool: ThreadPool | None = None  # the hub's thread writes: from the start on
        # --- under the lock of `state`, which any thread takes
        self.members: dict[Member, int] = {}  # the open lanes, oldest first, with their numbers: the first is 1
        self._past = NOTHING  # the figures of those that are closed
        self.unsent_outside = 0  # what a foreign thread that shut this down knows; the hub may not know it yet
        # --- the hub's thread alone
        self._count = itertools.count(1)
        self._run: Any = None  # gevent's AsyncResult of the worker's task
        self._ready: Reply | None = None  # the owning thread completes it as it starts
        self.changed = Change(self.link)  # the thread has started, or has ended
        self._last_error: str | None = None
        self.on_end: Callable[[], Any] = lambda: None  # called once it has ended
        self.face: Callable[[], Any] = lambda: None  # gives the `Pump`, or None once it was dropped
        self.on_hub_thread_end: Callable[[], Any] = lambda: None  # set by `shutdown.Shutdown`

    # ------------------------------------------------------------------ life

    def error(self) -> BaseException | None:
        """Make the error that a caller gets now, or give None; any thread. A new one each time: it gets a traceback."""
        error = self.state.error()
        if error is None and self.engine.ended:  # the hub does not know yet
            error = self.closed_error()
        return error

    def check(self) -> None:
        """Raise what keeps this thread from taking anything new."""
        error = self.error()
        if error is not None:
            raise error
        if self.state.now is not Life.OPEN:
            raise ClosedError(f"{self.name} was shut down")

    def running(self) -> bool:
        """Whether the owning thread has started; any thread."""
        return self._ready is not None and bool(self._ready.value)

    def in_words(self) -> str:
        """Its state, for dumps; any thread."""
        error = self.error()
        if error is not None:
            return str(error).removeprefix(f"{self.name} ")
        if self.state.now is Life.CLOSING:
            return "is being shut down"
        return f"{self.engine.name} engine, " + ("running" if self.running() else "not started")

    def start(self) -> None:
        """Start the OS thread, if it does not run; return when it is ready.

        :raises BrokenError: it was not ready within 30 seconds.
        """
        self.check()
        if self.running():
            return
        if not self.link.here():
            raise RuntimeError(f"{self.name}: call start() on the thread that made it, before other threads use it")
        if self.pool is None:
            self.spawn()
        ready = self.changed.wait_until(lambda: self.running() or self.gone, Deadline(_START_LIMIT))
        if not ready:
            raise BrokenError(
                f"{self.name}: the owning thread was not ready within {_START_LIMIT:g} s. If that time went by in a "
                f"blocking call of a greenlet, the call is the cause. {self._where_main_is()}"
            )
        self.check()

    def _where_main_is(self) -> str:
        """Where the main greenlet of the hub is in the user's code, as a sentence; on the hub's thread."""
        main = self.link.hub.parent
        frame = sys._getframe() if main is None or main is gevent.getcurrent() else main.gr_frame
        return f"The main greenlet is {place_of(frame).replace(', ', 'at ', 1) or 'in the hub'}"

    def spawn(self) -> None:
        """Start the OS thread and do not wait for it; the hub's thread."""
        self.link.start()
        # No idle time: the worker ends with the engine, even if the hub does not run any more.
        self.pool = ThreadPool(1, hub=self.link.hub, idle_task_timeout=0)
        self._ready = self.link.reply(lambda _: self.changed.tell())
        self.engine.post(self._ready, self.engine.ping)
        try:
            self._run = self.pool.spawn(self.engine.run)
            self._run.rawlink(self.run_over)
        except BaseException:  # no thread is to be had; perhaps the next time
            self.pool = self._ready = None
            raise

    def end_unstarted(self) -> None:
        """There never was an OS thread: end what it would have ended; any thread."""
        if self._own_context is not None:
            self._own_context.term()

    # ------------------------------------------------------------------ commands

    def post(self, command: Command, *args: Any) -> Call:
        """Send a command; any thread. *command* is a method of the engine."""
        error = self.error()
        if error is not None:
            raise error
        call = Call(self.link, command.__name__, self.error)
        self.engine.post(call.reply, command, *args)
        return call

    def send(self, reply: Reply, command: Command, *args: Any) -> None:
        """`post` for a reply that exists already. It gets the error, too."""
        error = self.error()
        if error is not None:
            reply.complete(error=error)
        else:
            self.engine.post(reply, command, *args)

    # ------------------------------------------------------------------ members and figures

    def join(self, member: Member) -> None:
        """Lanes are open; the hub's thread, or a foreign one that opens a channel."""
        with self.state.lock:
            self.members[member] = next(self._count)

    def leave(self, member: Member) -> None:
        """Lanes are closed; their counts stay."""
        with self.state.lock:
            if member in self.members:
                self._past = add(self._past, [member.statistics()], closed=True)
                del self.members[member]

    def faces(self) -> list[tuple[int, Channel]]:
        """The public faces of the open lanes, each with its number; any thread."""
        found = [(number, member.face()) for member, number in tuple(self.members.items())]
        return [(number, face) for number, face in found if face is not None]

    def note_error(self, text: str) -> None:
        """For the statistics; the hub's thread."""
        self._last_error = text

    def statistics(self) -> PumpStatistics:
        """All lanes together, those that are closed included; any thread."""
        with self.state.lock:  # a member is counted once: as open, or in the past
            members = tuple(self.members)
            total = add(self._past, [member.statistics() for member in members])
        hits, misses = self.engine.busy_waits
        return finish(total)._replace(
            channels=len(members), hub_wakeups=self.link.wakeups, thread_wakeups=self.engine.wakeups,
            last_error=self._last_error, busy_wait_hits=hits, busy_wait_misses=misses,
        )  # fmt: skip

    def unsent(self) -> int:
        """How many messages were not sent, of channels that have ended; any thread."""
        return max(self._past.unsent, self.unsent_outside)

    def dump(self) -> str:
        """See `Pump.dump`; any thread, and a signal handler."""
        channels = [member.picture() for member in tuple(self.members)]
        return picture_of_pump(self.name, self.in_words(), self.statistics(), len(self.link.replies), channels)

    # ------------------------------------------------------------------ the end

    def closed_error(self) -> BaseException:
        """The error of callers after the end, from what the engine says of it; any thread."""
        failure = self.engine.failure
        if failure is None:
            return ClosedError(f"{self.name} was shut down")
        return broken(f"{self.name} has ended by an error in its owning thread: {failure!r}", failure)

    def end(self) -> bool:
        """It has ended, by whatever; False if that is known already; the hub, or in its place."""
        ended = self.state.advance(Life.ENDED, self.closed_error)
        if ended:
            self.on_end()
        return ended

    def _engine_ended(self) -> None:
        """The owning thread's loop is over; the hub."""
        if not self.end():
            return
        failure = self.engine.failure
        if failure is not None:
            self.link.reports.add(logger.error, "%s has ended by an error", self.name, exc_info=failure)
        for member in tuple(self.members):
            member.thread_ended(self.engine.ended)
        if failure is not None:  # after what follows from it
            self.note_error(describe(failure))
        self.changed.tell()

    def run_over(self, _result: Any = None) -> None:
        """The OS thread has left the engine, or is given up; the hub, because waiters are woken here."""
        if self.link.stopped or self.link.exiting:  # a waiter needs the watcher at exit: else it gets LoopExit
            return
        self.link.take_mail()
        self._engine_ended()  # if it could not even say so
        self.link.take_mail()
        self.link.fail_replies(self.error)  # what a thread that is given up never answers
        self.link.stop()
        gevent.spawn(self._end_pool)

    def _end_pool(self) -> None:
        if self.pool is not None and self.engine.ended:
            self.pool.kill()  # returns when the OS thread is gone
        self.gone = True
        self.changed.tell()

    def leave_dead_hub(self) -> None:
        """Let go of a hub that never runs again; on its thread, which has ended, when the OS thread is gone."""
        self.end()
        if self._run is not None and self.pool is not None:
            self._run.unlink(self.run_over)  # gevent keeps the result for ever: its watcher is never served
            self.pool.kill()
        self.link.stop()
        for callback in tuple(self.link.hub.loop._callbacks):  # type: ignore[attr-defined]
            callback.stop()  # never called, and gevent would keep them, and what they refer to

    def _hub_thread_ended(self) -> None:
        self.on_hub_thread_end()

    def forked(self) -> None:
        """In the child of a fork: nothing of it works here; no libzmq object may be touched."""
        text = f"{self.name} belongs to the parent process; make a new one, or use get_pump()"
        self.state.forked(lambda: ForkedError(text))
        self.on_end()
        self.gone = True
        self.link.forked()
        self.events.forget()
        for member in tuple(self.members):
            member.forked()
        self.link.hub.loop.run_callback(self.link.fail_replies, self.error)
        self.changed.tell()
