"""core.hpp's own tests, in C++ (tests/core): step by step, and hammered by threads; under sanitizers, too.

They need no zgreen, but a C++ compiler. Where there is none, or where it lacks a sanitizer, the tests that need it are
skipped; that is the only reason.
"""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from cplusplus import COMPILER, MARKS, PROGRAMS, compile_with
from support import LIMIT, finish

# Steps at -O0: that compiles in a third of the time, and they are over at once.
STEPS = ("test_core.cpp", "-O0")
HAMMER = ("hammer.cpp", "-O1")
POLL = ("-DZGREEN_USE_POLL",)
THREAD = ("-fsanitize=thread",)
ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-O0")  # -O1 takes gcc twice as long
ROUNDS = ("--rounds", "6", "--limit", str(int(LIMIT)))
SANITIZERS = pytest.mark.parametrize("flags", [(), THREAD, ADDRESS], ids=["plain", "thread", "address"])

pytestmark = MARKS


@pytest.fixture(scope="module")
def build():
    """`build(program, flags)`: the compiled program, each made once."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="zgreen-core-") as folder:

        def make(program, flags):
            if flags and flags is not POLL and flags not in made:
                made[flags] = sanitizer_fault(Path(folder), flags)
            if made.get(flags):
                pytest.skip(made[flags])
            if (program, flags) not in made:
                target = Path(folder) / f"program{len(made)}"
                status, out = compile_with(PROGRAMS / program[0], (program[1], *flags), target)
                assert status == 0, out
                made[program, flags] = target
            return made[program, flags]

        yield make


def sanitizer_fault(folder, flags):
    """Why nothing can be run with these *flags*; empty if it can."""
    source, target = folder / "nothing.cpp", folder / "nothing"
    source.write_text("int main() {}\n")
    status, out = compile_with(source, flags, target)
    if status == 0:
        status, out, err = finish(subprocess.Popen([target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        out += err
    return f"{COMPILER[0]} cannot do {flags[0]}: {out.strip()[-300:]}" if status else ""


def run(program, *args):
    """Run it; it says how many passed in its last line."""
    command = [program, *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    status, out, err = finish(process, 2 * LIMIT)
    report = "\n".join(line for line in out.splitlines() if not line.startswith("ok")) + err
    assert status == 0, report
    assert not err, report
    passed, rest = out.splitlines()[-1].split(" passed, ")
    assert int(passed) > 0
    assert rest == "0 failed"


def libzmq():
    """The file of the libzmq that pyzmq has loaded."""

    class Found(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p),
                    ("address", ctypes.c_void_p)]  # fmt: skip

    from zmq.backend.cython import _zmq

    found = Found()
    function = ctypes.CDLL(_zmq.__file__).zmq_msg_send
    assert ctypes.CDLL(None).dladdr(function, ctypes.byref(found))
    return os.fsdecode(found.name)


@pytest.mark.parametrize("flags", [(), POLL, THREAD, ADDRESS], ids=["plain", "poll", "thread", "address"])
def test_steps(build, flags):
    """Each error at each point, step by step; with epoll and with poll."""
    run(build(STEPS, flags))


@SANITIZERS
@pytest.mark.parametrize("closing", [(), ("--closing",), ("--looking",)], ids=["whole", "closing", "looking"])
@pytest.mark.parametrize("serialised", ["serialised", "unserialised"])
def test_hammer(build, flags, serialised, closing):
    """Many threads over the scripted libzmq: no wake-up is lost, nor a message; no data race."""
    run(build(HAMMER, flags), serialised, *closing, *ROUNDS)


@pytest.mark.parametrize("looking", [(), ("--looking",)], ids=["sleeping", "looking"])
@SANITIZERS
def test_alternating(build, flags, looking):
    """Two threads, of which one always waits for the other: no wake-up is lost."""
    # most where it is the fastest: what is looked for lasts some nanoseconds
    run(build(HAMMER, flags), "alternating", *looking, *ROUNDS, "--rounds", "5" if flags else "20")


# Not under ThreadSanitizer: libzmq is not compiled with it, so it would not see how libzmq orders its threads.
@pytest.mark.parametrize("flags", [(), ADDRESS], ids=["plain", "address"])
@pytest.mark.parametrize("mode", [("serialised",), ("serialised", "--closing"), ("alternating",)],
                         ids=["whole", "closing", "alternating"])  # fmt: skip
def test_real_libzmq(build, flags, mode):
    """The same over the libzmq of pyzmq, with its real edges."""
    run(build(HAMMER, flags), *mode, "--libzmq", libzmq(), *ROUNDS)
