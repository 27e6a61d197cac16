"""The commands that work without the extra, with argparse; what to install for the others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from zgreen import __version__, _proxy_command, keygen
from zgreen.demo import supervisor

VERSION = f"zgreen {__version__}"
DESCRIPTION = "ZeroMQ sockets behind gevent queues."
NEEDED = "needs click and rich: pip install 'zgreen[cli]'"


class Command(NamedTuple):
    """A command: what it is for, in one line and in full, its options, and what runs."""

    help: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = {
    "demo": Command(
        "run a WSGI server, a worker and a client for a while, and count what was lost",
        supervisor.DESCRIPTION, supervisor.add_arguments, supervisor.run,
    ),
    "keygen": Command(
        "write a CURVE key pair as two certificate files", keygen.DESCRIPTION, keygen.add_arguments, keygen.run
    ),
    "proxy": Command(
        "pass messages between a frontend and a backend",
        _proxy_command.DESCRIPTION, _proxy_command.add_arguments, _proxy_command.run,
    ),
}  # fmt: skip

# those of app.py
MORE = {
    "live": "serve a page that shows the messages of a publisher as they come",
    "bench": "measure zgreen and what else there is",
    "info": "show versions, engine, libzmq's capabilities and limits",
}


def parser(name: str, prog: str) -> argparse.ArgumentParser:
    """The parser of one of COMMANDS."""
    made = argparse.ArgumentParser(f"{prog} {name}", description=COMMANDS[name].description)
    COMMANDS[name].add_arguments(made)
    return made


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run one command; return the exit status of the process."""
    top = argparse.ArgumentParser(prog, description=DESCRIPTION, epilog=f"What is in brackets {NEEDED}")
    top.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.description)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    for name, text in MORE.items():
        commands.add_parser(name, help=f"[{text}]")  # to be listed; see refuse
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in MORE:
        refuse(given[0], prog)
    arguments = top.parse_args(given)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # whoever read what we print has left; Python's own flush at the end must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def refuse(name: str, prog: str) -> NoReturn:
    """Say what *name* needs, and end."""
    sys.stderr.write(f"{prog} {name} {NEEDED}\n")
    sys.exit(2)
