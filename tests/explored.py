"""The Python engine between scripted sockets and a scheduler's threads, for test_explore_python.py.

The engine's modules are loaded once more, as another package, with what is seamed here: attributes and deques that two
threads may use are points of the scheduler (tests/schedules.py); signalers, the poller and the clock are its own. A
scripted socket does what libzmq's would: what happens outside is a command, its descriptor is readable while there are
commands, and only then, and each call processes them all. It serves the logic of steps alone; the tests of what
ZeroMQ does use ZeroMQ.
"""

from __future__ import annotations

import itertools
import sys
import types
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from planted import Mistake, with_mistake
from schedules import Scheduler

import zgreen

SEAM = True  # the trace names the lines of those that call this module
ENGINE = Path(zgreen.__file__).parent / "_engine"
_packages = itertools.count()


class _Now:
    """The scheduler of the schedule that runs."""

    scheduler: Scheduler


def sources() -> dict[str, str]:
    return {path.name: path.read_text() for path in ENGINE.glob("*.py")}


class _Watched:
    """In place of a slot: each access is a point."""

    def __init__(self, name: str, slot: Any) -> None:
        self._key = name
        self._slot = slot

    def __get__(self, instance: Any, owner: type) -> Any:
        _Now.scheduler.point(self._key, False)
        return self._slot.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        _Now.scheduler.point(self._key, True)
        self._slot.__set__(instance, value)


