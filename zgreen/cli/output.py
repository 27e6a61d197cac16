"""How results and errors are shown: tables on a terminal, else plain lines, JSON if asked for; errors as a line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Rows = Sequence[Sequence[str]]

STDIN, STDOUT = "standard input", "standard output"


def terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def has_rich() -> bool:
    """Whether rich is installed."""
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        return False
    return True


def console(*, stderr: bool = False) -> Console:
    """rich's, without its reading of markup: what is shown may come from anywhere."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, stderr=stderr)


def write(text: str) -> None:
    """Write to standard output, and do not keep it; an OSError names standard output."""
    with _naming_stdout():
        sys.stdout.write(text)
        sys.stdout.flush()


def as_json(value: Any) -> None:
    """One JSON document."""
    write(json.dumps(value, indent=None if not terminal() else 2) + "\n")


def table(title: str, columns: Sequence[str], rows: Rows, figures: int = 0) -> None:
    """A table; *figures*: how many columns after the first hold numbers. Columns without names have no head."""
    right = [0 < number <= figures for number in range(len(columns))]
    if not terminal() or not has_rich():
        write(_plain(title, columns, rows, right))
        return
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column, is_figure in zip(columns, right, strict=True):
        made.add_column(column, justify="right" if is_figure else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    with _naming_stdout():
        console().print(made)
        sys.stdout.flush()


def _plain(title: str, columns: Sequence[str], rows: Rows, right: Sequence[bool]) -> str:
    head = [columns] if any(columns) else []
    widths = [max(len(row[number]) for row in [*head, *rows]) for number in range(len(columns))]
    lines = [title]
    for row in [*head, *rows]:
        cells = [c.rjust(w) if figure else c.ljust(w) for c, w, figure in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(line.rstrip() for line in lines) + "\n\n"


# -- errors


def say(line: str) -> None:
    """A line on standard error; nothing, if that cannot be written to."""
    with contextlib.suppress(OSError):
        sys.stderr.write(" ".join(line.splitlines()) + "\n")
        sys.stderr.flush()


def count(number: int, noun: str) -> str:
    """A number and what is counted, as ``1 message`` and ``1,234 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def words(error: BaseException) -> str:
    """An error in words: what it is about, and what is wrong; without numbers of errors."""
    if not isinstance(error, OSError) or not error.strerror:
        text = str(error) or type(error).__name__
        return re.sub(r"^(.*) \(addr=(['\"])(.*)\2\)$", r"\3: \1", text)  # pyzmq's, of bind and connect
    if error.errno == errno.EBADF and error.filename in (STDOUT, STDIN):
        return f"{error.filename} is closed"
    return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror


# -- standard streams that are closed, or full


def occupy_closed() -> None:
    """Have something stand where a standard stream was closed when the process began: the next file that is opened
    would get its number, and what is written there. Reading or writing it is an error, but for standard error."""
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def flush() -> None:
    """Write what is left for standard output; an OSError names it."""
    with _naming_stdout():
        sys.stdout.flush()


def give_up_stdout() -> None:
    """What is left for standard output goes nowhere: Python writes it at the exit, and must not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextlib.contextmanager
def _naming_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = STDOUT
        raise
