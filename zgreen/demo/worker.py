"""The worker process: pulls messages over tcp and publishes each.

Run by the supervisor as ``python -m zgreen.demo.worker PULL_ENDPOINT PUB_ENDPOINT``.
"""

from __future__ import annotations

import argparse
import sys

import zmq
from gevent.queue import Empty

import zgreen
from zgreen.demo import report, wire

HELLO_INTERVAL = 0.05  # seconds until the next hello, if the last one was not heard
LINGER = 60.0  # seconds for the server to take the last of it: its streams may be slow


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser(description="PULL over tcp, PUB each message. Started by the demo.")
    parser.add_argument("pull", metavar="PULL_ENDPOINT")
    parser.add_argument("pub", metavar="PUB_ENDPOINT")
    arguments = parser.parse_args()
    report.die_with_supervisor()

    pull = zgreen.Channel(zmq.PULL, connect=arguments.pull, multipart=True)
    # A PUB socket drops what is over its high-water mark, unless told not to: then it refuses, and zgreen
    # keeps what was refused until there is room. All the way back to the HTTP client slows down; nothing is
    # lost.
    pub = zgreen.Channel(zmq.PUB, connect=arguments.pub, options={zmq.XPUB_NODROP: 1})
    greet(pull, pub)
    relay(pull, pub)
    return 0


def greet(pull: zgreen.Channel, pub: zgreen.Channel) -> None:
    """Publish hello until the server answers that its SUB socket heard it.

    Until a subscription has arrived, a PUB socket drops what it publishes. The answer proves that it has.
    """
    while True:
        pub.put(wire.HELLO)
        try:
            (topic,) = pull.get(timeout=HELLO_INTERVAL)
        except Empty:
            continue
        assert topic == wire.HEARD, topic
        return


def relay(pull: zgreen.Channel, pub: zgreen.Channel) -> None:
    """Publish all that is pulled, the end included, and report how much that was."""
    pulled = published = 0
    reports = report.keep_sending(lambda: {"pulled": pulled, "published": published})
    ended = False
    while not ended:
        messages = pull.get_many(wire.BATCH)
        ended = messages[-1][0] == wire.END  # nothing comes behind it
        news = sum(frames[0] == wire.NEWS for frames in messages)
        pulled += news
        pub.put_many(messages)
        published += news
    pub.flush()
    pub.close(linger=LINGER)
    pull.close()
    reports.kill()
    report.send(pulled=pulled, published=published, done=True)


if __name__ == "__main__":
    sys.exit(main())
