"""``python -m zgreen`` and ``zgreen``: with click and rich all commands, without them those that need nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

PROGRAM = "python -m zgreen"


def main(argv: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Run one command; return the exit status of the process."""
    try:
        import click  # noqa: F401 (whether it is there; so is rich then, or the extra was not installed)
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        from zgreen.cli import core

        return core.main(argv, prog)
    from zgreen.cli import app

    return app.main(argv, prog)


def console_script() -> int:
    """What ``zgreen`` runs."""
    return main(prog="zgreen")


if __name__ == "__main__":
    sys.exit(main())
