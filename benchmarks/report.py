"""Medians, spreads, ratios, and the figures asked for beside those reached: from results to tables and back.

Two candidates are compared by the ratio of their runs within a round, so that whatever the machine does besides meets
both alike. What counts is the median of these ratios; their quartiles say how far it can be trusted.

A result is what is written as JSON: plain dicts, so that tables and charts can be made of old ones again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .scenarios import CANDIDATES, NATIVE, PYTHON, SCENARIOS, Lengths, Metric, Scenario, Target, Variant

Result = Mapping[str, Any]
Runs = Sequence[Mapping[str, float]]  # of one candidate in one variant, one for each round

_RANK = {name: number for number, name in enumerate(CANDIDATES)}


def summarize(runs: Runs) -> dict[str, dict[str, float]]:
    """Median, least and greatest of each metric; of the runs of one candidate in one variant."""
    good = [run for run in runs if run]
    summary = {}
    for key in good[0] if good else ():
        values = [run[key] for run in good]
        summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, middle, third


def ratios(here: Runs, there: Runs, key: str) -> list[float]:
    """One for each round in which both have given figures; a round that failed has an empty run."""
    pairs = zip(here, there, strict=False)
    return [one[key] / other[key] for one, other in pairs if key in one and other.get(key)]


def is_narrow(values: Sequence[float], width: float) -> bool:
    """Whether the middle half of *values* is no wider than *width* of their median. Nothing is."""
    if not values:
        return True
    first, middle, third = quartiles(values)
    return third - first <= width * middle


def _runs(result: Result, variant: str, candidate: str) -> Runs:
    runs: Runs = result["variants"].get(variant, {}).get(candidate, {}).get("runs", [])
    return runs


def reached(result: Result, target: Target, candidate: str) -> list[float]:
    """What *candidate* has reached of *target* in each round; empty where it was not measured."""
    here = _runs(result, target.variant, candidate)
    if target.against is None and target.of is None:
        return [run[target.metric] for run in here if run]
    there = _runs(result, target.of or target.variant, target.against or candidate)
    return ratios(here, there, target.metric)


def holds(target: Target, value: float) -> bool:
    return value >= target.factor if target.bound == "at least" else value <= target.factor


def target_rows(result: Result, targets: Iterable[Target]) -> list[dict[str, Any]]:
    """For the JSON: each figure asked for, and what each engine has reached."""
    rows = []
    for target in targets:
        figures, spreads = {}, {}
        for name in (NATIVE, PYTHON):
            rounds = reached(result, target, name)
            first, figures[name], third = quartiles(rounds) if rounds else (None, None, None)
            spreads[name] = [first, third]
        rows.append({
            "variant": target.variant, "metric": target.metric, "bound": target.bound, "asked": target.factor,
            "against": target.against or target.of,
            "reached": figures, "quartiles": spreads,
            "met": {name: None if value is None else holds(target, value) for name, value in figures.items()},
        })  # fmt: skip
    return rows


# ---------------------------------------------------------------- tables, in Markdown


def table(rows: list[list[str]]) -> str:
    """The first row is the head; the first column is text, the others are numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "| " + " | ".join(cells) + " |"

    rule = [("-" * width) if n == 0 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


def number(value: float, digits: int = 0) -> str:
    """With at least three figures that mean something, where it is small."""
    if digits == 0 and 0 < abs(value) < 100 and value != int(value):
        digits = 1
    return f"{value:,.{digits}f}"


def with_spread(figures: Mapping[str, float], metric: Metric) -> str:
    low, middle, high = (number(figures[key], metric.digits) for key in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} - {high})"


