"""What the hub side may expect of an engine, whichever it is, and what an engine expects back.

Both engines have these and nothing else that the hub side uses. Threads: *hub side* is any greenlet of the pump's hub
or any foreign thread; *owning thread* is the one that runs `Engine.run`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import zmq

from ._mailbox import Bell, Mailbox, Reply


class Unsent(NamedTuple):
    """How many messages the end of a socket has left unsent: `queued`, and at most `held` more."""

    queued: int  # libzmq had not taken them
    # At most so many of those that libzmq had taken it may have discarded, because its linger ran out or because it is
    # not known how the socket ended. An upper bound; 0 is right, and so it is after a close without linger, of which
    # the messages that libzmq discards are not reported.
    held: int

    @property
    def total(self) -> int:
        """The most that may be lost."""
        return self.queued + self.held

    def __str__(self) -> str:
        """A report in words."""
        were = "was" if self.total == 1 else "were"
        text = f"{self.total} message{'s' * (self.total != 1)} {were} not sent"
        if self.held:
            still = "was" if self.queued == 1 else "were"
            text += f": {self.queued} {still} still queued, up to {self.held} may have been discarded by libzmq"
        return text


class Owner(Protocol):
    """The owner of a pipe. The owning thread never calls these: it sends them to the hub's mailbox."""

    def refused(self, frames: Any, error: BaseException) -> None:
        """libzmq refused this message for good, and no caller waits for its reply."""

    def ended(self, left: list[tuple[Any, Reply | None]], unsent: Unsent, error: BaseException | None) -> None:
        """The socket is closed. *left*: the messages that libzmq had not taken, with their replies, which the owner
        completes; *unsent*: how many they are, and how many more may be lost; *error*: why, if it was not asked for."""


STREAK = 100  # puts and gets on all pipes of an engine until it is due to let others run
MANY = 1000  # the most messages that one call of `offer_many` or `take_many` moves


class PipeCounts(NamedTuple):
    """What one pipe has counted since it was made. The owning thread alone writes these; any thread may read them.

    Each number is right by itself; they are not read at one moment.
    """

    sent: int  # messages that libzmq has taken
    received: int  # messages that libzmq gave, the dropped ones included
    refused: int  # messages that libzmq refused for good
    dropped: int  # received messages that the overflow policy dropped
    sent_bytes: int  # of the messages in `sent`
    received_bytes: int  # of the messages in `received`
    peak_pending: int  # the most that were pending as a turn began: all but what is put while a turn sends
    peak_waiting: int  # the most that were there to be got as a turn ended
    send_turns: int  # turns in which libzmq took or refused any
    receive_turns: int  # turns in which any were received
    largest_send: int  # the most messages in one such turn
    largest_receive: int  # likewise
    rings: int  # how often the owning thread told the hub, or a thread that waits, of room or of a message
    touches: int  # how often the hub side had to ask the owning thread to look at this pipe


