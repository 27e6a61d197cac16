"""Mistakes planted in the text of a source file, for tests of the tests.

A file of mistakes has any text, then for each of them:

    === its name: the scenarios that must find it
    --- a source file
    lines of it
    +++
    what stands there instead

with further "---" and "+++" if it takes several changes. Lines are found whatever their indentation and comments.
Where they are no longer there, once, the mistake must be planted anew: that fails.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """Lines of a source file, and those in their place."""

    file: str
    old: list[str]
    new: list[str]


class Mistake(NamedTuple):
    """One mistake, and the scenarios that must find it."""

    name: str
    scenarios: list[str]
    changes: list[Change]


def read_mistakes(path: Path) -> list[Mistake]:
    """Read all mistakes of a file."""
    mistakes: list[Mistake] = []
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("=== "):
            name, _, scenarios = line[4:].partition(": ")
            mistakes.append(Mistake(name, scenarios.split(), []))
            lines = []
        elif line.startswith("--- "):
            lines = []
            mistakes[-1].changes.append(Change(line[4:], lines, []))
        elif line == "+++":
            lines = mistakes[-1].changes[-1].new
        elif line.strip():
            lines.append(line)
    assert mistakes, path
    return mistakes


def _code(line: str) -> str:
    """A line without its indentation and comment."""
    return re.sub(r"(^|\s)\s*(//|#(?!include)).*", "", line).strip()


def places(source: list[str], old: list[str]) -> list[tuple[int, int]]:
    """Where in *source* the lines *old* stand: from one line to before another."""
    code = [(number, text) for number, line in enumerate(source) if (text := _code(line))]
    wanted = [text for line in old if (text := _code(line))]
    last = len(wanted) - 1
    return [
        (code[i][0], code[i + last][0] + 1)
        for i in range(len(code) - last)
        if [text for _, text in code[i : i + last + 1]] == wanted
    ]


def fits(sources: dict[str, str], mistake: Mistake) -> bool:
    """Whether each place of the *mistake* is there, once."""
    return all(len(places(sources[file].splitlines(), old)) == 1 for file, old, _ in mistake.changes)


def check(sources: dict[str, str], mistake: Mistake) -> None:
    """Fail unless the *mistake* fits."""
    for file, old, _ in mistake.changes:
        count = len(places(sources[file].splitlines(), old))
        text = "\n".join(old)
        assert count == 1, f"{mistake.name}: {file} must have this once, not {count} times; plant it anew:\n{text}"


def with_mistake(sources: dict[str, str], mistake: Mistake) -> dict[str, str]:
    """*sources* with the *mistake*, in the indentation of the lines that it replaces."""
    check(sources, mistake)
    made = dict(sources)
    for file, old, new in mistake.changes:
        lines = made[file].splitlines()
        [(start, end)] = places(lines, old)
        indentation = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        lines[start:end] = textwrap.indent(textwrap.dedent("\n".join(new)), indentation).splitlines()
        made[file] = "\n".join(lines) + "\n"
    return made


def with_switches(sources: dict[str, str], mistakes: Iterable[Mistake], condition: str) -> dict[str, str]:
    """C++ *sources* in which each mistake that fits, numbered from 1, is made where *condition* (a format) holds.

    So the compiler runs once for all of them. What stands in place of lines is a sequence of statements or, where it
    says {planted}, text that holds the right and the wrong and chooses by that.
    """
    made = dict(sources)
    changes = [
        (condition.format(number), change)
        for number, mistake in enumerate(mistakes, 1)
        if fits(sources, mistake)
        for change in mistake.changes
    ]
    # The longest first: a shorter one may be planted within the lines that stay right, those after "else".
    for planted, (file, old, new) in sorted(changes, key=lambda item: -len(item[1].old)):
        lines = made[file].splitlines()
        start, end = places(lines, old)[-1]
        if any("{planted}" in line for line in new):
            lines[start:end] = [line.replace("{planted}", planted) for line in new]
        else:
            lines[start:end] = [f"if ({planted}) {{", *new, "} else {", *lines[start:end], "}"]
        made[file] = "\n".join(lines) + "\n"
    return made
