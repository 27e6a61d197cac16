"""Event, and the way of one from where it happens to `Pump.on_event`. Hub side; any thread.

Costs nothing while nobody listens: the queues of a channel are then its plain ones. While somebody does, the channel's
queues are these, in the same place, around the plain ones and in the same line; its short way is closed meanwhile.

The owning thread knows nothing of it. That a message was sent it says as to any `Reply`; of what it receives it rings,
as to any getter, and the counts tell how much that was.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gevent import monkey

from .._engine._api import Pipe
from .._engine._mailbox import Bell, Reply
from .._message import Frames
from .link import Link
from .queues import RecvQueue, SendQueue

if TYPE_CHECKING:
    from .channel import Channel

logger = logging.getLogger("zgreen")

_BACKLOG = 100_000  # events that wait for a hub that does not run
_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may get, too


class Event(NamedTuple):
    """What happened to a message, for :attr:`zgreen.Pump.on_event`.

    *kind*: ``"put"``: it is in the send queue; ``"sent"``: libzmq has taken it; ``"received"``: libzmq has given it;
    ``"got"``: somebody has got it. *channel*: where; *size*: bytes of content; *frames*: how many.

    *time*: ``time.monotonic()``, in seconds. Of "put" and "got": at the end of the call. Of "sent" and "received": when
    the hub learned of it, which is later than the fact by as long as the hub was busy, as the owning thread notes no
    times.

    *messages*: 1; of "received" all that came since the last such event of this channel, with the *size* of all of them
    together and *frames* None, as nobody looks at what is not got yet.
    """

    kind: str
    channel: Channel
    size: int
    frames: int | None
    time: float
    messages: int = 1


class Events:
    """Those of one pump, on their way to the callback, which the hub calls."""

    def __init__(self, link: Link, pump: object) -> None:
        self.callback: Callable[[Event], Any] | None = None  # the hub's thread sets it, any reads
        self._link = link
        self._pump = pump
        self._queue: deque[Event] = deque()  # any thread appends, the hub pops
        self._lost = 0  # too many for the queue; any thread, a lost count does no harm
        self._bell = Bell(link.mailbox, self._call)  # a foreign thread's
        self._scheduled = False  # the hub's thread alone

    def tell(self, event: Event) -> None:
        """Have the hub call the callback; any thread. Not at once: whoever puts must not be held up by it, and an
        exception in there must not look like one of put()."""
        if self.callback is None:
            return
        if len(self._queue) >= _BACKLOG:
            self._lost += 1
            return
        self._queue.append(event)
        if not self._link.here():
            self._bell.ring()
        elif not self._scheduled:
            self._scheduled = True
            self._link.hub.loop.run_callback(self._call)

    def _call(self) -> None:
        """In a pass bounded by what is there now; the hub."""
        self._scheduled = False
        if self._lost:
            logger.warning("%s: %d events were not told, as the hub did not run", self._pump, self._lost)
            self._lost = 0
        for _ in range(len(self._queue)):
            event = self._queue.popleft()
            callback = self.callback
            if callback is None:
                continue
            try:
                callback(event)
            except Exception:
                logger.exception("%s: on_event has failed", self._pump)
            except BaseException:  # noqa: BLE001 (SystemExit is for the hub; the next event is not to be lost by it)
                self._link.hub.handle_error(callback, *sys.exc_info())


class TracedSends:
    """A SendQueue that tells."""

    def __init__(
        self,
        channel: Channel,
        events: Events,
        queue: SendQueue,
        pipe: Pipe,
        link: Link,
        failed: Callable[[BaseException, Frames], None],
    ) -> None:
        self.queue = queue
        self.line = queue.line
        self._channel = channel
        self._events = events
        self._pipe = pipe
        self._link = link
        self._failed = failed  # a message will not be sent, and nobody but us was told

    def put(self, frames: Any, reply: Reply | None, block: bool, timeout: float | None) -> None:
        """See `SendQueue.put`."""
        self.queue.put(frames, self._traced(frames, reply), block, timeout)
        self.tell("put", frames)

    def shut(self) -> None:
        """See `SendQueue.shut`."""
        self.queue.shut()

    def tell(self, kind: str, frames: Frames) -> None:
        self._events.tell(Event(kind, self._channel, *measure(frames), time.monotonic()))

    def _traced(self, frames: Frames, reply: Reply | None) -> Reply:
        """A reply that tells what becomes of the message, and then does what it did before."""

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


class TracedReceives:
    """A RecvQueue that tells."""

    def __init__(self, channel: Channel, events: Events, queue: RecvQueue, pipe: Pipe, link: Link) -> None:
        self.queue = queue
        self.line = queue.line
        self.ready = queue.ready
        self._channel = channel
        self._events = events
        self._pipe = pipe
        self._link = link
        self._lock = _RLock()  # over what follows; whoever looks
        counts = pipe.counts()
        self._messages = counts.received  # told so far
        self._bytes = counts.received_bytes
        queue.line.listen_idle(Bell(link.mailbox, self._look))

    def stop(self) -> None:
        """The plain queue takes over."""
        self.queue.line.listen_idle(None)

    def get(self, block: bool, timeout: float | None) -> Any:
        """See `RecvQueue.get`; who called it calls `tell_got`, of what is in this place when the wait is over."""
        return self.queue.get(block, timeout)

    def tell_got(self, message: Any) -> None:
        self._look()  # so that it was received before it was got
        self._events.tell(Event("got", self._channel, *measure(message), time.monotonic()))

    def _look(self) -> None:
        with self._lock:
            counts = self._pipe.counts()
            messages, size = counts.received - self._messages, counts.received_bytes - self._bytes
            if not messages:
                return
            self._messages += messages
            self._bytes += size
            self._events.tell(Event("received", self._channel, size, None, time.monotonic(), messages))


def measure(message: Any) -> tuple[int, int]:
    """(bytes, frames) of a message as it is put or got."""
    return (len(message), 1) if type(message) is bytes else (sum(map(len, message)), len(message))
