"""Whether peers have let this process in: libzmq drops what waits for one that has not, and tells a monitor alone."""

from __future__ import annotations

import argparse
import contextlib

import gevent
from gevent.event import Event

import zgreen
from zgreen.cli import output


class Handshakes:
    """Reads the monitor of a channel, from before it is bound or connected; a peer that refuses is one line.

    Attributes:
        decided: set when a handshake has succeeded, or failed; never, if a peer speaks ZMTP 2, which has none.
        refused: whether one has failed and none has succeeded: then no message of this channel has gone out.
    """

    def __init__(self, channel: zgreen.Channel, arguments: argparse.Namespace) -> None:
        self.decided = Event()
        self.refused = False
        self._succeeded = False
        self._called = arguments.called
        self._said: set[str] = set()
        self._monitor = channel.monitor()
        self._greenlet = gevent.spawn(self._read)

    def _read(self) -> None:
        with contextlib.suppress(zgreen.ZgreenError):  # the command sees the end of the channel itself
            for event in self._monitor:
                self._take(event)

    def _take(self, event: zgreen.MonitorEvent) -> None:
        if event.name == "HANDSHAKE_SUCCEEDED":
            self._succeeded, self.refused = True, False
            self.decided.set()
        elif event.name.startswith("HANDSHAKE_FAILED"):
            self.refused = not self._succeeded
            self.decided.set()
            line = f"{event.endpoint}: the handshake failed: {event.reason or event.name}"
            if line not in self._said:
                self._said.add(line)
                output.say(f"{self._called}: {line}")

    def finish(self) -> None:
        """Take what has been reported until now; after the channel was closed."""
        self._greenlet.join()
