"""Lanes: the three lanes of one socket (send, receive, command), and its life. Hub side.

The public `Channel` is a thin face over this. Feeders, monitors, exchanges and the end of the owning thread call it
directly. The owning thread reports here through the hub's mailbox (`refused`, `ended`); everything else is asked.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import zmq
from gevent.event import AsyncResult

from .._engine._api import Command, Engine, Pipe, Plan, Unsent
from .._engine._mailbox import Mailbox, Reply
from .._errors import BrokenError, ClosedError, ForkedError
from .._message import Frames, decode, encode
from .._sockets import Kind
from .call import Call, Waiting
from .dump import Picture
from .endpoints import Endpoints
from .exchange import Exchange
from .faces import Channel
from .failures import Failures
from .life import ChannelState, Life
from .picture import picture_of, snapshot_of
from .queues import RecvQueue, SendQueue
from .statistics import ChannelStatistics, Tally
from .subscribers import Subscribers, socket_for
from .thread import OwningThread
from .tracer import Tracer
from .wait import Change, Deadline, TimedOut

logger = logging.getLogger("zgreen")


class Sizes(NamedTuple):
    """The bounds of the two queues, and what becomes of a received message for which there is no place."""

    send_maxsize: int | None
    recv_maxsize: int | None
    overflow: str
    send_maxbytes: int | None = None
    recv_maxbytes: int | None = None


class Feeder(Protocol):
    """Puts what comes from a queue of the user's; see `register`."""

    def feed_all(self) -> None:
        """The lanes are about to be closed: push all that there is, and do not wait; the hub, or in its place."""

    def stop(self) -> None:
        """The lanes have ended; the hub."""


