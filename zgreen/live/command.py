"""What ``zgreen live`` does: start, and serve until a signal comes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import gevent
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
    """Call *announce* with the page's URL, wait for SIGINT or SIGTERM, close both."""
    stop = Event()
    # Watchers of the loop: as an exception, Ctrl-C would surface in any greenlet, a request's for example.
    watchers = [gevent.signal_handler(number, stop.set) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        announce(web.url)
        stop.wait()
    finally:
        web.close()
        service.close()
        for watcher in watchers:
            watcher.cancel()
