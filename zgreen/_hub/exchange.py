"""Exchange: one request and its reply at a time on a REQ channel. Hub side; greenlets of the pump's hub only.

A REQ that awaits a reply takes no other request, and gives every message that it accepts to whoever gets next. So what
must never happen after a timeout is (1) that the REQ waits for the lost reply for ever, and (2) that this reply, if it
comes late, is taken for the next one's. libzmq's REQ_RELAXED and REQ_CORRELATE are the means; the order is what counts:

1. all that was put before is with libzmq;
2. CORRELATE is turned: from here on the REQ throws away a reply to what was sent before, as it has the wrong frames;
3. what has come until then is taken out of the receive queue;
4. in one command, so that nothing is received in between: CORRELATE on, RELAXED on, send, RELAXED off.

At rest the socket is strict, so that a put() beside all this waits as it always does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq
from gevent.queue import Empty, Full

from .._engine._api import Pipe
from .._message import Frames
from .events import measure
from .line import Line
from .link import Link, TimedOut

if TYPE_CHECKING:
    from .channel import Channel


class Exchange:
    """What a REQ channel has beside its queues once somebody has called its request()."""

    def __init__(self, channel: Channel, link: Link, pipe: Pipe, call: Callable[..., Any]) -> None:
        self._channel = channel
        self._link = link
        self._pipe = pipe
        self._call = call
        self._commands = channel.pump.commands
        # the hub's thread alone from here on
        self._line = Line(link, lambda: self._turn is None, lambda *_: None)  # who waits for a turn; no thread rings
        self._turn: object | None = None  # whose turn it is
        self._correlates = False  # all that the REQ may still get a reply to was sent with REQ_CORRELATE
        self._answered = 0  # how many were sent when the last reply was got; -1: a reply may still come
        # what the restart command has sent: the pipe did not count it
        self.restarts = 0
        self.restart_bytes = 0

    def request(self, frames: Frames, timeout: float | None) -> Any:
        """See `Channel.request`."""
        if not self._link.here() or not self._link.may_wait():
            raise RuntimeError("request() works in greenlets of the pump's hub: in another thread make a channel there")
        deadline = None if timeout is None else time.monotonic() + timeout
        turn = object()
        try:
            try:  # around the taking, too: a signal handler may raise right after it
                self._take_turn(turn, deadline)
                return self._exchange(frames, deadline)
            finally:
                if self._turn is turn:
                    self._turn = None
                    self._line.nudge()
        except (Full, Empty, TimedOut):
            raise TimeoutError(f"{self._channel}: no reply within {timeout:g} s") from None

    def who(self) -> list[tuple[Any, float]]:
        """Who waits for a turn; see `Line.who`."""
        return self._line.who()

    def _take_turn(self, turn: object, deadline: float | None) -> None:
        def attempt() -> bool:
            if self._turn is not None:
                return False
            self._turn = turn
            return True

        if len(self._line) or not attempt():
            self._line.wait_turn(attempt, _left(deadline))

    def _exchange(self, frames: Frames, deadline: float | None) -> Any:
        pipe = self._pipe
        at_rest = pipe.counts().sent == self._answered and not pipe.pending() and not pipe.waiting()
        self._answered = -1
        if not at_rest:
            sent = self._restart(frames, deadline)
        else:
            sent = False
            if not self._correlates:
                self._call(self._commands.set_option, zmq.REQ_CORRELATE, 1)
                self._correlates = True
        if not sent:
            self._channel.put(frames, True, _left(deadline))
        reply = self._channel.get(True, _left(deadline))
        self._answered = pipe.counts().sent
        return reply

    def _restart(self, frames: Frames, deadline: float | None) -> bool:
        """Give up the reply that may still come, and send instead; False if libzmq has nobody to send it to now."""
        try:
            if self._pipe.pending():
                self._call(self._commands.set_option, zmq.REQ_RELAXED, 1)
                if not self._channel.flush(_left(deadline)):
                    raise TimedOut
            self._call(self._commands.set_option, zmq.REQ_CORRELATE, 0 if self._correlates else 1)
        except BaseException:
            if not self._channel.closed:  # at rest it is strict; the next command comes after this one
                self._channel.pump.post(self._commands.set_option, self._pipe, zmq.REQ_RELAXED, 0)
            raise
        try:
            while True:
                self._channel.get(False)
        except Empty:
            pass
        self._correlates = True  # before the command: it is carried out even if who waits for it is killed
        sent = bool(self._call(self._commands.restart, frames))
        if sent:
            self.restarts += 1
            self.restart_bytes += measure(frames)[0]
            self._channel.sent_by_command(frames)
        return sent


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