class _Deque(deque):
    """Each operation is a point."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._key = _Now.scheduler.new_key("deque")

    def __len__(self) -> int:
        _Now.scheduler.point(self._key, False)
        return super().__len__()

    def __getitem__(self, index: Any) -> Any:
        _Now.scheduler.point(self._key, False)
        return super().__getitem__(index)

    def append(self, item: Any) -> None:
        _Now.scheduler.point(self._key, True)
        super().append(item)

    def extend(self, items: Any) -> None:
        _Now.scheduler.point(self._key, True)
        super().extend(items)

    def appendleft(self, item: Any) -> None:
        _Now.scheduler.point(self._key, True)
        super().appendleft(item)

    def popleft(self) -> Any:
        _Now.scheduler.point(self._key, True)
        return super().popleft()

    def remove(self, item: Any) -> None:
        _Now.scheduler.point(self._key, True)
        super().remove(item)


class _Signaler:
    """A descriptor that is only a number; readable from a ring until the next drain."""

    def __init__(self) -> None:
        self._fd = new_fd()

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        _Now.scheduler.point(self._fd, True)
        _Now.scheduler.readable[self._fd] = True

    def drain(self) -> None:
        _Now.scheduler.point(self._fd, True)
        _Now.scheduler.readable[self._fd] = False


def new_fd() -> int:
    readable = _Now.scheduler.readable
    fd = len(readable)
    readable[fd] = False
    return fd


class Epoll:
    """Sleeps in the scheduler."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def register(self, fd: int, _events: int) -> None:
        self._fds.append(fd)

    def unregister(self, fd: int) -> None:
        self._fds.remove(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        scheduler = _Now.scheduler
        for fd in self._fds:
            scheduler.point(fd, False)
        readable = scheduler.readable
        if timeout != 0:
            seconds = None if timeout < 0 else timeout
            scheduler.wait(lambda: any(readable[fd] for fd in self._fds), "in the poller", seconds)
        return [(fd, 1) for fd in self._fds if readable[fd]]

    def close(self) -> None:
        pass


class _Clock:
    @staticmethod
    def monotonic() -> float:
        return _Now.scheduler.now


class Lock:
    """A thread's lock."""

    def __init__(self) -> None:
        self._held = False
        self._key = _Now.scheduler.new_key("lock")

    def __enter__(self) -> None:
        _Now.scheduler.point(self._key, True)
        _Now.scheduler.wait(lambda: not self._held, "for a lock")
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


# ---------------------------------------------------------------------- sockets


class _Frame:
    more = False

    def __init__(self, content: bytes) -> None:
        self.bytes = content


class Socket:
    """A scripted socket; what is sent stays in `taken`."""

    def __init__(self, room: int = 100) -> None:
        self.fd = new_fd()
        self.room = room
        self.says_writable = False  # POLLOUT although it refuses
        self.refuses: dict[bytes, int] = {}  # for good, with which error
        self.taken: list[bytes] = []
        self.closed = False
        self._arrived: deque[bytes] = deque()
        self._commands: deque[Callable[[], Any]] = deque()
        self._key = _Now.scheduler.new_key("socket")

    # ---- the outside; any thread

    def arrive(self, *messages: bytes) -> None:
        self._happens(lambda: self._arrived.extend(messages))

    def make_room(self, room: int) -> None:
        def add() -> None:
            self.room += room

        self._happens(add)

    def _happens(self, command: Callable[[], Any]) -> None:
        _Now.scheduler.point(self._key, True)
        self._commands.append(command)
        _Now.scheduler.readable[self.fd] = True

    # ---- the owning thread; what a pyzmq socket has

    def _process(self) -> None:
        _Now.scheduler.point(self._key, True)
        assert not self.closed, "a closed socket is used"
        while self._commands:
            self._commands.popleft()()
        _Now.scheduler.readable[self.fd] = False

    def send(self, frame: bytes, flags: int) -> None:
        self._process()
        assert flags & zmq.DONTWAIT
        if frame in self.refuses:
            raise zmq.ZMQError(self.refuses[frame])
        if self.room == 0:
            raise zmq.Again
        self.room -= 1
        self.taken.append(frame)

    def recv(self, flags: int, _copy: bool, _track: bool) -> _Frame:
        self._process()
        assert flags & zmq.DONTWAIT
        if not self._arrived:
            raise zmq.Again
        return _Frame(self._arrived.popleft())

    def get(self, option: int) -> int:
        if option == zmq.FD:
            return self.fd
        assert option == zmq.EVENTS
        self._process()
        writable = self.room > 0 or self.says_writable
        return (zmq.POLLOUT if writable else 0) | (zmq.POLLIN if self._arrived else 0)

    def close(self, linger: int) -> None:
        self.closed = True


# ---------------------------------------------------------------------- the engine's modules


class Code:
    """The modules of the engine, with a mistake or without."""

    def __init__(self, mistake: Mistake | None = None) -> None:
        texts = sources()
        if mistake is not None:
            texts = with_mistake(texts, mistake)
        package = f"zgreen._explored{next(_packages)}"
        parent = types.ModuleType(package)
        parent.__path__ = [str(ENGINE)]
        sys.modules[package] = parent
        self._folder = package
        self.mailbox = self._load("_mailbox", texts)
        self.mailbox.Signaler = _Signaler
        self.state = self._load("_pipe_state", texts)
        self.pipe = self._load("_pipe", texts)
        self.commands = self._load("_commands", texts)
        self.python = self._load("_python", texts)
        for module in (self.mailbox, self.state, self.pipe):
            module.deque = _Deque
        for name in ("_python", "_commands", "_closing"):
            sys.modules[f"{package}.{name}"].time = _Clock
        for kind in (self.state.PipeState, self.mailbox.Mailbox, self.mailbox.Bell):
            for name in kind.__slots__:
                setattr(kind, name, _Watched(f"{kind.__name__}.{name}", kind.__dict__[name]))
        commands = self.commands.Commands
        commands.ended = _Flag("ended")

    def _load(self, name: str, texts: dict[str, str]) -> types.ModuleType:
        full = f"{self._folder}.{name}"
        if full in sys.modules:
            return sys.modules[full]
        module = types.ModuleType(full)
        module.__package__ = self._folder
        module.__file__ = str(ENGINE / f"{name}.py")
        sys.modules[full] = module
        exec(compile(texts[f"{name}.py"], module.__file__, "exec"), module.__dict__)
        return module


class _Flag:
    """An attribute without a slot; each access is a point."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        _Now.scheduler.point(self._name, False)
        return instance.__dict__[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        _Now.scheduler.point(self._name, True)
        instance.__dict__[self._name] = value
