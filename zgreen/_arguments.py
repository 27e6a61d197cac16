"""Checks of arguments, for all functions that take them: a clear error at the call. Knows nothing of zgreen."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

OVERFLOWS = ("block", "drop_oldest", "drop_newest")  # of a channel's receive queue
_LAST_PORT = 65535
_NUMBER = re.compile(r"0*(\d{1,5})", re.ASCII)
_HOST_AND_PORT = re.compile(r"[^/]*:(\d+|[*!])")  # what would be an endpoint if tcp:// stood before it


def check_seconds(name: str, value: float | None) -> None:
    """A TypeError or ValueError for what is no finite, non-negative number of seconds; None passes."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more, and finite: seconds, not {value!r}")


def check_timeout(value: float | None) -> None:
    """Check the *timeout* of a put or get, which is as that of gevent's queues: infinity is the same as None.

    :raises TypeError: it is neither a number nor None.
    :raises ValueError: it is negative, or not a number.
    """
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"'timeout' must be a number of seconds or None, not {type(value).__name__}")
    if not value >= 0:  # NaN is not, either
        raise ValueError(f"'timeout' must be a non-negative number of seconds, not {value!r}")


def check_endpoint(name: str, value: Any) -> str:
    """Check what libzmq would take for something else, or would not explain; the rest is for libzmq to judge.

    :raises TypeError: it is no str.
    :raises ValueError: there is a host and a port but no transport, or the port of a tcp endpoint is impossible: of
        99999 libzmq takes the lower 16 bits, and of "55x5" the digits up to the first letter.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str like 'tcp://127.0.0.1:5555', not {type(value).__name__}")
    transport, separator, address = value.partition("://")
    if not separator and _HOST_AND_PORT.fullmatch(value):
        raise ValueError(f"{name} {value!r} has no transport: write 'tcp://{value}'")
    if transport == "tcp":
        for place in address.split(";"):  # a source address may stand before that of the peer
            port = place.rpartition(":")[2]
            if ":" in place and not place.endswith("]") and not _is_port(port):
                what = f"the port must be a number up to {_LAST_PORT}, or * for any free one, not {port!r}"
                raise ValueError(f"{name} {value!r}: {what}")
    return value


def _is_port(text: str) -> bool:
    number = _NUMBER.fullmatch(text)
    return text in ("*", "!") or (number is not None and int(number[1]) <= _LAST_PORT)


def endpoints_of(name: str, value: Any) -> tuple[str, ...]:
    """None, one endpoint, or an iterable of them."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes, bytearray)):  # bytes are refused, and not taken for an iterable of numbers
        return (check_endpoint(name, value),)
    try:
        values = tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be an endpoint or an iterable of them, not {type(value).__name__}") from None
    return tuple(check_endpoint(name, v) for v in values)


def check_option(value: Any) -> int:
    """A TypeError for what is no constant of zmq."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"an option is one of zmq's constants, like zmq.SNDHWM, not {value!r:.60}")
    return int(value)


def options_of(value: Any) -> tuple[tuple[int, Any], ...]:
    """None or a mapping of zmq's constants."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise TypeError(f"options must be a mapping like {{zmq.SNDHWM: 10}}, not {type(value).__name__}")
    return tuple((check_option(option), v) for option, v in value.items())


def topic_of(value: Any) -> bytes:
    """Text becomes UTF-8."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise TypeError(f"a topic is str or bytes, not {type(value).__name__}")
    return value


def topics_of(value: Any) -> tuple[bytes, ...]:
    """None, one topic, or an iterable of them."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes)):
        return (topic_of(value),)
    try:
        values = tuple(value)
    except TypeError:
        raise TypeError(f"subscribe must be a topic or an iterable of them, not {type(value).__name__}") from None
    return tuple(topic_of(v) for v in values)


def check_maxsize(name: str, value: int | None) -> int | None:
    """A positive int or None; 0 is refused, because in other libraries it means no limit, or no room."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}; None means no limit")
    return value


def check_limit(value: int) -> None:
    """The *limit* of get_many: a TypeError or ValueError for what is no int of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"limit must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"limit must be 1 or more, not {value}")


def check_overflow(value: Any, allowed: tuple[str, ...]) -> None:
    """What becomes of a message for which there is no room."""
    if value not in allowed:
        raise ValueError(f"overflow must be one of {', '.join(allowed)}, not {value!r}")
