"""``zgreen bench``: runs benchmarks/, which is in the source distribution and in a clone, not in a wheel."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from zgreen.cli import output

CANDIDATE = "--candidate"
MISSING = (
    "bench: there is no package benchmarks here. It is in zgreen's source distribution and repository only: "
    "call this in the folder of either"
)


def run(arguments: Sequence[str], prog: str, *, as_json: bool) -> int:
    """Run ``python -m benchmarks`` with *arguments*, shown in our way; the exit status. *prog*: what we are called."""
    try:
        modules = _find()
    except ModuleNotFoundError:
        sys.stderr.write(MISSING + "\n")
        return 2
    program, report = modules
    options = program.parse(arguments, prog, CANDIDATE)
    with program.work_folder() as folder:
        session = program.Session(options, folder)
        total = options.rounds * sum(len(session.taking_part(v)) for s in options.chosen for v in s.variants)
        with Bar(total) as bar:
            results = [session.measure(scenario, bar) for scenario in options.chosen]
    for result in results if options.output else ():
        no_chart = program.write(result, options.output)
        sys.stderr.write(f"{no_chart}\n" if no_chart else "")
    if as_json:
        output.as_json(results)
    else:
        for result in results:
            _show(result, report)
    return 1 if any(result["failures"] for result in results) else 0


class Bar:
    """What benchmarks/progress.py is, with rich: on standard error, nothing where that is no terminal."""

    def __init__(self, total: int) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
        )  # fmt: skip
        console = output.console(stderr=True)
        watched = sys.stderr.isatty()  # rich takes FORCE_COLOR for a terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=not watched)
        self._task: TaskID = self._progress.add_task("", total=total)
        self._begun = 0

    def step(self, scenario: str, what: str) -> None:
        """*what* begins now."""
        self._progress.update(self._task, completed=self._begun, description=f"{scenario}: {what}")
        self._begun += 1

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()


def _find() -> tuple[Any, Any]:
    """benchmarks.__main__ and benchmarks.report; of the current folder, or of the source tree that zgreen is in."""
    sys.path.append(os.getcwd())
    return importlib.import_module("benchmarks.__main__"), importlib.import_module("benchmarks.report")


def _show(result: dict[str, Any], report: Any) -> None:
    """A table for each variant: medians, with the least and the greatest."""
    for variant, candidates in result["variants"].items():
        keys = list(dict.fromkeys(key for measured in candidates.values() for key in measured["summary"]))
        rows = [
            [name, *(_figure(measured["summary"].get(key), report) for key in keys)]
            for name, measured in candidates.items()
        ]
        columns = ["candidate", *(key.replace("_", " ") for key in keys)]
        output.table(f"{result['scenario']}/{variant}", columns, rows, figures=len(keys))
    _notes(f"not measured: {name}: {reason}" for name, reason in result["left_out"].items())
    _notes(f"FAILED: {failure}" for failure in result["failures"])


def _figure(summary: dict[str, float] | None, report: Any) -> str:
    if summary is None:
        return "-"
    low, middle, high = (report.number(summary[key]) for key in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} - {high})"


def _notes(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
