"""A picture in words of which callers wait where: why does nothing move? Hub side; any thread, and a signal handler.

So it takes only reentrant locks, waits for nothing and changes nothing. The picture may be a moment old.
"""

from __future__ import annotations

import itertools
import linecache
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from greenlet import greenlet

from .statistics import ChannelStatistics, PumpStatistics

_OURS = ("zgreen", "gevent", "greenlet")  # packages whose frames are not the user's code
_WIDTH = 100  # characters of a repr
_MOST = 20  # waiters for one thing that are shown; the others are counted


class Waits(NamedTuple):
    """The waiters for one thing of a channel: (a greenlet, a thread's ident or a callback, seconds)."""

    what: str
    waiters: list[tuple[Any, float]]


class Picture(NamedTuple):
    """The parts of a channel that a dump shows."""

    name: str
    state: str
    statistics: ChannelStatistics
    send_maxsize: int | None
    recv_maxsize: int | None
    sends: bool
    receives: bool
    waits: list[Waits]


def picture_of_pump(name: str, state: str, statistics: PumpStatistics, awaited: int, channels: list[Picture]) -> str:
    """Return the text of the dump. *awaited*: how many answers of the owning thread have not come."""
    lines = [
        f"{name}: {state}, {statistics.channels} channels",
        f"  woken: {statistics.thread_wakeups} times the owning thread, {statistics.hub_wakeups} times the hub",
        f"  looks before it slept: {statistics.busy_wait_hits} found work, {statistics.busy_wait_misses} found none",
        f"  commands and sends that the owning thread has not answered: {awaited}",
        f"  last error: {statistics.last_error or 'none'}",
    ]
    lines += itertools.chain.from_iterable(_channel(channel) for channel in channels)
    return "\n".join(lines) + "\n"


def _channel(channel: Picture) -> Iterator[str]:
    s = channel.statistics
    yield f"  {channel.name}: {channel.state}"
    if channel.sends:
        yield f"    to send: {_queue(s.pending, channel.send_maxsize, s.peak_pending)}; {s.sent} sent{_losses(s)}"
        if s.pending:
            yield "      libzmq does not take them now: it has no peer for them, or is at its high-water mark"
    if channel.receives:
        yield f"    to get: {_queue(s.waiting, channel.recv_maxsize, s.peak_waiting)}; {s.received} received"
        if channel.recv_maxsize is not None and s.waiting >= channel.recv_maxsize:
            yield "      no consumer gets them, or too slowly; unless it drops, no more are read"
    if s.last_error is not None:
        yield f"    last error: {s.last_error}"
    for waits in channel.waits:
        yield from _waits(waits)


def _queue(messages: int, maxsize: int | None, peak: int) -> str:
    limit = "no limit" if maxsize is None else f"at most {maxsize}"
    return f"{messages} messages ({limit}, peak {peak})"


def _losses(s: ChannelStatistics) -> str:
    return f", {s.refused} refused" if s.refused else ""


def _waits(waits: Waits) -> Iterator[str]:
    if not waits.waiters:
        return
    yield f"    {len(waits.waiters)} in {waits.what}:"
    names = {ident: thread.name for ident, thread in tuple(threading._active.items())}  # type: ignore[attr-defined]
    frames = sys._current_frames()
    for waiter, seconds in waits.waiters[:_MOST]:
        yield f"      {seconds:.1f} s: {_describe(waiter, names, frames)}"
    if len(waits.waiters) > _MOST:
        yield f"      and {len(waits.waiters) - _MOST} more"


def _describe(waiter: Any, names: dict[int, str], frames: dict[int, FrameType]) -> str:
    if isinstance(waiter, greenlet):
        name = "the main greenlet" if waiter.parent is None else f"{waiter!r:.{_WIDTH}}"
        return f"{name}{place_of(waiter.gr_frame)}"
    if isinstance(waiter, int):
        return f"thread {names.get(waiter, waiter)!r}{place_of(frames.get(waiter))}"
    return f"callback {waiter!r:.{_WIDTH}}"  # gevent.wait, zgreen.select: the greenlet behind it is not known


def place_of(frame: FrameType | None) -> str:
    """Return where *frame* is in the user's code, in one line."""
    found = _frame_of_user(frame)
    if found is None:
        return ""
    code = found.f_code
    text = linecache.getline(code.co_filename, found.f_lineno, found.f_globals).strip()
    return f", {code.co_filename}:{found.f_lineno} in {code.co_name}" + (f": {text:.{_WIDTH}}" if text else "")


def _frame_of_user(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame outside zgreen and gevent; for a greenlet of zgreen's own, its outermost frame."""
    found = None
    while frame is not None:
        root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if root not in _OURS:
            return frame
        if root == "zgreen":
            found = frame
        frame = frame.f_back
    return found
