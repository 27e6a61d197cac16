"""Frames: what `send` makes of what it is given, and what `recv` gives with ``copy=False``."""

from __future__ import annotations

from typing import Any

import zmq


def received(frame: Any, more: bool, track: bool) -> zmq.Frame:
    """A zmq.Frame of *frame*, which is one, or bytes if the message was received with copies so far."""
    found: zmq.Frame = frame
    if type(frame) is bytes:
        found = zmq.Frame(frame)
        found.more = more
    if track:
        found.tracker = zmq._FINISHED_TRACKER
    return found


def sent(data: Any, copy: bool, track: bool, threshold: int) -> tuple[Any, zmq.MessageTracker | None]:
    """What to put to a pipe, bytes or a zmq.Frame that libzmq reads in place, and the result of `send`."""
    if isinstance(data, zmq.Frame):
        if track and not data.tracker:
            raise ValueError("Not a tracked message")
        return (data if len(data) >= threshold else data.bytes), data.tracker or zmq._FINISHED_TRACKER
    if isinstance(data, str):
        raise TypeError("unicode not allowed, use send_string")
    if copy:
        return (data if type(data) is bytes else memoryview(data).tobytes()), None
    if (type(data) is bytes and not track) or memoryview(data).nbytes < threshold:
        return bytes(data), zmq._FINISHED_TRACKER
    frame = zmq.Frame(data, track=track, copy=False, copy_threshold=threshold)
    return frame, frame.tracker or zmq._FINISHED_TRACKER
