"""select: take one message from whichever of several sources has one. Hub side.

The caller stands in line at every source. A source tells it of a message by a callback, in which it takes the message
itself, in its own greenlet: so nothing is ever taken that would have to be put back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import gevent
from gevent.hub import Waiter
from gevent.queue import Empty, ShutDown

from .._arguments import check_timeout
from .._errors import BrokenError
from .._hub.channel import Channel
from .subscription import Subscription

_BREATH = 100  # messages, of all greenlets, between two times that others get their turn

T = TypeVar("T", covariant=True)

_Linkable: TypeAlias = Channel | Subscription


class _Breath:
    """Counts; any thread may, a lost count does no harm."""

    taken = 0


class _Source(Protocol[T]):
    def get_nowait(self) -> T: ...


def select(*sources: _Source[T], timeout: float | None = None) -> tuple[Any, T]:
    """Wait until one of *sources* has a message, and take exactly that one.

    :param sources: channels that can receive, subscriptions, and gevent's queues; one may be there more than once.
    :param timeout: seconds; None: no limit; 0: do not wait.
    :return: ``(source, message)``. Of several that have one, each is as likely to be chosen as the others.
    :raises gevent.queue.Empty: none within *timeout*.
    :raises ClosedError, BrokenError, gevent.queue.ShutDown: a source has ended: it is chosen as one that has a message
        is, and its error raised. ``error.source`` is the source: leave it out of the next call.
    :raises TypeError: one of *sources* cannot be waited for, or there is none.
    :raises RuntimeError: this is not the thread of their hub.

    An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken. No waiter is left at any
    source; at a gevent queue, from the next turn of the loop on.
    """
    if not sources:
        raise TypeError("give at least one source: a channel, a subscription or a gevent queue")
    check_timeout(timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    may_wait = timeout != 0 and gevent.getcurrent() is not gevent.get_hub()
    if may_wait:
        _breathe()
    taken = _take(sources)
    while taken is None and may_wait:
        taken = _wait(sources, deadline)
    if taken is None:
        raise Empty
    return taken


def _breathe() -> None:
    """Before anything is taken: a kill or Timeout comes here."""
    _Breath.taken += 1
    if _Breath.taken >= _BREATH:
        _Breath.taken = 0
        gevent.sleep(0)


def _take(sources: Sequence[Any]) -> tuple[Any, Any] | None:
    """A message of a random one of those that have one; None if there is none."""
    ready = [source for source in sources if _is_ready(source)]
    while ready:
        source = ready.pop(random.randrange(len(ready)))
        try:
            return source, source.get_nowait()
        except Empty:  # a thread was faster, or an overflow
            continue
        except (ShutDown, BrokenError) as error:
            error.source = source  # type: ignore[union-attr]
            raise
    return None


def _is_ready(source: Any) -> bool:
    """Whether it has a message, or has ended; an error if it can never be waited for."""
    if isinstance(source, _Linkable):
        return source.ready()
    if not callable(getattr(source, "peek", None)):
        raise TypeError(f"cannot wait for {type(source).__name__}: give channels, subscriptions or gevent queues")
    hub = getattr(source, "hub", None)
    if hub is not None and hub is not gevent.get_hub():
        raise RuntimeError(f"{source!r:.60} belongs to the hub of another thread")
    return source.qsize() > 0 or getattr(source, "is_shutdown", False)


def _wait(sources: Sequence[Any], deadline: float | None) -> tuple[Any, Any] | None:
    """Stand in line everywhere until a source tells, and take; None if another consumer was faster.

    :raises gevent.queue.Empty: at *deadline*.
    """
    waiter: Waiter[Any] = Waiter()
    linked: list[_Linkable] = []
    peeking: list[gevent.Greenlet[..., None]] = []
    timer = None
    try:
        for source in sources:
            if isinstance(source, _Linkable):
                source.rawlink(waiter.switch)
                linked.append(source)
            else:
                peeking.append(gevent.spawn(_peek, source, waiter))
        if deadline is not None:
            timer = gevent.Timeout.start_new(max(0.0, deadline - time.monotonic()), Empty)
        waiter.get()
        return _take(sources)  # first of all: the turn lasts only as long as the callback
    finally:
        if timer is not None:
            timer.close()
        for source in linked:
            source.unlink(waiter.switch)
        for greenlet in peeking:
            greenlet.kill(block=False)


def _peek(queue: Any, waiter: Waiter[Any]) -> None:
    """Wait in the line of a gevent queue, and say so when there is an item; it stays there.

    A queue tells only greenlets that are in one of its calls. In peek() one can be killed at any time.
    """
    try:
        queue.peek()
    except Exception:  # noqa: BLE001 (it was shut down, or is broken: get_nowait then tells the caller of select)
        pass
    waiter.hub.loop.run_callback(waiter.switch, None)
