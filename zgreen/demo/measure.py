"""What the client knows of every message: when it was posted, which streams delivered it, and how late."""

from __future__ import annotations

import time
from array import array


class Tally:
    """Counts posts and deliveries; all times are seconds of ``time.monotonic``.

    Args:
        streams: how many streams are to deliver each message.

    Attributes:
        delivered: deliveries, each message once a stream.
        duplicated: deliveries of a message to a stream that had delivered it already.
        unknown: lines that are no message of ours, or not a whole one.
    """

    def __init__(self, streams: int) -> None:
        self.delivered = 0
        self.duplicated = 0
        self.unknown = 0
        self._posted_at = array("d")  # by number
        self._missing = array("l")  # by number: the streams that have not delivered it yet
        self._seen = [bytearray() for _ in range(streams)]  # by stream, by number: 1 if delivered
        self._latencies = array("d")

    @property
    def posted(self) -> int:
        """How many messages were posted."""
        return len(self._posted_at)

    @property
    def lost(self) -> int:
        """Deliveries that have not been made (yet)."""
        return self.posted * len(self._seen) - self.delivered

    def post(self) -> int:
        """Take the number of the next message, whose time runs from now."""
        self._posted_at.append(time.monotonic())
        self._missing.append(len(self._seen))
        for seen in self._seen:
            seen.append(0)
        return self.posted - 1

    def deliver(self, stream: int, number: int, now: float) -> bool:
        """Count one delivery; return whether it was the last that its message needed."""
        if number >= self.posted:
            self.unknown += 1
            return False
        if self._seen[stream][number]:
            self.duplicated += 1
            return False
        self._seen[stream][number] = 1
        self.delivered += 1
        self._latencies.append(now - self._posted_at[number])
        self._missing[number] -= 1
        return self._missing[number] == 0

    def percentiles(self, *percents: float) -> list[float | None]:
        """Return the seconds from POST to delivery that *percents* of all deliveries took at most."""
        ordered = sorted(self._latencies)
        if not ordered:
            return [None for _ in percents]
        return [ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] for p in percents]
