"""Frames: what `send` makes of what it is given, and what `recv` gives with ``copy=False``."""

from __future__ import annotations

from typing import Any

import zmq


class Frame(zmq.Frame):
    """A received zmq.Frame, with a copy of the content. Its properties are those of the message that libzmq gave."""

    received: Any

    def __init__(self, received: Any, more: bool) -> None:
        super().__init__(received.bytes, copy=True)
        self.__dict__["received"] = received
        self.more = more

    def get(self, option: Any) -> Any:
        """See :meth:`zmq.Frame.get`."""
        return self.received.get(option)


def received(frames: list[Any]) -> list[zmq.Frame]:
    """The frames of a message, as the engine gives them, as zmq.Frame."""
    last = len(frames) - 1
    return [one if type(one) is zmq.Frame else Frame(one, number < last) for number, one in enumerate(frames)]


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
