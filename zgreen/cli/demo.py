"""The demo on a terminal: a progress bar, and a table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from zgreen.cli import output
from zgreen.demo import progress


class Bar:
    """A `zgreen.demo.progress.View`."""

    def __init__(self, seconds: float) -> None:
        columns = (BarColumn(bar_width=20), TextColumn("{task.completed:.0f}/{task.total:g} s  {task.description}"))
        self._console = output.console()
        # refreshed by the greenlet that has something new, not by a thread
        self._progress = Progress(*columns, console=self._console, auto_refresh=False)
        self._task = self._progress.add_task("", total=seconds)

    def began(self, text: str) -> None:
        """Say what runs where, and start the bar."""
        self._console.print(text)
        self._progress.start()

    def show(self, totals: progress.Totals) -> None:
        """Move the bar, every second and without end."""
        for seconds, rates in progress.growth(totals):
            self._progress.update(self._task, completed=seconds, description=rates, refresh=True)

    def finish(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()

    def result(self, result: Mapping[str, Any]) -> None:
        """The summary, as a table."""
        p50, p99 = progress.latencies(result)
        rows = [*progress.rows(result), ("p50", p50, "POST to delivery"), ("p99", p99, "POST to delivery")]
        output.table("demo", ("count", "messages", "note"), rows, figures=1)
