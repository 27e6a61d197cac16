"""A child process as the supervisor sees it: started, reporting, done or dead."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.subprocess import PIPE, Popen

# `-m` looks in the current folder first: from here it finds the zgreen that runs us, not one that lies in a clone
# beside it without its native engine.
_HOME = Path(__file__).resolve().parents[2]


class Child:
    """A module of this package, run by ``python -m`` in a process of its own.

    Args:
        name: what it is called in messages; ``zgreen.demo.<name>`` is what runs.
        arguments: its command line.
        on_death: called, once, with a text that says how it ended, if it ended before its work was done.

    Attributes:
        latest: the values it reported last.
        reported: set at its first report.
        done: set when it has ended, and well.
    """

    def __init__(self, name: str, arguments: list[str], on_death: Callable[[str], object]) -> None:
        self.name = name
        self.latest: dict[str, Any] = {}
        self.reported = Event()
        self.done = Event()
        self._on_death = on_death
        # A session of its own: Ctrl-C on the terminal reaches the supervisor only, which ends its children in
        # order. They notice the end of their standard input if it cannot.
        self._process = Popen(
            [sys.executable, "-m", f"zgreen.demo.{name}", *arguments],
            cwd=_HOME,
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input, self._output = self._process.stdin, self._process.stdout
        self._reader = gevent.spawn(self._read)

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    def kill(self) -> None:
        """End it at once if it still runs, without a word to ``on_death``."""
        self._reader.kill()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._input.close()
        self._output.close()

    def _read(self) -> None:
        for line in self._output:
            self.latest = json.loads(line)
            self.reported.set()
        status = self._process.wait()
        if status == 0 and self.latest.get("done"):
            self.done.set()
        else:
            self._on_death(f"the {self.name} (process {self.pid}) ended too early: {_describe(status)}")


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
