"""Mistakes in the C++ core and its Cython side."""

from __future__ import annotations

from .mutant import Mutant

MUTANTS: list[Mutant] = []
