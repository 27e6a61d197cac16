"""per_process: a resource that each process, and each hub in it, makes for itself on first use.

All state is kept by hub, and only the hub's own thread touches it. So no lock is needed, which a fork or a late
patch_all() could leave held. The one exception is `_Slot.forget_closed`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary

import gevent
from gevent.event import Event

from ._draining import draining
from ._errors import ClosedError

R = TypeVar("R")


class _Attempt:
    """One greenlet makes the resource; others wait until it is done."""

    def __init__(self) -> None:
        self.greenlet = gevent.getcurrent()
        self.done = Event()
        self.error: Exception | None = None


class _Slot(Generic[R]):
    """The resource of one hub in one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._made: list[R] = []  # one element at most; the resource itself may be None
        self._attempt: _Attempt | None = None

    def get(self, make: Callable[[], R]) -> R:
        """The resource; it is made if there is none that is open."""
        while True:
            made = self._made[:]
            if made and (not _is_closed(made[0]) or draining()):
                return made[0]
            if draining():
                raise ClosedError("this process is being drained: it makes nothing new")
            if self._attempt is None:
                return self._try(make)
            self._wait(self._attempt, make)

    def forget_closed(self) -> None:
        """Let go of a closed resource, which may refer to the hub and so keep it, and this slot, for ever. Any thread.

        The hub's thread may store a new resource meanwhile. `remove` is one step of the list, and takes out nothing but
        the resource that was seen to be closed.
        """
        for made in self._made[:]:
            if _is_closed(made):
                with contextlib.suppress(ValueError):
                    self._made.remove(made)

    def _try(self, make: Callable[[], R]) -> R:
        attempt = _Attempt()
        try:
            self._attempt = attempt
            made = make()
            self._made[:] = [made]
            return made
        except Exception as error:
            attempt.error = error
            raise
        finally:
            # A kill or a Timeout concerns this greenlet alone: there is no error for the others, and one of them makes
            # the next attempt.
            self._attempt = None
            attempt.done.set()

    def _wait(self, attempt: _Attempt, make: Callable[[], R]) -> None:
        name = getattr(make, "__qualname__", repr(make))
        if attempt.greenlet is gevent.getcurrent():
            raise RuntimeError(f"{name}() calls itself: what it makes is needed to make it")
        if gevent.getcurrent() is gevent.get_hub():
            raise RuntimeError(f"{name}() is just making its resource, and a callback of the hub cannot wait for that")
        attempt.done.wait()
        if attempt.error is not None:
            raise attempt.error


def per_process(make: Callable[[], R]) -> Callable[[], R]:
    """Decorate a function without arguments that makes a :class:`Channel`, a :class:`Requester`, a :class:`Fanout` or
    the like: each process makes its own, on first use, and keeps it::

        @zgreen.per_process
        def push() -> zgreen.Channel:
            return zgreen.Channel(zmq.PUSH, connect="tcp://127.0.0.1:5555")

        push().put(message)

    :raises TypeError: *make* is not callable, or needs arguments.

    The first greenlet that calls it makes the resource, and others that call it meanwhile wait, without blocking the
    hub. If that raises, they all get the error, and the next call tries again; if the greenlet was killed or timed out,
    one of the others tries. A child of a fork makes its own, whatever the parent had; so does each thread with a hub of
    its own, as with :func:`get_pump`. Nothing happens at import or at decoration, so it is safe under ``--preload`` and
    before ``patch_all()``.

    A resource whose attribute ``closed`` is true is replaced at the next call: one that was closed, that ended by an
    error, or that ended with its pump. Channels and what is made of them end with their pump, which ends at exit. One
    that has no ``closed`` is kept as long as its hub. Once :func:`drain` has begun nothing is made or replaced any
    more: what is there is given, closed or not, and what is not is a :class:`ClosedError`.

    A call raises RuntimeError if *make* itself calls it, or if it is made in a callback of the hub while another
    greenlet is making the resource.
    """
    if not callable(make):
        raise TypeError(f"per_process decorates a function, not {type(make).__name__}")
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise TypeError(
            f"per_process decorates a function without arguments, and {make!r} needs some: {error}"
        ) from None
    slots: WeakKeyDictionary[Any, _Slot[R]] = WeakKeyDictionary()

    @functools.wraps(make)
    def resource() -> R:
        hub = gevent.get_hub()
        slot = slots.get(hub)
        if slot is None or slot.pid != os.getpid():
            for other in slots.keyrefs():  # a copy made in one step: other threads add to the dictionary
                _forget_closed(slots, other)
            slot = slots[hub] = _Slot()
        return slot.get(make)

    return resource


def _is_closed(resource: object) -> bool:
    closed = getattr(resource, "closed", False)
    return not callable(closed) and bool(closed)


def _forget_closed(slots: WeakKeyDictionary[Any, _Slot[R]], reference: ReferenceType[Any]) -> None:
    hub = reference()
    slot = None if hub is None else slots.get(hub)
    if slot is not None:
        slot.forget_closed()
