"""Pump: the owning thread and what drives it; its life and death. Hub side.

Owns the ThreadPool worker, the context and the link. Of its channels it knows what `Member` says.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import gevent
import zmq
from gevent import monkey
from gevent.event import Event
from gevent.threadpool import ThreadPool

from .._arguments import check_seconds
from .._engine import choose
from .._engine._api import Command, Engine
from .._engine._mailbox import Reply
from .._errors import BrokenError, ClosedError, ForkedError
from . import process
from .call import Call
from .dump import Picture, picture_of_pump
from .events import Event as MessageEvent
from .events import Events
from .link import Link, TimedOut
from .statistics import NOTHING, ChannelStatistics, PumpStatistics, add, describe, finish

if TYPE_CHECKING:
    from .channel import Channel

logger = logging.getLogger("zgreen")

LINGER = 5.0  # seconds; the default, and the most at process exit
_SETTLE = 0.05  # seconds
_PARKED = 60.0  # seconds; longer than the rest of an exit
_HUB_LIMIT = 0.5  # seconds; at exit, for the hub of another thread, which may not be running
_GRACE = 2.0  # seconds that shutdown() gives libzmq and the thread beyond the linger
_START_LIMIT = 30.0  # seconds; a thread that has not started by then never will
_MAX_SOCKETS = 65535  # of our own contexts: libzmq's default of 1023 would be the first limit to be hit

_numbers = itertools.count(1)
_sleep = monkey.get_original("time", "sleep")
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may ask for a dump


def _select_original(name: str) -> Any:
    try:
        return monkey.get_original("select", name)
    except AttributeError:
        return None  # not on this platform


class Member(Protocol):
    """What a pump needs to know of its channels; the hub's thread calls these, but `begin_close`."""

    def statistics(self) -> ChannelStatistics: ...
    def picture(self) -> Picture: ...
    def trace(self, events: Events) -> None: ...
    def close_within(self, linger: float | None, limit: float) -> int: ...
    def begin_close(self, linger: float | None, limit: float, blocking: bool = False) -> Call: ...
    def pump_ended(self, gone: bool) -> None: ...
    def forked(self) -> None: ...


