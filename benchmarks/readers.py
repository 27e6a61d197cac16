"""Clients of server-sent events, so many in one process: they read as fast as they can and look at nothing.

``readers PORT NUMBER`` opens NUMBER streams and reads. At each line on its standard input, and at the end of that, it
says how many bytes have come, and how many tabs, of which parts.py puts one into each message.
"""

from __future__ import annotations

import selectors
import socket
import sys

from .candidates._meter import allow_descriptors
from .candidates._protocol import say

_REQUEST = b"GET / HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


def main(port: int, number: int, host: str = "127.0.0.1") -> None:
    allow_descriptors()
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for _ in range(number):
        client = socket.create_connection((host, port))
        client.sendall(_REQUEST)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
    say("reading")
    total = tabs = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                asked = sys.stdin.readline()
                say(f"{total} {tabs}")
                if not asked:
                    return
                continue
            assert isinstance(key.fileobj, socket.socket)
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            total += len(data)
            tabs += data.count(b"\t")
            if not data:
                selector.unregister(key.fileobj)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
