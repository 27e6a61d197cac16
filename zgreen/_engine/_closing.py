"""The end of a socket; the owning thread only.

libzmq's close returns at once and goes on in the background: it sends what it still holds for up to the linger, and
only then gives the address free. Its socket monitor says when that is over (MONITOR_STOPPED comes from the socket's
destructor). So we can wait for it, and know from the time whether the linger ran out.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from typing import Any

import zmq

_GRACE = 1.0  # seconds beyond the linger after which a socket that has not ended is left to libzmq

# Seconds that libzmq's timer may be early: its clock counts whole milliseconds.
_EARLY = 0.002

_numbers = itertools.count()  # next() is atomic; the endpoint is unique in this process, whatever the context


class Farewell:
    """Waits for the real end of a socket that it closes."""

    __slots__ = ("_due", "_pair", "_sent", "fd", "limit", "pipe", "unsent")

    def __init__(self, pipe: Any, unsent: list[tuple[Any, Any]], linger: float, asked: bool) -> None:
        """Close the pipe's socket with *linger* seconds; *asked*: somebody wants to know what is lost by it."""
        self.pipe = pipe
        self.unsent = unsent
        socket = pipe.socket
        self._sent = 0
        self._pair: zmq.Socket[bytes] | None = None
        self.fd = -1
        _free_names(socket, pipe.names)
        # Over inproc there is no linger: what was sent is the peers' already, and the socket ends when they have read
        # it, which may be never.
        if pipe.far:
            self._sent = pipe.sent if asked else 0
            self._watch(socket)
        self._due = self.limit = 0.0
        self._set_due(linger)  # before: libzmq's timer starts in another thread, and this one may lose its CPU
        socket.close(linger=math.ceil(linger * 1000))

    def _watch(self, socket: zmq.Socket[bytes]) -> None:
        """Have its monitor tell of its end."""
        try:
            # libzmq does not say how many it holds. SNDHWM is its limit for each connection; how many of them there are
            # it does not say either, so we report what one may hold.
            self._sent = min(self._sent, int(socket.get(zmq.SNDHWM)) or self._sent)
            # Our end first, if there are descriptors for both: libzmq sends the event *blocking*, in the thread that
            # ends all sockets of the context, so once it is asked for somebody must be there to receive it.
            self._pair = zmq.Socket(socket.context, zmq.PAIR)
            endpoint = f"inproc://zgreen.farewell.{next(_numbers)}"
            socket.monitor(endpoint, zmq.EVENT_MONITOR_STOPPED)
            self._pair.connect(endpoint)
            self.fd = int(self._pair.get(zmq.FD))
        except (zmq.ZMQError, TypeError):
            # No descriptor or no place for one more socket, or the context is going, or (TypeError) a socket made by
            # zmq.Socket.shadow(address), which does not know its context: do not wait.
            self.drop()

    def _set_due(self, linger: float) -> None:
        now = time.monotonic()
        self._due = now + linger
        self.limit = now + linger + _GRACE

    def shorten(self, linger: float) -> None:
        """Wait no longer than *linger* seconds from now; libzmq may go on."""
        if time.monotonic() + linger < self._due:
            self._set_due(linger)

    def is_over(self) -> bool:
        """Whether the socket has ended, or is not waited for."""
        if self._pair is None:
            return True
        try:
            self._pair.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # somebody terminated the context
            pass
        return True

    def held(self) -> int:
        """How many messages libzmq may have thrown away: none, unless its linger ran out."""
        return self._sent if time.monotonic() >= self._due - _EARLY else 0

    def drop(self) -> None:
        """Stop waiting."""
        if self._pair is not None:
            self._pair.close(linger=0)
            self._pair = None


def _free_names(socket: zmq.Socket[bytes], names: set[str]) -> None:
    """Give the names over inproc free now, not when libzmq comes to it."""
    for name in names:
        with contextlib.suppress(zmq.ZMQError):  # it was connected, not bound
            zmq.backend.Socket.unbind(socket, name)
