"""Stream: what one open page gets, as server-sent events. One greenlet of the HTTP server iterates it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import zgreen
from zgreen import sse
from zgreen._types import SubscriptionOverflow
from zgreen.live import wire

_HEARTBEAT = 1.0  # seconds; in each half of it what else there is to tell has its turn


class Stream:
    """The events of one page, and its subscription, which the page may change.

    While the browser does not read, the greenlet waits in its write, and messages wait in the subscription; when that
    is full, it loses messages by its policy, and no other stream notices.

    Attributes:
        number: of this stream, for people.
        token: names this stream in requests; only its own page learns it.
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
        self._maxsize, self._overflow = maxsize, overflow
        self._news: dict[str, Any] = {}  # values of events by their names, which the page has not been sent yet
        self._over = False
        self._subscription = fanout.subscribe(*prefixes, maxsize=maxsize, overflow=overflow)
        self._body = sse.events(self._subscription, heartbeat=_HEARTBEAT, encode=wire.encode)

    def want(self, prefixes: tuple[bytes, ...]) -> None:
        """Change the subscription; the page is told before the first message that it owes to that.

        :raises ClosedError, BrokenError: the stream has ended.
        """
        self._news["subscribed"] = _texts(prefixes)  # first: the change waits for libzmq, and messages may come
        self._subscription.change(*prefixes)

    def tell(self, statistics: Any) -> None:
        """Send *statistics*; newer ones take the place of those that a slow page has not got yet."""
        self._news["statistics"] = statistics

    def end(self) -> None:
        """Send no more."""
        self._over = True
        self._subscription.close()

    def close(self) -> None:
        """The page has gone."""
        self._body.close()

    def statistics(self) -> dict[str, Any]:
        """A row of the page's table of connections."""
        return {
            "number": self.number,
            "prefixes": _texts(self._subscription.prefixes),
            "queue": self._subscription.qsize(),
            "maxsize": self._maxsize,
            "overflow": self._overflow,
            "sent": self._body.sent,
            "lost": self._subscription.dropped,
        }

    def events(self) -> Iterator[bytes]:
        """Yield events until the end."""
        hello = {"token": self.token, "number": self.number, "prefixes": _texts(self._subscription.prefixes)}
        yield wire.event("hello", hello)
        for piece in self._body:
            yield self._told() + piece
        if not self._over:
            yield wire.event("end", self._reason())

    def _told(self) -> bytes:
        news, self._news = self._news, {}
        return b"".join([wire.event(name, value) for name, value in news.items()])

    def _reason(self) -> str:
        """Why the subscription has ended: by its policy, or with the channel."""
        try:
            self._subscription.get_nowait()
        except (zgreen.ClosedError, zgreen.BrokenError) as error:
            return str(error)
        return ""


def _texts(prefixes: tuple[bytes, ...]) -> list[str]:
    return [prefix.decode(errors="replace") for prefix in prefixes]