class Pump:
    """One OS thread that owns ZeroMQ sockets, and the gevent hub that they serve.

    :param name: for messages and logs; unique names help, nothing else depends on it.
    :param context: the ``zmq.Context`` to make sockets from. It stays yours: the pump never terminates it, so at exit
        it is up to you to wait (``context.term()``) for what libzmq still holds. Default: one of the pump's own.
    :param io_threads: of the pump's own context.
    :param engine: ``"native"`` or ``"python"``; default: the environment's ``ZGREEN_ENGINE``, else the fastest that is
        built.

    A pump belongs to the hub of the thread that makes it. ``with Pump() as pump:`` starts it and shuts it down. A
    running pump keeps the hub's loop alive, as a running server does: ``gevent.wait()`` without arguments does not end.
    """

    # zgreen.register_socket, set by the module that defines it: it stands above this one
    _register_socket: ClassVar[Callable[..., Channel]]

    def __init__(
        self,
        name: str | None = None,
        *,
        context: zmq.Context[Any] | None = None,
        io_threads: int = 1,
        engine: str | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str or None, not {type(name).__name__}")
        if context is not None and not isinstance(context, zmq.Context):
            raise TypeError(f"context must be a zmq.Context or None, not {type(context).__name__}")
        if context is not None and context.closed:
            raise ValueError("context is terminated: make a new one")
        if not isinstance(io_threads, int) or isinstance(io_threads, bool) or io_threads < 1:
            raise ValueError(f"io_threads must be a positive int, not {io_threads!r}")
        engine_class = choose(engine)
        self._name = name if name is not None else f"pump-{next(_numbers)}"
        self._link = Link(gevent.get_hub())
        self._context: zmq.Context[Any] = zmq.Context(io_threads) if context is None else context
        if context is None:
            self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        self._engine = engine_class(
            self._context, self._link.mailbox, self._on_end, _select_original("epoll"), context is None, _start_thread
        )
        self._link.look = self._engine.look
        # the hub's thread alone, but _error, which any thread may read
        self._members: dict[Member, int] = {}  # in the order they came, with their numbers
        self._count = itertools.count(1)
        self._pool: ThreadPool | None = None
        self._started = Event()
        self._ended = Event()
        self._error: Callable[[], BaseException] | None = None  # makes what callers get from now on
        self._closing = False
        self._job: gevent.Greenlet[..., None] | None = None  # shutdown's
        self._exit_calls: list[Call] = []
        self._past_lock = _RLock()  # over _members and _past together, where one goes into the other
        self._past = NOTHING  # the figures of the channels that are closed; the hub's thread writes
        self._unsent_outside = 0  # as who shut it down from another thread has learned; the hub may not know yet
        self._last_error: str | None = None  # the hub's thread writes
        self.events = Events(self._link, self)  # for channels
        process.watch(self)

    # ------------------------------------------------------------------ what a user sees

    @property
    def name(self) -> str:
        """The pump's name."""
        return self._name

    @property
    def engine(self) -> str:
        """Which engine runs in the owning thread: ``"native"`` or ``"python"``."""
        return self._engine.name

    @property
    def context(self) -> zmq.Context[Any]:
        """The ``zmq.Context`` of the pump's sockets: inproc endpoints are found within one context only."""
        return self._context

    @property
    def closed(self) -> bool:
        """Whether it takes no more channels: shut down, ended by itself, or of the parent process."""
        return self._closing or self._error is not None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The open channels, oldest first."""
        return tuple(self._members)  # type: ignore[arg-type]

    def numbered(self) -> tuple[tuple[int, Channel], ...]:
        """Internal: the open channels, each with its number: the first that this pump had is 1."""
        return tuple((number, channel) for channel, number in tuple(self._members.items()))  # type: ignore[misc]

    def statistics(self) -> PumpStatistics:
        """Counts since the start, of all channels together; costs about as much as theirs. From any thread."""
        with self._past_lock:
            members, total = tuple(self._members), self._past
        return finish(add(total, [member.statistics() for member in members]))._replace(
            channels=len(members), hub_wakeups=self._link.wakeups, thread_wakeups=self._engine.wakeups,
            last_error=self._last_error,
        )  # fmt: skip

    @property
    def on_event(self) -> Callable[[MessageEvent], Any] | None:
        """Called by the hub, ``on_event(event)``, with an :class:`Event` for each message that is put, sent, received
        or got on any channel of this pump. Default: None, which costs nothing.

        It must not wait. What it raises is logged. It is called soon after the event, not within the put or get; what
        one greenlet does is told in order. A get that already waits when this is set is told; a put that already waits
        for room is not, nor that its message was sent. If the hub does not run for so long that 100,000 events wait,
        those that come then are not told, which is logged. Channels do not go their shortest way meanwhile: a put and a
        get take some microseconds, and the hub hears of each message.

        :raises TypeError: it is neither callable nor None.
        :raises RuntimeError: set on another thread than the hub's.
        """
        return self.events.callback

    @on_event.setter
    def on_event(self, callback: Callable[[MessageEvent], Any] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"on_event must be callable or None, not {type(callback).__name__}")
        if not self._link.here():
            raise RuntimeError(f"{self}: set on_event on the thread of the pump's hub")
        self.events.callback = callback
        for member in tuple(self._members):
            member.trace(self.events)

    def dump(self) -> str:
        """A picture in words, of several lines: the state of the pump and of each channel, how long the queues are,
        who waits (greenlets with the line of your code in which they do, threads by name) and for how long.

        From any thread, and from a signal handler: it waits for nobody. See :func:`zgreen.dump_on_signal`.
        """
        channels = [member.picture() for member in tuple(self._members)]
        return picture_of_pump(repr(self), self._state(), self.statistics(), len(self._link.replies), channels)

    def _state(self) -> str:
        error = self.error()
        if error is not None:
            return str(error).removeprefix(f"{self} ")
        if self._closing:
            return "is being shut down"
        return f"{self._engine.name} engine, " + ("running" if self._started.is_set() else "not started")

    def start(self) -> Pump:
        """Start the owning thread, if it does not run; return when it is ready. Channels do this by themselves."""
        self.check()
        if not self._started.is_set():
            if not self._link.here():
                raise RuntimeError(f"{self}: call start() on the thread that made it, before other threads use it")
            if self._pool is None:
                self._spawn()
            if not self._started.wait(_START_LIMIT):
                raise BrokenError(f"{self}: the owning thread did not start within {_START_LIMIT:g} s")
            self.check()
        return self

    def register_socket(self, in_: Any = None, out: Any = None, **options: Any) -> Channel:
        """:func:`zgreen.register_socket` with this pump."""
        return type(self)._register_socket(in_, out, pump=self, **options)

    def shutdown(self, linger: float | None = None, timeout: float | None = None) -> int:
        """Close all channels, end the owning thread, terminate the pump's own context.

        :param linger: seconds in which messages that were put may still go out; default 5, or what ``zmq.LINGER`` of
            a socket says; 0: at once.
        :param timeout: seconds that the whole call may take; default: the linger and 2 more. What is not done by then
            is given up, with an error in the ``zgreen`` log (a socket that you made of the pump's context and did not
            close, for example, keeps the context).
        :return: how many messages were not sent, since the pump was made, as far as libzmq lets one know: those that
            it had not taken, and up to the high-water mark of those it had taken when its linger ran out.

        A second call does nothing and returns the same.
        """
        check_seconds("linger", linger)
        check_seconds("timeout", timeout)
        if timeout is None:
            timeout = (LINGER if linger is None else linger) + _GRACE
        deadline = time.monotonic() + timeout
        if self._link.here():
            job = self._shutdown_job(linger, deadline)
            if not self._link.may_wait():
                pass
            elif job is not None:
                job.join()
            elif self._pool is not None:  # it has ended otherwise; its thread may not be gone yet
                self._ended.wait(max(0.0, deadline - time.monotonic()))
        elif self.error() is None:
            self._shut_down_from_outside(linger, deadline)
        return max(self._past.unsent, self._unsent_outside)

    def __enter__(self) -> Pump:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<zgreen.Pump {self._name!r}>"

    # ------------------------------------------------------------------ for channels

    @property
    def link(self) -> Link:
        """Internal: how the hub and the owning thread reach each other."""
        return self._link

    def make_pipe(self, owner: Any, *plan: Any) -> Any:
        """Internal: the engine's pipe of a channel."""
        return self._engine.make_pipe(owner, *plan)

    def error(self) -> BaseException | None:
        """Internal: what a caller gets now, or None; any thread."""
        if self._error is not None:
            return self._error()
        if self._engine.ended:  # the hub does not know yet
            return self._end_error()
        return None

    def check(self) -> None:
        """Internal: raise what keeps this pump from taking anything new."""
        error = self.error()
        if error is not None:
            raise error
        if self._closing:
            raise ClosedError(f"{self} was shut down")

    @property
    def commands(self) -> Engine:
        """Internal: what has the commands that `post` takes."""
        return self._engine

    def post(self, command: Command, *args: Any) -> Call:
        """Internal: send a command, a method of `commands`, to the owning thread; any thread."""
        error = self.error()
        if error is not None:
            raise error
        call = self.new_call()
        self._engine.post(call.reply, command, *args)
        return call

    def new_call(self, blocking: bool = False) -> Call:
        """Internal: a reply, and the wait for it."""
        return Call(self._link, self.error, blocking)

    def send(self, reply: Reply, command: Command, *args: Any) -> None:
        """Internal: `post` for a reply that somebody has already; it gets the error, too."""
        error = self.error()
        if error is not None:
            reply.complete(error=error)
        else:
            self._engine.post(reply, command, *args)

    def join(self, member: Member) -> None:
        """Internal: a channel is open."""
        self._members[member] = next(self._count)

    def leave(self, member: Member) -> None:
        """Internal: a channel is closed; its counts stay."""
        if member in self._members:
            past = add(self._past, [member.statistics()], closed=True)
            with self._past_lock:
                del self._members[member]
                self._past = past

    def note_error(self, text: str) -> None:
        """Internal: for the statistics; the hub's thread."""
        self._last_error = text

    # ------------------------------------------------------------------ life and death

    def _spawn(self) -> None:
        self._link.start()
        self._pool = ThreadPool(1, hub=self._link.hub)
        reply = self._link.reply(lambda _: self._started.set())
        self._engine.post(reply, self._engine.ping)
        try:
            self._pool.spawn(self._engine.run).rawlink(self._on_gone)
        except BaseException:  # no thread is to be had; perhaps the next time
            self._pool = None
            raise

    def _end_error(self) -> BaseException:
        failure = self._engine.failure
        if failure is None:
            return ClosedError(f"{self} was shut down")
        error = BrokenError(f"{self} has ended by an error in its owning thread: {failure!r}")
        error.__cause__ = failure
        return error

    def _on_end(self) -> None:
        """The owning thread's loop is over; the hub."""
        if self._error is not None:
            return
        self._error = self._end_error
        self._forget_implicit()
        failure = self._engine.failure
        if failure is not None:
            logger.error("%s has ended by an error", self, exc_info=failure)
        for member in tuple(self._members):
            member.pump_ended(self._engine.ended)
        if failure is not None:  # after what follows from it
            self.note_error(describe(failure))

    def _forget_implicit(self) -> None:
        """It would keep its hub, by which it is found there, for ever."""
        if _implicit.get(self._link.hub) is self:
            del _implicit[self._link.hub]

    def _on_gone(self, _result: Any) -> None:
        """The owning thread's run is over, or is given up; the hub, because waiters are woken here."""
        if self._link.stopped or self._link.exiting:  # who waits at exit needs the watcher: no LoopExit
            return
        self._link.take_mail()
        self._on_end()  # if it could not even say so
        self._link.take_mail()
        self._fail_replies()  # those that a thread that is given up never sent
        self._link.stop()
        self._started.set()
        gevent.spawn(self._end_pool)

    def _end_pool(self) -> None:
        if self._pool is not None and self._engine.ended:
            self._pool.kill()  # returns when the thread is gone
        self._ended.set()

    def _shutdown_job(self, linger: float | None, deadline: float) -> gevent.Greenlet[..., None] | None:
        """A greenlet of its own: what happens to the caller of shutdown() does not leave it half done."""
        if self._job is None and self._error is None:
            self._closing = True
            self._job = gevent.spawn(self._shut_down, linger, deadline)
        return self._job

    def _shut_down(self, linger: float | None, deadline: float) -> None:
        closing = [gevent.spawn(member.close_within, linger, LINGER) for member in tuple(self._members)]
        gevent.joinall(closing, timeout=max(0.0, deadline - time.monotonic()))
        gevent.killall(closing, block=False)
        if self._error is None:  # it may have ended by itself meanwhile
            if self._pool is None:  # never started: end it as any other, as its context's end may block
                self._spawn()
            self._engine.post(self._link.reply(lambda _: None), self._engine.stop)
        if not self._ended.wait(max(0.0, deadline - time.monotonic())):
            logger.error("%s: its thread did not end in time; is a socket of its context still open?", self)
            self._link.hub.loop.run_callback(self._on_gone, None)
            self._ended.wait()

    def _shut_down_from_outside(self, linger: float | None, deadline: float) -> None:
        """Without the hub, which may not be running any more; a foreign thread."""
        self._closing = True
        if self._pool is None:
            return  # never started: there is nothing to end
        with self._past_lock:
            members, before = tuple(self._members), self._past.unsent
        calls = [member.begin_close(linger, LINGER) for member in members]
        self._end_without_hub(calls, deadline, self._stop_thread)
        self._unsent_outside = max(self._unsent_outside, before + _unsent(calls))

    def _stop_thread(self, left: float) -> None:
        call = self.new_call(blocking=True)
        self.send(call.reply, self._engine.stop)
        call.wait(min(_GRACE, left))

    def _end_without_hub(self, closes: list[Call], deadline: float, then: Callable[[float], None]) -> None:
        """Wait for the ends of channels; *then* has the seconds that are left."""
        try:
            for call in closes:
                call.wait(max(0.0, deadline - time.monotonic()))
            then(max(0.0, deadline - time.monotonic()))
        except TimedOut:
            logger.error("%s: its thread did not end in time; is a socket of its context still open?", self)
        except (ClosedError, BrokenError, zmq.ZMQError):
            pass  # it has ended meanwhile

    def begin_exit(self, deadline: float, park: bool) -> bool:
        """Internal: at process exit, have all channels closed; do not wait; False if there is nothing to do."""
        if self._pool is None or self._error is not None:
            return False
        self._closing = True
        self._link.exiting = park
        left = max(0.0, deadline - time.monotonic())
        self._exit_calls = [member.begin_close(None, left, blocking=True) for member in tuple(self._members)]
        return True

    def end_exit(self, deadline: float) -> None:
        """Internal: wait for what `begin_exit` began, without the hub."""
        if self._link.alone():
            self._end_without_hub(self._exit_calls, deadline + _GRACE, self._stop_thread)
            for _ in range(2):  # in place of the hub: this reports what was not sent, by way of replies if it is traced
                self._link.take_mail()
        else:
            self._end_without_hub(self._exit_calls, deadline + _GRACE, self._have_hub_report)

    def _have_hub_report(self, _left: float) -> None:
        """Wait until the hub of another thread has reported what was not sent."""
        try:
            self._call_hub(lambda: None)
        except TimedOut:  # that hub does not run
            unsent = _unsent(self._exit_calls)
            if unsent:
                logger.warning("%s: %d messages were not sent", self, unsent)

    def _call_hub(self, then: Callable[[], Any]) -> None:
        """Have the hub of another thread take all its mail, and then call *then*; do not wait for that."""
        call = self.new_call(blocking=True)

        def answer() -> None:
            call.reply.complete()
            then()

        self._link.mailbox.send(answer)
        call.wait(_HUB_LIMIT)

    def park_thread(self, parked: set[Any]) -> None:
        """Internal: the process ends: have another thread that runs our hub wait for that, and do nothing more.

        CPython ends a thread that asks for the GIL in the last phase of an exit by pthread_exit, and greenlet does not
        survive that in a thread that is running a hub. In a lock it does not ask. *parked* are those that do so.
        """
        hub = self._link.hub
        if hub in parked or self._link.alone():
            return
        parked.add(hub)
        lock = _allocate_lock()
        lock.acquire()
        with contextlib.suppress(TimedOut):  # that hub does not run
            self._call_hub(lambda: lock.acquire(True, _PARKED))
            _sleep(_SETTLE)  # until it is in there

    def after_fork(self) -> None:
        """Internal: in the child: nothing of it works here; touch no libzmq object."""
        self._error = lambda: ForkedError(f"{self} belongs to the parent process; make a new one, or use get_pump()")
        self._past_lock = _RLock()
        self._forget_implicit()
        self._started.set()
        self._ended.set()
        self._link.forked()
        for member in tuple(self._members):
            member.forked()
        self._link.hub.loop.run_callback(self._fail_replies)

    def _fail_replies(self) -> None:
        for reply in tuple(self._link.replies):
            reply.error = self.error()
            reply()


def _unsent(closes: list[Call]) -> int:
    """How many messages the ends of channels left, of those that have come."""
    return sum(call.reply.value.total for call in closes if call.reply.value is not None)


_implicit: weakref.WeakKeyDictionary[Any, Pump] = weakref.WeakKeyDictionary()


def get_pump() -> Pump:
    """The implicit pump of this process and this thread's hub: made and started on first use, and made anew when the
    last one was shut down, has ended by an error, or belongs to the parent process."""
    hub = gevent.get_hub()
    pump = _implicit.get(hub)
    if pump is None or pump.error() is not None or pump.closed:
        pump = _implicit[hub] = Pump()
    return pump.start()
