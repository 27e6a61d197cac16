"""What a command is, the parser of its arguments, and the types of arguments that several commands have."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import zgreen
from zgreen.cli import output

ENDPOINT = "ENDPOINT"
_TRANSPORTS = ("tcp", "ipc", "ws", "wss", "udp", "pgm", "epgm", "tipc", "vmci")


class Usage(Exception):
    """What was typed cannot be; the text says why. The exit status is 2."""


class Failed(Exception):
    """The command cannot go on; the text says why. The exit status is 1."""


@dataclass(frozen=True)
class Command:
    """One command.

    *help* is one line for lists; *operands* are the arguments that are no options, for the usage line; *examples* are
    pairs of a command line and what it does, the smallest first; *as_json* says what ``--json`` changes; *waits* is
    false for a command that never lets the gevent loop run, see `ending`.
    """

    name: str
    help: str
    operands: str
    description: str
    examples: tuple[tuple[str, str], ...]
    as_json: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    waits: bool = True


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps descriptions, but leaves the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Parser(argparse.ArgumentParser):
    """argparse's, but an error is an exception, and nothing may be abbreviated."""

    def __init__(self, prog: str, operands: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog, f"%(prog)s [OPTION ...] {operands}".rstrip(), description, epilog,
            formatter_class=_Help, add_help=False, allow_abbrev=False,
        )  # fmt: skip

    def offer_help(self) -> None:
        """Add ``--help``: behind all other options."""
        self.add_argument("-h", "--help", action="help", help="show this text and exit")

    def error(self, message: str) -> NoReturn:
        raise Usage(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own says nothing of a standard output that cannot be written to."""
        if message and file is sys.stdout:
            output.write(message)
        elif message:
            sys.stderr.write(message)


def parser_of(command: Command, program: str) -> Parser:
    """The parser of *command*, which is called as a command of *program*."""
    return parser_called(command, f"{program} {command.name}")


def parser_called(command: Command, prog: str) -> Parser:
    """The parser of *command*, which is called *prog*."""
    lines = [f"  {prog} {line}".rstrip() + f"\n      {text}" for line, text in command.examples]
    parser = Parser(prog, command.operands, command.description, "examples:\n" + "\n".join(lines))
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help=command.as_json)
    parser.offer_help()
    return parser


def make_pump(name: str) -> zgreen.Pump:
    """A pump for one command; an engine that is not there is no reason for a traceback."""
    try:
        return zgreen.Pump(name)
    except (ValueError, ImportError) as error:
        raise Failed(str(error)) from error


# -- types of arguments: the text of the error names what was wrong and what to give


def number_from(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type: a whole number, *least* or more."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < least or (most is not None and value > most):
            wanted = f"{least} or more" if most is None else f"a number from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{value} is not possible: give {wanted}")
        return value

    return parse


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{value} is not finite")
    return value


def positive(text: str) -> float:
    """A type: a finite number above 0."""
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not possible: give a number above 0")
    return value


def seconds(text: str) -> float:
    """A type: a finite number, 0 or more."""
    value = _finite(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not possible: give 0 or more")
    return value


def endpoint(text: str) -> str:
    """A type: what has the form of a ZeroMQ endpoint that another process can be at."""
    transport, colon, place = text.partition("://")
    if transport == "inproc" and colon:
        raise argparse.ArgumentTypeError(
            f"{text!r} is within one process, and so of no use here: give tcp:// or ipc://"
        )
    if transport not in _TRANSPORTS or not place:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no endpoint: give one like tcp://127.0.0.1:5555 or ipc:///path/of/a/socket"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no text in UTF-8") from None
    return text


def folder(text: str) -> Path:
    """A type: a folder, which need not be there."""
    return Path(text)
