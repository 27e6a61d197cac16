"""The commands, and the way from what was typed to an exit status: 0 done, 1 something failed or was lost, 2 wrong
usage, 130 Ctrl-C, 143 SIGTERM."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from collections.abc import Sequence

import zmq

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.command import Command, Failed, Parser, Usage, parser_called

VERSION = f"zgreen {zgreen.__version__}"

# the module of this package whose COMMANDS have the command; it is imported when it is needed
_MODULES = {
    "pub": "client.sending", "sub": "client.receiving", "push": "client.sending", "pull": "client.receiving",
    "req": "client.asking", "rep": "client.answering", "monitor": "client.watching",
    "demo": "demo", "live": "live", "bench": "bench", "proxy": "proxy", "keygen": "keygen", "info": "info",
    "completion": "completion",
}  # fmt: skip
NAMES = tuple(_MODULES)

_EPILOG = (
    "Each command has --help and --json. Exit status: 0 done, 1 something failed or was lost, 2 wrong usage, 130 ended "
    "by Ctrl-C, 143 ended by SIGTERM (live and proxy have no other end: 0)."
)


def command(name: str) -> Command:
    """The command of that name."""
    found: tuple[Command, ...] = importlib.import_module(f"zgreen.cli.{_MODULES[name]}").COMMANDS
    return next(one for one in found if one.name == name)


def commands() -> list[Command]:
    """All commands."""
    return [command(name) for name in NAMES]


def main(argv: Sequence[str] | None, prog: str, only: str | None = None) -> int:
    """Run the command that *argv* names first, or *only* that one; return the exit status of the process."""
    try:
        ending.at_once()
        return _status(list(sys.argv[1:] if argv is None else argv), prog, only)
    except ending.Told as told:  # while _status dealt with something else
        return told.status
    finally:
        ending.by_itself()


def _status(given: list[str], prog: str, only: str | None) -> int:
    """Run, and turn each way in which that may end into an exit status and at most one line."""
    output.occupy_closed()
    called = prog
    try:
        name = only or _choose(given, prog)
        if only is None:
            called, given = f"{prog} {name}", given[1:]
        status = _run(command(name), called, given)
        output.flush()
        return status
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    except ending.Told as told:
        return told.status
    except Usage as error:
        output.say(f"{called}: {error}; see '{called} --help'")
        return 2
    except BrokenPipeError:  # the reader of standard output has left, as `head` does
        output.give_up_stdout()
        return 1
    except (Failed, OSError, zmq.ZMQError, zgreen.ZgreenError) as error:
        output.say(f"{called}: {output.words(error)}")
        if isinstance(error, OSError) and error.filename == output.STDOUT:
            output.give_up_stdout()
        return 1


def _run(chosen: Command, called: str, given: list[str]) -> int:
    with ending.at_waits() if chosen.waits else contextlib.nullcontext():
        # intermixed: else no MESSAGE could follow an option
        arguments = parser_called(chosen, called).parse_intermixed_args(given)
        arguments.called = called  # for errors, and for what else names the command
        return chosen.run(arguments)


def _choose(given: list[str], prog: str) -> str:
    """The name of the command; what is none is dealt with here."""
    if given and given[0] in NAMES:
        return given[0]
    top = parser_of_all(prog)
    if not given:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    if given[0].startswith("-"):
        top.parse_args(given)
    near = difflib.get_close_matches(given[0], NAMES, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
    raise Usage(f"there is no command {given[0]!r}: {hint}")


def parser_of_all(prog: str) -> Parser:
    """The parser of what stands where a command should; its help lists the commands."""
    top = Parser(prog, "COMMAND ...", "ZeroMQ sockets behind gevent queues.", _EPILOG)
    group = top.add_argument_group("commands")
    for one in commands():
        group.add_argument(one.name, help=one.help, nargs="?")
    top.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    top.offer_help()
    return top
