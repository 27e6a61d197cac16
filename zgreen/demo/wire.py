"""What travels between the three processes: topics, paths, and how an item of news looks.

A message is three frames: topic, number, text. On an HTTP stream it is one line: ``number text``.
"""

from __future__ import annotations

HELLO = b"hello"  # worker -> server, until the server's SUB socket hears it: its subscription has arrived
HEARD = b"heard"  # server -> worker: it has
NEWS = b"news"  # client -> server -> worker -> server -> client
END = b"end"  # the same way, behind the last news: what has not come before it will not come

READY = b"ready\n"  # the first line of each stream: from here on it gets all there is
NEWS_PATH = "/news"
END_PATH = "/end"
STREAM_PATH = "/stream"

BATCH = 100  # messages that are taken from a channel in one go

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def text(size: int) -> bytes:
    """Return the *size* bytes that every item of news carries."""
    return (_LETTERS * (size // len(_LETTERS) + 1))[:size]
