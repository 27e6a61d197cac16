"""device and proxy: forward messages between two green sockets, in the caller's greenlet."""

from __future__ import annotations

from typing import Any, NoReturn

import zmq

from ._poll import zmq_poll


def proxy(frontend: Any, backend: Any, capture: Any = None) -> NoReturn:
    """Forward messages both ways, and a copy of each to *capture*, until a socket is closed: then its error comes."""
    ways = {frontend: backend, backend: frontend}
    wanted = [(one, zmq.POLLIN) for one in ways]
    while True:
        for one, _ in zmq_poll(wanted):
            message = one.recv_multipart()
            if capture is not None:
                capture.send_multipart(message)
            ways[one].send_multipart(message)


def device(device_type: int, frontend: Any, backend: Any) -> NoReturn:  # noqa: ARG001
    """`proxy`; *device_type* is ignored, as in zmq.green, and *backend* may be -1 for *frontend* itself."""
    proxy(frontend, frontend if isinstance(backend, int) else backend)
