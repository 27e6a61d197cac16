"""The progress line while the demo runs, and the summary at its end (supervisor process)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import gevent

INTERVAL = 1.0  # seconds


def show(totals: Callable[[], dict[str, int]]) -> None:
    """Print, every second and without end, what the *totals* grew by: one line that a terminal overwrites."""
    began = then = time.monotonic()
    last = totals()
    while True:
        gevent.sleep(max(0.0, then + INTERVAL - time.monotonic()))
        now, current = time.monotonic(), totals()
        rates = (f"{name} {(current[name] - last[name]) / (now - then):,.0f}/s" for name in current)
        _say_over(f"{now - began:3.0f} s: {', '.join(rates)}")
        then, last = now, current


def finish() -> None:
    """Leave the progress line as it is: what is printed next begins a new one."""
    if sys.stdout.isatty():
        say("")


def say(line: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a line for the person who runs the demo (``None``: to standard output)."""
    print(line, file=file, end=end, flush=True)


def _say_over(line: str) -> None:
    if sys.stdout.isatty():
        say(f"\r{line}\x1b[K", end="")  # the escape erases what a longer line left behind
    else:
        say(line)


def summary(worker: dict[str, Any], client: dict[str, Any], pushed: int, streams: int, seconds: float) -> str:
    """Return the summary of a run, from the last reports of the two children and the server's count."""
    rows = [
        ("posted", client["posted"], f"{client['posted'] / seconds:,.0f}/s"),
        ("pushed", pushed, ""),
        ("pulled", worker["pulled"], ""),
        ("published", worker["published"], ""),
        ("delivered", client["delivered"], f"{client['delivered'] / seconds:,.0f}/s, to {streams} streams"),
        ("lost", client["lost"], ""),
        ("duplicated", client["duplicated"], ""),
    ]
    lines = [f"{name:<10} {count:>12,}   {note}".rstrip() for name, count, note in rows]
    p50, p99 = (_milliseconds(client[name]) for name in ("p50", "p99"))
    return "\n".join([*lines, f"POST to delivery   p50 {p50}   p99 {p99}"])


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
