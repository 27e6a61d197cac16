"""Sent: the putting half of `Channel`. Hub side; any thread, but as it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic

from gevent.event import AsyncResult

from .._arguments import check_seconds, check_timeout
from .._types import M
from .lanes import Lanes
from .many import put_many


class Sent(Generic[M]):
    """What is put, until libzmq takes it."""

    _lanes: Lanes
    _offer: Callable[[Any], bool]  # one call into the engine, where nothing is in the way
    _offer_now: Callable[[Any], bool]

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
        if timeout is not None:
            check_timeout(timeout)
        if not (self._offer(message) if block else self._offer_now(message)):
            self._lanes.put(message, block, timeout)

    def put_nowait(self, message: Any) -> None:
        """``put(message, block=False)``."""
        if not self._offer_now(message):
            self._lanes.put(message, False, None)

    def put_many(self, messages: Iterable[Any], timeout: float | None = None) -> None:
        """Put all *messages*, in order, and wait for room as often as needed.

        :param messages: an iterable, which is read to its end first.
        :param timeout: seconds for all of it; None: no limit; 0: do not wait.
        :raises TypeError: one of them is no message, or the socket cannot send. None was put then.
        :raises gevent.queue.Full: there was not room for all within *timeout*.
        :raises ClosedError, BrokenError: as :meth:`put`.

        Whatever ends it early, be it one of these, a ``gevent.Timeout`` or a kill: the first so many messages were put,
        each once, and the exception's attribute ``messages_put`` says how many. Messages of others may come between
        them. (A signal handler that raises in the middle may leave that number too small, by one batch.)
        """
        check_timeout(timeout)
        put_many(self._lanes, messages, timeout)

    def send(self, message: Any) -> AsyncResult[None]:
        """Put *message*, waiting for room, and return an AsyncResult: set when libzmq has taken the message, or the
        ``zmq.ZMQError`` why it never will, or :class:`ClosedError` if the channel ended first.

        Taken by libzmq does not mean that a peer has it. On the thread of the pump's hub only.
        """
        return self._lanes.send(message)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was put before has been handed to libzmq; False after *timeout* seconds.

        :raises ClosedError, BrokenError: the channel has ended, or ends before that.
        """
        check_seconds("timeout", timeout)
        return self._lanes.flush(timeout)

    def request(self, message: Any, timeout: float | None = None) -> M:
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
        same time, nor for one of :func:`register_socket`; a reply to an earlier put() that was not got is thrown away.
        """
        check_seconds("timeout", timeout)
        reply: M = self._lanes.request(message, timeout)
        return reply

    def full(self) -> bool:
        """Whether :meth:`put` would have to wait for room now; False of a socket that cannot send. From any thread."""
        lanes = self._lanes
        sizes, pipe = lanes.sizes, lanes.pipe
        if not lanes.kind.sends:
            return False
        if sizes.send_maxbytes is not None and pipe.pending_bytes() >= sizes.send_maxbytes:
            return True
        return sizes.send_maxsize is not None and pipe.pending() >= sizes.send_maxsize
