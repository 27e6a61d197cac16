"""What a message may be for a type checker, and the names of policies (a leaf)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    # Type checkers know it although it is not installed. Of typing's own only Python 3.13's has a default.
    from typing_extensions import TypeVar

    # What get() of a channel gives: a list of frames for certain with multipart=True.
    M = TypeVar("M", bound=bytes | list[bytes], default=bytes | list[bytes], covariant=True)
    # What get() of a subscription gives, likewise.
    S = TypeVar("S", bound=bytes | tuple[bytes, ...], default=bytes | tuple[bytes, ...], covariant=True)
else:
    from typing import TypeVar

    M = TypeVar("M", covariant=True)
    S = TypeVar("S", covariant=True)

Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_newest"]  # of a channel's receive queue
SubscriptionOverflow: TypeAlias = Literal["drop_oldest", "drop_newest", "disconnect"]
