"""The standard streams, read and written without ever holding up the hub, so that a signal is always heard.

The descriptors stay as they are: O_NONBLOCK would be set for all processes that share the terminal or the pipe. So a
read or write is tried only when the system says that it will not wait, and a write is of no more bytes than there is
room for then.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque

import gevent

from zgreen.cli import output

_READ = 65536  # bytes
_BATCH = 65536  # bytes that `Writer` keeps back for one write
_READABLE, _WRITABLE = 1, 2  # of the loop's io watchers


class Reader:
    """A descriptor to read from; by default standard input."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor

    def read(self) -> bytes:
        """Some bytes, as soon as there are any; none at the end. An OSError names standard input."""
        while True:
            try:
                _wait(self._descriptor, _READABLE)
                return os.read(self._descriptor, _READ)
            except BlockingIOError:  # another process has read it
                gevent.sleep(0)
            except OSError as error:
                error.filename = output.STDIN
                raise


class Writer:
    """A descriptor to write whole messages to; by default standard output.

    Attributes:
        shown: how many have been written whole.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._data = bytearray()
        self._ends: deque[int] = deque()  # of messages that are not written whole, counted in bytes from the start
        self._taken = self._written = 0  # bytes
        self._room = _room(descriptor)
        self.shown = 0

    @property
    def held(self) -> int:
        """How many messages are not written whole."""
        return len(self._ends)

    def put(self, data: bytes) -> None:
        """Write a message, perhaps not before `flush`."""
        self._data += data
        self._taken += len(data)
        self._ends.append(self._taken)
        if len(self._data) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write all that was put. An OSError names standard output."""
        while self._data:
            try:
                _wait(self._descriptor, _WRITABLE)
                number = os.write(self._descriptor, self._data[: self._room])
            except BlockingIOError:
                gevent.sleep(0)
                continue
            except OSError as error:
                error.filename = output.STDOUT
                raise
            del self._data[:number]
            self._written += number
            self._count()  # also the messages without a byte

    def _count(self) -> None:
        while self._ends and self._ends[0] <= self._written:
            self._ends.popleft()
            self.shown += 1


def _room(descriptor: int) -> int:
    """How many bytes a write takes without waiting, once the system says that there is room."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return _BATCH  # the write will say why
    if stat.S_ISFIFO(mode):
        return getattr(select, "PIPE_BUF", 512)
    return 256 if os.isatty(descriptor) else _BATCH  # Linux: a terminal is ready with so much room


def _wait(descriptor: int, events: int) -> None:
    """Wait in the hub until *descriptor* can be read or written without waiting, or has an error to tell."""
    if os.name != "posix":
        return  # select knows sockets only there: the hub is held up
    readers, writers = ([descriptor] if events == which else [] for which in (_READABLE, _WRITABLE))
    while not any(select.select(readers, writers, [], 0)):  # a file that the loop cannot watch is always ready
        hub = gevent.get_hub()
        watcher = hub.loop.io(descriptor, events)
        try:
            hub.wait(watcher)
        finally:
            watcher.close()
