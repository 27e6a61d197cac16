"""Mistakes in the C++ core and its Cython side, beside those that the explorer finds (tests/core)."""

from __future__ import annotations

from .mutant import Mutant

STEPS = "test_core.py -k 'steps and plain'"


def _in(file: str, tests: str, engine: str, *mistakes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(f"_engine/{file}", old, new, tests, engine) for old, new in mistakes]


MUTANTS = _in(
    "core_waiting.hpp", STEPS, "",
    ("if (milliseconds != 0) count(wakeups);", "count(wakeups);"),
    ("int(std::ceil(timeout * 1000))", "int(timeout * 1000)"),
    ("            drain();\n", ""),
    ("            numbers_.erase(numbers_.begin() + i);\n", ""),
    ("        if (!inbox_.sleep()) timeout = 0;", "        if (!inbox_.sleep()) timeout = -1;"),
    ("        inbox_.wake_up();\n", ""),
    ("            inbox_.rest(false);", ""),
    ("                looking.found();\n", ""),
    ("        numbers_.clear();\n", ""),
) + _in(
    "core_inbox.hpp", STEPS, "",
    ("resting_.load() && !any_.load() && !mail_.load();", "resting_.load() && !any_.load();"),
    ("resting_.load() && !any_.load() && !mail_.load();", "resting_.load() && !mail_.load();"),
    ("return mail_.load() && mail_.exchange(false);", "return mail_.load();"),
    ("        return std::exchange(all_, false);", "        return false;"),
    ("        if (asleep_.load() && asleep_.exchange(false)) ringer_.ring();", "        if (asleep_.load()) ringer_.ring();"),
    ("return any_.load() || mail_.load();", "return mail_.load();"),
)  # fmt: skip
