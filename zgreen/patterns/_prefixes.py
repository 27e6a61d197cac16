"""PrefixIndex: who wants which prefix, found without a look at the prefixes that do not match. Hub side; no gevent.

A dict for all prefixes, and the set of their lengths: a topic costs one look-up for each length that is in use and not
longer than the topic, however many prefixes there are.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection
from typing import Generic, TypeVar

T = TypeVar("T")


class PrefixIndex(Generic[T]):
    """Members (hashable, told apart by identity or equality) under the prefixes that each of them wants."""

    def __init__(self) -> None:
        # in the order they came; a dict as a set that keeps it
        self._members: dict[bytes, dict[T, None]] = {}
        self._lengths: list[int] = []  # of the prefixes, ascending, each once
        self._counts: dict[int, int] = {}  # how many prefixes have that length

    def __len__(self) -> int:
        """How many prefixes there are."""
        return len(self._members)

    def __contains__(self, prefix: bytes) -> bool:
        return prefix in self._members

    def add(self, prefix: bytes, member: T) -> None:
        members = self._members.get(prefix)
        if members is not None:
            members[member] = None
            return
        self._members[prefix] = {member: None}
        length = len(prefix)
        self._counts[length] = self._counts.get(length, 0) + 1
        if self._counts[length] == 1:
            insort(self._lengths, length)

    def discard(self, prefix: bytes, member: T) -> bool:
        """Whether nobody wants *prefix* any more."""
        members = self._members.get(prefix)
        if members is None:
            return False
        members.pop(member, None)
        if members:
            return False
        del self._members[prefix]
        length = len(prefix)
        self._counts[length] -= 1
        if not self._counts[length]:
            del self._counts[length]
            self._lengths.remove(length)
        return True

    def match(self, topic: bytes) -> Collection[T]:
        """All whose prefix *topic* begins with, each once; a copy."""
        size = len(topic)
        found: list[dict[T, None]] = []
        for length in self._lengths:
            if length > size:
                break
            members = self._members.get(topic[:length])
            if members is not None:
                found.append(members)
        if not found:
            return ()
        if len(found) == 1:
            return list(found[0])
        return list(dict.fromkeys(member for members in found for member in members))
