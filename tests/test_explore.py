"""core.hpp's threads in every order (tests/core/explore.cpp), and mistakes in it that this must find.

They need no zgreen, but a C++ compiler.
"""

import re
import subprocess

import pytest
from cplusplus import CORE, MARKS, PROGRAMS, compile_with
from planted import check, read_mistakes, with_switches
from support import LIMIT, finish

pytestmark = MARKS

FLAGS = ("-O1", '-DZGREEN_SYNC="explore_sync.hpp"', "-DZGREEN_USE_POLL")
PLENTY = 1000  # schedules of a scenario; fewer would mean that it does not do what it should

SOURCES = {path.name: path.read_text() for path in [*CORE.glob("core*.hpp"), *PROGRAMS.glob("*.[ch]pp")]}
MISTAKES = read_mistakes(PROGRAMS / "explore_mistakes.txt")


def compiled(folder, programs, core):
    status, out = compile_with(programs / "explore.cpp", (*FLAGS, f"-I{programs}"), folder / "explore", core)
    assert status == 0, out
    return folder / "explore"


def run(program, *args):
    process = subprocess.Popen([program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    status, out, _ = finish(process, 4 * LIMIT)
    return status, out


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The explorer over headers that have all of the mistakes, each of which is switched on by its number."""
    folder = tmp_path_factory.mktemp("planted")
    for name, text in with_switches(SOURCES, MISTAKES, "(explore::planted == {})").items():
        (folder / name).write_text(text)
    return compiled(folder, folder, folder)


def test_every_order(tmp_path):
    """No message is lost, doubled or overtaken, and no thread sleeps while there is work for it, in any schedule."""
    status, out = run(compiled(tmp_path, PROGRAMS, CORE))
    assert status == 0, out
    counts = dict(re.findall(r"^ok (\w+): (\d+) schedules", out, re.MULTILINE))
    assert counts
    assert {name: n for name, n in counts.items() if int(n) < PLENTY} == {}


@pytest.mark.parametrize("number", range(1, len(MISTAKES) + 1), ids=[mistake.name for mistake in MISTAKES])
def test_finds(planted, number):
    """Each scenario of a planted mistake ends with the schedule in which it shows."""
    check(SOURCES, MISTAKES[number - 1])
    for scenario in MISTAKES[number - 1].scenarios:
        status, out = run(planted, "--plant", str(number), scenario)
        assert status == 1, out
        assert f"FAIL {scenario}: " in out
