"""The kinds of ZeroMQ sockets: their names, and which way messages go through each (a leaf: zmq's constants only)."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

import zmq


class Kind(NamedTuple):
    """A ZeroMQ socket type; *number* is ZeroMQ's constant."""

    name: str
    number: int
    sends: bool
    receives: bool

    def cannot(self, verb: str, name: str) -> TypeError:
        """What a put ("send") or get ("receive") gets that this kind of socket, of the channel *name*, cannot do."""
        way = {"send": "get from it, do not put", "receive": "put to it, do not get"}[verb]
        return TypeError(f"{name}: a {self.name} socket cannot {verb}: {way}")


_KINDS = [
    Kind(name, int(getattr(zmq, name)), sends, receives)
    for name, sends, receives in [
        ("PAIR", True, True),
        ("PUB", True, False),
        ("SUB", False, True),
        ("REQ", True, True),
        ("REP", True, True),
        ("DEALER", True, True),
        ("ROUTER", True, True),
        ("XPUB", True, True),
        ("XSUB", True, True),
        ("PULL", False, True),
        ("PUSH", True, False),
        ("STREAM", True, True),
    ]
]
_BY_NAME = {kind.name: kind for kind in _KINDS} | {"XREQ": _KINDS[5], "XREP": _KINDS[6]}
_BY_NUMBER = {kind.number: kind for kind in _KINDS}


def kind_of(socket_type: Any) -> Kind:
    """Return the kind for ``zmq.REP``, ``"rep"`` or ``"REP"``; anything else is a ValueError or TypeError."""
    if isinstance(socket_type, str):
        kind = _BY_NAME.get(socket_type.upper())
    elif isinstance(socket_type, int) and not isinstance(socket_type, bool):
        kind = _BY_NUMBER.get(int(socket_type))
    else:
        raise TypeError(f"socket_type must be a zmq constant or its name, not {type(socket_type).__name__}")
    if kind is None:
        raise ValueError(f"unknown socket type {socket_type!r}; there are {', '.join(_BY_NAME)}")
    return kind


def option_name(option: int) -> str:
    """Return ZeroMQ's name of a socket option for an error message (``SNDHWM``), or its number."""
    try:
        return zmq.SocketOption(option).name
    except ValueError:
        return str(option)


def error_name(number: int | None) -> str:
    """Return the name of an errno, the system's or ZeroMQ's own (``EHOSTUNREACH``, ``EFSM``), or its number."""
    try:
        return errno.errorcode.get(number or 0) or zmq.Errno(number or 0).name
    except ValueError:
        return str(number)
