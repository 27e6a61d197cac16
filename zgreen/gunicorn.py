"""Hooks for gunicorn's gevent workers, so that streams end when a worker is to end. A ``gunicorn.conf.py`` needs::

    worker_class = "gevent"
    from zgreen.gunicorn import post_worker_init, worker_int

Without them gunicorn waits for open streams as long as its graceful timeout says, 30 seconds, and then cuts them off.
"""

from __future__ import annotations

from typing import Any

import gevent

from . import _draining

_LOOK = 0.1  # seconds between two looks at whether the worker is to end


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook of that name: once the worker is to end, for whatever reason (TERM, HUP, ``--max-requests``), end
    its streams: see :func:`zgreen.drain`. What was put is sent when the process ends.

    No signal handler of gunicorn's is replaced: a greenlet looks at ``worker.alive`` ten times a second.
    """
    gevent.spawn(_end_streams_after, worker)


def worker_int(_worker: Any) -> None:
    """gunicorn's hook of that name, for INT and QUIT, which leave a worker a tenth of a second: end its streams."""
    _draining.begin()


def _end_streams_after(worker: Any) -> None:
    while worker.alive:
        gevent.sleep(_LOOK)
    _draining.begin()
