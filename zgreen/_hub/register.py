"""register_socket, and the greenlets that feed from and to the queues that the user brings. Hub side."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import queue as _stdlib_queue
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.queue
import zmq
from gevent import monkey
from gevent.hub import Waiter
from gevent.queue import Empty, ShutDown

from .._engine._api import Plan
from .._errors import BrokenError, ClosedError, ForkedError
from .._sockets import kind_of
from .channel import Channel, _face_of
from .lanes import Lanes, Sizes
from .many import get_many
from .pump import Pump, get_pump
from .wait import Deadline

logger = logging.getLogger("zgreen")

_FEED_LIMIT = 1.0  # seconds; for an in_ that gives without end
_BATCH = 100  # messages that are moved in one go
_SIZES = Sizes(1000, 1000, "block")

_StdlibSimpleQueue = monkey.get_original("queue", "SimpleQueue")


def register_socket(
    in_: Any = None,
    out: Any = None,
    *,
    socket: zmq.Socket[Any] | None = None,
    socket_type: int | str | None = None,
    configurator: Callable[[zmq.Socket[bytes]], Any] | None = None,
    pump: Pump | None = None,
) -> Channel:
    """Tie a ZeroMQ socket to queues: what you put to *in_* is sent, what is received you get from *out*.

    The names are the library's view, as in zmq-async. Either *socket_type* with *configurator*, or *socket*:

    :param in_: where you put; any object with gevent.queue's ``get``. Its ``shutdown()``, or ``StopIteration`` put to a
        queue that has none, closes the socket after what was put has gone out.
    :param out: where you get; any object with gevent.queue's ``put``. It is shut down (or given ``StopIteration``) when
        its last message is there. While it is full nothing is read from the socket but one message in hand, and
        nothing else waits. Of a queue that does not tell its bound (``maxsize`` and ``qsize()``, as gevent's do) up to
        1,100 more are read.
    :param socket: an existing socket, perhaps bound or connected already. It is the pump's from now on: do not use it.
        libzmq tells the last endpoint alone of such a socket, so the others are not known here: what a close may have
        lost is an upper bound, and an inproc name that was bound before the last one may be free a little later.
    :param socket_type: ``zmq.REP``, ``"rep"`` or ``"REP"``.
    :param configurator: called with the new ``zmq.Socket`` in the owning thread, to bind, connect and set options; it
        must not wait, log, touch anything of gevent's, or keep the socket.
    :param pump: a :class:`Pump`; default: :func:`get_pump`.
    :return: the :class:`Channel` between, for commands, ``on_error`` and statistics. Its close() shuts *in_* first.
    :raises TypeError, ValueError: the arguments do not fit together; nothing has been made or taken then.

    What *in_* gives that is no message goes to the channel's ``on_error``, else to the ``zgreen`` log.
    """
    if in_ is None and out is None:
        raise ValueError("give in_, out, or both: a socket without either cannot be used")
    if in_ is not None and in_ is out:
        raise ValueError("in_ and out are the same queue: what is received would be sent again")
    _check_queue("in_", in_, "get")
    _check_queue("out", out, "put")
    if socket is not None:
        if socket_type is not None or configurator is not None:
            raise ValueError("give either socket, or socket_type and configurator, not both")
        _check_socket(socket)
        kind = kind_of(socket.get(zmq.TYPE))
    else:
        if socket_type is None or configurator is None:
            raise ValueError("give socket, or both socket_type and configurator")
        if not callable(configurator):
            raise TypeError(f"configurator must be callable, not {type(configurator).__name__}")
        kind = kind_of(socket_type)
    if in_ is not None and not kind.sends:
        raise ValueError(f"a {kind.name} socket cannot send: give out only, not in_")
    if out is not None and not kind.receives:
        raise ValueError(f"a {kind.name} socket cannot receive: give in_ only, not out")
    if kind.name in ("REQ", "REP") and (in_ is None or out is None):
        raise ValueError(f"a {kind.name} socket sends and receives in turns: give both in_ and out")
    if pump is not None and not isinstance(pump, Pump):
        raise TypeError(f"pump must be a zgreen.Pump or None, not {type(pump).__name__}")
    pump = (pump or get_pump()).start()  # before the socket is taken: a closed pump takes nothing
    pump._thread.link.check_here("register_socket, whose queues belong to one hub,")
    lanes = Lanes(pump._thread, kind, Plan(socket, kind.number, (), configurator, (), ()), _SIZES, False, _face_of)
    channel = Channel.__new__(Channel)
    channel._wear(lanes, pump)
    if socket is not None:
        _taken.add(socket)
    try:
        lanes.open()
    except BaseException:
        if socket is not None and not socket.closed:
            _taken.discard(socket)  # it was not taken, so it can be registered again
        raise
    if out is not None:
        gevent.spawn(_feed_out, lanes, out)
    if in_ is not None:
        lanes.feeder = _Feeder(lanes, in_)
    return channel


Pump._register_socket = staticmethod(register_socket)  # it stands above Pump, which cannot import it


class _Feeder:
    """Moves the items of *in_* into the lanes, in a greenlet of its own. The hub's thread alone touches it.

    At exit, and once the hub's thread has ended, `feed_all` runs in the thread that stands in for the hub.
    """

    def __init__(self, lanes: Lanes, in_: Any) -> None:
        self._lanes = lanes
        self._in = in_
        self._shutdown: Callable[[], Any] | None = getattr(in_, "shutdown", None)
        self._ending = False  # take the items that are there, and do not wait for more
        self._waiting = False  # in in_.get()
        self._in_hand: list[Any] = []  # items that are taken from in_ and not in the pipe; an end is the last one
        self._closing = False  # a caller closes the channel, with a linger of its own
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        self._take()
        while self._put_all():
            self._take()
        if not self._closing:
            gevent.spawn(self._lanes.close, None, math.inf)

    def _take(self) -> None:
        """Wait for an item of in_ and take it in hand, with those behind it if in_ can tell how many there are. More
        than the pipe has room for stay there: the user has bounded in_."""
        item = self._next(True)
        self._in_hand.append(item)
        size = getattr(self._in, "qsize", None)
        room = min(_BATCH, (_SIZES.send_maxsize or _BATCH) - self._lanes.pipe.pending())
        with contextlib.suppress(Empty):
            while size is not None and len(self._in_hand) < room and not _is_end(item) and size() > 0:
                item = self._next(False)
                self._in_hand.append(item)

    def _next(self, block: bool) -> Any:
        """The next item of in_; StopIteration at its end; Empty, if *block* is false and there is none."""
        while True:
            self._waiting = block
            try:
                return self._in.get(block=block and not self._ending)
            except ShutDown:
                if self._ending or not block:
                    return StopIteration
                self._ending = True  # gevent throws this into a waiting get() even if items came at the same moment
            except Empty:
                if self._ending:
                    return StopIteration
                raise
            except Exception as error:  # a queue of the user's may raise anything
                logger.error("%s: in_ has failed, so it is closed", self._lanes.name, exc_info=error)
                return StopIteration
            finally:
                self._waiting = False

    def _put_all(self) -> bool:
        """Put what is in hand; return False when the channel takes no more, or in_ has ended."""
        while self._in_hand:
            done = 0 if self._closing else self._lanes.pipe.offer_many(self._in_hand, 0)
            self._in_hand = self._in_hand[done:]
            if not done and (_is_end(self._in_hand[0]) or not self._put_first()):
                return False
        return True

    def _put_first(self) -> bool:
        """Put the first of those in hand; return False when the channel takes no more."""
        item = self._in_hand[0]
        try:
            if self._closing:  # feed_all takes from in_, too: keep the order, do not wait
                self._lanes.push_over(item)
            else:
                self._lanes.put(item, True, None)
        except (ClosedError, BrokenError) as error:
            for left in self._in_hand:  # what feed_all has taken on is not there any more
                if not _is_end(left):
                    self._lanes.failures.not_sent(error, left)
            self._in_hand = []
            return False
        except Exception as error:  # noqa: BLE001 (no message; the next one may be)
            self._lanes.failures.not_sent(error, item)
        self._in_hand = self._in_hand[1:]  # empty, if feed_all has taken it on meanwhile
        return True

    def feed_all(self) -> None:
        """Push all items of in_, whatever the limit of the pipe: the channel is about to be closed.

        The owning thread alone then applies the linger, and counts the messages that were not sent. This does not wait.
        """
        if self._greenlet.dead:
            return
        self._ending = self._closing = True
        self._shut_in()  # wakes a waiting get()
        items, self._in_hand = self._in_hand, []
        limit = Deadline(_FEED_LIMIT)
        try:
            while not limit.passed():
                for item in items:
                    if _is_end(item):
                        return
                    self._lanes.push_over(item)
                items = [self._in.get(block=False)]
        except (Empty, ShutDown):
            pass
        except Exception as error:  # noqa: BLE001 (a queue of the user's may raise anything)
            self._report("%s: in_ has failed", error)
        else:
            self._report("%s: its in_ does not get empty; what is left there is not sent")

    def stop(self) -> None:
        """The channel has ended: no caller may wait for room in in_ any more."""
        if not self._shut_in() and self._waiting:
            self._greenlet.kill(block=False)

    def _shut_in(self) -> bool:
        """Whether in_ is shut down now."""
        if self._shutdown is None:
            return False
        try:
            self._shutdown()
        except Exception as error:  # noqa: BLE001 (a queue of the user's may raise anything; the close goes on)
            self._report("%s: in_ cannot be shut down", error)
            self._shutdown = None  # so it is said once
            return False
        return True

    def _report(self, text: str, error: Exception | None = None) -> None:
        self._lanes.link.reports.add(logger.error, text, self._lanes.name, exc_info=error)


def _is_end(item: Any) -> bool:
    """Whether *item* stands for the end of a queue that cannot be shut down."""
    return item is StopIteration or isinstance(item, StopIteration)


def _feed_out(lanes: Lanes, out: Any) -> None:
    """Move the messages that the channel receives to *out*, then end *out*."""
    try:
        for messages in _received(lanes, out):
            left = _put_out(lanes, out, messages)
            if left:
                lost = "a message is" if left == 1 else f"{left} messages are"
                logger.warning("%s: out has ended, so %s lost and no more are read", lanes.name, lost)
                if lanes.feeder is None:  # nothing is sent either
                    lanes.close(None, math.inf)
                return
    except (ClosedError, BrokenError) as error:
        if isinstance(error, ForkedError):
            raise
        logger.debug("%s: %s", lanes.name, error)  # the owning thread's end has been reported
    gevent.sleep(0)  # gevent throws ShutDown into a waiting get() even if an item came at the same moment: let it run
    end = getattr(out, "shutdown", None) or getattr(out, "close", None)
    if end is not None:
        end()
    else:
        out.put(StopIteration)


def _put_out(lanes: Lanes, out: Any, messages: list[Any]) -> int:
    """Put *messages* to *out*; return how many are left because it has ended."""
    for number, message in enumerate(messages):
        try:
            out.put(message)
        except (ShutDown, BrokenError):  # the latter of a channel
            return len(messages) - number
        except Exception:
            logger.exception("%s: out has refused a message, which is lost", lanes.name)
    return 0


def _received(lanes: Lanes, out: Any) -> Iterator[list[Any]]:
    """Yield the messages that the channel receives, no faster than *out* has room for them.

    Of a bounded queue the owning thread has read no more than the queue holds and one message in hand. For that it
    reads nothing while messages change from the pipe to *out*.
    """
    bound = _bound_of(out)
    while bound is None:
        yield from _first_and_rest(lanes, True, _BATCH)
    while True:
        room = max(1, bound - out.qsize())
        lanes.pipe.limit_waiting(room)
        _wait_for_message(lanes)
        lanes.pipe.limit_waiting(0)
        yield from _first_and_rest(lanes, False, room)


def _first_and_rest(lanes: Lanes, block: bool, limit: int) -> Iterator[list[Any]]:
    """Yield a message, and then what else is there, up to *limit* in all: one that *out* refuses costs no other."""
    with contextlib.suppress(Empty):
        yield [lanes.get(block, None)]
        if limit > 1:
            yield get_many(lanes, limit - 1, 0)


def _bound_of(out: Any) -> int | None:
    """How many items *out* holds, as gevent's queues say it; None: not known, or no limit."""
    if isinstance(out, gevent.queue.Channel):
        return 0
    bound = getattr(out, "maxsize", None)
    bounded = isinstance(bound, int) and bound > 0 and callable(getattr(out, "qsize", None))
    return bound if bounded else None


def _wait_for_message(lanes: Lanes) -> None:
    """Return when a message can be got, in a turn of the caller's, or when the channel has ended."""
    if lanes.receives.ready():
        return
    line = lanes.receives.line
    waiter: Waiter[Any] = Waiter()
    line.link(waiter.switch, None)
    try:
        waiter.get()
    finally:
        line.unlink(waiter.switch)


def _check_queue(name: str, queue: Any, method: str) -> None:
    if queue is None:
        return
    if not callable(getattr(queue, method, None)):
        raise TypeError(f"{name} must have gevent.queue's {method}(), but {type(queue).__name__} has none")
    blocks = isinstance(queue, _stdlib_queue.Queue) and not monkey.is_module_patched("threading")
    if blocks or isinstance(queue, _StdlibSimpleQueue):
        raise TypeError(f"{name} is a {type(queue).__name__} of the standard library, whose waits would block all "
                        "greenlets: use one of gevent.queue")  # fmt: skip
    if inspect.iscoroutinefunction(getattr(queue, method)):
        raise TypeError(f"{name} is of asyncio: use a queue of gevent.queue")


_taken: weakref.WeakSet[zmq.Socket[Any]] = weakref.WeakSet()


def _check_socket(socket: Any) -> None:
    if not isinstance(socket, zmq.Socket):
        raise TypeError(f"socket must be a zmq.Socket, not {type(socket).__name__}")
    for module, name in (("zmq.green", "Socket"), ("zmq._future", "_AsyncSocket")):
        foreign = getattr(sys.modules.get(module), name, None)
        if foreign is not None and isinstance(socket, foreign):
            raise TypeError(
                f"socket is a {type(socket).__module__}.{type(socket).__name__}, which waits in an event loop of its "
                "own: make it with a plain zmq.Context, or give socket_type and configurator"
            )
    if socket.closed:
        raise ValueError("socket is closed")
    if socket in _taken:
        raise ValueError("socket is registered already: it belongs to a pump")
