"""What travels between browser, server and publisher, and how large it may be."""

from __future__ import annotations

import codecs
import json
from typing import Any

from zgreen.sse import Event

# The server always subscribes to this, and no publisher publishes it: a publisher that sees this
# subscription is connected. Of a socket's subscriptions libzmq sends it last, in the order of bytes.
CONTROL = b"\xff zgreen live"

MAX_BODY = 8192  # bytes of a POST
MAX_TOPIC = 64  # bytes
MAX_TEXT = 2000  # characters of a message, in a POST and on its way to a page: the rest is cut off
MAX_PREFIXES = 16  # of one page


def event(name: str, value: Any) -> bytes:
    """An event of the page's stream."""
    return Event(json.dumps(value, separators=(",", ":")), event=name).encoded()


def encode(message: tuple[bytes, ...]) -> str:
    """A message as the data of an event, which has no name."""
    return json.dumps(shown(message), separators=(",", ":"))


def shown(frames: tuple[bytes, ...]) -> tuple[str, str]:
    """Topic and text of a message, as a page shows it: any bytes, of any size, as short text."""
    topic = _text(frames[0], MAX_TOPIC)
    text = " | ".join(_text(frame, 4 * MAX_TEXT) for frame in frames[1:])
    return topic, text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _text(frame: bytes, limit: int) -> str:
    """The first *limit* bytes of a frame as UTF-8; as hexadecimal digits, if it is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return decoder.decode(frame[:limit], final=len(frame) <= limit)  # the cut may go through a character
    except UnicodeDecodeError:
        return "0x" + frame[:limit].hex()
