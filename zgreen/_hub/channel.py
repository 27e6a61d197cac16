"""Channel: the public face of the lanes of one socket. Hub side.

It checks arguments and delegates; what a channel does stands in `lanes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, overload

import zmq

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
    topics_of,
)
from .._engine._api import Plan
from .._sockets import kind_of
from .._types import M, Overflow
from .lanes import Lanes, Sizes
from .monitor import Monitor, tap_of, wait_connected
from .picture import words_of
from .pump import Pump, get_pump
from .received import Received
from .sent import Sent
from .statistics import ChannelStatistics


class Channel(Sent[M], Received[M]):
    """A ZeroMQ socket that any number of greenlets, and other OS threads, may put to and get from.

    :param socket_type: ``zmq.PUSH``, ``"push"`` or ``"PUSH"``.
    :param bind: an endpoint or an iterable of them; ``tcp://127.0.0.1:*`` takes a free port, see :attr:`last_endpoint`.
    :param connect: likewise.
    :param subscribe: of a SUB socket: a topic, or an iterable of them, as :meth:`subscribe` takes one; ``""``: all.
    :param options: ``{zmq.SNDHWM: 10, ...}``, set before *bind* and *connect*, in ZeroMQ's own units.
    :param configurator: called with the new ``zmq.Socket`` after *options* and before *bind*. It runs in the owning
        thread: it must not wait, log, touch anything of gevent's, or keep the socket.
    :param send_maxsize: how many messages may wait for libzmq; None: no limit.
    :param recv_maxsize: how many received messages may wait to be got; None: no limit. With ``overflow="block"`` no
        more are read then, and ZeroMQ's own high-water mark pushes back on the peer.
    :param send_maxbytes: how many bytes of content may wait for libzmq, beside *send_maxsize*; None: no limit. There is
        room while less than that waits, so one message is always let through, however large.
    :param recv_maxbytes: likewise, of received messages that may wait to be got, beside *recv_maxsize*.
    :param overflow: of the receive queue: ``"block"``, or ``"drop_oldest"`` or ``"drop_newest"`` (which count).
    :param multipart: whether :meth:`get` always gives a list of frames. Without it ``for topic, body in channel`` takes
        a message of one frame apart into the bytes of it; type checkers find that: ``Channel[list[bytes]]`` is what
        ``multipart=True`` makes.
    :param pump: a :class:`Pump`; default: :func:`get_pump`.
    :param monitor: watch the socket's events from before *bind* and *connect*, as :meth:`wait_connected` needs. Costs
        two more sockets, of libzmq's, per channel.
    :raises zmq.ZMQError: unchanged from bind, connect or an option, naming it. The socket is closed then.

    A message is ``str`` (sent as UTF-8), any bytes-like object, or a non-empty list or tuple of those; anything else
    is a TypeError at the call. A received message is ``bytes``, or a list of ``bytes`` if it has several frames.

    Between two peers there are four buffers in a row: the send queue here, ZeroMQ's SNDHWM, the peer's RCVHWM (and the
    kernel's), and the receive queue there.
    """

    @overload
    def __init__(
        self: Channel[list[bytes]],
        socket_type: int | str,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        subscribe: str | bytes | Iterable[str | bytes] | None = None,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        overflow: Overflow = "block",
        send_maxbytes: int | None = None,
        recv_maxbytes: int | None = None,
        multipart: Literal[True],
        pump: Pump | None = None,
        monitor: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self: Channel[bytes | list[bytes]],
        socket_type: int | str,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        subscribe: str | bytes | Iterable[str | bytes] | None = None,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        overflow: Overflow = "block",
        send_maxbytes: int | None = None,
        recv_maxbytes: int | None = None,
        multipart: bool = False,
        pump: Pump | None = None,
        monitor: bool = False,
    ) -> None: ...

    def __init__(
        self,
        socket_type: int | str,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        subscribe: str | bytes | Iterable[str | bytes] | None = None,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        overflow: Overflow = "block",
        send_maxbytes: int | None = None,
        recv_maxbytes: int | None = None,
        multipart: bool = False,
        pump: Pump | None = None,
        monitor: bool = False,
    ) -> None:
        kind = kind_of(socket_type)
        if configurator is not None and not callable(configurator):
            raise TypeError(f"configurator must be callable, not {type(configurator).__name__}")
        binds, connects = endpoints_of("bind", bind), endpoints_of("connect", connect)
        if kind.name == "PUB":
            connects = tuple(dict.fromkeys(connects))  # see Endpoints
        if subscribe is not None and kind.name != "SUB":
            raise TypeError(f"subscribe is for a SUB socket: a {kind.name} socket has no subscriptions to set")
        topics = tuple((int(zmq.SUBSCRIBE), topic) for topic in topics_of(subscribe))
        at_once = ((), ()) if monitor else (binds, connects)
        plan = Plan(None, kind.number, options_of(options) + topics, configurator, *at_once)
        sizes = Sizes(
            check_maxsize("send_maxsize", send_maxsize),
            check_maxsize("recv_maxsize", recv_maxsize),
            overflow,
            check_maxsize("send_maxbytes", send_maxbytes),
            check_maxsize("recv_maxbytes", recv_maxbytes),
        )
        check_overflow(overflow, OVERFLOWS)
        if pump is not None and not isinstance(pump, Pump):
            raise TypeError(f"pump must be a zgreen.Pump or None, not {type(pump).__name__}")
        pump = (pump or get_pump()).start()
        lanes = Lanes(pump._thread, kind, plan, sizes, bool(multipart), _face_of)
        self._wear(lanes, pump)
        lanes.open()
        if monitor:
            self._open_monitored(binds, connects)

    def _wear(self, lanes: Lanes, pump: Pump) -> None:
        """Become the face of *lanes*."""
        self._lanes = lanes
        self._pump = pump  # a channel that is in use keeps its pump
        # Each is one call into the engine, where nothing is in the way.
        self._offer, self._offer_now = lanes.pipe.offer, lanes.pipe.offer_now
        self._take, self._take_now = lanes.pipe.take, lanes.pipe.take_now
        lanes.wear(self)

    def _open_monitored(self, binds: Iterable[str], connects: Iterable[str]) -> None:
        """Do the rest of the opening once libzmq tells what happens."""
        try:
            tap_of(self._lanes)
            for endpoint in binds:
                self._lanes.endpoints.bind(endpoint)
            for endpoint in connects:
                self._lanes.endpoints.connect(endpoint)
        except BaseException:
            self._lanes.abandon()
            raise

    # ------------------------------------------------------------------ the socket

    def bind(self, endpoint: str) -> None:
        """Bind to *endpoint*; a ``zmq.ZMQError`` names it."""
        self._lanes.endpoints.bind(check_endpoint("endpoint", endpoint))

    def unbind(self, endpoint: str) -> None:
        """Undo a bind; of a wildcard give what :attr:`last_endpoint` said."""
        self._lanes.endpoints.unbind(check_endpoint("endpoint", endpoint))

    def connect(self, endpoint: str) -> None:
        """Connect to *endpoint*; whether a peer is there is not known when this returns."""
        self._lanes.endpoints.connect(check_endpoint("endpoint", endpoint))

    def disconnect(self, endpoint: str) -> None:
        """Undo a connect; libzmq throws away what it still holds for that peer."""
        self._lanes.endpoints.disconnect(check_endpoint("endpoint", endpoint))

    def setsockopt(self, option: int, value: Any) -> None:
        """Set a ZeroMQ socket option (in ZeroMQ's units). Most take effect for later binds and connects only.

        :raises ValueError: ``zmq.CONFLATE`` of a PUB channel, which can be given as one of its *options* only.
        """
        lanes = self._lanes
        if option == zmq.CONFLATE and lanes.kind.name == "PUB" and lanes.subscribers is not None:
            raise ValueError(f"{self}: give CONFLATE in options, when the channel is made")
        lanes.command(lanes.engine.set_option, check_option(option), value)

    def getsockopt(self, option: int) -> Any:
        """The value of a ZeroMQ socket option."""
        lanes = self._lanes
        value = lanes.command(lanes.engine.get_option, check_option(option))
        return lanes.kind.number if option == zmq.TYPE else value  # an XPUB does the work of a PUB

    def subscribe(self, topic: str | bytes) -> None:
        """Receive messages that begin with *topic* (``""``: all), on a SUB channel."""
        self._set_subscription(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: str | bytes) -> None:
        """Undo one :meth:`subscribe`."""
        self._set_subscription(zmq.UNSUBSCRIBE, topic)

    @property
    def last_endpoint(self) -> str:
        """The endpoint last bound or connected, with the real port; ``""`` if none."""
        return self._lanes.endpoints.last

    # ------------------------------------------------------------------ the peers

    def monitor(self, maxsize: int | None = 1000) -> Monitor:
        """The events of the socket from now on: a :class:`Monitor` to iterate, to get from and to close.

        :param maxsize: how many events wait to be got before the oldest are dropped (counted); None: no limit.
        :raises ClosedError, BrokenError: the channel has ended.
        :raises RuntimeError: on another thread than that of the pump's hub.

        Any number of them at once. It ends when the channel is closed; what happens to the connections while the
        channel lingers is not reported. libzmq reports nothing over inproc. The first one makes two more sockets, one
        of them a PAIR channel of the pump, until the last one is closed.
        """
        return Monitor(tap_of(self._lanes), check_maxsize("maxsize", maxsize))

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
        return wait_connected(self._lanes, timeout)

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
        return self._lanes.wait_subscriber(topic_of(topic), timeout)

    # ------------------------------------------------------------------ state and end

    @property
    def on_error(self) -> Callable[[BaseException, Any], Any] | None:
        """Called as ``on_error(exc, message)`` with each message that will not be sent and that was not put by
        :meth:`send`: refused by libzmq for good, or left when the channel ended. Default: None, the ``zgreen`` log.

        It is called on the hub's thread, in a greenlet that reports one after the other and that may wait, and before
        the :meth:`close` that it belongs to returns.
        """
        return self._lanes.failures.on_error

    @on_error.setter
    def on_error(self, callback: Callable[[BaseException, Any], Any] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"on_error must be callable or None, not {type(callback).__name__}")
        self._lanes.failures.on_error = callback

    @property
    def closed(self) -> bool:
        """Whether puts are refused: it is being closed, is closed, or has ended by itself."""
        return self._lanes.state.put_error() is not None

    @property
    def multipart(self) -> bool:
        """Whether :meth:`get` always gives a list of frames."""
        return self._lanes.multipart

    @property
    def socket_type(self) -> str:
        """The name of the ZeroMQ socket type: ``"PUSH"``."""
        return self._lanes.kind.name

    @property
    def pump(self) -> Pump:
        """The pump whose thread owns the socket."""
        return self._pump

    def statistics(self) -> ChannelStatistics:
        """A snapshot of the counts since the channel was made; cheap: no thread is asked. From any thread."""
        return self._lanes.statistics()

    def close(self, linger: float | None = None) -> int:
        """Refuse puts from now on, send what was put, close the socket; return when it is closed.

        :param linger: seconds for what was put; default: what the ZMQ_LINGER option says, else 5. Then the rest is
            given up, counted, and reported.
        :return: how many messages were not sent, as far as libzmq lets one know: those it had not taken, and up to its
            high-water mark of those that it had taken when a linger above 0 ran out.

        What was received can still be got. Closing again waits for the same end, within the shorter linger, and returns
        the same. In a callback of the hub, which cannot wait, it returns at once, and the number is how many messages
        are still queued.
        """
        check_seconds("linger", linger)
        return self._lanes.close(linger, math.inf)

    def __enter__(self) -> Channel[M]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __str__(self) -> str:
        return self._lanes.name

    def __repr__(self) -> str:
        return words_of(self._lanes)

    def _set_subscription(self, option: int, topic: str | bytes) -> None:
        lanes = self._lanes
        if lanes.kind.name != "SUB":
            raise TypeError(f"{self}: only a SUB socket has subscriptions to set")
        lanes.command(lanes.engine.set_option, int(option), topic_of(topic))


def _face_of(lanes: Lanes) -> Channel | None:
    """Make another face of *lanes*, whose first one was dropped; None if its pump was dropped, too."""
    pump = lanes.thread.face()
    if pump is None:
        return None
    channel = Channel.__new__(Channel)
    channel._wear(lanes, pump)
    return channel
