"""What the demo shows while it runs, and its summary at the end (supervisor process)."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

import gevent

INTERVAL = 1.0  # seconds
MEASURED = (
    "POST to delivery: from when the client begins to POST until it has read the message from a stream, of each\n"
    "delivery; with many messages under way, most of that is waiting behind others"
)

Totals = Callable[[], dict[str, int]]


class View(Protocol):
    """Shows a run: `began`, `show` in a greenlet of its own that is killed at the end, `finish`, and `result`."""

    def began(self, text: str) -> None: ...
    def show(self, totals: Totals) -> None: ...
    def finish(self) -> None: ...
    def result(self, result: Mapping[str, Any]) -> None: ...


class Plain:
    """Lines of text; the one that says how it goes overwrites itself on a terminal."""

    def began(self, text: str) -> None:
        say(text)

    def show(self, totals: Totals) -> None:
        """Print, every second and without end, what the *totals* grew by."""
        for seconds, rates in growth(totals):
            _say_over(f"{seconds:3.0f} s: {rates}")

    def finish(self) -> None:
        """Leave the progress line as it is: what is printed next begins a new one."""
        if sys.stdout.isatty():
            say("")

    def result(self, result: Mapping[str, Any]) -> None:
        say("\n".join(f"{name:<10} {count:>12}   {note}".rstrip() for name, count, note in rows(result)))
        say("POST to delivery   p50 {}   p99 {}".format(*latencies(result)))
        say(MEASURED)


class Json:
    """One JSON object at the end, nothing before."""

    def began(self, text: str) -> None:
        pass

    def show(self, totals: Totals) -> None:
        pass

    def finish(self) -> None:
        pass

    def result(self, result: Mapping[str, Any]) -> None:
        say(json.dumps(result))


def growth(totals: Totals) -> Iterator[tuple[float, str]]:
    """Every INTERVAL and without end: seconds since the start, and what the *totals* grew by, as text."""
    began = then = time.monotonic()
    last = totals()
    while True:
        gevent.sleep(max(0.0, then + INTERVAL - time.monotonic()))
        now, current = time.monotonic(), totals()
        yield now - began, ", ".join(f"{n} {(current[n] - last[n]) / (now - then):,.0f}/s" for n in current)
        then, last = now, current


def say(line: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a line for the person who runs the demo (``None``: to standard output)."""
    print(line, file=file, end=end, flush=True)


def _say_over(line: str) -> None:
    if sys.stdout.isatty():
        say(f"\r{line}\x1b[K", end="")  # the escape erases what a longer line left behind
    else:
        say(line)


def rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The summary's rows: what, how many, and a note."""
    notes = {
        "posted": f"{result['posted'] / result['seconds']:,.0f}/s",
        "delivered": f"{result['delivered'] / result['seconds']:,.0f}/s, to {result['streams']} streams",
    }
    names = ("posted", "pushed", "pulled", "published", "delivered", "lost", "duplicated")
    return [(name, f"{result[name]:,}", notes.get(name, "")) for name in names]


def latencies(result: Mapping[str, Any]) -> tuple[str, str]:
    """p50 and p99 of POST to delivery."""
    p50, p99 = (_milliseconds(result[name]) for name in ("p50", "p99"))
    return p50, p99


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
