"""Fanout: one SUB or PULL channel for any number of subscriptions in this process. Hub side.

One greenlet gets from the channel and puts each message into the inboxes of the subscriptions that want it. All state
is the hub's thread's alone; the one exception is `_abandoned`, to which the garbage collector adds from any thread.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, NamedTuple, overload

import gevent

from .. import _draining
from .._arguments import check_maxsize, check_overflow
from .._errors import BrokenError, ClosedError, again, broken
from .._hub import seam
from .._hub.channel import Channel
from .._types import S, SubscriptionOverflow
from ._history import History, Numbered, topic_of
from ._inbox import OVERFLOWS, Inbox, MakeError, Waker
from ._prefixes import PrefixIndex, Wanted, wanted_of
from ._upstream import Upstream
from .subscription import Subscription

_BREATH = 250  # deliveries between two times that other greenlets get their turn; see also _inbox
# Messages that are taken from the channel in one go. More would make no difference that can be measured, and be more
# that a close loses.
_BATCH = 32


class FanoutStatistics(NamedTuple):
    """A snapshot of a fan-out.

    *subscriptions* and *prefixes* there are now; *received*: messages from the channel; *unmatched*: those of them that
    no subscription wanted; *delivered*: one for each message and subscription; *dropped*: lost by the policy of a
    subscription; *disconnected*: subscriptions that ended so; *abandoned*: subscriptions that were not closed, but
    forgotten; *kept*: messages that can be replayed now; *kept_bytes*: their content.
    """

    subscriptions: int
    prefixes: int
    received: int
    unmatched: int
    delivered: int
    dropped: int
    disconnected: int
    abandoned: int
    kept: int
    kept_bytes: int


class TopicStatistics(NamedTuple):
    """What :meth:`Fanout.topics` says of one prefix or topic.

    *subscriptions* want it as a prefix, *exact* want it as a whole topic; *messages* have matched since the first of
    these subscriptions was made.
    """

    subscriptions: int
    exact: int
    messages: int


class Fanout(Generic[S]):
    """Gives each message of one channel to all subscriptions that want it.

    :param channel: a SUB channel, or a PULL channel. It stays yours: close() of the fan-out leaves it open. As long as
        the fan-out is open all other ways to get from it raise RuntimeError.
    :param keep: how many messages of each topic to keep for subscriptions that ask to have them replayed; 0: none.
    :param keep_topics: of how many topics, those that were published last.
    :param keep_bytes: how many bytes of content in all; then the topic that has been silent for the longest time loses
        its oldest message first. A message that is larger alone is not kept.
    :raises TypeError, ValueError: this is no such channel, or one of these is not what it should be.
    :raises ValueError: another fan-out gets from it, or greenlets wait in its get().
    :raises ClosedError, BrokenError: the channel has ended.

    On a SUB channel the fan-out subscribes and unsubscribes: libzmq is told of the first and the last subscription of a
    prefix. ``channel.subscribe`` of your own is apart from that. On a PULL channel prefixes are looked at here only.

    Nothing is got from the channel before the first :meth:`subscribe`, unless messages are kept. A message that no
    subscription wants is counted as unmatched after that, and is gone. When the channel ends, so do all subscriptions,
    with the channel's error. On the thread of the pump's hub only.

    One that is made after :func:`drain` has begun is closed from the beginning.

    With *keep*, a prefix that no subscription here wants any more stays subscribed upstream: the last *keep_topics* of
    them do. So a client that comes back can be given what was published while it was away.
    """

    @overload
    def __init__(
        self: Fanout[tuple[bytes, ...]],
        channel: Channel[list[bytes]],
        keep: int = 0,
        *,
        keep_topics: int = 1000,
        keep_bytes: int = 16 * 2**20,
    ) -> None: ...

    @overload
    def __init__(
        self: Fanout[bytes | tuple[bytes, ...]],
        channel: Channel,
        keep: int = 0,
        *,
        keep_topics: int = 1000,
        keep_bytes: int = 16 * 2**20,
    ) -> None: ...

    def __init__(
        self, channel: Channel, keep: int = 0, *, keep_topics: int = 1000, keep_bytes: int = 16 * 2**20
    ) -> None:
        if not isinstance(channel, Channel):
            raise TypeError(f"channel must be a zgreen.Channel, not {type(channel).__name__}")
        if keep != 0:
            check_maxsize("keep", keep)
        for name, value in (("keep_topics", keep_topics), ("keep_bytes", keep_bytes)):
            if check_maxsize(name, value) is None:
                raise TypeError(f"{name} must be an int: memory is bounded")
        seam.check_here(channel.pump, f"a Fanout of {channel}")
        _check_unread(channel)
        channel.ready()  # a TypeError says what is wrong with it
        if channel.socket_type not in ("SUB", "PULL"):
            raise TypeError(f"{channel}: a Fanout wants a SUB or a PULL socket")
        seam.check_open(channel)
        self._error: MakeError | None = None  # the end
        seam.give_to(channel, self)
        self._channel = channel
        self._token = secrets.token_hex(4)
        self._waker = Waker(seam.hub_of(channel.pump))
        self._index: PrefixIndex[Inbox] = PrefixIndex()
        self._wanted: dict[Inbox, Wanted] = {}  # of all open inboxes
        self._keep = keep
        self._history = History(keep, keep_topics, keep_bytes) if keep else None
        filters = channel.socket_type == "SUB"
        self._upstream = Upstream(channel, filters, self._index.__contains__, keep_topics if keep and filters else 0)
        self._abandoned: deque[Inbox] = deque()  # any thread appends, the hub's pops
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._in_hand: deque[Any] = deque()  # messages that were taken from the channel
        self._since_breath = 0
        self._received = self._unmatched = self._delivered = self._dropped = self._disconnected = self._forgotten = 0
        if keep:
            self._start()
        _draining.watch(self)
        if _draining.draining():  # it began while this was being made: nothing else would close it
            self.close()

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
        self,
        *prefixes: str | bytes,
        exact: bool = False,
        replay: int = 0,
        maxsize: int | None = 64,
        overflow: SubscriptionOverflow = "drop_oldest",
    ) -> Subscription[S]:
        """Want all messages whose first frame, the topic, begins with one of *prefixes*, from now on.

        :param prefixes: at least one; ``str`` is UTF-8; ``""``: all messages.
        :param exact: whether they are whole topics: "red" is then not "redder". libzmq knows prefixes only, so what it
            brings beyond that is left out here, and counted as unmatched if no other subscription wants it.
        :param replay: begin with the last so many messages of each topic that are kept, in the order in which they
            came, with *maxsize* of them at most: the newest.
        :param maxsize: how many messages may wait to be got; None: no limit.
        :param overflow: when there are so many: ``"drop_oldest"``, ``"drop_newest"``, or ``"disconnect"``, which ends
            the subscription: it gives what is there, and then :class:`ClosedError`. What is lost is counted.
        :raises TypeError, ValueError: one of these is not what it should be; *replay* is more than the fan-out's
            *keep*.
        :raises ClosedError, BrokenError: the fan-out is closed, or its channel has ended.

        You will not get what was published before libzmq told the publisher of a new prefix, which takes a moment.
        """
        self.check_thread()
        wanted = wanted_of(prefixes, exact)
        check_maxsize("maxsize", maxsize)
        check_overflow(overflow, OVERFLOWS)
        self._check_replay(replay)
        if self._error is not None:
            raise self._error()
        inbox = Inbox(self._waker, maxsize, overflow, self._disconnect)
        self._wanted[inbox] = wanted
        for prefix in wanted.prefixes:
            self._index.add(prefix, inbox, wanted.exact)
        if replay and self._history is not None:
            inbox.begin_with(self._history.find(wanted.matches, replay)[-inbox.maxsize :], bool)
        subscription: Subscription[S] = Subscription(
            self, inbox, wanted, self._history.last if self._history is not None else 0
        )
        try:
            self._forget_abandoned()
            for prefix in wanted.prefixes:
                self._upstream.tell(prefix)
        except BaseException:  # the channel has ended, or the caller was killed while it waited
            self._leave_and_tell(inbox, partial(ClosedError, f"{subscription} was never made"), wait=False)
            raise
        self._start()
        return subscription

    def _check_replay(self, replay: int) -> None:
        if not isinstance(replay, int) or isinstance(replay, bool):
            raise TypeError(f"replay must be an int, not {type(replay).__name__}")
        if not 0 <= replay <= self._keep:
            raise ValueError(f"replay must be 0 to {self._keep}, not {replay}: make the Fanout with keep={replay}")

    def topics(self) -> dict[bytes, TopicStatistics]:
        """What is wanted now, as a prefix or as a whole topic: by how many, and how many messages have matched."""
        found: dict[bytes, TopicStatistics] = {}
        for prefix, exact, members, messages in self._index.counts():
            row = TopicStatistics(0 if exact else members, members if exact else 0, messages)
            before = found.get(prefix)
            if before is not None:  # wanted in both ways, of which the prefix has matched whenever the topic has
                row = TopicStatistics(before.subscriptions, row.exact, max(before.messages, row.messages))
            found[prefix] = row
        return found

    def statistics(self) -> FanoutStatistics:
        """A snapshot of the counts since the fan-out was made."""
        dropped = self._dropped + sum(inbox.dropped for inbox in self._wanted)
        kept, kept_bytes = (self._history.messages, self._history.bytes) if self._history is not None else (0, 0)
        return FanoutStatistics(
            len(self._wanted), len(self._index), self._received, self._unmatched, self._delivered, dropped,
            self._disconnected, self._forgotten, kept, kept_bytes,
        )  # fmt: skip

    def close(self) -> None:
        """End all subscriptions: they give what they have, and then :class:`ClosedError`. The channel stays open.

        What libzmq was told is undone. Up to 32 messages that have been taken from the channel, and not been delivered
        yet, are lost (and count as unmatched). Closing again does nothing.
        """
        self.check_thread()
        if self._error is not None:
            return
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._end(partial(ClosedError, f"{self} was closed"))
        self._upstream.tell_all(self._upstream.leave_all())

    def __enter__(self) -> Fanout[S]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"<zgreen.Fanout of {self._channel}>"

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<zgreen.Fanout of {self._channel}: {state}, {len(self._wanted)} subscriptions>"

    # ------------------------------------------------------------------ for its subscriptions

    @property
    def token(self) -> str:
        """Internal: a name that no other fan-out has, for the ids of server-sent events."""
        return self._token

    @property
    def checks(self) -> tuple[Callable[[], bool], Callable[[], bool]]:
        """Internal: what tells whether the caller is on the hub's thread, and whether it may wait."""
        return seam.checks_of(self._channel.pump)

    def check_thread(self) -> None:
        """Internal: a RuntimeError on another thread than the hub's."""
        seam.check_here(self._channel.pump, self)

    def begin_drain(self) -> Callable[[], bool]:
        """Internal: close; what tells whether all consumers have heard of it. Of another thread's hub: nothing."""
        if not seam.is_here(self._channel.pump):
            return lambda: True
        inboxes = tuple(self._wanted)
        self.close()
        return lambda: all(inbox.left for inbox in inboxes)

    def change_one(self, inbox: Inbox, new: Wanted) -> None:
        """Internal: *inbox* is to get other messages from now on. There is no switch before the index has changed."""
        old = self._wanted[inbox]
        self._wanted[inbox] = new
        for prefix in new.prefixes:
            self._index.add(prefix, inbox, new.exact)
        gone = [
            prefix
            for prefix in old.prefixes
            if (old.exact != new.exact or prefix not in new.prefixes) and self._index.discard(prefix, inbox, old.exact)
        ]
        self._upstream.tell_all([*new.prefixes, *self._unwanted(gone)])

    def close_one(self, inbox: Inbox, error: MakeError) -> None:
        """Internal: what the owner of a subscription wants."""
        self.check_thread()
        self._leave_and_tell(inbox, error)

    def abandon(self, inbox: Inbox) -> None:
        """Internal: the subscription of *inbox* was dropped, not closed; any thread, in the middle of anything."""
        self._abandoned.append(inbox)

    def kept(self, wanted: Wanted, after: int, until: int) -> list[Numbered]:
        """Internal: the kept messages that are *wanted*, oldest first, by their numbers."""
        return [] if self._history is None else self._history.find(wanted.matches, None, after, until)

    # ------------------------------------------------------------------ delivery

    def _start(self) -> None:
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        """Deliver until the channel ends; the one greenlet that gets from it."""
        try:
            while self._error is None:
                self._in_hand.extend(seam.get_many(self._channel, _BATCH))
                while self._in_hand:
                    self._forget_abandoned(wait=False)
                    self._deliver(self._in_hand.popleft())
                    if self._waker.urgent:  # a consumer that waits is not slow: it gets its messages before the next
                        self._waker.catch_up()
        except (ClosedError, BrokenError) as error:
            self._end(partial(again, error.with_traceback(None)))
        except BaseException as error:
            self._end(partial(broken, f"{self} has ended by an error of its delivery: {error!r}", error))
            raise

    def _deliver(self, message: bytes | list[bytes]) -> None:
        """Put *message* into all inboxes that want it; a subscription that is made meanwhile does not get it."""
        self._received += 1
        shared: Any = message if isinstance(message, bytes) else tuple(message)
        inboxes = self._index.match(topic_of(shared))
        if self._history is not None:
            shared = self._history.add(shared)
        if not inboxes:
            self._unmatched += 1
        for inbox in inboxes:
            self._delivered += inbox.offer(shared)
            self._since_breath += 1
            if self._since_breath >= _BREATH:
                self._since_breath = 0
                gevent.sleep(0)

    # ------------------------------------------------------------------ leaving

    def _leave_and_tell(self, inbox: Inbox, error: MakeError, wait: bool = True) -> None:
        """Take *inbox* out, which ends with *error*, and see that libzmq does not send what is not wanted any more."""
        gone = self._leave(inbox, error)
        self._upstream.tell_all(self._unwanted(gone), wait)

    def _leave(self, inbox: Inbox, error: MakeError) -> list[bytes]:
        """Take *inbox* out, which ends with *error*, and return the prefixes that no inbox wants any more."""
        inbox.end(error)
        wanted = self._wanted.pop(inbox, None)
        if wanted is None:
            return []
        self._dropped += inbox.dropped
        return [prefix for prefix in wanted.prefixes if self._index.discard(prefix, inbox, wanted.exact)]

    def _unwanted(self, gone: Iterable[bytes]) -> list[bytes]:
        """No inbox wants the prefixes *gone* any more: return those of which libzmq is to be told. What is kept of
        their topics is forgotten, unless it still comes for the sake of others: later messages would not follow on
        it."""
        prefixes = self._upstream.leave(gone)
        if self._history is not None and prefixes:
            ended = tuple(prefixes)
            covers, wants = self._upstream.covers, self._index.wants
            self._history.forget(lambda topic: topic.startswith(ended) and not covers(topic) and not wants(topic))
        return prefixes

    def _forget_abandoned(self, wait: bool = True) -> None:
        """Take out what the garbage collector has found."""
        while self._abandoned:
            inbox = self._abandoned.popleft()
            if inbox in self._wanted:
                self._forgotten += 1
                self._leave_and_tell(inbox, partial(ClosedError, "the subscription is garbage"), wait)

    def _disconnect(self, inbox: Inbox) -> None:
        """*inbox* is full, and that is to be its end; in the middle of a delivery, which must not wait."""
        self._disconnected += 1
        error = partial(ClosedError, f"a subscription of {self} was disconnected: it did not get its messages in time")
        self._leave_and_tell(inbox, error, wait=False)

    def _end(self, error: MakeError) -> None:
        """No more messages will come."""
        if self._error is not None:
            return
        self._error = error
        seam.take_back(self._channel)
        for inbox in tuple(self._wanted):
            self._leave(inbox, error)
        self._received += len(self._in_hand)
        self._unmatched += len(self._in_hand)
        self._in_hand.clear()


def _check_unread(channel: Channel) -> None:
    """A ValueError if messages of *channel* may go elsewhere."""
    if seam.reader_of(channel) is not None:
        raise ValueError(f"{channel}: another Fanout gets from it already, and would lose what this one takes")
    waiting = channel.statistics().getters
    if waiting:
        raise ValueError(f"{channel}: {waiting} greenlets wait in its get(), and would take what is for subscriptions")
