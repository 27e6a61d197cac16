"""drain: the graceful end of a service. Hub side.

First streams end, so that servers can finish their requests; then the pumps are shut down, which sends what was put.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import gevent.hub

from . import _draining
from ._arguments import check_seconds
from ._hub.seam import is_here, pumps

logger = logging.getLogger("zgreen")

_LOOK = 0.01  # seconds between two looks at streams that are ending


# The drain of each hub; touched on the thread of that hub alone.
_jobs: WeakKeyDictionary[gevent.hub.Hub, gevent.Greenlet[..., int]] = WeakKeyDictionary()


def drain(timeout: float = 5.0, *, stop: Iterable[Callable[[], Any]] = ()) -> int:
    """End this process's service on this thread's hub, gracefully, within *timeout* seconds; the last thing to call.

    1. Every :class:`Fanout` is closed. So each stream gets what is there for it and then ends: those of
       :func:`zgreen.sse.events`, which tell their client to come back, and loops over a :class:`Subscription`. New
       ``subscribe`` calls raise :class:`ClosedError`, and :func:`per_process` makes nothing any more.
    2. The functions in *stop* are called, at the same time: the ``stop`` methods of servers.
    3. When the streams and they have ended, or half of the time is over, all pumps are shut down, which sends what was
       put in the time that is left.

    :return: how many messages were not sent: see :meth:`Pump.shutdown`.
    :raises TypeError, ValueError: *timeout* is no number of seconds, or *stop* holds what cannot be called.
    :raises RuntimeError: in a callback of the hub, which cannot wait.

    A call while another one is under way waits for that one, and returns the same. What does not end by itself is not
    killed. Pumps of other threads' hubs are left alone, and end at exit.
    """
    functions = _check(timeout, stop)
    hub = gevent.get_hub()
    if gevent.getcurrent() is hub:
        raise RuntimeError("drain waits, which a callback of the hub cannot: use gevent.spawn(zgreen.drain)")
    job = _jobs.get(hub)
    if job is None or job.ready():
        job = _jobs[hub] = gevent.spawn(_drain, timeout, functions)  # the caller may be killed
    return job.get()


def drain_on_signal(*stop: Callable[[], Any], timeout: float = 5.0, signum: int = signal.SIGTERM) -> Any:
    """Have this process :func:`drain` when it gets a signal::

        server = WSGIServer(("", 8000), application, spawn=Pool(1000))
        zgreen.drain_on_signal(server.stop)
        server.serve_forever()
        zgreen.drain()  # waits for what the signal has begun

    :param stop: what else is to be called then: the ``stop`` methods of servers. One that has a pool waits there for
        its requests, for its ``stop_timeout``.
    :param timeout: seconds, for all of it.
    :param signum: which signal.
    :return: what ``gevent.signal_handler`` returns; its ``cancel()`` undoes this.
    :raises TypeError, ValueError: as :func:`drain`.

    The drain is a greenlet: it begins when the hub runs. ``serve_forever`` returns after ``stop``, and a loop over a
    channel or subscription ends when that is closed; so the program ends by itself, with exit status 0. Nothing is
    installed without this call. For gunicorn: :mod:`zgreen.gunicorn`.
    """
    functions = _check(timeout, stop)
    return gevent.signal_handler(signum, drain, timeout, stop=functions)


def _check(timeout: float, stop: Iterable[Callable[[], Any]]) -> list[Callable[[], Any]]:
    if timeout is None:
        raise TypeError("timeout must be a number of seconds: a drain has an end")
    check_seconds("timeout", timeout)
    functions = list(stop)
    for function in functions:
        if not callable(function):
            raise TypeError(f"stop must be functions, like server.stop, not {type(function).__name__}")
    return functions


def _drain(timeout: float, stop: list[Callable[[], Any]]) -> int:
    deadline = time.monotonic() + timeout
    streams = _draining.begin()
    stopping = [gevent.spawn(function) for function in stop]
    half = deadline - timeout / 2
    while not (all(ended() for ended in streams) and all(greenlet.ready() for greenlet in stopping)):
        if time.monotonic() >= half:
            logger.warning("drain: not all streams and servers ended in %g s: they are left to the end", timeout / 2)
            break
        gevent.sleep(_LOOK)
    here = [pump for pump in pumps() if is_here(pump) and not pump.closed]
    left = max(0.0, deadline - time.monotonic())
    ends = [gevent.spawn(pump.shutdown, linger=left) for pump in here]
    gevent.joinall(ends)
    return sum(end.value or 0 for end in ends)
