"""The line on standard error that says how it goes, at a terminal; and a pace."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator

import gevent

import zgreen

INTERVAL = 0.5  # seconds


def may_show(reads_stdin: bool, writes_stdout: bool) -> bool:
    """Whether the line can be shown: on a terminal on which nothing else of this command is typed or shown."""
    typed = reads_stdin and sys.stdin is not None and sys.stdin.isatty()
    return sys.stderr.isatty() and not typed and not (writes_stdout and sys.stdout.isatty())


@contextlib.contextmanager
def shown(channel: zgreen.Channel, verb: str) -> Iterator[None]:
    """Within this the line is shown, of what *channel* has ``"sent"`` or ``"received"``."""
    greenlet = gevent.spawn(_show, channel, verb)
    try:
        yield
    finally:
        greenlet.kill()
        _write("\r\x1b[K")


def _show(channel: zgreen.Channel, verb: str) -> None:
    then, before = time.monotonic(), (0, 0)
    while True:
        gevent.sleep(INTERVAL)
        figures = channel.statistics()
        counts = (figures.sent, figures.sent_bytes) if verb == "sent" else (figures.received, figures.received_bytes)
        waiting = figures.pending if verb == "sent" else figures.waiting
        now = time.monotonic()
        rate, volume = ((new - old) / (now - then) for new, old in zip(counts, before, strict=True))
        more = f", {waiting:,} waiting" if waiting else ""
        _write(f"\r{verb} {counts[0]:,} ({rate:,.0f}/s, {amount(volume)}/s){more}\x1b[K")
        then, before = now, counts


def amount(volume: float) -> str:
    """So many bytes, in words."""
    for unit in ("B", "kB", "MB"):
        if volume < 1000:
            return f"{volume:,.1f} {unit}"
        volume /= 1000
    return f"{volume:,.1f} GB"


def _write(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


class Pace:
    """Lets steps pass at a rate."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._interval = 1 / arguments.rate if arguments.rate else 0.0
        self._next = time.monotonic()

    def wait(self) -> None:
        """Wait until the next step may be taken."""
        if self._interval:
            gevent.sleep(max(0.0, self._next - time.monotonic()))
            # one that was held up for long catches up with a second at most
            self._next = max(self._next + self._interval, time.monotonic() - 1.0)
