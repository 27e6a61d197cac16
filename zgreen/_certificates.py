"""A directory of CURVE certificates: the public keys in it, read again when it has changed. The hub's thread alone."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path
from typing import TypeAlias

import zmq.auth
from zmq.utils import z85

logger = logging.getLogger("zgreen.auth")

SUFFIX = ".key"
_RACY = 2_000_000_000  # nanoseconds; a directory changed within that before it was read may change again unseen

_Sign: TypeAlias = "tuple[int, ...]"  # what tells that a file has changed


class Certificates:
    """The public keys in the ``*.key`` files of a directory."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NotADirectoryError(f"no directory of keys: {os.fspath(path)!r}")
        self._path = path
        self._files: dict[str, tuple[_Sign, bytes | None]] = {}  # by name; None: there is no key in it
        self._keys: frozenset[bytes] = frozenset()
        self._state: _Sign | None = None  # of the directory when it was read; None: it must be read
        self.read()

    def forget(self) -> None:
        """Have the next :meth:`read` read all files."""
        self._state = None
        self._files.clear()

    def read(self) -> frozenset[bytes]:
        """The keys, each 40 bytes of Z85.

        :raises OSError: the directory cannot be read.
        """
        status = self._path.stat()  # before the files: a change in between then counts as one that is to come
        state = (status.st_mtime_ns, status.st_ino, status.st_dev)
        if state != self._state:
            settled = time.time_ns() - status.st_mtime_ns > _RACY
            self._scan()
            self._state = state if settled else None
        return self._keys

    def _scan(self) -> None:
        """Look at all files, and read those that are new or have changed."""
        with os.scandir(self._path) as entries:
            self._files = {entry.name: self._look(entry) for entry in entries if entry.name.endswith(SUFFIX)}
        self._keys = frozenset(key for _, key in self._files.values() if key is not None)

    def _look(self, entry: os.DirEntry[str]) -> tuple[_Sign, bytes | None]:
        """One file. Whatever is wrong with it is logged once, and leaves out this file alone."""
        try:
            status = entry.stat()
            sign: _Sign = (status.st_mtime_ns, status.st_size, status.st_ino, stat.S_IFMT(status.st_mode))
            failure = None if stat.S_ISREG(status.st_mode) else "it is no file"  # to open a FIFO would wait
        except OSError as error:  # a link to itself or to nowhere, or it has just been removed
            sign, failure = (error.errno or 0,), str(error)
        known = self._files.get(entry.name)
        if known is not None and known[0] == sign:
            return known
        if failure is None:
            return sign, _key_in(entry.path)
        logger.error("%s: no public key: %s", entry.path, failure)
        return sign, None


def _key_in(path: str) -> bytes | None:
    try:
        key, _ = zmq.auth.load_certificate(path)
        if len(z85.decode(key)) != 32:
            raise ValueError("it does not have 32 bytes")
    except Exception as error:  # noqa: BLE001 (of wrong Z85 alone there are three kinds)
        logger.error("%s: no public key: %s", path, error)
        return None
    return key
