"""Which engine a pump gets (hub side, when a pump is made)."""

from __future__ import annotations

import os

from ._api import EngineClass
from ._python import PythonEngine

_ENGINES: dict[str, EngineClass] = {"python": PythonEngine}


def choose(name: str | None) -> EngineClass:
    """Return the engine class for *name*, else for the environment's ZGREEN_ENGINE, else the fastest there is."""
    source = "engine="
    if name is None:
        source = "ZGREEN_ENGINE="
        name = os.environ.get("ZGREEN_ENGINE") or "python"
    if not isinstance(name, str):
        raise TypeError(f"engine must be a str or None, not {type(name).__name__}")
    try:
        return _ENGINES[name]
    except KeyError:
        raise ValueError(f"{source}{name!r}: there is no such engine; there are {', '.join(_ENGINES)}") from None
