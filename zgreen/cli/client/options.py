"""The arguments that the client's commands share, and the channel that is made of them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth

import zgreen
from zgreen.auth import Authenticator
from zgreen.cli import output
from zgreen.cli.client.formats import DELIMITERS
from zgreen.cli.client.handshakes import Handshakes
from zgreen.cli.command import ENDPOINT, Failed, Usage, endpoint, make_pump, number_from, positive, seconds

FILES = (
    "How messages are written: by default a message is a line of text, as it is; --json, --hex, --raw and --delimiter "
    "are for what is not."
)


def add_endpoint(parser: argparse.ArgumentParser, many: bool = False) -> None:
    """Where the peer is."""
    more: dict[str, Any] = {"nargs": "+"} if many else {}
    parser.add_argument("endpoint", metavar=ENDPOINT, type=endpoint, help="like tcp://127.0.0.1:5555", **more)
    side = parser.add_mutually_exclusive_group()
    side.add_argument(
        "--connect", action="store_false", dest="bind", default=False, help="connect to ENDPOINT (the default)"
    )
    side.add_argument("--bind", action="store_true", default=False,
                      help="bind to ENDPOINT instead; * as the port takes a free one, which is said")  # fmt: skip


def add_messages(parser: argparse.ArgumentParser) -> None:
    """Messages to be sent, in place of standard input."""
    parser.add_argument("messages", metavar="MESSAGE", nargs="*", type=os.fsencode,
                        help="send these in place of those of standard input")  # fmt: skip


def add_formats(parser: argparse.ArgumentParser) -> None:
    """How messages are written; ``--json`` is there already."""
    add = parser.add_argument
    add("--multipart", metavar="SEP", type=_separator,
        help="what stands between the frames of a message, like , or \\t (default: a line is one frame; shown frames "
        "have a space between them)")  # fmt: skip
    add("--hex", action="store_true", help="hexadecimal digits, a space between frames; with --json: frames that are "
        "no text are {\"hex\": ...}, not {\"base64\": ...}")  # fmt: skip
    add("--raw", action="store_true", help="bytes as they are, and nothing more: no newlines, no escapes on a terminal")
    add("--delimiter", choices=DELIMITERS,
        help="what a message ends with (default: newline, with --raw none); length: what stands before it instead, the "
        "number of its frames and before each its length, as 8 bytes big-endian")  # fmt: skip


def add_limits(parser: argparse.ArgumentParser, count: str, timeout: str) -> None:
    """When it ends by itself; the texts say of what."""
    parser.add_argument("--count", metavar="N", type=number_from(1), help=count)
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, help=timeout)


def add_rate(parser: argparse.ArgumentParser) -> None:
    """How fast it sends."""
    parser.add_argument(
        "--rate", metavar="RATE", type=positive, help="send so many messages a second (default: no limit)"
    )


def add_linger(parser: argparse.ArgumentParser) -> None:
    """How long it waits for delivery."""
    parser.add_argument(
        "--linger", metavar="SECONDS", type=seconds, default=5.0,
        help="at the end give up when no peer has taken a message for so long; what was not sent is said (default: 5)",
    )  # fmt: skip


def add_curve(parser: argparse.ArgumentParser) -> None:
    """CURVE, on either side."""
    add = parser.add_argument
    add("--curve-server-key", metavar="FILE", type=Path, help="encrypt: the server's certificate, NAME.key of keygen")
    add("--curve-cert", metavar="FILE", type=Path,
        help="the own certificate, NAME.key_secret, for a server that knows its clients (default: a new "
        "one)")  # fmt: skip
    add("--curve-server", metavar="FILE", type=Path, help="be the server, with this certificate, NAME.key_secret")
    add("--curve-clients", metavar="DIRECTORY", type=Path,
        help="with --curve-server: only clients whose NAME.key is in here (default: all that know the "
        "server's key)")  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Socket options for CURVE, and the directory with the keys of the clients that may connect."""

    options: dict[int, Any]
    clients: Path | None


