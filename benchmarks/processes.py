"""Child processes that are never left behind, whenever a signal ends the benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block.

    Their handlers raise, as Ctrl-C does. In the middle of `subprocess.Popen` that would leave a process that runs
    already, and that nobody has a name for.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs here
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number in _ENDING:
            if before[number] is not signal.SIG_IGN:  # a child inherits that
                signal.signal(number, note)
        yield
    finally:
        for number in _ENDING:
            signal.signal(number, before[number])
        for number in came:
            signal.raise_signal(number)


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` with ``capture_output`` and ``text``; *options* may be ``check`` and those of `Popen`."""
    check, timeout = options.pop("check", False), options.pop("timeout", None)
    process = None
    try:
        with signals_wait():
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
            )  # fmt: skip
        out, err = process.communicate(timeout=timeout)
    finally:
        if process is not None:
            with process:  # closes its pipes
                process.kill()
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Until the end of the block one process for each core does nothing but compute."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(os.cpu_count() or 1):
            with signals_wait():
                started.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        yield
    finally:
        for process in started:
            with process:  # waits for it
                process.kill()
