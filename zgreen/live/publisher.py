"""The publisher process of ``zgreen live``: publishes made-up news, and whatever it pulls.

Run by the server as ``python -m zgreen.live.publisher SUB_ENDPOINT PUSH_ENDPOINT RATE``. It connects to both.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import gevent
import zmq

import zgreen
from zgreen.demo import report
from zgreen.live import wire

# topic, first value, the largest step, unit
_SERIES = (
    ("metal.gold", 2400.0, 3.0, "USD/oz"),
    ("metal.tin", 31.0, 0.2, "USD/kg"),
    ("metal.zinc", 2.8, 0.02, "USD/kg"),
    ("weather.lima", 19.0, 0.2, "\N{DEGREE SIGN}C"),
    ("weather.oslo", 4.0, 0.3, "\N{DEGREE SIGN}C"),
)
_BATCH = 100  # messages that are relayed in one go
_JOIN_LIMIT = 10.0  # seconds to wait for the server's subscriptions


def main() -> int:
    """Run until the server ends."""
    parser = argparse.ArgumentParser(description="Publish made-up news, and what is pulled. Started by zgreen live.")
    parser.add_argument("sub", metavar="SUB_ENDPOINT")
    parser.add_argument("push", metavar="PUSH_ENDPOINT")
    parser.add_argument("rate", metavar="RATE", type=float)
    arguments = parser.parse_args()
    report.die_with_supervisor()
    pub = zgreen.Channel(zmq.PUB, connect=arguments.sub)
    pub.wait_subscriber(wire.CONTROL, timeout=_JOIN_LIMIT)  # what is published before is lost
    pull = zgreen.Channel(zmq.PULL, connect=arguments.push, multipart=True)
    work: list[gevent.Greenlet[..., None]] = [gevent.spawn(_relay, pull, pub)]
    if arguments.rate > 0:
        work.append(gevent.spawn(_publish, pub, float(arguments.rate)))
    gevent.joinall(work, raise_error=True)
    return 0


def _relay(pull: zgreen.Channel, pub: zgreen.Channel) -> None:
    while True:
        pub.put_many(pull.get_many(_BATCH))


def _publish(pub: zgreen.Channel, rate: float) -> None:
    """Put *rate* messages a second: each at its time, so that lateness does not add up."""
    values = {topic: value for topic, value, _, _ in _SERIES}
    due = time.monotonic()
    while True:
        topic, _, step, unit = random.choice(_SERIES)
        values[topic] += random.uniform(-step, step)
        pub.put([topic, f"{values[topic]:,.2f} {unit}"])
        due += 1 / rate
        gevent.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
