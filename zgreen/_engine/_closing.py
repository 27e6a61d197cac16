"""The end of one socket; the owning thread only.

libzmq's close returns at once and goes on in the background: it sends what it still holds for up to the linger, and
only then gives the address free. The socket's monitor says when that is over: MONITOR_STOPPED comes from the socket's
destructor. So a Farewell puts a monitor on the socket before it closes it, and waits for that event.

The monitor needs a socket and a descriptor of libzmq's, and so does the PAIR that receives the event. If there are none
at that moment, the socket stays open, where libzmq goes on sending, until there are some or the linger is over.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from typing import Any

import zmq

from ._api import PipeCounts, Unsent
from ._mailbox import Reply

# Seconds that libzmq may send for longer than was asked: an end that is found earlier is not the linger's.
_MARGIN = 0.1

# Seconds beyond the linger after which a socket that has not ended is left to libzmq.
_GRACE = 1.0

# Seconds that libzmq may send for a SUB, at most. A SUB holds nothing that its publisher needs at the end. But if the
# publisher goes at the same moment, libzmq may throw its own mark of the end away with the queue of the old connection,
# and then waits for the mark until the linger is over. Not 0, because of the aborts that docs/limits.md describes.
_OF_A_SUB = 0.1

# Seconds that libzmq's timer may be early: its clock counts whole milliseconds.
_EARLY = 0.002

# Seconds until a socket whose end cannot be watched now is tried again, and how long that goes on if it holds nothing.
_RETRY = 0.02
_PATIENCE = 0.1

# Bytes that libzmq takes out of a connection's queue at once, to encode them.
_BATCH = 8192

_numbers = itertools.count()  # next() is atomic; the endpoint is unique in this process, whatever the context


class End:
    """What the owning thread knows of a pipe's socket for when it is closed; that thread alone uses it."""

    __slots__ = ("asked", "connections", "far", "names", "replies", "subscribes", "unsent")

    def __init__(self) -> None:
        self.asked = False  # a close with a linger above 0 was asked for
        self.far = False  # the socket has, or had, an endpoint that is not inproc
        self.names: set[str] = set()  # the inproc names that it has bound
        self.connections: int | None = 0  # to endpoints that are not inproc; None: libzmq does not say how many
        self.subscribes = False  # it is a SUB
        self.replies: list[Reply] = []  # of the close commands under way
        self.unsent: Unsent | None = None  # what its end has left, once it is over

    def note(self, endpoint: str | bytes, bound: bool) -> None:
        """The socket was bound or connected to *endpoint*."""
        if isinstance(endpoint, bytes):
            endpoint = endpoint.decode()
        if endpoint.startswith("inproc:"):
            if bound:
                self.names.add(endpoint)
            return
        self.far = True
        if bound:
            self.connections = None
        elif self.connections is not None:
            self.connections += 1

    def note_before(self, last_endpoint: str) -> None:
        """The socket was handed over, and may have more endpoints than its last one, of which alone libzmq tells."""
        if last_endpoint:
            self.note(last_endpoint, bound=True)


def most_held(pipe: Any) -> int:
    """The most messages that libzmq may hold for peers that are not inproc, of those that it has taken.

    It does not tell. SNDHWM is its limit for each connection, beside what it has encoded already.
    """
    counts: PipeCounts = pipe.counts()
    sent = counts.sent
    if not pipe.end.far or not sent:
        return 0
    limit = 0
    with contextlib.suppress(zmq.ZMQError):  # the context is terminated
        limit = int(pipe.socket.get(zmq.SNDHWM))
    if not limit or pipe.end.connections is None:
        return sent
    encoded = _BATCH // (counts.sent_bytes // sent + 2) + 1  # each has at least two bytes more on the wire
    connections: int = pipe.end.connections
    return min(sent, connections * (limit + encoded))


class Reserve:
    """Two sockets of a context that are given up for a Farewell when no more can be made.

    One becomes the Farewell's PAIR. The other one is closed, so that there is a place, and a descriptor, for the PAIR
    that libzmq makes for a monitor: not at once, as libzmq closes sockets in a thread of its own. A Farewell that must
    wait for that gives its PAIR back meanwhile: if several waited with one each, none could go on.
    """

    def __init__(self, context: zmq.Context[Any]) -> None:
        self._context = context
        self._spare: list[zmq.Socket[bytes]] = []

    def fill(self) -> None:
        """Make what is missing; raises ZMQError if that is refused."""
        while len(self._spare) < 2:
            self._spare.append(zmq.Socket(self._context, zmq.PAIR))

    def pair(self, context: zmq.Context[Any]) -> zmq.Socket[bytes]:
        """A new PAIR of *context*, or a spare one; raises ZMQError if there is none."""
        if context is self._context and len(self._spare) == 1:  # the place of the other one is for the monitor
            return self._spare.pop()
        try:
            return zmq.Socket(context, zmq.PAIR)
        except zmq.ZMQError:
            if context is self._context and self._spare:
                return self._spare.pop()
            raise

    def make_room(self, pair: zmq.Socket[bytes]) -> None:
        """Take *pair* back, as there is no place for its monitor, and keep one socket at most."""
        if pair.context is self._context:
            self._spare.append(pair)
        else:
            pair.close(linger=0)
        while len(self._spare) > 1:
            self._spare.pop().close(linger=0)

    def drop(self) -> None:
        """Close all."""
        while self._spare:
            self._spare.pop().close(linger=0)


