"""``zgreen demo``: the whole chain in real processes; on a terminal with rich a bar, and a table at the end."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zgreen.cli import ending, output
from zgreen.cli.command import Command, number_from, positive

if TYPE_CHECKING:
    from zgreen.demo import progress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    number: dict[str, Any] = {"metavar": "N", "type": number_from(1)}
    add("--seconds", metavar="SECONDS", type=positive, default=10.0, help="how long the client posts (default: 10)")
    add("--streams", default=50, help="HTTP streams to fan out to (default: 50)", **number)
    add("--posters", default=20, help="HTTP connections that post (default: 20)", **number)
    add("--in-flight", default=100, help="most messages under way (default: 100)", **number)
    add("--size", default=100, help="bytes of text in a message (default: 100)", **number)


def _run(arguments: argparse.Namespace) -> int:
    from zgreen.demo import progress, supervisor

    view: progress.View = progress.Json() if arguments.json else progress.Plain()
    if output.terminal() and output.has_rich() and not arguments.json:
        view = Bar(arguments.seconds)
    try:
        return supervisor.run(arguments, view)
    except ending.Told as told:
        output.say(f"stopped: got {told}")
        raise
    except OSError as error:  # nothing else of it writes to a file
        error.filename = error.filename or output.STDOUT
        raise


class Bar:
    """A `zgreen.demo.progress.View` with rich."""

    def __init__(self, seconds: float) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

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
        from zgreen.demo import progress

        for seconds, rates in progress.growth(totals):
            self._progress.update(self._task, completed=seconds, description=rates, refresh=True)

    def finish(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()

    def result(self, result: Mapping[str, Any]) -> None:
        """The summary, as a table."""
        from zgreen.demo import progress

        p50, p99 = progress.latencies(result)
        rows = [*progress.rows(result), ("p50", p50, "POST to delivery"), ("p99", p99, "POST to delivery")]
        output.table("demo", ("count", "messages", "note"), rows, figures=1)
        output.write(f"{progress.MEASURED}\n")


COMMANDS = (
    Command(
        "demo",
        "run a WSGI server, a worker and a client for a while, and count what was lost",
        "",
        "A client process POSTs to a gevent WSGI server. The greenlet of each request pushes a message to one shared "
        "PUSH channel; a worker process pulls and publishes it; the server's one SUB channel receives it and fans it "
        "out to many HTTP streams, which the client reads. Ends with a summary; the exit status is 1 if anything was "
        "lost or duplicated. The latencies are the time from the client's POST to when it has read the message from a "
        "stream, of each delivery: through HTTP, two hops of ZeroMQ and HTTP again, with --in-flight messages under "
        "way at once.",
        (
            ("", "runs for ten seconds"),
            ("--seconds 2 --in-flight 1 --posters 1", "one message at a time: what an idle chain takes for it"),
        ),
        "say nothing but the summary, as JSON; p50 and p99 in seconds",
        _add_arguments,
        _run,
    ),
)
