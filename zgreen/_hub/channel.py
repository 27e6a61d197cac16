"""Channel: the queues of one socket, and the commands to it. Hub side.

The owning thread reports to a channel through the hub's mailbox (`refused`, `ended`); everything else is asked.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import gevent
import zmq
from gevent.event import AsyncResult

from .._arguments import (
    OVERFLOWS,
    check_endpoint,
    check_maxsize,
    check_option,
    check_overflow,
    check_seconds,
    endpoints_of,
    options_of,
    topic_of,
)
from .._engine._api import Command, Pipe, Plan, Unsent
from .._engine._mailbox import Reply
from .._errors import BrokenError, ClosedError, ForkedError
from .._message import Frames, decode, encode
from .._sockets import Kind, error_name, kind_of
from .call import Call, Callers
from .dump import Picture, Waits
from .events import Events, TracedReceives, TracedSends
from .exchange import Exchange
from .link import TimedOut
from .monitor import Monitor, Tap, tap_of, wait_connected
from .pump import Pump, get_pump
from .queues import RecvQueue, SendQueue
from .statistics import ChannelStatistics, Counts, describe
from .subscribers import Subscribers, socket_for

logger = logging.getLogger("zgreen")


class Channel:
    """A ZeroMQ socket that any number of greenlets, and other OS threads, may put to and get from.

    :param socket_type: ``zmq.PUSH``, ``"push"`` or ``"PUSH"``.
    :param bind: an endpoint or an iterable of them; ``tcp://127.0.0.1:*`` takes a free port, see :attr:`last_endpoint`.
    :param connect: likewise.
    :param options: ``{zmq.SNDHWM: 10, ...}``, set before *bind* and *connect*, in ZeroMQ's own units.
    :param configurator: called with the new ``zmq.Socket`` after *options* and before *bind*. It runs in the owning
        thread: it must not wait, log, touch anything of gevent's, or keep the socket.
    :param send_maxsize: how many messages may wait for libzmq; None: no limit.
    :param recv_maxsize: how many received messages may wait to be got; None: no limit. With ``overflow="block"`` no
        more are read then, and ZeroMQ's own high-water mark pushes back on the peer.
    :param overflow: of the receive queue: ``"block"``, or ``"drop_oldest"`` or ``"drop_newest"`` (which count).
    :param multipart: whether :meth:`get` always gives a list of frames.
    :param pump: a :class:`Pump`; default: :func:`get_pump`.
    :param monitor: watch the socket's events from before *bind* and *connect*, as :meth:`wait_connected` needs. Costs
        two more sockets, of libzmq's, per channel.
    :raises zmq.ZMQError: unchanged from bind, connect or an option, naming it. The socket is closed then.

    A message is ``str`` (sent as UTF-8), any bytes-like object, or a non-empty list or tuple of those; anything else
    is a TypeError at the call. A received message is ``bytes``, or a list of ``bytes`` if it has several frames.

    Between two peers there are four buffers in a row: the send queue here, ZeroMQ's SNDHWM, the peer's RCVHWM (and the
    kernel's), and the receive queue there.
    """

    def __init__(
        self,
        socket_type: int | str,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        overflow: str = "block",
        multipart: bool = False,
        pump: Pump | None = None,
        monitor: bool = False,
    ) -> None:
        kind = kind_of(socket_type)
        if configurator is not None and not callable(configurator):
            raise TypeError(f"configurator must be callable, not {type(configurator).__name__}")
        ends = (endpoints_of("bind", bind), endpoints_of("connect", connect))
        if kind.name == "PUB":
            ends = (ends[0], tuple(dict.fromkeys(ends[1])))  # see _attach
        plan = Plan(None, kind.number, options_of(options), configurator, *(((), ()) if monitor else ends))
        self._open(kind, plan, check_maxsize("send_maxsize", send_maxsize), check_maxsize("recv_maxsize", recv_maxsize),
                   overflow, multipart, pump)  # fmt: skip
        if monitor:
            self._start_monitored(*ends)
        else:
            self._connected.update(ends[1] if kind.name == "PUB" else ())

    def _open(
        self,
        kind: Kind,
        plan: Plan,
        send_maxsize: int | None,
        recv_maxsize: int | None,
        overflow: str,
        multipart: bool,
        pump: Pump | None,
    ) -> None:
        check_overflow(overflow, OVERFLOWS)
        if pump is not None and not isinstance(pump, Pump):
            raise TypeError(f"pump must be a zgreen.Pump or None, not {type(pump).__name__}")
        self._kind = kind
        self.multipart = bool(multipart)  # whether get() always gives a list; for reading
        self._pump = (pump or get_pump()).start()
        self._link = self._pump.link
        number = socket_for(kind, plan)
        if not kind.receives:  # what its socket may tell is ours: lose nothing of it
            recv_maxsize, overflow = 1000, "block"
        self._pipe: Pipe = self._pump.make_pipe(self, number, send_maxsize, recv_maxsize, overflow, bool(multipart))
        self._subscribers = Subscribers(self._link, self._pipe, kind.receives) if number == zmq.XPUB else None
        self._connected: set[str] = set()  # of a PUB; whoever connects
        self._pipe.direct_puts = kind.sends
        self._sends: SendQueue | TracedSends = SendQueue(self._link, self._pipe, self._put_error)
        takes: Any = self._subscribers or self._pipe
        self._takes = takes
        self._receives: RecvQueue | TracedReceives = RecvQueue(self._link, takes, self._get_error)
        # any thread reads these; the hub's thread writes, but _closing, which whoever closes sets
        self._error: Callable[[], BaseException] | None = None  # the end: what callers get from now on
        self._closing = False
        self._unsent = 0
        # for statistics and dumps; the hub's thread writes, but _peaks, where a lost maximum does no harm
        self._sizes = (send_maxsize, recv_maxsize, overflow)
        self._refusals: dict[str, int] = {}
        self._last_error: str | None = None
        self._peaks = (0, 0)  # of pending and waiting, as snapshots have found them
        self._callers = Callers()
        self._endpoint = ""
        self._on_error: Callable[[BaseException, Any], Any] | None = None
        self._exchange: Exchange | None = None  # from the first request() on; the hub's thread alone
        # for register_socket: called before a close (they must not wait), and at the end
        self.before_close: list[Callable[[], Any]] = []
        self.at_end: list[Callable[[], Any]] = [self._subscribers.wake] if self._subscribers else []
        self.attached = False  # something was bound or connected since the opening, or will be; whoever does it sets it
        self.tap: Tap | None = None  # the events of the socket, for `monitor`; the hub's thread alone sets it
        self._pump.join(self)
        self.trace(self._pump.events)
        try:
            with self._callers.waiting("open", self._link.here()):
                opening = self._pump.post(self._pump.commands.open, self._pipe, plan._replace(kind=number))
                self._endpoint = opening.wait()
        except BaseException:  # refused, or the caller was killed while it waited
            self._abandon()
            raise

    # ------------------------------------------------------------------ put

    def put(self, message: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put *message* on its way; wait for room if the send queue is full.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Full: no room within *timeout*, or at once if *block* is false.
        :raises TypeError: this is no message, or the socket cannot send.
        :raises ClosedError: the channel or its pump is closed.
        :raises BrokenError: it has ended by itself.

        An exception, be it a ``gevent.Timeout`` or a kill, means that the message was not put. Each greenlet's messages
        keep their order. From a thread that is not the pump's hub's, a wait blocks that whole thread.
        """
        if not (self._pipe.offer(message) if block else self._pipe.offer_now(message)):
            self._put(message, block, timeout)

    def _put(self, message: Any, block: bool, timeout: float | None) -> None:
        frames = encode(message)
        if not self._kind.sends:
            raise self._cannot("send")
        if block and self._pipe.due():
            self._link.breathe()
        self._sends.put(frames, None, block, timeout)

    def put_nowait(self, message: Any) -> None:
        """``put(message, block=False)``."""
        if not self._pipe.offer_now(message):
            self._put(message, False, None)

    def send(self, message: Any) -> AsyncResult[None]:
        """Put *message*, waiting for room, and return an AsyncResult: set when libzmq has taken the message, or the
        ``zmq.ZMQError`` why it never will, or :class:`ClosedError` if the channel ended first.

        Taken by libzmq does not mean that a peer has it. On the thread of the pump's hub only.
        """
        frames = encode(message)
        if not self._kind.sends:
            raise self._cannot("send")
        if not self._link.here():
            raise RuntimeError("send() gives an AsyncResult of the pump's hub: from another thread use put()")
        self._pipe.count_one()
        if self._pipe.due():
            self._link.breathe()
        result: AsyncResult[None] = AsyncResult()

        def settle(reply: Reply) -> None:
            if reply.error is None:
                result.set(None)
            else:
                self._note_refusal(reply.error)
                result.set_exception(reply.error)

        reply = self._link.reply(settle)
        try:
            self._sends.put(frames, reply, True, None)
        except BaseException:
            self._link.replies.discard(reply)
            raise
        return result

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was put before has been handed to libzmq; False after *timeout* seconds.

        :raises ClosedError, BrokenError: the channel has ended, or ends before that.
        """
        check_seconds("timeout", timeout)
        error = self._get_error()
        if error is not None:
            raise error
        if not self._pipe.pending():
            return True
        call = self._pump.post(self._pump.commands.flush, self._pipe)
        try:
            with self._callers.waiting("flush", self._link.here()):
                call.wait(timeout)
        except zmq.ZMQError:  # the channel ended before
            ended = self._get_error() or ClosedError(f"{self} was closed")
            raise ended from ended.__cause__
        except BaseException as stopped:  # too late, or killed: leave nothing behind
            if not self.closed:
                self._pump.post(self._pump.commands.forget_flush, self._pipe, call.reply)
            if isinstance(stopped, TimedOut):
                return False
            raise
        return True

    def request(self, message: Any, timeout: float | None = None) -> Any:
        """On a REQ channel: put *message*, wait for its reply, return it as :meth:`get` would.

        One exchange at a time; other greenlets that call this wait their turn, first come, first served.

        :param timeout: seconds for all of it, the turn included; None: no limit.
        :raises TimeoutError: no reply within *timeout*. The server may have got the request, or may get it later.
        :raises TypeError: this is no message, or no REQ socket (for many requests at once: :class:`zgreen.Requester`).
        :raises RuntimeError: not in a greenlet of the pump's hub.
        :raises ClosedError, BrokenError: as :meth:`get`.

        A request that timed out or was killed does not keep the next one from being sent, and the next one never gets
        its reply. For that the first call sets REQ_CORRELATE, so that libzmq puts a frame of four bytes before the
        empty one, which a REP returns by itself and a ROUTER with the envelope; REQ_RELAXED is set only while a request
        takes the place of one that was given up. Requests are not for a channel that others put to or get from at the
        same time, nor for one of :func:`register_socket`; a reply to an earlier put() that nobody got is thrown away.
        """
        frames = encode(message)
        check_seconds("timeout", timeout)
        if self._kind.name != "REQ":
            raise TypeError(f"{self}: only a REQ socket makes requests this way; or use a zgreen.Requester")
        if self._exchange is None:
            self._exchange = Exchange(self, self._link, self._pipe, self._call)
        return self._exchange.request(frames, timeout)

    # ------------------------------------------------------------------ get

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The oldest message, ``bytes`` or a list of ``bytes``; wait for one if there is none.

        :param timeout: seconds; None: no limit.
        :raises gevent.queue.Empty: none within *timeout*, or none now if *block* is false.
        :raises TypeError: the socket cannot receive.
        :raises ClosedError: the channel or its pump is closed, and all that was received has been got.
        :raises BrokenError: likewise, for one that has ended by itself.

        An exception, be it a ``gevent.Timeout`` or a kill, means that no message was taken.
        """
        message = self._takes.take() if block else self._takes.take_now()
        return self._get(block, timeout) if message is None else message

    def _get(self, block: bool, timeout: float | None) -> Any:
        if not self._kind.receives:
            raise self._cannot("receive")
        if block and self._pipe.due():
            self._link.breathe()
        message = self._receives.get(block, timeout)
        receives = self._receives  # once more: on_event may have been set while this waited
        if isinstance(receives, TracedReceives):
            receives.tell_got(message)
        return message

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        message = self._takes.take_now()
        return self._get(False, None) if message is None else message

    def __iter__(self) -> Channel:
        return self

    def __next__(self) -> Any:
        """The next message; ends when the channel is closed, raises if it broke or belongs to the parent process."""
        try:
            return self.get()
        except ForkedError:
            raise
        except ClosedError:
            raise StopIteration from None

    # ------------------------------------------------------------------ gevent's protocol of waiting

    def ready(self) -> bool:
        """Whether :meth:`get` would return or raise at once: a message can be got that nobody waits for, or the
        channel has ended. On the thread of the pump's hub only, as are :meth:`rawlink` and :meth:`unlink`.

        :raises TypeError: the socket cannot receive.
        :raises RuntimeError: this is another thread.
        """
        return self._linked().ready()

    def rawlink(self, callback: Callable[[Channel], Any]) -> None:
        """Have the hub call ``callback(channel)``, once, when a message can be got or the channel has ended: what
        ``gevent.wait`` and ``gevent.iwait`` use. The callback must not wait.

        It stands in line with the greenlets in :meth:`get`, and its turn is the length of the call: in it,
        :meth:`get_nowait` (once) and a greenlet that is switched to from it need not wait behind the others. What is
        not taken then is for the next in line. Errors as of :meth:`ready`.
        """
        self._linked().line.link(callback, self)

    def unlink(self, callback: Callable[[Channel], Any]) -> None:
        """Undo one :meth:`rawlink` of *callback*; nothing, if it has been called. Errors as of :meth:`ready`."""
        self._linked().line.unlink(callback)

    # ------------------------------------------------------------------ the socket

    def bind(self, endpoint: str) -> None:
        """Bind to *endpoint*; a ``zmq.ZMQError`` names it."""
        self._attach(self._pump.commands.bind, check_endpoint("endpoint", endpoint))

    def unbind(self, endpoint: str) -> None:
        """Undo a bind; of a wildcard give what :attr:`last_endpoint` said."""
        self._detach(self._pump.commands.unbind, check_endpoint("endpoint", endpoint))

    def connect(self, endpoint: str) -> None:
        """Connect to *endpoint*; whether anyone is there is not known when this returns."""
        self._attach(self._pump.commands.connect, check_endpoint("endpoint", endpoint))

    def disconnect(self, endpoint: str) -> None:
        """Undo a connect; libzmq throws away what it still holds for that peer."""
        self._detach(self._pump.commands.disconnect, check_endpoint("endpoint", endpoint))

    def setsockopt(self, option: int, value: Any) -> None:
        """Set a ZeroMQ socket option (in ZeroMQ's units). Most take effect for later binds and connects only.

        :raises ValueError: ``zmq.CONFLATE`` of a PUB channel, which can be given as one of its *options* only.
        """
        if option == zmq.CONFLATE and self._kind.name == "PUB" and self._subscribers is not None:
            raise ValueError(f"{self}: give CONFLATE in options, when the channel is made")
        self._call(self._pump.commands.set_option, check_option(option), value)

    def getsockopt(self, option: int) -> Any:
        """The value of a ZeroMQ socket option."""
        value = self._call(self._pump.commands.get_option, check_option(option))
        return self._kind.number if option == zmq.TYPE else value  # an XPUB does the work of a PUB

    def subscribe(self, topic: str | bytes) -> None:
        """Receive messages that begin with *topic* (``""``: all), on a SUB channel."""
        self._call(self._pump.commands.set_option, self._subscription(zmq.SUBSCRIBE), topic_of(topic))

    def unsubscribe(self, topic: str | bytes) -> None:
        """Undo one :meth:`subscribe`."""
        self._call(self._pump.commands.set_option, self._subscription(zmq.UNSUBSCRIBE), topic_of(topic))

    @property
    def last_endpoint(self) -> str:
        """The endpoint last bound or connected, with the real port; ``""`` if none."""
        return self._endpoint

    # ------------------------------------------------------------------ who is there

    def monitor(self, maxsize: int | None = 1000) -> Monitor:
        """The events of the socket from now on: a :class:`Monitor` to iterate, to get from and to close.

        :param maxsize: how many events wait to be got before the oldest are dropped (counted); None: no limit.
        :raises ClosedError, BrokenError: the channel has ended.
        :raises RuntimeError: on another thread than that of the pump's hub.

        Any number of them at once. It ends when the channel is closed; what happens to the connections while the
        channel lingers is not reported. libzmq reports nothing over inproc. The first one makes two more sockets, one
        of them a PAIR channel of the pump, until the last one is closed.
        """
        size = check_maxsize("maxsize", maxsize)
        tap = tap_of(self)
        return Monitor(tap, sys.maxsize if size is None else size)

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait until a peer is connected, handshake done; at once if one is. False after *timeout* seconds.

        :raises RuntimeError: it cannot be known: the channel was bound or connected before it was monitored (make it
            with ``monitor=True``, or call this or :meth:`monitor` before the first bind or connect; from then on it is
            monitored until it is closed), or an endpoint with a host name was disconnected, or one with a wildcard
            unbound (libzmq reports their connections by address, too), or it is an inproc one; or on another thread
            than that of the pump's hub.
        :raises ClosedError, BrokenError: the channel has ended, or ends before that.

        That a subscriber is connected does not mean that it has subscribed: see :meth:`wait_subscriber`. A peer that
        speaks ZMTP 2 or older has no handshake to report, and is not seen.
        """
        check_seconds("timeout", timeout)
        return wait_connected(self, timeout)

    def wait_subscriber(self, topic: str | bytes = b"", timeout: float | None = None) -> bool:
        """Wait until a peer has subscribed to what messages that begin with *topic* need: to it or to a prefix of it.

        At once if one has; False after *timeout* seconds. So nothing that is put afterwards is lost because the
        subscription had not come yet.

        :raises TypeError: the socket is no PUB or XPUB, or it is a PUB that cannot tell: one from
            :func:`register_socket`, one with a *configurator*, or one with ``zmq.CONFLATE``. Use XPUB then.
        :raises ClosedError, BrokenError: the channel has ended, or ends before that.
        :raises RuntimeError: on another thread than that of the pump's hub.

        Of an XPUB channel it takes no message away: :meth:`get` still gives each subscription, and what this has looked
        at waits for it, beyond *recv_maxsize* if need be. An XPUB with ``zmq.XPUB_VERBOSER`` counts one unsubscription
        as the last.
        """
        check_seconds("timeout", timeout)
        wanted = topic_of(topic)
        if self._subscribers is None:
            raise TypeError(f"{self}: only a PUB or XPUB socket has subscribers, and a PUB tells of them only if it "
                            "was made by Channel, without configurator and CONFLATE")  # fmt: skip
        if not self._link.here():
            raise RuntimeError(f"{self}: wait_subscriber is for the thread of the pump's hub")
        self.check_open()
        with self._callers.waiting("wait_subscriber", True):
            if self._subscribers.wait(wanted, timeout, lambda: self.closed):
                return True
        self.check_open()
        return False

    # ------------------------------------------------------------------ state and end

    @property
    def on_error(self) -> Callable[[BaseException, Any], Any] | None:
        """Called by the hub, ``on_error(exc, message)``, with each message that will not be sent and that was not put
        by :meth:`send`: refused by libzmq for good, or left when the channel ended. Default: the ``zgreen`` log."""
        return self._on_error

    @on_error.setter
    def on_error(self, callback: Callable[[BaseException, Any], Any] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"on_error must be callable or None, not {type(callback).__name__}")
        self._on_error = callback

    @property
    def closed(self) -> bool:
        """Whether puts are refused: it is being closed, is closed, or has ended by itself."""
        return self._put_error() is not None

    @property
    def socket_type(self) -> str:
        """The name of the ZeroMQ socket type: ``"PUSH"``."""
        return self._kind.name

    @property
    def pump(self) -> Pump:
        """The pump whose thread owns the socket."""
        return self._pump

    def statistics(self) -> ChannelStatistics:
        """A snapshot of the counts since the channel was made; cheap: no thread is asked. From any thread."""
        pipe, counts = self._pipe, self._pipe.counts()
        restarts, restart_bytes = (self._exchange.restarts, self._exchange.restart_bytes) if self._exchange else (0, 0)
        sends, receives = self._sends.line, self._receives.line
        pending, unsent, dropped = pipe.pending(), self._unsent, counts.dropped
        received = received_bytes = receive_turns = largest_receive = waiting = peak_waiting = 0
        if self._kind.receives:
            waiting = (self._subscribers or pipe).waiting()
            received, received_bytes = counts.received, counts.received_bytes
            receive_turns, largest_receive = counts.receive_turns, counts.largest_receive
            peak_waiting = counts.peak_waiting
        self._peaks = (
            max(self._peaks[0], counts.peak_pending, pending, unsent if self._error else 0),
            max(self._peaks[1], peak_waiting, waiting),
        )
        drops = {self._sizes[2]: dropped, "unsent": unsent}
        return ChannelStatistics(
            counts.sent + restarts, received, pending, waiting, counts.refused, dropped, unsent,
            len(sends), len(receives),
            counts.sent_bytes + restart_bytes, received_bytes,
            *self._peaks,
            sends.waits, receives.waits, sends.waited(), receives.waited(),
            Counts(self._refusals),
            Counts({cause: number for cause, number in drops.items() if number}),
            counts.send_turns, receive_turns, counts.largest_send, largest_receive,
            counts.rings, counts.touches,
            self._last_error,
        )  # fmt: skip

    def close(self, linger: float | None = None) -> int:
        """Refuse puts from now on, send what was put, close the socket; return when it is closed.

        :param linger: seconds for what was put; default: what the ZMQ_LINGER option says, else 5. Then the rest is
            given up, counted, and reported.
        :return: how many messages were not sent, as far as libzmq lets one know: those it had not taken, and up to its
            high-water mark of those that it had taken when a linger above 0 ran out.

        What was received can still be got. Closing again waits for the same end, within the shorter linger.
        """
        check_seconds("linger", linger)
        return self.close_within(linger, math.inf)

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = f" {self._endpoint}" if self._endpoint else ""
        return f"<zgreen.Channel {self._kind.name}{where}>"

    # ------------------------------------------------------------------ for the pump and for register_socket

    def close_within(self, linger: float | None, limit: float) -> int:
        """Internal: `close`, with no more linger than *limit* where *linger* leaves it to the socket."""
        if self._error is not None:
            return self._unsent
        if self._link.here() and not self._link.may_wait():
            gevent.spawn(self.close_within, linger, limit)
            return 0
        try:
            with self._callers.waiting("close", self._link.here()):
                unsent: Unsent = self.begin_close(linger, limit).wait()
                return unsent.total
        except (ClosedError, BrokenError, zmq.ZMQError):
            return self._unsent  # the pump has ended first, and reported

    def begin_close(self, linger: float | None, limit: float, blocking: bool = False) -> Call:
        """Internal: refuse puts, and have the owning thread do the rest; any thread. *blocking*: see `Call`."""
        call = self._pump.new_call(blocking)
        if self.before_close and not self._link.alone():  # the queues that feed it are the hub's
            self._link.mailbox.send(partial(self._begin_close, call.reply, linger, limit))
        else:
            self._begin_close(call.reply, linger, limit)
        return call

    def _begin_close(self, reply: Reply, linger: float | None, limit: float) -> None:
        self._closing = True
        # First, too: in_.get() may let others run. What the feeder waits to put goes out by way of before_close.
        self._sends.shut()
        for prepare in self.before_close:
            prepare()
        self._pipe.open = False
        self._sends.line.nudge()
        self._pump.send(reply, self._pump.commands.close, self._pipe, linger, limit)

    def push(self, message: Any) -> None:
        """Internal: put *message*, whatever the limit of the send queue: for what was put elsewhere, before a close."""
        try:
            frames = encode(message)
            if not self._pipe.push_over(frames):
                raise self._put_error() or ClosedError(f"{self} is closed")
            if isinstance(self._sends, TracedSends):
                self._sends.tell("put", frames)
        except Exception as error:  # noqa: BLE001 (no message, or no memory for it: the next one may be)
            self.not_sent(error, message)

    def refused(self, frames: Any, error: BaseException) -> None:
        """Internal: libzmq refused a message for good; the hub."""
        self._note_refusal(error)
        self.not_sent(error, decode(frames))

    def _note_refusal(self, error: BaseException) -> None:
        """For the statistics; the hub's thread. Not for a message that was left when the channel ended."""
        if isinstance(error, zmq.ZMQError):
            name = error_name(error.errno)
            self._refusals[name] = self._refusals.get(name, 0) + 1
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        self._last_error = describe(error)
        self._pump.note_error(f"{self}: {self._last_error}")

    def not_sent(self, error: BaseException, message: Any) -> None:
        """Internal: report a message that will not be sent; the hub's thread."""
        if self._on_error is None:
            logger.warning("%s: a message was not sent: %s", self, error)
            return
        try:
            self._on_error(error, message)
        except Exception:
            logger.exception("%s: on_error has failed", self)
        except BaseException as failure:  # noqa: BLE001 (SystemExit is not for whoever reports: what it does must end)
            self._link.hub.handle_error(self._on_error, type(failure), failure, failure.__traceback__)

    def ended(self, left: list[tuple[Any, Reply | None]], unsent: Unsent, error: BaseException | None) -> None:
        """Internal: the socket is closed; the hub. See `_api.Owner`."""
        if self._error is not None:
            return
        if error is not None:
            self._note_error(error)
        self._error = self._end_error(error)
        self._pipe.open = False
        self._unsent = unsent.total
        for frames, reply in left:
            if reply is not None:
                reply.complete(error=self._error())
            elif self._on_error is not None:
                self.not_sent(self._error(), decode(frames))
        if self._unsent:
            logger.warning("%s: %s", self, unsent)
        self._leave()

    def trace(self, events: Events) -> None:
        """Internal: have what happens to messages told, if somebody listens; else nothing is in the way. The hub's
        thread."""
        listened = events.callback is not None
        if listened == isinstance(self._sends, TracedSends):
            return
        if isinstance(self._sends, TracedSends):
            self._sends = self._sends.queue
        else:
            self._sends = TracedSends(self, events, self._sends, self._pipe, self._link, self._traced_failed)
        if isinstance(self._receives, TracedReceives):
            self._receives.stop()
            self._receives = self._receives.queue
        elif self._kind.receives:
            self._receives = TracedReceives(self, events, self._receives, self._pipe, self._link)
        # last: what goes the short way until then is not told, but goes
        self._pipe.direct_puts = self._kind.sends and not listened
        self._pipe.direct_gets = not listened

    def _traced_failed(self, error: BaseException, frames: Frames) -> None:
        """As the owning thread does for a message that nobody waits for; the hub."""
        if isinstance(error, zmq.ZMQError):
            self.refused(frames, error)
        elif self._on_error is not None:
            self.not_sent(error, decode(frames))

    def sent_by_command(self, frames: Frames) -> None:
        """Internal: a request that took the place of one that was given up; the hub's thread."""
        if isinstance(self._sends, TracedSends):
            self._sends.tell("put", frames)
            self._sends.tell("sent", frames)

    def picture(self) -> Picture:
        """Internal: for `dump`; any thread."""
        waits = [Waits("put", self._sends.line.who()), Waits("get", self._receives.line.who())]
        if self._exchange is not None:
            waits.append(Waits("request, for their turn", self._exchange.who()))
        waits += [Waits(what, who) for what, who in self._callers.who().items()]
        state = "has ended" if self._error is not None else "is being closed" if self._closing else "open"
        send_maxsize, recv_maxsize, _ = self._sizes
        return Picture(
            repr(self), state, self.statistics(), send_maxsize, recv_maxsize,
            self._kind.sends, self._kind.receives, waits,
        )  # fmt: skip

    def pump_ended(self, gone: bool) -> None:
        """Internal: the owning thread will do nothing any more, or, if it is not *gone*, is given up; the hub."""
        self._pipe.open = False
        if gone:
            left = self._pipe.withdraw()
            self.ended(left, Unsent(len(left), 0), self._pump.error())
        else:  # it may be sending at this moment: what is pending is its own, and we only count it
            self.ended([], Unsent(self._pipe.pending(), 0), self._pump.error())

    def forked(self) -> None:
        """Internal: this is the child of a fork; touch nothing but what is Python's."""
        self._error = lambda: ForkedError(f"{self} belongs to the parent process; make a new one")
        (self._subscribers or self._pipe).forget()
        self._sends.line.forked()
        self._receives.line.forked()
        self._leave()

    def _leave(self) -> None:
        self._pump.leave(self)
        self._sends.line.nudge()
        self._receives.line.nudge()
        for callback in self.at_end:
            callback()

    def _end_error(self, cause: BaseException | None) -> Callable[[], BaseException]:
        """What makes the error that callers get from now on: a new one each time, as each gets a traceback."""
        if cause is None:
            by = f" by the shutdown of {self._pump}" if self._pump.closed else ""
            return lambda: ClosedError(f"{self} was closed{by}")
        if isinstance(cause, (ClosedError, BrokenError)):  # the pump's
            return lambda: self._pump.error() or cause

        def broken() -> BaseException:
            error = BrokenError(f"{self} has ended by an error of its socket: {cause}")
            error.__cause__ = cause
            return error

        return broken

    def _put_error(self) -> BaseException | None:
        error = self._get_error()
        if error is None and self._closing:
            error = ClosedError(f"{self} was closed")
        return error

    def _get_error(self) -> BaseException | None:
        if self._error is not None:
            return self._error()
        if self._closing and self._pipe.finished:  # a foreign thread may look before the hub has been told
            return ClosedError(f"{self} was closed")
        return self._pump.error()

    def _abandon(self) -> None:
        """Opening failed, or nobody waits for it any more."""
        self._error = lambda: ClosedError(f"{self} was never opened")
        self._pipe.open = False
        self._pump.leave(self)
        if self._pump.error() is None:
            self._pump.post(self._pump.commands.close, self._pipe, 0.0, 0.0)

    def _start_monitored(self, bind: tuple[str, ...], connect: tuple[str, ...]) -> None:
        """The rest of the opening, once libzmq tells what happens."""
        try:
            tap_of(self)
            for endpoint in bind:
                self._attach(self._pump.commands.bind, endpoint)
            for endpoint in connect:
                self._attach(self._pump.commands.connect, endpoint)
        except BaseException:
            self._abandon()
            raise

    def _attach(self, how: Command, endpoint: str) -> None:
        if self._kind.name == "PUB" and how.__name__ == "connect":
            if endpoint in self._connected:
                return  # as libzmq does for a PUB, but not for the XPUB that does its work
            self._connected.add(endpoint)
        try:
            if self.tap is not None:
                self.tap.expect(endpoint)
            self.attached = True  # before the owning thread hears of it: see Tap.open
            self._endpoint = place = self._call(how, endpoint)
        except BaseException:
            self._connected.discard(endpoint)
            raise
        if self.tap is not None and how.__name__ == "bind":
            self.tap.bound(endpoint, place)

    def _detach(self, how: Command, endpoint: str) -> None:
        self._call(how, endpoint)
        self._connected.discard(endpoint)
        if self.tap is not None:
            self.tap.forget(endpoint)

    def check_open(self) -> None:
        """Internal: raise what callers get if this has ended, or is being closed."""
        ended = self._put_error()
        if ended is not None:
            raise ended

    def _call(self, command: Command, *args: Any) -> Any:
        ended = self._put_error()
        if ended is not None:
            raise ended
        try:
            with self._callers.waiting(command.__name__, self._link.here()):
                return self._pump.post(command, self._pipe, *args).wait()
        except zmq.ZMQError as error:
            if error.errno in (zmq.ENOTSOCK, zmq.ETERM):  # closed meanwhile
                ended = self._put_error() or error
                raise ended from ended.__cause__
            raise

    def _linked(self) -> RecvQueue | TracedReceives:
        """The receive queue, for whoever waits on several things at once."""
        if not self._kind.receives:
            raise self._cannot("receive")
        if not self._link.here():
            raise RuntimeError(f"{self}: waiting on several things works on the thread of the pump's hub only")
        return self._receives

    def _cannot(self, verb: str) -> TypeError:
        way = {"send": "get from it, do not put", "receive": "put to it, do not get"}[verb]
        return TypeError(f"{self}: a {self._kind.name} socket cannot {verb}: {way}")

    def _subscription(self, option: int) -> int:
        if self._kind.name != "SUB":
            raise TypeError(f"{self}: only a SUB socket has subscriptions to set")
        return int(option)