class Farewell:
    """Closes the socket of a pipe, and waits for its real end."""

    __slots__ = ("_due", "_most", "_pair", "_patience", "_timer", "alarm", "closed", "fd", "held", "number", "pipe")

    def __init__(self, pipe: Any, linger: float) -> None:
        """Libzmq has *linger* seconds from now to send what it holds."""
        now = time.monotonic()
        self.pipe = pipe
        self.fd = -1  # of the PAIR; -1: the end is not watched
        self.number = 0  # what the native engine calls the descriptor
        self.closed = False
        self.held = 0  # the most messages that libzmq may have discarded; right when it is over
        self.alarm = now  # when to look at it at the latest, in monotonic seconds
        self._due = now + linger
        self._timer = math.inf  # when libzmq's own timer may end it
        # A close without linger does not report what it discards.
        self._most = most_held(pipe) if pipe.end.asked else 0
        self._patience = self._due if self._most else min(self._due, now + _PATIENCE)
        self._pair: zmq.Socket[bytes] | None = None
        _free_names(pipe.socket, pipe.end.names)

    def close(self, reserve: Reserve) -> None:
        """Close the socket, unless its end ought to be watched and cannot be now: then try again at `alarm`."""
        # Over inproc there is no linger: what was sent is the peers' already, and the socket ends when they have read
        # it, which may be never.
        if self.pipe.end.far and not self._watch(reserve):
            now = time.monotonic()
            if now < self._patience:
                self.alarm = min(now + _RETRY, self._patience)
                return
        self.closed = True
        # Before the close: libzmq's timer starts in another thread, and this one may lose its processor.
        now = time.monotonic()
        linger = max(0.0, self._due - now) + (_MARGIN if self.pipe.end.asked else 0.0)
        if self.pipe.end.subscribes:
            linger = min(linger, _OF_A_SUB)
        self._timer = now + linger
        self.alarm = now + linger + _GRACE
        if self.fd < 0:
            self.drop()
            self.held = self._most
        self.pipe.socket.close(linger=math.ceil(linger * 1000))

    def _watch(self, reserve: Reserve) -> bool:
        """Have a monitor tell of the end of the socket. False: there is no place or descriptor for it now."""
        socket = self.pipe.socket
        if not isinstance(socket.context, zmq.Context):
            return True  # made by zmq.Socket.shadow(address): it does not know its context, so this cannot be had
        pair = None
        try:
            pair = reserve.pair(socket.context)
            endpoint = f"inproc://zgreen.farewell.{next(_numbers)}"
            socket.monitor(endpoint, zmq.EVENT_MONITOR_STOPPED)
            # libzmq sends the event *blocking*, in the thread that ends all sockets of the context: so the PAIR must
            # be there until it has come.
            pair.connect(endpoint)
            self.fd = int(pair.get(zmq.FD))
        except zmq.ZMQError as error:
            going = error.errno in (zmq.ETERM, zmq.ENOTSOCK)  # the context: do not hold it up
            if pair is not None:
                if going:
                    pair.close(linger=0)
                else:
                    reserve.make_room(pair)
            return going
        self._pair = pair
        return True

    def shorten(self, linger: float) -> None:
        """Wait no longer than *linger* seconds from now. A socket that is closed already may go on sending."""
        now = time.monotonic()
        if now + linger < self._due:
            self._due = now + linger
            self._patience = min(self._patience, self._due)
            self.alarm = min(self.alarm, self._due + (_GRACE if self.closed else 0.0))

    def is_over(self) -> bool:
        """Whether the end has come; `held` is right then."""
        if self._pair is None or not has_stopped(self._pair):
            return False
        # If the owning thread is late it cannot be known whether this came before libzmq's timer ran out. Nor if
        # the context was terminated.
        in_time = time.monotonic() < self._timer - _EARLY and not self._pair.context.closed
        self.held = 0 if in_time else self._most
        return True

    def give_up(self) -> None:
        """No caller waits for the end any more. But the PAIR, if there is one, must stay until it has come."""
        self.held = self._most
        if not self.closed:
            self.closed = True
            self.drop()
            self.pipe.socket.close(linger=0)

    def release(self) -> zmq.Socket[bytes]:
        """Give the PAIR away."""
        pair, self._pair = self._pair, None
        assert pair is not None
        return pair

    def drop(self) -> None:
        """Close the PAIR."""
        if self._pair is not None:
            self._pair.close(linger=0)
            self._pair = None


def has_stopped(pair: zmq.Socket[bytes]) -> bool:
    """Whether the socket has ended whose monitor sends to *pair*, or the context is terminated."""
    try:
        pair.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return False
    except zmq.ZMQError:
        pass
    return True


def _free_names(socket: zmq.Socket[bytes], names: set[str]) -> None:
    """Give the names over inproc free now, not when libzmq comes to it."""
    for name in names:
        with contextlib.suppress(zmq.ZMQError):  # it was unbound already
            zmq.backend.Socket.unbind(socket, name)
