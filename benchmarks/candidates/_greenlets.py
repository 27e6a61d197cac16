"""What both gevent candidates do alike."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.event import Event

from ._meter import Meter
from ._protocol import done


def measure(meter: Meter, over: Event, greenlets: list[gevent.Greenlet[..., Any]]) -> dict[str, float]:
    """Wait until the meter has its window; some greenlets wait for messages that will not come."""
    over.wait()
    done()
    gevent.killall(greenlets)
    return meter.figures()
