"""``python -m zgreen keygen``: a CURVE key pair as certificate files that pyzmq reads. Needs nothing of zgreen's."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

import zmq

DESCRIPTION = (
    "Write a new CURVE key pair as two files: NAME.key (the public key, to be given to the other side) and "
    "NAME.key_secret (both keys, readable by you alone)."
)

_PUBLIC = "# CURVE public certificate: give it to those who are to know this key.\n"
_SECRET = "# CURVE secret certificate: keep it to yourself.\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="what the files are called")
    parser.add_argument(
        "--directory", metavar="D", type=Path, default=Path(), help="where to write; made, for you alone, if missing"
    )
    parser.add_argument("--force", action="store_true", help="replace the files if they are there")
    parser.add_argument("--json", action="store_true", help="print the paths as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, print their paths; return the exit status: 1, and nothing written, if they cannot be."""
    try:
        paths = write_key_pair(arguments.directory, arguments.name, force=arguments.force)
    except (OSError, ValueError, zmq.ZMQError) as error:
        sys.stderr.write(f"keygen: {error}\n")
        return 1
    if arguments.json:
        sys.stdout.write(json.dumps(dict(zip(("public", "secret"), map(str, paths), strict=True))) + "\n")
    else:
        sys.stdout.write("".join(f"{path}\n" for path in paths))
    return 0


def write_key_pair(directory: Path, name: str, *, force: bool = False) -> tuple[Path, Path]:
    """Write a new pair; return the paths of the public and the secret file.

    The secret file is never readable by others, not even while it is written.

    :raises ValueError: *name* is no plain file name.
    :raises FileExistsError: one of the files is there, and not *force*; nothing is written then.
    :raises OSError: they cannot be written, and nothing has changed.
    :raises zmq.ZMQError: this libzmq has no CURVE.
    """
    if not name or name.startswith(".") or name != os.path.basename(name) or "\0" in name:
        raise ValueError(f"NAME must be a plain file name, not {name!r}")
    public_path, secret_path = directory / f"{name}.key", directory / f"{name}.key_secret"
    if not force:
        for path in (public_path, secret_path):
            if os.path.lexists(path):
                raise FileExistsError(f"{path} is there already (--force replaces it)")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    lines = f'metadata\ncurve\n    public-key = "{public}"\n'
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as undo:
        for path, text, mode in (
            (secret_path, f'{_SECRET}{lines}    secret-key = "{secret}"\n', 0o600),
            (public_path, f"{_PUBLIC}{lines}", 0o644),
        ):
            target = _beside(path, "new") if force else path
            _write(target, text, mode)
            undo.callback(target.unlink, missing_ok=True)
        if force:
            _replace(public_path, secret_path)
        undo.pop_all()
    return public_path, secret_path


def _write(path: Path, text: str, mode: int) -> None:
    """A new file of this *mode* (less what the umask forbids) from its first moment; whole or not at all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _replace(*paths: Path) -> None:
    """Have the new file beside each take its place; all or none. The old ones may have other modes, or be links."""
    with contextlib.ExitStack() as undo:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError(f"{path} is a directory")
            if os.path.lexists(path):
                os.replace(path, _beside(path, "old"))
                undo.callback(os.replace, _beside(path, "old"), path)
            else:
                undo.callback(path.unlink, missing_ok=True)
            os.replace(_beside(path, "new"), path)
        undo.pop_all()
    for path in paths:
        _beside(path, "old").unlink(missing_ok=True)


def _beside(path: Path, what: str) -> Path:
    """In the same directory, so that a rename is enough; ours alone."""
    return path.with_name(f"{path.name}.{os.getpid()}.{what}")
