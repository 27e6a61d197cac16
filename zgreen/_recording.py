"""Recording: the statistics of this process's pumps in prometheus_client's multiprocess files. Hub side.

Needs the extra ``metrics``, and the variable PROMETHEUS_MULTIPROC_DIR before prometheus_client is imported.

A server with several worker processes is scraped by way of one of them, a different one each time. So each worker
writes its figures to files of its own, and a scrape adds up the files of all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import Counter, Gauge

from . import Pump, PumpStatistics
from ._hub import seam
from ._metric_names import CAUSES, COUNTERS, COUNTERS_OF_PUMPS, GAUGES, OF_PUMPS


class Recorder:
    """Counters and gauges of one process; on the thread of one hub."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._counters = {
            field: Counter(f"zgreen_pump_{name}", text, ["pump"], registry=None)
            for field, name, text in (*COUNTERS, *COUNTERS_OF_PUMPS)
        }
        self._causes = {
            field: Counter(f"zgreen_pump_{name}", text, ["pump", "cause"], registry=None)
            for field, name, text in CAUSES
        }
        # "liveall": one series for each worker, with the label pid, until the worker is marked as dead
        self._gauges = {
            field: Gauge(f"zgreen_pump_{name}", text, ["pump"], registry=None, multiprocess_mode="liveall")
            for field, name, text in (*GAUGES, *OF_PUMPS)
        }
        # What each living worker has counted. The counters above cannot have its label, because a worker's series ends
        # with it, and the sum over the workers would fall.
        self._shares = {
            field: Gauge(f"zgreen_worker_{name}", text, ["pump"], registry=None, multiprocess_mode="liveall")
            for field, name, text in (*COUNTERS, *COUNTERS_OF_PUMPS)
        }
        self._shares_by_cause = {
            field: Gauge(f"zgreen_worker_{name}", text, ["pump", "cause"], registry=None, multiprocess_mode="liveall")
            for field, name, text in CAUSES
        }
        self._written: WeakKeyDictionary[Pump, PumpStatistics] = WeakKeyDictionary()

    def record(self) -> None:
        """Write what has been counted since the last call."""
        for pump in seam.pumps():
            now, before = pump.statistics(), self._written.get(pump)
            for field, counter in self._counters.items():
                _add(counter.labels(pump.name), getattr(now, field), getattr(before, field, 0))
                self._shares[field].labels(pump.name).set(getattr(now, field))
            for field, counter in self._causes.items():
                was: Mapping[str, int] = getattr(before, field, {})
                for cause, number in getattr(now, field).items():
                    _add(counter.labels(pump.name, cause), number, was.get(cause, 0))
                    self._shares_by_cause[field].labels(pump.name, cause).set(number)
            for field, gauge in self._gauges.items():
                gauge.labels(pump.name).set(getattr(now, field))
            self._written[pump] = now


def _add(counter: Any, now: float, before: float) -> None:
    """The sum of seconds that greenlets wait may go down by a rounding error; a counter must not."""
    counter.inc(max(0.0, now - before))
