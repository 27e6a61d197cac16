"""Parts: the frames of messages that are sent or received frame by frame. Each message belongs to one greenlet."""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

import gevent


class Parts:
    """The messages under way of one socket. Each greenlet writes its own entries, or those of a dead one."""

    def __init__(self) -> None:
        self.begun: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()  # frames that were sent with SNDMORE
        self.rest: WeakKeyDictionary[Any, deque[Any]] = WeakKeyDictionary()  # frames of a message not got whole
        # Whether there ever were any: a plain look for the short way. Any thread sets them, for good.
        self.sends = self.receives = False

    # ------------------------------------------------------------------ send

    def add(self, frame: Any) -> bool:
        """Keep a frame that is not the last of this greenlet's message; whether it is not the first either."""
        self.sends = True
        begun = self.begun.get(gevent.getcurrent())
        if begun is None:
            self.begun[gevent.getcurrent()] = [frame]
            return False
        begun.append(frame)
        return True

    def is_first(self) -> bool:
        """Whether this greenlet has no message under way."""
        return gevent.getcurrent() not in self.begun

    def whole(self, frame: Any) -> Any:
        """The message of this greenlet whose last frame is *frame*: a tuple, or the frame alone."""
        begun = self.begun.pop(gevent.getcurrent(), None)
        return frame if begun is None else (*begun, frame)

    # ------------------------------------------------------------------ receive

    def left(self) -> deque[Any] | None:
        """What is left of this greenlet's message, or of one whose greenlet has ended; None: nothing."""
        me = gevent.getcurrent()
        rest = self.rest.get(me)
        if rest is None:
            for other in list(self.rest):
                if other.dead and (rest := self.rest.pop(other, None)):
                    self.rest[me] = rest
                    break
        return rest

    def first_of(self, frames: list[Any]) -> Any:
        """The first frame of a message of this greenlet; keep the others."""
        self.receives = True
        self.rest[gevent.getcurrent()] = deque(frames[1:])
        return frames[0]

    def next_of(self, rest: deque[Any]) -> Any:
        """The next frame of this greenlet's message, of which *rest* is left."""
        frame = rest.popleft()
        if not rest:
            self.rest.pop(gevent.getcurrent(), None)
        return frame

    def take_rest(self) -> list[Any] | None:
        """All that is left of this greenlet's message; None: nothing."""
        rest = self.left()
        if rest is None:
            return None
        self.rest.pop(gevent.getcurrent(), None)
        return list(rest)

    def more(self) -> bool:
        """RCVMORE: whether this greenlet has not received its message whole."""
        return gevent.getcurrent() in self.rest
