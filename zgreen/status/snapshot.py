"""What the page shows, as plain data for JSON; and the figures of the last minutes, for its charts. On the public face.

A snapshot reads counters, from any thread; the history is sampled by one greenlet.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from zgreen import Pump, __version__
from zgreen._hub import seam

INTERVAL = 1.0  # seconds between two samples
SAMPLES = 300  # that are kept of each pump


class History:
    """The figures of some pumps in the last minutes; *pump*: of that one, None: of all of the process."""

    def __init__(self, pump: Pump | None) -> None:
        self._pump = pump
        self._rows: WeakKeyDictionary[Pump, deque[tuple[float, ...]]] = WeakKeyDictionary()
        self._pid = 0  # of the process in which a greenlet samples

    def pumps(self) -> list[Pump]:
        """Those that are shown."""
        return seam.pumps() if self._pump is None else [self._pump]

    def begin(self) -> None:
        """Sample from now on, if this process does not yet."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._rows.clear()
            self._sample()
            gevent.spawn(self._run, self._pid)

    def of(self, pump: Pump) -> list[tuple[float, ...]]:
        """Rows of (time, sent, received, pending, waiting, lost), the oldest first; counts since the pump's start."""
        return list(self._rows.get(pump, ()))

    def _run(self, pid: int) -> None:
        while os.getpid() == pid:
            gevent.sleep(INTERVAL)
            self._sample()

    def _sample(self) -> None:
        now = time.time()
        for pump in self.pumps():
            s = pump.statistics()
            lost = s.dropped + s.unsent + s.refused
            rows = self._rows.setdefault(pump, deque(maxlen=SAMPLES))
            rows.append((now, s.sent, s.received, s.pending, s.waiting, lost))


def snapshot(history: History) -> dict[str, Any]:
    """All that is known now."""
    return {
        "process": os.getpid(),
        "time": time.time(),
        "version": __version__,
        "interval": INTERVAL,
        "pumps": [_pump(pump, history) for pump in history.pumps()],
    }


def _pump(pump: Pump, history: History) -> dict[str, Any]:
    return {
        "name": pump.name,
        "engine": pump.engine,
        "open": not pump.closed,
        "statistics": pump.statistics()._asdict(),
        "channels": [
            {
                "number": number,
                "type": channel.socket_type,
                "endpoint": channel.last_endpoint,
                "open": not channel.closed,
                "peers": seam.peers(channel),
                "statistics": channel.statistics()._asdict(),
            }
            for number, channel in seam.numbered(pump)
        ],
        "dump": pump.dump(),
        "history": history.of(pump),
    }
