"""The counts, as immutable snapshots, and how the snapshots of channels add up. Hub side; any thread.

The owning thread alone counts messages, bytes, turns, rings and peaks (`_engine/_api.Pipe`). A waiter counts its wait,
under the lock of its line. The hub's thread counts refusals by cause, and errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from gevent import monkey

from .._sockets import error_name

_RLock = monkey.get_original("_thread", "RLock")  # reentrant: a signal handler may ask for a dump


class Counts(dict[str, int]):
    """Numbers by cause, that never change. A dict, because json, pickle and copy.deepcopy take no MappingProxyType."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_options: Any) -> NoReturn:
        raise TypeError("a snapshot cannot be changed")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:  # made at once: else it would be filled item by item
        return Counts, (dict(self),)


NONE = Counts()


class Tally:
    """What the hub side counts for one channel, beside the counts of its pipe and its lines."""

    def __init__(self) -> None:
        self.last_error: str | None = None  # the hub's thread writes
        self._refusals: dict[str, int] = {}  # by the name of the error; the hub's thread writes
        self._lock = _RLock()  # covers _peaks; any thread
        self._peaks = (0, 0)  # of pending and waiting, as snapshots have found them

    def refused(self, number: int | None) -> None:
        """Count a refusal; the hub's thread."""
        name = error_name(number)
        self._refusals[name] = self._refusals.get(name, 0) + 1

    def refusals(self) -> Counts:
        """By the name of the error; any thread."""
        return Counts(self._refusals)

    @staticmethod
    def drops(overflow: str, dropped: int, unsent: int) -> Counts:
        """Messages lost, by cause."""
        return Counts({cause: number for cause, number in ((overflow, dropped), ("unsent", unsent)) if number})

    def peaks(self, pending: int, waiting: int) -> tuple[int, int]:
        """Take these numbers in, and return the peaks; any thread. Two snapshots at once lose no maximum."""
        with self._lock:
            self._peaks = (max(self._peaks[0], pending), max(self._peaks[1], waiting))
            return self._peaks

    def forked(self) -> None:
        """In the child of a fork, which does not have the lock's holder."""
        self._lock = _RLock()


class ChannelStatistics(NamedTuple):
    """A snapshot of a channel, since it was made. Counts are of whole messages, sizes in bytes, times in seconds.

    *sent*: libzmq has taken them; *received*: from libzmq; *pending*: put, not with libzmq; *waiting*: received, not
    got; *refused*: by libzmq, for good; *dropped*: by the receive queue's overflow policy; *unsent*: not sent when the
    channel ended; *putters* and *getters*: how many wait now.

    *sent_bytes*, *received_bytes*: the contents of *sent* and *received*, without ZeroMQ's framing.
    *peak_pending*, *peak_waiting*: the most there were when the owning thread began to send, or ended to receive, and
    at each snapshot: what comes and goes in between is not seen.
    *put_waits*, *get_waits*: how many puts and gets had to wait; *put_wait_seconds*, *get_wait_seconds*: for how long,
    together, present waits included.
    *refusals*: *refused* by the name of the error (``"EHOSTUNREACH"``), as far as the hub has been told.
    *drops*: messages lost, by cause: ``"drop_oldest"``, ``"drop_newest"`` (*dropped*), ``"unsent"``.
    *send_turns*, *receive_turns*: the owning thread's turns in which any message went that way; *largest_send* and
    *largest_receive*: the most messages in one of them; :attr:`mean_send`, :attr:`mean_receive`.
    *hub_wakeups*: how often the owning thread told the hub, or a thread that waits, that there is room or a message;
    *thread_wakeups*: how often it had to be asked to look at this channel.
    *last_error*: the last refusal by libzmq, or why the channel ended by itself, as text; None: none.
    *pending_bytes*, *waiting_bytes*: the contents of *pending* and *waiting*, if *send_maxbytes* or *recv_maxbytes* was
    given; else 0, as they are not counted then.
    """

    sent: int
    received: int
    pending: int
    waiting: int
    refused: int
    dropped: int
    unsent: int
    putters: int
    getters: int
    sent_bytes: int
    received_bytes: int
    peak_pending: int
    peak_waiting: int
    put_waits: int
    get_waits: int
    put_wait_seconds: float
    get_wait_seconds: float
    refusals: Mapping[str, int]
    drops: Mapping[str, int]
    send_turns: int
    receive_turns: int
    largest_send: int
    largest_receive: int
    hub_wakeups: int
    thread_wakeups: int
    last_error: str | None
    pending_bytes: int
    waiting_bytes: int

    @property
    def mean_send(self) -> float:
        """Messages per turn that the owning thread sent in; 0.0 if none."""
        return _mean(self.sent + self.refused, self.send_turns)

    @property
    def mean_receive(self) -> float:
        """Messages per turn that the owning thread received in; 0.0 if none."""
        return _mean(self.received, self.receive_turns)


