"""Collector: the statistics of pumps and their channels for prometheus_client. On the public face alone; any thread.

Needs the extra ``metrics`` (``pip install zgreen[metrics]``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector as _Collector
except ImportError as error:
    raise ImportError("zgreen.metrics needs prometheus_client: pip install 'zgreen[metrics]'") from error

from . import Channel, ChannelStatistics, Pump, PumpStatistics

# What pumps and channels both have: (field of the statistics, name without prefix, what it says).
_COUNTERS = (
    ("sent", "sent_messages", "Messages that libzmq has taken."),
    ("sent_bytes", "sent_bytes", "Content of the messages that libzmq has taken."),
    ("received", "received_messages", "Messages that libzmq has given."),
    ("received_bytes", "received_bytes", "Content of the messages that libzmq has given."),
    ("put_waits", "put_waits", "Puts that had to wait for room."),
    ("put_wait_seconds", "put_wait_seconds", "Time that puts have waited, those that wait now included."),
    ("get_waits", "get_waits", "Gets that had to wait for a message."),
    ("get_wait_seconds", "get_wait_seconds", "Time that gets have waited, those that wait now included."),
    ("send_turns", "send_turns", "Turns of the owning thread in which messages were sent."),
    ("receive_turns", "receive_turns", "Turns of the owning thread in which messages were received."),
    ("hub_wakeups", "hub_wakeups", "Times that the owning thread woke the hub, or a thread that waits."),
    ("thread_wakeups", "thread_wakeups", "Times that the owning thread was woken."),
)
_CAUSES = (
    ("refusals", "refusals", "Messages that libzmq refused for good, by the name of the error."),
    ("drops", "drops", "Messages that were lost, by cause: drop_oldest, drop_newest, unsent."),
)
_GAUGES = (
    ("pending", "pending_messages", "Messages put, and not with libzmq."),
    ("waiting", "waiting_messages", "Messages received, and not got."),
    ("peak_pending", "peak_pending_messages", "The most messages that were pending in one channel."),
    ("peak_waiting", "peak_waiting_messages", "The most messages that waited in one channel."),
    ("largest_send", "largest_send_messages", "The most messages sent in one turn."),
    ("largest_receive", "largest_receive_messages", "The most messages received in one turn."),
)
_OF_PUMPS = (("channels", "channels", "Open channels."),)
_OF_CHANNELS = (
    ("putters", "putters", "Greenlets and threads that wait to put."),
    ("getters", "getters", "Greenlets and threads that wait to get."),
)

_Row = tuple[list[str], ChannelStatistics | PumpStatistics]


class Collector(_Collector):
    """Gives what :meth:`zgreen.Pump.statistics` and :meth:`zgreen.Channel.statistics` say to ``prometheus_client``::

        prometheus_client.REGISTRY.register(zgreen.metrics.Collector(pump))

    :param pumps: one or more; one Collector for all of a registry, as a registry takes each family's name once.
    :param channels: whether to give the channels, too. Each channel is one more set of series, so say False for a
        program that opens and closes many.
    :raises TypeError: one of *pumps* is no pump. :raises ValueError: none, or two of the same name.

    ``zgreen_pump_*`` have the label ``pump``, its name; they count the channels that are closed, too, so their counters
    never go down. ``zgreen_channel_*`` have ``pump``, ``channel`` (a number, in the order of their making),
    ``socket_type`` and ``endpoint`` (the last bound or connected, ``""`` if none), and end with their channel. Counters
    end in ``_total``; units are seconds, bytes and messages. A scrape takes snapshots, from any thread, and waits for
    nobody.
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
        yield from _families("zgreen_pump_", ["pump"], rows, (*_GAUGES, *_OF_PUMPS))
        if self._channels:
            rows = [_row(pump, number, channel) for pump in self._pumps for number, channel in pump.numbered()]
            labels = ["pump", "channel", "socket_type", "endpoint"]
            yield from _families("zgreen_channel_", labels, rows, (*_GAUGES, *_OF_CHANNELS))


def _row(pump: Pump, number: int, channel: Channel) -> _Row:
    return [pump.name, str(number), channel.socket_type, channel.last_endpoint], channel.statistics()


def _families(prefix: str, labels: list[str], rows: list[_Row], gauges: tuple[Any, ...]) -> Iterator[Metric]:
    for field, name, text in _COUNTERS:
        counter = CounterMetricFamily(prefix + name, text, labels=labels)
        for values, statistics in rows:
            counter.add_metric(values, getattr(statistics, field))
        yield counter
    for field, name, text in _CAUSES:
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
