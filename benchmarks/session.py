"""A session of measurements: zgreen and what a user would take instead, in alternation, each run in fresh processes.

``zgreen bench`` is its command line, and so is ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import charts, compiler, machine, processes, report, runner
from .progress import Steps
from .scenarios import ALL, CANDIDATES, CPP, ENGINES, NATIVE, SCENARIOS, SLEEPING, Lengths, Scenario, Variant

RESULTS = Path(__file__).with_name("results")


def prepare(options: argparse.Namespace) -> None:
    """Fill in what was left out of the options of ``zgreen bench``, and say in ``chosen`` what is measured.

    :raises ValueError: there is no such scenario, variant or candidate.
    """
    options.rounds = options.rounds or (1 if options.quick else 5)
    if options.most_rounds is None:
        options.most_rounds = 30 if options.against else options.rounds * (1 if options.quick else 2)
    options.seconds = options.seconds or (0.05 if options.quick else 0.5)
    unknown = [name for name in options.candidates if name not in CANDIDATES]
    if unknown:
        raise ValueError(f"no candidate {', '.join(unknown)}; there are {', '.join(CANDIDATES)}")
    options.chosen = choose(options.scenarios, Lengths(options.seconds, options.quick))
    parts = options.candidates or any("/" in word for word in options.scenarios)
    whole = not (options.quick or options.loaded or parts)
    options.output = options.output or (RESULTS if whole else None)


def choose(words: list[str], lengths: Lengths) -> list[Scenario]:
    """``push/100-greenlets pull`` as scenarios."""
    wanted: dict[str, list[str]] = {}
    for word in words or SCENARIOS:
        name, _, variant = word.partition("/")
        wanted.setdefault(name, []).append(variant)
    unknown = sorted(set(wanted) - set(SCENARIOS))
    if unknown:
        raise ValueError(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    scenarios = []
    for name, variants in wanted.items():
        scenario = SCENARIOS[name](lengths)
        known = {variant.name: variant for variant in scenario.variants}
        missing = [variant for variant in variants if variant and variant not in known]
        if missing:
            raise ValueError(f"{name} has no variant {', '.join(missing)}; it has {', '.join(known)}")
        if "" not in variants:
            scenario = replace(scenario, variants=tuple(known[variant] for variant in dict.fromkeys(variants)))
        scenarios.append(scenario)
    return scenarios


class Session:
    """All that the runs of one call share: the programs, and which candidates take part, or why not."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.left_out: dict[str, str] = {}
        self._peer = runner.python("peer")
        try:
            self._peer = compiler.build(folder)
            self._program = self._peer
        except compiler.NotAvailable as error:
            self.left_out[CPP] = runner.without_folders(str(error))
            self._program = []
        for name, engine in ENGINES.items():
            reason = runner.probe(engine)
            if reason is not None:
                self.left_out[name] = reason
        self.machine = machine.describe()
        self.machine["peer"] = "Python" if CPP in self.left_out else "C++"

    def steps(self) -> int:
        """How many runs there are at least."""
        return self.options.rounds * sum(len(self.taking_part(v)) for s in self.options.chosen for v in s.variants)

    def taking_part(self, variant: Variant) -> list[str]:
        wanted = self.options.candidates or CANDIDATES
        there = list(variant.candidates)
        if NATIVE in there and SLEEPING in self.options.candidates and SLEEPING not in there:
            there.append(SLEEPING)
        return [name for name in there if name in wanted and name not in self.left_out]

    def run(self, scenario: Scenario, variant: Variant, name: str, ahead: Path | None = None) -> dict[str, float]:
        """One run; what it measured. *ahead*: where the candidate looks for zgreen first."""
        module, extra = CANDIDATES[name]
        options = {**variant.options, **extra}
        if name == CPP:
            options.update(program=self._program[0], zmq=self._program[1].removeprefix("zmq="))
        function = variant.function or scenario.name
        candidate = (runner.python(f"candidates.{module}", ahead), options)
        peer = runner.python(variant.peer_module) if variant.peer_module else self._peer
        return scenario.measure(runner.run(candidate, (peer, variant.peer), function))

    def measure(self, scenario: Scenario, progress: Steps) -> dict[str, Any]:
        """All rounds of a scenario, beside a load if one is asked for."""
        with processes.busy_cores() if self.options.loaded else contextlib.nullcontext():
            return self._rounds(scenario, progress)

    def _rounds(self, scenario: Scenario, progress: Steps) -> dict[str, Any]:
        """All rounds, in alternation: whatever else the machine does meets all candidates alike.

        A variant whose ratios are too far apart after that gets more rounds.
        """
        runs: dict[str, dict[str, list[dict[str, float]]]] = {
            variant.name: {name: [] for name in self.taking_part(variant)} for variant in scenario.variants
        }
        failures: list[str] = []
        for turn in range(self.options.most_rounds):
            for variant in scenario.variants:
                measured = runs[variant.name]
                if turn >= self.options.rounds and self._are_narrow(scenario, variant, measured):
                    continue
                for name, each in measured.items():
                    progress.step(scenario.name, f"{variant.name}, {name}")
                    try:
                        each.append(self.run(scenario, variant, name))
                    except (runner.RunFailed, ValueError) as error:
                        each.append({})  # so that the runs of a round stand at the same place in all lists
                        failures.append(f"{variant.name}, {name}, round {turn + 1}: {error}")
        return self._result(scenario, runs, failures)

    def _are_narrow(self, scenario: Scenario, variant: Variant, measured: dict[str, Any]) -> bool:
        """Whether each engine's ratios to what it is compared with, by the first metric, lie close together."""
        key = (variant.metrics or scenario.metrics)[0].key
        others = {target.against for target in scenario.targets if target.variant == variant.name} & set(measured)
        return all(
            report.is_narrow(report.ratios(measured[ours], measured[other], key), self.options.width)
            for ours in ENGINES if ours in measured for other in others
        )  # fmt: skip

    def _result(self, scenario: Scenario, runs: dict[str, Any], failures: list[str]) -> dict[str, Any]:
        listed = {name for variant in scenario.variants for name in variant.candidates} | set(ALL)
        left_out = {name: reason for name, reason in self.left_out.items() if name in listed}
        result = {
            "scenario": scenario.name,
            "about": scenario.about,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "machine": self.machine,
            "settings": {key: getattr(self.options, key) for key in ("rounds", "seconds", "quick", "loaded")},
            "left_out": {**scenario.notes, **left_out},
            "failures": failures,
            "variants": {
                variant: {name: {"runs": each, "summary": report.summarize(each)} for name, each in candidates.items()}
                for variant, candidates in runs.items()
            },
        }
        chosen = set(result["variants"])
        targets = [target for target in scenario.targets if target.variant in chosen]
        return {**result, "targets": report.target_rows(result, targets)}


def write(result: dict[str, Any], folder: Path) -> str | None:
    """JSON, chart and page; why there is no chart, if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result['scenario']}.json").write_text(json.dumps(result, indent=1) + "\n")
    missing = None
    try:
        charts.draw(result, folder / f"{result['scenario']}.svg")
    except ImportError as error:
        missing = f"no chart: {error} (pip install 'zgreen[bench]')"
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    (folder / "README.md").write_text(report.page(results, [file.name for file in folder.glob("*.svg")]))
    return missing
