"""``zgreen monitor``: the events of a socket: which peers connect, are refused or go away."""

from __future__ import annotations

import argparse
import json
import time

import zmq
from gevent.queue import Empty

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.client import options
from zgreen.cli.client.stdio import Writer
from zgreen.cli.command import Command

_TYPES = ("pair", "pub", "sub", "req", "rep", "dealer", "router", "pull", "push", "xpub", "xsub")


def _run(arguments: argparse.Namespace) -> int:
    curve = options.curve_of(arguments)
    kind = getattr(zmq, arguments.type.upper())
    with options.pump_of(arguments, curve) as pump:
        channel = zgreen.Channel(kind, pump=pump, options=curve.options)
        monitor = channel.monitor()
        options.attach(channel, arguments)
        try:
            return _watch(monitor, arguments)
        finally:
            channel.close(linger=0)


def _watch(monitor: zgreen.Monitor, arguments: argparse.Namespace) -> int:
    out, seen = Writer(), 0
    try:
        while arguments.count is None or seen < arguments.count:
            event = monitor.get(timeout=arguments.timeout)
            seen += 1
            out.put(_line(event, arguments.json).encode())
            out.flush()
    except Empty:
        wanted = arguments.count or 1
        output.say(f"{arguments.called}: {output.count(seen, 'event')}, and none for {arguments.timeout:g} s")
        return 0 if seen >= wanted else 1
    except ending.Told as told:
        output.say(f"{arguments.called}: got {told}: {output.count(seen, 'event')}")
        return told.status
    return 0


def _line(event: zgreen.MonitorEvent, as_json: bool) -> str:
    now = time.time()
    if as_json:
        return json.dumps({"time": round(now, 3), **event._asdict()}) + "\n"
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    return f"{clock} {event.name} {event.endpoint} {event.reason}".rstrip() + "\n"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_endpoint(parser, many=True)
    parser.add_argument(
        "--type", choices=_TYPES, default="dealer",
        help="the socket that connects, or is bound: one that the peer speaks with, sub for a pub (default: dealer)",
    )  # fmt: skip
    options.add_limits(
        parser, "end after so many events (default: never)",
        "end when nothing happens for so long; status 1 if there were fewer events than --count (default: one)",
    )  # fmt: skip
    options.add_curve(parser)


COMMANDS = (
    Command(
        "monitor",
        "show the events of a socket: connected, refused, lost",
        "ENDPOINT [ENDPOINT ...]",
        "Make a socket, connect or bind it, and show what libzmq reports of it, until --count, --timeout or Ctrl-C: an "
        "event a line, with its endpoint and the reason if something failed. It is a peer as any other: as --type pull "
        "it takes messages that are meant for others.",
        (
            ("tcp://127.0.0.1:5557", "shows whether a ROUTER, REP or DEALER is there"),
            ("--type sub tcp://127.0.0.1:5556 --count 3", "the first three events with a publisher"),
        ),
        "print JSON, an object a line: time, name, endpoint, value, reason",
        _add_arguments,
        _run,
    ),
)
