"""The C++ program, in the place of this process: the same libzmq without any Python."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    options = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    program = options.pop("program")
    options["mode"] = options.pop("scenario")
    os.execv(program, [program, *(f"{key}={value}" for key, value in options.items())])
