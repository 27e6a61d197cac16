"""Whether this process is ending gracefully, and the fan-outs that must hear of it (a leaf: imports gevent only).

Fan-outs add themselves on the threads of their hubs; a drain looks at them on the thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Ending(Protocol):
    """A fan-out, as far as a drain is concerned."""

    def begin_drain(self) -> Callable[[], bool]: ...


_endings: WeakSet[Ending] = WeakSet()
_pid = 0  # of the process that drains: a child that is forked then does not


def watch(ending: Ending) -> None:
    """Have *ending* end its streams when a drain begins."""
    _endings.add(ending)


def draining() -> bool:
    """Whether this process takes no more streams."""
    return _pid == os.getpid()


def begin() -> list[Callable[[], bool]]:
    """End all streams; for each fan-out, what tells whether all of its streams have heard of it."""
    global _pid
    _pid = os.getpid()
    return [ending.begin_drain() for ending in tuple(_endings)]
