"""The end of a channel that sends: all that was put goes out, or it is known how much did not."""

from __future__ import annotations

import contextlib

import zgreen
from zgreen.cli.client.handshakes import Handshakes
from zgreen.cli.ending import Told

HASTE = 1.0  # seconds that messages have to go out once the command was told to end
_LEAST = 0.001  # seconds; of what a linger of 0 throws away libzmq does not even say how much it may be


def close(channel: zgreen.Channel, linger: float, handshakes: Handshakes | None = None) -> tuple[int, Told | None]:
    """Wait while messages go out, as long as *linger* after the last one, and close the channel.

    :param handshakes: of a channel that connects: what libzmq holds for a peer that refuses is dropped uncounted if the
        channel is closed before that is known, so it waits for that first.
    :return: how many messages were not sent; and if the process was told to end meanwhile, which ends the wait, that.
    """
    try:
        _drain(channel, linger)
        if handshakes is not None and not handshakes.decided.wait(linger):
            linger = 0.0
        return channel.close(max(linger, _LEAST)), None
    except Told as told:
        return channel.close(_LEAST), told


def _drain(channel: zgreen.Channel, linger: float) -> None:
    """Wait until libzmq has all messages, or has taken none for *linger* seconds."""
    sent = -1
    with contextlib.suppress(zgreen.ZgreenError):  # it has ended by itself, and knows what it has not sent
        while not channel.flush(linger) and channel.statistics().sent != sent:
            sent = channel.statistics().sent
