"""``zgreen bench``: runs benchmarks/, which is in the source distribution and in a clone, not in a wheel."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from zgreen.cli import output
from zgreen.cli.command import Command, Usage, folder, number_from, positive

_MISSING = (
    "the package benchmarks is not here: it is in zgreen's source distribution and repository only; call this in the "
    "folder of either"
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    scenarios, candidates = _names()
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"{scenarios}; one variant: push/100-greenlets (default: all)")
    add("--rounds", metavar="N", type=number_from(1), help="rounds of each candidate (default: 5, with --quick 1)")
    add("--seconds", metavar="SECONDS", type=positive, help="of a usual run (default: 0.5, with --quick 0.05)")
    add("--quick", action="store_true", help="see that all works; the figures mean nothing")
    add("--candidate", metavar="NAME", dest="candidates", action="append", default=[],
        help=f"measure this one only; may be given again: {candidates}")  # fmt: skip
    add("--output", metavar="FOLDER", type=folder,
        help="for JSON files, charts and README.md (default: benchmarks/results, but nowhere with --quick, a variant "
        "or a candidate)")  # fmt: skip
    add("--against", metavar="REVISION",
        help="compare this zgreen with the one of another revision of the clone: ratios within rounds")  # fmt: skip
    add("--width", metavar="RATIO", type=positive, default=0.05,
        help="repeat rounds until the quartiles of the ratios are so close (default: 0.05)")  # fmt: skip
    add("--most-rounds", metavar="N", type=number_from(1),
        help="so many rounds at most (default: twice the rounds, with --quick no more; with --against 30)")  # fmt: skip
    add("--loaded", action="store_true",
        help="measure beside other processes that keep each core busy; writes files with --output only")  # fmt: skip


def _run(arguments: argparse.Namespace) -> int:
    try:
        session, report = _find()
    except ModuleNotFoundError as error:
        raise Usage(_MISSING) from error
    try:
        session.prepare(arguments)
    except ValueError as error:
        raise Usage(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="zgreen-") as name:
        one = session.Session(arguments, Path(name))
        if arguments.against is not None:
            return _compare(one, Path(name), arguments)
        bar = _bar(one.steps())
        if not arguments.json:
            output.write(report.machine_text(one.machine) + "\n\n")
        results = [_measure(one, scenario, bar, arguments, (session, report)) for scenario in arguments.chosen]
    if arguments.json:
        output.as_json(results)
    return 1 if any(result["failures"] for result in results) else 0


def _compare(one: Any, place: Path, arguments: argparse.Namespace) -> int:
    """Measure this zgreen and that of another revision in turns, and show the ratios."""
    against = importlib.import_module("benchmarks.against")
    try:
        with against.checkout(arguments.against, place) as ahead:
            chosen = against.chosen(one, ahead)
            bar = _bar(len(chosen))
            try:
                results = [against.compare(one, *each, ahead, bar) for each in chosen]
            finally:
                bar.clear()
    except ValueError as error:
        raise Usage(str(error)) from error
    if arguments.json:
        output.as_json(results)
    else:
        output.write(against.table(results, arguments.against) + "\n")
    return 1 if any(result["failures"] for result in results) else 0


def _measure(one: Any, scenario: Any, bar: Any, arguments: argparse.Namespace, modules: tuple[Any, Any]) -> Any:
    """Measure a scenario, show it and write its files."""
    session, report = modules
    try:
        result = one.measure(scenario, bar)
    finally:
        bar.clear()
    if not arguments.json:
        _show(result, report)
    no_chart = session.write(result, arguments.output) if arguments.output else None
    if no_chart:
        output.say(no_chart)
    return result


def _names() -> tuple[str, str]:
    """The scenarios and the candidates, in words."""
    try:
        session, _ = _find()
    except ModuleNotFoundError:
        return _MISSING, _MISSING
    return ", ".join(session.SCENARIOS), ", ".join(session.CANDIDATES)


def _find() -> tuple[Any, Any]:
    """benchmarks.session and benchmarks.report; of the current folder, or of the source tree that zgreen is in."""
    sys.path.append(os.getcwd())
    try:
        return importlib.import_module("benchmarks.session"), importlib.import_module("benchmarks.report")
    finally:
        sys.path.pop()


def _bar(total: int) -> Any:
    if output.has_rich() and sys.stderr.isatty():  # rich itself takes FORCE_COLOR for a terminal
        return Bar(total)
    return importlib.import_module("benchmarks.progress").Progress(total)


class Bar:
    """What benchmarks/progress.py is, with rich."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
        )  # fmt: skip
        self._progress = Progress(*columns, console=output.console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total)
        self._begun = 0

    def step(self, scenario: str, what: str) -> None:
        """*what* begins now."""
        self._progress.start()
        self._progress.update(self._task, completed=self._begun, description=f"{scenario}: {what}")
        self._begun += 1

    def clear(self) -> None:
        """Make room for other output."""
        self._progress.stop()


def _show(result: dict[str, Any], report: Any) -> None:
    """On a terminal with rich a table for each variant; else Markdown, as in README.md of the results."""
    if not output.terminal() or not output.has_rich():
        output.write(report.scenario_text(result) + "\n")
        return
    for variant, candidates in result["variants"].items():
        keys = list(dict.fromkeys(key for measured in candidates.values() for key in measured["summary"]))
        rows = [
            [name, *(_figure(measured["summary"].get(key), report) for key in keys)]
            for name, measured in candidates.items()
        ]
        columns = ["candidate", *(key.replace("_", " ") for key in keys)]
        output.table(f"{result['scenario']}/{variant}", columns, rows, figures=len(keys))
    for name, reason in result["left_out"].items():
        output.write(f"not measured: {name}: {reason}\n")
    for failure in result["failures"]:
        output.write(f"FAILED: {failure}\n")


def _figure(summary: dict[str, float] | None, report: Any) -> str:
    if summary is None:
        return "-"
    low, middle, high = (report.number(summary[key]) for key in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} - {high})"


COMMANDS = (
    Command(
        "bench",
        "measure zgreen and what else there is",
        "[SCENARIO ...]",
        "Measure zgreen and what a user would take instead, in alternation, each run in fresh processes. The exit "
        "status is 1 if a run failed or lost messages. It needs the package benchmarks, which is in the source "
        "distribution and the repository; `python -m benchmarks` is the same.",
        (
            ("--quick push", "sees that one scenario works"),
            ("push/100-greenlets --candidate 'zgreen native' --candidate C++", "compares two in one variant"),
            ("push pull --against main", "compares with another revision"),
        ),
        "print JSON, an object for each scenario",
        _add_arguments,
        _run,
        waits=False,
    ),
)
