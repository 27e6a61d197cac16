"""How a child process talks to the supervisor: one JSON object a line, on standard output.

A child must not outlive its supervisor, even one that was killed: it watches its standard input, which ends
then.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import gevent
from gevent.fileobject import FileObject

INTERVAL = 0.1  # seconds between two reports

ORPHANED = 3  # exit status of a child whose supervisor has gone


def send(**values: Any) -> None:
    """Report *values* to the supervisor."""
    print(json.dumps(values), flush=True)  # noqa: T201 (the supervisor reads it)


def keep_sending(values: Callable[[], dict[str, Any]]) -> gevent.Greenlet[[], None]:
    """Start a greenlet that reports *values* every now and then; kill it before the last report."""

    def loop() -> None:
        while True:
            send(**values())
            gevent.sleep(INTERVAL)

    return gevent.spawn(loop)


def die_with_supervisor() -> None:
    """Start a greenlet that ends this process when the supervisor's end of standard input closes."""

    def watch() -> None:
        FileObject(sys.stdin.fileno(), "rb", closefd=False).read()
        # There is no supervisor to read a report or to count: drop everything, wait for nothing.
        os._exit(ORPHANED)

    gevent.spawn(watch)
