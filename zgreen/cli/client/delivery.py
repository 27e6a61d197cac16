"""The end of a channel that sends: all that was put goes out, or it is known how much did not."""

from __future__ import annotations

import contextlib

import zgreen
from zgreen.cli import ending

HASTE = 1.0  # seconds that messages have to go out once the command was told to end
_LEAST = 0.001  # seconds; of what a linger of 0 throws away libzmq does not even say how much it may be


def close(channel: zgreen.Channel, linger: float) -> int:
    """Wait while messages go out, as long as *linger* after the last one; return how many were not sent.

    If the process is told to end meanwhile, it waits no more, and `ending.Told` is raised by `closed` instead.
    """
    sent = -1
    with contextlib.suppress(zgreen.ZgreenError):  # it has ended by itself, and knows what it has not sent
        while not channel.flush(linger) and channel.statistics().sent != sent:
            sent = channel.statistics().sent
    return channel.close(max(linger, _LEAST))


def closed(channel: zgreen.Channel, linger: float) -> tuple[int, ending.Told | None]:
    """`close`; returns also whether the process was told to end while it waited."""
    try:
        return close(channel, linger), None
    except ending.Told as told:
        return close(channel, 0.0), told
