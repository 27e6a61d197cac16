"""Checks of what users give, for all who take it: a clear error at the call. Knows nothing of zgreen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def check_seconds(name: str, value: float | None) -> None:
    """A TypeError or ValueError for what is no finite, non-negative number of seconds; None passes."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more, and finite: seconds, not {value!r}")


def check_endpoint(name: str, value: Any) -> str:
    """A TypeError for what is no str; libzmq says what is no endpoint."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str like 'tcp://127.0.0.1:5555', not {type(value).__name__}")
    return value


def endpoints_of(name: str, value: Any) -> tuple[str, ...]:
    """None, one endpoint, or an iterable of them."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
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
    """None or a mapping; text becomes UTF-8."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise TypeError(f"options must be a mapping like {{zmq.SNDHWM: 10}}, not {type(value).__name__}")
    return tuple((check_option(option), v.encode() if isinstance(v, str) else v) for option, v in value.items())


def topic_of(value: Any) -> bytes:
    """Text becomes UTF-8."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise TypeError(f"a topic is str or bytes, not {type(value).__name__}")
    return value


def check_maxsize(name: str, value: int | None) -> int | None:
    """A positive int or None; 0 is refused, because in other libraries it means no limit, or no room."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}; None means no limit")
    return value


def check_overflow(value: Any, allowed: tuple[str, ...]) -> None:
    """What becomes of a message for which there is no room."""
    if value not in allowed:
        raise ValueError(f"overflow must be one of {', '.join(allowed)}, not {value!r}")
