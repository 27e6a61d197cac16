"""Monitor and Tap: what happens on a channel's socket (connected, refused, lost, ...), told by libzmq. Hub side.

A Tap is a channel's one connection to libzmq's monitor: the lanes of a PAIR socket of the same pump, read by a
greenlet, which hands every event to each Monitor and counts the connections. The hub's thread alone touches a Tap and
its Monitors; foreign threads are refused at the calls.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
import os
import struct
from collections import deque
from typing import NamedTuple

import gevent
import zmq
from gevent.queue import Empty

from .._arguments import check_limit, check_seconds
from .._engine._api import Plan
from .._errors import BrokenError, ClosedError, ForkedError
from .._sockets import kind_of
from .call import Waiting
from .lanes import Lanes, Sizes
from .link import Link
from .wait import Change, Deadline

_BACKLOG = 100_000  # events that wait for a hub that does not run; libzmq must never wait for us
_BEFORE = (
    "what it was connected to before it was monitored is not known, libzmq does not tell: "
    "make it with monitor=True, or call wait_connected or monitor before the first bind or connect"
)
_NUMBERS = itertools.count()
_EVENT = struct.Struct("=HI")  # what libzmq sends first; the second frame is the endpoint
_NAMES = {int(event): event.name for event in zmq.Event if event.name}
_PREFIX = "PROTOCOL_ERROR_"
_PROTOCOL_ERRORS = {int(getattr(zmq, n)): n.removeprefix(_PREFIX) for n in dir(zmq) if n.startswith(_PREFIX)}
_WITH_ERRNO = {"ACCEPT_FAILED", "BIND_FAILED", "CLOSE_FAILED", "HANDSHAKE_FAILED_NO_DETAIL"}
_ZAP_STATUS = {300: "temporary failure", 400: "refused", 500: "internal error"}


class MonitorEvent(NamedTuple):
    """One event of a socket.

    *name* is ZeroMQ's, without ``ZMQ_EVENT_``: ``"CONNECTED"``, ``"ACCEPTED"``, ``"DISCONNECTED"``,
    ``"CONNECT_RETRIED"``, ``"HANDSHAKE_SUCCEEDED"``, ``"HANDSHAKE_FAILED_AUTH"``, ...; *endpoint* is the one connected
    or bound; *value* is as libzmq gives it: a file descriptor, an errno, milliseconds until the next try, a ZAP status
    code, ... (zmq_socket_monitor(3)). *reason* says in words why something failed, ``""`` for what did not.
    """

    name: str
    endpoint: str
    value: int
    reason: str


def parse(frames: list[bytes]) -> MonitorEvent:
    """The event in a message of libzmq's."""
    number, value = _EVENT.unpack(frames[0])
    name = _NAMES.get(number, str(number))
    return MonitorEvent(name, frames[1].decode(errors="replace"), value, _reason(name, value))


def _reason(name: str, value: int) -> str:
    if name in _WITH_ERRNO:
        return os.strerror(value) if value else "no detail"
    if name == "HANDSHAKE_FAILED_PROTOCOL":
        return _PROTOCOL_ERRORS.get(value, hex(value))
    if name == "HANDSHAKE_FAILED_AUTH":
        return f"ZAP status {value}: {_ZAP_STATUS.get(value, 'unknown')}"
    return ""


