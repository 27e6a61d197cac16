"""Compiles peer.cpp, and finds the libzmq that pyzmq has loaded."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import zmq
import zmq.backend.cython._zmq as extension

from . import processes

SOURCE = Path(__file__).with_name("peer.cpp")


class NotAvailable(Exception):
    """There is no C++ program; the text says why."""


class _Symbol(ctypes.Structure):
    _fields_ = (("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
                ("name", ctypes.c_char_p), ("address", ctypes.c_void_p))  # fmt: skip


def libzmq_file() -> str:
    """The file that has pyzmq's zmq_msg_send: a wheel's own libzmq, or the system's.

    The extension module itself finds that function through what it depends on, but only a Python can load it.
    """
    function = ctypes.CDLL(extension.__file__).zmq_msg_send
    symbol = _Symbol()
    address = ctypes.cast(function, ctypes.c_void_p)
    if not ctypes.CDLL(None).dladdr(address, ctypes.byref(symbol)) or not symbol.file:
        raise NotAvailable("the file of pyzmq's libzmq was not found")
    file = os.fsdecode(symbol.file)
    if os.path.realpath(file) == os.path.realpath(extension.__file__):
        raise NotAvailable("libzmq is part of pyzmq's extension module, which only a Python can load")
    return file


def command() -> list[str]:
    """The compiler: $CXX, else c++."""
    words = shlex.split(os.environ.get("CXX") or "c++")
    if not shutil.which(words[0]):
        raise NotAvailable(f"there is no compiler {os.path.basename(words[0])}")
    return words


def compiler_version() -> str | None:
    try:
        result = processes.run([*command(), "--version"], check=True)
    except (NotAvailable, OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.splitlines()[0]


def build(folder: Path) -> list[str]:
    """Compile the program into *folder*; return the command that starts it."""
    program = folder / "peer"
    flags = ["-std=c++17", "-O2", "-pthread", str(SOURCE), "-o", str(program), "-ldl"]
    run([*command(), *flags], "peer.cpp does not compile")
    start = [str(program), f"zmq={libzmq_file()}"]
    found = run([*start, "mode=version"], "peer.cpp does not run").strip()
    if found != zmq.zmq_version():
        raise NotAvailable(f"it found libzmq {found}, not pyzmq's {zmq.zmq_version()}")
    return start


def run(words: list[str], complaint: str) -> str:
    try:
        return processes.run(words, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise NotAvailable(f"{complaint}: {error.stderr.strip()[-300:]}") from None
