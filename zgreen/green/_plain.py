"""pyzmq's own ``zmq.select`` and ``zmq.Poller`` see green sockets, as they do those of zmq.green.

Both call one function by its name in ``zmq.sugar.poll``. The import of this module puts a function of ours there, and
nowhere else in pyzmq. A list without a green socket goes on to pyzmq's function, unchanged. ``zmq.zmq_poll``
itself stays as it is, and refuses green sockets with ENOTSOCK.
"""

from __future__ import annotations

from typing import Any

from zmq.backend import zmq_poll as _original
from zmq.sugar import poll as _sugar

from ._poll import zmq_poll
from ._socket import Socket


def _zmq_poll(sockets: list[tuple[Any, int]], timeout: int = -1) -> list[tuple[Any, int]]:
    if any(isinstance(item, Socket) for item, _ in sockets):
        return zmq_poll(sockets, timeout)
    return _original(sockets, timeout)


_sugar.zmq_poll = _zmq_poll  # type: ignore[attr-defined, assignment]
