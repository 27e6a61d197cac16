"""Service: the channels, the fan-out and the streams of ``zgreen live``, and what is counted of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import gevent
import zmq

import zgreen
from zgreen._types import SubscriptionOverflow
from zgreen.live import wire
from zgreen.live.keeper import Keeper
from zgreen.live.stream import Stream

INTERVAL = 1.0  # seconds between two statistics
_MOST_SHOWN = 50  # connections in the statistics
_ANY = "tcp://127.0.0.1:*"


class Service:
    """One SUB channel for all pages, and one PUSH channel for what they post.

    :param connect: endpoints of publishers. :param bind: where publishers connect to. Without both, a publisher process
        is started, and started again if it ends.
    :param push: where a publisher of *connect* or *bind* pulls from what pages post; None: nowhere. The process that
        was started pulls by itself.
    :param rate: messages per second of that process.
    :param maxsize, overflow: of the subscription of each page, as :meth:`zgreen.Fanout.subscribe` has them.
    :raises zmq.ZMQError: an endpoint is wrong.
    :raises ValueError: *push* without *connect* and *bind*.
    """

    def __init__(
        self,
        connect: Sequence[str] = (),
        bind: Sequence[str] = (),
        push: str | None = None,
        rate: float = 10.0,
        maxsize: int = 256,
        overflow: SubscriptionOverflow = "drop_oldest",
    ) -> None:
        if push is not None and not connect and not bind:  # the page shows what comes back, and nothing would
            raise ValueError("push is for connect or bind: without both, the publisher that is started pulls by itself")
        self._queue = (maxsize, overflow)
        self._numbers = itertools.count(1)
        self._streams: dict[str, Stream] = {}
        self._keeper: Keeper | None = None
        self._push: zgreen.Channel | None = None
        self._pump = zgreen.Pump("live").start()
        try:
            self._open(tuple(connect), tuple(bind), push, rate)
        except BaseException:
            self._pump.shutdown(linger=0)
            raise
        self._ticker = gevent.spawn(self._tick)

    def _open(self, connect: tuple[str, ...], bind: tuple[str, ...], push: str | None, rate: float) -> None:
        own = not connect and not bind
        ends = (_ANY,) if own else bind
        self._sub = zgreen.Channel(zmq.SUB, bind=ends, connect=connect, multipart=True, pump=self._pump, monitor=True)
        self._sub.subscribe(wire.CONTROL)
        self._fanout = zgreen.Fanout(self._sub)
        if push is not None:
            self._push = zgreen.Channel(zmq.PUSH, connect=push, pump=self._pump)
        elif own:
            self._push = zgreen.Channel(zmq.PUSH, bind=_ANY, pump=self._pump)
        if own and self._push is not None:
            self._keeper = Keeper(self._sub.last_endpoint, self._push.last_endpoint, str(rate))

    @property
    def can_post(self) -> bool:
        """Whether there is an endpoint to push to."""
        return self._push is not None

    def post(self, topic: bytes, text: bytes) -> None:
        """Push a message to the publisher; gevent.queue.Full if there is no room in time."""
        assert self._push is not None
        self._push.put([topic, text], timeout=1.0)

    def open_stream(self, prefixes: tuple[bytes, ...]) -> Stream:
        """A stream for a page; give it back with :meth:`close_stream`."""
        stream = Stream(next(self._numbers), self._fanout, prefixes, *self._queue)
        self._streams[stream.token] = stream
        return stream

    def close_stream(self, stream: Stream) -> None:
        """Its page has gone."""
        del self._streams[stream.token]
        stream.close()

    def stream(self, token: str) -> Stream | None:
        """The open stream of that token."""
        return self._streams.get(token)

    def statistics(self) -> dict[str, Any]:
        """All that the page shows of this process."""
        streams = list(self._streams.values())
        keeper = self._keeper
        return {
            "pump": {"name": self._pump.name, "engine": self._pump.engine, **self._pump.statistics()._asdict()},
            "fanout": self._fanout.statistics()._asdict(),
            "publisher": {"pid": keeper.pid, "restarts": keeper.restarts} if keeper else None,
            "connected": self._is_connected(),
            "can_post": self.can_post,
            "connections": [stream.statistics() for stream in streams[:_MOST_SHOWN]],
            "all_connections": len(streams),
        }

    def _is_connected(self) -> bool | None:
        """Whether there is a publisher; None if that cannot be known, as over inproc."""
        try:
            return self._sub.wait_connected(0)
        except RuntimeError:
            return None

    def end_streams(self) -> None:
        """Have all streams end soon: those that wait, not those whose browser does not read."""
        for stream in tuple(self._streams.values()):  # some leave meanwhile
            stream.end()

    def close(self) -> None:
        """End the publisher and the channels; what is under way is dropped."""
        self._ticker.kill()
        if self._keeper is not None:
            self._keeper.stop()
        self._pump.shutdown(linger=0)

    def _tick(self) -> None:
        while True:
            gevent.sleep(INTERVAL)
            statistics = self.statistics()
            for stream in self._streams.values():
                stream.tell(statistics)
