"""ContextLife: the pumps of one green Context, its open sockets, and how it ends.

It exists beside the Context because subclasses of Context may skip its constructor.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
import zmq
from gevent import monkey
from gevent.event import Event

from .._hub.pump import Pump

if TYPE_CHECKING:
    from ._core import Core

_start_thread = monkey.get_original("_thread", "start_new_thread")


class ContextLife:
    """Any thread may use it; each entry of the two collections is written by one operation of C."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.terminating = False  # `term` has begun
        self._plain: zmq.Context[Any] | None = None
        self._pumps: dict[Any, Pump] = {}  # by hub; the hub's thread alone sets its own
        self._cores: weakref.WeakSet[Core] = weakref.WeakSet()  # of the sockets that are not closed
        self._all_closed = Event()

    def plain(self, context: zmq.Context[Any]) -> zmq.Context[Any]:
        """A plain context on the same libzmq context. It does not keep *context* alive, and ends nothing by itself."""
        if self._plain is None:
            self._plain = zmq.Context(shadow=context.underlying)
        return self._plain

    def forked(self) -> bool:
        """Whether this is the child of a fork: the parent's libzmq objects may not be touched there."""
        return os.getpid() != self.pid

    def check_process(self) -> None:
        """Raise ENOTSOCK in the child of a fork."""
        if self.forked():
            raise zmq.ZMQError(zmq.ENOTSOCK, "this belongs to the parent process; make a new context")

    def pump(self) -> Pump:
        """The pump of the context for this thread's hub, running."""
        self.check_process()
        hub = gevent.get_hub()
        pump = self._pumps.get(hub)
        if pump is None or pump.closed:
            assert self._plain is not None
            pump = self._pumps[hub] = Pump(context=self._plain)
        return pump.start()

    # ------------------------------------------------------------------ open sockets

    def opened(self, core: Core) -> None:
        """A socket was made."""
        self._cores.add(core)

    def closed(self, core: Core) -> None:
        """A socket was closed, or was collected."""
        self._cores.discard(core)
        if self.terminating and not self._cores:
            self._all_closed.set()

    # ------------------------------------------------------------------ the end

    def terminate(self, term: Callable[[], None]) -> None:
        """`Context.term`. *term* ends libzmq's context, which blocks; other greenlets run meanwhile."""
        if self.forked():
            return
        self.terminating = True
        self._wake_all()
        if self._cores:
            self._wait_until_all_closed()
        pumps, self._pumps = list(self._pumps.values()), {}
        hub = gevent.get_hub()
        for pump in pumps:
            if pump._thread.link.here():
                pump._shutdown.run(math.inf, math.inf)
            else:
                hub.threadpool.apply(pump._shutdown.run, (math.inf, math.inf))
        del pumps
        hub.threadpool.apply(term)

    def _wait_until_all_closed(self) -> None:
        # Another thread may close the last socket. gevent does not count that: without an active watcher it would say
        # that this waits for ever.
        watcher = gevent.get_hub().loop.async_()
        watcher.start(lambda: None)
        try:
            self._all_closed.wait()
        finally:
            watcher.stop()
            watcher.close()

    def _wake_all(self) -> None:
        """Wake all, in a frame of its own that keeps no socket alive: those without another reference are closed by
        that."""
        for core in list(self._cores):
            core.wake()

    def abandon(self) -> None:
        """The Context was collected, and all its sockets before: end libzmq's context once the pumps have ended."""
        if self._plain is None or self.forked():
            return
        # Lanes that have ended keep this object until the garbage collector finds them; it shall not keep the pumps.
        plain, pumps, self._pumps = self._plain, list(self._pumps.values()), {}
        left = [pump for pump in pumps if not pump._thread.gone and pump._thread.pool is not None]
        count = len(left)

        def one_has_ended() -> None:
            nonlocal count
            count -= 1
            if count <= 0:
                _start_thread(plain.term, ())

        for pump in left:
            pump._thread.on_end = one_has_ended
        if not left:
            _start_thread(plain.term, ())