class Pipe(Protocol):
    """The messages of one socket between the two sides; hub side.

    `offer` and `take` are a put and a get where nothing is in the way, in one call. They count each call, refused ones
    too, and after `STREAK` of them they refuse until `due` has been asked. All others leave the counting alone.

    What a queue must keep for the callers that wait in line is *reserved*, a plain number of places or messages:
    `listen_for_room` and `listen_for_message` set it for `offer`, `take` and the like, the others are given it.
    """

    open: bool  # whether messages may be pushed; the hub side clears it at a close
    finished: bool  # the owning thread does not look at what was pushed any more
    # The hub side may turn these off: then `offer` and `offer_now`, or `take` and `take_now`, refuse.
    direct_puts: bool
    direct_gets: bool

    def counts(self) -> PipeCounts:
        """What was counted so far; any thread."""

    # ------------------------------------------------------------------ one call where nothing is in the way

    def offer(self, message: Any) -> bool:
        """Append a message that needs no `encode`. False if others are due, if there is no more room than the reserved
        places, or if the message is not plain bytes (or, in the native engine, a list or tuple of bytes)."""

    def offer_now(self, message: Any) -> bool:
        """As `offer`, for callers that must not wait: does not count, and does not refuse because others are due."""

    def take(self) -> Any:
        """The oldest message. None if others are due, or if there are no more messages than the reserved ones."""

    def take_now(self) -> Any:
        """As `take`, for callers that must not wait: does not count, and does not refuse because others are due."""

    def offer_many(self, messages: Sequence[Any], start: int) -> int:
        """Append messages of the list or tuple *messages*, from number *start* on, and return how many.

        It ends before the first that needs `encode` (is no bytes, and no list or tuple of bytes), where there is no
        more room than the reserved places, and after `MANY`. They count as so many calls of `offer`, but not one by
        one: 0 if others are due before the first, or if `direct_puts` is off. MemoryError: none was appended.
        """

    def take_many(self, limit: int) -> list[Any]:
        """The oldest messages, *limit* and `MANY` at most, without the reserved ones; empty if there is none.

        They count as `offer_many` does: none if others are due before the first, or if `direct_gets` is off.
        MemoryError: none was taken.
        """

    def offer_writable(self, message: Any) -> bool:
        """As `offer`, if `writable`."""

    def count_one(self) -> None:
        """Count an operation that neither `offer` nor `take` has seen."""

    def due(self) -> bool:
        """Whether it is time to let others run; if so, the count begins anew."""

    # ------------------------------------------------------------------ the exact way, for callers that stand in line

    def try_push(self, frames: Any, reply: Reply | None, reserved: int) -> bool:
        """Append *frames* (bytes, or a list or tuple of bytes) if there is more room than *reserved* places. A
        frame in a list or tuple may be a zmq.Frame, too: it is not copied, and lives until libzmq lets go of it.

        *reply*, if any, is completed when libzmq has taken the message or refused it for good.
        """

    def push_over(self, frames: Any) -> bool:
        """Append *frames* whatever the limit of the queue, and even if the pipe is not open any more: for what was put
        elsewhere before a close. False if it is too late, as the pipe is finished."""

    def try_send(self, frames: Any, reply: Reply) -> bool:
        """Append *frames*, whatever the limit of the queue, to be tried but once: as soon as libzmq has the messages
        before it, or refuses one of those for now. *reply* is completed soon in any case: without an error if libzmq
        has taken the message, with zmq.Again if it refuses it for now (a REQ that awaits a reply: EFSM), with its error
        if it refuses it for good. False if it is too late, as the pipe is closed."""

    def try_pop(self, reserved: int) -> Any:
        """The oldest message if there are more than *reserved*, else None."""

    def try_peek(self, reserved: int) -> Any:
        """What `try_pop` would give, which stays."""

    def keep_frames(self) -> None:
        """Have `try_pop_frames` work; before the socket is opened."""

    def try_pop_frames(self, reserved: int) -> list[zmq.Frame] | None:
        """As `try_pop`, all frames of the message as libzmq gave them: with their properties, and not copied."""

    def listen_for_room(self, bell: Bell | None, reserved: int) -> None:
        """Have *bell* rung when there is room, and have `offer` keep *reserved* places free for the waiters."""

    def listen_for_message(self, bell: Bell | None, reserved: int) -> None:
        """Have *bell* rung when there is a message, and have `take` leave *reserved* messages to the waiters."""

    def watch_writable(self, bell: Bell | None, ahead: int = 1) -> None:
        """Have `writable` kept from now on, with up to *ahead* messages pending, and *bell*, if any, rung after each
        turn that ends with `takes_more`, or with the end of the socket. Set the bell first and then look, or a ring may
        be missed."""

    @property
    def writable(self) -> bool:
        """Whether `takes_more`, and fewer messages are pending than `watch_writable` has allowed. So of what is sent
        because of this, no more than *ahead* messages are ever refused for now. Any thread.

        A ROUTER always says POLLOUT, even to a peer that has no room, and a STREAM likewise.
        """

    @property
    def takes_more(self) -> bool:
        """Whether libzmq said POLLOUT at the end of the owning thread's last turn, or has done so before and was filled
        by what was sent since. False while there is no peer, until `watch_writable` was called, and until the thread
        has had a turn."""

    def quiet(self) -> bool:
        """Whether nothing has come to the socket that the owning thread has not yet seen, and that thread has no work,
        for no socket. Then a queue that is empty after this call has missed nothing, and `writable` says all that is
        known of the room in libzmq. Any thread; it never blocks."""

    def wakes(self) -> bool:
        """Whether a caller that waits for room should look now: a push would succeed, and there is much room, or the
        owning thread is not about to ring."""

    # ------------------------------------------------------------------ the rest

    def pending(self) -> int:
        """How many messages libzmq has neither taken nor refused for good."""

    def waiting(self) -> int:
        """How many received messages have not been got."""

    def pending_bytes(self) -> int:
        """How many bytes of content are pending, if the pipe has a limit to that; else 0."""

    def waiting_bytes(self) -> int:
        """How many bytes of content wait to be got, if the pipe has a limit to that; else 0."""

    def limit_waiting(self, limit: int) -> None:
        """Have no more received while *limit* messages wait to be got; 0: none. For a pipe that drops nothing."""

    def withdraw(self) -> list[tuple[Any, Reply | None]]:
        """Take all that was not sent, with its replies, for good; when the owning thread has ended."""

    def forget(self) -> None:
        """In the child of a fork: close the pipe, and give nothing of the parent's."""


