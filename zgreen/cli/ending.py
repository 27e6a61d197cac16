"""How Ctrl-C and SIGTERM reach a command: both as the exception `Told`, which passes through all its ``finally``.

While a command waits in gevent's loop, `Told` is thrown into its main greenlet by the loop, as a `gevent.Timeout` is:
so it can only come where the greenlet waits, and never in the middle of a step. A signal handler of Python's own would
raise in whatever greenlet runs. Commands that never run the loop, and the moments before, have no other way.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import NoReturn

import gevent

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME = 0.1  # seconds; timeout(1) signals its child and then its group, so the child is told twice


class Told(BaseException):
    """The process was told to end. Not an Exception, as KeyboardInterrupt is none. ``str()`` gives ``SIGINT``."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number  # what a shell says of a process that a signal has ended


def at_once() -> None:
    """From now on a signal raises `Told` wherever Python is; one that the process was started to ignore does not."""
    for number in _heeded():
        signal.signal(number, _raise)


@contextlib.contextmanager
def at_waits() -> Iterator[None]:
    """Within this a signal raises `Told` where this greenlet waits; after it a signal ends the process by itself."""
    greenlet, loop = gevent.getcurrent(), gevent.get_hub().loop
    last = -_SAME

    def throw(number: int) -> None:
        """The loop calls this: so *greenlet* waits."""
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > _SAME:
            greenlet.throw(Told(number))

    watchers = []
    for number in _heeded():
        watcher = loop.signal(number, ref=False)
        watcher.start(throw, number)
        watchers.append(watcher)
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.close()


def by_itself() -> None:
    """From now on a signal ends the process, without a word."""
    for number in _heeded():
        signal.signal(number, signal.SIG_DFL)


def _heeded() -> list[signal.Signals]:
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _raise(number: int, _frame: object) -> NoReturn:
    raise Told(number)
