"""Exchange: one request and its reply at a time on a REQ channel. Hub side; greenlets of the pump's hub only.

A REQ that awaits a reply takes no other request, and gives each message that it accepts to the next caller of get.
Two things must never happen after a timeout: (1) the REQ waits for the lost reply for ever; (2) the reply, if it comes
late, passes for the reply to the next request. libzmq's REQ_RELAXED and REQ_CORRELATE prevent both, in these steps:

1. every message that was put before is with libzmq;
2. CORRELATE is inverted: from here on the REQ throws away replies to earlier requests, whose frames do not fit;
3. messages that have come until then are taken out of the receive queue;
4. in one command, so that nothing is received in between: CORRELATE on, RELAXED on, send, RELAXED off.

At rest the socket is strict, so a put() outside of an exchange waits as it always does.
"""

from __future__ import annotations

from typing import Any, Protocol

import zmq
from gevent.queue import Empty, Full

from .._engine._api import Command, Engine, Pipe
from .._message import Frames
from .life import ChannelState
from .line import Line
from .link import Link
from .tracer import Tracer, measure
from .wait import Deadline, TimedOut


class Lanes(Protocol):
    """The part of the channel's lanes that an exchange needs."""

    link: Link
    pipe: Pipe
    tracer: Tracer | None
    state: ChannelState

    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> Engine: ...
    def put(self, message: Any, block: bool, timeout: float | None) -> None: ...
    def get(self, block: bool, timeout: float | None) -> Any: ...
    def flush(self, timeout: float | None) -> bool: ...
    def command(self, command: Command, *args: Any) -> Any: ...
    def post(self, command: Command, *args: Any) -> Any: ...


class Exchange:
    """The state of a REQ channel from its first request() on. The hub's thread alone touches it."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._pipe = lanes.pipe
        # The waiters for a turn. No other thread rings them.
        self.line = Line(lanes.link, lambda: self._turn is None, lambda *_: None)
        self._turn: object | None = None  # the mark of the greenlet whose turn it is
        self._correlates = False  # all that the REQ may still get a reply to was sent with REQ_CORRELATE
        self._answered = 0  # how many were sent when the last reply was got; -1: a reply may still come
        # Messages that the restart command has sent, which the pipe did not count.
        self.restarts = 0
        self.restart_bytes = 0

    def request(self, frames: Frames, timeout: float | None) -> Any:
        """See `Channel.request`."""
        link = self._lanes.link
        if not link.here() or not link.may_wait():
            raise RuntimeError("request() works in greenlets of the pump's hub: in another thread make a channel there")
        deadline = Deadline(timeout)
        turn = object()
        try:
            try:  # around taking the turn, too: a signal handler may raise right after it
                self._take_turn(turn, deadline)
                return self._exchange(frames, deadline)
            finally:
                if self._turn is turn:
                    self._turn = None
                    self.line.nudge()
        except (Full, Empty, TimedOut):
            raise TimeoutError(f"{self._lanes.name}: no reply within {timeout:g} s") from None

    def _take_turn(self, turn: object, deadline: Deadline) -> None:
        def attempt() -> bool:
            if self._turn is not None:
                return False
            self._turn = turn
            return True

        if len(self.line) or not attempt():
            self.line.wait_turn(attempt, deadline)

    def _exchange(self, frames: Frames, deadline: Deadline) -> Any:
        lanes, pipe = self._lanes, self._pipe
        at_rest = pipe.counts().sent == self._answered and not pipe.pending() and not pipe.waiting()
        self._answered = -1
        if not at_rest:
            sent = self._restart(frames, deadline)
        else:
            sent = False
            if not self._correlates:
                self._set(zmq.REQ_CORRELATE, 1)
                self._correlates = True
        if not sent:
            lanes.put(frames, True, deadline.left())
        reply = lanes.get(True, deadline.left())
        self._answered = pipe.counts().sent
        return reply

    def _restart(self, frames: Frames, deadline: Deadline) -> bool:
        """Give up the reply that may still come, and send instead; False if libzmq has no peer for it now."""
        lanes = self._lanes
        try:
            if self._pipe.pending():
                self._set(zmq.REQ_RELAXED, 1)
                if not lanes.flush(deadline.left()):
                    raise TimedOut
            self._set(zmq.REQ_CORRELATE, 0 if self._correlates else 1)
        except BaseException:
            if lanes.state.put_error() is None:  # at rest the socket is strict; the next command comes after this one
                lanes.post(lanes.engine.set_option, zmq.REQ_RELAXED, 0)
            raise
        try:
            while True:
                lanes.get(False, None)
        except Empty:
            pass
        self._correlates = True  # before the command: it is carried out even if its caller is killed
        sent = bool(lanes.command(lanes.engine.restart, frames))
        if sent:
            self.restarts += 1
            self.restart_bytes += measure(frames)[0]
            if lanes.tracer is not None:
                lanes.tracer.tell("put", frames)
                lanes.tracer.tell("sent", frames)
        return sent

    def _set(self, option: int, value: int) -> None:
        self._lanes.command(self._lanes.engine.set_option, option, value)
