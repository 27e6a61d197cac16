"""Waiting on descriptors, in the owning thread: epoll, else libzmq's own poll (a leaf; imports zmq, never gevent).

Never ``select``: it fails for descriptors above 1023. The epoll class comes from outside because monkey.patch_all
removes it from the ``select`` module, and this folder does not know gevent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import zmq


class Poller(Protocol):
    """The interface that an engine needs; the owning thread only."""

    def register(self, fd: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float | None) -> list[int]:
        """The readable descriptors, after at most *timeout* seconds (None: no limit)."""

    def close(self) -> None: ...


class EpollPoller:
    """Level-triggered epoll: a pass costs time for each ready descriptor, not for each open one."""

    def __init__(self, epoll: Callable[[], Any]) -> None:
        self._epoll = epoll()

    def register(self, fd: int) -> None:
        self._epoll.register(fd, 1)  # EPOLLIN; errors and hang-ups are reported unasked

    def unregister(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def poll(self, timeout: float | None) -> list[int]:
        # epoll rounds up to whole milliseconds by itself
        return [fd for fd, _ in self._epoll.poll(-1 if timeout is None else timeout)]

    def close(self) -> None:
        self._epoll.close()


class ZmqPoller:
    """For systems without epoll: a pass costs time for each open descriptor."""

    def __init__(self) -> None:
        self._fds: set[int] = set()

    def register(self, fd: int) -> None:
        self._fds.add(fd)

    def unregister(self, fd: int) -> None:
        self._fds.discard(fd)

    def poll(self, timeout: float | None) -> list[int]:
        wait = -1 if timeout is None else math.ceil(timeout * 1000)
        return [fd for fd, _ in zmq.zmq_poll([(fd, zmq.POLLIN) for fd in self._fds], wait)]

    def close(self) -> None:
        self._fds.clear()
