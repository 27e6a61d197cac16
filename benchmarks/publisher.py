"""The peer of fan_out: an XPUB that publishes as fast as its slowest subscriber takes it. In Python.

It begins when so many have subscribed as the candidate says that there will be: a message to the socket at the endpoint
with ".count" at its end. Its report is that of peer.py.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import zmq

from .candidates._meter import allow_descriptors
from .candidates._protocol import messages_of, parse, say
from .peer import DEFAULTS, Window, bound, report_at_the_end


def main(spec: SimpleNamespace) -> None:
    socket = bound(spec, zmq.XPUB, spec.endpoint)
    socket.set(zmq.XPUB_VERBOSE, 1)  # each of those who want the same
    socket.set(zmq.XPUB_NODROP, 1)  # send() waits instead
    socket.set(zmq.BACKLOG, 4096)
    count = bound(spec, zmq.PULL, f"{spec.endpoint}.count")
    window, message = Window(), messages_of(spec)
    report_at_the_end(window)
    say("ready")
    for _ in range(int(count.recv())):
        socket.recv()
    window.begin()
    send = socket.send
    while True:
        send(message)
        window.count += 1


if __name__ == "__main__":
    allow_descriptors()
    main(SimpleNamespace(**{**DEFAULTS, **vars(parse(sys.argv[1:]))}))
