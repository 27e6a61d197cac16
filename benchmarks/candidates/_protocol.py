"""What a candidate and the runner say to each other, over arguments, standard output and standard input.

    arguments        key=value ..., `scenario` says which function runs
    candidate says   "done" when it has done its part (all is sent, or the time is over)
    runner           reads what the peer has counted, then closes the candidate's standard input
    candidate says   its figures, one line of JSON, and ends

So the CPU time of sending includes what libzmq's own thread does after the last call has returned, and no process
leaves while another may still need it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

END = b"END"  # the last message to a sink, which then reports


def value_of(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def parse(arguments: list[str]) -> SimpleNamespace:
    """The arguments as attributes; ``endpoint=ipc:///x size=100`` gives ``.endpoint`` and ``.size``."""
    pairs = (argument.partition("=") for argument in arguments)
    return SimpleNamespace(**{key: value_of(value) for key, _, value in pairs})


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def wait_for_the_end() -> None:
    """Block, the whole thread, until the runner closes our standard input. It costs no CPU."""
    while sys.stdin.readline():
        pass


def done() -> None:
    """Our part is done; return when the peer has counted all."""
    say("done")
    wait_for_the_end()


def main(functions: Mapping[str, Callable[[SimpleNamespace], Mapping[str, Any]]]) -> None:
    """Run the function that the scenario names, report, and leave.

    Without the interpreter's usual end: contexts of pyzmq that are collected while a socket of theirs is open wait for
    it for ever. zgreen's pumps have been shut down by then.
    """
    spec = parse(sys.argv[1:])
    say(json.dumps(functions[spec.scenario](spec)))
    os._exit(0)


def messages_of(spec: SimpleNamespace) -> Any:
    """The message that all puts use: bytes, or a list of frames."""
    payload = b"x" * spec.size
    return payload if spec.frames == 1 else [payload] * spec.frames


def batch_of(spec: SimpleNamespace) -> int:
    """How many messages between two looks at the clock: many where one greenlet is fast, few where 1,000 overshoot."""
    if spec.size >= 65536:
        return 1
    return 64 if spec.greenlets == 1 else 8


def share_of(spec: SimpleNamespace) -> float:
    """How many messages one greenlet puts, at most: no limit, or its part of a fixed total."""
    return spec.messages // spec.greenlets if spec.messages else float("inf")
