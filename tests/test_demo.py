"""``python -m zgreen demo``: the whole chain in real processes, short; and each way it can be stopped."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from programs import Program

from zgreen.demo.measure import Tally

DEMO = ("-m", "zgreen", "demo")
SMALL = (*DEMO, "--streams", "5", "--posters", "4")
ENDLESS = (*SMALL, "--seconds", "3600")

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")


def number(program: Program, name: str) -> int:
    """Return the number behind *name* in the summary."""
    (found,) = [line.split()[1] for line in program.lines if line.startswith(f"{name} ")]
    return int(found.replace(",", ""))


def test_a_whole_run() -> None:
    with Program(*SMALL, "--seconds", "2") as program:
        status = program.end()
        print(program.output)
        assert status == 0
        posted = number(program, "posted")
        assert posted > 0
        assert [number(program, name) for name in ("pushed", "pulled", "published")] == [posted] * 3
        assert number(program, "delivered") == posted * 5
        assert number(program, "lost") == number(program, "duplicated") == 0
        assert re.search(r"p50 +[\d.]+ ms +p99 +[\d.]+ ms", program.output)
        assert "from when the client begins to POST until it has read the message from a stream" in program.output
        assert [line for line in program.lines if re.match(r" +\d+ s: posted [\d,]+/s, pushed", line)]
        assert "\r" not in program.output  # not a terminal


def test_messages_larger_than_a_read_arrive_whole() -> None:
    with Program(*SMALL, "--seconds", "0.5", "--size", "200000", "--in-flight", "3") as program:
        status = program.end()
        assert status == 0, program.output
        assert number(program, "posted") > 0


def process_of(program: Program, name: str) -> int:
    """Return the process id of a child, as soon as the run has begun."""
    found = re.search(rf"{name} is process (\d+)", program.line_with("worker is process"))
    assert found
    return int(found[1])


@posix
@pytest.mark.parametrize("name", ["worker", "client"])
def test_a_child_that_is_killed_stops_the_run(name: str) -> None:
    with Program(*ENDLESS) as program:
        pid = process_of(program, name)
        program.line_with(" s: posted ")
        os.kill(pid, signal.SIGKILL)
        assert program.end() == 1, program.output
        assert f"stopped: the {name} (process {pid}) ended too early: killed by SIGKILL" in program.lines
        assert "Traceback" not in program.output


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run(number: signal.Signals) -> None:
    with Program(*ENDLESS) as program:
        program.line_with(" s: posted ")
        program.signal(number)
        assert program.end() == 128 + number, program.output
        assert f"stopped: got {number.name}" in program.lines
        assert "Traceback" not in program.output


@posix
def test_the_children_end_with_a_supervisor_that_was_killed() -> None:
    with Program(*ENDLESS) as program:
        line = program.line_with("worker is process")
        program.kill_at_limit += [int(found) for found in re.findall(r"is process (\d+)", line)]
        program.line_with(" s: posted ")
        program.signal(signal.SIGKILL)
        # The children hold the program's standard error: that it comes to its end proves that they have.
        assert program.end() == -signal.SIGKILL
        assert not program.over_limit


@pytest.mark.parametrize("arguments", [("--seconds", "0"), ("--streams", "-1"), ("--size", "x")])
def test_options_are_checked(arguments: tuple[str, str]) -> None:
    with Program(*DEMO, *arguments) as program:
        assert program.end() == 2
        assert f"argument {arguments[0]}: " in program.output


def test_without_a_command_the_commands_are_shown() -> None:
    with Program("-m", "zgreen") as program:
        assert program.end() == 2
        assert "COMMAND" in program.output


# -- how it counts


def test_a_tally_tells_lost_from_delivered() -> None:
    tally = Tally(streams=2)
    first, second = tally.post(), tally.post()
    now = time.monotonic()
    assert not tally.deliver(0, first, now)
    assert tally.deliver(1, first, now)
    assert not tally.deliver(1, second, now)
    assert (tally.posted, tally.delivered, tally.lost, tally.duplicated) == (2, 3, 1, 0)


def test_a_tally_counts_what_came_twice_and_what_was_never_posted() -> None:
    tally = Tally(streams=1)
    now = time.monotonic()
    posted = tally.post()
    assert tally.deliver(0, posted, now)
    assert not tally.deliver(0, posted, now)
    assert not tally.deliver(0, posted + 1, now)
    assert (tally.delivered, tally.lost, tally.duplicated, tally.unknown) == (1, 0, 1, 1)


def test_percentiles_of_known_latencies() -> None:
    tally = Tally(streams=1)
    assert tally.percentiles(50, 99) == [None, None]
    for count in range(100):
        posted = tally.post()
        tally.deliver(0, posted, tally._posted_at[posted] + count)
    assert tally.percentiles(0, 50, 99) == pytest.approx([0.0, 50.0, 99.0])
