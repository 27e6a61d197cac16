"""What the owning thread of one `zgreen.Proxy` does. Thread side; nothing here is touched by another thread but
`Proxying.end_now`, and the fields that say so.

The hub speaks to it through a PAIR, in two ways. While messages pass, libzmq's own loop reads that PAIR and knows
libzmq's commands alone. Whatever else is to be done, pausing above all, libzmq's loop is left first (TERMINATE, with
all sockets open), and the next word on the PAIR says what is next. A loop of libzmq's that is paused by its own command
would not wait: it uses a whole core from the first message on that it must not forward.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import zmq

from ._api import Plan
from ._closing import End
from ._setup import Socket, bind, connect, set_up

# libzmq's commands
STATISTICS = b"STATISTICS"
TERMINATE = b"TERMINATE"
# ours: what comes after a TERMINATE (STATISTICS may come, too, while it is paused)
PAUSE = b"zgreen.pause"
RESUME = b"zgreen.resume"
END = b"zgreen.end"
# what the thread says to the hub, first and last; answers to STATISTICS come between
READY = b"zgreen.ready"
LEFT = b"zgreen.left"

COUNTS = 8  # of an answer to STATISTICS, a 64-bit unsigned integer each
OLDEST = (4, 3, 0)  # the first libzmq with STATISTICS; an older one aborts the process


class Side(NamedTuple):
    """One socket of a proxy: its type, options, and where it binds and connects."""

    kind: int
    options: tuple[tuple[int, Any], ...]
    bind: tuple[str, ...]
    connect: tuple[str, ...]


class Lock(Protocol):
    """A real lock (`_thread.allocate_lock`, never gevent's)."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


class Proxying:
    """The run of one proxy; `run` is the owning thread's.

    The hub's thread makes it, with the context, which libzmq lets any thread shut down; the sockets are made, used and
    closed in `run` alone.
    """

    def __init__(
        self,
        sides: tuple[Side, ...],
        control: tuple[zmq.Context[Any], str],
        make_lock: Callable[[], Lock],
        block_signals: Callable[[], Any],
        linger: int,
    ) -> None:
        """*sides*: frontend, backend and perhaps capture; *control*: the context and endpoint of the hub's PAIR."""
        self._sides = sides
        self._control_at = control
        self._block_signals = block_signals
        self._linger = linger
        self._context: zmq.Context[Any] = zmq.Context()
        # The lock guards the context's last moments: libzmq frees it at its end, so it must
        # not be shut down later. The owning thread writes _terminating, end_now reads it.
        self._lock = make_lock()
        self._terminating = False
        self.gone = make_lock()  # held until the owning thread is through; any thread may wait for it, and must release
        self.gone.acquire()
        self.failure: BaseException | None = None  # the owning thread writes, others read when `gone` is free

    def run(self) -> None:
        """The owning thread: from making the sockets to the end of their context. Raises nothing: see `failure`."""
        try:
            # pyzmq starts libzmq's loop again, active and with counts of zero, when a signal has interrupted it: so
            # signals go to other threads
            self._block_signals()
            self._work()
        except BaseException as error:  # noqa: BLE001 (`failure` tells it to the waiters)
            self.failure = error
        finally:
            self._end_context()
            self.gone.release()

    def end_now(self) -> bool:
        """Have all that the thread waits for in libzmq fail (ETERM), so that it closes its sockets; any thread.

        False: it is past that, or this pyzmq does not let us.
        """
        if _shut_context_down is None:
            return False
        with self._lock:  # type: ignore[attr-defined]
            if self._terminating:
                return False
            _shut_context_down(self._context.underlying)
            return True

    # ------------------------------------------------------------------ the owning thread alone from here on

    def _end_context(self) -> None:
        self._lock.acquire()
        self._terminating = True
        self._lock.release()
        self._context.term()  # returns when the lingers of the sockets are over

    def _work(self) -> None:
        context, endpoint = self._control_at
        control = context.socket(zmq.PAIR, socket_class=zmq.Socket)
        try:
            control.linger = 0
            # libzmq answers commands by a send that waits. When the hub's end is gone that would be for ever, and
            # end_now does not reach it, as this socket is of another context. So a send does not wait, nor lack room.
            control.sndtimeo = 0
            control.sndhwm = 0
            control.connect(endpoint)
            self._serve(control)
        finally:
            control.close()

    def _serve(self, control: Socket) -> None:
        sockets: list[Socket] = []
        try:
            pause = word_that_pauses()
            # nothing is ever received on it: its wait ends with its context, which is not that of `control`
            sockets.append(self._context.socket(zmq.PULL, socket_class=zmq.Socket))
            found = [self._open(side, sockets) for side in self._sides]
            control.send_multipart([READY, pause, *("\n".join(places).encode() for places in found)], zmq.DONTWAIT)
            self._steer(control, *sockets)
        except zmq.ZMQError as error:
            # ETERM is end_now, or the end of the pump's context; EAGAIN, without a peer, that of the channel
            if error.errno != zmq.ETERM and not (error.errno == zmq.EAGAIN and not control.poll(0, zmq.POLLOUT)):
                raise
        finally:
            for socket in sockets:
                socket.close()  # with its own linger
            _say(control, LEFT)

    def _open(self, side: Side, sockets: list[Socket]) -> list[str]:
        options = ((zmq.LINGER, self._linger), *side.options)
        socket = set_up(self._context, Plan(None, side.kind, options, None, (), ()), End())
        sockets.append(socket)
        return [bind(socket, at) for at in side.bind] + [connect(socket, at) for at in side.connect]

    def _steer(
        self, control: Socket, idle: Socket, frontend: Socket, backend: Socket, capture: Socket | None = None
    ) -> None:
        while True:
            zmq.proxy_steerable(frontend, backend, capture, control)
            word = _next_word(control, idle)
            while word != RESUME:
                if word == END:
                    return
                if word == STATISTICS:
                    control.send_multipart([bytes(8)] * COUNTS, zmq.DONTWAIT)
                word = _next_word(control, idle)


def _next_word(control: Socket, idle: Socket) -> bytes:
    """Wait for the hub's next word; ETERM from `end_now` as well as from the end of the control's context."""
    zmq.zmq_poll([(control, zmq.POLLIN), (idle, zmq.POLLIN)], -1)
    return control.recv()


def _say(control: Socket, word: bytes) -> None:
    try:
        control.send(word, zmq.DONTWAIT)
    except zmq.ZMQError:
        pass  # the channel has ended


def word_that_pauses() -> bytes:
    """Find out which of libzmq's commands makes its loop pause: PAUSE, but RESUME in the release 4.3.5.

    That release has the two mixed up (libzmq's pull request 4600 came three days later), and a distribution may have
    mended it. So this has a proxy of its own, that has a message to forward and commands to read before it begins,
    pause and end. It runs through at once: all over inproc, and without other peers.
    """
    with zmq.Context() as context:  # type: zmq.Context[Any]
        frontend, backend, control, sender, receiver, commander = sockets = [
            context.socket(kind, socket_class=zmq.Socket)
            for kind in (zmq.PULL, zmq.PUSH, zmq.PAIR, zmq.PUSH, zmq.PULL, zmq.PAIR)
        ]
        try:
            for number, (one, other) in enumerate([(frontend, sender), (backend, receiver), (control, commander)]):
                one.bind(f"inproc://{number}")
                other.connect(f"inproc://{number}")
            sender.send(b"")
            for command in (b"PAUSE", STATISTICS, TERMINATE):  # the second one gives the loop a turn to forward in
                commander.send(command)
            zmq.proxy_steerable(frontend, backend, None, control)
            return b"RESUME" if receiver.poll(0) else b"PAUSE"
        finally:
            for socket in sockets:
                socket.close(linger=0)


def _find_shutdown() -> Callable[[int], int] | None:
    """zmq_ctx_shutdown of the libzmq that pyzmq has loaded; pyzmq itself does not give it."""
    try:
        from zmq.backend.cython import _zmq

        function = ctypes.CDLL(_zmq.__file__).zmq_ctx_shutdown
    except (ImportError, OSError, AttributeError):
        return None  # another backend of pyzmq's
    function.argtypes = [ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


_shut_context_down = _find_shutdown()
