"""The wire of a ZAP handler (rfc.zeromq.org/spec/27): requests, replies, and why a client is denied. A leaf, no I/O."""

from __future__ import annotations

from typing import NamedTuple

VERSION = b"1.0"


class Request(NamedTuple):
    """What libzmq asks about one handshake. *route*: the frames that bring the reply back."""

    route: list[bytes]
    number: bytes
    domain: str
    address: str
    mechanism: bytes
    credentials: list[bytes]

    def reply(self, status: bytes, text: str, user: bytes = b"") -> list[bytes | str]:
        """The frames of the answer. 200: the client gets in; 300: it may try again; 400: it is refused."""
        return _reply(self.route, self.number, status, text, user)


class Denied(Exception):
    """The client does not get in.

    *cause* is a field of :class:`zgreen.auth.AuthStatistics`. The text is for the client's side, so it tells no secret.
    """

    def __init__(self, cause: str, text: str, status: bytes = b"400") -> None:
        super().__init__(text)
        self.cause = cause
        self.status = status


class Malformed(Exception):
    """These frames are no request. *reply*: the frames that say so, or None if there is no way back."""

    def __init__(self, frames: list[bytes], reply: list[bytes | str] | None) -> None:
        super().__init__(f"a malformed ZAP request of {len(frames)} frames")
        self.reply = reply


def parse(frames: list[bytes]) -> Request:
    """The request in a message of a ROUTER.

    :raises Malformed: there is none.
    """
    try:
        split = frames.index(b"", 1) + 1  # behind the routing ids
    except ValueError:
        split = len(frames)
    route, body = frames[:split], frames[split:]
    if len(body) < 6 or body[0] != VERSION:
        raise Malformed(frames, _reply(route, body[1], b"400", "malformed request", b"") if len(body) > 1 else None)
    _version, number, domain, address, _identity, mechanism, *credentials = body
    return Request(
        route, number, domain.decode(errors="replace"), address.decode(errors="replace"), mechanism, credentials
    )


def _reply(route: list[bytes], number: bytes, status: bytes, text: str, user: bytes) -> list[bytes | str]:
    return [*route, VERSION, number, status, text, user, b""]
