"""Writes a CURVE key pair as certificate files that pyzmq reads, for ``zgreen keygen``. Needs nothing of zgreen's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import zmq

_PUBLIC = "# CURVE public certificate: give it to those who are to know this key.\n"
_SECRET = "# CURVE secret certificate: keep it to yourself.\n"


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