class _Connections:
    """How many peers are connected, handshake done: counted from the events of one endpoint.

    HANDSHAKE_SUCCEEDED does not say which descriptor it is about, DISCONNECTED does not say whether the handshake had
    succeeded: so failures are counted until their DISCONNECTED comes.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()  # descriptors
        self._failed = 0
        self.up = 0

    def take(self, event: MonitorEvent) -> None:
        if event.name in ("CONNECTED", "ACCEPTED"):
            self._open.add(event.value)
        elif event.name == "HANDSHAKE_SUCCEEDED":
            self.up += 1
        elif event.name.startswith("HANDSHAKE_FAILED"):
            self._failed += 1
        elif event.name == "DISCONNECTED":
            self._open.discard(event.value)
            if self._failed:
                self._failed -= 1
            elif self.up:
                self.up -= 1
            self._failed = min(self._failed, len(self._open))
            self.up = min(self.up, len(self._open))


class Tap:
    """The events of one channel's socket."""

    def __init__(self, lanes: Lanes) -> None:
        self.gap = ""  # why it is not known which peers are connected, once it is open
        self.keep = False  # go on when the last monitor is closed
        self.over = False
        self.link: Link = lanes.link
        self.monitors: list[Monitor] = []
        self.changed = Change(self.link)  # there was an event, or the end
        self._lanes = lanes
        self._pair: Lanes | None = None
        self._opening = False  # a greenlet is in `open`
        self._asked = False  # the owning thread hears of all that comes from now on after it has asked libzmq to tell
        self._error: BaseException | None = None
        self._connections: dict[str, _Connections] = {}
        # Endpoints as libzmq reports them.
        self._bound: dict[str, str] = {}  # by the names under which they were bound
        self._forgotten: set[str] = set()  # those that were given up: libzmq says nothing about their ends

    def open(self) -> None:
        """Have libzmq tell. A greenlet that comes while another one does that waits for it."""
        self.changed.wait_until(lambda: not self._opening, Deadline(None))
        if self._pair is not None or self.over:
            return
        self._opening = True
        try:
            pair = self._open()
        except BaseException:
            self.close()
            raise
        finally:
            self._opening = False
            self.changed.tell()
        gevent.spawn(self._run, pair)

    def _open(self) -> Lanes:
        endpoint = f"inproc://zgreen.monitor.{next(_NUMBERS)}"
        lanes = self._lanes
        # Without limit, and connected by the engine once the monitor is started: see _engine/_monitoring.
        plan = Plan(None, zmq.PAIR, ((zmq.RCVHWM, 0), (zmq.LINGER, 0)), None, (), ())
        pair = self._pair = lanes.sibling(kind_of(zmq.PAIR), plan, Sizes(1000, _BACKLOG, "drop_oldest"), True)
        pair.open()
        call = lanes.post(lanes.engine.monitor, pair.pipe, endpoint)
        self._asked = True
        # Now: a thread that sets `attached` later has not posted its bind or connect yet.
        self.gap = "" if lanes.endpoints.is_new() else _BEFORE
        self.keep = not self.gap
        call.wait(Deadline(None))
        return pair

    @property
    def subject(self) -> str:
        """The name of the channel."""
        return self._lanes.name

    def up(self) -> int:
        """How many peers are connected, as far as is known; any thread."""
        return sum(connections.up for connections in tuple(self._connections.values()))

    def forget(self, endpoint: str) -> None:
        """It was disconnected or unbound."""
        reported = self._bound.get(endpoint, endpoint)
        self._connections.pop(reported, None)
        self._forgotten.add(reported)
        if not _has_one_name(reported):
            self._miss(f"libzmq reports connections of {endpoint} by other names, too, so it is not known which ended")

    def expect(self, endpoint: str) -> None:
        """It is about to be connected or bound; waits until libzmq has been asked to tell, where one can."""
        if self._opening and not self._asked and self.link.here():
            self.changed.wait_until(lambda: not self._opening, Deadline(None))
        self._forgotten.discard(self._bound.get(endpoint, endpoint))

    def bound(self, endpoint: str, reported: str) -> None:
        """What libzmq calls an endpoint that was bound."""
        if endpoint.rpartition(":")[2] == reported.rpartition(":")[2]:  # else libzmq has chosen: another one each time
            self._bound[endpoint] = reported
        if reported in self._forgotten:  # as it had another name then
            self._forgotten.discard(reported)
            self._miss(f"{endpoint} was unbound under another name, and its first connections may have been missed")

    def _miss(self, why: str) -> None:
        self.gap = self.gap or f"{why}: give an address, no name and no wildcard"
        self.changed.tell()

    def remove(self, monitor: Monitor) -> None:
        """A monitor is closed; with the last one the tap is, unless it is kept."""
        if monitor in self.monitors:
            self.monitors.remove(monitor)
            if not self.monitors and not self.keep:
                self.close()

    def close(self) -> None:
        """Have libzmq stop; the monitors end."""
        self._end(None)

    def error(self) -> BaseException | None:
        """Why it ended by itself."""
        return self._error

    def _run(self, pair: Lanes) -> None:
        error: BaseException | None = None
        try:
            while True:
                event = parse(pair.get(True, None))
                if event.name == "MONITOR_STOPPED":
                    break
                self._take(event)
        except (BrokenError, ForkedError) as failure:
            error = failure
        except ClosedError:
            pass
        finally:
            self._end(error)

    def _take(self, event: MonitorEvent) -> None:
        if event.endpoint not in self._forgotten:
            self._connections.setdefault(event.endpoint, _Connections()).take(event)
        for monitor in self.monitors:
            monitor._take(event)
        self.changed.tell()

    def _end(self, error: BaseException | None) -> None:
        if self.over:
            return
        self.over = True
        self._error = error
        self._connections.clear()
        self.changed.tell()
        if self._pair is not None:
            self._pair.close(0, math.inf)


def tap_of(lanes: Lanes) -> Tap:
    """The tap of these lanes, open; made if there is none."""
    lanes.link.check_here(f"{lanes.name}: monitoring")
    while True:
        lanes.state.check_open()
        tap = lanes.endpoints.watcher
        if not isinstance(tap, Tap) or tap.over:
            tap = lanes.endpoints.watcher = Tap(lanes)
        try:
            tap.open()
        except zmq.ZMQError:
            lanes.state.check_open()  # it was closed meanwhile
            raise
        if not tap.over:
            return tap


def _has_one_name(endpoint: str) -> bool:
    """Whether libzmq reports all that is connected at *endpoint* so: no host name, no other spelling, no wildcard."""
    transport, _, place = endpoint.partition("://")
    if transport != "tcp":
        return transport in ("ipc", "inproc")
    host, _, port = place.rpartition(":")
    try:
        address, number = ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError:
        return False
    name = f"{address}:{number}" if address.version == 4 else f"[{address}]:{number}"
    return place == name and "%" not in place and not address.is_unspecified


