"""``python -m benchmarks``: ``zgreen bench``, of the zgreen that is found."""

from __future__ import annotations

import sys

from zgreen.cli import app

if __name__ == "__main__":
    sys.exit(app.main(None, "python -m benchmarks", "bench"))
