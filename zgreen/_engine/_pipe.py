"""The pipe of the Python engine: the messages of one socket between the two sides.

Both sides run this code, each its own half, without a lock. What makes that right: every field has one writer (named
beside it in `_pipe_state`), or is a deque whose single operations CPython runs one after the other. Where one side
writes a flag and then reads the other's data, the other side writes the data and then reads the flag, so one of them
sees the other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import zmq

from .._message import plain
from ._api import MANY, STREAK
from ._pipe_state import PipeState

if TYPE_CHECKING:
    from ._mailbox import Bell, Reply


TAKEN_BACK: tuple[Any, None] = (None, None)  # in the place of a message that will not be sent


class Pipe(PipeState):
    """Bounded both ways."""

    __slots__ = ()

    # ------------------------------------------------------------------ hub side (greenlets and foreign threads)

    def offer(self, message: Any) -> bool:
        """See `_api.Pipe`. What `try_push` does stands here once more: a call in Python costs a fifth of a put."""
        streak = self._streak
        streak.count += 1
        if streak.count > STREAK or not self.direct_puts or type(message) is not bytes:
            return False
        if not self.open or len(self.outgoing) + self.places_reserved >= self.out_maxsize:
            return False
        return self._push(message, None)

    def offer_now(self, message: Any) -> bool:
        """See `_api.Pipe`."""
        return self.direct_puts and type(message) is bytes and self.try_push(message, None, self.places_reserved)

    def offer_writable(self, message: Any) -> bool:
        """See `_api.Pipe`."""
        streak = self._streak
        streak.count += 1
        if streak.count > STREAK or not self.writable or not self.direct_puts:
            return False
        frames = plain(message)
        return frames is not None and self.try_push(frames, None, self.places_reserved)

    def take(self) -> Any:
        """See `_api.Pipe`."""
        streak = self._streak
        streak.count += 1
        if streak.count > STREAK or not self.direct_gets:
            return None
        return self.try_pop(self.messages_reserved)

    def take_now(self) -> Any:
        """See `_api.Pipe`."""
        return self.try_pop(self.messages_reserved) if self.direct_gets else None

    def offer_many(self, messages: Sequence[Any], start: int) -> int:
        """See `_api.Pipe`."""
        streak = self._streak
        streak.count += 1
        if streak.count > STREAK or not self.direct_puts or not self.open:
            return 0
        room = min(MANY, self.out_maxsize - len(self.outgoing) - self.places_reserved)
        items: list[tuple[Any, Reply | None]] = []
        for message in islice(messages, start, None):
            frames = plain(message)
            if frames is None or len(items) >= room:
                break
            items.append((frames, None))
        if not items:
            return 0
        streak.count += len(items) - 1
        try:
            self.outgoing.extend(items)
            return self._appended(items)
        except BaseException:
            self._interrupted(items)
            raise

    def take_many(self, limit: int) -> list[Any]:
        """See `_api.Pipe`."""
        streak = self._streak
        streak.count += 1
        if streak.count > STREAK or not self.direct_gets:
            return []
        number = min(limit, MANY, len(self.incoming) - self.messages_reserved)
        messages: list[Any] = []
        if number <= 0:
            return messages
        streak.count += number - 1
        try:
            try:
                messages.extend(islice(iter(self.incoming.popleft, None), number))  # one call of C
            except IndexError:  # another thread was faster, or drop_oldest; it has those that there were
                pass
            if self.starved:
                self._ask_for_more()
            return messages
        except BaseException:  # a signal handler's: see try_pop
            self.incoming.extendleft(reversed(messages))
            self._mailbox.send(self)
            raise

    def count_one(self) -> None:
        """See `_api.Pipe`."""
        self._streak.count += 1

    def due(self) -> bool:
        """See `_api.Pipe`."""
        if self._streak.count <= STREAK:
            return False
        self._streak.count = 1  # the one that asks
        return True

    def try_push(self, frames: Any, reply: Reply | None, reserved: int) -> bool:
        """See `_api.Pipe`."""
        if not self.open or len(self.outgoing) + reserved >= self.out_maxsize:
            return False
        return self._push(frames, reply)

    def push_over(self, frames: Any) -> bool:
        """See `_api.Pipe`."""
        return self._push(frames, None)

    def try_send(self, frames: Any, reply: Reply) -> bool:
        """See `_api.Pipe`."""
        if not self.open:
            return False
        self.once.add(reply)
        if not self._push(frames, reply):
            self.once.discard(reply)
            return False
        self._mailbox.send(self)  # in any case: the socket may be parked, with a refused message before this one
        return True

    def _push(self, frames: Any, reply: Reply | None) -> bool:
        item = (frames, reply)
        try:
            self.outgoing.append(item)
            return self._appended((item,)) == 1 if self.idle or self.finished else True
        except BaseException:
            self._interrupted((item,))
            raise

    def _appended(self, items: Sequence[tuple[Any, Reply | None]]) -> int:
        """Have the owning thread look at the *items* just appended if it would not; how many are its own now."""
        if self.finished:
            return self._take_back(items)
        if self.idle:
            self.idle = False
            self.owes_ring = True  # before: the turn that this asks for pays it
            self._mailbox.send(self)
        return len(items)

    def _interrupted(self, items: Sequence[tuple[Any, Reply | None]]) -> None:
        """A signal handler has raised, between any two of these: have them looked at, twice if need be."""
        if self.finished:
            self._take_back(items)
        else:
            self._mailbox.send(self)

    def _take_back(self, items: Sequence[tuple[Any, Reply | None]]) -> int:
        """A foreign thread may have lost the race against the end: the owning thread set `finished` and then took what
        was there, and answers for that. How many of *items* it took."""
        taken = 0
        for item in reversed(items):
            try:
                self.outgoing.remove(item)
            except ValueError:
                taken += 1
        return taken

    def try_pop(self, reserved: int, as_frames: bool = False) -> Any:
        """See `_api.Pipe`."""
        if len(self.incoming) <= reserved:
            return None
        message = None
        try:
            try:
                message = self.incoming.popleft()
            except IndexError:  # another thread was faster, or drop_oldest
                return None
            if self.starved:
                self._ask_for_more()
            return self._content(message) if self.keeps_frames and not as_frames else message
        except BaseException:  # a signal handler's, between any two of these: not got, and looked at, twice if need be
            if message is not None:
                self.incoming.appendleft(message)
            self._mailbox.send(self)
            raise

    def keep_frames(self) -> None:
        """See `_api.Pipe`."""
        self.keeps_frames = True

    def try_pop_frames(self, reserved: int) -> Any:
        """See `_api.Pipe`."""
        return self.try_pop(reserved, True)

    def _content(self, frames: list[zmq.Frame]) -> Any:
        parts = [frame.bytes for frame in frames]
        return parts if len(parts) > 1 or self.multipart else parts[0]

    def try_peek(self, reserved: int) -> Any:
        """See `_api.Pipe`. A list is copied, so that its user may change it."""
        if len(self.incoming) <= reserved:
            return None
        try:
            message = self.incoming[0]
        except IndexError:  # another thread was faster, or drop_oldest
            return None
        return message[:]

    def _ask_for_more(self) -> None:
        """Have the owning thread, which had no credit, use the new one if that is worth a wake-up."""
        if len(self.incoming) <= self.low:
            self.starved = False
            self._mailbox.send(self)

    def limit_waiting(self, limit: int) -> None:
        """See `_api.Pipe`."""
        self.in_maxsize, self.low = limit, limit / 2  # before the look: the owning thread sets `starved`, then looks
        if self.starved:
            self._ask_for_more()

    def listen_for_room(self, bell: Bell | None, reserved: int) -> None:
        self.room_bell = bell
        self.places_reserved = reserved

    def listen_for_message(self, bell: Bell | None, reserved: int) -> None:
        self.message_bell = bell
        self.messages_reserved = reserved

    def watch_writable(self, bell: Bell | None, ahead: int = 1) -> None:
        """See `_api.Pipe`."""
        self.writable_bell = bell
        self.ahead = ahead
        if not self.watched:
            self.watched = True
            self._mailbox.send(self)

    def wakes(self) -> bool:
        # Waking a waiter costs ten times a put. So, while the owning thread makes more room and will ring, no waiter is
        # woken for a little of it. Where so many wait that each puts one message and waits again, nothing is gained.
        if not self.open or self.finished:  # a push would fail; waiters are told of the end
            return False
        pending = len(self.outgoing)
        if pending < self.out_maxsize * 0.75:  # so there is more room than out_low
            return True
        return pending < self.out_maxsize and (not self.owes_ring or self.places_reserved > self.out_low)

    def withdraw(self) -> list[tuple[Any, Reply | None]]:
        """Take all that was not sent, for good; by the owning thread at its end, by the hub side after that."""
        self.finished = True
        self.takes_more = False
        items = []
        while self.outgoing:
            try:
                items.append(self.outgoing.popleft())
            except IndexError:  # try_push took its own back
                break
        return [item for item in items if item is not TAKEN_BACK]

    def forget(self) -> None:
        """In the child of a fork: nothing of the parent's is there to be got."""
        self.open = False
        self.incoming = deque()

    # ------------------------------------------------------------------ thread side

    def attach(self, socket: zmq.Socket[bytes]) -> None:
        # pyzmq's C methods without the Python layer above them: a third of the time
        self.socket = socket
        self.send_frame = zmq.backend.Socket.send.__get__(socket)
        self.recv_frame = zmq.backend.Socket.recv.__get__(socket)
        self.fd = int(socket.get(zmq.FD))

    def take_back(self, message: Reply) -> bool:
        """Whether the message of that reply was pending, and is gone now. Its place in the queue stays, so that the
        targets of flushes do."""
        for place in range(len(self.outgoing)):
            if self.outgoing[place][1] is message:
                self.outgoing[place] = TAKEN_BACK
                self.once.discard(message)
                return True
        return False

    def is_heavy(self) -> bool:
        """Whether as many bytes as allowed are pending; see `LimitedPipe`."""
        return False

    def credit(self) -> float:
        """How many messages may be received: the room in `incoming`; no limit where the user chose to drop."""
        return self.in_maxsize - len(self.incoming) if self.bounded else math.inf

    def deliver(self, message: Any) -> None:
        """Append one received message, or drop one as the user chose."""
        self.received += 1
        if not self.bounded and len(self.incoming) >= self.in_maxsize:
            self.dropped += 1
            if self.overflow == "drop_newest":
                return
            try:
                self.incoming.popleft()
            except IndexError:  # it has just been got
                self.dropped -= 1
        self.incoming.append(message)
