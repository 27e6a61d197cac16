"""Mistakes that the tests must notice: ``python -m tests.mutants``; see `__main__`."""
