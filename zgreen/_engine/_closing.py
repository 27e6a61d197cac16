"""The end of a socket; the owning thread only.

libzmq's close returns at once and goes on in the background: it sends what it still holds for up to the linger, and
only then gives the address free. Its socket monitor says when that is over (MONITOR_STOPPED comes from the socket's
destructor). So we can wait for it, and know from the time whether the linger ran out.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import zmq

from ._pipe import Pipe

_numbers = itertools.count()  # next() is atomic; the endpoint is unique in this process, whatever the context


class Farewell:
    """Waits for the real end of a socket that it closes."""

    __slots__ = ("_due", "_pair", "fd", "held", "pipe", "unsent")

    def __init__(self, pipe: Pipe, unsent: list[tuple[Any, Any]], linger: float) -> None:
        """Close the pipe's socket with *linger* seconds."""
        self.pipe = pipe
        self.unsent = unsent
        socket = pipe.socket
        # libzmq does not say how many it held; no more than this per connection
        limit = int(socket.get(zmq.SNDHWM)) if pipe.sent else 0
        self.held = min(pipe.sent, limit or pipe.sent)
        self._pair: zmq.Socket[bytes] | None = None
        self.fd = -1
        try:
            endpoint = f"inproc://zgreen.farewell.{next(_numbers)}"
            socket.monitor(endpoint, zmq.EVENT_MONITOR_STOPPED)
            self._pair = zmq.Socket(socket.context, zmq.PAIR)
            self._pair.connect(endpoint)
            self.fd = int(self._pair.get(zmq.FD))
        except zmq.ZMQError:  # no descriptor or no place for one more socket, or the context is going: do not wait
            self.drop()
        milliseconds = math.ceil(linger * 1000)
        socket.close(linger=milliseconds)
        # with no linger asked for nobody wants to know what libzmq threw away
        self._due = time.monotonic() + milliseconds / 1000 if milliseconds else math.inf

    def is_over(self) -> bool:
        """Whether the socket has ended; then `held` is what it may have thrown away."""
        if self._pair is not None:
            try:
                self._pair.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            except zmq.ZMQError:  # somebody terminated the context
                pass
        if time.monotonic() < self._due:
            self.held = 0
        return True

    def drop(self) -> None:
        """Stop waiting."""
        if self._pair is not None:
            self._pair.close(linger=0)
            self._pair = None
            self.fd = -1
