"""What the tests in C++ have in common: where their sources are, and how they are compiled."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support import LIMIT, finish

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "core"
CORE = HERE.parent / "zgreen" / "_engine"
COMPILER = shlex.split(os.environ.get("CXX", "c++"))

MARKS = [
    pytest.mark.once,
    pytest.mark.timeout(5 * LIMIT),
    pytest.mark.skipif(not (CORE / "core.hpp").exists(), reason="core.hpp stands in the source tree only"),
    pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason=f"no C++ compiler ({COMPILER[0]})"),
]


def compile_with(source, flags, target, core=CORE):
    """Have *source* compiled, with the headers in the folder *core*; (exit status, what the compiler says)."""
    common = ["-std=c++17", "-g1", "-Wall", "-Wextra", f"-I{core}", "-pthread"]
    command = [*COMPILER, *common, *flags, str(source), "-o", str(target), "-ldl"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    status, out, _ = finish(process, 3 * LIMIT)
    return status, out
