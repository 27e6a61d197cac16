"""``python -m benchmarks``: ``zgreen bench``, of the zgreen that is found; with "capacity": see capacity.py."""

from __future__ import annotations

import sys

from zgreen.cli import app

if __name__ == "__main__":
    if sys.argv[1:2] == ["capacity"]:
        from .capacity_command import main

        sys.exit(main(sys.argv[2:]))
    sys.exit(app.main(None, "python -m benchmarks", "bench"))
