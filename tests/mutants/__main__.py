"""Plant small mistakes in the package, one at a time, and see that the tests notice each: ``python -m tests.mutants``.

A mistake that no test notices (a survivor) is a gap in the tests, or code that is not needed. The mistakes are lists of
`Mutant` in the modules of this folder, each with the tests that should fail. They are planted in temporary copies of
the tree, so this one stays as it is. A mutant of the C++ or Cython code has the extension built anew in the copy, which
needs Cython and setuptools.

The exit status is 1 if there is a survivor, 2 if a mutant does not fit its file any more, or if its tests fail without
it, too.
"""

from __future__ import annotations

import argparse
import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import core, engine, green, hub, patterns
from .mutant import Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("zgreen", "tests", "examples", "docs", "benchmarks", "setup.cfg", "setup.py", "pyproject.toml", "README.md")
MUTANTS = [*engine.MUTANTS, *core.MUTANTS, *patterns.MUTANTS, *hub.MUTANTS, *green.MUTANTS]
LIMIT = 120  # seconds for the tests of one mutant; a mistake after which they never end has been noticed


def built() -> Path | None:
    """The native engine's extension, wherever it is installed."""
    code = "import zgreen._engine._native as native; print(native.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


class Copy:
    """A copy of the tree, in which one mutant after the other is planted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "_native.cpp", "mutants", ".hypothesis")
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=ignored)
            elif source.exists():
                shutil.copy(source, folder / part)
        self._extension = built()
        if self._extension is not None:
            shutil.copy(self._extension, folder / "zgreen" / "_engine")

    def test(self, tests: str, engine: str) -> tuple[bool, str]:
        """Run *tests*: whether they passed, and what pytest said."""
        variables = {
            **os.environ,
            "PYTHONPATH": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZGREEN_TEST_LIMIT": os.environ.get("ZGREEN_TEST_LIMIT", "10"),
        }
        if engine:
            variables["ZGREEN_ENGINE"] = engine
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(tests)]
        process = subprocess.Popen(
            command, cwd=self._folder / "tests", env=variables, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return False, process.communicate()[0] + "\nthe tests did not end"
        if process.returncode not in (0, 1, -6, -11) and "Timeout" not in out:  # passed, failed, or crashed
            raise LookupError(f"pytest {tests} did not run: its exit status is {process.returncode}\n{out}")
        return process.returncode == 0, out

    def noticed(self, mutant: Mutant) -> tuple[bool, str]:
        """Whether the tests fail with *mutant* planted, and what they say."""
        file = self._folder / "zgreen" / mutant.file
        before = file.read_text()
        try:
            file.write_text(mutant.applied(before))
            # the C++ tests compile the headers themselves
            if mutant.native and mutant.engine:
                self._build()
            passed, out = self.test(mutant.tests, mutant.engine)
            return not passed, out
        finally:
            file.write_text(before)
            if mutant.native and mutant.engine and self._extension is not None:
                shutil.copy(self._extension, self._folder / "zgreen" / "_engine")

    def _build(self) -> None:
        """Build the extension from what stands in the copy now."""
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
        variables = {**os.environ, "ZGREEN_BUILD_NATIVE": "yes", "CFLAGS": "-O0 -w"}
        done = subprocess.run(command, cwd=self._folder, env=variables, capture_output=True, text=True)
        if done.returncode:
            raise LookupError(f"the mutant does not compile\n{done.stderr[-2000:]}")


class Runner:
    """Runs mutants in several copies at a time; `errors` and `survivors` say what came of it."""

    def __init__(self, mutants: list[Mutant], verbose: bool) -> None:
        self.survivors: list[Mutant] = []
        self.errors: list[str] = []
        self._verbose = verbose
        self._queue: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in mutants:
            self._queue.put(mutant)
        self._sound: dict[tuple[str, str], bool] = {}  # whether these tests pass without a mutant
        self._lock = threading.Lock()

    def run(self, jobs: int) -> None:
        """Run all."""
        threads = [threading.Thread(target=self._work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            copy = Copy(Path(folder))
            while not self._queue.empty():
                try:
                    mutant = self._queue.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._look_at(copy, mutant)
                except LookupError as error:
                    self._say(f"ERROR     {mutant}\n{error}")
                    self.errors.append(str(mutant))

    def _look_at(self, copy: Copy, mutant: Mutant) -> None:
        started = time.monotonic()
        noticed, out = copy.noticed(mutant)
        seconds = time.monotonic() - started
        if not noticed:
            self.survivors.append(mutant)
            self._say(f"SURVIVED  {mutant} ({mutant.engine or 'no'} engine; {mutant.tests}; {seconds:.1f} s)")
            return
        key = (mutant.tests, mutant.engine)
        if key not in self._sound:
            passed, without = copy.test(*key)
            self._sound[key] = passed
            if not passed:
                self._say(without)
        if not self._sound[key]:
            raise LookupError(f"pytest {mutant.tests} fails without the mutant, too")
        failed = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
        self._say(f"noticed   {mutant} ({seconds:.1f} s)" + (f"\n  {failed[:1]}" if self._verbose else ""))

    def _say(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="See that tests notice mistakes.")
    parser.add_argument("--quick", action="store_true", help="only those that CI runs, which takes two minutes")
    parser.add_argument("--only", metavar="TEXT", default="", help="only those with TEXT in their file or texts")
    parser.add_argument("--check", action="store_true", help="run nothing; see that each fits its file")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time (default: 2)")
    parser.add_argument("--verbose", action="store_true", help="say which test noticed")
    arguments = parser.parse_args()

    mutants = [m for m in MUTANTS if arguments.only in f"{m.file} {m.old} {m.new}" and (m.quick or not arguments.quick)]
    fit, unfit = [], 0
    for mutant in mutants:
        try:
            mutant.applied((ROOT / "zgreen" / mutant.file).read_text())
            fit.append(mutant)
        except (LookupError, OSError) as error:
            unfit += 1
            print(f"ERROR     {error}", flush=True)
    if arguments.check:
        print(f"{len(mutants)} mutants: {unfit} do not fit their files")
        return 2 if unfit else 0
    runner = Runner(fit, arguments.verbose)
    runner.run(arguments.jobs)
    print(f"{len(mutants)} mutants: {len(runner.survivors)} survived, {unfit + len(runner.errors)} could not be run")
    return 2 if unfit or runner.errors else 1 if runner.survivors else 0


if __name__ == "__main__":
    sys.exit(main())
