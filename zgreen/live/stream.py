"""Stream: what one open page gets, as server-sent events. One greenlet of the HTTP server iterates it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.event import Event
from gevent.queue import Empty

import zgreen
from zgreen._types import SubscriptionOverflow
from zgreen.live import wire


class Stream:
    """The events of one page, and its subscription, which the page may change.

    While the browser does not read, the greenlet waits in its write, and messages wait in the subscription; when that
    is full, it loses messages by its policy, and no other stream notices.

    Attributes:
        number: of this stream, for people.
        token: names this stream in requests; only its own page learns it.
        sent: messages given to the browser.
    """

    def __init__(
        self,
        number: int,
        fanout: zgreen.Fanout[tuple[bytes, ...]],
        prefixes: tuple[bytes, ...],
        maxsize: int,
        overflow: SubscriptionOverflow,
    ) -> None:
        self.number = number
        self.token = secrets.token_urlsafe(12)
        self.sent = 0
        self._fanout = fanout
        self._maxsize, self._overflow = maxsize, overflow
        self._wanted = prefixes
        self._lost = 0  # by earlier subscriptions
        self._statistics: Any = None  # what is to be sent next
        self._over = False
        self._wake = Event()
        self._subscription = self._subscribe()

    def want(self, prefixes: tuple[bytes, ...]) -> None:
        """Change the subscription, soon; the page is told when it is done."""
        self._wanted = prefixes
        self._wake.set()

    def tell(self, statistics: Any) -> None:
        """Send *statistics*; newer ones take the place of those that a slow page has not got yet."""
        self._statistics = statistics
        self._wake.set()

    def end(self) -> None:
        """Send no more."""
        self._over = True
        self._wake.set()

    def close(self) -> None:
        """The page has gone."""
        self._subscription.close()

    def statistics(self) -> dict[str, Any]:
        """A row of the page's table of connections."""
        return {
            "number": self.number,
            "prefixes": _texts(self._subscription.prefixes),
            "queue": self._subscription.qsize(),
            "maxsize": self._maxsize,
            "overflow": self._overflow,
            "sent": self.sent,
            "lost": self._lost + self._subscription.dropped,
        }

    def events(self) -> Iterator[bytes]:
        """Yield events until the end."""
        hello = {"token": self.token, "number": self.number, "prefixes": _texts(self._subscription.prefixes)}
        yield b"retry: 1000\n" + wire.event("hello", hello)
        try:
            while not self._over:
                awaited: list[Any] = [self._subscription, self._wake]
                gevent.wait(awaited, count=1)
                self._wake.clear()
                yield from self._turn()
        except (zgreen.ClosedError, zgreen.BrokenError) as error:  # by its policy, or with the channel
            yield wire.event("end", str(error))

    def _turn(self) -> Iterator[bytes]:
        if self._wanted != self._subscription.prefixes:
            yield from self._change()
        if self._subscription.ready():
            yield from self._messages([self._subscription.get(), *_take(self._subscription, wire.BATCH - 1)])
        if self._statistics is not None:
            statistics, self._statistics = self._statistics, None
            yield wire.event("statistics", statistics)

    def _subscribe(self) -> zgreen.Subscription[tuple[bytes, ...]]:
        return self._fanout.subscribe(*self._wanted, maxsize=self._maxsize, overflow=self._overflow)

    def _change(self) -> Iterator[bytes]:
        """Another subscription takes the place of this one: what both want comes once, and is not missed."""
        old, new = self._subscription, self._subscribe()
        old.close()
        self._subscription = new
        before, after = _take(old, None), _take(new, None)
        self._lost += old.dropped
        seen = {id(message) for message in before}  # a message is one and the same object for all subscriptions
        yield from self._messages(before)
        yield wire.event("subscribed", _texts(new.prefixes))
        yield from self._messages([message for message in after if id(message) not in seen])

    def _messages(self, messages: list[tuple[bytes, ...]]) -> Iterator[bytes]:
        for start in range(0, len(messages), wire.BATCH):
            batch = messages[start : start + wire.BATCH]
            self.sent += len(batch)
            yield wire.event("messages", [wire.shown(message) for message in batch])


def _take(subscription: zgreen.Subscription[tuple[bytes, ...]], limit: int | None) -> list[tuple[bytes, ...]]:
    """What waits there, at most *limit* messages."""
    messages: list[tuple[bytes, ...]] = []
    try:
        while limit is None or len(messages) < limit:
            messages.append(subscription.get_nowait())
    except (Empty, zgreen.ClosedError, zgreen.BrokenError):
        pass
    return messages


def _texts(prefixes: tuple[bytes, ...]) -> list[str]:
    return [prefix.decode(errors="replace") for prefix in prefixes]
