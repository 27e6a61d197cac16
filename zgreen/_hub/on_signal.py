"""dump_on_signal: the pictures of all pumps of this process, on standard error. Hub side.

The handler is Python's own, not one of gevent's loop: so it runs while the hub is blocked, which is one of the reasons
why nothing moves, and shows where.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from .dump import place_of
from .shutdown import watched

_STDERR = 2


def dump_on_signal(signum: int | None = None) -> Any:
    """Have this process write :meth:`zgreen.Pump.dump` of each of its pumps to standard error when it gets a signal.

    :param signum: default: ``signal.SIGUSR1``. Gunicorn has its own use for SIGUSR1 and SIGUSR2 (logs, upgrades): give
        ``signal.SIGRTMIN`` there, after the worker was forked.
    :return: what ``signal.signal`` returns: the handler that was there before.
    :raises ValueError: not in the main thread, as of ``signal.signal``; or this platform has no SIGUSR1 and *signum* is
        not given.

    Opt in: without this call nothing is installed. It works when the hub is idle, busy, or blocked by Python code,
    and its first line says where the main thread was. While a call into C that does not return holds the main thread,
    nothing is written until it returns: that is Python's rule for signals (``faulthandler.register`` has no such
    limit). What is written goes straight to the descriptor 2, past ``sys.stderr``; what a full non-blocking pipe does
    not take is lost.
    """
    if signum is None:
        signum = getattr(signal, "SIGUSR1", None)
        if signum is None:
            raise ValueError("this platform has no SIGUSR1: give a signum")
    return signal.signal(signum, _write_dumps)


def _write_dumps(signum: int, frame: FrameType | None) -> None:
    where = place_of(frame) or ", in no code of yours: the hub, if it is idle"
    text = f"zgreen: signal {signum} in process {os.getpid()}{where}\n"
    try:
        text += "".join(sorted(one.dump() for one in watched())) or "no pumps\n"
    except Exception as error:  # noqa: BLE001 (the interrupted code must not get it)
        text += f"the dump has failed: {error!r}\n"
    _write(text.encode(errors="backslashreplace"))


def _write(data: bytes) -> None:
    """Write without buffers and locks, which the interrupted code may hold."""
    while data:
        try:
            data = data[os.write(_STDERR, data) :]
        except OSError:
            return
