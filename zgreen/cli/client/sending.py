"""``zgreen push`` and ``zgreen pub``: messages of standard input, or arguments, to a peer."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
from collections.abc import Iterator

import zmq
from gevent.queue import Full

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.client import delivery, options, rates
from zgreen.cli.client.formats import Format, Frames, format_of, splitter_of
from zgreen.cli.client.handshakes import Handshakes
from zgreen.cli.client.stdio import Reader
from zgreen.cli.command import Command, Usage, seconds

_BATCH = 500  # messages that are put in one go


class Source:
    """The messages to be sent: the arguments, or those of standard input.

    Attributes:
        taken: how many were taken.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._how: Format = format_of(arguments, to_terminal=False)
        self._splitter = splitter_of(self._how)
        self._count: int | None = arguments.count
        self._given = [_parsed(self._how, text) for text in arguments.messages]
        self.taken = 0

    @property
    def reads_stdin(self) -> bool:
        """Whether messages come from standard input."""
        return not self._given

    def __iter__(self) -> Iterator[Frames]:
        messages = self._read() if self.reads_stdin else iter(self._given)
        if self._given and self._count is not None:
            messages = itertools.cycle(self._given)
        for frames in itertools.islice(messages, self._count):
            self.taken += 1
            yield frames

    def batches(self, limit: int) -> Iterator[list[Frames]]:
        """The messages in lists of up to *limit*: as many as there are without another read of standard input."""
        messages = iter(self)
        for frames in messages:
            batch, wrong = [frames], None
            try:
                while len(batch) < limit and self.left():
                    batch.append(next(messages))
            except ValueError as error:  # first those before it
                wrong = error
            yield batch
            if wrong is not None:
                raise wrong

    def _read(self) -> Iterator[Frames]:
        reader = Reader()
        data = b"."
        while data:
            data = reader.read()
            self._splitter.feed(data)
            yield from self._splitter.messages()

    def left(self) -> int:
        """How many messages are there, given or read whole, and were wanted, but not taken."""
        if self._given:
            return (self._count or len(self._given)) - self.taken
        left = self._splitter.left()
        return left if self._count is None else min(left, self._count - self.taken)


def _parsed(how: Format, text: bytes) -> Frames:
    try:
        return how.parse(text)
    except ValueError as error:
        raise Usage(f"argument MESSAGE: {error}") from None


class Sending:
    """One run. The greenlet of the command does all of it."""

    def __init__(self, arguments: argparse.Namespace, kind: int) -> None:
        self._arguments = arguments
        self._kind = kind
        self._source = Source(arguments)
        self._curve = options.curve_of(arguments)
        self._topic = [os.fsencode(arguments.topic)] if getattr(arguments, "topic", None) is not None else []
        self._put = 0
        self._problems: list[str] = []
        self._told: ending.Told | None = None

    def run(self) -> int:
        """Send, wait for delivery, say what was not sent; return the exit status."""
        # a PUB that drops what a slow subscriber has no room for would lose it without a word
        more = {zmq.XPUB_NODROP: 1} if self._kind == zmq.PUB else {}
        with options.pump_of(self._arguments, self._curve) as pump:
            channel, handshakes = options.open_channel(
                self._arguments, self._kind, pump, self._curve, options=more
            )  # fmt: skip
            visible = rates.may_show(self._source.reads_stdin, writes_stdout=False)
            with rates.shown(channel, "sent") if visible else contextlib.nullcontext():
                self._send(channel)
                unsent = self._finish(channel, handshakes)
        return self._judge(unsent, visible)

    def _send(self, channel: zgreen.Channel) -> None:
        """Send all; what keeps it from that is noted."""
        pace = rates.Pace(self._arguments)
        try:
            for batch in self._source.batches(1 if self._arguments.rate else _BATCH):
                messages = [[*self._topic, *frames] for frames in batch]
                if not self._put:
                    self._wait_subscriber(channel, messages[0][0])
                pace.wait()
                self._put_all(channel, messages)
        except Full:
            self._problems.append(f"no peer has taken a message for {self._arguments.timeout:g} s")
        except ValueError as error:
            self._problems.append(f"standard input, {error}")
        except OSError as error:
            self._problems.append(output.words(error))
        except zgreen.ZgreenError as error:
            self._problems.append(str(error))
        except ending.Told as told:
            self._told = told

    def _put_all(self, channel: zgreen.Channel, messages: list[Frames]) -> None:
        """Put all; Full if no peer takes one of them within the timeout."""
        while messages:
            done = len(messages)
            try:
                channel.put_many(messages, timeout=self._arguments.timeout)
            except BaseException as error:
                done = getattr(error, "messages_put", 0)
                if not done or not isinstance(error, Full):
                    raise
            finally:
                self._put += done
            messages = messages[done:]

    def _wait_subscriber(self, channel: zgreen.Channel, first: bytes) -> None:
        """A PUB throws away what has no subscriber yet."""
        wait = getattr(self._arguments, "wait", 0.0)
        if wait and not channel.wait_subscriber(first, wait):
            topic = first[:40].decode(errors="backslashreplace")
            self._problems.append(
                f"no subscriber to {topic!r} has come within {wait:g} s, so messages may have been lost"
            )

    def _finish(self, channel: zgreen.Channel, handshakes: Handshakes) -> int:
        """Close the channel; return how many messages that were read or put were not sent."""
        linger = min(self._arguments.linger, delivery.HASTE) if self._told else self._arguments.linger
        unsent, told = delivery.close(channel, linger, handshakes if self._put and not self._arguments.bind else None)
        self._told = self._told or told
        handshakes.finish()
        if handshakes.refused:
            unsent = self._put
        return unsent + self._source.taken - self._put + self._source.left()

    def _judge(self, unsent: int, visible: bool) -> int:
        total = self._source.taken + self._source.left()
        summary = f"{output.count(total - unsent, 'message')} sent, {unsent:,} not sent"
        if self._told is not None:
            output.say(f"{self._arguments.called}: got {self._told}: {summary}")
            return self._told.status
        for problem in self._problems:
            output.say(f"{self._arguments.called}: {problem}")
        if unsent or visible:
            output.say(f"{self._arguments.called}: {summary}")
        return 1 if unsent or self._problems else 0