class Plan(NamedTuple):
    """How to open a socket, in the order in which it is done."""

    socket: Any  # a zmq.Socket that was handed over, or None: make one
    kind: int  # ZeroMQ's number of the socket type
    options: Iterable[tuple[int, Any]]
    configurator: Callable[[Any], Any] | None  # called with the zmq.Socket
    bind: Iterable[str]
    connect: Iterable[str]


Command: TypeAlias = Callable[..., None]  # one of the methods of an `Engine` that begin with *reply*


class Engine(Protocol):
    """Runs in the owning thread. Its commands are what `post` takes."""

    name: str
    ended: bool  # set before the last look into the mailbox: see `post`
    failure: BaseException | None  # why it ended, if it ended by itself
    wakeups: int  # how often the owning thread has slept; that thread writes, any reads
    busy_waits: tuple[int, int]  # how often it looked before it slept: found something, found nothing; likewise

    def make_pipe(
        self,
        owner: Owner,
        kind: int,
        out_maxsize: int | None,
        in_maxsize: int | None,
        overflow: str,
        multipart: bool,
        out_maxbytes: int | None = None,
        in_maxbytes: int | None = None,
    ) -> Pipe:
        """A pipe for a socket that `open` will make; hub side. A size of None: no limit.

        *out_maxbytes*, *in_maxbytes*: limits to the content of the messages that are pending and waiting. There is room
        while less than that is there: so one message is always let through, and there may be as much as the limit and
        one message. While callers wait in line for room in such a pipe, whatever their number, `offer` refuses."""

    def post(self, reply: Reply, command: Command, *args: Any) -> None:
        """Have the owning thread call ``command(reply, *args)``, a command of this engine; hub side.

        The reply always comes, whatever becomes of the engine: with what the command raised, or, if the engine has
        ended, with its `failure` or a ZMQError with ETERM.
        """

    def look(self, into: deque[Callable[[], Any]]) -> None:
        """Append what the owning thread has for the hub beside its mailbox, to be called; the hub, whenever rung."""

    def run(self) -> None:
        """Own the sockets until `stop`; the owning thread."""

    # ---- commands: the owning thread calls them, in the order in which they were posted

    def ping(self, reply: Reply) -> None:
        """Do nothing but complete *reply*, with True."""

    def open(self, reply: Reply, pipe: Any, plan: Plan) -> None:
        """Make the socket of *pipe*; the reply's value is its last endpoint, or ``""``. The socket is closed again if
        any of *plan* fails."""

    # These need an open socket, else the reply's error is a ZMQError with ENOTSOCK.

    def bind(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        """The reply's value is the endpoint with the real port."""

    def connect(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        """The reply's value is the endpoint as libzmq calls it."""

    def unbind(self, reply: Reply, pipe: Any, endpoint: str) -> None: ...
    def disconnect(self, reply: Reply, pipe: Any, endpoint: str) -> None: ...
    def set_option(self, reply: Reply, pipe: Any, option: int, value: Any) -> None: ...
    def get_option(self, reply: Reply, pipe: Any, option: int) -> None:
        """The reply's value is that of the option."""

    def restart(self, reply: Reply, pipe: Any, frames: bytes | tuple[bytes, ...]) -> None:
        """Have a REQ give up the reply that it awaits and send *frames* instead; the reply's value is whether libzmq
        had a peer to send them to."""

    def monitor(self, reply: Reply, pipe: Any, pair: Any, endpoint: str, events: int = ...) -> None:
        """Have the socket of *pipe* tell its *events*, by default all, to the PAIR socket of *pair*, by way of
        *endpoint*, an inproc name that is used for nothing else. The PAIR has no high-water mark and no endpoint: the
        engine connects it, after it has started the monitor."""

    def flush(self, reply: Reply, pipe: Any) -> None:
        """Complete *reply* when libzmq has taken, or refused for good, all that is in the pipe now."""

    def serve(self, reply: Reply, pipe: Any) -> None:
        """Send and receive what is possible now, a turn's worth, then complete *reply*: so what libzmq had received
        before the command was posted is in the pipe by then, if there is room for it. Other pipes that are known to
        have work get their turn before."""

    # These may be posted at any time.

    def take_back(self, reply: Reply, pipe: Any, message: Reply) -> None:
        """Take back a message that is pending; *message* is the reply that it was pushed with.

        The reply's value is whether it was pending: then it will not be sent, and *message* is never completed. Else
        *message* is, or was, completed as ever, and before this reply.
        """

    def forget_flush(self, reply: Reply, pipe: Any, flush: Reply) -> None:
        """Complete *flush*, the reply of a `flush` that is given up, now."""

    def close(self, reply: Reply, pipe: Any, linger: float | None, limit: float) -> None:
        """Send what is pending for up to *linger* seconds, then close; the reply's value is an `Unsent`.

        None: as long as ZMQ_LINGER says, else 5 s, but no longer than *limit*. `Owner.ended` comes before the reply.
        While a close is under way another one can shorten it. All of them have the same value, also those that come
        when it is over.
        """

    def stop(self, reply: Reply) -> None:
        """End the loop; what is still open is closed without linger. The reply is the last that the engine sends."""


class EngineClass(Protocol):
    """How an engine is made.

    *hub*: the hub's mailbox. *on_end*: the hub calls it when the engine has ended. *epoll*: select.epoll, or None where
    there is none. *owns_context*: the engine terminates the context at its end. *start_thread*:
    _thread.start_new_thread, or None. For both: as they were before monkey.patch_all. *busy_wait*: for how many seconds
    at most the owning thread looks for work before it sleeps; None: as the engine finds best. The Python engine never
    does.
    """

    def __call__(
        self,
        context: Any,
        hub: Mailbox[Callable[[], Any]],
        on_end: Callable[[], None],
        epoll: Callable[[], Any] | None,
        owns_context: bool,
        start_thread: Callable[..., Any] | None,
        busy_wait: float | None,
    ) -> Engine: ...
