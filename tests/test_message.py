"""What a message may be."""

import array

import pytest
import zmq

from zgreen._message import decode, encode

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        (b"x", b"x"),
        (b"", b""),
        ("é", "é".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (array.array("B", [1, 2]), b"\1\2"),
        (array.array("H", [1]), array.array("H", [1]).tobytes()),
        (zmq.Frame(b"frame"), b"frame"),
        ([b"one"], b"one"),
        (("a", b"b", bytearray(b"c")), (b"a", b"b", b"c")),
        ([b"", b"", b"x"], (b"", b"", b"x")),
    ],
)
def test_encode(message, frames):
    assert encode(message) == frames


class Odd:
    def __repr__(self):
        return "Odd()"


@pytest.mark.parametrize("message", [None, 5, 5.0, {}, {b"x"}, Odd(), iter([b"x"])])
def test_no_message_names_the_type(message):
    with pytest.raises(TypeError, match=type(message).__name__):
        encode(message)


@pytest.mark.parametrize("frame", [None, 5, [b"nested"], Odd()])
def test_no_frame_names_the_type_and_the_frame(frame):
    with pytest.raises(TypeError, match=rf"frame 1 .*{type(frame).__name__}"):
        encode([b"x", frame])


def test_what_has_the_right_type_and_cannot_be_sent():
    """A TypeError, too, as for all that is no message; it says why."""
    released = memoryview(b"x")
    released.release()
    for frame, name, why in (("\ud800", "str", "surrogates"), (released, "memoryview", "released")):
        with pytest.raises(TypeError, match=f"^a message cannot be this {name}: .*{why}"):
            encode(frame)
        with pytest.raises(TypeError, match=f"^frame 1 of a message cannot be this {name}: .*{why}"):
            encode([b"x", frame])


@pytest.mark.parametrize("message", [[], ()])
def test_no_frames_at_all(message):
    with pytest.raises(TypeError, match="empty"):
        encode(message)


def test_later_changes_are_not_seen():
    changing = bytearray(b"before")
    frames = encode([changing, b"x"])
    changing[:] = b"after!"
    assert frames == (b"before", b"x")


def test_decode():
    assert decode(b"x") == b"x"
    assert decode(b"x", multipart=True) == [b"x"]
    assert decode((b"x", b"y")) == [b"x", b"y"]
