"""Messages at a fixed rate, below what the sender could do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent

from ._meter import clock, stamped


def pace(spec: SimpleNamespace, put: Callable[[bytes], Any]) -> int:
    """Put *per_second* messages a second for *seconds*, each at its time; return how many."""
    number = max(1, round(spec.per_second * spec.seconds))
    begin = clock()
    for i in range(number):
        early = begin + i / spec.per_second - clock()
        if early > 0:
            gevent.sleep(early)
        put(stamped(spec.size))
    return number
