"""Upstream: what a fan-out has told libzmq to subscribe to. Hub side."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

import gevent

from .._errors import BrokenError, ClosedError
from .._hub.channel import Channel
from .._hub.seam import may_wait


class Upstream:
    """The subscriptions of a fan-out's SUB channel; if *filters* is false it is a PULL channel, and nothing is told.

    *wanted* says whether a subscription here wants a prefix. *linger*: how many prefixes that are not wanted any more
    stay subscribed, those that were left last; what is published meanwhile can then be replayed.
    """

    def __init__(self, channel: Channel, filters: bool, wanted: Callable[[bytes], bool], linger: int) -> None:
        self._channel = channel
        self._filters = filters
        self._is_wanted = wanted
        self._linger = linger
        self._told: set[bytes] = set()
        self._left: OrderedDict[bytes, None] = OrderedDict()  # that linger; that was left last is the last

    def leave(self, prefixes: Iterable[bytes]) -> list[bytes]:
        """Note that no subscription wants *prefixes* any more, and return the prefixes of which libzmq is to be told:
        the first of those that linger, if they are too many now."""
        if not self._filters:
            return []
        for prefix in prefixes:
            self._left[prefix] = None
            self._left.move_to_end(prefix)
        return [self._left.popitem(last=False)[0] for _ in range(len(self._left) - self._linger)]

    def leave_all(self) -> list[bytes]:
        """The fan-out has ended: nothing lingers; what libzmq is to be told of."""
        self._left.clear()
        return list(self._told)

    def covers(self, topic: bytes) -> bool:
        """Whether a message with *topic* still comes for the sake of a prefix that lingers."""
        return any(topic.startswith(prefix) for prefix in self._left)

    def tell(self, prefix: bytes) -> None:
        """Bring libzmq to what is wanted now.

        The command is under way before this greenlet waits for its end, so the order of commands is that of the wishes,
        whichever greenlet is killed while it waits.
        """
        wanted = self._is_wanted(prefix)
        if wanted:
            self._left.pop(prefix, None)
        wanted = wanted or prefix in self._left
        if not self._filters or wanted == (prefix in self._told):
            return
        if wanted:
            self._told.add(prefix)
            self._channel.subscribe(prefix)
        else:
            self._told.discard(prefix)
            self._channel.unsubscribe(prefix)

    def tell_all(self, prefixes: Iterable[bytes], wait: bool = True) -> None:
        """`tell` of each, in this order; return when libzmq has been told, if *wait*. The end of the channel is no
        error here: there is nothing to tell any more."""
        left = deque(prefixes)
        if not left:
            return
        if not wait or not may_wait(self._channel.pump):
            gevent.spawn(self.tell_all, left)
            return
        try:
            while left:
                self.tell(left.popleft())
        except (ClosedError, BrokenError):
            pass
        except BaseException:  # the caller was killed while it waited
            self.tell_all(left, wait=False)
            raise
