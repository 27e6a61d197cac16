"""``zgreen rep``: answers requests with a text, with themselves, or with what a command prints."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from collections.abc import Callable

import gevent
import zmq
from gevent.queue import Empty
from gevent.subprocess import PIPE, Popen

import zgreen
from zgreen.cli import ending, output
from zgreen.cli.client import delivery, options
from zgreen.cli.client.formats import Frames, format_of
from zgreen.cli.client.stdio import Writer
from zgreen.cli.command import Command


class Answering:
    """One run: one request at a time, as a REP has it. The greenlet of the command does all of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._curve = options.curve_of(arguments)
        self._how = format_of(arguments, to_terminal=output.terminal())
        self._out = Writer()
        self._answer: Callable[[Frames], Frames] = self._run_command
        if arguments.echo:
            self._answer = lambda request: request
        elif arguments.reply is not None:
            self._answer = lambda _request: [os.fsencode(arguments.reply)]
        self._answered = 0
        self._failed = 0  # commands that ended with another status than 0

    def run(self) -> int:
        """Answer; return the exit status."""
        with options.pump_of(self._arguments, self._curve) as pump:
            channel, _ = options.open_channel(self._arguments, zmq.REP, pump, self._curve)
            status = self._serve(channel)
            unsent, told = delivery.close(channel, delivery.HASTE if status > 1 else self._arguments.linger)
        if unsent:
            self._say(f"{unsent:,} replies were not sent")
        if told is not None:
            status = told.status
        return status or (1 if unsent or self._failed else 0)

    def _serve(self, channel: zgreen.Channel[list[bytes]]) -> int:
        try:
            while self._arguments.count is None or self._answered < self._arguments.count:
                request = channel.get(timeout=self._arguments.timeout)
                channel.put(self._answer(request))
                self._answered += 1
                self._out.put(self._how.show(request))
                self._out.flush()
        except Empty:
            self._say(f"no request for {self._arguments.timeout:g} s: {self._answered:,} requests answered")
            return 0 if self._answered >= (self._arguments.count or 1) else 1
        except ending.Told as told:
            self._say(f"got {told}: {self._answered:,} requests answered")
            return told.status
        return 0

    def _run_command(self, request: Frames) -> Frames:
        """What the command prints, without the newlines at its end, as $(...) of a shell has it."""
        between = self._arguments.multipart
        process = Popen(self._arguments.command, shell=True, stdin=PIPE, stdout=PIPE, start_new_session=True)
        try:
            printed, _ = process.communicate((between or b"").join(request))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            gevent.spawn(process.wait)
            raise
        if process.returncode:
            self._failed += 1
            self._say(f"request {self._answered + 1}: the command ended with status {process.returncode}")
        text = printed if self._arguments.raw else printed.rstrip(b"\n")
        return text.split(between) if between else [text]

    def _say(self, text: str) -> None:
        output.say(f"{self._arguments.called}: {text}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_endpoint(parser)
    answer = parser.add_mutually_exclusive_group(required=True)
    answer.add_argument("--echo", action="store_true", help="answer with the request itself")
    answer.add_argument("--reply", metavar="TEXT", help="answer with TEXT")
    answer.add_argument(
        "--command", metavar="COMMAND",
        help="answer with what this command of the shell prints; its standard input is the request",
    )  # fmt: skip
    options.add_limits(
        parser, "end after so many requests (default: never)",
        "end when no request comes for so long; status 1 if fewer than --count (default: one) have come",
    )  # fmt: skip
    options.add_linger(parser)
    options.add_formats(parser)
    options.add_curve(parser)


COMMANDS = (
    Command(
        "rep",
        "answer requests: with a text, an echo, or a command",
        "ENDPOINT (--echo | --reply TEXT | --command COMMAND)",
        "Answer each request, and show it, until --count, --timeout or Ctrl-C. The exit status is 1 if a command "
        f"failed. {options.FILES} On a terminal what is not printable is shown as an escape.",
        (
            ("--bind tcp://*:5557 --echo", "answers each request with itself"),
            ("--bind tcp://*:5557 --command 'tr a-z A-Z'", "answers with what a command makes of the request"),
        ),
        'show requests as JSON, an object a line: {"frames": [...]}; a frame that is no text is {"base64": ...}',
        _add_arguments,
        lambda arguments: Answering(arguments).run(),
    ),
)
