"""The choice of a pump's engine (hub side, when a pump is made)."""

from __future__ import annotations

import importlib
import importlib.util
import os

from ._api import EngineClass
from ._python import PythonEngine

_NATIVE = "zgreen._engine._native"
_BUILT = importlib.util.find_spec(_NATIVE) is not None


def choose(name: str | None) -> EngineClass:
    """Return the engine class for *name*, else for the environment's ZGREEN_ENGINE, else the fastest that is built."""
    source = "engine="
    if name is None:
        source = "ZGREEN_ENGINE="
        name = os.environ.get("ZGREEN_ENGINE") or ("native" if _BUILT else "python")
    if not isinstance(name, str):
        raise TypeError(f"engine must be a str or None, not {type(name).__name__}")
    if name == "python":
        return PythonEngine
    if name != "native":
        raise ValueError(f"{source}{name!r}: there is no such engine; there are native and python")
    if not _BUILT:
        raise ImportError(
            f"{source}{name!r}: the native engine is not built; install zgreen from its source with a C++ compiler "
            "and ZGREEN_BUILD_NATIVE=yes in the environment, which then also says why it fails"
        )
    engine: EngineClass = importlib.import_module(_NATIVE).NativeEngine  # an ImportError is an error, no fall-back
    return engine
