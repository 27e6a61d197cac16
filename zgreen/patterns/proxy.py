"""Proxy: libzmq's own proxy in a thread of its own. Hub side.

Its owning thread owns the data sockets (see `_engine._proxy`), in a context of their own, so messages never come here.
What is said between the two threads is in `_steering`.
"""

from __future__ import annotations

import itertools
import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import zmq
from gevent import monkey
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from .._arguments import check_seconds
from .._engine import _proxy
from .._errors import BrokenError, ClosedError, ForkedError, broken
from .._hub import seam
from .._hub.pump import Pump, get_pump
from ._sides import TYPES as TYPES
from ._sides import Endpoints, Options, check_version, side_of
from ._steering import Places, Steering
from ._steering import ProxyStatistics as ProxyStatistics

logger = logging.getLogger("zgreen")

_GRACE = 2.0  # seconds for the thread to hear that it is to end; and beyond the linger, to say that it has
_START_LIMIT = 30.0  # seconds; a thread that has not started by then never will

_numbers = itertools.count(1)
_allocate_lock = monkey.get_original("_thread", "allocate_lock")


class Proxy:
    """Passes messages between a frontend and a backend, in an OS thread of its own, without the hub and the GIL.

    :param frontend: an endpoint to bind, or an iterable of them; where publishers, clients or ventilators connect.
    :param backend: likewise; where subscribers, servers or workers connect.
    :param type: ``"forwarder"`` (XSUB in front, XPUB behind), ``"queue"`` (ROUTER, DEALER) or ``"streamer"`` (PULL,
        PUSH).
    :param frontend_connect: endpoints to connect the frontend to, besides or instead; *backend_connect*: likewise.
    :param capture: endpoints to bind a PUB socket to that gets a copy of all that passes, in both directions.
    :param frontend_options: ``{zmq.RCVHWM: 10, ...}``, in ZeroMQ's own units; *backend_options*: likewise. LINGER is
        5 seconds unless it is given here.
    :param pump: the :class:`Pump` whose thread carries the commands to the proxy; default: :func:`get_pump`. The
        proxy ends with it.
    :raises TypeError, ValueError: one of these is not what it should be.
    :raises NotImplementedError: this libzmq is older than 4.3.0, whose proxies cannot tell their statistics.

    Nothing is bound before :meth:`start`, or ``with Proxy(...) as proxy:``. It belongs to the thread of the pump's hub:
    another one gets a RuntimeError. In the child of a fork it raises :class:`ForkedError`.

    You will not get: messages saved for peers that are not there (beyond ZeroMQ's own queues); what waits in the
    proxy's receiving queues when it ends; a :class:`zgreen.auth.Authenticator` for its sockets (it is in the context of
    its pump, and the proxy has its own); nor rest for the processor while messages wait and no peer takes them: where
    libzmq is built without its poller, as in pyzmq's wheels, its loop does not sleep then (:meth:`pause` stops that).
    """

    def __init__(
        self,
        frontend: Endpoints = None,
        backend: Endpoints = None,
        type: str = "forwarder",  # noqa: A002 (ZeroMQ's word for it)
        *,
        frontend_connect: Endpoints = None,
        backend_connect: Endpoints = None,
        capture: Endpoints = None,
        frontend_options: Options = None,
        backend_options: Options = None,
        pump: Pump | None = None,
    ) -> None:
        if not isinstance(type, str):
            raise TypeError(f"type must be a str, not {type.__class__.__name__}")
        if type not in TYPES:
            raise ValueError(f"type must be one of {', '.join(TYPES)}, not {type!r}")
        if pump is not None and not isinstance(pump, Pump):
            raise TypeError(f"pump must be a zgreen.Pump or None, not {pump.__class__.__name__}")
        front, back = TYPES[type]
        sides = [
            side_of("frontend", front, frontend, frontend_connect, frontend_options),
            side_of("backend", back, backend, backend_connect, backend_options),
        ]
        if capture is not None:
            sides.append(side_of("capture", zmq.PUB, capture, None, None))
        check_version(zmq.zmq_version_info())
        self._type = type
        self._sides = tuple(sides)
        self._number = next(_numbers)
        self._pump = pump or get_pump()
        # the hub's thread alone, but _proxying, whose methods say more, and _error, which a fork sets
        self._error: Callable[[], BaseException] | None = None  # the end: what callers get from now on
        self._started = False
        self._proxying: _proxy.Proxying | None = None  # once it has started
        self._steering: Steering | None = None
        self._reader: gevent.Greenlet[[Steering], None] | None = None
        self._pool: ThreadPool | None = None
        self._ready: AsyncResult[Places] = AsyncResult()
        self._paused = False
        self._pausing: AsyncResult[ProxyStatistics] = AsyncResult()  # of the last pause(): libzmq has heard of it
        self._closing = False
        self._left = Event()  # the thread has heard that it is to end
        self._ended = Event()

    # ------------------------------------------------------------------ what a user sees

    @property
    def type(self) -> str:
        """``"forwarder"``, ``"queue"`` or ``"streamer"``."""
        return self._type

    @property
    def frontend(self) -> tuple[str, ...]:
        """The endpoints of the frontend, those to bind first; after the start as they really are (``tcp://*:*`` has its
        port then)."""
        return self._places()[0]

    @property
    def backend(self) -> tuple[str, ...]:
        """The endpoints of the backend, likewise."""
        return self._places()[1]

    @property
    def capture(self) -> tuple[str, ...]:
        """The endpoints of the capture socket, likewise; empty without one."""
        return self._places()[2] if len(self._sides) > 2 else ()

    def _places(self) -> Places:
        places = self._ready.value  # None before it is ready, and if it never will be
        if places is not None:
            return places
        return tuple(side.bind + side.connect for side in self._sides)

    @property
    def paused(self) -> bool:
        """Whether messages wait."""
        return self._paused

    @property
    def closed(self) -> bool:
        """Whether it takes no more commands: closed, ended by itself, or of the parent process."""
        return self._closing or self.error() is not None

    def start(self) -> Proxy:
        """Bind, connect, and pass messages from now on. Starting again does nothing.

        :raises zmq.ZMQError: unchanged from bind, connect or an option, naming it. The proxy is closed then.
        :raises ClosedError, BrokenError: the proxy has ended, or its pump.
        """
        self._check()
        try:
            if not self._started:
                self._started = True
                self._spawn()
            if self._ready.wait(_START_LIMIT) is None and not self._ready.ready():
                raise BrokenError(f"{self}: its thread did not start within {_START_LIMIT:g} s")
        except BaseException as error:  # also the caller's own Timeout, or a kill
            self._closing = True
            if not self._end_now() and self._pool is None:
                self._end(partial(broken, f"{self} was not started: {error!r}", error))
            raise
        self._ready.get()
        return self

    def pause(self, timeout: float | None = None) -> None:
        """Have messages wait, in ZeroMQ's queues and then with their senders; return when no more will pass.

        :param timeout: seconds; None: no limit.
        :raises TimeoutError: libzmq's proxy has not looked at its commands yet: it does not while it waits for a peer
            that is slow to take a message (a full queue). It will pause when it looks.
        :raises ClosedError, BrokenError: likewise as for :meth:`start`.

        A publisher whose forwarder is paused does what a publisher does when queues are full: it drops.
        """
        check_seconds("timeout", timeout)
        steering = self._check_running()
        if not self._paused:
            self._paused = True
            self._pausing = steering.pause()
        self._wait(self._pausing, timeout)  # also if another greenlet has paused it: messages may still pass

    def resume(self) -> None:
        """Have messages pass again, those that waited first.

        :raises ClosedError, BrokenError: as for :meth:`start`.
        """
        steering = self._check_running()
        if self._paused:
            steering.resume()
            self._paused = False

    def statistics(self, timeout: float | None = None) -> ProxyStatistics:
        """What libzmq has counted up to now; after the end of the proxy: up to its :meth:`close`.

        :param timeout: seconds; None: no limit.
        :raises TimeoutError: as for :meth:`pause`.
        :raises ClosedError: it was never started, or was made to end (see :meth:`close`) without its last counts.
        :raises BrokenError: it has ended by itself.
        """
        check_seconds("timeout", timeout)
        self._check_thread()
        final = self._steering.final if self._steering is not None else None
        if final is not None and (final.successful() or not final.ready()):
            return self._wait(final, timeout)
        return self._wait(self._check_running().ask(), timeout)

    def close(self, timeout: float | None = None) -> None:
        """End the proxy: messages stop passing, the sockets are closed, the thread ends.

        :param timeout: seconds that it may take at most; default: 7, which is the linger (what has passed and is not
            sent has that long to go out) and 2 more. A thread that waits for a slow peer, and so does not hear, is made
            to end after 2 seconds: the message in its hands is lost, with a warning in the ``zgreen`` log. What is not
            done in time goes on in the thread, with an error in the log.

        Closing again does nothing but wait for the end.
        """
        check_seconds("timeout", timeout)
        self._check_thread()
        deadline = time.monotonic() + (seam.LINGER + _GRACE if timeout is None else timeout)
        if not self._started:
            self._closing = True
            self._end(partial(ClosedError, f"{self} was closed"))
        if self._ended.is_set():
            return
        if not self._closing:
            self._closing = True
            if self._steering is not None:
                self._steering.end(self._paused)
        if not seam.may_wait(self._pump):
            return
        heard = self._left.wait(min(_GRACE, max(0.0, deadline - time.monotonic())))
        self._check_process()
        if not heard and self._end_now():
            logger.warning("%s did not hear that it is to end; it is made to, and may have lost a message", self)
        ended = self._ended.wait(max(0.0, deadline - time.monotonic()))
        self._check_process()
        if not ended:
            logger.error("%s: its thread did not end in time", self)

    def terminate(self, timeout: float | None = None) -> None:
        """:meth:`close`, by libzmq's name for it."""
        self.close(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the proxy has ended, however that came about; False if it has not after *timeout* seconds.

        :raises ClosedError: it was never started.
        :raises ForkedError: it is the parent's.
        """
        check_seconds("timeout", timeout)
        self._check_thread()
        if not self._started and not self.closed:
            raise ClosedError(f"{self} was not started")
        ended = self._ended.wait(timeout)
        self._check_process()
        return ended

    def error(self) -> BaseException | None:
        """What a caller gets now that it has ended: :class:`BrokenError` if that was not by :meth:`close`; or None."""
        if self._error is not None:
            return self._error()
        return seam.fork_error(self._pump)  # a fork does not tell a proxy that was not started

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        if not isinstance(self.error(), ForkedError):
            self.close()

    def __repr__(self) -> str:
        return f"<zgreen.Proxy {self._type} {' '.join(self.frontend)} -> {' '.join(self.backend)}>"

    # ------------------------------------------------------------------ start and end

    def _spawn(self) -> None:
        steering = Steering(self._pump, f"inproc://zgreen.proxy.{self._number}", self._ready)
        if self._closing:  # by close(), which found no thread to tell while the channel was opened
            steering.channel.close(linger=0)
            self._end(partial(ClosedError, f"{self} was closed"))
            self._check()
        self._steering = steering
        proxying = _proxy.Proxying(
            self._sides, (self._pump.context, steering.channel.last_endpoint), _allocate_lock, _block_signals,
            int(seam.LINGER * 1000),
        )  # fmt: skip
        self._proxying = proxying
        self._reader = gevent.spawn(self._read, steering)
        seam.watch(self)
        self._pool = ThreadPool(1, hub=seam.hub_of(self._pump))
        self._pool.spawn(proxying.run).rawlink(lambda _: gevent.spawn(self._thread_ended))

    def _thread_ended(self) -> None:
        """The owning thread is through; a greenlet of its own."""
        assert self._steering is not None
        assert self._pool is not None
        assert self._reader is not None
        self._pool.kill()  # returns when the thread is gone
        self._reader.join(_GRACE)  # its last word may still be with the pump
        self._steering.channel.close(linger=0)
        self._end(self._why())

    def _why(self) -> Callable[[], BaseException]:
        assert self._proxying is not None
        failure = self._proxying.failure
        if failure is None and self._closing:
            return partial(ClosedError, f"{self} was closed")
        if failure is None:
            return partial(ClosedError, f"{self} has ended with its pump, {self._pump}")
        return partial(broken, f"{self} has ended by an error: {failure!r}", failure)

    def _end(self, error: Callable[[], BaseException]) -> None:
        if self._error is None:
            self._error = error
        if not self._ready.ready():  # it did not even start: that is for start() to raise, as it is
            failure = self._proxying.failure if self._proxying is not None else None
            self._ready.set_exception(failure or self._error())
        elif isinstance(self.error(), BrokenError):
            logger.error("%s", self.error())
        if self._steering is not None:
            self._steering.fail(lambda: self.error() or ClosedError(f"{self} was closed"))
        self._left.set()
        self._ended.set()

    def _end_now(self) -> bool:
        """Make the owning thread end; False if there is none, or if it is the parent process that has it."""
        if self._proxying is None or isinstance(self.error(), ForkedError):
            return False
        return self._proxying.end_now()

    def begin_exit(self, deadline: seam.Deadline, park: bool) -> bool:  # noqa: ARG002 (see `seam.watch`)
        """Internal: the process ends; the hub does not run."""
        if self._proxying is None or self._error is not None:
            return False
        self._closing = True
        if self._steering is not None:
            self._steering.wait_until_said()  # words that the thread no longer hears would hold up the pump's exit
        self._end_now()
        return True

    def dump(self) -> str:
        """Internal: one line for :func:`zgreen.dump_on_signal`."""
        state = "closed" if self.closed else "running" if self._proxying is not None else "not started"
        return f"{self}: {state}\n"

    def park(self, parked: set[Any]) -> None:
        """Internal: the pump that it belongs to does that."""

    def end_exit(self, deadline: seam.Deadline) -> None:
        """Internal: wait for what `begin_exit` began, without the hub."""
        assert self._proxying is not None
        gone = self._proxying.gone
        if gone.acquire(True, deadline.left() or 0.0):
            gone.release()
        else:
            logger.warning("%s: not all that has passed was sent", self)

    def forked(self) -> None:
        """Internal: in the child: touch no libzmq object."""
        self._error = partial(ForkedError, f"{self} belongs to the parent process; make a new one")
        seam.hub_of(self._pump).loop.run_callback(self._end, self._error)

    # ------------------------------------------------------------------ commands and answers

    def _check_process(self) -> None:
        """In the child of a fork, which may have happened while the caller waited, raise ForkedError."""
        error = self.error()
        if isinstance(error, ForkedError):
            raise error

    def _check_thread(self) -> None:
        self._check_process()
        seam.check_here(self._pump, self)

    def _check(self) -> None:
        self._check_thread()
        error = self.error()
        if error is not None:
            raise error
        if self._closing:
            raise ClosedError(f"{self} was closed")

    def _check_running(self) -> Steering:
        self._check()
        if not self._started:
            raise ClosedError(f"{self} was not started")
        self._ready.get()  # another greenlet may be in start()
        assert self._steering is not None
        return self._steering

    def _wait(self, result: AsyncResult[ProxyStatistics], timeout: float | None) -> ProxyStatistics:
        if result.wait(timeout) is None and not result.ready():
            raise TimeoutError(f"{self}: no answer within {timeout:g} s; it waits for a peer that is slow")
        counts = result.get()
        assert counts is not None
        return counts

    def _read(self, steering: Steering) -> None:
        """The reader, a greenlet: take what the owning thread says, until its last word."""
        heard = False
        try:
            heard = steering.read()
        finally:
            if not isinstance(self.error(), ForkedError):
                if not heard:
                    self._end_now()  # without its reader the proxy could not be steered any more
                self._left.set()


def _block_signals() -> None:
    """For the owning thread; where a thread can."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
