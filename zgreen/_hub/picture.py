"""What the lanes of a channel show of themselves: a snapshot of the counts, and a picture for dumps. Hub side.

Any thread comes here, and a signal handler.
"""

from __future__ import annotations

from typing import Any, Protocol

from .._engine._api import Pipe
from .._errors import BrokenError, ForkedError
from .._sockets import Kind
from .call import Waiting, by_what
from .dump import Picture, Waits
from .exchange import Exchange
from .life import ChannelState, Life
from .line import Line
from .statistics import ChannelStatistics, Tally
from .subscribers import Subscribers

_STATES = {Life.OPEN: "open", Life.CLOSING: "is being closed", Life.ENDED: "has ended"}


class _Queue(Protocol):
    line: Line


class _Unsent(Protocol):
    @property
    def total(self) -> int: ...


class Shown(Protocol):
    """The lanes, as far as they are shown. None of it is changed here, but the peaks that the tally keeps."""

    kind: Kind
    pipe: Pipe
    state: ChannelState
    tally: Tally
    subscribers: Subscribers | None
    exchange: Exchange | None
    waiting: set[Waiting]

    @property
    def name(self) -> str: ...
    @property
    def sizes(self) -> Any: ...
    @property
    def sends(self) -> _Queue: ...
    @property
    def receives(self) -> _Queue: ...
    @property
    def unsent(self) -> _Unsent: ...


def snapshot_of(lanes: Shown) -> ChannelStatistics:
    """See `Channel.statistics`."""
    pipe, tally, exchange = lanes.pipe, lanes.tally, lanes.exchange
    sends, receives = lanes.sends.line, lanes.receives.line
    unsent = lanes.unsent.total
    counts, pending = pipe.counts(), pipe.pending()
    waiting = 0
    if not lanes.kind.receives:  # what the socket tells of subscribers is ours
        counts = counts._replace(
            received=0, received_bytes=0, receive_turns=0, largest_receive=0, peak_waiting=0, dropped=0
        )
    else:
        waiting = (lanes.subscribers or pipe).waiting()
    if exchange is not None:
        counts = counts._replace(
            sent=counts.sent + exchange.restarts, sent_bytes=counts.sent_bytes + exchange.restart_bytes
        )
    peak_pending, peak_waiting = tally.peaks(
        max(counts.peak_pending, pending, unsent), max(counts.peak_waiting, waiting)
    )
    return ChannelStatistics(
        sent=counts.sent, received=counts.received, pending=pending, waiting=waiting,
        refused=counts.refused, dropped=counts.dropped, unsent=unsent,
        putters=len(sends), getters=len(receives),
        sent_bytes=counts.sent_bytes, received_bytes=counts.received_bytes,
        peak_pending=peak_pending, peak_waiting=peak_waiting,
        put_waits=sends.waits, get_waits=receives.waits,
        put_wait_seconds=sends.waited(), get_wait_seconds=receives.waited(),
        refusals=tally.refusals(), drops=tally.drops(lanes.sizes.overflow, counts.dropped, unsent),
        send_turns=counts.send_turns, receive_turns=counts.receive_turns,
        largest_send=counts.largest_send, largest_receive=counts.largest_receive,
        hub_wakeups=counts.rings, thread_wakeups=counts.touches,
        last_error=tally.last_error,
        pending_bytes=pipe.pending_bytes(), waiting_bytes=pipe.waiting_bytes(),
    )  # fmt: skip


def words_of(lanes: Shown) -> str:
    """For repr(): the name, the state, and what is in the queues."""
    words = [_state_of(lanes)]
    if lanes.kind.sends:
        words.append(f"{_filled(lanes.pipe.pending(), lanes.sizes.send_maxsize)} messages to send")
    if lanes.kind.receives:
        waiting = (lanes.subscribers or lanes.pipe).waiting()
        words.append(f"{_filled(waiting, lanes.sizes.recv_maxsize)} messages to get")
    return f"{lanes.name[:-1]}: {', '.join(words)}>"


def _state_of(lanes: Shown) -> str:
    error = lanes.state.get_error()
    if error is None:
        return "closing" if lanes.state.put_error() is not None else "open"
    if isinstance(error, ForkedError):
        return "of the parent process"
    return "broken" if isinstance(error, BrokenError) else "closed"


def _filled(messages: int, maxsize: int | None) -> str:
    return f"{messages}" if maxsize is None else f"{messages} of {maxsize}"


def picture_of(lanes: Shown) -> Picture:
    """The lanes and their waiters, for `dump`."""
    waits = [Waits("put", lanes.sends.line.waiters()), Waits("get", lanes.receives.line.waiters())]
    if lanes.exchange is not None:
        waits.append(Waits("request, for their turn", lanes.exchange.line.waiters()))
    waits += [Waits(what, callers) for what, callers in by_what(tuple(lanes.waiting)).items()]
    return Picture(
        lanes.name, _STATES[lanes.state.now], snapshot_of(lanes), lanes.sizes.send_maxsize, lanes.sizes.recv_maxsize,
        lanes.kind.sends, lanes.kind.receives, waits,
    )  # fmt: skip
