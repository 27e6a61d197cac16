"""Handing: messages that are handed to libzmq one by one, and how they are taken back."""

from __future__ import annotations

from typing import Any

import zmq

from .._engine._mailbox import Reply
from .._errors import BrokenError, ClosedError
from .._hub.call import Call
from .._hub.wait import Deadline, TimedOut
from ._lanes import SocketLanes


class Handing:
    """The sends of one socket that wait until libzmq has taken their message."""

    def __init__(self) -> None:
        self.calls: set[Call] = set()  # any thread adds and discards its own

    def hand_in(self, lanes: SocketLanes, frames: Any, once: bool, deadline: Deadline) -> None:
        """Return when libzmq has taken the message. After any exception nothing is pending. After Again or Full it will
        not be sent; a gevent.Timeout or a kill may come in the very moment in which libzmq takes it.

        *once*: Again unless libzmq takes it now. Full, or Again, at *deadline*.
        """
        call = Call(lanes.link, "send", lanes.thread.error)
        self.calls.add(call)
        try:
            self._put(lanes, frames, once, deadline, call)
            self._wait(lanes, deadline, call)
        finally:
            self.calls.discard(call)

    def _put(self, lanes: SocketLanes, frames: Any, once: bool, deadline: Deadline, call: Call) -> None:
        try:
            if not once:
                lanes.sends.put(frames, call.reply, True, deadline.left())
            elif not lanes.pipe.try_send(frames, call.reply):
                raise lanes.state.put_error() or zmq.ZMQError(zmq.ENOTSOCK)
        except BaseException:
            lanes.link.replies.discard(call.reply)
            raise

    def _wait(self, lanes: SocketLanes, deadline: Deadline, call: Call) -> None:
        try:
            with call.shown_in(lanes.waiting):
                call.wait(deadline)
        except TimedOut:
            if self._take_back(lanes, call):
                raise zmq.Again from None
        except (ClosedError, BrokenError, zmq.ZMQError):
            raise
        except BaseException:  # a gevent.Timeout or a kill: leave nothing behind
            self._take_back(lanes, call)
            raise

    @staticmethod
    def _take_back(lanes: SocketLanes, call: Call) -> bool:
        """Whether the message was still pending: it will not be sent then."""
        try:
            taken = lanes.thread.post(lanes.engine.take_back, lanes.pipe, call.reply).wait(Deadline(None))
        except (ClosedError, BrokenError):
            taken = True
        if taken:
            lanes.link.replies.discard(call.reply)
        return bool(taken)

    def give_up(self, lanes: SocketLanes) -> None:
        """Have all waiters get ETERM, and take their messages back; the hub's thread."""
        for call in tuple(self.calls):

            def taken_back(reply: Reply, call: Call = call) -> None:
                if reply.value:  # so nothing else completes it
                    call.reply.complete(error=zmq.ContextTerminated())

            if lanes.thread.error() is None:
                lanes.thread.send(lanes.link.reply(taken_back), lanes.engine.take_back, lanes.pipe, call.reply)
