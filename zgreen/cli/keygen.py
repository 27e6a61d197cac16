"""``zgreen keygen``: a CURVE key pair as two certificate files."""

from __future__ import annotations

import argparse
from pathlib import Path

from zgreen import keygen
from zgreen.cli import output
from zgreen.cli.command import Command, Failed, folder


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what the files are called")
    parser.add_argument(
        "--directory", metavar="DIRECTORY", type=folder, default=Path(),
        help="where to write; made, for you alone, if missing (default: the current one)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the files if they are there")


def _run(arguments: argparse.Namespace) -> int:
    try:
        public, secret = keygen.write_key_pair(arguments.directory, arguments.name, force=arguments.force)
    except ValueError as error:
        raise Failed(str(error)) from error
    if arguments.json:
        output.as_json({"public": str(public), "secret": str(secret)})
    else:
        output.write(f"{public}\n{secret}\n")
    return 0


COMMANDS = (
    Command(
        "keygen",
        "write a CURVE key pair as two certificate files",
        "NAME",
        "Write a new CURVE key pair as two files: NAME.key (the public key, to be given to the other side) and "
        "NAME.key_secret (both keys, readable by you alone). Prints their paths.",
        (
            ("server", "writes server.key and server.key_secret into the current directory"),
            ("--directory keys client-1", "writes them into keys"),
        ),
        "print the paths as JSON",
        _add_arguments,
        _run,
        waits=False,
    ),
)
