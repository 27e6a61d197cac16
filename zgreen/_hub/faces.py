"""The public faces, for the annotations of modules that stand below them. Hub side.

This is the one import of the core that points upwards, and type checkers alone follow it. See docs/design.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channel import Channel as Channel
else:
    Channel = Any
