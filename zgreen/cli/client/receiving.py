"""``zgreen pull`` and ``zgreen sub``: messages of a peer to standard output."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections import deque

import gevent
import zmq
from gevent.queue import Empty

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.client import options, rates
from zgreen.cli.client.formats import format_of
from zgreen.cli.client.stdio import Writer
from zgreen.cli.command import Command

_BATCH = 100  # messages that are got in one go
_MOST = 1000  # messages that wait here, and in libzmq
_HASTE = 1.0  # seconds for standard output to take what was got when the command is told to end


class Receiving:
    """One run. The greenlet of the command does all of it."""

    def __init__(self, arguments: argparse.Namespace, kind: int) -> None:
        self._arguments = arguments
        self._kind = kind
        self._curve = options.curve_of(arguments)
        self._how = format_of(arguments, to_terminal=output.terminal())
        self._out = Writer()
        self._in_hand: deque[list[bytes]] = deque()  # got, and not yet given to the writer
        self._got = 0

    def run(self) -> int:
        """Receive and show; return the exit status."""
        # no more than wanted: what is taken from a PUSH and not shown is lost for its other peers. But with a mark of 1
        # libzmq 4.3.5 loses the only message of a client that a ZAP handler has let in, if the client closes then.
        most = max(2, min(self._arguments.count or _MOST, _MOST))
        with options.pump_of(self._arguments, self._curve) as pump:
            channel, _ = options.open_channel(
                self._arguments, self._kind, pump, self._curve, options={zmq.RCVHWM: most}, recv_maxsize=most
            )  # fmt: skip
            visible = rates.may_show(reads_stdin=False, writes_stdout=True)
            with rates.shown(channel, "received") if visible else contextlib.nullcontext():
                status = self._receive(channel)
            channel.close(linger=0)
        if visible and status < 128:
            self._say(f"{self._got:,} messages received")
        return status

    def _receive(self, channel: zgreen.Channel[list[bytes]]) -> int:
        topics = (self._arguments.topic or [""]) if self._kind == zmq.SUB else []
        try:
            for topic in topics:
                channel.subscribe(os.fsencode(topic))
            while self._arguments.count is None or self._got < self._arguments.count:
                self._show_next(channel, self._arguments.count)
            self._out.flush()
        except Empty:
            wanted = self._arguments.count or 1
            if self._got >= wanted:
                return 0
            self._say(
                f"{self._got:,} messages have come, {wanted:,} were asked for; none for {self._arguments.timeout:g} s"
            )
            return 1
        except ending.Told as told:
            return self._end(channel, told)
        return 0

    def _show_next(self, channel: zgreen.Channel[list[bytes]], count: int | None) -> None:
        """Show some messages, and no more than *count* in all; wait for the first."""
        limit = _BATCH if count is None else min(_BATCH, count - self._got)
        try:
            self._in_hand.extend(channel.get_many(limit, timeout=0))
        except Empty:  # so there is time
            self._out.flush()
            self._in_hand.extend(channel.get_many(limit, timeout=self._arguments.timeout))
        self._got += len(self._in_hand)
        while self._in_hand:
            self._out.put(self._how.show(self._in_hand.popleft()))

    def _end(self, channel: zgreen.Channel[list[bytes]], told: ending.Told) -> int:
        with contextlib.suppress(ending.Told, OSError, gevent.Timeout), gevent.Timeout(_HASTE):
            self._out.flush()
        lost = channel.statistics().waiting + len(self._in_hand) + self._out.held
        more = f", {lost:,} received and not shown" if lost else ""
        self._say(f"got {told}: {output.count(self._out.shown, 'message')} shown{more}")
        return told.status

    def _say(self, text: str) -> None:
        output.say(f"{self._arguments.called}: {text}")


def _add_arguments(parser: argparse.ArgumentParser, subscribes: bool) -> None:
    options.add_endpoint(parser, many=True)
    if subscribes:
        parser.add_argument(
            "--topic", metavar="TOPIC", action="append",
            help="subscribe to messages that begin so; may be given again (default: all messages)",
        )  # fmt: skip
    options.add_limits(
        parser, "end after so many messages (default: never)",
        "end when no message comes for so long; status 1 if fewer than --count (default: one) have come",
    )  # fmt: skip
    options.add_formats(parser)
    options.add_curve(parser)


_JSON = 'show JSON, an object a line: {"frames": [...]}; a frame that is no text is {"base64": ...}'

COMMANDS = (
    Command(
        "pull",
        "show the messages of peers that push",
        "ENDPOINT [ENDPOINT ...]",
        f"Show each message that peers push, until --count, --timeout or Ctrl-C. {options.FILES} On a terminal what "
        "is not printable is shown as an escape.",
        (
            ("tcp://127.0.0.1:5555", "shows messages, a line each"),
            ("--bind tcp://*:5555 --count 1 --raw > message", "takes one message as it is"),
        ),
        _JSON,
        lambda parser: _add_arguments(parser, subscribes=False),
        lambda arguments: Receiving(arguments, zmq.PULL).run(),
    ),
    Command(
        "sub",
        "show the messages of publishers",
        "ENDPOINT [ENDPOINT ...]",
        "Show each message of publishers that begins with a topic, until --count, --timeout or Ctrl-C. "
        f"{options.FILES} On a terminal what is not printable is shown as an escape.",
        (
            ("tcp://127.0.0.1:5556", "shows all messages, a line each"),
            ("tcp://127.0.0.1:5556 --topic weather --topic news", "shows those of two topics"),
            ("tcp://127.0.0.1:5556 --json", "shows them for other programs, frame by frame"),
        ),
        _JSON,
        lambda parser: _add_arguments(parser, subscribes=True),
        lambda arguments: Receiving(arguments, zmq.SUB).run(),
    ),
)  # fmt: skip
