"""What setup.cfg cannot say: whether to build the native engine.

ZGREEN_BUILD_NATIVE=yes builds it, and a failed build is fatal. Else it is not built, for now: it is not finished.
"""

import os

from setuptools import Extension, setup

choice = os.environ.get("ZGREEN_BUILD_NATIVE") or "no"
if choice not in ("yes", "no"):
    raise SystemExit(f"ZGREEN_BUILD_NATIVE must be yes, no or unset, not {choice!r}")

extensions = [
    Extension(
        "zgreen._engine._native",
        ["zgreen/_engine/_native.pyx"],
        depends=["zgreen/_engine/core.hpp", "zgreen/_engine/_core.pxd"],
        include_dirs=["zgreen/_engine"],
        language="c++",
        extra_compile_args=["-std=c++17", "-O2"],
    )
]

setup(ext_modules=extensions if choice == "yes" else [])
