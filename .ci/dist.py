"""Build the source distribution and the wheels, and try each where a user would: `tox -e dist`.

1. The source distribution, and from it the wheel without the extension, which must fit every platform.
2. With a C++ compiler, from the same source distribution the wheel with the native engine.
3. Each wheel is installed into an environment of its own, and so is the source distribution itself; all but the native
   one as on a machine that has no compiler. The tests that the source distribution brings run against what is
   installed, from an empty folder: those of FAST, or what is given as arguments (`tox -e dist -- tests` for all).

It needs an index of packages, as any installation does.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = runpy.run_path(str(ROOT / "zgreen" / "_version.py"))["__version__"]
# what uses the most of it in a minute: all kinds of sockets, real processes, the layout of the package
FAST = ["test_message.py", "test_channel.py", "test_register.py", "test_request.py", "test_fanout.py", "test_select.py",
        "test_choose.py", "test_layout.py", "test_documented.py", "test_examples.py", "test_howto.py"]  # fmt: skip
WHICH = """
import zgreen
with zgreen.Pump() as pump:
    print(zgreen.__version__, pump.engine, zgreen.__file__)
"""


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*command: str | Path, cwd: Path | None = None, **environment: str | None) -> None:
    """Run a command that must succeed; a variable that is None is taken out."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    subprocess.run([str(part) for part in command], cwd=cwd, env=variables, check=True)


def build(source: Path, kind: str, folder: Path, native: str) -> Path:
    """One distribution into a folder of its own."""
    folder.mkdir()
    run(sys.executable, "-m", "build", f"--{kind}", "--outdir", folder, source, ZGREEN_BUILD_NATIVE=native)
    (made,) = folder.iterdir()
    return made


def check_name(made: Path, pure: bool) -> None:
    assert made.name.startswith(f"zgreen-{VERSION}-"), made.name
    assert made.name.endswith("-py3-none-any.whl") == pure, made.name


def environment_without_compiler(folder: Path) -> dict[str, str | None]:
    """PATH has nothing but a few tools that pip and its builds may call; the compilers that are named fail."""
    folder.mkdir(exist_ok=True)
    for tool in ("sh", "env", "uname", "git"):
        found = shutil.which(tool)
        if found and not (folder / tool).exists():
            (folder / tool).symlink_to(found)
    return {"PATH": str(folder), "CC": "/bin/false", "CXX": "/bin/false", "ZGREEN_BUILD_NATIVE": None}


def try_out(made: Path, tests: list[str], work: Path, engine: str, compiler: bool) -> None:
    """Install *made* and run *tests* against it."""
    say(f"{made.name}, {'with' if compiler else 'without'} a compiler: the {engine} engine")
    home = work / f"venv-{made.parent.name}"
    run(sys.executable, "-m", "venv", home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    bare = {} if compiler else environment_without_compiler(work / "tools")
    run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", made, **bare)
    empty = Path(tempfile.mkdtemp(dir=work))
    told = subprocess.run(  # -I: nothing of the current folder or the environment is imported
        [python, "-I", "-c", WHICH], cwd=empty, check=True, capture_output=True, text=True
    ).stdout.split(maxsplit=2)
    print(*told, flush=True)
    assert told[:2] == [VERSION, engine], told
    assert Path(told[2].strip()).resolve().is_relative_to(home.resolve()), told
    if tests:
        run(python, "-m", "pip", "install", "--quiet", f"zgreen[test] @ {made.as_uri()}", **bare)
        configuration = work / "source" / "setup.cfg"
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", configuration, *tests, cwd=empty,
            ZGREEN_ENGINE=engine, PYTHONPATH=None)  # fmt: skip


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        say("the source distribution")
        sdist = build(ROOT, "sdist", work / "sdist", "no")
        assert sdist.name == f"zgreen-{VERSION}.tar.gz", sdist.name
        with tarfile.open(sdist) as archive:
            archive.extractall(work)
        source = (work / f"zgreen-{VERSION}").rename(work / "source")
        tests = [str(source / test) if "/" in test or test == "tests" else test for test in arguments]
        tests = tests or [str(source / "tests" / test) for test in FAST]

        say("the wheel without the extension")
        pure = build(source, "wheel", work / "pure", "no")
        check_name(pure, pure=True)
        try_out(pure, tests, work, "python", compiler=False)
        try_out(sdist, [], work, "python", compiler=False)

        if shutil.which(os.environ.get("CXX", "c++")) is None:
            say("no C++ compiler here: no native wheel")
            return
        say("the wheel with the native engine")
        native = build(source, "wheel", work / "native", "yes")
        check_name(native, pure=False)
        try_out(native, tests, work, "native", compiler=True)


if __name__ == "__main__":
    main(sys.argv[1:])
