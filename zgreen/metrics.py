"""The statistics of pumps for prometheus_client: of one process (Collector), or of all workers of a server (record).

Needs the extra ``metrics`` (``pip install zgreen[metrics]``).
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gevent

try:
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector as _Collector
except ImportError as error:
    raise ImportError("zgreen.metrics needs prometheus_client: pip install 'zgreen[metrics]'") from error

from . import Channel, ChannelStatistics, Pump, PumpStatistics
from ._arguments import check_seconds
from ._hub import seam
from ._metric_names import CAUSES, COUNTERS, COUNTERS_OF_PUMPS, GAUGES, OF_CHANNELS, OF_PUMPS

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_TRIES = 20  # of a scrape beside a worker that makes a file
_PAUSE = 0.01  # seconds between them
_recorder: Any = None  # this process's, or the parent's; the hub's thread that records

_Row = tuple[list[str], ChannelStatistics | PumpStatistics]


class Collector(_Collector):
    """Gives what :meth:`zgreen.Pump.statistics` and :meth:`zgreen.Channel.statistics` say to ``prometheus_client``::

        prometheus_client.REGISTRY.register(zgreen.metrics.Collector(pump))

    :param pumps: one or more; one Collector for all of a registry, as a registry takes each family's name once.
    :param channels: whether to give the channels, too. Each channel is one more set of series, so say False for a
        program that opens and closes many.
    :raises TypeError: one of *pumps* is no pump.
    :raises ValueError: none, or two of the same name.

    ``zgreen_pump_*`` have the label ``pump``, its name; they count the channels that are closed, too, so their counters
    never go down. ``zgreen_channel_*`` have ``pump``, ``channel`` (a number, in the order of their making),
    ``socket_type`` and ``endpoint`` (the last bound or connected, ``""`` if none), and end with their channel. Counters
    end in ``_total``; units are seconds, bytes and messages. A scrape takes snapshots, from any thread, and does not
    wait.
    """

    def __init__(self, *pumps: Pump, channels: bool = True) -> None:
        for pump in pumps:
            if not isinstance(pump, Pump):
                raise TypeError(f"a Collector is for pumps, not for {type(pump).__name__}")
        names = [pump.name for pump in pumps]
        if not pumps or len(set(names)) < len(names):
            raise ValueError(f"give one pump or more, each with a name of its own, not {names}")
        self._pumps = pumps
        self._channels = channels

    def collect(self) -> Iterator[Metric]:
        """The families, from snapshots taken now."""
        info = InfoMetricFamily("zgreen_pump", "Which engine runs in the owning thread.", labels=["pump"])
        for pump in self._pumps:
            info.add_metric([pump.name], {"engine": pump.engine})
        yield info
        up = GaugeMetricFamily("zgreen_pump_up", "1 while the pump takes channels, else 0.", labels=["pump"])
        for pump in self._pumps:
            up.add_metric([pump.name], 0 if pump.closed else 1)
        yield up
        rows: list[_Row] = [([pump.name], pump.statistics()) for pump in self._pumps]
        yield from _families("zgreen_pump_", ["pump"], rows, (*COUNTERS, *COUNTERS_OF_PUMPS), (*GAUGES, *OF_PUMPS))
        if self._channels:
            rows = [_row(pump, number, channel) for pump in self._pumps for number, channel in seam.numbered(pump)]
            labels = ["pump", "channel", "socket_type", "endpoint"]
            yield from _families("zgreen_channel_", labels, rows, COUNTERS, (*GAUGES, *OF_CHANNELS))


def _row(pump: Pump, number: int, channel: Channel) -> _Row:
    return [pump.name, str(number), channel.socket_type, channel.last_endpoint], channel.statistics()


def _families(
    prefix: str, labels: list[str], rows: list[_Row], counters: tuple[Any, ...], gauges: tuple[Any, ...]
) -> Iterator[Metric]:
    for field, name, text in counters:
        counter = CounterMetricFamily(prefix + name, text, labels=labels)
        for values, statistics in rows:
            counter.add_metric(values, getattr(statistics, field))
        yield counter
    for field, name, text in CAUSES:
        counter = CounterMetricFamily(prefix + name, text, labels=[*labels, "cause"])
        for values, statistics in rows:
            causes: Mapping[str, int] = getattr(statistics, field)
            for cause, number in causes.items():
                counter.add_metric([*values, cause], number)
        yield counter
    for field, name, text in gauges:
        gauge = GaugeMetricFamily(prefix + name, text, labels=labels)
        for values, statistics in rows:
            gauge.add_metric(values, getattr(statistics, field))
        yield gauge


def record(interval: float = 1.0) -> None:
    """Have this worker process write the figures of all its pumps to prometheus_client's multiprocess files, every
    *interval* seconds, in a greenlet. Once for each worker, after the fork: :mod:`zgreen.gunicorn` does it.

    :raises RuntimeError: the environment does not name a folder as PROMETHEUS_MULTIPROC_DIR, or did not when
        prometheus_client was imported.
    :raises TypeError, ValueError: *interval* is no number of seconds above 0.

    The names are those of :class:`Collector`. Counters are sums over all workers since the folder was made, those that
    have gone included; so they never go down. Gauges are there for each living worker, with its process id as ``pid``;
    so is what each living worker has counted by itself, as ``zgreen_worker_*`` in the place of ``zgreen_pump_*_total``.
    There are no ``zgreen_channel_*``. A worker that is killed takes along what it counted in its last *interval*.
    """
    if interval is None:
        raise TypeError("interval must be a number of seconds")
    check_seconds("interval", interval)
    if interval == 0:
        raise ValueError("interval must be more than 0 seconds")
    record_now()
    gevent.spawn(_record, interval, _recorder)


def record_now() -> None:
    """Write this process's figures once; errors as of :func:`record`. Before a process ends, for example."""
    global _recorder
    if _recorder is None or _recorder.pid != os.getpid():
        _check_folder()
        from ._recording import Recorder  # which makes prometheus_client's files, and so needs the folder

        _recorder = Recorder()
    _recorder.record()


def application() -> Callable[..., Iterable[bytes]]:
    """A WSGI application that answers a scrape with the figures of all workers that :func:`record`, this one's up to
    the moment, those of others up to their last interval.

    :raises RuntimeError: as :func:`record`.

    What the workers have of prometheus_client's own counters and gauges is in it, too.
    """
    _check_folder()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    scraped: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        record_now()
        for _ in range(_TRIES):
            with contextlib.suppress(struct.error):  # another worker has just made its file and has not filled it yet
                return scraped(environ, start_response)
            gevent.sleep(_PAUSE)
        return scraped(environ, start_response)

    return application


def _record(interval: float, recorder: Any) -> None:
    while recorder.pid == os.getpid():  # in a child of a fork it is the parent's
        gevent.sleep(interval)
        recorder.record()


def _check_folder() -> None:
    from prometheus_client import values

    folder = os.environ.get(_FOLDER, "")
    if not os.path.isdir(folder):
        raise RuntimeError(f"the environment must name a folder as {_FOLDER}, empty when the server starts: {folder!r}")
    if values.ValueClass is values.MutexValue:
        raise RuntimeError(f"{_FOLDER} must be in the environment before prometheus_client is imported")
