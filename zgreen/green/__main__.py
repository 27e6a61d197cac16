"""``python -m zgreen.green PROGRAM ARGS``: run a program that imports zmq.green, with zgreen.green in its place."""

from __future__ import annotations

import os
import runpy
import sys

from ._install import install


def main() -> None:
    """Run the program that the command line names."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m zgreen.green PROGRAM [ARGS]")
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    install()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
