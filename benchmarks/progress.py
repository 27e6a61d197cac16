"""A progress bar on standard error; where that is no terminal, a line for each scenario."""

from __future__ import annotations

import sys
import time
from typing import Protocol

_WIDTH = 30


class Steps(Protocol):
    """Shows which run of how many goes on."""

    def step(self, scenario: str, what: str) -> None: ...
    def clear(self) -> None: ...


class Progress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._scenario = ""

    def step(self, scenario: str, what: str) -> None:
        """*what* begins now."""
        self._total = max(self._total, self._done + 1)  # rounds may be added
        if self._terminal:
            full = _WIDTH * self._done // self._total
            bar = "#" * full + "." * (_WIDTH - full)
            self._write(f"\r\033[K[{bar}] {self._done}/{self._total} {self._left()} {scenario} {what}")
        elif scenario != self._scenario:
            self._write(f"[{self._done}/{self._total}] {scenario}\n")
        self._scenario = scenario
        self._done += 1

    def clear(self) -> None:
        """Make room for other output."""
        if self._terminal:
            self._write("\r\033[K")

    def _left(self) -> str:
        if not self._done:
            return ""
        seconds = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02} left"

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
