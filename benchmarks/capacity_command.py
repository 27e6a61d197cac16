"""The command line of ``python -m benchmarks capacity``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from . import machine
from .capacity import Constants, Load, Machine, plan, text
from .measure import QUICK, Amounts, constants

EXAMPLES = (
    Load(1500, 10, 20),
    Load(100_000, 1_000, 1_000),
    Load(1_000_000, 10_000, 5_000),
    Load(10_000_000, 100_000, 50_000),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks capacity",
        description="Compute servers, proxies and links for a load, from constants that are measured first.",
    )
    add = parser.add_argument
    add("--clients", type=int, metavar="N", help="clients in all (default: four examples, up to 10 million)")
    add("--topics", type=int, metavar="N", default=1000, help="topics (default: 1000)")
    add("--rate", type=float, metavar="R", default=1000.0, help="messages/s of all publishers (default: 1000)")
    add("--size", type=int, metavar="BYTES", default=100, help="of a message (default: 100)")
    add("--topics-per-client", type=int, metavar="N", default=1, help="that a client wants (default: 1)")
    add("--fan", type=int, metavar="N", help="children of a proxy, at most (default: as many as it can serve)")
    add("--cores", type=int, metavar="N", default=8, help="of a machine (default: 8)")
    add("--memory", type=float, metavar="GB", default=32.0, help="of a machine (default: 32)")
    add("--link", type=float, metavar="GBIT", default=10.0, help="of a machine, Gbit/s (default: 10)")
    add("--descriptors", type=int, metavar="N", default=1_000_000, help="of a process (default: 1,000,000)")
    add("--quick", action="store_true", help="see that all works; the figures mean nothing")
    add("--json", action="store_true", help="print JSON: machine, constants and plans")
    given = parser.parse_args(arguments)
    loads = EXAMPLES
    if given.clients is not None:
        loads = (Load(given.clients, given.topics, given.rate, given.size, given.topics_per_client),)
    one = Machine(given.cores, given.memory * 1e9, given.link * 1e9, given.descriptors)
    measured = constants(QUICK if given.quick else Amounts())
    try:
        plans = [plan(load, measured, one, given.fan) for load in loads]
    except ValueError as error:
        parser.error(str(error))
    if given.json:
        rows = [
            {"load": asdict(load), "plan": asdict(found), "breaks_first": found.breaks_first}
            for load, found in zip(loads, plans, strict=True)
        ]
        sys.stdout.write(
            json.dumps({"machine": machine.describe(), "constants": asdict(measured), "plans": rows}) + "\n"
        )
        return 0
    sys.stdout.write(_words(measured))
    for load, found in zip(loads, plans, strict=True):
        sys.stdout.write("\n" + text(load, found) + "\n")
    return 0


def _words(measured: Constants) -> str:
    return (
        f"A server: {measured.message_us:.1f} us of CPU for a message, {measured.delivery_us:.1f} us and "
        f"{measured.delivery_bytes:.0f} bytes more than the message for each delivery;\n"
        f"          {measured.connection_bytes:,.0f} bytes for a client's connection, of which its subscription has "
        f"{measured.subscription_bytes:,.0f}.\n"
        f"A proxy:  {measured.proxy_message_us:.2f} us of CPU for a message, {measured.proxy_copy_us:.2f} us for each "
        f"copy; {measured.proxy_rate:,.0f} messages/s to one peer.\n"
    )
