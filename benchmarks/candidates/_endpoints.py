"""Where the many channels of one process connect to."""

from __future__ import annotations

from types import SimpleNamespace


def endpoints_of(spec: SimpleNamespace) -> list[str]:
    """One for each channel: the busy ones last, so that traffic begins when all are open.

    All that are to stay idle share an endpoint where nothing is ever sent.
    """
    busy = [f"{spec.endpoint}.{number}" for number in range(spec.busy)]
    return [f"{spec.endpoint}.idle"] * (spec.channels - spec.busy) + busy