def curve_of(arguments: argparse.Namespace) -> Curve:
    """What the ``--curve-`` arguments come to."""
    given = arguments
    server, client = given.curve_server, given.curve_server_key
    if server and (client or given.curve_cert):
        raise Usage(
            "--curve-server is for the one side, --curve-server-key and --curve-cert are for the other: give one"
        )
    if given.curve_clients and not server:
        raise Usage("--curve-clients is for --curve-server: give that, too")
    if given.curve_cert and not client:
        raise Usage("--curve-cert needs --curve-server-key: the certificate of the server")
    if not server and not client:
        return Curve({}, None)
    if not zmq.has("curve"):
        raise Failed("this libzmq has no CURVE")
    if server:
        options: dict[int, Any] = {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: _keys(server, secret=True)[1]}
        if given.curve_clients:  # no client gets in while the authenticator does not run, as at the end
            options |= {zmq.ZAP_DOMAIN: b"zgreen", zmq.ZAP_ENFORCE_DOMAIN: 1}
        return Curve(options, given.curve_clients)
    public, secret = _keys(given.curve_cert, secret=True) if given.curve_cert else zmq.curve_keypair()
    server_key = _keys(client, secret=False)[0]
    return Curve(
        {zmq.CURVE_SERVERKEY: server_key, zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret}, None
    )  # fmt: skip


def _keys(path: Path, secret: bool) -> tuple[bytes, bytes]:
    """The public and the secret key in a certificate; without *secret* the latter may be empty."""
    with path.open("rb"):  # an OSError of this says what is wrong with the file, pyzmq does not
        pass
    try:
        public, hidden = zmq.auth.load_certificate(path)
    except (ValueError, OSError) as error:
        raise Failed(f"{path} is no certificate: {output.words(error)}") from error
    if secret and hidden is None:
        raise Failed(f"{path} has no secret key: give the file NAME.key_secret")
    return public, hidden or b""


@contextlib.contextmanager
def pump_of(arguments: argparse.Namespace, curve: Curve) -> Iterator[zgreen.Pump]:
    """The pump of a command, to whose channels only the clients of *curve* may connect."""
    with make_pump(arguments.called) as pump:
        if curve.clients is None:
            yield pump
            return
        with Authenticator(pump) as authenticator:
            authenticator.configure_curve(curve.clients)
            yield pump


def open_channel(
    arguments: argparse.Namespace, kind: int, pump: zgreen.Pump, curve: Curve, **more: Any
) -> tuple[zgreen.Channel[list[bytes]], Handshakes]:
    """The channel of a command; says on standard error where it is bound, if that was not typed in full."""
    logging.getLogger("zgreen").setLevel(logging.ERROR)  # the command says itself what was not sent
    options = {**curve.options, **more.pop("options", {})}
    channel = zgreen.Channel(kind, pump=pump, multipart=True, options=options, **more)
    handshakes = Handshakes(channel, arguments)
    attach(channel, arguments)
    return channel, handshakes


def attach(channel: zgreen.Channel, arguments: argparse.Namespace) -> None:
    """Bind or connect *channel* as asked."""
    places = arguments.endpoint if isinstance(arguments.endpoint, list) else [arguments.endpoint]
    for place in places:
        if not arguments.bind:
            channel.connect(place)
            continue
        channel.bind(place)
        if channel.last_endpoint != place:
            output.say(f"{arguments.called}: bound to {channel.last_endpoint}")


def _separator(text: str) -> bytes:
    r"""A type: text, in which \t, \0, \x1f and the like may stand."""
    try:
        separator = text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
        separator = os.fsencode(text) if "\\" not in text else separator
    except (UnicodeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be read: give a text like , or \\t") from None
    if not separator:
        raise argparse.ArgumentTypeError("nothing cannot stand between frames: give a text like , or \\t")
    return separator
