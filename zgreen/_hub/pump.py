"""Pump: the public face of one owning thread. Hub side.

It checks arguments and delegates: to `thread` what the thread does, to `shutdown` how it ends.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import gevent
import zmq

from .._arguments import check_seconds
from .._engine import choose
from .faces import Channel
from .life import Life
from .shutdown import Shutdown
from .statistics import PumpStatistics
from .thread import OwningThread
from .tracer import Event

_MAX_SOCKETS = 65535  # of our own contexts: libzmq's default of 1023 would be the first limit to be hit

_numbers = itertools.count(1)
_implicit: weakref.WeakKeyDictionary[Any, Pump] = weakref.WeakKeyDictionary()  # by hub; any thread sets its own


class Pump:
    """One OS thread that owns ZeroMQ sockets, and the gevent hub that they serve.

    :param name: for messages and logs; unique names help, nothing else depends on it.
    :param context: the ``zmq.Context`` to make sockets from. It stays yours: the pump never terminates it, so at exit
        it is up to you to wait (``context.term()``) for what libzmq still holds. Default: one of the pump's own.
    :param io_threads: of the pump's own context.
    :param engine: ``"native"`` or ``"python"``; default: the environment's ``ZGREEN_ENGINE``, else the fastest that is
        built.
    :param busy_wait: for how many seconds at most the owning thread looks for work before it sleeps; 0: never. Default:
        200 us. It looks only when its last waits were shorter than that, and lets other threads run between two looks.
        So it is woken sooner, and for less, while messages come and go; then it may use up to a whole core. An idle
        pump never looks, nor does one in a process with a single core, nor, for some time, one whose core other threads
        need. One pump of a process looks at a time. The Python engine takes this and ignores it.

    A pump belongs to the hub of the thread that makes it. ``with Pump() as pump:`` starts it and shuts it down. A
    running pump keeps the hub's loop alive, as a running server does: ``gevent.wait()`` without arguments does not end.

    A pump to which no reference is left, and one whose hub's thread has ended, shuts down by itself: what was put to
    its channels is given 5 seconds to go out, as at the exit of the process.
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
        busy_wait: float | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str or None, not {type(name).__name__}")
        if context is not None and not isinstance(context, zmq.Context):
            raise TypeError(f"context must be a zmq.Context or None, not {type(context).__name__}")
        if context is not None and context.closed:
            raise ValueError("context is terminated: make a new one")
        if not isinstance(io_threads, int) or isinstance(io_threads, bool) or io_threads < 1:
            raise ValueError(f"io_threads must be a positive int, not {io_threads!r}")
        check_seconds("busy_wait", busy_wait)
        engine_class = choose(engine)
        self._name = name if name is not None else f"pump-{next(_numbers)}"
        self._context: zmq.Context[Any] = zmq.Context(io_threads) if context is None else context
        if context is None:
            self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        self._thread = OwningThread(
            repr(self), gevent.get_hub(), self._context, context is None, engine_class, busy_wait
        )
        self._shutdown = Shutdown(self._thread)
        self._thread.face = weakref.ref(self, self._shutdown.dropped)

    @property
    def name(self) -> str:
        """The pump's name."""
        return self._name

    @property
    def engine(self) -> str:
        """Which engine runs in the owning thread: ``"native"`` or ``"python"``."""
        return self._thread.engine.name

    @property
    def context(self) -> zmq.Context[Any]:
        """The ``zmq.Context`` of the pump's sockets: inproc endpoints are found within one context only."""
        return self._context

    @property
    def closed(self) -> bool:
        """Whether it takes no more channels: shut down, ended by itself, or of the parent process."""
        return self._thread.state.now is not Life.OPEN

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The open channels, oldest first."""
        return tuple(channel for _, channel in self._thread.faces())

    def statistics(self) -> PumpStatistics:
        """Counts since the start, of all channels together; costs about as much as theirs. From any thread."""
        return self._thread.statistics()

    @property
    def on_event(self) -> Callable[[Event], Any] | None:
        """Called on the hub's thread, ``on_event(event)``, with an :class:`Event` for each message that is put, sent,
        received or got on any channel of this pump. Default: None, which costs nothing.

        It is called in a greenlet of its own, one event after the other, soon after the event and not within the put
        or get; what one greenlet does is told in order. What it raises is logged. A get that already waits when this
        is set is told; a put that already waits for room is not, nor that its message was sent. If the hub does not
        run for so long that 100,000 events wait, those that come then are not told, which is logged. Channels do not go
        their shortest way meanwhile: a put and a get take some microseconds, and the hub hears of each message.

        :raises TypeError: it is neither callable nor None.
        :raises RuntimeError: set on another thread than the hub's.
        """
        return self._thread.events.callback

    @on_event.setter
    def on_event(self, callback: Callable[[Event], Any] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"on_event must be callable or None, not {type(callback).__name__}")
        self._thread.link.check_here(f"{self}: setting on_event")
        self._thread.events.callback = callback
        for member in tuple(self._thread.members):
            member.trace()

    def dump(self) -> str:
        """A picture in words, of several lines: the state of the pump and of each channel, how long the queues are, and
        which callers wait (greenlets with the line of your code in which they do, threads by name) and for how long.

        From any thread, and from a signal handler: it does not wait. See :func:`zgreen.dump_on_signal`.
        """
        return self._thread.dump()

    def start(self) -> Pump:
        """Start the owning thread, if it does not run; return when it is ready. Channels do this by themselves.

        :raises BrokenError: it was not ready within 30 seconds.
        :raises ClosedError: the pump was shut down.
        """
        self._thread.start()
        return self

    def register_socket(self, in_: Any = None, out: Any = None, **options: Any) -> Channel:
        """:func:`zgreen.register_socket` with this pump."""
        return type(self)._register_socket(in_, out, pump=self, **options)

    def shutdown(self, linger: float | None = None, timeout: float | None = None) -> int:
        """Close all channels, end the owning thread, terminate the pump's own context.

        :param linger: seconds in which messages that were put may still go out; default 5, or what ``zmq.LINGER`` of
            a socket says; 0: at once.
        :param timeout: seconds that the whole call may take; default: the linger, 2 more, and 0.002 for each channel.
            What is not done by then is given up, with an error in the ``zgreen`` log (a socket that you made of the
            pump's context and did not close, for example, keeps the context).
        :return: how many messages were not sent, since the pump was made, as far as libzmq lets one know: those that
            it had not taken, and up to the high-water mark of those it had taken when its linger ran out.

        A second call does nothing and returns the same. In a callback of the hub, which cannot wait, it returns at
        once, and the number is how many messages may still not be sent.
        """
        check_seconds("linger", linger)
        check_seconds("timeout", timeout)
        return self._shutdown.run(linger, timeout)

    def __enter__(self) -> Pump:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<zgreen.Pump {self._name!r}>"


def get_pump() -> Pump:
    """The implicit pump of this process and this thread's hub: made and started on first use, and made anew when the
    last one was shut down, has ended by an error, or belongs to the parent process."""
    hub = gevent.get_hub()
    pump = _implicit.get(hub)
    if pump is None or pump.closed or pump._thread.error() is not None:
        pump = _implicit[hub] = Pump()
        pump._thread.on_end = partial(_forget_implicit, weakref.ref(hub))
    return pump.start()


def _forget_implicit(hub: Callable[[], Any]) -> None:
    """Let go of a pump that has ended: it would keep its hub, by which it is found, for ever."""
    _implicit.pop(hub(), None)
