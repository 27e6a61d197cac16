"""Socket monitors: which socket tells which PAIR its events; the owning thread only.

libzmq sends an event *blocking*, in whatever thread it happens (I/O threads included) and with the socket's monitor
locked. So the PAIR must be connected, without a high-water mark, until the monitor is stopped: whichever of the two
sockets is closed first, the monitor is stopped before that.

The PAIR is connected at once after the monitor is started, not before: libzmq never frees a socket that is closed while
it is connected to an inproc name that is not bound, and starting the monitor, which binds the name, may fail. An
event that comes in between waits for the connection, which needs no other thread.
"""

from __future__ import annotations

import contextlib
from typing import Any

import zmq


class Monitors:
    """The monitors of one engine's sockets."""

    def __init__(self) -> None:
        self._pair_of: dict[Any, Any] = {}  # monitored pipe -> its PAIR's
        self._watched_by: dict[Any, Any] = {}  # and back

    def start(self, pipe: Any, pair: Any, endpoint: str, events: int) -> None:
        """Have the socket of *pipe* send its *events* by way of *endpoint* to the PAIR socket of *pair*."""
        if pipe.fd < 0 or pair.fd < 0:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        if pipe in self._pair_of:
            raise ValueError("the socket has a monitor already")
        zmq.backend.Socket.monitor(pipe.socket, endpoint, events)
        zmq.backend.Socket.connect(pair.socket, endpoint)
        self._pair_of[pipe] = pair
        self._watched_by[pair] = pipe

    def closing(self, pipe: Any) -> None:
        """The socket of *pipe* is about to be closed; the PAIR of a monitor finds MONITOR_STOPPED as the last event."""
        pair = self._pair_of.pop(pipe, None)
        if pair is not None:
            del self._watched_by[pair]
            _stop(pipe)
        watched = self._watched_by.pop(pipe, None)
        if watched is not None:
            del self._pair_of[watched]
            _stop(watched)


def _stop(pipe: Any) -> None:
    with contextlib.suppress(zmq.ZMQError):  # the context is terminated: then libzmq's sends do not block
        zmq.backend.Socket.monitor(pipe.socket, None, 0)
