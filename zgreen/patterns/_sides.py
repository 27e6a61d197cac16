"""What a user gives for the sides of a proxy, checked: the types of their sockets, endpoints and options. Hub side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import zmq

from .._arguments import endpoints_of, options_of
from .._engine import _proxy

TYPES = {
    "forwarder": (zmq.XSUB, zmq.XPUB),
    "queue": (zmq.ROUTER, zmq.DEALER),
    "streamer": (zmq.PULL, zmq.PUSH),
}

Options = Mapping[int, Any] | Mapping[zmq.SocketOption, Any] | None
Endpoints = str | Iterable[str] | None


def side_of(name: str, kind: int, places: Endpoints, connect: Endpoints, options: Options) -> _proxy.Side:
    """The side called *name*, whose sockets are of the type *kind*.

    :raises TypeError, ValueError: what was given for it is not as it should be.
    """
    bind, others = endpoints_of(name, places), endpoints_of(f"{name}_connect", connect)
    if not bind and not others:
        raise ValueError(f"{name} has no endpoint: give one to bind or one to connect")
    try:
        return _proxy.Side(int(kind), options_of(options), bind, others)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def check_version(version: tuple[int, int, int]) -> None:
    """Raise NotImplementedError for a libzmq without the command that proxies need."""
    if version < _proxy.OLDEST:
        raise NotImplementedError(
            f"zgreen.Proxy needs libzmq {'.'.join(map(str, _proxy.OLDEST))} or newer: a proxy of libzmq "
            f"{'.'.join(map(str, version))} knows no STATISTICS command"
        )
