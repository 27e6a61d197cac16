"""Compares the zgreen that is found with that of another revision of this repository: ``zgreen bench --against REF``.

Each round runs both, one after the other, and what counts is the ratio within the round: what the machine does besides
meets both alike. Rounds go on until the middle half of the ratios lies close enough together.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import processes, report, runner
from .progress import Steps
from .scenarios import ENGINES, Metric, Scenario, Variant
from .session import Session

_LEAST = 3  # rounds: fewer have no quartiles


@contextlib.contextmanager
def checkout(reference: str, folder: Path) -> Iterator[Path]:
    """A folder in which Python finds that revision's zgreen, with its native engine where that can be built.

    :raises ValueError: this is no clone, or has no such revision.
    """
    root, tree, found = str(runner.ROOT), folder / "tree", folder / "found"
    try:
        commit = _git("-C", root, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}").strip()
        _git("clone", "--quiet", "--shared", "--no-checkout", root, str(tree))
        _git("-C", str(tree), "checkout", "--quiet", commit)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"there is no revision {reference}, or this is no clone with git") from error
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    processes.run(build, cwd=tree)  # if that fails, `runner.probe` finds no native engine
    found.mkdir()
    (found / "zgreen").symlink_to(tree / "zgreen")  # alone: what measures is this tree's, for both
    yield found


def _git(*arguments: str) -> str:
    return processes.run(["git", *arguments], check=True).stdout


def compare(session: Session, scenario: Scenario, variant: Variant, name: str, ahead: Path, progress: Steps) -> Any:
    """All rounds of one variant on one engine, beside a load if one is asked for. *ahead*: of `checkout`."""
    with processes.busy_cores() if session.options.loaded else contextlib.nullcontext():
        return _compare(session, scenario, variant, name, ahead, progress)


def _compare(session: Session, scenario: Scenario, variant: Variant, name: str, ahead: Path, progress: Steps) -> Any:
    options = session.options
    metrics = [metric for metric in variant.metrics or scenario.metrics if metric.key != "peer_busy"]
    here: list[dict[str, float]] = []
    there: list[dict[str, float]] = []
    failures = []
    progress.step(scenario.name, f"{variant.name}, {name}")
    for number in range(options.most_rounds):
        try:
            # in turns, so that neither is always the one that runs after the other
            order = (None, ahead) if number % 2 else (ahead, None)
            measured = {where: session.run(scenario, variant, name, where) for where in order}
        except (runner.RunFailed, ValueError) as error:
            failures.append(f"{variant.name}, {name}, round {number + 1}: {error}")
            break
        here.append(measured[None])
        there.append(measured[ahead])
        ratios = report.ratios(here, there, metrics[0].key)
        if len(here) >= max(_LEAST, options.rounds) and report.is_narrow(ratios, options.width):
            break
    return {
        "scenario": scenario.name, "variant": variant.name, "candidate": name, "rounds": len(here),
        "metrics": _rows(here, there, metrics), "failures": failures,
    }  # fmt: skip


def _rows(here: list[dict[str, float]], there: list[dict[str, float]], metrics: list[Metric]) -> list[dict[str, Any]]:
    rows = []
    for metric in metrics:
        ratios = report.ratios(here, there, metric.key)
        if ratios:
            first, middle, third = report.quartiles(ratios)
            rows.append({
                "metric": metric.title, "better": metric.better, "ratio": middle, "first_quartile": first,
                "third_quartile": third, "here": statistics.median(one[metric.key] for one in here),
                "there": statistics.median(one[metric.key] for one in there),
            })  # fmt: skip
    return rows


def table(results: list[dict[str, Any]], reference: str) -> str:
    """Markdown: a line for each metric, the ratio as here to there with its quartiles."""
    lines = [
        f"| variant | metric | here | {reference} | here / {reference} (quartiles) | rounds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        what = f"{result['scenario']}/{result['variant']}, {result['candidate']}"
        lines += [
            f"| {what} | {row['metric']}, {row['better']} is better | {report.number(row['here'])} | "
            f"{report.number(row['there'])} | {row['ratio']:.2f} ({row['first_quartile']:.2f} - "
            f"{row['third_quartile']:.2f}) | {result['rounds']} |"
            for row in result["metrics"]
        ]
        lines += [f"| {what} | FAILED: {failure} | | | | |" for failure in result["failures"]]
    return "\n".join(lines)


def chosen(session: Session, ahead: Path) -> list[tuple[Scenario, Variant, str]]:
    """What can be compared: the variants, on each engine that both revisions have."""
    there = {name: runner.probe(engine, ahead) for name, engine in ENGINES.items()}
    return [
        (scenario, variant, name)
        for scenario in session.options.chosen
        for variant in scenario.variants
        for name in session.taking_part(variant)
        if name in there and there[name] is None
    ]
