"""What the Python engine's pipe is made of, and what can be read from it; see `_pipe`."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from ._api import PipeCounts
from ._closing import End

if TYPE_CHECKING:
    from ._api import Owner
    from ._mailbox import Bell, Mailbox, Reply


_POLLIN = int(zmq.POLLIN)


class Streak:
    """Puts and gets of all pipes of an engine since others had their turn; any thread, a lost count does no harm."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class PipeState:
    """Which thread may write what. Made on the hub side, attached to its socket by the owning thread."""

    __slots__ = (
        "_mailbox", "_streak", "ahead", "bounded", "closing", "deadline", "direct_gets", "direct_puts", "dropped",
        "end", "fd", "finished", "flushes", "had_room", "idle", "in_maxsize", "incoming", "keeps_frames", "kind",
        "largest_receive", "largest_send", "low", "message_bell", "messages_reserved", "multipart", "once", "open",
        "out_low", "out_maxsize",
        "outgoing", "overflow", "owes_ring", "owner", "parts", "peak_pending", "peak_waiting",
        "places_reserved", "ready", "receive_turns", "received", "received_bytes", "recv_frame", "refused", "rings",
        "room_bell", "send_frame", "send_turns", "sent", "sent_bytes", "settled", "socket", "stalls", "starved",
        "takes_more", "touches", "watched", "writable_bell",
    )  # fmt: skip

    def __init__(
        self,
        mailbox: Mailbox[Any],
        streak: Streak,
        owner: Owner,
        kind: int,
        out_maxsize: int | None,
        in_maxsize: int | None,
        overflow: str,
        multipart: bool,
    ) -> None:
        # --- set once, here
        self._mailbox = mailbox  # the owning thread's
        self._streak = streak
        self.owner = owner
        self.kind = kind
        self.out_maxsize = math.inf if out_maxsize is None else out_maxsize
        self.in_maxsize = math.inf if in_maxsize is None else in_maxsize
        self.low = self.in_maxsize / 2  # new credit is worth a wake-up from here down
        self.out_low = self.out_maxsize / 4  # so few pending, or more room than this, are worth a wake-up
        self.overflow = overflow
        self.bounded = overflow == "block"
        self.multipart = multipart
        self.keeps_frames = False  # the messages in `incoming` are lists of zmq.Frame; set before the socket is opened
        # --- the queues: a side appends, the other pops
        self.outgoing: deque[tuple[Any, Reply | None]] = deque()  # (frames, the reply to complete), or TAKEN_BACK
        self.incoming: deque[Any] = deque()  # what get() returns
        # --- the hub side writes, under its queue's lock; the owning thread reads
        self.room_bell: Bell | None = None  # rung when there is room
        self.message_bell: Bell | None = None  # rung when there is a message
        self.writable_bell: Bell | None = None  # rung when libzmq would take a message
        self.watched = False  # `writable` is to be kept
        self.ahead = 0  # so many messages may pend while it is true
        self.places_reserved = 0  # places that `offer` keeps free
        self.messages_reserved = 0  # messages that `take` leaves
        self.open = True  # puts are welcome
        self.direct_puts = self.direct_gets = True  # see `_api.Pipe`
        # --- the owning thread sets these, the hub side clears them when it rings
        self.idle = True  # nothing to send as far as it knows
        self.starved = False  # it does not receive for lack of credit
        # --- the hub side adds, the owning thread takes away
        self.once: set[Reply] = set()  # of those messages that are tried but once
        # --- both set it, the owning thread clears it
        self.owes_ring = False  # it sends, or is about to, and will tell of room before it rests
        # --- the owning thread writes; the hub side may read
        self.finished = False  # it will not look at `outgoing` again
        self.settled = 0  # how many have left `outgoing`
        self.sent = self.received = self.refused = self.dropped = 0  # messages
        self.takes_more = False  # libzmq had room at the end of a turn, or was filled by us since
        # likewise, for statistics alone; see `_api.Pipe`
        self.sent_bytes = self.received_bytes = 0
        self.peak_pending = self.peak_waiting = 0
        self.send_turns = self.receive_turns = 0
        self.largest_send = self.largest_receive = 0
        self.rings = self.touches = 0
        # --- the owning thread alone
        self.socket: zmq.Socket[bytes] = None  # type: ignore[assignment]  # from attach() to finish
        self.fd = -1
        self.ready = False  # on the ready list
        self.had_room = False  # libzmq's POLLOUT at the end of the last turn
        self.stalls = 0  # sends in a row refused although POLLOUT was there
        self.parts: list[bytes] = []  # of a message that has not arrived whole
        self.closing = False
        self.end = End()  # what is known for when the socket is closed
        self.deadline = 0.0  # of closing, monotonic seconds
        self.flushes: list[tuple[int, Reply]] = []  # (how many must have left `outgoing`, the reply)

    # ------------------------------------------------------------------ any thread

    def counts(self) -> PipeCounts:
        """See `_api.Pipe`."""
        return PipeCounts(
            self.sent, self.received, self.refused, self.dropped, self.sent_bytes, self.received_bytes,
            self.peak_pending, self.peak_waiting, self.send_turns, self.receive_turns,
            self.largest_send, self.largest_receive, self.rings, self.touches,
        )  # fmt: skip

    def pending(self) -> int:
        """How many messages libzmq has not taken."""
        return len(self.outgoing)

    def waiting(self) -> int:
        """How many received messages have not been got."""
        return len(self.incoming)

    def pending_bytes(self) -> int:
        """See `_api.Pipe`."""
        return 0

    def waiting_bytes(self) -> int:
        """See `_api.Pipe`."""
        return 0

    @property
    def writable(self) -> bool:
        """See `_api.Pipe`."""
        return self.takes_more and len(self.outgoing) < self.ahead

    def quiet(self) -> bool:
        """See `_api.Pipe`. In this order: the owning thread is awake while it uses up what the descriptor says."""
        if self.fd < 0 or zmq.backend.zmq_poll([(self.fd, _POLLIN)], 0):
            return False
        return self._mailbox.asleep and not len(self._mailbox)
