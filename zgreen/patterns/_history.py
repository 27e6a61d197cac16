"""History: the last messages of each topic, for subscriptions that ask to have them replayed. Hub side; no gevent."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple


class Numbered(NamedTuple):
    """A message, and its number: the first that the fan-out received is 1."""

    number: int
    message: Any


def topic_of(message: bytes | tuple[bytes, ...]) -> bytes:
    """The first frame."""
    return message if isinstance(message, bytes) else message[0]


def _size(message: bytes | tuple[bytes, ...]) -> int:
    return len(message) if isinstance(message, bytes) else sum(map(len, message))


class History:
    """Keeps *per_topic* messages of each of the *max_topics* topics that were published last, and *max_bytes* of
    content in all: beyond that, the topic that has been silent for the longest time loses its oldest message first."""

    def __init__(self, per_topic: int, max_topics: int, max_bytes: int) -> None:
        self._per_topic = per_topic
        self._max_topics = max_topics
        self._max_bytes = max_bytes
        self._topics: OrderedDict[bytes, deque[Numbered]] = OrderedDict()  # that was published last is the last
        self.last = 0  # the number of the last message
        self.messages = 0  # that are kept
        self.bytes = 0  # of these

    def add(self, message: bytes | tuple[bytes, ...]) -> Numbered:
        """Number *message* and keep it; one that is larger than all that may be kept is only numbered."""
        self.last += 1
        numbered = Numbered(self.last, message)
        size = _size(message)
        if size > self._max_bytes:
            return numbered
        topic = topic_of(message)
        kept = self._topics.get(topic)
        if kept is None:
            kept = self._topics[topic] = deque()
        else:
            self._topics.move_to_end(topic)
        kept.append(numbered)
        self.messages += 1
        self.bytes += size
        if len(kept) > self._per_topic:
            self._drop_oldest(kept)
        if len(self._topics) > self._max_topics:
            self._drop_topic(next(iter(self._topics)))
        while self.bytes > self._max_bytes:
            silent = next(iter(self._topics))
            self._drop_oldest(self._topics[silent])
            if not self._topics[silent]:
                del self._topics[silent]
        return numbered

    def find(
        self, wanted: Callable[[bytes], bool], per_topic: int | None = None, after: int = 0, until: int | None = None
    ) -> list[Numbered]:
        """The messages of the topics that are *wanted*, oldest first: the last *per_topic* of each (None: all), of
        those with a number above *after* and up to *until*."""
        end = self.last if until is None else until
        found: list[Numbered] = []
        for topic, kept in self._topics.items():
            if wanted(topic):
                between = [numbered for numbered in kept if after < numbered.number <= end]
                found += between if per_topic is None else between[-per_topic:]
        return sorted(found, key=attrgetter("number"))

    def forget(self, gone: Callable[[bytes], bool]) -> None:
        """Forget the topics of which *gone* is true: what comes of them next is not what follows."""
        for topic in [topic for topic in self._topics if gone(topic)]:
            self._drop_topic(topic)

    def _drop_topic(self, topic: bytes) -> None:
        kept = self._topics.pop(topic)
        while kept:
            self._drop_oldest(kept)

    def _drop_oldest(self, kept: deque[Numbered]) -> None:
        self.bytes -= _size(kept.popleft().message)
        self.messages -= 1
