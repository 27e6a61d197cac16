"""Runs programs as a user would: real processes, of which a test reads the output line by line.

Works under monkey.patch_all() as well: the processes and timers are gevent's then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from support import LIMIT

import zgreen


class Program:
    """``python *arguments*``, with standard error merged into standard output; as a context manager.

    It is killed after LIMIT seconds, with the processes it started: a read then finds the end of the output, and
    the exit status is not 0.

    Attributes:
        output: all that was read.
        kill_at_limit: more processes to kill then, those that are in a session of their own.
        over_limit: whether it came to that.
    """

    def __init__(self, *arguments: str) -> None:
        self.output = ""
        self.kill_at_limit: list[int] = []
        self.over_limit = False
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._limit = threading.Timer(LIMIT, self._give_up)
        self._limit.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._kill_all()
            self._process.wait()
        self._limit.cancel()
        self._limit.join()
        self._process.stdout.close()

    def _give_up(self) -> None:
        self.over_limit = True
        self._kill_all()

    def _kill_all(self) -> None:
        kill_group = getattr(os, "killpg", os.kill)
        with contextlib.suppress(ProcessLookupError):
            kill_group(self.pid, signal.SIGKILL)
        for pid in self.kill_at_limit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def line_with(self, text: str) -> str:
        """Read up to the first line that contains *text*; return it."""
        for line in iter(self._process.stdout.readline, ""):
            self.output += line
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"no line with {text!r} in:\n{self.output}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Read all that is left and return the exit status (negative: the signal that killed it)."""
        self.output += self._process.stdout.read()
        return self._process.wait()

    @property
    def lines(self) -> list[str]:
        """What was read, by line."""
        return self.output.splitlines()


def run(*arguments: str) -> list[str]:
    """Run a program that is to end by itself with exit status 0; return the lines it printed."""
    with Program(*arguments) as program:
        status = program.end()
        assert status == 0, f"exit status {status}:\n{program.output}"
        return program.lines


def environment() -> dict[str, str]:
    """Return an environment in which a program finds the zgreen that the tests found."""
    found_in = str(Path(zgreen.__file__).resolve().parent.parent)
    path = os.pathsep.join([found_in, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
