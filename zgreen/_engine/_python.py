"""The Python engine: the reference. All of it runs in the owning thread, except `make_pipe`.

It needs the GIL for every message, so under a hub that computes without pause it falls behind (up to CPython's switch
interval, 5 ms, per message).

The serve/park rule. ZMQ_FD is edge-triggered: any send, receive or getsockopt may consume the edge. So a socket is
served until it can do nothing more, ZMQ_EVENTS is read last, and only then it is parked until its descriptor is
readable or the hub side touches its pipe.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import zmq

from ._api import Owner
from ._closing import Farewell
from ._commands import Commands
from ._mailbox import Bell, Mailbox, Reply
from ._pipe import Pipe
from ._pipe_bytes import LimitedPipe
from ._pipe_state import Streak
from ._poller import EpollPoller, Poller, ZmqPoller
from ._setup import in_memory

_TURN = 100  # messages each way per socket and turn
_RETRY = 0.05  # seconds; see _stall
_DONTWAIT = int(zmq.DONTWAIT)
_SNDMORE = int(zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)
_REQ = int(zmq.REQ)
_PAIR = int(zmq.PAIR)
_SOCKET_GONE = (zmq.ETERM, zmq.ENOTSOCK)


class PythonEngine(Commands):
    """See `_api.Engine`."""

    name = "python"

    def __init__(
        self,
        context: zmq.Context[Any],
        hub: Mailbox[Callable[[], Any]],
        on_end: Callable[[], None],
        epoll: Callable[[], Any] | None = None,
        owns_context: bool = True,
        start_thread: Callable[..., Any] | None = None,
        busy_wait: float | None = None,  # noqa: ARG002 (see `_api.EngineClass`)
    ) -> None:
        super().__init__(context, hub, on_end, owns_context, start_thread)
        self._streak = Streak()
        # the owning thread alone
        self._poller: Poller = EpollPoller(epoll) if epoll else ZmqPoller()
        self._ready: deque[Pipe] = deque()  # round-robin
        self._closing: set[Pipe] = set()  # these have a deadline
        self._stalled: dict[Pipe, float] = {}  # and when to try again
        self.wakeups = 0  # the owning thread writes, any reads
        self.busy_waits = (0, 0)  # it never looks before it sleeps: it would keep the GIL from the hub
        self._poller.register(self.mailbox.signaler.fileno())

    # ------------------------------------------------------------------ hub side

    def make_pipe(
        self,
        owner: Owner,
        kind: int,
        out_maxsize: int | None,
        in_maxsize: int | None,
        overflow: str,
        multipart: bool,
        out_maxbytes: int | None = None,
        in_maxbytes: int | None = None,
    ) -> Pipe:
        plan = (self.mailbox, self._streak, owner, kind, out_maxsize, in_maxsize, overflow, multipart)
        if out_maxbytes is None and in_maxbytes is None:
            return Pipe(*plan)
        return LimitedPipe(out_maxbytes, in_maxbytes, *plan)

    # ------------------------------------------------------------------ the loop

    def step(self, timeout: float | None) -> bool:
        """One pass: take mail, serve ready sockets, else sleep up to *timeout* seconds; False when it is over."""
        self._take_mail()
        for _ in range(len(self._ready)):
            self._serve(self._ready.popleft())
        if self._closing or self._stalled:
            timeout = self._look_at_clock(timeout)
        timeout = self._farewells.look_at_clock(timeout)
        if self._stops and self._all_closed():
            return False
        self._poll(timeout)
        return True

    def _listen(self, target: Pipe | Farewell) -> None:
        self._poller.register(target.fd)

    def _ignore(self, target: Pipe | Farewell) -> None:
        self._poller.unregister(target.fd)
        if isinstance(target, Pipe):
            self._closing.discard(target)
            self._stalled.pop(target, None)

    def _serve_now(self, pipe: Pipe) -> None:
        for _ in range(len(self._ready)):  # first: what they send may be for this one
            self._serve(self._ready.popleft())
        self._serve(pipe)

    def _send_rest(self, pipe: Pipe, linger: float) -> None:
        deadline = time.monotonic() + linger
        pipe.deadline = min(pipe.deadline, deadline) if pipe.closing else deadline
        pipe.closing = True
        self._closing.add(pipe)
        self._touch(pipe)

    def _expect(self, pipe: Pipe) -> None:
        pass  # _send_some looks at pipe.flushes

    def _take_mail(self) -> None:
        for _ in range(len(self.mailbox)):  # bounded: mail that comes meanwhile waits for the next pass
            item = self.mailbox.take()
            if isinstance(item, Pipe):
                item.touches += 1
                self._touch(item)
            elif item is not None:
                self._run_command(*item)

    def _touch(self, pipe: Pipe) -> None:
        if not pipe.ready and pipe.fd >= 0:
            pipe.ready = True
            self._ready.append(pipe)

    def _poll(self, timeout: float | None) -> None:
        if self._ready or not self.mailbox.sleeping():
            timeout = 0
        try:
            fds = self._poller.poll(timeout)
            self.wakeups += timeout != 0
            for fd in fds:
                target = self._by_fd.get(fd)
                if target is None:
                    self.mailbox.signaler.drain()
                elif isinstance(target, Pipe):
                    self._touch(target)
                else:
                    self._farewells.look(cast(Farewell, target))
        finally:
            self.mailbox.asleep = False

    def _look_at_clock(self, timeout: float | None) -> float:
        """Do the work that is due; return how long to sleep at most."""
        now = time.monotonic()
        for pipe in [pipe for pipe in self._closing if pipe.deadline <= now]:
            self._finish(pipe, 0.0)
        for pipe in [pipe for pipe, due in self._stalled.items() if due <= now]:
            del self._stalled[pipe]
            self._touch(pipe)
        due = [pipe.deadline for pipe in self._closing] + list(self._stalled.values())
        wait = max(0.0, min(due) - now) if due else None
        return min(t for t in (timeout, wait, 60.0) if t is not None)

    # ------------------------------------------------------------------ serving a socket

    def _serve(self, pipe: Pipe) -> None:
        """One turn: send, then receive, then look at ZMQ_EVENTS, last; go on the ready list again or be parked."""
        pipe.ready = False
        if pipe.fd < 0:
            return
        if pipe.outgoing:
            pipe.owes_ring = True
        sent = pipe.sent
        try:
            refused = self._send_some(pipe)
            if pipe.closing and not pipe.outgoing:
                self._finish(pipe, max(0.0, pipe.deadline - time.monotonic()))
                return
            events = int(pipe.socket.get(zmq.EVENTS))
            if events & _POLLIN and pipe.credit() > 0:
                self._receive_some(pipe)
                events = int(pipe.socket.get(zmq.EVENTS))
        except zmq.ZMQError as error:
            self._finish(pipe, 0.0, error)
            return
        # Say that we will not look, then look once more: see _pipe
        pipe.idle = pipe.starved = True
        credit = pipe.credit() > 0
        if credit:
            pipe.starved = False
        pending = bool(pipe.outgoing)
        if pending:
            pipe.idle = False
        # Without a refusal the socket goes on: POLLOUT says nothing of messages that libzmq would refuse for good.
        writable = pending and (not refused or bool(events & _POLLOUT))
        if refused and writable:
            writable = not self._stall(pipe)
        else:
            pipe.stalls = 0
        if writable or (credit and events & _POLLIN):
            self._touch(pipe)
        # While sending goes on anyway, waiters for room are told only when there is much room: to wake one costs ten
        # times as much as a put of a greenlet that is awake.
        if pipe.owes_ring and not (writable and len(pipe.outgoing) > pipe.out_low):
            pipe.owes_ring = False  # first: the waiter that is told looks at it
            if len(pipe.outgoing) < pipe.out_maxsize and not pipe.is_heavy():
                pipe.rings += _ring(pipe.room_bell)
        if pipe.watched:
            # If it has no room any more, and nothing was sent, its peers have gone.
            filled = pipe.takes_more and (pipe.sent != sent or not pipe.had_room)
            pipe.had_room = bool(events & _POLLOUT)
            pipe.takes_more = pipe.had_room or filled
            if pipe.takes_more:  # after every such turn: waiters may have looked within it, while too much was pending
                pipe.rings += _ring(pipe.writable_bell)

    def _stall(self, pipe: Pipe) -> bool:
        """Whether to leave a message alone that is refused although the socket says POLLOUT.

        Once is a race. Twice: ROUTER with MANDATORY and XPUB with NODROP say POLLOUT when some peer has room, even if
        this message's peer has none. The descriptor tells when that changes, but any call may consume the edge, and
        EVENTS cannot show it; so there is a timer as well.
        """
        pipe.stalls += 1
        if pipe.stalls < 2:
            return False
        self._stalled[pipe] = time.monotonic() + _RETRY
        return True

    def _send_some(self, pipe: Pipe) -> bool:
        """Send pending messages, up to a turn's worth; True if libzmq refused one for now."""
        outgoing = pipe.outgoing
        pipe.peak_pending = max(pipe.peak_pending, len(outgoing))
        done = 0
        refused = False
        try:
            while outgoing and done < _TURN:
                frames, reply = outgoing[0]
                if frames is None:  # taken back
                    outgoing.popleft()
                    pipe.settled += 1
                    continue
                error = self._send(pipe, frames)
                if error is not None and _not_now(pipe, error) and reply not in pipe.once:
                    refused = True
                    break
                # only now: until libzmq has it, it counts as pending
                outgoing.popleft()
                pipe.settled += 1
                done += 1
                self._report(pipe, frames, reply, error)
        finally:  # the socket may be gone, but these messages had been taken before
            if done:
                pipe.send_turns += 1
                pipe.largest_send = max(pipe.largest_send, done)
            if pipe.flushes:
                self._flushed(pipe)
        if refused and pipe.once:
            self._give_up_once(pipe)
        return refused

    def _give_up_once(self, pipe: Pipe) -> None:
        """A message that stays is refused for now, so messages behind it that are tried but once are given up."""
        for _, reply in tuple(pipe.outgoing):
            if reply is not None and reply in pipe.once:
                pipe.take_back(reply)
                reply.complete(error=zmq.Again())

    def _send(self, pipe: Pipe, frames: Any) -> zmq.ZMQError | None:
        """Send one message, whole: None, or why it is refused, for now or for good; raises if the socket is gone."""
        try:
            if type(frames) is bytes:
                pipe.send_frame(frames, _DONTWAIT)
            else:
                _send_parts(pipe, frames)
        except zmq.ZMQError as error:
            if error.errno in _SOCKET_GONE:
                raise
            # With its traceback it would form a cycle with the caller's frame, which would keep the message alive until
            # the garbage collector finds it.
            return error.with_traceback(None)
        pipe.sent += 1
        pipe.sent_bytes += len(frames) if type(frames) is bytes else sum(map(len, frames))
        return None

    def _report(self, pipe: Pipe, frames: Any, reply: Reply | None, error: zmq.ZMQError | None) -> None:
        if error is not None and not _not_now(pipe, error):
            pipe.refused += 1
        if reply is not None:
            pipe.once.discard(reply)
            reply.complete(error=error)
        elif error is not None:
            self._hub.send(partial(pipe.owner.refused, frames, error))

    def _receive_some(self, pipe: Pipe) -> None:
        """Receive while there is credit, up to a turn's worth."""
        before = pipe.received
        try:
            for _ in range(int(min(_TURN, pipe.credit()))):
                if not pipe.credit():  # the bytes of earlier messages have used it up
                    break
                message = _receive(pipe)
                if message is None:
                    break
                pipe.received_bytes += len(message) if type(message) is bytes else sum(map(len, message))
                pipe.deliver(message)
        finally:  # the socket may be gone, but these messages had come before
            done = pipe.received - before
            if done:
                pipe.receive_turns += 1
                pipe.largest_receive = max(pipe.largest_receive, done)
                pipe.peak_waiting = max(pipe.peak_waiting, len(pipe.incoming))
                pipe.rings += _ring(pipe.message_bell)


