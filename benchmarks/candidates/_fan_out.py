"""What all candidates of fan_out do alike: say how many will subscribe, and count what the greenlets get."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import zmq
from gevent.event import Event

from ._greenlets import measure
from ._meter import Meter


def announce(spec: SimpleNamespace, subscribers: int) -> None:
    """Tell the publisher after how many subscriptions to begin. A plain socket, once: nothing is measured yet."""
    context: Any = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.connect(f"{spec.endpoint}.count")
    socket.send(b"%d" % subscribers)
    socket.close()
    context.term()


def count(spec: SimpleNamespace, gets: list[Callable[[], Any]]) -> dict[str, float]:
    """A greenlet for each of *gets*, which gets without end."""
    over = Event()
    meter = Meter(spec, over.set)

    def greenlet(get: Callable[[], Any]) -> None:
        add = meter.add
        while not meter.done:
            get()
            add(1)

    figures = measure(meter, over, [gevent.spawn(greenlet, get) for get in gets])
    return {**figures, "receivers": len(gets)}
