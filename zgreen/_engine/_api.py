"""What the hub side may expect of an engine, whichever it is, and what an engine expects back.

Both engines have these and nothing else that the hub side uses. Threads: *hub side* is any greenlet of the pump's hub
or any foreign thread; *owning thread* is the one that runs `Engine.run`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ._mailbox import Bell, Mailbox, Reply


class Owner(Protocol):
    """Who a pipe belongs to. The owning thread never calls these: it sends them to the hub's mailbox."""

    def refused(self, frames: Any, error: BaseException) -> None:
        """libzmq refused this message for good, and nobody waits for its reply."""

    def ended(self, unsent: list[tuple[Any, Reply | None]], held: int, error: BaseException | None) -> None:
        """The socket is closed. *unsent* was never with libzmq; *held*: so many libzmq may have thrown away when its
        linger ran out; *error*: why, if nobody asked for it."""


STREAK = 100  # puts and gets on all pipes of an engine until it is due to let others run


class Pipe(Protocol):
    """The messages of one socket between the two sides; hub side.

    `offer` and `take` are the short way, of one call: a put and a get where nothing is in the way. They count, even
    if they refuse, and from `STREAK` on they refuse until `due` has been asked.
    """

    open: bool
    finished: bool
    sent: int
    received: int
    refused: int
    dropped: int

    # For statistics alone. As the counts above, the owning thread alone writes them.
    sent_bytes: int  # of what libzmq has taken
    received_bytes: int  # of what libzmq gave, the dropped included
    peak_pending: int  # the most that were pending as a turn began: all but what is put while a turn sends
    peak_waiting: int  # the most that were there to be got as a turn ended
    send_turns: int  # turns in which libzmq took or refused any
    receive_turns: int  # turns in which any were received
    largest_send: int  # the most messages in one such turn
    largest_receive: int
    rings: int  # how often it told the hub, or a thread that waits, of room or a message
    touches: int  # how often the hub side had to ask it to look at this pipe

    def offer(self, message: Any) -> bool:
        """Append a message that needs no `encode`, if there is more room than the putters need, and nothing is due."""

    def take(self) -> Any:
        """The oldest message, if there are more than the getters need, and nothing is due; else None."""

    def due(self, more: int = 0) -> bool:
        """Count *more* operations; whether it is time to let others run; if so, count anew."""

    def try_push(self, frames: Any, reply: Reply | None, reserved: int) -> bool: ...
    def try_pop(self, reserved: int) -> Any: ...
    def listen_for_room(self, bell: Bell | None, putters: int) -> None:
        """Have *bell* rung when there is room; so many wait for it, to whom `offer` leaves what they need."""

    def listen_for_message(self, bell: Bell | None, getters: int) -> None:
        """Have *bell* rung when there is a message; so many wait for it, to whom `take` leaves what they need."""

    def wakes(self) -> bool:
        """Whether who waits for room should look now: a put would be taken, and there is much room, or the owning
        thread is not about to ring."""

    def pending(self) -> int: ...
    def waiting(self) -> int: ...
    def withdraw(self) -> list[tuple[Any, Reply | None]]: ...
    def forget(self) -> None: ...


class Engine(Protocol):
    """Runs in the owning thread."""

    name: str
    ended: bool  # set before the last look into the mailbox: see `post`
    failure: BaseException | None  # why it ended, if nobody asked for it
    wakeups: int  # how often the owning thread has slept; that thread writes, any reads

    def make_pipe(
        self, owner: Owner, kind: int, out_maxsize: int | None, in_maxsize: int | None, overflow: str, multipart: bool
    ) -> Pipe:
        """A pipe for a socket that `open` will make; hub side."""

    def post(self, reply: Reply, command: str, *args: Any) -> None:
        """Have the owning thread run *command* (see `Commands`) and complete *reply*; hub side.

        The reply always comes, whatever becomes of the engine.
        """

    def look(self, into: deque[Callable[[], Any]]) -> None:
        """Append what the owning thread has for the hub beside its mailbox, to be called; the hub, whenever rung."""

    def run(self) -> None:
        """Own the sockets until `stop`; the owning thread."""


class EngineClass(Protocol):
    """How an engine is made: its context, the hub's mailbox, what the hub calls at the end, select.epoll or None."""

    def __call__(
        self,
        context: Any,
        hub: Mailbox[Callable[[], Any]],
        on_end: Callable[[], None],
        epoll: Callable[[], Any] | None,
        owns_context: bool,
    ) -> Engine: ...
