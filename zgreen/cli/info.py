"""``zgreen info``: versions, the engine and why this one, libzmq's capabilities, limits."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
from importlib import metadata
from typing import Any

import zmq

import zgreen
from zgreen.cli import output
from zgreen.cli.command import Command

CAPABILITIES = ("ipc", "curve", "gssapi", "pgm", "norm", "tipc", "vmci", "draft")


def collect() -> dict[str, dict[str, Any]]:
    """All that is shown, by section."""
    return {"versions": _versions(), **_of_a_pump(), "libzmq": {name: bool(zmq.has(name)) for name in CAPABILITIES}}


def _run(arguments: argparse.Namespace) -> int:
    """Show it; the exit status is 1 if there is no engine."""
    found = collect()
    if arguments.json:
        output.as_json(found)
    else:
        for section, values in found.items():
            rows = [(name.replace("_", " "), _text(value)) for name, value in values.items()]
            output.table(section, ("", ""), rows)
    return 0 if found["engine"]["name"] else 1


def _versions() -> dict[str, str | None]:
    names = ("gevent", "greenlet", "rich")
    return {
        "zgreen": zgreen.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        **{name: _version(name) for name in names},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # not installed


def _of_a_pump() -> dict[str, dict[str, Any]]:
    """What only a pump can tell: its engine, and the limits of its context."""
    limits = {"open_files_now": _open_files(0), "open_files_at_most": _open_files(1)}
    try:
        pump = zgreen.Pump("info")
    except (ValueError, ImportError) as error:
        return {"engine": {"name": None, "why": str(error)}, "limits": limits}
    with pump:
        context = pump.context
        limits |= {
            "sockets_of_a_pump": context.get(zmq.MAX_SOCKETS),
            "sockets_of_a_context_at_most": context.get(zmq.SOCKET_LIMIT),
            "io_threads_of_a_pump": context.get(zmq.IO_THREADS),
        }
        return {"engine": {"name": pump.engine, "why": _why()}, "limits": limits}


def _why() -> str:
    if os.environ.get("ZGREEN_ENGINE"):
        return "the environment variable ZGREEN_ENGINE asks for it"
    if importlib.util.find_spec("zgreen._engine._native") is not None:
        return "it is installed here and the faster one; ZGREEN_ENGINE=python in the environment takes the other one"
    return (
        "the faster one, native, is not installed: install zgreen from its source on a machine with a C++ compiler; "
        "with ZGREEN_BUILD_NATIVE=yes in the environment pip then says why it cannot be built"
    )


def _open_files(which: int) -> int | str | None:
    """The limit of this process's descriptors: 0, the one in force, or 1, the one up to which it may be raised."""
    try:
        import resource
    except ImportError:
        return None  # not on this platform
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[which]
    return "unlimited" if limit == resource.RLIM_INFINITY else limit


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


COMMANDS = (
    Command(
        "info",
        "show versions, engine, libzmq's capabilities and limits",
        "",
        "Show versions, the engine and why it was chosen, what libzmq can do, and limits of this system. The exit "
        "status is 1 if there is no engine.",
        (("", "shows all of it"), ("--json", "for a bug report, or a script")),
        "print JSON, an object for each section",
        lambda _parser: None,
        _run,
    ),
)
