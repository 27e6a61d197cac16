"""``zgreen req``: requests of standard input, or arguments, and their replies to standard output."""

from __future__ import annotations

import argparse

import zmq
from gevent.queue import Empty, Full

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.client import options, rates
from zgreen.cli.client.formats import Frames, format_of
from zgreen.cli.client.sending import Source
from zgreen.cli.client.stdio import Writer
from zgreen.cli.command import Command


class Asking:
    """One run: one request at a time. The greenlet of the command does all of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._source = Source(arguments)
        self._curve = options.curve_of(arguments)
        self._how = format_of(arguments, to_terminal=output.terminal())
        self._out = Writer()
        self._answered = 0

    def run(self) -> int:
        """Ask all; return the exit status: 1 if a request had no reply."""
        with options.pump_of(self._arguments, self._curve) as pump:
            try:
                problem = self._ask_all(pump)
            except ending.Told as told:
                self._say(f"got {told}: {self._summary()}")
                return told.status
        if problem:
            self._say(problem)
        if self._missing():
            self._say(self._summary())
        return 1 if problem or self._missing() else 0

    def _ask_all(self, pump: zgreen.Pump) -> str:
        """What keeps it from going on; nothing if it has come to the end."""
        pace = rates.Pace(self._arguments)
        channel: zgreen.Channel[list[bytes]] | None = None
        try:
            for request in self._source:
                pace.wait()
                if channel is None or channel.closed:
                    channel, _ = options.open_channel(self._arguments, zmq.REQ, pump, self._curve)
                reply = self._ask(channel, request)
                if reply is not None:
                    self._answered += 1
                    self._out.put(self._how.show(reply))
                    self._out.flush()
        except ValueError as error:
            return f"standard input, {error}"
        finally:
            if channel is not None:
                channel.close(linger=0)
        return ""

    def _ask(self, channel: zgreen.Channel[list[bytes]], request: Frames) -> Frames | None:
        """The reply. Without one the channel is closed: a REQ awaits its reply for ever, and a new one does not.

        So it works with servers of any kind. REQ_RELAXED, which would let the same socket go on, needs REQ_CORRELATE,
        and that sends one more frame, which not every server knows.
        """
        limit = self._arguments.timeout
        try:
            channel.put(request, timeout=limit)
            reply: Frames = channel.get(timeout=limit)
        except (Full, Empty):
            channel.close(linger=0)
            self._say(f"request {self._source.taken}: no reply within {limit:g} s")
            return None
        return reply

    def _missing(self) -> int:
        return self._source.taken - self._answered + self._source.left()

    def _summary(self) -> str:
        return f"{self._answered:,} requests answered, {self._missing():,} not"

    def _say(self, text: str) -> None:
        output.say(f"{self._arguments.called}: {text}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_endpoint(parser)
    options.add_messages(parser)
    options.add_limits(
        parser, "make so many requests, the arguments again and again (default: all there are, once)",
        "give a request up when there is no reply for so long, and go on with the next (default: never)",
    )  # fmt: skip
    options.add_rate(parser)
    options.add_formats(parser)
    options.add_curve(parser)


COMMANDS = (
    Command(
        "req",
        "send requests to a server and show its replies",
        "ENDPOINT [REQUEST ...]",
        "Send each line of standard input, or each MESSAGE, as a request, one after the other, and show the replies. "
        f"{options.FILES} On a terminal what is not printable is shown as an escape.",
        (
            ("tcp://127.0.0.1:5557 hello", "makes one request"),
            (
                "tcp://127.0.0.1:5557 --timeout 2 < requests.txt",
                "makes one for each line, and waits two seconds for each",
            ),
        ),
        'requests and replies are JSON: {"frames": [...]}; a frame is a text, {"base64": ...} or {"hex": ...}',
        _add_arguments,
        lambda arguments: Asking(arguments).run(),
    ),
)
