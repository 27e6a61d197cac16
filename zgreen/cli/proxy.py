"""``zgreen proxy``: a `zgreen.Proxy` as a process of its own, until it is told to end."""

from __future__ import annotations

import argparse
import json
from typing import Any

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.command import ENDPOINT, Command, endpoint, make_pump
from zgreen.patterns.proxy import TYPES


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    side: dict[str, Any] = {"metavar": ENDPOINT, "action": "append", "type": endpoint}
    add("--frontend", required=True, help="bind the frontend here; may be given again", **side)
    add("--backend", required=True, help="bind the backend here; may be given again", **side)
    add("--type", choices=tuple(TYPES), default="forwarder", help="what it is between (default: forwarder)")
    add("--capture", help="publish a copy of all that passes here; may be given again", **side)


def _run(arguments: argparse.Namespace) -> int:
    """Pass messages, say where and in the end how many; the exit status: 1 if it cannot, or ends by itself."""
    with make_pump("proxy") as pump:
        proxy = zgreen.Proxy(
            arguments.frontend, arguments.backend, arguments.type, capture=arguments.capture, pump=pump
        )  # fmt: skip
        with proxy:
            output.write(_where(proxy, arguments.json) + "\n")
            try:
                proxy.join()  # it may end by itself
            except ending.Told:
                proxy.close()
            output.write(_counts(proxy, arguments.json) + "\n")
    return 0


def _where(proxy: zgreen.Proxy, as_json: bool) -> str:
    sides = [("frontend", proxy.frontend), ("backend", proxy.backend), ("capture", proxy.capture)]
    if as_json:
        return json.dumps({"type": proxy.type, **dict(sides)})
    return f"{proxy.type}: " + ", ".join(f"{side} {' '.join(places)}" for side, places in sides if places)


def _counts(proxy: zgreen.Proxy, as_json: bool) -> str:
    counts = proxy.statistics()._asdict()
    if as_json:
        return json.dumps({"statistics": counts})
    return "statistics: " + " ".join(f"{name}={count}" for name, count in counts.items())


COMMANDS = (
    Command(
        "proxy",
        "pass messages between a frontend and a backend",
        "--frontend ENDPOINT --backend ENDPOINT",
        "Run a ZeroMQ proxy until Ctrl-C or SIGTERM, which end it with status 0. forwarder: publishers connect to the "
        "frontend, subscribers to the backend; queue: clients and servers; streamer: peers that push and peers that "
        "pull. It says where it is bound, and at the end how many frames have passed.",
        (
            ("--frontend tcp://127.0.0.1:5555 --backend tcp://127.0.0.1:5556", "between publishers and subscribers"),
            ("--type queue --frontend tcp://*:5557 --backend ipc:///tmp/workers", "between clients and servers"),
        ),
        "print JSON, an object a line",
        _add_arguments,
        _run,
    ),
)
