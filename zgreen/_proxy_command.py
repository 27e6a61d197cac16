"""``python -m zgreen proxy``: a `zgreen.Proxy` as a process of its own, until it is told to end. Hub side."""

from __future__ import annotations

import argparse
import json
import signal
import sys

import gevent
import zmq
from gevent.event import Event

from zgreen._errors import ZgreenError
from zgreen.patterns.proxy import TYPES, Proxy

DESCRIPTION = (
    "Run a ZeroMQ proxy until SIGTERM or SIGINT. forwarder: publishers connect to the frontend, subscribers to the "
    "backend; queue: clients and servers; streamer: those who push and those who pull. Statistics count frames."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--frontend", metavar="ENDPOINT", action="append", required=True, help="bind here; may be given again"
    )
    parser.add_argument(
        "--backend", metavar="ENDPOINT", action="append", required=True, help="bind here; may be given again"
    )
    parser.add_argument("--type", choices=tuple(TYPES), default="forwarder", help="default: forwarder")
    parser.add_argument("--capture", metavar="ENDPOINT", action="append", help="publish a copy of all that passes here")
    parser.add_argument("--json", action="store_true", help="print JSON, an object a line")


def run(arguments: argparse.Namespace) -> int:
    """Pass messages, print where and in the end how many; return the exit status: 1 if it cannot, or ends by itself."""
    over = Event()
    for name in ("SIGTERM", "SIGINT"):
        gevent.signal_handler(getattr(signal, name), over.set)
    try:
        proxy = Proxy(arguments.frontend, arguments.backend, arguments.type, capture=arguments.capture)
        proxy.start()
        _say(_where(proxy, arguments.json))
        gevent.spawn(proxy.join).link(lambda _: over.set())  # if it ends by itself
        over.wait()
        proxy.close()
        _say(_counts(proxy, arguments.json))
    except (ZgreenError, zmq.ZMQError, ValueError) as error:
        sys.stderr.write(f"proxy: {error}\n")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _where(proxy: Proxy, as_json: bool) -> str:
    sides = [("frontend", proxy.frontend), ("backend", proxy.backend), ("capture", proxy.capture)]
    if as_json:
        return json.dumps({"type": proxy.type, **dict(sides)})
    return f"{proxy.type}: " + ", ".join(f"{side} {' '.join(places)}" for side, places in sides if places)


def _counts(proxy: Proxy, as_json: bool) -> str:
    counts = proxy.statistics()._asdict()
    if as_json:
        return json.dumps({"statistics": counts})
    return "statistics: " + " ".join(f"{name}={count}" for name, count in counts.items())
