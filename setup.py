"""What setup.cfg cannot say: whether to build the native engine.

ZGREEN_BUILD_NATIVE=yes: a failed build is fatal. no: never. Unset: it is built if it can be, and zgreen installs
without it otherwise, with the Python engine.
"""

import os
import sys

from setuptools import Extension, setup

choice = os.environ.get("ZGREEN_BUILD_NATIVE") or "unset"
if choice not in ("yes", "no", "unset"):
    raise SystemExit(f"ZGREEN_BUILD_NATIVE must be yes, no or unset, not {choice!r}")

# It needs epoll or poll, and CPython's own objects.
possible = os.name == "posix" and sys.implementation.name == "cpython"

FOLDER = "zgreen/_engine"
native = Extension(
    "zgreen._engine._native",
    [f"{FOLDER}/_native.pyx"],
    depends=[
        f"{FOLDER}/{name}"
        for name in (
            "_core.pxd",
            "_native_core.pxi",
            "_native_message.pxi",
            "_native_pipe.pxi",
            "_native_state.pxi",
            "core.hpp",
            "core_inbox.hpp",
            "core_looking.hpp",
            "core_message.hpp",
            "core_pipe.hpp",
            "core_poller.hpp",
            "core_sync.hpp",
            "core_waiting.hpp",
            "core_wakeup.hpp",
            "core_wire.hpp",
        )
    ],
    include_dirs=[FOLDER],
    language="c++",
    extra_compile_args=["-std=c++17", "-O2"],
    optional=choice == "unset",
)

setup(ext_modules=[native] if choice == "yes" or (choice == "unset" and possible) else [])
