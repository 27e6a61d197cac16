"""What the figures depend on: the machine and the versions, without anything that names the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import gevent
import greenlet
import zmq

from .compiler import compiler_version
from .load import tool


def describe() -> dict[str, str | int | None]:
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {_kernel()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gevent": gevent.__version__,
        "greenlet": greenlet.__version__,
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
        "compiler": compiler_version(),
        "http_load": tool(),
        "zgreen": _zgreen(),
    }


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _kernel() -> str:
    """The version's numbers; what a distributor or host adds to them says nothing about speed."""
    found = re.match(r"[\d.]+", platform.release())
    return found[0].rstrip(".") if found else platform.release()


def _zgreen() -> str:
    try:
        return importlib.metadata.version("zgreen")
    except importlib.metadata.PackageNotFoundError:
        from zgreen import __version__

        return f"{__version__} (not installed: the source tree)"
