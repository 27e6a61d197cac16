"""How results are shown: a table on a terminal, plain lines elsewhere, JSON if asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Rows = Sequence[Sequence[str]]


def terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """rich's, without its reading of markup: what is shown may come from anywhere."""
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr)


def as_json(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, indent=None if not terminal() else 2) + "\n")


def table(title: str, columns: Sequence[str], rows: Rows, figures: int = 0) -> None:
    """A table; *figures*: how many columns after the first hold numbers. Columns without names have no head."""
    right = [0 < number <= figures for number in range(len(columns))]
    if not terminal():
        sys.stdout.write(_plain(title, columns, rows, right))
        return
    made = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column, is_figure in zip(columns, right, strict=True):
        made.add_column(column, justify="right" if is_figure else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    console().print(made)


def _plain(title: str, columns: Sequence[str], rows: Rows, right: Sequence[bool]) -> str:
    head = [columns] if any(columns) else []
    widths = [max(len(row[number]) for row in [*head, *rows]) for number in range(len(columns))]
    lines = [title]
    for row in [*head, *rows]:
        cells = [c.rjust(w) if figure else c.ljust(w) for c, w, figure in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(line.rstrip() for line in lines) + "\n\n"
