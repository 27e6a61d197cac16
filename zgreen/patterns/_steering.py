"""Steering: the hub's end of the PAIR on which a proxy's thread is told what to do, and answers. Hub side.

All of it is the thread's of the pump's hub alone. The words are those of `_engine._proxy` and of libzmq's own proxy.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import zmq
from gevent import monkey
from gevent.event import AsyncResult

from .._engine import _proxy
from .._errors import BrokenError, ClosedError
from .._hub import seam
from .._hub.channel import Channel
from .._hub.pump import Pump

_MOMENT = 1.0  # seconds
_POLL = 0.001  # seconds between two looks
_sleep = monkey.get_original("time", "sleep")


class ProxyStatistics(NamedTuple):
    """What libzmq has counted in a proxy since its start, pauses included.

    libzmq counts *frames*, not messages: a message of three frames counts three, and so do an envelope's in a queue. In
    a forwarder what the backend receives, and the frontend sends, are subscriptions. Bytes are those of the frames.
    """

    frontend_received: int
    frontend_received_bytes: int
    frontend_sent: int
    frontend_sent_bytes: int
    backend_received: int
    backend_received_bytes: int
    backend_sent: int
    backend_sent_bytes: int


Places = tuple[tuple[str, ...], ...]  # the endpoints of each side


class _Question(NamedTuple):
    """A request for the counts. *last*: they are the last ones of a run of libzmq's loop."""

    answer: AsyncResult[ProxyStatistics]
    last: bool


class Steering:
    """Questions and answers; answers come in the order of the questions."""

    def __init__(self, pump: Pump, endpoint: str, ready: AsyncResult[Places]) -> None:
        """Open the channel at *endpoint*, for the owning thread to connect to; *ready* gets the endpoints of the sides
        as they really are."""
        self._pump = pump
        self.channel = Channel(zmq.PAIR, bind=endpoint, send_maxsize=None, recv_maxsize=None, multipart=True, pump=pump)
        self._ready = ready
        self._pauses = b""  # libzmq's command that pauses; the owning thread finds out which one it is
        self._questions: deque[_Question] = deque()
        self._past = ProxyStatistics(*[0] * _proxy.COUNTS)  # of the runs of the loop that have ended
        self.final: AsyncResult[ProxyStatistics] | None = None  # the last counts of all, from `end` on

    # ------------------------------------------------------------------ what the owning thread is told

    def ask(self, last: bool = False) -> AsyncResult[ProxyStatistics]:
        """Ask for the counts; *last*: of this run of the loop."""
        question = _Question(AsyncResult(), last)
        self._questions.append(question)
        self._say(_proxy.STATISTICS)
        return question.answer

    def pause(self) -> AsyncResult[ProxyStatistics]:
        """Have the owning thread leave libzmq's loop and wait; the counts when it has."""
        return self._leave_loop(_proxy.PAUSE, True)

    def resume(self) -> None:
        """Have it go on."""
        self._say(_proxy.RESUME)

    def end(self, paused: bool) -> None:
        """Have it end; *paused*: it has been told to leave the loop before."""
        self.final = self._leave_loop(_proxy.END, not paused)

    def _leave_loop(self, then: bytes, running: bool) -> AsyncResult[ProxyStatistics]:
        if running and self._pauses:  # it is not known before the proxy is ready
            self._say(self._pauses)  # so that nothing passes between the counts and the end of the loop
        answer = self.ask(last=True)
        if running:
            self._say(_proxy.TERMINATE)
        self._say(then)
        return answer

    def _say(self, word: bytes) -> None:
        """Send in a callback of the loop: words go out in the order of the calls. A put in a greenlet might wait for
        its turn, and be killed there."""
        seam.hub_of(self._pump).loop.run_callback(self._put, word)

    def _put(self, word: bytes) -> None:
        try:
            self.channel.put_nowait(word)
        except (ClosedError, BrokenError):
            pass  # `read` finds out, too

    def wait_until_said(self) -> None:
        """Wait until libzmq has taken all words, without the hub, for a moment at most; the exiting thread."""
        deadline = seam.Deadline(_MOMENT)
        while self.channel.statistics().pending and not deadline.passed():
            _sleep(_POLL)

    # ------------------------------------------------------------------ what it answers

    def read(self) -> bool:
        """Take what the owning thread says, up to its last word; False if the channel has ended before that."""
        try:
            while (frames := self.channel.get())[0] != _proxy.LEFT:
                self._take(frames)
        except (ClosedError, BrokenError):
            return False
        return True

    def _take(self, frames: list[bytes]) -> None:
        if frames[0] == _proxy.READY:
            self._pauses = frames[1]
            self._ready.set(tuple(tuple(places.decode().split("\n")) for places in frames[2:]))
        elif len(frames) == _proxy.COUNTS:
            counts = (struct.unpack("=Q", frame)[0] for frame in frames)
            total = ProxyStatistics(*(a + b for a, b in zip(self._past, counts, strict=True)))
            question = self._questions.popleft()
            if question.last:
                self._past = total
            question.answer.set(total)
        # else: the empty message with which libzmq 4.3.5 answers its other commands

    def fail(self, make_error: Callable[[], BaseException]) -> None:
        """No more answers will come."""
        while self._questions:
            self._questions.popleft().answer.set_exception(make_error())
