"""Who has subscribed to a publisher: read from the subscription messages of an XPUB socket. Hub side.

libzmq tells an XPUB socket of each topic's first subscription (b"\\x01" and the topic) and last unsubscription
(b"\\x00" and the topic), as received messages. Those of an XPUB channel are the user's: they are looked at in passing,
in order, and none is taken away. Those of a PUB channel, whose socket is an XPUB for this purpose, are nobody else's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq
from gevent import monkey
from gevent.event import Event

from .._engine._api import Plan
from .._engine._mailbox import Bell
from .._sockets import Kind
from .link import Link

_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may get, too


def socket_for(kind: Kind, plan: Plan) -> int:
    """The type of socket to open for a channel: ZeroMQ's constant.

    An XPUB for a PUB channel: it sends the same, and tells of its subscribers. But not for a socket that others have
    made or configure, who may ask for what an XPUB cannot do; nor with CONFLATE, which it lacks.
    """
    if kind.name != "PUB" or plan.socket is not None or plan.configurator is not None:
        return plan.kind
    return int(zmq.PUB if zmq.CONFLATE in dict(plan.options) else zmq.XPUB)


class Subscribers:
    """The receiving half of a pipe, for RecvQueue, with a look at what passes through it.

    *keep*: the messages are the user's.
    """

    def __init__(self, link: Link, pipe: Any, keep: bool) -> None:
        self._link = link
        self._pipe = pipe
        self._keep = keep
        self._lock = _RLock()  # over _seen and the pipe together: the order of messages
        self._seen: deque[Any] = deque()  # looked at, not got; any thread, under the lock
        self._topics: set[bytes] = set()  # any thread writes, under the lock; the hub's reads
        self._bell = Bell(link.mailbox, self._look)  # ours
        # whoever waits in get(); under that queue's lock
        self._user_bell: Bell | None = None
        self._getters = 0
        self._watching = not keep  # whether the pipe's bell is ours; set once, by the hub's thread
        self._changed = Event()
        if not keep:
            pipe.listen_for_message(self._bell, 0)

    # ------------------------------------------------------------------ a pipe, as RecvQueue knows it; any thread

    def try_pop(self, reserved: int) -> Any:
        """As the pipe's."""
        with self._lock:
            if self.waiting() <= reserved:
                return None
            if self._seen:
                return self._seen.popleft()
            message = self._pipe.try_pop(reserved)
            if message is not None:
                self._note(message)
            return message

    def take(self) -> Any:
        """As the pipe's; of a PUB there is nothing to be had."""
        return self._take(self._pipe.take)

    def take_now(self) -> Any:
        """Likewise."""
        return self._take(self._pipe.take_now)

    def _take(self, take: Callable[[], Any]) -> Any:
        if not self._keep or not self._pipe.direct_gets:
            return None
        with self._lock:
            if self._seen:
                return self._seen.popleft() if self.waiting() > self._getters else None
            message = take()
            if message is not None:
                self._note(message)
            return message

    def waiting(self) -> int:
        """As the pipe's."""
        return len(self._seen) + int(self._pipe.waiting())

    def listen_for_message(self, bell: Bell | None, getters: int) -> None:
        """As the pipe's; once we watch the bell is rung after we have looked."""
        self._user_bell = bell
        self._getters = getters
        self._pipe.listen_for_message(self._bell if self._watching else bell, getters)

    def forget(self) -> None:
        """In the child of a fork; whoever held the lock may not be there."""
        self._lock = _RLock()
        self._seen = deque()
        self._pipe.forget()

    # ------------------------------------------------------------------ the hub's thread

    def wait(self, topic: bytes, timeout: float | None, over: Callable[[], bool]) -> bool:
        """Whether messages that begin with *topic* reach a subscriber, now or within *timeout* seconds.

        *over*: called to see whether nothing more will come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._watching:
            self._watching = True
            self._pipe.listen_for_message(self._bell, self._getters)
        while True:
            self._changed.clear()
            self._look()
            if self._has(topic):
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if over() or (left is not None and left <= 0) or not self._link.may_wait():
                return False
            self._changed.wait(left)

    def wake(self) -> None:
        """The channel has ended: have those who wait look."""
        self._changed.set()

    def _has(self, topic: bytes) -> bool:
        return any(topic[:end] in self._topics for end in range(len(topic) + 1))

    def _look(self) -> None:
        """Look at all that has come; in a pass bounded by what is there now."""
        with self._lock:
            for _ in range(self._pipe.waiting()):
                message = self._pipe.try_pop(0)
                if message is None:
                    break
                self._note(message)
                if self._keep:
                    self._seen.append(message)
        if self._user_bell is not None:  # also when nothing came: this may be the end, which those who wait must see
            self._user_bell.ring()

    def _note(self, message: Any) -> None:
        frame = message[0] if isinstance(message, list) else message
        if frame[:1] == b"\x01":
            self._topics.add(frame[1:])
        elif frame[:1] == b"\x00":
            self._topics.discard(frame[1:])
        else:
            return  # a message from an XSUB
        if self._link.here():
            self._changed.set()
        else:
            self._link.mailbox.send(self._changed.set)
