"""Requester: requests from any number of greenlets over one DEALER channel. Hub side.

On the wire a request is [id, b"", *frames]. A REP returns what stands before and with the empty frame by itself, a
ROUTER server returns it as the envelope, so the reply comes with the id of its request. One greenlet, the receiver,
gets all replies and finds out whose they are. It lives until the channel has ended, whatever the reason; the requests
that still wait then get the channel's error.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Literal, NamedTuple, cast, overload

import gevent
import zmq
from gevent.event import AsyncResult
from gevent.queue import Full

from .._arguments import check_seconds
from .._errors import BrokenError, ClosedError, again
from .._hub import seam
from .._hub.channel import Channel
from .._hub.pump import Pump
from .._message import Frames, decode, encode
from .._types import M

logger = logging.getLogger("zgreen")

_BATCH = 100  # replies that are taken from the channel in one go


class RequesterStatistics(NamedTuple):
    """A snapshot of a requester.

    *requests*: that were made; *answered*: got their reply; *timed_out*: did not, tries and all; *retries*: how often
    a request was sent again; *late*: replies dropped because their request waits no longer (or has its reply);
    *malformed*: messages dropped because they are no reply to anything asked here; *waiting*: requests that wait for
    their reply now.
    """

    requests: int
    answered: int
    timed_out: int
    retries: int
    late: int
    malformed: int
    waiting: int


class _Request(AsyncResult):  # type: ignore[type-arg]  # gevent's class takes no argument when it runs
    """A request under way; the hub's thread alone."""

    def __init__(self, key: bytes, frames: Frames, timeout: float | None, tries: int) -> None:
        super().__init__()
        self.key = key
        self.message = (key, b"", *((frames,) if isinstance(frames, bytes) else frames))
        self.timeout = timeout  # seconds for each try
        self.tries = tries  # left, with the one that is under way
        self.deadline = math.inf  # of this try, monotonic seconds
        self.timer: Any = None  # of the hub's loop, from the first send to the end
        self.taken: AsyncResult[None] | None = None  # ready when libzmq has taken the last try; None: no retries

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.stop()
            self.timer.close()
            self.timer = None