def _not_now(pipe: Pipe, error: zmq.ZMQError) -> bool:
    """Whether an error of `_send` means that libzmq may take the message later. A REQ says EFSM while it waits for a
    reply."""
    return error.errno == zmq.EAGAIN or (error.errno == zmq.EFSM and pipe.kind == _REQ)


def _ring(bell: Bell | None) -> bool:
    """Ring *bell*, if there is one; whether a waiter is told that had not been told before."""
    return bell is not None and bell.ring()


def _send_parts(pipe: Pipe, frames: tuple[bytes, ...]) -> None:
    """Send all frames; EAGAIN means that none of them will arrive, and the whole message is to be sent again."""
    last = len(frames) - 1
    send = pipe.send_frame
    parts = in_memory(frames)
    for i, frame in enumerate(parts):
        try:
            send(frame, _DONTWAIT if i == last else _DONTWAIT | _SNDMORE)
        except zmq.ZMQError as error:
            if i and error.errno == zmq.EAGAIN and pipe.kind != _PAIR:
                # The peer has gone between two frames. libzmq has dropped the frames that it had, and swallows the
                # rest of this message. It must be given that rest, or it would swallow frames of the next message.
                for rest in range(i + 1, last + 1):
                    send(parts[rest], _DONTWAIT if rest == last else _DONTWAIT | _SNDMORE)
            raise


def _receive(pipe: Pipe) -> Any:
    """One whole message as get() will return it, or None if there is none now."""
    parts = pipe.parts
    try:
        while True:
            # as a zmq.Frame, copied by .bytes: asking the socket for RCVMORE costs twice as much
            frame = pipe.recv_frame(_DONTWAIT, False, False)
            parts.append(frame if pipe.keeps_frames else frame.bytes)
            if not frame.more:
                break
    except zmq.ZMQError as error:
        if error.errno == zmq.EAGAIN or error.errno == zmq.EFSM:
            return None  # EFSM: a REP that owes a reply, a REQ without a request
        raise
    pipe.parts = []
    return parts if len(parts) > 1 or pipe.multipart or pipe.keeps_frames else parts[0]
