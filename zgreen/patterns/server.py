"""Server: a handler behind a ROUTER or REP channel. Hub side.

One greenlet, the acceptor, gets requests, and only while a place in the pool is free: when all are taken, requests
stay in the channel, then with libzmq, then with the clients. Each request is handled and answered in a greenlet of its
own; a REP has one place.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import gevent
from gevent.pool import Pool

from .._arguments import check_seconds
from .._errors import BrokenError, ClosedError, ForkedError
from .._hub import seam
from .._hub.channel import Channel
from .._message import Frames, decode, encode

logger = logging.getLogger("zgreen")

Handler: TypeAlias = Callable[[Any], Any]
OnError: TypeAlias = Callable[[BaseException, Any], Any]


class ServerStatistics(NamedTuple):
    """A snapshot of a server.

    *requests*: that handlers were called with; *answered*: replies put on their way, those of *on_error* included;
    *failed*: requests whose handler raised or returned no message; *malformed*: messages dropped because they have no
    empty frame before a request; *running*: handlers at work now.
    """

    requests: int
    answered: int
    failed: int
    malformed: int
    running: int


def serve(channel: Channel, handler: Handler, concurrency: int = 100, on_error: OnError | None = None) -> Server:
    """Have *handler* answer the requests that come to *channel*; return at once, the server runs.

    :param channel: a ROUTER, or a REP, which takes one request at a time whatever *concurrency* says.
    :param handler: called in a greenlet with each request as :meth:`Channel.get` would give it, without the envelope:
        ``bytes``, or a list of ``bytes``. It returns the reply, a message.
    :param concurrency: how many handlers run at once. While all do, nothing is taken from the channel.
    :param on_error: called with what a handler raised, and the request; it returns the reply. Default: a ROUTER's
        client gets no reply, a REP's an empty one (``b""``), because a REP that does not answer is stuck.
    :raises TypeError: the channel is of another type, or this is no channel or function.
    :raises ValueError: *concurrency* is below 1.
    :raises ClosedError, BrokenError: the channel has ended.
    :raises RuntimeError: not in a greenlet of the hub of the channel's pump.

    A handler that raises (a ``gevent.Timeout``, a kill and ``asyncio.CancelledError`` included), or returns anything
    but a message, None for example, is an error: the ``zgreen`` log has it with its traceback. So is an *on_error* that
    does. Neither stops the server. ``SystemExit`` and ``KeyboardInterrupt`` count as failed, too, but go on to end the
    process, as from any greenlet. A message without an empty frame before the request, from a DEALER that sends none,
    is counted, logged and dropped.
    """
    return Server(channel, handler, concurrency, on_error)


class Server:
    """What :func:`serve` returns. ``with zgreen.serve(...) as server:`` stops it at the end of the block.

    It ends by itself when its channel is closed or breaks. It never closes the channel.
    """

    def __init__(
        self, channel: Channel, handler: Handler, concurrency: int = 100, on_error: OnError | None = None
    ) -> None:
        """See :func:`serve`."""
        if not isinstance(channel, Channel):
            raise TypeError(f"channel must be a zgreen.Channel, not {type(channel).__name__}")
        if not callable(handler):
            raise TypeError(f"handler must be callable, not {type(handler).__name__}")
        if on_error is not None and not callable(on_error):
            raise TypeError(f"on_error must be callable or None, not {type(on_error).__name__}")
        if not isinstance(concurrency, int) or isinstance(concurrency, bool):
            raise TypeError(f"concurrency must be an int, not {type(concurrency).__name__}")
        if concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more, not {concurrency}")
        self._channel = channel
        self._check_greenlet("serve()")
        if channel.socket_type not in ("ROUTER", "REP"):
            raise TypeError(f"{channel}: requests are served by a ROUTER (many at once) or a REP (one at a time)")
        seam.check_open(channel)
        self._routes = channel.socket_type == "ROUTER"
        self._handler = handler
        self._on_error = on_error
        # the hub's thread alone from here on
        self._pool = Pool(concurrency if self._routes else 1)
        self._requests = self._answered = self._failed = self._malformed = 0
        self._acceptor = gevent.spawn(self._accept)

    # ------------------------------------------------------------------ state and end

    @property
    def channel(self) -> Channel:
        """The channel that it serves."""
        return self._channel

    @property
    def accepting(self) -> bool:
        """Whether it takes requests: not stopped, and its channel has not ended."""
        return not self._acceptor.dead

    def statistics(self) -> ServerStatistics:
        """A snapshot of the counts since the server was made."""
        return ServerStatistics(self._requests, self._answered, self._failed, self._malformed, len(self._pool))

    def stop(self, timeout: float | None = None) -> bool:
        """Take no more requests, wait until those that were taken are answered.

        :param timeout: seconds; None: no limit.
        :return: whether all were. If not, their handlers run on, and their replies are sent while the channel is open;
            call it again to wait for them.
        :raises RuntimeError: in a handler of this server (it would wait for itself), or in another thread.
        :raises ForkedError: the channel is the parent's.

        The channel stays open: requests wait in it, for another :func:`serve`, and a flush or close of the channel
        sees the last replies out. A stopped server does not start again.
        """
        self._check_caller("stop()")
        check_seconds("timeout", timeout)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._acceptor.kill()  # it loses nothing: a killed get() has taken no message, and its other waits have none
        return self._join_handlers(deadline)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, stopped or by the end of its channel, and its handlers with it.

        :param timeout: seconds; None: no limit.
        :return: whether it has.
        :raises RuntimeError: as :meth:`stop`.
        :raises ForkedError: the channel is the parent's.
        """
        self._check_caller("join()")
        check_seconds("timeout", timeout)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._acceptor.join(timeout)
        return self._acceptor.dead and self._join_handlers(deadline)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ForkedError):  # the parent's server is for the parent to stop
            self.stop()

    def __repr__(self) -> str:
        return f"<zgreen.Server of {self._channel!r}>"

    def _check_greenlet(self, what: str) -> None:
        seam.check_greenlet(self._channel.pump, what)

    def _check_caller(self, what: str) -> None:
        seam.check_process(self._channel.pump)
        self._check_greenlet(what)
        if gevent.getcurrent() in set(self._pool):
            raise RuntimeError(f"{what} in a handler would wait for that handler: spawn it")

    def _join_handlers(self, deadline: float) -> bool:
        left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        ended = bool(self._pool.join(left)) or not len(self._pool)
        seam.check_process(self._channel.pump)  # the process may have forked while this waited
        return ended

    # ------------------------------------------------------------------ requests

    def _accept(self) -> None:
        """The acceptor."""
        try:
            while True:
                self._pool.wait_available()
                malformed = self._start(self._channel.get_many(self._pool.free_count()))
                for message in malformed:
                    self._drop(message)
        except (ClosedError, BrokenError):
            pass  # a close was wanted, and the pump has logged anything else

    def _start(self, messages: list[Any]) -> list[Any]:
        """Have each of *messages* handled, for which there is room; return those that are no requests.

        Nothing here switches to another greenlet: if the acceptor was killed then, messages would be lost.
        """
        malformed = []
        for message in messages:
            envelope, body = self._split(message)
            if body:
                self._requests += 1
                self._pool.spawn(self._handle, envelope, self._as_request(body, message))
            else:
                malformed.append(message)
        return malformed

    def _split(self, message: bytes | list[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """The envelope, up to and with the first empty frame, and the request, which is () if there is none."""
        frames = (message,) if isinstance(message, bytes) else tuple(message)
        if not self._routes:
            return (), frames
        try:
            start = frames.index(b"", 1) + 1  # the first is the routing id
        except ValueError:
            return (), ()
        return frames[:start], frames[start:]

    def _as_request(self, body: tuple[bytes, ...], message: bytes | list[bytes]) -> bytes | list[bytes]:
        if not self._routes:
            return message
        return decode(body if len(body) > 1 else body[0], self._channel.multipart)

    def _drop(self, message: bytes | list[bytes]) -> None:
        self._malformed += 1
        logger.warning(
            "%s: a message of %d frames was dropped: it has no empty frame with a request behind it",
            self, 1 if isinstance(message, bytes) else len(message),
        )  # fmt: skip

    def _handle(self, envelope: tuple[bytes, ...], request: Any) -> None:
        """One request, in its own greenlet."""
        reply: Frames | None = None if self._routes else b""  # what is answered if nothing is said
        try:
            try:
                reply = _message("handler", self._handler(request))
            except (SystemExit, KeyboardInterrupt):
                self._failed += 1
                raise  # to the hub, which ends the process
            except BaseException as error:  # a kill, a Timeout or asyncio's CancelledError is about this request
                self._failed += 1
                logger.exception("%s: the handler has failed", self)
                reply = self._error_reply(error, request, reply)
        finally:  # a REP must answer even for a handler that was killed
            if reply is not None:
                self._answer(envelope, reply)

    def _error_reply(self, error: BaseException, request: Any, default: Frames | None) -> Frames | None:
        if self._on_error is None:
            return default
        try:
            return _message("on_error", self._on_error(error, request))
        except (Exception, gevent.Timeout):
            logger.exception("%s: on_error has failed", self)
            return default

    def _answer(self, envelope: tuple[bytes, ...], reply: Frames) -> None:
        try:
            self._channel.put((*envelope, *((reply,) if isinstance(reply, bytes) else reply)))
            self._answered += 1
        except ForkedError:
            pass  # the parent's copy of this greenlet answers
        except (ClosedError, BrokenError) as error:
            logger.warning("%s: a reply was not sent: %s", self, error)


def _message(function: str, value: Any) -> Frames:
    try:
        return encode(value)
    except TypeError as error:
        raise TypeError(f"{function} must return a message as its reply: {error}") from None
