"""Mailboxes: how one thread tells another something (a leaf: any thread; knows neither gevent nor zmq).

Each thread that can sleep has one: the owning thread (commands, and pipes to look at), the hub (what the owning thread
has to say), a foreign thread while it waits. What is sent to a hub or a foreign thread is a callable, which the
receiver calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Generic, TypeVar

from ._signaler import Signaler

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items for one thread, from any thread; rings only if the owner sleeps.

    The owner empties it in passes bounded by what was there at the start (`take`), then says that it will sleep
    (`sleeping`). No wake-up is lost: a sender appends and then looks at ``asleep``, the owner sets ``asleep`` and then
    looks for items; whichever order, one of them sees the other (CPython runs these single operations one after the
    other).
    """

    __slots__ = ("_items", "asleep", "signaler")

    def __init__(self) -> None:
        self._items: deque[T] = deque()  # any thread appends, the owner pops
        self.asleep = False  # the owner sets it, a ringing thread clears it; two rings instead of one do no harm
        self.signaler = Signaler()

    def send(self, item: T) -> None:
        """Append *item* and wake the owner if it sleeps; any thread."""
        try:
            self._items.append(item)
            if self.asleep:
                self.asleep = False
                self.signaler.ring()
        except BaseException:  # a signal handler's, between any two of these: what is there must not lie unseen
            self.signaler.ring()
            raise

    def sleeping(self) -> bool:
        """Say that the owner will sleep now; False (and not said) if there is something to take first."""
        self.asleep = True
        if self._items:
            self.asleep = False
            return False
        return True

    def __len__(self) -> int:
        return len(self._items)

    def move(self, count: int, into: deque[T]) -> None:
        """Move the oldest *count*, which are there, in one call of C: a signal handler that raises loses none."""
        into.extend(islice(iter(self._items.popleft, None), count))

    def take(self) -> T | None:
        """The oldest item, or None."""
        try:
            return self._items.popleft()
        except IndexError:
            return None


class Bell:
    """Asks the owner of a mailbox to look at something: however often it rings until the look, there is one look."""

    __slots__ = ("_look", "_rung", "mailbox")

    def __init__(self, mailbox: Mailbox[Callable[[], Any]], look: Callable[[], Any]) -> None:
        self.mailbox = mailbox
        self._look = look
        self._rung = False  # any thread sets it, the mailbox's owner clears it before it looks

    def ring(self) -> bool:
        """Have the mailbox's owner look; any thread. False: an earlier ring has asked that already."""
        if self._rung:
            return False
        try:
            self._rung = True
            self.mailbox.send(self)
        except BaseException:  # a signal handler's: it may not have been sent, and must not look as if it were
            self._rung = False
            raise
        return True

    def __call__(self) -> None:
        self._rung = False
        self._look()


class Reply:
    """What becomes of one command or message: completed once, by any thread; then its asker's mailbox has it."""

    __slots__ = ("_then", "error", "mailbox", "value")

    def __init__(self, mailbox: Mailbox[Callable[[], Any]], then: Callable[[Reply], Any]) -> None:
        self.mailbox = mailbox
        self._then = then  # called with this reply, by the mailbox's owner
        self.value: Any = None
        self.error: BaseException | None = None

    def complete(self, value: Any = None, error: BaseException | None = None) -> None:
        """Set the outcome and send it."""
        self.value = value
        self.error = error
        self.mailbox.send(self)

    def instead(self, then: Callable[[Reply], Any]) -> Callable[[Reply], Any]:
        """Have *then* called, and return what would have been; before it is under way."""
        before, self._then = self._then, then
        return before

    def __call__(self) -> None:
        self._then(self)
