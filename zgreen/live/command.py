"""What ``zgreen live`` does: start, and serve until it is told to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.event import Event

from zgreen.live.service import Service
from zgreen.live.web import Web


def start(port: int, **options: Any) -> tuple[Service, Web]:
    """A running service and its page at *port*; *options* are those of Service.

    :raises OSError: the port is taken. :raises zmq.ZMQError: an endpoint is wrong.
    """
    service = Service(**options)
    try:
        return service, Web(service, port)
    except BaseException:
        service.close()
        raise


def serve(service: Service, web: Web, announce: Callable[[str], object]) -> None:
    """Call *announce* with the page's URL, and serve until an exception comes, which it raises; then close both."""
    try:
        announce(web.url)
        Event().wait()
    finally:
        web.close()
        service.close()
