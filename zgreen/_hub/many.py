"""Many messages in one call: `Channel.put_many` and `Channel.get_many`. Hub side; any thread.

Both go through the pipe in one call for each batch as long as nothing is in the way. Where something is (no room, no
message, a tracer, an end, others whose turn it is) one message takes the exact way, which waits, raises and breathes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from gevent.queue import Empty

from .._engine._api import MANY
from .._errors import BrokenError, ClosedError
from .._message import Frames, encode
from .lanes import Lanes
from .wait import Deadline


def put_many(lanes: Lanes, messages: Iterable[Any], timeout: float | None) -> None:
    """See `Channel.put_many`."""
    batch = _encoded(messages)
    if not lanes.kind.sends:
        raise lanes.kind.cannot("send", lanes.name)
    deadline = Deadline(timeout)
    done = 0
    try:
        while done < len(batch):
            put = lanes.pipe.offer_many(batch, done)
            done += put
            if not put:
                lanes.put(batch[done], True, deadline.left())
                done += 1
    except BaseException as error:
        with suppress(AttributeError):  # an exception of the user's that has slots
            error.messages_put = done  # type: ignore[attr-defined]
        raise


def _encoded(messages: Iterable[Any]) -> list[Frames]:
    """Return a list of our own, which does not change during a wait; a TypeError if one of *messages* is no message."""
    if isinstance(messages, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"put_many takes an iterable of messages, not one {type(messages).__name__}: use put")
    batch = list(messages)
    if set(map(type, batch)) <= {bytes}:  # by far the most frequent, and a loop of C
        return batch
    for number, message in enumerate(batch):
        try:
            batch[number] = encode(message)
        except TypeError as error:
            raise TypeError(f"message {number} of put_many: {error}") from None
    return batch


def get_many(lanes: Lanes, limit: int, timeout: float | None) -> list[Any]:
    """See `Channel.get_many`. Nothing here switches to another greenlet after a message was taken."""
    pipe, limit = lanes.pipe, min(limit, MANY)
    messages = pipe.take_many(limit)
    if messages:
        return messages
    messages = [lanes.get(True, timeout)]
    if limit == 1:
        return messages
    if not pipe.direct_gets:
        return _get_one_by_one(lanes, messages, limit)
    more = pipe.take_many(limit - 1)
    if not more and pipe.due():  # the others have had their turn while this waited
        more = pipe.take_many(limit - 1)
    return messages + more


def _get_one_by_one(lanes: Lanes, messages: list[Any], limit: int) -> list[Any]:
    """Add to *messages* what can be got now, up to *limit* in all, where each must be looked at as it passes."""
    with suppress(Empty, ClosedError, BrokenError):  # an end is told by the next call
        while len(messages) < limit:
            messages.append(lanes.get(False, None))
    return messages