class Requester(Generic[M]):
    """Asks servers; any number of requests at once, from any number of greenlets, replies in any order.

    :param bind: an endpoint or an iterable of them, as for :class:`Channel`.
    :param connect: likewise. With several servers requests go to each in turn.
    :param retries: how many times a request that got no reply is sent again; see :meth:`submit`.
    :param options: as for :class:`Channel`. Unless you set it, zmq.IMMEDIATE is 1: a request is for a server that is
        connected, and waits in the send queue while there is none, instead of waiting for one server that is gone.
    :param configurator: as for :class:`Channel`.
    :param send_maxsize: how many requests may wait for a server that takes them; None: no limit.
    :param recv_maxsize: how many replies may wait to be told apart; None: no limit.
    :param multipart: whether a reply is always a list of frames.
    :param pump: a :class:`Pump`; default: :func:`get_pump`.
    :raises zmq.ZMQError: from bind, connect or an option.
    :raises RuntimeError: not on the thread of the pump's hub.

    Any REP server answers it, and any ROUTER server that returns the envelope whole: all frames up to and with the
    empty one, not just the first. It stays open until :meth:`close`, or the end of a ``with``; to drop it does not end
    it. In the child of a fork it raises :class:`ForkedError`.
    """

    @overload
    def __init__(
        self: Requester[list[bytes]],
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        retries: int = 0,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        multipart: Literal[True],
        pump: Pump | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Requester[bytes | list[bytes]],
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        retries: int = 0,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        multipart: bool = False,
        pump: Pump | None = None,
    ) -> None: ...

    def __init__(
        self,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        *,
        retries: int = 0,
        options: Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None = None,
        configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
        send_maxsize: int | None = 1000,
        recv_maxsize: int | None = 1000,
        multipart: bool = False,
        pump: Pump | None = None,
    ) -> None:
        if not isinstance(retries, int) or isinstance(retries, bool):
            raise TypeError(f"retries must be an int, not {type(retries).__name__}")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}")
        if isinstance(pump, Pump):
            seam.check_here(pump, "a Requester")
        if options is None:
            options = {}
        if isinstance(options, Mapping):  # else the channel says what is wrong with it
            defaults: dict[Any, Any] = {zmq.IMMEDIATE: 1}
            options = {**defaults, **options}
        self._multipart = bool(multipart)
        self._tries = retries + 1
        self._channel = Channel(
            zmq.DEALER, bind, connect, options=options, configurator=configurator, send_maxsize=send_maxsize,
            recv_maxsize=recv_maxsize, multipart=True, pump=pump,
        )  # fmt: skip
        # the hub's thread alone from here on
        self._waiting: dict[bytes, _Request] = {}
        # an id is this requester's mark (another one's replies may come to the same ROUTING_ID) and a number
        self._mark = os.urandom(8)
        self._numbers = itertools.count(1)
        self._requests = self._answered = self._timed_out = self._retries = self._late = self._malformed = 0
        self._receiver = gevent.spawn(self._receive)

    # ------------------------------------------------------------------ requests

    def request(self, message: Any, timeout: float | None = None) -> M:
        """Send *message* and return its reply: ``bytes``, or a list of ``bytes`` if it has several frames.

        As ``submit(message, timeout).get()``, and whatever ends the wait, a ``gevent.Timeout`` or a kill included,
        the requester forgets the request.

        :raises TimeoutError: no reply.
        """
        request = self._submit(message, timeout)
        try:
            return cast("M", request.get())
        finally:
            self._forget(request)

    def submit(self, message: Any, timeout: float | None = None) -> AsyncResult[M]:
        """Send *message* and return an AsyncResult for its reply.

        :param timeout: seconds for each try, room in the send queue included; None: no limit, and then no retries.
            A request whose time is over is sent again, up to *retries* times, to whichever server is connected then;
            so all together may take ``timeout * (1 + retries)`` seconds. All tries have one id: a reply to the first
            that comes during the second is the reply. A server may get the same request more than once, but not
            because it came late: while a try waits in the send queue no other is sent.
        :raises TypeError: this is no message.
        :raises TimeoutError: there was no room in the send queue in all that time.
        :raises ClosedError: the requester, its channel's pump, or both are closed.
        :raises BrokenError: likewise.
        :raises RuntimeError: not in a greenlet of the pump's hub.

        Waits for nothing but room in the send queue. The AsyncResult gets the reply, or TimeoutError, or, at the end of
        the requester, ClosedError or BrokenError. Without a timeout the request is remembered until then: see
        :meth:`forget`. A message that waits in the send queue is sent even if its reply is no longer waited for.
        """
        return self._submit(message, timeout)

    def forget(self, result: AsyncResult[Any]) -> bool:
        """Give up a request of :meth:`submit`: its reply will be dropped, *result* stays as it is. False: it was not
        under way."""
        return isinstance(result, _Request) and self._forget(result)

    def _submit(self, message: Any, timeout: float | None) -> _Request:
        frames = encode(message)
        check_seconds("timeout", timeout)
        seam.check_greenlet(self._channel.pump, "Requester.request()")
        if self._receiver.dead and not self._channel.closed:  # it was killed; the channel is about to close
            raise ClosedError(f"{self} was closed")
        request = _Request(self._mark + next(self._numbers).to_bytes(8, "big"), frames, timeout, self._tries)
        self._requests += 1
        self._waiting[request.key] = request
        try:
            self._send_first(request)
        except BaseException:
            self._forget(request)
            raise
        return request

    def _send_first(self, request: _Request) -> None:
        while True:
            started = time.monotonic()
            try:
                self._put(request)
            except Full:
                request.tries -= 1
                if not request.tries:
                    self._timed_out += 1
                    raise TimeoutError(self._no_reply(request)) from None
                continue
            if request.timeout is not None and request.key in self._waiting:
                self._start_timer(request, started + request.timeout)
            return

    def _put(self, request: _Request) -> None:
        if request.tries == 1 or request.timeout is None:
            self._channel.put(request.message, True, request.timeout)
            return
        with gevent.Timeout(request.timeout) as limit:
            try:
                request.taken = self._channel.send(request.message)
            except gevent.Timeout as expired:
                if expired is not limit:
                    raise
                raise Full from None

    def _start_timer(self, request: _Request, deadline: float) -> None:
        request.stop()
        request.deadline = deadline
        seconds = max(0.0, deadline - time.monotonic())
        request.timer = seam.hub_of(self._channel.pump).loop.timer(seconds)
        request.timer.start(self._try_is_over, request)

    def _try_is_over(self, request: _Request) -> None:
        """The hub, in a callback of its loop: nothing here may wait."""
        if time.monotonic() < request.deadline:  # the loop's clock may be behind when a timer is started
            self._start_timer(request, request.deadline)
            return
        request.tries -= 1
        if not request.tries:
            self._forget(request)
            self._timed_out += 1
            request.set_exception(TimeoutError(self._no_reply(request)))
            return
        if request.taken is None or request.taken.ready():  # else the last try will go to the next server itself
            try:
                request.taken = self._channel.send(request.message)  # Full if there is no room: this is the hub
                self._retries += 1
            except Full:
                pass  # the time of this try passes all the same: there may be a reply to the one before
            except (ClosedError, BrokenError):
                request.stop()  # the receiver will tell why
                return
        assert request.timeout is not None
        self._start_timer(request, time.monotonic() + request.timeout)

    def _no_reply(self, request: _Request) -> str:
        times = f" {self._tries} times" if self._tries > 1 else ""
        return f"{self}: no reply within {request.timeout:g} s{times}"

    def _forget(self, request: _Request) -> bool:
        request.stop()
        return self._waiting.pop(request.key, None) is not None

    # ------------------------------------------------------------------ replies

    def _receive(self) -> None:
        """The receiver."""
        error: ClosedError | BrokenError = ClosedError(f"{self} was closed")
        try:
            while True:
                for frames in self._channel.get_many(_BATCH):
                    self._take(frames)
        except (ClosedError, BrokenError) as ended:
            error = ended
        finally:  # also if this greenlet is killed: no request may wait for ever
            self._end_all(error)
            if not self._channel.closed:
                gevent.spawn(self._channel.close)

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) < 3 or frames[1]:
            self._drop("it is not [id, empty frame, reply]", frames)
            return
        key = frames[0]
        request = self._waiting.get(key)
        if request is not None:
            self._forget(request)
            self._answered += 1
            body = frames[2:]
            request.set(decode(tuple(body) if len(body) > 1 else body[0], self._multipart))
        elif len(key) == 16 and key.startswith(self._mark):
            self._late += 1
            logger.debug("%s: a late reply was dropped", self)
        else:
            self._drop("nothing was asked with its id", frames)

    def _drop(self, why: str, frames: list[bytes]) -> None:
        self._malformed += 1
        logger.warning("%s: a message of %d frames was dropped: %s", self, len(frames), why)

    def _end_all(self, error: ClosedError | BrokenError) -> None:
        for request in tuple(self._waiting.values()):
            self._forget(request)
            request.set_exception(again(error))

    # ------------------------------------------------------------------ state and end

    @property
    def channel(self) -> Channel[list[bytes]]:
        """The DEALER channel underneath, to bind and connect, and for its statistics; put to it or get from it, and
        requests and replies are lost."""
        return self._channel

    @property
    def closed(self) -> bool:
        """Whether requests are refused."""
        return self._channel.closed

    def statistics(self) -> RequesterStatistics:
        """A snapshot of the counts since the requester was made."""
        return RequesterStatistics(
            self._requests, self._answered, self._timed_out, self._retries, self._late, self._malformed,
            len(self._waiting),
        )  # fmt: skip

    def close(self, linger: float | None = None) -> int:
        """Refuse requests, give :class:`ClosedError` to those that wait, and close the channel.

        :param linger: seconds for the requests that no server has taken; default: as :meth:`Channel.close`.
        :return: how many of them were not sent. Closing again does nothing.
        :raises RuntimeError: on another thread than the pump's hub's.
        """
        check_seconds("linger", linger)
        seam.check_here(self._channel.pump, "Requester.close()")
        if not self._channel.closed:
            self._end_all(ClosedError(f"{self} was closed"))
        return self._channel.close(linger)

    def __enter__(self) -> Requester[M]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zgreen.Requester {self._channel.last_endpoint}>"
