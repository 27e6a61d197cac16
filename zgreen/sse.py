"""Server-sent events: a subscription as the body of a WSGI response. On the public face; hub side."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gevent.queue import Empty

from ._arguments import check_seconds
from .patterns._history import Numbered
from .patterns.subscription import Subscription

#: What a response should say besides its status. The last is for nginx, which would otherwise collect events.
HEADERS = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
]

_BATCH = 100  # messages in one chunk of the body
_SMALL = 1024  # characters or bytes; see `_small`
_COMMENT = b":\n\n"  # a line that every client ignores
_RETRY = (0.5, 2.5)  # seconds after which clients come back; each is told another number, so that not all come at once
_LINES = re.compile(rb"\r\n|\r|\n")


class Event(NamedTuple):
    """One event, as a browser's ``EventSource`` gets it; an *encode* function may return one.

    *data*: the text; *event*: its type, for ``addEventListener``; None: "message"; *id*: what the client sends as
    ``Last-Event-ID`` when it comes back; *retry*: seconds after which it does. ``bytes`` are taken as UTF-8, and what
    is not is replaced. Line breaks in *data* stay; in *event* and *id*, which cannot have any, they become spaces.
    """

    data: str | bytes = ""
    event: str | bytes | None = None
    id: str | bytes | None = None
    retry: float | None = None

    def encoded(self) -> bytes:
        """The bytes of the event in the stream."""
        before = b"" if self.retry is None else b"retry: %d\n" % round(self.retry * 1000)
        if self.event is not None:
            before += b"event: %b\n" % _one_line(self.event)
        if self.id is not None:
            before += b"id: %b\n" % _one_line(self.id)
        return b"%bdata: %b\n\n" % (before, _lines_joined(self.data, b"\ndata: "))


def default_encode(message: bytes | tuple[bytes, ...]) -> bytes:
    """What :func:`events` sends of a message: a single frame as it is; of several, all but the first, the topic."""
    return message if isinstance(message, bytes) else b"\n".join(message[1:] or message)


def events(
    subscription: Subscription,
    *,
    heartbeat: float = 15.0,
    encode: Callable[[Any], str | bytes | Event] = default_encode,
    last_event_id: str | None = None,
) -> EventStream:
    """The messages of *subscription* as the body of a WSGI response: an iterable of bytes, with ``close()``.

    :param heartbeat: seconds within which a client that has gone is noticed: when nothing comes, a comment is sent
        twice in that time, because only the second write to a connection that the other side has closed fails.
    :param encode: called with each message; returns the data, or an :class:`Event`.
    :param last_event_id: the request's ``Last-Event-ID``, ``environ.get("HTTP_LAST_EVENT_ID")``: the client has been
        here before, and first gets what it has missed, as far as the fan-out keeps it (``Fanout(channel, keep=N)``).
        An id that this process has not given, or whose message is no longer known, starts anew.
    :raises TypeError, ValueError: one of these is not what it should be.
    :raises RuntimeError: on another thread than that of the pump's hub.

    The stream belongs to one client, and takes over the subscription: it is closed when the server closes the iterable,
    which it does however the response ends. The stream ends when the subscription does: after :func:`zgreen.drain`,
    after the end of the channel, and when the subscription's policy is "disconnect" and the client is too slow. The
    client is told to come back then, in 0.5 to 2.5 seconds.

    If the fan-out keeps messages, each event has an id. It is good for this process and fan-out. With several workers,
    where the client may come back to another one, let *encode* return an :class:`Event` with an *id* that the publisher
    has given to the message: what is kept is then searched for it.
    """
    if not isinstance(subscription, Subscription):
        raise TypeError(f"subscription must be a zgreen.Subscription, not {type(subscription).__name__}")
    if heartbeat is None:
        raise TypeError("heartbeat must be a number of seconds: without one a client that has gone is not noticed")
    check_seconds("heartbeat", heartbeat)
    if heartbeat == 0:
        raise ValueError("heartbeat must be more than 0 seconds")
    if not callable(encode):
        raise TypeError(f"encode must be callable, not {type(encode).__name__}")
    if last_event_id is not None and not isinstance(last_event_id, str):
        raise TypeError(f"last_event_id must be a str or None, not {type(last_event_id).__name__}")
    stream = EventStream(subscription, heartbeat, encode)
    if last_event_id:
        try:
            stream.resume(last_event_id)
        except BaseException:  # encode has failed
            stream.close()
            raise
    return stream


def come_back() -> list[bytes]:
    """The body of a response to a client that comes when no subscription is to be had any more, a
    :class:`zgreen.ClosedError` of ``subscribe``: it tells the client to come again in 0.5 to 2.5 seconds.

    Give it with :data:`HEADERS` and the status 200: after any other status a browser's ``EventSource`` does not come
    again at all.
    """
    return [b"retry: %d\n\n" % (random.uniform(*_RETRY) * 1000)]


class EventStream:
    """What :func:`events` returns; the body of one response.

    Attributes:
        sent: how many messages have been given to the server.
    """

    def __init__(
        self, subscription: Subscription, heartbeat: float, encode: Callable[[Any], str | bytes | Event]
    ) -> None:
        self._subscription = subscription
        self._pause = heartbeat / 2
        self._encode = encode
        self._begun = False
        self._over = False
        self.sent = 0

    def resume(self, last_event_id: str) -> None:
        """Internal: begin with what came after the event with that id."""

        def find(kept: list[Numbered]) -> list[Numbered] | None:
            token, _, number = last_event_id.rpartition("-")
            if token == self._subscription.token and re.fullmatch("[0-9]{1,18}", number):
                return [numbered for numbered in kept if numbered.number > int(number)]
            for index in reversed(range(len(kept))):
                event = _as_event(self._encode(kept[index].message))
                if event.id is not None and _one_line(event.id).decode() == last_event_id:
                    return kept[index + 1 :]
            return None

        self._subscription.resume(find)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next piece of the body; waits for a message, or for half a heartbeat."""
        if not self._begun:
            self._begun = True  # something at once: the server sends the status and the headers with it
            return _COMMENT
        if self._over:
            self.close()
            raise StopIteration
        try:
            messages = self._subscription.get_numbered(_BATCH, self._pause)
        except Empty:
            return _COMMENT
        if not messages:
            self._over = True
            return come_back()[0]
        self.sent += len(messages)
        return b"".join([self._piece(number, message) for number, message in messages])

    def close(self) -> None:
        """End the stream: the server calls this when the client has gone. Again: nothing."""
        self._over = True
        self._subscription.close()

    def _piece(self, number: int | None, message: Any) -> bytes:
        """The bytes of one event."""
        encoded = self._encode(message)
        if isinstance(encoded, (str, bytes)) and len(encoded) <= _SMALL:
            return _small(encoded, self._id(number))
        event = _as_event(encoded)
        return (event if event.id is not None else event._replace(id=self._id(number))).encoded()

    def _id(self, number: int | None) -> str | None:
        return None if number is None else f"{self._subscription.token}-{number}"


def _as_event(encoded: str | bytes | Event) -> Event:
    return encoded if isinstance(encoded, Event) else Event(encoded)


# The streams of a fan-out send the same events at about the same time. Small ones alone are kept, for the memory.
@functools.lru_cache(maxsize=256)
def _small(data: str | bytes, identity: str | None) -> bytes:
    return Event(data, id=identity).encoded()


def _utf8(value: str | bytes) -> bytes:
    """The same as UTF-8, with a replacement for what is none."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    return value if value.isascii() else value.decode(errors="replace").encode()


def _one_line(value: str | bytes) -> bytes:
    return _lines_joined(value, b" ").replace(b"\0", b" ")


def _lines_joined(value: str | bytes, between: bytes) -> bytes:
    """The lines of *value* with *between* in the place of each line break; `re` alone takes ten times as long."""
    text = _utf8(value)
    return _LINES.sub(between, text) if b"\n" in text or b"\r" in text else text
