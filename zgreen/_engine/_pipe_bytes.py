"""The pipe of the Python engine with limits in bytes, beside those in messages; see `_api.Engine.make_pipe`.

Both sides run this code. Nothing is counted along the way, as that would need a lock: whenever it matters, the messages
that are there are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._message import plain
from ._api import MANY, STREAK
from ._pipe import Pipe

if TYPE_CHECKING:
    from ._mailbox import Reply


class LimitedPipe(Pipe):
    """See the module. A pipe without limits in bytes pays nothing for these."""

    __slots__ = ("in_maxbytes", "out_maxbytes")

    def __init__(self, out_maxbytes: int | None, in_maxbytes: int | None, *plan: Any) -> None:
        super().__init__(*plan)
        self.out_maxbytes = out_maxbytes
        self.in_maxbytes = in_maxbytes

    # ------------------------------------------------------------------ hub side

    def offer(self, message: Any) -> bool:
        """See `_api.Pipe`."""
        self._streak.count += 1
        return self._streak.count <= STREAK and self.offer_now(message)

    def try_push(self, frames: Any, reply: Reply | None, reserved: int) -> bool:
        """See `_api.Pipe`."""
        if self.out_maxbytes is not None and (reserved or self.is_heavy()):  # how much a waiter needs is not known
            return False
        return super().try_push(frames, reply, reserved)

    def offer_many(self, messages: Sequence[Any], start: int) -> int:
        """See `_api.Pipe`."""
        self._streak.count += 1
        if self._streak.count > STREAK or not self.direct_puts:
            return 0
        number = 0
        for message in islice(messages, start, start + MANY):
            frames = plain(message)
            if frames is None or not self.try_push(frames, None, self.places_reserved):
                break
            number += 1
        self._streak.count += max(0, number - 1)
        return number

    def _ask_for_more(self) -> None:
        if self.in_maxbytes is None or self.waiting_bytes() <= self.in_maxbytes // 2:
            super()._ask_for_more()

    def wakes(self) -> bool:
        """See `_api.Pipe`."""
        return super().wakes() and not self.is_heavy()

    def pending_bytes(self) -> int:
        """See `_api.Pipe`."""
        if self.out_maxbytes is None:
            return 0
        return sum(_size(frames) for frames, _ in tuple(self.outgoing) if frames is not None)

    def waiting_bytes(self) -> int:
        """See `_api.Pipe`."""
        return 0 if self.in_maxbytes is None else sum(map(_size, tuple(self.incoming)))

    # ------------------------------------------------------------------ thread side

    def is_heavy(self) -> bool:
        """See `Pipe`."""
        return self.out_maxbytes is not None and self.pending_bytes() >= self.out_maxbytes

    def credit(self) -> float:
        """See `Pipe`."""
        return 0 if self.bounded and self._is_full() else super().credit()

    def deliver(self, message: Any) -> None:
        """See `Pipe`."""
        if self.bounded:
            super().deliver(message)
            return
        self.received += 1
        while len(self.incoming) >= self.in_maxsize or self._is_full():
            self.dropped += 1
            if self.overflow == "drop_newest":
                return
            try:
                self.incoming.popleft()
            except IndexError:  # it has just been got
                self.dropped -= 1
        self.incoming.append(message)

    def _is_full(self) -> bool:
        return self.in_maxbytes is not None and self.waiting_bytes() >= self.in_maxbytes


def _size(frames: Any) -> int:
    return len(frames) if type(frames) is bytes else sum(map(len, frames))
