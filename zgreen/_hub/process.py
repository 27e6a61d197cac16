"""What this process's pumps must do at exit, and in the child of a fork. Hub side.

Nothing is registered at import: a process that only imports zgreen pays nothing, before a fork or at exit.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Any, Protocol

EXIT_LINGER = 5.0  # seconds, in total


class Pumped(Protocol):
    """A pump, as far as this module is concerned."""

    def begin_exit(self, deadline: float, park: bool) -> bool: ...
    def end_exit(self, deadline: float) -> None: ...
    def park_thread(self, parked: set[Any]) -> None: ...
    def after_fork(self) -> None: ...
    def dump(self) -> str: ...


_pumps: weakref.WeakSet[Pumped] = weakref.WeakSet()
_registered = False  # survives a fork, as what was registered does
_multiprocess_pid = 0


def watch(pump: Pumped) -> None:
    """Look after *pump* from now on."""
    global _registered
    _pumps.add(pump)
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    _register_with_multiprocessing()


def _register_with_multiprocessing() -> None:
    """A child of multiprocessing ends with os._exit(): atexit is not run there, its own finalizers are."""
    global _multiprocess_pid
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or _multiprocess_pid == os.getpid():
        return
    _multiprocess_pid = os.getpid()
    from multiprocessing.util import Finalize

    # its threads are joined later: they must be woken
    Finalize(None, _at_exit, kwargs={"park": False}, exitpriority=100)


def pumps() -> list[Pumped]:
    """Those of this process that live, by name."""
    return sorted(_pumps, key=repr)


def _at_exit(park: bool = True) -> None:
    """Close all, together, within `EXIT_LINGER`. *park*: who waits then is left to wait, the process is ending.

    The hub does not run meanwhile, this thread itself waits for the owning threads. For with the hub all other
    greenlets would run on, with tracebacks of those that find their channel closed, and in the child of a fork even the
    parent's. A Ctrl-C ends the wait.
    """
    deadline = time.monotonic() + EXIT_LINGER
    pumps = [pump for pump in tuple(_pumps) if pump.begin_exit(deadline, park)]
    for pump in pumps:
        pump.end_exit(deadline)
    if park:
        parked: set[Any] = set()  # hubs of other threads: one may have several pumps, of which each needs it to end
        for pump in pumps:
            pump.park_thread(parked)


def _after_fork() -> None:
    for pump in tuple(_pumps):
        pump.after_fork()
    _pumps.clear()