def peers_of(lanes: Lanes) -> int | None:
    """How many peers are connected, handshake done; None if that is not known. Any thread."""
    tap = lanes.endpoints.watcher
    return tap.up() if isinstance(tap, Tap) and not (tap.over or tap.gap) else None


def wait_connected(lanes: Lanes, timeout: float | None) -> bool:
    """See `Channel.wait_connected`."""
    endpoints = lanes.endpoints
    if endpoints.last.startswith("inproc:"):
        raise RuntimeError(f"{lanes.name}: libzmq reports no events over inproc, where a peer is connected at once")
    monitored = isinstance(endpoints.watcher, Tap) and not endpoints.watcher.over
    if not monitored and not endpoints.is_new() and lanes.state.put_error() is None:
        raise RuntimeError(f"{lanes.name}: {_BEFORE}")
    deadline = Deadline(timeout)
    tap = tap_of(lanes)
    with Waiting(lanes.link, "wait_connected").shown_in(lanes.waiting):
        tap.changed.wait_until(lambda: tap.gap or tap.over or tap.up(), deadline)
    if not tap.gap and tap.up():
        return True
    lanes.state.check_open()
    if tap.gap:
        raise RuntimeError(f"{lanes.name}: {tap.gap}")
    return False


class Monitor:
    """The events of one channel's socket, from when it was made; see :meth:`zgreen.Channel.monitor`.

    On the thread of the pump's hub only. Any number of greenlets may get from it; each event goes to one of them.
    """

    def __init__(self, tap: Tap, maxsize: int | None) -> None:
        self._tap = tap
        self._maxsize = maxsize
        self._events: deque[MonitorEvent] = deque()
        self._closed = False
        self.dropped = 0  #: how many events, the oldest, were dropped because they were not got in time
        tap.monitors.append(self)

    def get(self, block: bool = True, timeout: float | None = None) -> MonitorEvent:
        """The oldest event; wait for one if there is none.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Empty: none within *timeout*, or none now if *block* is false.
        :raises ClosedError: the monitor, its channel or the pump is closed, and all events have been got.
        :raises BrokenError: likewise, for a pump that has ended by an error.
        """
        self._wait(block, timeout)
        return self._events.popleft()

    def get_nowait(self) -> MonitorEvent:
        """``get(block=False)``."""
        return self.get(False)

    def get_many(self, limit: int, timeout: float | None = None) -> list[MonitorEvent]:
        """The oldest events, at least one and up to *limit*: wait for one if there is none, not for more; see
        :meth:`get`."""
        check_limit(limit)
        self._wait(True, timeout)
        return [self._events.popleft() for _ in range(min(limit, len(self._events)))]

    def peek(self, block: bool = True, timeout: float | None = None) -> MonitorEvent:
        """The event that :meth:`get` would give, which stays; parameters and errors as there."""
        self._wait(block, timeout)
        return self._events[0]

    def peek_nowait(self) -> MonitorEvent:
        """``peek(block=False)``."""
        return self.peek(False)

    def _wait(self, block: bool, timeout: float | None) -> None:
        """Return when there is an event, or raise what `get` raises."""
        self._check_thread()
        check_seconds("timeout", timeout)
        self._tap.changed.wait_until(lambda: self._events or self.closed, Deadline(timeout if block else 0))
        if not self._events:
            raise (self._tap.error() or ClosedError(f"{self} was closed, or its channel was")) if self.closed else Empty

    def qsize(self) -> int:
        """How many events wait to be got."""
        return len(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __bool__(self) -> bool:
        """True, as of gevent's queues: being empty is not being false."""
        return True

    def empty(self) -> bool:
        """Whether no event waits to be got."""
        return not self._events

    def full(self) -> bool:
        """Whether there is no room: the next event makes the oldest one be dropped."""
        return self._maxsize is not None and len(self._events) >= self._maxsize

    def __iter__(self) -> Monitor:
        return self

    def __next__(self) -> MonitorEvent:
        """The next event; ends when the monitor or its channel is closed, raises if the pump broke or is a parent's."""
        try:
            return self.get()
        except ForkedError:
            raise
        except ClosedError:
            raise StopIteration from None

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed or self._tap.over

    def close(self) -> None:
        """Take no more events; those that have come can still be got. The channel goes on."""
        self._check_thread()
        if not self._closed:
            self._closed = True
            self._tap.remove(self)
            self._tap.changed.tell()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"<zgreen.Monitor of {self._tap.subject}>"

    def __repr__(self) -> str:
        limit = "" if self._maxsize is None else f" of {self._maxsize}"
        state = "closed" if self.closed else "open"
        return f"{str(self)[:-1]}: {state}, {len(self)}{limit} events wait, {self.dropped} dropped>"

    def _take(self, event: MonitorEvent) -> None:
        """Note an event; the tap."""
        if self._maxsize is not None and len(self._events) >= self._maxsize:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)

    def _check_thread(self) -> None:
        self._tap.link.check_here("a monitor")