def variant_table(result: Result, variant: Variant, metrics: Sequence[Metric]) -> str:
    """A row per candidate: medians with least and greatest, and how much better zgreen is by the first metric.

    That is the median of the ratios within rounds, with their quartiles.
    """
    measured = result["variants"].get(variant.name, {})
    ours = next((name for name in (NATIVE, PYTHON) if measured.get(name, {}).get("summary")), None)
    rows = [[variant.name, *(metric.title for metric in metrics), f"{ours or 'zgreen'} is"]]
    for name in sorted(measured, key=_RANK.__getitem__):
        summary = measured[name]["summary"]
        if not summary:
            continue
        cells = [with_spread(summary[m.key], m) if m.key in summary else "" for m in metrics]
        rows.append([name, *cells, _ratio(result, variant.name, ours, name, metrics[0])])
    return table(rows)


def _ratio(result: Result, variant: str, ours: str | None, other: str, metric: Metric) -> str:
    """How many times as good: more messages, or less time."""
    if ours is None or ours == other:
        return ""
    here, there = (_runs(result, variant, name) for name in (ours, other))
    found = ratios(here, there, metric.key) if metric.better == "more" else ratios(there, here, metric.key)
    return f"{_spread(quartiles(found))} as good" if found else ""


def _spread(figures: tuple[float, float, float]) -> str:
    first, middle, third = figures
    return f"{middle:.2f}x" if first == third else f"{middle:.2f}x ({first:.2f} - {third:.2f})"


def targets_table(result: Result) -> str:
    rows = [["figure", "asked for", NATIVE, PYTHON]]
    for row in result["targets"]:
        against = f" / {row['against']}" if row["against"] else ""
        cells = [_verdict(row, name) for name in (NATIVE, PYTHON)]
        asked = f"{row['bound']} {row['asked']:g}{'x' if against else ''}"
        rows.append([f"{row['variant']}: {row['metric']}{against}", asked, *cells])
    return table(rows)


def _verdict(row: Mapping[str, Any], candidate: str) -> str:
    value = row["reached"][candidate]
    if value is None:
        return "not measured"
    first, third = row.get("quartiles", {}).get(candidate, (value, value))  # results of older versions have none
    figure = _spread((first, value, third)) if row["against"] else f"{value:.3g}"
    return figure + (" reached" if row["met"][candidate] else " MISSED")


def scenario_text(result: Result, heading: str = "##") -> str:
    """All that is to say of one scenario, in Markdown."""
    lengths = Lengths(result["settings"]["seconds"], result["settings"]["quick"])
    scenario: Scenario = SCENARIOS[result["scenario"]](lengths)
    parts = [f"{heading} {scenario.name}", result["about"]]
    if lengths.quick:
        parts.append("A quick run: the figures mean nothing.")
    parts += [
        variant_table(result, variant, variant.metrics or scenario.metrics)
        for variant in scenario.variants if variant.name in result["variants"]
    ]  # fmt: skip
    if result["targets"]:
        parts.append(targets_table(result))
    notes = [f"- Not in it: {name}: {reason}." for name, reason in result["left_out"].items()]
    notes += [f"- FAILED: {failure}" for failure in result["failures"]]
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts) + "\n"


def machine_text(machine: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in machine.items() if value is not None)


_HOW_TO_READ = (
    "Written by `python -m benchmarks`: of each figure the median of all runs, in brackets the least and the greatest; "
    "of each ratio the median of the ratios within rounds, in brackets their quartiles. "
    '"Peer busy" is how much of its time the peer\'s busiest thread ran: near 1, the peer may be the bottleneck.'
)


def page(results: Sequence[Result], charts: Iterable[str]) -> str:
    """README.md of a folder of results. The machine is that of the newest; each JSON has its own."""
    newest = max(results, key=lambda result: result["date"])
    drawn = set(charts)
    parts = [
        "# Results",
        _HOW_TO_READ,
        f"Measured on {newest['date']} with:\n\n{machine_text(newest['machine'])}",
    ]
    for result in sorted(results, key=lambda result: list(SCENARIOS).index(result["scenario"])):
        parts.append(scenario_text(result).rstrip())
        if f"{result['scenario']}.svg" in drawn:
            parts.append(f"![{result['scenario']}]({result['scenario']}.svg)")
    return "\n\n".join(parts) + "\n"
