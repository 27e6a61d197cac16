"""Hooks for gunicorn's gevent workers: streams end when a worker is to end, and workers are counted together.

A ``gunicorn.conf.py`` needs two lines; the third is for metrics::

    worker_class = "gevent"
    from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int
    raw_env = ["PROMETHEUS_MULTIPROC_DIR=/run/shop/metrics"]

Without them gunicorn waits for open streams as long as its graceful timeout says, 30 seconds, and then cuts them off.
"""

from __future__ import annotations

import os
from typing import Any

import gevent

from . import _draining, drain

_LOOK = 0.1  # seconds between two looks at whether the worker is to end


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook of that name: once the worker is to end, for whatever reason (TERM, HUP, ``--max-requests``), end
    its streams: see :func:`zgreen.drain`. If the environment has PROMETHEUS_MULTIPROC_DIR, also
    :func:`zgreen.metrics.record`.

    No signal handler of gunicorn's is replaced: a greenlet looks at ``worker.alive`` ten times a second.
    """
    gevent.spawn(_end_streams_after, worker)
    if _measured():
        from .metrics import record

        record()


def worker_int(_worker: Any) -> None:
    """gunicorn's hook of that name, for INT and QUIT, which leave a worker a tenth of a second: end its streams."""
    _draining.begin()


def worker_exit(_server: Any, _worker: Any) -> None:
    """gunicorn's hook of that name, in the worker that ends: :func:`zgreen.drain`, and count what that has sent."""
    drain()
    if _measured():
        from .metrics import record_now

        record_now()


def child_exit(_server: Any, worker: Any) -> None:
    """gunicorn's hook of that name, in the arbiter: the gauges of a worker that has ended are no longer shown."""
    if _measured():
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _measured() -> bool:
    return bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


def _end_streams_after(worker: Any) -> None:
    while worker.alive:
        gevent.sleep(_LOOK)
    _draining.begin()
