"""How messages are written down, one by one and in a stream: as text, hex, JSON, or with their lengths.

A `Format` turns one piece of a stream into a message, and a message into bytes; a splitter finds the pieces. Neither
reads or writes anything itself.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

Frames = list[bytes]

_NUMBER = struct.Struct(">Q")  # of the delimiter "length"
_ENDS = {"newline": b"\n", "nul": b"\0", "none": b""}

DELIMITERS = (*_ENDS, "length")


class Format(Protocol):
    """*end* is what stands after each piece; empty: nothing does."""

    end: bytes

    def parse(self, piece: bytes) -> Frames:
        """The message of a piece; a ValueError says why it is none."""

    def show(self, frames: Frames) -> bytes:
        """A message, with its end."""


class Splitter(Protocol):
    """Finds messages in a stream."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream; none: it has ended."""

    def messages(self) -> Iterator[Frames]:
        """The messages that are whole; a ValueError: one is none."""

    def left(self) -> int:
        """How many whole messages have not been taken yet."""


class Text:
    """Frames as they are, with *separator* between them. *escaped*: what is not printable is shown as an escape."""

    def __init__(self, separator: bytes | None, end: bytes, between: bytes, escaped: bool) -> None:
        self.end = end
        self._separator = separator
        self._between = between if separator is None else separator
        self._escaped = escaped

    def parse(self, piece: bytes) -> Frames:
        return [piece] if self._separator is None else piece.split(self._separator)

    def show(self, frames: Frames) -> bytes:
        body = self._between.join(frames)
        return (_escape(body) if self._escaped else body) + self.end


class Hex:
    """Frames as hexadecimal digits, with a space between frames; an empty frame is a minus sign."""

    def __init__(self, end: bytes) -> None:
        self.end = end

    def parse(self, piece: bytes) -> Frames:
        try:
            return [b"" if word == b"-" else binascii.unhexlify(word) for word in piece.split()] or [b""]
        except binascii.Error:
            raise ValueError(f"{_start(piece)} is not hexadecimal digits, two for each byte") from None

    def show(self, frames: Frames) -> bytes:
        return b" ".join(frame.hex().encode() or b"-" for frame in frames) + self.end


class Json:
    """``{"frames": ["text", {"base64": "/w=="}]}``; to be sent, also a text or a list of frames alone."""

    def __init__(self, end: bytes, binary: str) -> None:
        self.end = end
        self._binary = binary  # "base64" or "hex": what becomes of a frame that is no text

    def parse(self, piece: bytes) -> Frames:
        try:
            value = json.loads(piece)
        except (ValueError, RecursionError):
            raise ValueError(f"{_start(piece)} is no JSON") from None
        if isinstance(value, dict) and "frames" in value:
            value = value["frames"]
        frames = value if isinstance(value, list) else [value]
        if not frames:
            raise ValueError("a message has at least one frame")
        return [self._frame(frame) for frame in frames]

    @staticmethod
    def _frame(frame: Any) -> bytes:
        try:
            if isinstance(frame, str):
                return frame.encode()
            if isinstance(frame, dict) and len(frame) == 1:
                ((kind, text),) = frame.items()
                if kind == "base64":
                    return base64.b64decode(text, validate=True)
                if kind == "hex":
                    return bytes.fromhex(text)
                if kind == "text":
                    return str.encode(text)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the frame {json.dumps(frame):.60} cannot be decoded: {error}") from None
        raise ValueError(
            f'{json.dumps(frame):.60} is no frame: give a text, {{"base64": ...}} or {{"hex": ...}}, or a list of those'
        )

    def show(self, frames: Frames) -> bytes:
        return json.dumps({"frames": [self._shown(frame) for frame in frames]}).encode() + self.end

    def _shown(self, frame: bytes) -> Any:
        try:
            return frame.decode()
        except UnicodeDecodeError:
            if self._binary == "hex":
                return {"hex": frame.hex()}
            return {"base64": base64.b64encode(frame).decode()}


class Lengths:
    """The number of frames, then of each frame its length and its bytes; numbers have 8 bytes, big-endian."""

    end = b""

    def parse(self, piece: bytes) -> Frames:
        return [piece]

    def show(self, frames: Frames) -> bytes:
        parts = [_NUMBER.pack(len(frames))]
        for frame in frames:
            parts += (_NUMBER.pack(len(frame)), frame)
        return b"".join(parts)


class Delimited:
    """Splits where a format's end is: one byte, or only at the end of the stream."""

    def __init__(self, how: Format) -> None:
        self._how = how
        self._rest: list[bytes] = []  # of a piece whose end has not come: a list, because it may be very long
        self._pieces: deque[bytes] = deque()
        self._number = 0

    def feed(self, data: bytes) -> None:
        if not data:
            if any(self._rest):
                self._pieces.append(b"".join(self._rest))
            return
        first, *others = data.split(self._how.end) if self._how.end else [data]
        self._rest.append(first)
        if others:
            self._pieces.append(b"".join(self._rest))
            self._pieces.extend(others[:-1])
            self._rest = [others[-1]]

    def messages(self) -> Iterator[Frames]:
        while self._pieces:
            self._number += 1
            try:
                frames = self._how.parse(self._pieces[0])
            except ValueError as error:
                raise ValueError(f"message {self._number}: {error}") from None
            self._pieces.popleft()
            yield frames

    def left(self) -> int:
        return len(self._pieces)


class Counted:
    """Splits what `Lengths` has written."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._frames: Frames = []
        self._missing = 0  # frames of the message that has begun
        self._length: int | None = None  # of the frame that has begun
        self._messages: deque[Frames] = deque()

    def feed(self, data: bytes) -> None:
        if not data and (self._data or self._missing):
            raise ValueError("it ends in the middle of a message: is it of the delimiter 'length'?")
        self._data += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Take one number or one frame, if it is there."""
        size = _NUMBER.size if self._length is None else self._length
        if len(self._data) < size:
            return False
        part = bytes(self._data[:size])
        del self._data[:size]
        if self._length is not None:
            self._frames.append(part)
            self._length = None
            self._missing -= 1
            if not self._missing:
                self._messages.append(self._frames)
                self._frames = []
        elif self._missing:
            (self._length,) = _NUMBER.unpack(part)
        else:
            (self._missing,) = _NUMBER.unpack(part)
            if not self._missing:
                raise ValueError("a message of no frames: is it of the delimiter 'length'?")
        return True

    def messages(self) -> Iterator[Frames]:
        while self._messages:
            yield self._messages.popleft()

    def left(self) -> int:
        return len(self._messages)


def format_of(arguments: argparse.Namespace, to_terminal: bool) -> Format:
    """The format that was asked for; *to_terminal*: it is shown to a person."""
    if arguments.delimiter == "length":
        return Lengths()
    end = _ENDS[arguments.delimiter or ("none" if arguments.raw else "newline")]
    if arguments.json:
        return Json(end, "hex" if arguments.hex else "base64")
    if arguments.hex:
        return Hex(end)
    return Text(arguments.multipart, end, b"" if arguments.raw else b" ", to_terminal and not arguments.raw)


def splitter_of(how: Format) -> Splitter:
    """What finds messages of that format in a stream."""
    return Counted() if isinstance(how, Lengths) else Delimited(how)


def _escape(body: bytes) -> bytes:
    """What a terminal shows as it is, and escapes for the rest: it must not be told what to do."""
    text = body.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text).encode()


def _start(piece: bytes) -> str:
    return repr(piece[:40].decode(errors="backslashreplace")) + ("..." if len(piece) > 40 else "")
