"""PubHandler: log records as messages. On Channel's public face alone; any thread."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from gevent import monkey
from gevent.queue import Full

from .._errors import BrokenError, ClosedError
from .._hub import seam
from .._hub.channel import Channel

_KINDS = ("PUB", "XPUB", "PUSH", "DEALER", "PAIR")

# The real thread's, whatever was patched: gevent's would be the greenlet's.
_get_ident = monkey.get_original("_thread", "get_ident")

# Set while a record is on its way, in this greenlet (each has a context of its own) or foreign thread.
_emitting: ContextVar[bool] = ContextVar("zgreen_emitting", default=False)


class _Count:
    """A counter without a lock, so that a fork or a signal handler finds none that is held: one number per thread."""

    def __init__(self) -> None:
        self._of_thread: dict[int, int] = {}  # each thread writes its own item

    def add(self) -> None:
        ident = _get_ident()
        self._of_thread[ident] = self._of_thread.get(ident, 0) + 1

    def total(self) -> int:
        return sum(tuple(self._of_thread.values()))


class PubHandler(logging.Handler):
    """A logging handler that puts each record to a channel, as ``[topic, text]``, and never waits.

    :param channel: a PUB, XPUB, PUSH, DEALER or PAIR :class:`zgreen.Channel`. It stays yours: closing the handler does
        not close it.
    :param root_topic: the topic is *root_topic*, a dot, and the level's name (``app.INFO``); without *root_topic* the
        level's name alone. Subscribers choose by prefix: ``""``, ``"app."``, ``"app.ERROR"``.
    :param level: as of any ``logging.Handler``.
    :raises TypeError: *channel* is no channel, or its socket cannot send at any time.

    Logging is legal from any greenlet and OS thread, and raises nothing: when the channel's send queue is full, or the
    channel is closed, broken or a parent process's, the new record is dropped and counted in :attr:`dropped`. Records
    of the ``zgreen`` loggers, and those that arise while a record is formatted and put, are not sent, as each would
    make another; :attr:`skipped` counts them. A record counts as sent when it is in the channel's send queue.

    It takes no lock, so two threads' records may go out in another order than they were made; each one's own keep it.
    """

    def __init__(self, channel: Channel, root_topic: str = "", level: int | str = logging.NOTSET) -> None:
        if not isinstance(channel, Channel):
            raise TypeError(f"channel must be a zgreen.Channel, not {type(channel).__name__}")
        if not isinstance(root_topic, str):
            raise TypeError(f"root_topic must be a str, not {type(root_topic).__name__}")
        if channel.socket_type not in _KINDS:
            raise TypeError(f"{channel} does not send at any time: a PubHandler needs PUB, XPUB, PUSH, DEALER or PAIR")
        seam.check_open(channel)
        super().__init__(level)
        self._channel = channel
        self._root = f"{root_topic}." if root_topic else ""
        self._dropped = _Count()
        self._skipped = _Count()
        self._sent = _Count()

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        """None: a lock would have one thread wait for another, which a patched one cannot even do."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without a lock."""
        accepted = self.filter(record)
        if not accepted:
            return False
        self.emit(accepted if isinstance(accepted, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Format *record* and put it; never waits, never raises an Exception."""
        if _emitting.get() or record.name == "zgreen" or record.name.startswith("zgreen."):
            self._skipped.add()
            return
        token = _emitting.set(True)
        try:
            self._put(record)
        except Exception:  # noqa: BLE001 (whatever a formatter, or an argument's __str__, raises)
            self.handleError(record)
        finally:
            _emitting.reset(token)

    def _put(self, record: logging.LogRecord) -> None:
        # surrogates (of undecodable file names) would not encode
        text = self.format(record).encode(errors="backslashreplace")
        topic = f"{self._root}{record.levelname}".encode(errors="backslashreplace")
        try:
            self._channel.put_nowait([topic, text])
        except (Full, ClosedError, BrokenError):
            self._dropped.add()
        else:
            self._sent.add()

    @property
    def sent(self) -> int:
        """How many records are, or were, in the channel's send queue."""
        return self._sent.total()

    @property
    def dropped(self) -> int:
        """How many records found no room, or the channel at its end."""
        return self._dropped.total()

    @property
    def skipped(self) -> int:
        """How many records were not to be sent: zgreen's own, and those that arose while another was under way."""
        return self._skipped.total()