class PumpStatistics(NamedTuple):
    """A snapshot of a pump: all its channels together, closed ones included, so no count ever goes down.

    *channels*: the open ones; *pending* and *waiting*: in those. *unsent* counts messages of channels closed so far
    that were not sent. *peak_pending*, *peak_waiting*, *largest_send*, *largest_receive*: of the one channel that had
    the most. *hub_wakeups*: how often the hub was woken by the owning thread; *thread_wakeups*: how often the owning
    thread has slept and gone on. *last_error*: the last of any channel's, or why the pump broke. *busy_wait_hits*,
    *busy_wait_misses*: how often the owning thread, before it slept, looked for work for a while and found some, or
    found none (``Pump(busy_wait=)``). The others are those
    of :class:`ChannelStatistics`, added up.
    """

    channels: int
    sent: int
    received: int
    pending: int
    waiting: int
    refused: int
    dropped: int
    unsent: int
    sent_bytes: int
    received_bytes: int
    peak_pending: int
    peak_waiting: int
    put_waits: int
    get_waits: int
    put_wait_seconds: float
    get_wait_seconds: float
    refusals: Mapping[str, int]
    drops: Mapping[str, int]
    send_turns: int
    receive_turns: int
    largest_send: int
    largest_receive: int
    hub_wakeups: int
    thread_wakeups: int
    last_error: str | None
    busy_wait_hits: int
    busy_wait_misses: int

    @property
    def mean_send(self) -> float:
        """Messages per turn that the owning thread sent in; 0.0 if none."""
        return _mean(self.sent + self.refused, self.send_turns)

    @property
    def mean_receive(self) -> float:
        """Messages per turn that the owning thread received in; 0.0 if none."""
        return _mean(self.received, self.receive_turns)


NOTHING = PumpStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, NONE, NONE, 0, 0, 0, 0, 0, 0, None, 0, 0)


def _places(*names: str) -> tuple[tuple[int, int], ...]:
    """Where a figure stands: in a pump's snapshot, and in a channel's."""
    return tuple((PumpStatistics._fields.index(name), ChannelStatistics._fields.index(name)) for name in names)


_GAUGES = _places("pending", "waiting")
_SUMS = _places(
    "sent", "received", "refused", "dropped", "unsent", "sent_bytes", "received_bytes", "put_waits", "get_waits",
    "send_turns", "receive_turns",
)  # fmt: skip
_PEAKS = _places("peak_pending", "peak_waiting", "largest_send", "largest_receive")
_TIMES = _places("put_wait_seconds", "get_wait_seconds")
_MAPPINGS = _places("refusals", "drops")


def add(total: PumpStatistics, ones: Iterable[ChannelStatistics], closed: bool = False) -> PumpStatistics:
    """Return *total* with the figures of channels added. *closed*: they have ended, so they hold no messages any more.

    Until `finish` the times in *total* are whole nanoseconds: a sum of floats depends on the order of its parts, and
    so would go down, by its last bit, when channels close in another order than they were made.
    """
    values: list[Any] = list(total)
    sums = _SUMS if closed else _SUMS + _GAUGES
    for one in ones:
        for mine, its in sums:
            values[mine] += one[its]
        for mine, its in _PEAKS:
            values[mine] = max(values[mine], one[its])
        for mine, its in _TIMES:
            values[mine] += round(one[its] * 1e9)  # type: ignore[operator]
        for mine, its in _MAPPINGS:
            values[mine] = _merge(values[mine], one[its])  # type: ignore[arg-type]
    return PumpStatistics._make(values)


def finish(total: PumpStatistics) -> PumpStatistics:
    """Return the result of `add`, with its times in seconds."""
    values: list[Any] = list(total)
    for mine, _ in _TIMES:
        values[mine] /= 1e9
    return PumpStatistics._make(values)


def describe(error: BaseException) -> str:
    """An error as one line of text: a snapshot must not keep its traceback alive."""
    return f"{type(error).__name__}: {error}"


def _merge(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    if not b:
        return a
    return Counts({key: a.get(key, 0) + b.get(key, 0) for key in (*a, *(k for k in b if k not in a))})


def _mean(messages: int, turns: int) -> float:
    return messages / turns if turns else 0.0
