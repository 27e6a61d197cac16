"""What a message may be, and how it becomes frames (a leaf: no gevent, no zmq).

Inside zgreen a message travels as ``bytes`` (one frame) or as a ``tuple`` of ``bytes`` (several): immutable, so it
cannot change after ``put`` has returned.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Frames: TypeAlias = bytes | tuple[bytes, ...]

_EXPECTED = "str, a bytes-like object, or a non-empty list or tuple of those"


def encode(message: Any) -> Frames:
    """Return *message* as frames; a TypeError names the type, and the frame, that cannot be sent."""
    if type(message) is bytes:  # by far the most frequent: first
        return message
    if isinstance(message, (list, tuple)):
        if not message:
            raise TypeError(f"an empty {type(message).__name__} is no message: it has no frame; send {_EXPECTED}")
        frames = tuple([f if type(f) is bytes else _frame(f, i) for i, f in enumerate(message)])
        return frames if len(frames) > 1 else frames[0]
    return _frame(message, None)


def plain(message: Any) -> Frames | None:
    """Return *message* as frames if it is made of nothing but ``bytes``, which no code of the user's has to turn into
    them; else None."""
    if type(message) is bytes:
        return message
    if type(message) in (list, tuple) and message and all(type(frame) is bytes for frame in message):
        return tuple(message)
    return None


def decode(frames: Frames, multipart: bool = False) -> bytes | list[bytes]:
    """Return what a user gets for *frames*: ``bytes``, or a list if there are several (or *multipart* is true)."""
    if type(frames) is tuple:
        return list(frames)
    assert type(frames) is bytes
    return [frames] if multipart else frames


def _frame(value: Any, index: int | None) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        # memoryview() first: bytes(5) would be five zero bytes, bytes([1, 2]) two bytes of a list of numbers
        return memoryview(value).tobytes()
    except TypeError:
        what = f"{type(value).__name__}: {value!r:.60}"
    except ValueError as error:  # a str that UTF-8 cannot hold, a memoryview that was released
        what = f"this {type(value).__name__}: {error}"
    where = "a message" if index is None else f"frame {index} of a message"
    raise TypeError(f"{where} cannot be {what}; send {_EXPECTED}")
