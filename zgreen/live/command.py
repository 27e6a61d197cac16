"""What ``zgreen live`` does: serve until a signal comes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from zgreen.live.service import Service
from zgreen.live.web import Web


def serve(service: Service, port: int, announce: Callable[[str], object]) -> None:
    """Serve *service* at *port* until SIGINT or SIGTERM, call *announce* with the page's URL; close the service.

    :raises OSError: the port is taken.
    """
    stop = Event()
    # Watchers of the loop: as an exception, Ctrl-C would surface in any greenlet, a request's for example.
    watchers = [gevent.signal_handler(number, stop.set) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        web = Web(service, port)
        try:
            announce(web.url)
            stop.wait()
        finally:
            web.close()
    finally:
        service.close()
        for watcher in watchers:
            watcher.cancel()
