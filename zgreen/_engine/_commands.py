"""The part that both engines share: commands, and the ends of sockets and of the thread itself.

The owning thread runs all of it, except `post`. An engine derives from `Commands` and adds the loop and the data path.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from . import _setup
from ._api import Command, Plan, Unsent
from ._closing import Farewell, most_held
from ._farewells import Farewells
from ._mailbox import Mailbox, Reply
from ._monitoring import Monitors

_ALL_EVENTS = int(zmq.EVENT_ALL)
_DEFAULT_LINGER = 5.0  # seconds
_LONGEST_LINGER = 2e6  # seconds, 23 days: its milliseconds are an int, libzmq's and epoll's


class Commands:
    """See `_api.Engine`."""

    def __init__(
        self,
        context: zmq.Context[Any],
        hub: Mailbox[Callable[[], Any]],
        on_end: Callable[[], None],
        owns_context: bool,
        start_thread: Callable[..., Any] | None,
    ) -> None:
        self._context = context
        self._owns_context = owns_context
        self._start_thread = start_thread
        self._hub = hub
        self._on_end = on_end
        self.mailbox: Mailbox[Any] = self._make_mailbox()  # commands, and the items that the engine adds
        self.ended = False  # the owning thread writes, any reads
        self.failure: BaseException | None = None  # likewise, before `ended`
        # the owning thread alone from here on
        self._by_fd: dict[int, Any] = {}  # by its descriptor: a pipe or a Farewell
        self._farewells = Farewells(context, self)
        self._monitors = Monitors()
        self._stops: list[Reply] = []  # of the callers that asked for the end

    # ------------------------------------------------------------------ what an engine adds

    def _make_mailbox(self) -> Mailbox[Any]:
        return Mailbox()

    def step(self, timeout: float | None) -> bool:
        """One pass of the loop, which may sleep up to *timeout* seconds (None: no limit); False when it is over."""
        raise NotImplementedError

    def _listen(self, target: Any) -> None:
        """Have the loop look at *target*, a pipe or a Farewell, when its descriptor is readable."""
        raise NotImplementedError

    def _ignore(self, target: Any) -> None:
        """Undo `_listen`; a pipe is not served any more."""
        raise NotImplementedError

    def _touch(self, pipe: Any) -> None:
        """Have the loop serve *pipe*."""
        raise NotImplementedError

    def _serve_now(self, pipe: Any) -> None:
        """Give *pipe* a turn."""
        raise NotImplementedError

    def _send_rest(self, pipe: Any, linger: float) -> None:
        """Have the loop call `_finish` when all is sent, or after *linger* seconds (the shortest that was asked)."""
        raise NotImplementedError

    def _expect(self, pipe: Any) -> None:
        """Have the loop call `_flushed` when the target of the first of `pipe.flushes`, if any, is reached."""
        raise NotImplementedError

    # ------------------------------------------------------------------ hub side

    def look(self, into: deque[Callable[[], Any]]) -> None:
        """Append the items that the owning thread has for the hub outside of the mailbox; the hub calls them."""

    def post(self, reply: Reply, command: Command, *args: Any) -> None:
        self.mailbox.send((command, args, reply))
        if self.ended:
            # it may have looked for the last time before this item came: then answer in its place
            self._refuse_mail()

    def run(self) -> None:
        try:
            while self.step(None):
                pass
        except BaseException as error:  # noqa: BLE001 (a bug of zgreen, or no memory: waiters are told why)
            self.failure = error
        self._end()

    # ------------------------------------------------------------------ commands

    def _run_command(self, command: Command, args: tuple[Any, ...], reply: Reply) -> None:
        try:
            command(reply, *args)
        except BaseException as error:  # noqa: BLE001 (a configurator may raise anything: the caller gets it)
            reply.complete(error=error)

    def ping(self, reply: Reply) -> None:
        reply.complete(True)

    def open(self, reply: Reply, pipe: Any, plan: Plan) -> None:
        if self._stops or pipe.finished:
            raise zmq.ZMQError(zmq.ETERM)
        self._farewells.reserve.fill()
        socket = _setup.set_up(self._context, plan, pipe.end)
        try:
            endpoint = _setup.last_endpoint(socket)
            pipe.attach(socket)
            self._listen(pipe)
        except BaseException:
            pipe.fd = -1
            socket.close(linger=0)
            raise
        self._by_fd[pipe.fd] = pipe
        self._touch(pipe)
        reply.complete(endpoint)

    def bind(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        value = _setup.bind(self._socket_of(pipe), endpoint)
        pipe.end.note(endpoint, bound=True)
        reply.complete(value)

    def connect(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        value = _setup.connect(self._socket_of(pipe), endpoint)
        pipe.end.note(endpoint, bound=False)
        reply.complete(value)

    def unbind(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        _setup.unbind(self._socket_of(pipe), endpoint)
        reply.complete()

    def disconnect(self, reply: Reply, pipe: Any, endpoint: str) -> None:
        _setup.disconnect(self._socket_of(pipe), endpoint)
        reply.complete()

    def set_option(self, reply: Reply, pipe: Any, option: int, value: Any) -> None:
        _setup.set_option(self._socket_of(pipe), option, value)
        reply.complete()

    def get_option(self, reply: Reply, pipe: Any, option: int) -> None:
        reply.complete(_setup.get_option(self._socket_of(pipe), option))

    def restart(self, reply: Reply, pipe: Any, frames: bytes | tuple[bytes, ...]) -> None:
        reply.complete(_setup.restart(self._socket_of(pipe), frames))

    def _socket_of(self, pipe: Any) -> Any:
        """The socket of *pipe*, for a call that may consume the edge of its descriptor: the loop will serve it."""
        if pipe.fd < 0:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        self._touch(pipe)
        return pipe.socket

    def monitor(self, reply: Reply, pipe: Any, pair: Any, endpoint: str, events: int = _ALL_EVENTS) -> None:
        self._monitors.start(pipe, pair, endpoint, events)
        self._touch(pipe)
        self._touch(pair)
        reply.complete()

    def close(self, reply: Reply, pipe: Any, linger: float | None, limit: float) -> None:
        end = pipe.end
        if end.unsent is not None:
            reply.complete(end.unsent)
            return
        if pipe.fd < 0 and pipe not in self._farewells:  # never opened
            pipe.finished = True
            reply.complete(Unsent(0, 0))
            return
        linger = min(_default_linger(pipe, limit) if linger is None else linger, _LONGEST_LINGER)
        first = not end.replies
        end.replies.append(reply)
        if pipe.fd < 0:  # libzmq is closing it
            self._farewells.shorten(pipe, linger)
            return
        end.asked = end.asked or linger > 0
        if first and not pipe.pending():  # at once: this thread may be late, and the linger runs from now on
            self._finish(pipe, linger)
        else:
            self._send_rest(pipe, linger)

    def flush(self, reply: Reply, pipe: Any) -> None:
        if pipe.fd < 0:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        pipe.flushes.append((pipe.settled + pipe.pending(), reply))
        self._flushed(pipe)

    def serve(self, reply: Reply, pipe: Any) -> None:
        if pipe.fd < 0:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        self._serve_now(pipe)
        reply.complete()

    def take_back(self, reply: Reply, pipe: Any, message: Reply) -> None:
        taken = pipe.take_back(message)
        self._touch(pipe)  # its place in the queue is to be freed, and room told of
        reply.complete(taken)

    def forget_flush(self, reply: Reply, pipe: Any, flush: Reply) -> None:
        for target, waiting in pipe.flushes:
            if waiting is flush:
                pipe.flushes.remove((target, waiting))
                waiting.complete()
                break
        reply.complete()

    def _flushed(self, pipe: Any) -> None:
        """Answer the flushes whose messages are gone; they are in the order of their targets."""
        while pipe.flushes and pipe.flushes[0][0] <= pipe.settled:
            pipe.flushes.pop(0)[1].complete()
        self._expect(pipe)

    def stop(self, reply: Reply) -> None:
        self._stops.append(reply)
        for pipe in self._pipes():
            self._finish(pipe, 0.0)

    # ------------------------------------------------------------------ ends

    def _pipes(self) -> list[Any]:
        return [target for target in self._by_fd.values() if type(target) is not Farewell]

    def _finish(self, pipe: Any, linger: float, error: BaseException | None = None) -> None:
        """Stop serving *pipe*, and close its socket: libzmq has *linger* seconds to send the messages that it holds."""
        self._ignore(pipe)
        self._monitors.closing(pipe)
        del self._by_fd[pipe.fd]
        pipe.fd = -1
        pipe.finished = True
        if error is None:
            self._farewells.begin(pipe, linger)
            return
        held = most_held(pipe)
        ours = pipe.socket.context is self._context
        pipe.socket.close(linger=0)
        self.tell_end(pipe, held, error)
        if ours and self._owns_context and getattr(error, "errno", 0) == zmq.ETERM:
            # A caller has terminated the engine's own context, and still waits in term(): no socket can be made again.
            self._owns_context = False
            raise error

    def tell_end(self, pipe: Any, held: int, error: BaseException | None) -> None:
        """Tell the owner of *pipe* that its socket has ended, and then the callers that wait for that.

        Only here the messages that are left are taken out of the pipe: until then the hub side, if it gives up this
        thread, finds them there.
        """
        left = pipe.withdraw()
        unsent = pipe.end.unsent = Unsent(len(left), held)
        self._hub.send(partial(pipe.owner.ended, left, unsent, error))
        for reply in pipe.end.replies:
            reply.complete(unsent)
        pipe.end.replies = []
        for _, reply in pipe.flushes:
            reply.complete(error=zmq.ZMQError(zmq.ENOTSOCK))
        pipe.flushes = []
        _ring_all(pipe)
        self._look_after_reserve(getattr(error, "errno", 0) == zmq.ETERM)

    def _look_after_reserve(self, terminated: bool) -> None:
        """Fill the reserve again after its use. But the termination of a user's context must not wait for it."""
        reserve = self._farewells.reserve
        is_open = self._farewells or len(self._by_fd) > self._farewells.watched
        if terminated or not (self._owns_context or is_open):
            reserve.drop()
        elif not self._farewells:
            with contextlib.suppress(zmq.ZMQError):  # there are no descriptors: perhaps the next time
                reserve.fill()

    def watch(self, farewell: Farewell) -> None:
        """See `_farewells.Loop`."""
        self._by_fd[farewell.fd] = farewell
        self._listen(farewell)

    def unwatch(self, farewell: Farewell) -> None:
        """See `_farewells.Loop`."""
        self._ignore(farewell)
        del self._by_fd[farewell.fd]

    def _all_closed(self) -> bool:
        return not self._farewells and not self._pipes()

    def _end(self) -> None:
        """The loop is over, as asked or by an error. After an error every waiter is told first."""
        if self.failure is None:
            self._leave()
        else:
            self._farewells.tell_all()  # before `ended`: from then on the hub side withdraws the messages left in pipes
        self.ended = True
        for pipe in self._pipes():
            _ring_all(pipe)  # foreign threads look at `ended` themselves
        self._hub.send(self._on_end)
        self._refuse_mail()
        for reply in self._stops:
            reply.complete()
        if self.failure is not None:
            self._abandon()

    def _leave(self) -> None:
        self._farewells.leave(self._owns_context, self._start_thread)
        if self._owns_context:
            self._context.term()

    def _abandon(self) -> None:
        """Close everything that is open, whatever state it is in."""
        for pipe in self._pipes():
            self._monitors.closing(pipe)
            pipe.socket.close(linger=0)
            for reply in pipe.end.replies + [reply for _, reply in pipe.flushes]:
                reply.complete(error=self.failure)
        self._leave()

    def _refuse_mail(self) -> None:
        """Answer commands that came too late; any thread."""
        while (item := self.mailbox.take()) is not None:
            if type(item) is tuple:
                item[2].complete(error=self.failure or zmq.ZMQError(zmq.ETERM))


def _default_linger(pipe: Any, limit: float) -> float:
    milliseconds = int(pipe.socket.get(zmq.LINGER)) if pipe.fd >= 0 else -1
    return min(limit, _DEFAULT_LINGER if milliseconds < 0 else milliseconds / 1000)


def _ring_all(pipe: Any) -> None:
    for bell in (pipe.room_bell, pipe.message_bell, pipe.writable_bell):
        if bell is not None:
            bell.ring()
