"""One SVG for each scenario: bars are medians, whiskers the least and the greatest. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .scenarios import (
    ASYNCIO,
    BLOCKING,
    CANDIDATES,
    CPP,
    GREEN,
    NATIVE,
    NO_PUSH,
    PYTHON,
    SCENARIOS,
    SOCKETS,
    Lengths,
    Metric,
    Scenario,
)  # fmt: skip

# the same in all charts; ours stand out
COLOURS = {
    NATIVE: "#1b7f3b", PYTHON: "#8fc79f", GREEN: "#d95f02", BLOCKING: "#7570b3",
    ASYNCIO: "#e6ab02", CPP: "#666666", NO_PUSH: "#bbbbbb", SOCKETS: "#e7298a",
}  # fmt: skip


def draw(result: Mapping[str, Any], file: Path) -> None:
    """:raises ImportError: there is no matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    lengths = Lengths(result["settings"]["seconds"], result["settings"]["quick"])
    scenario = SCENARIOS[result["scenario"]](lengths)
    with matplotlib.rc_context({"svg.hashsalt": "zgreen", "svg.fonttype": "none", "font.size": 9}):
        # the same figures give the same file
        figure, axes = pyplot.subplots(len(scenario.charts), 1, figsize=(9, 2.9 * len(scenario.charts)), squeeze=False)
        for axis, key in zip(axes[:, 0], scenario.charts, strict=True):
            _bars(axis, result, scenario, key)
        handles: dict[str, Any] = {}
        for axis in axes[:, 0]:
            bars, labels = axis.get_legend_handles_labels()
            handles.update(zip(labels, bars, strict=True))
        order = [name for name in CANDIDATES if name in handles]
        figure.legend([handles[name] for name in order], order, loc="upper center", ncols=7, frameon=False)
        figure.suptitle(_title(result), y=0.03, fontsize=8, color="#555555")
        figure.tight_layout(rect=(0, 0.04, 1, 1 - 0.3 / figure.get_size_inches()[1]))
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _title(result: Mapping[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    return (
        f"{result['scenario']}: medians and extremes of {settings['rounds']} rounds; {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['python']}, libzmq {machine['libzmq']}"
    )


def _metric(scenario: Scenario, key: str) -> Metric:
    metrics = [*scenario.metrics, *(metric for variant in scenario.variants for metric in variant.metrics)]
    return next(metric for metric in metrics if metric.key == key)


def _bars(axis: Any, result: Mapping[str, Any], scenario: Scenario, key: str) -> None:
    """A group for each variant that has this metric, in it a bar for each candidate."""
    measured = result["variants"]
    groups = [
        variant.name for variant in scenario.variants
        if any(key in candidate["summary"] for candidate in measured.get(variant.name, {}).values())
    ]  # fmt: skip
    names = [name for name in CANDIDATES if any(key in _summary(measured, group, name) for group in groups)]
    width = 0.8 / max(1, len(names))
    for place, name in enumerate(names):
        points = [(x, _summary(measured, group, name)[key]) for x, group in enumerate(groups)
                  if key in _summary(measured, group, name)]  # fmt: skip
        middles = [figures["median"] for _, figures in points]
        spread = [[f["median"] - f["min"] for _, f in points], [f["max"] - f["median"] for _, f in points]]
        left = [x - 0.4 + width * (place + 0.5) for x, _ in points]
        axis.bar(left, middles, width * 0.92, yerr=spread, label=name, color=COLOURS[name],
                 error_kw={"elinewidth": 0.8, "ecolor": "#222222"})  # fmt: skip
    metric = _metric(scenario, key)
    axis.set_xticks(range(len(groups)), groups)
    values = [_summary(measured, group, name).get(key, {}).get("median", 0) for group in groups for name in names]
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 30 * min(positive):
        axis.set_yscale("log")
        axis.set_ylim(bottom=min(positive) / 3)  # the least of them is a bar too
    scale = ", log scale" if axis.get_yscale() == "log" else ""
    axis.set_ylabel(f"{metric.title} ({metric.better} is better{scale})", fontsize=8)
    axis.grid(axis="y", color="#dddddd", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _summary(measured: Mapping[str, Any], variant: str, candidate: str) -> Mapping[str, Any]:
    summary: Mapping[str, Any] = measured.get(variant, {}).get(candidate, {}).get("summary", {})
    return summary
