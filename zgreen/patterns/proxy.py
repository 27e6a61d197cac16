"""Proxy: libzmq's own proxy in a thread of its own, and the hub's end of the PAIR that steers it. Hub side.

The data sockets are the owning thread's (see `_engine._proxy`), in a context of the proxy's own; messages never come
here. Of the PAIR one end is the owning thread's, the other one a channel: the pump's thread owns that.
"""

from __future__ import annotations

import itertools
import logging
import signal
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import gevent
import zmq
from gevent import monkey
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from .._arguments import check_seconds, endpoints_of, options_of
from .._engine import _proxy
from .._errors import BrokenError, ClosedError, ForkedError, broken
from .._hub import seam
from .._hub.channel import Channel
from .._hub.pump import Pump, get_pump

logger = logging.getLogger("zgreen")

TYPES = {
    "forwarder": (zmq.XSUB, zmq.XPUB),
    "queue": (zmq.ROUTER, zmq.DEALER),
    "streamer": (zmq.PULL, zmq.PUSH),
}
_GRACE = 2.0  # seconds for the thread to hear that it is to end; and beyond the linger, to say that it has
_START_LIMIT = 30.0  # seconds; a thread that has not started by then never will

_numbers = itertools.count(1)
_allocate_lock = monkey.get_original("_thread", "allocate_lock")

_Options = Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None
_Places = str | Iterable[str] | None


