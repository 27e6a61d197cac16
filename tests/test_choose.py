"""Which engine a pump gets: the native one where it is built, and no silent fall-back."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import finish

import zgreen

BUILT = importlib.util.find_spec("zgreen._engine._native") is not None
PACKAGE = Path(zgreen.__file__).parent
NAME = "_native" + sysconfig.get_config_var("EXT_SUFFIX")


def test_native_is_the_default_where_it_is_built(monkeypatch):
    """And built it is, if the environment of this run says so."""
    monkeypatch.delenv("ZGREEN_ENGINE", raising=False)
    wanted = os.environ.get("ZGREEN_BUILD_NATIVE")
    if wanted:
        assert (wanted == "yes") is BUILT
    with zgreen.Pump() as pump:
        assert pump.engine == ("native" if BUILT else "python")
        assert type(pump._thread.engine).__name__ == ("NativeEngine" if BUILT else "PythonEngine")


@pytest.mark.parametrize("name", ["python", *(["native"] if BUILT else [])])
def test_engine_by_name(name, monkeypatch):
    """By argument, which wins, and by the environment."""
    other = {"python": "native", "native": "python"}[name]
    monkeypatch.setenv("ZGREEN_ENGINE", other)
    with zgreen.Pump(engine=name) as pump:
        assert pump.engine == name
    monkeypatch.setenv("ZGREEN_ENGINE", name)
    with zgreen.Pump() as pump:
        assert pump.engine == name


def pump_of_a_copy(folder, native, **environment):
    """What `Pump().engine` is, or its error, in a copy of the package with *native* as its extension module."""
    shutil.copytree(PACKAGE, folder / "zgreen", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    if native is not None:
        (folder / "zgreen" / "_engine" / NAME).write_bytes(native)
    program = "import zgreen\ntry:\n    print(zgreen.Pump().engine)\nexcept ImportError as error:\n    print(error)\n"
    kept = {name: value for name, value in os.environ.items() if name not in ("ZGREEN_ENGINE", "PYTHONPATH")}
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, env={**kept, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    status, out, err = finish(child)
    assert (status, err) == (0, "")
    return out.strip()


def test_not_built_is_python_unless_asked_for_by_name(tmp_path):
    """By name it is an ImportError that says how to build it."""
    assert pump_of_a_copy(tmp_path / "a", None) == "python"
    error = pump_of_a_copy(tmp_path / "b", None, ZGREEN_ENGINE="native")
    assert error.startswith("ZGREEN_ENGINE='native': the native engine is not built")
    assert "ZGREEN_BUILD_NATIVE=yes" in error


def test_built_but_broken_is_an_error(tmp_path):
    """No silent fall-back: somebody counts on its speed."""
    error = pump_of_a_copy(tmp_path, b"not a library")
    assert NAME in error
