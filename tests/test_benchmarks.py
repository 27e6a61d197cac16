"""benchmarks/ runs as its README says, and writes what it says. No test looks at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import LIMIT

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 2
PUSH, ROUND_TRIP = "100-greenlets", "1-in-flight"
# each starts some dozens of processes, one after the other
pytestmark = [pytest.mark.once, pytest.mark.timeout(2.5 * LIMIT)]

ALWAYS = {"zgreen python", "zmq.green", "blocking pyzmq", "zmq.asyncio"}  # native and C++ need a compiler


def benchmarks(*arguments: str, status: int = 0, **environment: str) -> str:
    """Run it in the root, as the README has it; the children find the zgreen that the tests have found."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=2 * LIMIT,
    )  # fmt: skip
    assert result.returncode == status, f"{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


def check_candidate(measured: dict, metrics: set[str]) -> None:
    assert len(measured["runs"]) == ROUNDS
    for run in measured["runs"]:
        assert set(run) == metrics
    for key, figures in measured["summary"].items():
        values = [run[key] for run in measured["runs"]]
        assert figures["min"] == min(values) <= figures["median"] <= max(values) == figures["max"]


def check_result(result: dict, variant: str, metrics: set[str]) -> None:
    assert result["settings"] == {"rounds": ROUNDS, "seconds": 0.01, "quick": True, "loaded": False}
    assert {"cpu", "cores", "system", "python", "gevent", "pyzmq", "libzmq", "compiler"} <= set(result["machine"])
    assert result["failures"] == []
    assert list(result["variants"]) == [variant]
    measured = result["variants"][variant]
    assert set(measured) >= ALWAYS
    assert set(measured).isdisjoint(result["left_out"])
    assert set(measured) | set(result["left_out"]) == ALWAYS | {"zgreen native", "C++"}
    for candidate in measured.values():
        check_candidate(candidate, metrics)
    for target in result["targets"]:
        assert target["variant"] == variant
        assert target["bound"] in ("at least", "at most")
        assert (target["reached"]["zgreen python"] is None) == (target["met"]["zgreen python"] is None)


def test_two_scenarios(tmp_path: Path) -> None:
    said = benchmarks(
        "--quick", "--rounds", str(ROUNDS), "--seconds", "0.01", f"push/{PUSH}", f"round_trip/{ROUND_TRIP}",
        "--output", str(tmp_path),
    )  # fmt: skip
    for name in ALWAYS:
        assert said.count(f"| {name} ") >= 2
    push, round_trip = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("push", "round_trip"))
    check_result(push, PUSH, {"rate", "cpu_us", "peer_busy"})
    check_result(round_trip, ROUND_TRIP, {"rate", "cpu_us", "peer_busy", "p50_us", "p99_us"})
    assert [target["asked"] for target in round_trip["targets"]] == [0.8, 1]
    page = (tmp_path / "README.md").read_text()
    assert "## push" in page
    assert "## round_trip" in page
    published = page + "".join(file.read_text() for file in tmp_path.glob("*.json"))
    assert str(ROOT) not in published
    assert sys.prefix not in published


@pytest.mark.parametrize("scenario", [
    "push/3-frames", "pull/3-frames", "round_trip/100-in-flight", "many_sockets/10-channels", "fan_out/100-greenlets",
    "push/put_many", "pull/get_many", "scale/2-pumps", "scale/100-channels", "small_queues",
    "sse/500-clients",
])  # fmt: skip
def test_without_a_compiler_the_peer_is_python(scenario: str) -> None:
    candidates = ("--candidate", "zgreen python", "--candidate", "C++")
    said = benchmarks("--quick", "--seconds", "0.01", scenario, *candidates, CXX="no-such-compiler")
    assert "- peer: Python" in said
    assert "Not in it: C++: there is no compiler no-such-compiler." in said
    assert "| zgreen python " in said


@pytest.mark.parametrize(("word", "complaint"), [("pus", "no scenario pus"), ("push/7", "push has no variant 7")])
def test_a_wrong_name_is_refused(word: str, complaint: str) -> None:
    assert complaint in benchmarks("--quick", word, status=2)


@pytest.mark.parametrize(("values", "found"), [
    ([2.0], (2, 2, 2)), ([1.0, 2.0], (1.25, 1.5, 1.75)), ([5.0, 1.0, 2.0, 4.0, 3.0], (2, 3, 4)),
])  # fmt: skip
def test_quartiles(values: list[float], found: tuple[float, float, float]) -> None:
    sys.path.append(str(ROOT))
    from benchmarks.report import quartiles

    assert quartiles(values) == found


