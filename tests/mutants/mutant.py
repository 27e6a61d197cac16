"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake, planted in one file.

    :param file: below zgreen/.
    :param old: text that stands exactly once in the file.
    :param new: what it is replaced by.
    :param tests: what should fail then: arguments of pytest, run in tests/.
    :param engine: the engine whose tests are run; "" for tests that know none.
    :param quick: whether CI runs it.
    """

    file: str
    old: str
    new: str
    tests: str
    engine: str = "python"
    quick: bool = False

    @property
    def native(self) -> bool:
        """Whether the extension has to be built anew to see it."""
        return self.file.endswith((".pyx", ".pxd", ".pxi", ".hpp"))

    def applied(self, text: str) -> str:
        """The text of the file with the mistake in it."""
        count = text.count(self.old)
        if count != 1:
            raise LookupError(f"zgreen/{self.file} has {count} places with the text {self.old!r}: mend this mutant")
        if self.old == self.new:
            raise LookupError(f"zgreen/{self.file}: the mutant of {self.old!r} changes nothing")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"zgreen/{self.file}: {self.old.strip()!r:.70} -> {self.new.strip()!r:.70}"
