"""install: programs that import zmq.green get zgreen.green."""

from __future__ import annotations

import sys

import zmq


def install() -> None:
    """Put ``zgreen.green`` in the place of ``zmq.green``, for imports from now on. ``zmq`` itself is not touched."""
    green = sys.modules[__package__]
    sys.modules["zmq.green"] = green
    zmq.green = green  # type: ignore[attr-defined]
