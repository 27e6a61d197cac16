"""What this process's pumps must do at exit, and in the child of a fork. Hub side.

Nothing is registered at import: a process that only imports zgreen pays nothing, before a fork or at exit.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Protocol

import gevent

EXIT_LINGER = 5.0  # seconds, in total


class Pumped(Protocol):
    """A pump, as far as this module is concerned."""

    def shutdown_at_exit(self, deadline: float) -> gevent.Greenlet[[], None] | None: ...
    def after_fork(self) -> None: ...


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

    Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    """Close all, together, within `EXIT_LINGER`."""
    deadline = time.monotonic() + EXIT_LINGER
    jobs = [pump.shutdown_at_exit(deadline) for pump in tuple(_pumps)]
    gevent.joinall([job for job in jobs if job is not None])


def _after_fork() -> None:
    for pump in tuple(_pumps):
        pump.after_fork()
    _pumps.clear()
