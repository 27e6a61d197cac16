"""Subscribers: which topics the peers of a publisher have subscribed to. Hub side.

libzmq tells an XPUB socket of each topic's first subscription (b"\\x01" and the topic) and last unsubscription
(b"\\x00" and the topic), as received messages. Those of an XPUB channel are the user's: they are looked at in passing,
in order, and none is taken away. Those of a PUB channel, whose socket is an XPUB for this purpose, are not shown to the
user.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import zmq
from gevent import monkey

from .._engine._api import Pipe, Plan
from .._sockets import Kind
from .wait import Change, Deadline

_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may get, too


def socket_for(kind: Kind, plan: Plan) -> int:
    """The type of socket to open for a channel of *kind*: ZeroMQ's constant.

    A PUB channel gets an XPUB, which sends the same and tells of its subscribers. It gets a PUB if others have made or
    configure the socket, because they may ask for what an XPUB cannot do, and with CONFLATE, which an XPUB lacks.
    """
    if kind.name != "PUB" or plan.socket is not None or plan.configurator is not None:
        return kind.number
    return int(zmq.PUB if zmq.CONFLATE in dict(plan.options) else zmq.XPUB)


class Subscribers:
    """The receiving half of a pipe, as `queues.Source`, with a look at what passes through it."""

    def __init__(self, pipe: Pipe, keep: bool, changed: Change) -> None:
        """*keep*: the messages are the user's. *changed* is told when topics have changed."""
        self._pipe = pipe
        self._keep = keep
        self._changed = changed
        # The lock covers the three below and the order of messages. Any thread takes it.
        self._lock = _RLock()
        self._seen: deque[Any] = deque()  # looked at, not got
        self._topics: set[bytes] = set()

    def try_pop(self, reserved: int) -> Any:
        """The oldest message if there are more than *reserved*, else None; any thread."""
        with self._lock:
            if self.waiting() <= reserved:
                return None
            if self._seen:
                return self._seen.popleft()
            message = self._pipe.try_pop(reserved)
            if message is not None:
                self._note(message)
            return message

    def try_peek(self, reserved: int) -> Any:
        """What `try_pop` would give, which stays; any thread."""
        with self._lock:
            if self.waiting() <= reserved:
                return None
            return self._seen[0][:] if self._seen else self._pipe.try_peek(reserved)

    def waiting(self) -> int:
        """How many messages can be got; any thread."""
        return len(self._seen) + int(self._pipe.waiting())

    def look(self) -> None:
        """Look at all that has come, in one pass over what is there now; any thread."""
        with self._lock:
            for _ in range(self._pipe.waiting()):
                message = self._pipe.try_pop(0)
                if message is None:
                    break
                self._note(message)
                if self._keep:
                    self._seen.append(message)

    def match(self, topic: bytes) -> bool:
        """Whether messages that begin with *topic* reach a subscriber; any thread."""
        with self._lock:
            return any(topic[:end] in self._topics for end in range(len(topic) + 1))

    def wait(self, topic: bytes, deadline: Deadline, over: Callable[[], bool]) -> bool:
        """Wait until messages that begin with *topic* reach a subscriber; False at *deadline*, or if it is *over*.

        On the hub's thread. The caller sees to it that `look` is called whenever a message comes for which no getter
        waits.
        """

        def found() -> bool:
            self.look()
            return self.match(topic)

        self._changed.wait_until(lambda: found() or over(), deadline)
        return found()

    def forget(self) -> None:
        """Drop what is the parent's, in the child of a fork; the holder of the lock may not be there."""
        self._lock = _RLock()
        self._seen = deque()

    def _note(self, message: Any) -> None:
        frame = message[0] if isinstance(message, list) else message
        if frame[:1] == b"\x01":
            self._topics.add(frame[1:])
        elif frame[:1] == b"\x00":
            self._topics.discard(frame[1:])
        else:
            return  # a message from an XSUB
        self._changed.tell()
