"""Tracer: tells `Pump.on_event` what happens to the messages of a channel. Hub side; any thread.

It costs nothing while `Pump.on_event` is None: a channel has no tracer then. While there is one the short way through
the pipe is closed (`Pipe.direct_puts`, `Pipe.direct_gets`), so every put and get comes by the slow way, which asks the
tracer.

The owning thread knows nothing of it. That a message was sent it says as to any `Reply`. For what it receives it rings
the line's idle bell, and the pipe's counts tell how much that was.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from gevent import monkey

from .._engine._api import Pipe
from .._engine._mailbox import Bell, Reply
from .._message import Frames
from .faces import Channel
from .link import Link
from .queues import RecvQueue, SendQueue

logger = logging.getLogger("zgreen")

_BACKLOG = 100_000  # events that wait for a hub that does not run
_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may get, too


class Event(NamedTuple):
    """What happened to a message, for :attr:`zgreen.Pump.on_event`.

    *kind*: ``"put"``: it is in the send queue; ``"sent"``: libzmq has taken it; ``"received"``: libzmq has given it;
    ``"got"``: a consumer has got it. *channel*: where; *size*: bytes of content; *frames*: how many.

    *time*: ``time.monotonic()``, in seconds. Of "put" and "got": at the end of the call. Of "sent" and "received": when
    the hub learned of it, which is later than the fact by as long as the hub was busy, as the owning thread notes no
    times.

    *messages*: 1; of "received" all that came since the last such event of this channel, with the *size* of all of them
    together and *frames* None, as what is not got yet is not looked at.
    """

    kind: str
    channel: Channel
    size: int
    frames: int | None
    time: float
    messages: int = 1


class Events:
    """The events of one pump, on their way to the callback."""

    def __init__(self, link: Link, pump_name: str) -> None:
        self.callback: Callable[[Event], Any] | None = None  # the hub's thread sets it, any thread reads it
        self._link = link
        self._pump_name = pump_name
        self._queue: deque[Event] = deque()  # any thread appends, the reporting greenlet takes
        self._lost = 0  # events for which there was no place; any thread counts, and a lost count does no harm
        self._bell = Bell(link.mailbox, self._schedule)  # for foreign threads
        self._scheduled = False  # the hub's thread alone: a report is on its way

    def tell(self, event: Event) -> None:
        """Have the callback called with *event*; any thread.

        Not at once: a put must not be held up by the callback, nor may an exception in it look like one of put().
        """
        if self.callback is None:
            return
        if len(self._queue) >= _BACKLOG:
            self._lost += 1
            return
        self._queue.append(event)
        if self._link.here():
            self._schedule()
        else:
            self._bell.ring()

    def forget(self) -> None:
        """Drop the events of the parent process; in the child of a fork."""
        self._queue.clear()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._link.reports.add(self._tell_all)

    def _tell_all(self) -> None:
        """Call the callback with all events that there are now; the reporting greenlet."""
        self._scheduled = False
        if self._lost:
            logger.warning("%s: %d events were not told, as the hub did not run", self._pump_name, self._lost)
            self._lost = 0
        for _ in range(len(self._queue)):
            if not self._queue:  # the callback has forked
                return
            event = self._queue.popleft()
            callback = self.callback
            if callback is None:
                continue
            try:
                callback(event)
            except Exception:
                logger.exception("%s: on_event has failed", self._pump_name)
            except BaseException:  # noqa: BLE001 (SystemExit is for the main greenlet; the next event must be told)
                self._link.hub.handle_error(callback, *sys.exc_info())


class Tracer:
    """Tells the events of one channel; there is one while `Pump.on_event` is set."""

    def __init__(
        self,
        link: Link,
        events: Events,
        pipe: Pipe,
        queues: tuple[SendQueue, RecvQueue | None],
        channel: Callable[[], Channel | None],
        failed: Callable[[BaseException, Frames], None],
    ) -> None:
        """*queues*: the second is None if nothing can be got. *channel* gives the face that events name.

        *failed* is told of a message that will not be sent if no caller waits for its reply, as the owning thread tells
        the owner of a pipe without a tracer.
        """
        self._link = link
        self._events = events
        self._pipe = pipe
        self._sends, self._receives = queues
        self._channel = channel
        self._failed = failed
        self._lock = _RLock()  # covers the two below
        counts = pipe.counts()
        self._messages, self._bytes = counts.received, counts.received_bytes  # told so far
        if self._receives is not None:
            self._receives.line.listen_idle(self._look)

    def stop(self) -> None:
        """Tell nothing any more; the hub's thread."""
        if self._receives is not None:
            self._receives.line.listen_idle(self._look, listen=False)

    def put(self, frames: Frames, reply: Reply | None, block: bool, timeout: float | None) -> None:
        """`SendQueue.put`, and tell "put" and later "sent"."""
        self._sends.put(frames, self._traced(frames, reply), block, timeout)
        self.tell("put", frames)

    def got(self, message: Any) -> None:
        """Tell that *message* was got, and before that what was received."""
        self._look()
        self.tell("got", message)

    def tell(self, kind: str, message: Any) -> None:
        """Tell one event of *message*."""
        self._add(kind, *measure(message))

    def _add(self, kind: str, size: int, frames: int | None, messages: int = 1) -> None:
        channel = self._channel()
        if channel is not None:
            self._events.tell(Event(kind, channel, size, frames, time.monotonic(), messages))

    def _traced(self, frames: Frames, reply: Reply | None) -> Reply:
        """Make a reply that tells what becomes of the message, and then does what *reply* did before."""

        def arrived(outcome: Reply) -> None:
            if outcome.error is None:
                self.tell("sent", frames)
            if then is not None:
                then(outcome)
            elif outcome.error is not None:
                self._failed(outcome.error, frames)

        if reply is None:
            then = None
            return Reply(self._link.mailbox, arrived)
        then = reply.instead(arrived)
        return reply

    def _look(self) -> None:
        """Tell what was received since the last look; any thread."""
        with self._lock:
            counts = self._pipe.counts()
            messages, size = counts.received - self._messages, counts.received_bytes - self._bytes
            if messages:
                self._messages += messages
                self._bytes += size
                self._add("received", size, None, messages)


def measure(message: Any) -> tuple[int, int]:
    """(bytes, frames) of a message as it is put or got."""
    return (len(message), 1) if type(message) is bytes else (sum(map(len, message)), len(message))