def _add_arguments(parser: argparse.ArgumentParser, publishes: bool) -> None:
    options.add_endpoint(parser)
    options.add_messages(parser)
    if publishes:
        parser.add_argument("--topic", metavar="TOPIC", help="put this before each message, as a frame of its own")
        parser.add_argument(
            "--wait", metavar="SECONDS", type=seconds, default=5.0,
            help="wait so long for a subscriber to the first message; 0: do not (default: 5)",
        )  # fmt: skip
    options.add_limits(
        parser, "send so many messages, the arguments again and again (default: all there are, once)",
        "give up when no peer takes a message for so long (default: never)",
    )  # fmt: skip
    options.add_rate(parser)
    options.add_linger(parser)
    options.add_formats(parser)
    options.add_curve(parser)


_JSON = (
    'each message is JSON: a text, a list of frames, or {"frames": [...]}; a frame is a text, {"base64": ...} or '
    '{"hex": ...}'
)

COMMANDS = (
    Command(
        "push",
        "send messages to one of the peers that pull",
        "ENDPOINT [MESSAGE ...]",
        "Send each line of standard input, or each MESSAGE, to a peer that pulls, and wait until it is sent. What "
        f"was not sent at the end is said, and the exit status is 1. {options.FILES}",
        (
            ("tcp://127.0.0.1:5555 hello", "sends one message"),
            ("--bind tcp://*:5555 < orders.txt", "sends each line, to the peers that connect"),
            ("tcp://127.0.0.1:5555 tick --count 100 --rate 10", "sends one ten times a second"),
            ("tcp://127.0.0.1:5555 --multipart , a,b", "sends one message of two frames"),
        ),
        _JSON,
        lambda parser: _add_arguments(parser, publishes=False),
        lambda arguments: Sending(arguments, zmq.PUSH).run(),
    ),
    Command(
        "pub",
        "publish messages to all subscribers",
        "ENDPOINT [MESSAGE ...]",
        "Publish each line of standard input, or each MESSAGE, to all peers that have subscribed to how it begins. It "
        "waits for the first subscriber (--wait), and then for the slowest: none that is there loses a message. "
        f"{options.FILES}",
        (
            ("--bind tcp://*:5556 'weather 21C'", "publishes one message, to the subscribers of how it begins"),
            ("--bind tcp://*:5556 --topic weather < readings.txt", "publishes two frames for each line"),
        ),
        _JSON,
        lambda parser: _add_arguments(parser, publishes=True),
        lambda arguments: Sending(arguments, zmq.PUB).run(),
    ),
)  # fmt: skip