class Lanes:
    """The three lanes of one socket, and its life."""

    def __init__(
        self,
        thread: OwningThread,
        kind: Kind,
        plan: Plan,
        sizes: Sizes,
        multipart: bool,
        make_face: Callable[[Lanes], Channel | None],
    ) -> None:
        """Nothing is opened yet. *make_face* makes another `Channel` of these lanes, for one that was dropped."""
        self.thread = thread
        self.link = thread.link
        self.kind = kind
        self.sizes = sizes
        self.multipart = multipart
        self.plan = plan._replace(kind=socket_for(kind, plan))
        if not kind.receives:  # what its socket may tell of subscribers is ours: lose nothing of it
            sizes = sizes._replace(recv_maxsize=1000, overflow="block", recv_maxbytes=None)
        self.pipe: Pipe = thread.engine.make_pipe(
            self, self.plan.kind, sizes.send_maxsize, sizes.recv_maxsize, sizes.overflow, multipart,
            sizes.send_maxbytes, sizes.recv_maxbytes,
        )  # fmt: skip
        self.state = self.make_state()
        self.tally = Tally()
        self.failures = Failures(lambda: self.name, self.link.reports, self.tally, thread.note_error)
        self.changed = Change(self.link)  # the lanes have ended, or their subscribers have changed
        watched = self.plan.kind == zmq.XPUB
        self.subscribers = Subscribers(self.pipe, kind.receives, self.changed) if watched else None
        self.sends = SendQueue(self.link, self.pipe, self.state.put_error)
        self.receives = RecvQueue(self.link, self.pipe, self.state.get_error, self.subscribers)
        self.endpoints = Endpoints(thread.engine, self.command, connects_once=kind.name == "PUB")
        # --- any thread reads these; the hub's thread writes them
        self.tracer: Tracer | None = None  # while `Pump.on_event` is set
        self.exchange: Exchange | None = None  # from the first request() on
        self.feeder: Feeder | None = None
        self.unsent = Unsent(0, 0)  # before the life is ENDED
        # --- any thread
        self.waiting: set[Waiting] = set()  # callers, for dumps; each operation is one of C
        self._make_face = make_face
        self._face: weakref.ref[Channel] | None = None
        self._open_short_way()

    # ------------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """For errors and logs."""
        where = f" {self.endpoints.last}" if self.endpoints.last else ""
        return f"<zgreen.Channel {self.kind.name}{where}>"

    def make_state(self) -> ChannelState:
        """Make the state, with the errors that callers get; called once, when the pipe is made."""
        return ChannelState(lambda: self.name, lambda: self.pipe.finished, self.thread)

    @property
    def engine(self) -> Engine:
        """The engine that has the socket."""
        return self.thread.engine

    def wear(self, face: Channel) -> None:
        """Note the public face."""
        self._face = weakref.ref(face)

    def face(self) -> Channel | None:
        """The public face; None if the pump was dropped, and with it all faces."""
        face = self._face() if self._face is not None else None
        return face if face is not None else self._make_face(self)

    def sibling(self, kind: Kind, plan: Plan, sizes: Sizes, multipart: bool) -> Lanes:
        """Lanes of another socket of the same owning thread."""
        return Lanes(self.thread, kind, plan, sizes, multipart, self._make_face)

    # ------------------------------------------------------------------ the way up

    def open(self) -> None:
        """Make the socket; raises what its options, binds and connects raise, and leaves nothing then."""
        self.thread.join(self)
        self.trace()
        try:
            last = self._wait(self.post(self.engine.open, self.plan))
        except BaseException:  # refused, or the caller was killed while it waited
            self.abandon()
            raise
        self.endpoints.opened(last, tuple(self.plan.connect))

    def abandon(self) -> None:
        """The opening has failed, or its caller has given it up."""
        self.state.advance(Life.ENDED, lambda: ClosedError(f"{self.name} was never opened"))
        self.pipe.open = False
        self.thread.leave(self)
        if self.thread.error() is None:
            self.thread.post(self.engine.close, self.pipe, 0.0, 0.0)

    # ------------------------------------------------------------------ send and receive

    def put(self, message: Any, block: bool, timeout: float | None) -> None:
        """`Channel.put` where the short way, `Pipe.offer`, has refused."""
        frames = encode(message)
        if not self.kind.sends:
            raise self.kind.cannot("send", self.name)
        if block and self.pipe.due():
            self.link.breathe()
        (self.tracer or self.sends).put(frames, None, block, timeout)

    def send(self, message: Any) -> AsyncResult[None]:
        """See `Channel.send`."""
        frames = encode(message)
        if not self.kind.sends:
            raise self.kind.cannot("send", self.name)
        self.link.check_here("send(), which gives an AsyncResult of the pump's hub,")
        self.pipe.count_one()
        if self.pipe.due():
            self.link.breathe()
        result: AsyncResult[None] = AsyncResult()

        def settle(reply: Reply) -> None:
            if reply.error is None:
                result.set(None)
            else:
                self.failures.refused(reply.error)
                result.set_exception(reply.error)

        reply = self.link.reply(settle)
        try:
            (self.tracer or self.sends).put(frames, reply, True, None)
        except BaseException:
            self.link.replies.discard(reply)
            raise
        return result

    def push_over(self, message: Any) -> None:
        """Put *message* whatever the limit of the queue: it was put elsewhere before a close. Reports a failure."""
        try:
            frames = encode(message)
            if not self.pipe.push_over(frames):
                raise self.state.put_error() or self.state.closed_error()
            if self.tracer is not None:
                self.tracer.tell("put", frames)
        except Exception as error:  # noqa: BLE001 (no message, or no memory for it: the next one may be)
            self.failures.not_sent(error, message)

    def get(self, block: bool, timeout: float | None) -> Any:
        """`Channel.get` where the short way, `Pipe.take`, has refused."""
        if not self.kind.receives:
            raise self.kind.cannot("receive", self.name)
        if block and self.pipe.due():
            self.link.breathe()
        message = self.receives.get(block, timeout)
        tracer = self.tracer  # after the wait, in which `Pump.on_event` may have been set
        if tracer is not None:
            tracer.got(message)
        return message

    def peek(self, block: bool, timeout: float | None) -> Any:
        """See `Channel.peek`."""
        if not self.kind.receives:
            raise self.kind.cannot("receive", self.name)
        if block and self.pipe.due():
            self.link.breathe()
        return self.receives.peek(block, timeout)

    def flush(self, timeout: float | None) -> bool:
        """See `Channel.flush`."""
        error = self.state.get_error()
        if error is not None:
            raise error
        if not self.pipe.pending():
            return True
        call = self.thread.post(self.engine.flush, self.pipe)
        try:
            self._wait(call, timeout)
        except zmq.ZMQError:  # the channel ended before
            ended = self.state.get_error() or self.state.closed_error()
            raise ended from ended.__cause__
        except BaseException as stopped:  # too late, or killed: leave nothing behind
            if self.state.put_error() is None:
                self.thread.post(self.engine.forget_flush, self.pipe, call.reply)
            if isinstance(stopped, TimedOut):
                return False
            raise
        return True

    def request(self, message: Any, timeout: float | None) -> Any:
        """See `Channel.request`."""
        frames = encode(message)
        if self.kind.name != "REQ":
            raise TypeError(f"{self.name}: only a REQ socket makes requests this way; or use a zgreen.Requester")
        if self.exchange is None:
            self.exchange = Exchange(self)
        return self.exchange.request(frames, timeout)

    def wait_subscriber(self, topic: bytes, timeout: float | None) -> bool:
        """See `Channel.wait_subscriber`."""
        if self.subscribers is None:
            raise TypeError(f"{self.name}: only a PUB or XPUB socket has subscribers, and a PUB tells of them only if "
                            "it was made by Channel, without configurator and CONFLATE")  # fmt: skip
        self.link.check_here(f"{self.name}: wait_subscriber")
        self.state.check_open()
        self.receives.line.listen_idle(self.subscribers.look)
        with Waiting(self.link, "wait_subscriber").shown_in(self.waiting):
            found = self.subscribers.wait(topic, Deadline(timeout), lambda: self.state.put_error() is not None)
        if not found:
            self.state.check_open()
        return found

    # ------------------------------------------------------------------ commands

    def post(self, command: Command, *args: Any) -> Call:
        """Send a command about this socket, and do not wait; any thread."""
        return self.thread.post(command, self.pipe, *args)

    def _wait(self, call: Call, timeout: float | None = None) -> Any:
        """The answer, or its error raised; the caller is shown in dumps meanwhile."""
        with call.shown_in(self.waiting):
            return call.wait(Deadline(timeout))

    def command(self, command: Command, *args: Any) -> Any:
        """Have the owning thread carry out a command on the socket, and wait for the answer; any thread."""
        self.state.check_open()
        try:
            return self._wait(self.post(command, *args))
        except zmq.ZMQError as error:
            if error.errno in (zmq.ENOTSOCK, zmq.ETERM):  # closed meanwhile
                ended = self.state.put_error() or error
                raise ended from ended.__cause__
            raise

    # ------------------------------------------------------------------ life

    def close(self, linger: float | None, limit: float) -> int:
        """See `Channel.close`. *limit*: no more linger than this where *linger* leaves it to the socket."""
        if self.state.now is not Life.ENDED:
            call = self.begin_close(linger, limit)
            if not self.link.may_wait():
                return self.pending()
            try:
                answer: Unsent = self._wait(call)
            except (ClosedError, BrokenError, zmq.ZMQError):
                answer = self.unsent  # the thread has ended first
            finally:
                self.link.reports.wait()
            return max(answer.total, self.unsent.total)  # the latter, if the hub knows of the end already
        return self.unsent.total

    def begin_close(self, linger: float | None, limit: float, mailbox: Mailbox[Any] | None = None) -> Call:
        """Refuse puts, and have the owning thread do the rest; any thread. *mailbox*: see `Call`."""
        call = Call(self.link, "close", self.thread.error, mailbox)
        if self.feeder is not None and not self.link.alone():  # the queue that it reads is the hub's
            self.link.mailbox.send(partial(self._begin_close, call.reply, linger, limit))
        else:
            self._begin_close(call.reply, linger, limit)
        return call

    def _begin_close(self, reply: Reply, linger: float | None, limit: float) -> None:
        self.state.advance(Life.CLOSING)
        # First, because the feeder may let others run: waiters for room put nothing any more. What the feeder itself
        # waits to put goes out by way of feed_all.
        self.pipe.open = False
        if self.feeder is not None:
            self.feeder.feed_all()
        self.sends.line.nudge()
        self.thread.send(reply, self.engine.close, self.pipe, linger, limit)

    def pending(self) -> int:
        """How many messages are in the send queue; any thread."""
        return self.pipe.pending()

    def refused(self, frames: Any, error: BaseException) -> None:
        """See `_api.Owner`; the hub."""
        self.failures.refused(error)
        self.failures.not_sent(error, decode(frames))

    def ended(self, left: list[tuple[Any, Reply | None]], unsent: Unsent, error: BaseException | None) -> None:
        """See `_api.Owner`; the hub."""
        with self.state.lock:
            if self.state.now is Life.ENDED:
                return
            self.unsent = unsent
            make_error = self.state.end(error)
        if error is not None:
            self.failures.note(error)
        self.pipe.open = False
        for frames, reply in left:
            if reply is not None:
                reply.complete(error=make_error())
            elif self.failures.on_error is not None:
                self.failures.not_sent(make_error(), decode(frames))
        if unsent.total:
            self.link.reports.add(logger.warning, "%s: %s", self.name, unsent)
        self._leave()

    def thread_ended(self, gone: bool) -> None:
        """The owning thread will do nothing any more, or, if it is not *gone*, is given up; the hub."""
        self.pipe.open = False
        if gone:
            left = self.pipe.withdraw()
            self.ended(left, Unsent(len(left), 0), self.thread.error())
        else:  # it may be sending at this moment: what is pending is its own, and is only counted
            self.ended([], Unsent(self.pipe.pending(), 0), self.thread.error())

    def forked(self) -> None:
        """In the child of a fork: touch nothing but what is Python's."""
        text = f"{self.name} belongs to the parent process; make a new one"
        self.state.forked(lambda: ForkedError(text))
        self.tally.forked()
        self.pipe.forget()
        if self.subscribers is not None:
            self.subscribers.forget()
        self.sends.line.forked()
        self.receives.line.forked()
        self._leave()

    def _leave(self) -> None:
        """Have all waiters learn of the end."""
        self.thread.leave(self)
        self.sends.line.nudge()
        self.receives.line.nudge()
        self.changed.tell()
        if self.feeder is not None:
            self.feeder.stop()

    # ------------------------------------------------------------------ what is told

    def trace(self) -> None:
        """Follow `Pump.on_event`, which was set or cleared; the hub's thread, but at the opening."""
        events = self.thread.events
        if (events.callback is not None) == (self.tracer is not None):
            return
        if self.tracer is not None:
            self.tracer.stop()
            self.tracer = None
        else:
            queues = (self.sends, self.receives if self.kind.receives else None)
            self.tracer = Tracer(self.link, events, self.pipe, queues, self.face, self._traced_failed)
        self._open_short_way()  # last: what goes the short way until then is not told, but goes

    def _open_short_way(self) -> None:
        """Let puts and gets go through the pipe in one call where nothing must look at them."""
        self.pipe.direct_puts = self.kind.sends and self.tracer is None
        self.pipe.direct_gets = self.kind.receives and self.tracer is None and self.subscribers is None

    def _traced_failed(self, error: BaseException, frames: Frames) -> None:
        """As the owning thread does for a message without a `Reply`; the hub."""
        if isinstance(error, zmq.ZMQError):
            self.refused(frames, error)
        elif self.failures.on_error is not None:
            self.failures.not_sent(error, decode(frames))

    def statistics(self) -> ChannelStatistics:
        """See `Channel.statistics`; any thread."""
        return snapshot_of(self)

    def picture(self) -> Picture:
        """For dumps; any thread."""
        return picture_of(self)
