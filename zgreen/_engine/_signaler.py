"""A wake-up on a file descriptor (a leaf: any thread; knows neither gevent nor zmq)."""

from __future__ import annotations

import _socket
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

if sys.platform == "win32":
    from os import close as _close
else:
    from posix import close as _close  # os.close may be the one of monkey.patch_all, which needs a hub

# Where there is no eventfd. _socket's is the one that monkey.patch_all leaves alone; Windows has only socket's.
_socketpair = getattr(_socket, "socketpair", socket.socketpair)


class Signaler:
    """A doorbell, not a count: rings merge until they are drained.

    ``ring`` is legal from any thread at any time. The descriptor is closed when the last reference goes, never
    before: a thread inside ``ring`` holds one, so it cannot write to a number that belongs to another file by then.
    """

    __slots__ = ("_fd", "_pair", "poke")

    def __init__(self) -> None:
        self._pair: tuple[_socket.socket, _socket.socket] | None = None
        self._fd = -1  # until there is one: the system may refuse
        if hasattr(os, "eventfd"):
            self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            # ring, in C: no signal handler's exception comes before it is done; may raise BlockingIOError
            self.poke: Callable[[], Any] = partial(os.eventfd_write, self._fd, 1)
        else:
            self._pair = _socketpair()
            for end in self._pair:
                end.setblocking(False)
            self._fd = self._pair[0].fileno()
            self.poke = partial(self._pair[1].send, b"\0")

    def fileno(self) -> int:
        """The descriptor that is readable from a ring until the next drain."""
        return self._fd

    def ring_fileno(self) -> int:
        """The descriptor to which eight bytes are written to ring."""
        return self._fd if self._pair is None else self._pair[1].fileno()

    def ring(self) -> None:
        """Make the descriptor readable."""
        try:
            if self._pair is None:
                os.eventfd_write(self._fd, 1)
            else:
                self._pair[1].send(b"\0")
        except BlockingIOError:  # it is full of rings, so it is readable
            pass

    def drain(self) -> None:
        """Take all rings; the owner's thread only."""
        try:
            if self._pair is None:
                os.eventfd_read(self._fd)
            else:
                self._pair[0].recv(4096)
        except BlockingIOError:
            pass

    def __del__(self) -> None:
        if self._pair is None:
            if self._fd >= 0:
                _close(self._fd)
        else:
            for end in self._pair:
                end.close()
