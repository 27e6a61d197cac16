"""Poller, select and zmq_poll over green sockets and raw descriptors: they wait in the hub."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gevent
import zmq
from gevent.event import Event
from zmq.backend import zmq_poll as _poll_descriptors

from ._core import Core

_READ, _WRITE = 1, 2  # of gevent's io watchers


class _Descriptor:
    """A raw descriptor, with the events of pyzmq."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._watchers: list[Any] = []
        self._wanted = 0

    def listen(self, wanted: int, found: Any) -> None:
        self._wanted = wanted
        loop = gevent.get_hub().loop
        for event, kind in ((zmq.POLLIN, _READ), (zmq.POLLOUT, _WRITE)):
            if wanted & event:
                watcher = loop.io(self._fd, kind)
                self._watchers.append(watcher)
                watcher.start(found)

    def events(self) -> int:
        ready = _poll_descriptors([(self._fd, self._wanted)], 0)
        return ready[0][1] if ready else 0

    def look(self) -> None:
        pass

    def ignore(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()


class _Green:
    """A green socket."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._found: Any = None

    def listen(self, wanted: int, found: Any) -> None:  # noqa: ARG002
        self._found = found
        self._core.readiness.listen(found)

    def events(self) -> int:
        self._core.check()
        return self._core.readiness.now()

    def look(self) -> None:
        self._core.look()

    def ignore(self) -> None:
        if self._found is not None:
            self._core.readiness.ignore(self._found)


def _source(item: Any) -> _Descriptor | _Green:
    if isinstance(item, zmq.Socket):
        core = getattr(item, "_core", None)
        if not isinstance(core, Core):
            if item.closed or not hasattr(item, "_core"):
                raise TypeError(f"{item!r} is no zgreen.green.Socket: a plain zmq.Socket would block the hub")
            raise zmq.ZMQError(zmq.ENOTSOCK)
        core.ready()
        return _Green(core)
    if isinstance(item, int):
        return _Descriptor(item)
    if not hasattr(item, "fileno"):
        raise TypeError(f"Socket must be a 0MQ socket, an integer fd or have a fileno() method: {item!r}")
    try:
        return _Descriptor(int(item.fileno()))
    except Exception:  # noqa: BLE001 (the user's fileno() may raise anything)
        raise ValueError("fileno() must return a valid integer fd") from None


def _key(item: Any) -> Any:
    """What stands for *item* in a result: of an object with a descriptor that number, as with pyzmq."""
    return item if isinstance(item, (zmq.Socket, int)) or not hasattr(item, "fileno") else item.fileno()


def zmq_poll(sockets: Iterable[tuple[Any, int]], timeout: float | None = -1) -> list[tuple[Any, int]]:
    """Wait until one of *sockets*, pairs of a socket or descriptor and its events, is ready; those that are, with their
    events.

    :param timeout: milliseconds; None or negative: no limit.
    """
    wanted = [(_key(item), events, _source(item)) for item, events in sockets]
    seconds = None if timeout is None or timeout < 0 else timeout / 1000
    changed = Event()

    def found() -> list[tuple[Any, int]]:
        return [(item, ready) for item, events, source in wanted if (ready := source.events() & events)]

    try:
        for _, events, source in wanted:
            source.listen(events, changed.set)
        for _, events, source in wanted:
            if not source.events() & events:
                source.look()  # so that nothing that has come is missed
        timer = gevent.Timeout.start_new(seconds) if seconds else None
        try:
            while not (ready := found()) and seconds != 0:
                changed.clear()
                if not (ready := found()):
                    changed.wait()
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            ready = found()
        finally:
            if timer is not None:
                timer.close()
        return ready
    finally:
        for _, _, source in wanted:
            source.ignore()


class Poller(zmq.Poller):
    """As :class:`zmq.Poller`, for sockets of :class:`Context` and raw descriptors; only the caller's greenlet waits."""

    def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """Wait for an event, up to *timeout* milliseconds; None or negative: no limit."""
        return zmq_poll(self.sockets, timeout)


def select(
    rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait as :func:`zmq.select`; *timeout* is in seconds, None: no limit. Nothing is ever ready of *xlist*."""
    reads, writes = list(rlist), list(wlist)
    wanted: dict[Any, int] = {}
    for event, items in ((zmq.POLLIN, reads), (zmq.POLLOUT, writes), (0, list(xlist))):
        for item in items:
            wanted[item] = wanted.get(item, 0) | event
    ready = dict(zmq_poll(list(wanted.items()), None if timeout is None else timeout * 1000))
    return (
        [_key(item) for item in reads if ready.get(_key(item), 0) & zmq.POLLIN],
        [_key(item) for item in writes if ready.get(_key(item), 0) & zmq.POLLOUT],
        [],
    )
