"""``python -m zgreen`` and ``zgreen``: see zgreen/cli."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zgreen.cli import app

PROGRAM = "python -m zgreen"


def main(argv: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Run one command; return the exit status of the process."""
    return app.main(argv, prog)


def console_script() -> int:
    """What ``zgreen`` runs."""
    return main(prog="zgreen")


if __name__ == "__main__":
    sys.exit(main())
