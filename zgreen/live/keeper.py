"""Keeper: sees that one publisher process runs, as long as the server does."""

from __future__ import annotations

import sys
from pathlib import Path

import gevent
from gevent.subprocess import DEVNULL, PIPE, Popen

PAUSE = 0.5  # seconds until a publisher that has ended is started again
# `-m` looks in the current folder first: from here it finds what runs us, not what lies where the user happens to be.
# The endpoints it is given are the server's own, of tcp: no path in them depends on the folder.
_HOME = Path(__file__).resolve().parents[2]


class Keeper:
    """Starts ``zgreen.live.publisher``, and starts another one whenever it ends.

    Attributes:
        pid: the process id; None while there is no such process.
        restarts: how many have ended.
    """

    def __init__(self, *arguments: str) -> None:
        self.pid: int | None = None
        self.restarts = 0
        self._command = [sys.executable, "-m", "zgreen.live.publisher", *arguments]
        self._start()
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """End the process, and start no other."""
        self._greenlet.kill()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _start(self) -> None:
        # A session of its own: Ctrl-C on the terminal is for the server. The end of its standard input tells it that
        # the server has gone, however that came.
        self._process = Popen(self._command, cwd=_HOME, stdin=PIPE, stdout=DEVNULL, start_new_session=True)
        self.pid = self._process.pid

    def _forget(self) -> None:
        self.pid = None
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _run(self) -> None:
        while True:
            self._process.wait()
            self._forget()
            self.restarts += 1
            gevent.sleep(PAUSE)
            self._start()
