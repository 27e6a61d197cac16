"""Mistakes in zgreen/_hub."""

from __future__ import annotations

from .mutant import Mutant

_REGISTER = [
    Mutant("_hub/register.py", "        finally:\n            self._in_hand = []\n", "", "test_register.py", "native"),
    Mutant("_hub/register.py", "    gevent.sleep(0)  # gevent throws", "    pass  # gevent throws", "test_register.py", "native"),
]  # fmt: skip

MUTANTS: list[Mutant] = [*_REGISTER]