class ProxyStatistics(NamedTuple):
    """What libzmq has counted in a proxy since its start, pauses included.

    libzmq counts *frames*, not messages: a message of three frames counts three, and so do an envelope's in a queue. In
    a forwarder what the backend receives, and the frontend sends, are subscriptions. Bytes are those of the frames.
    """

    frontend_received: int
    frontend_received_bytes: int
    frontend_sent: int
    frontend_sent_bytes: int
    backend_received: int
    backend_received_bytes: int
    backend_sent: int
    backend_sent_bytes: int


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
    :param pump: whose thread carries the commands to the proxy; default: :func:`get_pump`. The proxy ends with it.
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
        frontend: _Places = None,
        backend: _Places = None,
        type: str = "forwarder",  # noqa: A002 (ZeroMQ's word for it)
        *,
        frontend_connect: _Places = None,
        backend_connect: _Places = None,
        capture: _Places = None,
        frontend_options: _Options = None,
        backend_options: _Options = None,
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
            _side("frontend", front, frontend, frontend_connect, frontend_options),
            _side("backend", back, backend, backend_connect, backend_options),
        ]
        if capture is not None:
            sides.append(_side("capture", zmq.PUB, capture, None, None))
        _check_version(zmq.zmq_version_info())
        self._type = type
        self._sides = tuple(sides)
        self._number = next(_numbers)
        self._pump = pump or get_pump()
        # the hub's thread alone, but _proxying, whose methods say more, and _error, which a fork sets
        self._error: Callable[[], BaseException] | None = None  # the end: what callers get from now on
        self._started = False
        self._proxying: _proxy.Proxying | None = None  # once it has started
        self._control: Channel | None = None
        self._reader: gevent.Greenlet[[Channel], None] | None = None
        self._pool: ThreadPool | None = None
        self._ready: AsyncResult[list[bytes]] = AsyncResult()
        self._pauses = b""  # libzmq's command that pauses, from the owning thread
        self._places: tuple[tuple[str, ...], ...] = tuple(side.bind + side.connect for side in sides)
        self._paused = False
        self._pausing: AsyncResult[ProxyStatistics] = AsyncResult()  # of the last pause(): libzmq has heard of it
        self._asked: deque[tuple[AsyncResult[ProxyStatistics], bool]] = deque()  # and whether a run of the loop ends
        self._past = ProxyStatistics(*[0] * _proxy.COUNTS)  # of the runs of the loop that have ended
        self._final: ProxyStatistics | None = None
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
        return self._places[0]

    @property
    def backend(self) -> tuple[str, ...]:
        """The endpoints of the backend, likewise."""
        return self._places[1]

    @property
    def capture(self) -> tuple[str, ...]:
        """The endpoints of the capture socket, likewise; empty without one."""
        return self._places[2] if len(self._places) > 2 else ()

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
        self._check_running()
        if not self._paused:
            self._paused = True
            self._pausing = self._leave_loop(_proxy.PAUSE)
        self._wait(self._pausing, timeout)  # whoever asked for it: messages may still pass

    def resume(self) -> None:
        """Have messages pass again, those that waited first.

        :raises ClosedError, BrokenError: as for :meth:`start`.
        """
        self._check_running()
        if self._paused:
            self._say(_proxy.RESUME)
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
        if self._final is not None:
            return self._final
        if self._closing and self._asked:
            return self._wait(self._asked[-1][0], timeout)  # these will be the final ones
        self._check_running()
        return self._wait(self._ask(), timeout)

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
            self._leave_loop(_proxy.END)
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
        control = Channel(
            zmq.PAIR, bind=f"inproc://zgreen.proxy.{self._number}", send_maxsize=None, recv_maxsize=None,
            multipart=True, pump=self._pump,
        )  # fmt: skip
        if self._closing:  # by close(), which found no thread to tell while the channel was opened
            control.close(linger=0)
            self._end(partial(ClosedError, f"{self} was closed"))
            self._check()
        self._control = control
        proxying = _proxy.Proxying(
            self._sides, (self._pump.context, control.last_endpoint), _allocate_lock, _block_signals,
            int(seam.LINGER * 1000),
        )  # fmt: skip
        self._proxying = proxying
        self._reader = gevent.spawn(self._read, control)
        seam.watch(self)
        self._pool = ThreadPool(1, hub=seam.hub_of(self._pump))
        self._pool.spawn(proxying.run).rawlink(lambda _: gevent.spawn(self._thread_ended))

    def _thread_ended(self) -> None:
        """The owning thread is through; a greenlet of its own."""
        assert self._control is not None
        assert self._pool is not None
        assert self._reader is not None
        self._pool.kill()  # returns when the thread is gone
        self._reader.join(_GRACE)  # its last word may still be with the pump
        self._control.close(linger=0)
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
        self._fail_asked()
        self._left.set()
        self._ended.set()

    def _fail_asked(self) -> None:
        while self._asked:
            self._asked.popleft()[0].set_exception(self.error() or ClosedError(f"{self} was closed"))

    def _end_now(self) -> bool:
        """Make the owning thread end; False if there is none, or if it is the parent process that has it."""
        if self._proxying is None or isinstance(self.error(), ForkedError):
            return False
        return self._proxying.end_now()

    def begin_exit(self, deadline: float, park: bool) -> bool:  # noqa: ARG002 (see `seam.watch`)
        """Internal: the process ends; the hub does not run."""
        if self._proxying is None or self._error is not None:
            return False
        self._closing = True
        self._end_now()
        return True

    def dump(self) -> str:
        """Internal: one line for :func:`zgreen.dump_on_signal`."""
        state = "closed" if self.closed else "running" if self._proxying is not None else "not started"
        return f"{self}: {state}\n"

    def park_thread(self, parked: set[Any]) -> None:
        """Internal: the pump that it belongs to does that."""

    def end_exit(self, deadline: float) -> None:
        """Internal: wait for what `begin_exit` began, without the hub."""
        assert self._proxying is not None
        gone = self._proxying.gone
        if gone.acquire(True, max(0.0, deadline - time.monotonic())):
            gone.release()
        else:
            logger.warning("%s: not all that has passed was sent", self)

    def after_fork(self) -> None:
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

    def _check_running(self) -> None:
        self._check()
        if not self._started:
            raise ClosedError(f"{self} was not started")
        self._ready.get()  # another greenlet may be in start()

    def _say(self, *words: bytes) -> None:
        """By the hub, in a callback of its loop: in the order of calls, and never a part of *words* only, as a put in
        a greenlet may wait its turn, and be killed there."""
        seam.hub_of(self._pump).loop.run_callback(self._put, words)

    def _put(self, words: tuple[bytes, ...]) -> None:
        if self._control is None:
            return
        try:
            for word in words:
                self._control.put_nowait(word)
        except (ClosedError, BrokenError):
            pass  # the reader knows, too

    def _ask(self, last: bool = False) -> AsyncResult[ProxyStatistics]:
        """Ask for the counts; *last*: of this run of the loop. Answers come in the order of questions."""
        result: AsyncResult[ProxyStatistics] = AsyncResult()
        self._asked.append((result, last))
        self._say(_proxy.STATISTICS)
        return result

    def _leave_loop(self, then: bytes) -> AsyncResult[ProxyStatistics]:
        """Have the thread leave libzmq's loop, if it is there, and do what *then* says; the last counts of it."""
        running = then == _proxy.PAUSE or not self._paused
        if running and self._pauses:  # not known before it is ready: close() during start()
            self._say(self._pauses)  # so that nothing passes between the counts and the end
        result = self._ask(last=True)
        if running:
            self._say(_proxy.TERMINATE)
        self._say(then)
        return result

    def _wait(self, result: AsyncResult[ProxyStatistics], timeout: float | None) -> ProxyStatistics:
        if result.wait(timeout) is None and not result.ready():
            raise TimeoutError(f"{self}: no answer within {timeout:g} s; it waits for a peer that is slow")
        counts = result.get()
        assert counts is not None
        return counts

    def _read(self, control: Channel) -> None:
        """The reader: what the owning thread says, until its last word."""
        left = False
        try:
            while (frames := control.get())[0] != _proxy.LEFT:
                self._take(frames)
            left = True
        except (ClosedError, BrokenError):
            pass  # the pump has ended, or this is the child of a fork
        finally:
            if not isinstance(self.error(), ForkedError):
                if not left:
                    self._end_now()  # whatever ended this greenlet: nobody could steer the proxy any more
                self._left.set()

    def _take(self, frames: list[bytes]) -> None:
        if frames[0] == _proxy.READY:
            self._pauses = frames[1]
            self._places = tuple(tuple(places.decode().split("\n")) for places in frames[2:])
            self._ready.set(frames)
        elif len(frames) == _proxy.COUNTS:
            counts = (struct.unpack("=Q", frame)[0] for frame in frames)
            total = ProxyStatistics(*(a + b for a, b in zip(self._past, counts, strict=True)))
            result, last = self._asked.popleft()
            if last:
                self._past = total
            if self._closing and not self._asked:
                self._final = total
            result.set(total)
        # else: the empty message with which libzmq 4.3.5 answers its other commands


def _side(name: str, kind: int, places: _Places, connect: _Places, options: _Options) -> _proxy.Side:
    bind, others = endpoints_of(name, places), endpoints_of(f"{name}_connect", connect)
    if not bind and not others:
        raise ValueError(f"{name} has no endpoint: give one to bind or one to connect")
    try:
        return _proxy.Side(int(kind), options_of(options), bind, others)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _check_version(version: tuple[int, int, int]) -> None:
    if version < _proxy.OLDEST:
        raise NotImplementedError(
            f"zgreen.Proxy needs libzmq {'.'.join(map(str, _proxy.OLDEST))} or newer: a proxy of libzmq "
            f"{'.'.join(map(str, version))} knows no STATISTICS command"
        )


def _block_signals() -> None:
    """For the owning thread; where a thread can."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