def test_ratios_are_of_runs_in_one_round() -> None:
    """A round in which one of the two failed has no ratio, and moves none of the others."""
    sys.path.append(str(ROOT))
    from benchmarks.report import is_narrow, ratios

    here, there = [{"rate": 4.0}, {}, {"rate": 9.0}, {"rate": 5.0}], [{"rate": 2.0}, {"rate": 1.0}, {"rate": 3.0}, {}]
    assert ratios(here, there, "rate") == [2.0, 3.0]
    assert is_narrow([2.0, 2.0, 2.1], 0.05)
    assert not is_narrow([2.0, 3.0], 0.05)


def test_rounds_are_added_until_the_ratios_are_close(tmp_path: Path) -> None:
    """Beside a load, and with a width that no ratios have: as many rounds as there may be."""
    arguments = ("--quick", "--seconds", "0.01", f"push/{PUSH}", "--candidate", "zgreen python",
                 "--candidate", "blocking pyzmq", "--loaded", "--output", str(tmp_path))  # fmt: skip
    benchmarks(*arguments, "--rounds", "2", "--most-rounds", "3", "--width", "1e-9", CXX="no-such-compiler")
    result = json.loads((tmp_path / "push.json").read_text())
    assert result["settings"]["loaded"]
    assert [len(each["runs"]) for each in result["variants"][PUSH].values()] == [3, 3]
    target = next(target for target in result["targets"] if target["against"] == "blocking pyzmq")
    first, third = target["quartiles"]["zgreen python"]
    assert first <= target["reached"]["zgreen python"] <= third
    benchmarks(*arguments, "--rounds", "2", "--most-rounds", "3", "--width", "1e9", CXX="no-such-compiler")
    result = json.loads((tmp_path / "push.json").read_text())
    assert [len(each["runs"]) for each in result["variants"][PUSH].values()] == [2, 2]


def clone(folder: Path) -> Path:
    """This tree, as a clone of one commit."""
    for name in ("benchmarks", "zgreen", "setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "_native.cpp"))
        else:
            shutil.copy(source, folder / name)
    git = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "A clone"]):
        subprocess.run([*git, *command], check=True, capture_output=True, timeout=LIMIT)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="it compares revisions, which git has")
def test_against_another_revision(tmp_path: Path) -> None:
    """The same zgreen twice: as many rounds as there may be, since no ratios lie within a width of nothing."""
    folder = clone(tmp_path)
    arguments = ["--quick", "--seconds", "0.01", "push/3-frames", "--candidate", "zgreen python"]
    command = [sys.executable, "-m", "benchmarks", *arguments, "--against"]
    options = {"cwd": folder, "capture_output": True, "text": True, "timeout": 2 * LIMIT}
    # the clone's zgreen, and not the installed one, which may be another. To build anything would take half a minute
    options["env"] = {**os.environ, "PYTHONPATH": str(folder), "ZGREEN_BUILD_NATIVE": "no", "CXX": "no-such-compiler"}
    result = subprocess.run([*command, "HEAD", "--json", "--width", "1e-9", "--most-rounds", "4"], **options)
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)
    assert (found["variant"], found["candidate"], found["rounds"]) == ("3-frames", "zgreen python", 4)
    rate = found["metrics"][0]
    assert (rate["metric"], rate["better"]) == ("msg/s", "more")
    assert 0 < rate["first_quartile"] <= rate["ratio"] <= rate["third_quartile"]
    result = subprocess.run([*command, "HEAD", "--width", "1e9"], **options)
    assert "| push/3-frames, zgreen python | msg/s, more is better |" in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1].endswith(" | 3 |")
    result = subprocess.run([*command, "nothing"], **options)
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no revision nothing" in result.stderr


SIGNAL_AS_A_CHILD_STARTS = """
import os, signal, subprocess, sys
from zgreen.cli import app

started = []
Popen = subprocess.Popen

class Interrupted(Popen):
    "The signal comes when the child runs, and before its parent knows it."
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        started.append(self.pid)
        if sys.argv[1] in self.args:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))

subprocess.Popen = Interrupted
status = app.main(["--quick", "push/3-frames", "--candidate", "zgreen python"], "bench", "bench")
for pid in started:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        continue
    print("left:", pid)
    os.kill(pid, signal.SIGKILL)
print("status", status)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("word", ["mode=sink", "scenario=push", "scenario=probe"])
def test_a_signal_as_a_child_is_started_leaves_no_child(name: str, word: str) -> None:
    """The peer, the candidate, and the one that tries whether an engine works."""
    result = subprocess.run(
        [sys.executable, "-c", SIGNAL_AS_A_CHILD_STARTS, word, name],
        cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT,
    )  # fmt: skip
    status = 128 + getattr(signal, name)
    assert result.stdout.splitlines()[-1:] == [f"status {status}"], result.stdout + result.stderr
    assert "left:" not in result.stdout
    assert "Traceback" not in result.stderr
