"""PrefixIndex: which member wants which topics, found without a look at the prefixes that do not match. Hub side; no
gevent.

A dict for all prefixes, and the set of their lengths: a topic costs one look-up for each length that is in use and not
longer than the topic, however many prefixes there are. Whole topics are in a dict of their own: one look-up for all.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Wanted(NamedTuple):
    """What a subscription wants: topics that begin with one of *prefixes*, or, if *exact*, that are one of them."""

    prefixes: tuple[bytes, ...]
    exact: bool

    def matches(self, topic: bytes) -> bool:
        return topic in self.prefixes if self.exact else topic.startswith(self.prefixes)


def wanted_of(prefixes: tuple[Any, ...], exact: Any) -> Wanted:
    """What a user gives; a TypeError says what is wrong with it."""
    if not isinstance(exact, bool):
        raise TypeError(f"exact must be True or False, not {exact!r:.60}")
    if not prefixes:
        raise TypeError('give at least one prefix; "" means all messages')
    for prefix in prefixes:
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}: {prefix!r:.60}")
    return Wanted(tuple(dict.fromkeys(p.encode() if isinstance(p, str) else p for p in prefixes)), exact)


class _Members(dict[T, None]):
    """The members that want one prefix or topic, in the order in which they came: a dict as a set that keeps it."""

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages = 0  # that have matched


class PrefixIndex(Generic[T]):
    """Members (hashable, told apart by identity or equality) under what each of them wants: all topics that begin with
    a prefix, or, if *exact*, the one topic that is equal to it."""

    def __init__(self) -> None:
        self._by_prefix: dict[bytes, _Members[T]] = {}
        self._by_topic: dict[bytes, _Members[T]] = {}
        self._lengths: list[int] = []  # of the prefixes, ascending, each once
        self._counts: dict[int, int] = {}  # how many prefixes have that length

    def __len__(self) -> int:
        """How many prefixes and topics there are."""
        return len(self._by_prefix) + sum(topic not in self._by_prefix for topic in self._by_topic)

    def __contains__(self, prefix: bytes) -> bool:
        """Whether a member wants *prefix*, as a prefix or as a topic."""
        return prefix in self._by_prefix or prefix in self._by_topic

    def add(self, prefix: bytes, member: T, exact: bool = False) -> None:
        where = self._by_topic if exact else self._by_prefix
        members = where.get(prefix)
        if members is None:
            members = where[prefix] = _Members()
            if not exact:
                self._add_length(len(prefix))
        members[member] = None

    def discard(self, prefix: bytes, member: T, exact: bool = False) -> bool:
        """Take *member* out; return whether no member wants *prefix* any more, neither as a prefix nor as a topic."""
        where = self._by_topic if exact else self._by_prefix
        members = where.get(prefix)
        if members is None:
            return False
        members.pop(member, None)
        if members:
            return False
        del where[prefix]
        if not exact:
            self._remove_length(len(prefix))
        return prefix not in self

    def match(self, topic: bytes) -> Collection[T]:
        """Return the members that want *topic*, each once; a copy. It counts as a message that has matched."""
        found = self._find(topic)
        for members in found:
            members.messages += 1
        if not found:
            return ()
        if len(found) == 1:
            return list(found[0])
        return list(dict.fromkeys(member for members in found for member in members))

    def wants(self, topic: bytes) -> bool:
        """Whether a member wants *topic*."""
        return bool(self._find(topic))

    def _find(self, topic: bytes) -> list[_Members[T]]:
        size = len(topic)
        found: list[_Members[T]] = []
        for length in self._lengths:
            if length > size:
                break
            members = self._by_prefix.get(topic[:length])
            if members is not None:
                found.append(members)
        if self._by_topic:
            members = self._by_topic.get(topic)
            if members is not None:
                found.append(members)
        return found

    def counts(self) -> Iterator[tuple[bytes, bool, int, int]]:
        """(prefix, whether it is a whole topic, how many want it, how many messages have matched) of all."""
        for exact, where in ((False, self._by_prefix), (True, self._by_topic)):
            for prefix, members in where.items():
                yield prefix, exact, len(members), members.messages

    def _add_length(self, length: int) -> None:
        self._counts[length] = self._counts.get(length, 0) + 1
        if self._counts[length] == 1:
            insort(self._lengths, length)

    def _remove_length(self, length: int) -> None:
        self._counts[length] -= 1
        if not self._counts[length]:
            del self._counts[length]
            self._lengths.remove(length)
