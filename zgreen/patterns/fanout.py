"""Fanout: one SUB or PULL channel for any number of subscriptions in this process. Hub side.

One greenlet gets from the channel and puts each message into the inboxes of those who want it. All state is the hub's
thread's alone; the one exception is `_abandoned`, to which the garbage collector adds from any thread.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import gevent
import zmq
from gevent import monkey

from .._arguments import check_maxsize, check_overflow
from .._errors import BrokenError, ClosedError
from .._hub.channel import Channel
from ._inbox import OVERFLOWS, Inbox, MakeError, Waker
from ._prefixes import PrefixIndex
from .subscription import Subscription

_BREATH = 250  # deliveries between two times that other greenlets get their turn; see also _inbox

_get_ident = monkey.get_original("_thread", "get_ident")
# who gets from a channel: a second one would take half of the messages; the hub's thread of each
_fans: WeakKeyDictionary[Channel, ref[Fanout]] = WeakKeyDictionary()


class FanoutStatistics(NamedTuple):
    """A snapshot of a fan-out.

    *subscriptions* and *prefixes* there are now; *received*: messages from the channel; *unmatched*: those of them that
    nobody wanted; *delivered*: one for each message and subscription; *dropped*: lost by the policy of a subscription;
    *disconnected*: subscriptions that ended so; *abandoned*: subscriptions that were not closed, but forgotten.
    """

    subscriptions: int
    prefixes: int
    received: int
    unmatched: int
    delivered: int
    dropped: int
    disconnected: int
    abandoned: int


class Fanout:
    """Gives each message of one channel to all subscriptions that want it.

    :param channel: a SUB channel, or a PULL channel. It stays yours: close() of the fan-out leaves it open, but as long
        as the fan-out is open nobody else should get from it.
    :raises TypeError: this is no such channel.
    :raises ValueError: another fan-out gets from it.
    :raises ClosedError, BrokenError: the channel has ended.

    On a SUB channel the fan-out subscribes and unsubscribes: libzmq is told of the first and the last subscription of a
    prefix. ``channel.subscribe`` of your own is apart from that. On a PULL channel prefixes are looked at here only.

    Nothing is got from the channel before the first :meth:`subscribe`. What nobody wants after that is counted as
    unmatched, and gone. When the channel ends, so do all subscriptions, with the channel's error. On the thread of the
    pump's hub only.
    """

    def __init__(self, channel: Channel) -> None:
        if not isinstance(channel, Channel):
            raise TypeError(f"channel must be a zgreen.Channel, not {type(channel).__name__}")
        channel.ready()  # a TypeError or RuntimeError says what is wrong with it
        kind = channel.getsockopt(zmq.TYPE)
        if kind not in (zmq.SUB, zmq.PULL):
            raise TypeError(f"{channel}: a Fanout wants a SUB or a PULL socket")
        other = _fans[channel]() if channel in _fans else None
        if other is not None and not other.closed:
            raise ValueError(f"{channel}: another Fanout gets from it already, and would lose what this one takes")
        _fans[channel] = ref(self)
        self._channel = channel
        self._filters = kind == zmq.SUB  # whether libzmq is to be told of prefixes
        hub = gevent.get_hub()
        self._thread = hub.thread_ident
        self._hub = hub
        self._waker = Waker(hub)
        self._index: PrefixIndex[Inbox] = PrefixIndex()
        self._prefixes: dict[Inbox, tuple[bytes, ...]] = {}  # of all open inboxes
        self._told: set[bytes] = set()  # the prefixes that libzmq knows
        self._abandoned: deque[Inbox] = deque()  # any thread appends, the hub's pops
        self._error: MakeError | None = None  # the end
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._since_breath = 0
        self._received = self._unmatched = self._delivered = self._dropped = self._disconnected = self._forgotten = 0

    # ------------------------------------------------------------------ what a user sees

    @property
    def channel(self) -> Channel:
        """The channel that it gets from."""
        return self._channel

    @property
    def closed(self) -> bool:
        """Whether it takes no more subscriptions: closed, or its channel has ended."""
        return self._error is not None

    def subscribe(
        self, *prefixes: str | bytes, maxsize: int | None = 64, overflow: str = "drop_oldest"
    ) -> Subscription:
        """Want all messages whose first frame begins with one of *prefixes*, from now on.

        :param prefixes: at least one; ``str`` is UTF-8; ``""``: all messages.
        :param maxsize: how many messages may wait to be got; None: no limit.
        :param overflow: when there are so many: ``"drop_oldest"``, ``"drop_newest"``, or ``"disconnect"``, which ends
            the subscription: it gives what is there, and then :class:`ClosedError`. What is lost is counted.
        :raises TypeError, ValueError: one of these is not what it should be.
        :raises ClosedError, BrokenError: the fan-out is closed, or its channel has ended.

        You will not get what was published before libzmq told the publisher of a new prefix, which takes a moment.
        """
        self.check_thread()
        wanted = _encode(prefixes)
        check_maxsize("maxsize", maxsize)
        check_overflow(overflow, OVERFLOWS)
        if self._error is not None:
            raise self._error()
        inbox = Inbox(self._waker, maxsize, overflow, self._disconnect)
        self._prefixes[inbox] = wanted
        for prefix in wanted:
            self._index.add(prefix, inbox)
        subscription = Subscription(self, inbox, wanted)
        try:
            self._forget_abandoned()
            for prefix in wanted:
                self._tell(prefix)
        except BaseException:  # the channel has ended, or the caller was killed while it waited
            self._tell_all(self._leave(inbox, partial(ClosedError, f"{subscription} was never made")), wait=False)
            raise
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        return subscription

    def statistics(self) -> FanoutStatistics:
        """A snapshot of the counts since the fan-out was made."""
        dropped = self._dropped + sum(inbox.dropped for inbox in self._prefixes)
        return FanoutStatistics(
            len(self._prefixes), len(self._index), self._received, self._unmatched, self._delivered, dropped,
            self._disconnected, self._forgotten,
        )  # fmt: skip

    def close(self) -> None:
        """End all subscriptions: they give what they have, and then :class:`ClosedError`. The channel stays open.

        What libzmq was told is undone. A message that is being delivered may be lost. Closing again does nothing.
        """
        self.check_thread()
        if self._error is not None:
            return
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._end(partial(ClosedError, f"{self} was closed"))
        self._tell_all(tuple(self._told))

    def __enter__(self) -> Fanout:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zgreen.Fanout of {self._channel}>"

    # ------------------------------------------------------------------ for its subscriptions

    def check_thread(self) -> None:
        """Internal: a RuntimeError on another thread than the hub's."""
        if _get_ident() != self._thread:
            raise RuntimeError(f"{self} works on the thread of its hub only")

    def may_wait(self) -> bool:
        """Internal: whether the caller may wait: not the hub itself (a callback of the loop)."""
        return gevent.getcurrent() is not self._hub

    def close_one(self, inbox: Inbox, error: MakeError) -> None:
        """Internal: what the owner of a subscription wants."""
        self.check_thread()
        self._tell_all(self._leave(inbox, error))

    def abandon(self, inbox: Inbox) -> None:
        """Internal: nobody has the subscription of *inbox* any more; any thread, in the middle of anything."""
        self._abandoned.append(inbox)

    # ------------------------------------------------------------------ delivery

    def _run(self) -> None:
        """Deliver until the channel ends; the one greenlet that gets from it."""
        try:
            while self._error is None:
                message = self._channel.get()
                self._forget_abandoned(wait=False)
                self._deliver(message)
                if self._waker.urgent:  # who waits for messages is not slow: let it have them before the next one
                    self._waker.catch_up()
        except (ClosedError, BrokenError) as error:
            self._end(partial(_again, error.with_traceback(None)))
        except BaseException as error:
            self._end(partial(_broken, f"{self} has ended by an error of its delivery: {error!r}", error))
            raise

    def _deliver(self, message: bytes | list[bytes]) -> None:
        """Put *message* into all inboxes that want it; those who subscribe meanwhile do not get it."""
        self._received += 1
        shared, topic = (message, message) if isinstance(message, bytes) else (tuple(message), message[0])
        inboxes = self._index.match(topic)
        if not inboxes:
            self._unmatched += 1
        for inbox in inboxes:
            self._delivered += inbox.offer(shared)
            self._since_breath += 1
            if self._since_breath >= _BREATH:
                self._since_breath = 0
                gevent.sleep(0)

    # ------------------------------------------------------------------ coming and leaving

    def _leave(self, inbox: Inbox, error: MakeError) -> tuple[bytes, ...]:
        """Take *inbox* out, which ends with *error*; the prefixes that nobody wants any more."""
        inbox.end(error)
        prefixes = self._prefixes.pop(inbox, None)
        if prefixes is None:
            return ()
        self._dropped += inbox.dropped
        return tuple(prefix for prefix in prefixes if self._index.discard(prefix, inbox))

    def _forget_abandoned(self, wait: bool = True) -> None:
        """Take out what the garbage collector has found."""
        while self._abandoned:
            inbox = self._abandoned.popleft()
            if inbox in self._prefixes:
                self._forgotten += 1
                self._tell_all(self._leave(inbox, partial(ClosedError, "the subscription is garbage")), wait)

    def _disconnect(self, inbox: Inbox) -> None:
        """*inbox* is full, and that is to be its end; in the middle of a delivery, which must not wait."""
        self._disconnected += 1
        error = partial(ClosedError, f"a subscription of {self} was disconnected: it did not get its messages in time")
        self._tell_all(self._leave(inbox, error), wait=False)

    def _end(self, error: MakeError) -> None:
        """No more messages will come."""
        if self._error is not None:
            return
        self._error = error
        for inbox in tuple(self._prefixes):
            self._leave(inbox, error)

    # ------------------------------------------------------------------ what libzmq is told

    def _tell_all(self, prefixes: tuple[bytes, ...], wait: bool = True) -> None:
        """See that libzmq does not send what nobody wants; return when it has been told, if *wait*."""
        if not prefixes or not self._filters:
            return
        if not wait or not self.may_wait():
            gevent.spawn(self._tell_all, prefixes)
            return
        left = deque(prefixes)
        try:
            while left:
                self._tell(left.popleft())
        except (ClosedError, BrokenError):
            pass  # then there is nothing to undo
        except BaseException:  # the caller was killed while it waited
            self._tell_all(tuple(left), wait=False)
            raise

    def _tell(self, prefix: bytes) -> None:
        """Bring libzmq to what is wanted now.

        The command is under way before this greenlet waits for its end, so the order of commands is that of the wishes,
        whoever is killed while it waits.
        """
        wanted = prefix in self._index
        if not self._filters or wanted == (prefix in self._told):
            return
        if wanted:
            self._told.add(prefix)
            self._channel.subscribe(prefix)
        else:
            self._told.discard(prefix)
            self._channel.unsubscribe(prefix)


def _encode(prefixes: tuple[Any, ...]) -> tuple[bytes, ...]:
    if not prefixes:
        raise TypeError('give at least one prefix; "" means all messages')
    for prefix in prefixes:
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}: {prefix!r:.60}")
    return tuple(dict.fromkeys(p.encode() if isinstance(p, str) else p for p in prefixes))


def _again(error: ClosedError | BrokenError) -> BaseException:
    """A new error like *error*: each who gets one adds a traceback to it."""
    new = type(error)(*error.args)
    new.__cause__ = error.__cause__
    return new


def _broken(text: str, cause: BaseException) -> BaseException:
    error = BrokenError(text)
    error.__cause__ = cause
    return error
