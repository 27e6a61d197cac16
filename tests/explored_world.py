"""A pump's worth of threads for test_explore_python.py: the owning thread, a hub, foreign threads that wait in line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import zmq
from explored import Code, Epoll, Lock, Socket, _Now
from schedules import Scheduler

SEAM = False
MANY = 10  # places: more than are needed


class Waiter:
    """A greenlet of the hub, or a foreign thread, with its mailbox."""

    def __init__(self, world: World, mailbox: Any, hub: bool) -> None:
        self._world = world
        self.mailbox = mailbox
        self.hub = hub
        self.woken = False  # the hub's: it has its turn
        self.bell = world.code.mailbox.Bell(mailbox, lambda: None)

    def wait(self) -> None:
        """As line._GreenletWaiter.get and link.wait_for_mail."""
        if self.hub:
            self.woken = False
            while not self.woken:
                self._world.hub_pass()
            return
        mailbox = self.mailbox
        if mailbox.sleeping():
            self._world.sleep_on(mailbox, "in line")
            mailbox.signaler.drain()
        mailbox.asleep = False
        while (item := mailbox.take()) is not None:
            item()


class Line:
    """As _hub/line.py: only the head takes its turn, the bell is the head's, who leaves has the next one look."""

    def __init__(self, world: World, ready: Callable[[], bool], listen: Callable[[Any, int], None]) -> None:
        self._ready = ready
        self._listen = listen
        self._bell = world.code.mailbox.Bell(world.hub_mail, self.dispatch)
        self._lock = Lock()
        self._waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def wait_turn(self, me: Waiter, attempt: Callable[[], bool]) -> None:
        with self._lock:
            self._waiters.append(me)
            self._tell_pipe()
        while not (self._waiters[0] is me and attempt()):
            me.wait()
        with self._lock:
            self._waiters.remove(me)
            self._tell_pipe()
        self.nudge()

    def _tell_pipe(self) -> None:
        bell = None
        if self._waiters:
            head = self._waiters[0]
            bell = self._bell if head.hub else head.bell
        self._listen(bell, len(self._waiters))

    def _head(self) -> Waiter | None:
        """The head, if it could go on. It may leave meanwhile, and then sees to the next."""
        return next(iter(tuple(self._waiters)), None) if self._waiters and self._ready() else None

    def nudge(self) -> None:
        head = self._head()
        if head is not None:
            (self._bell if head.hub else head.bell).ring()

    def dispatch(self) -> None:
        """The hub, when it was rung for this line."""
        head = self._head()
        if head is None:
            return
        if head.hub:
            head.woken = True
        else:
            head.bell.ring()


class World:
    """The engine, its pipes and its sockets, and the hub's half of it."""

    def __init__(self, code: Code, scheduler: Scheduler) -> None:
        _Now.scheduler = scheduler
        self.code = code
        self.scheduler = scheduler
        self.hub_mail = code.mailbox.Mailbox()
        self.hub_mail.asleep = True  # as link.start says
        self.engine = code.python.PythonEngine(None, self.hub_mail, lambda: None, Epoll, owns_context=False)
        self.greenlet = Waiter(self, self.hub_mail, True)
        self.pipes: list[Any] = []
        self.put: list[bytes] = []
        self.got: list[bytes] = []
        self.unsent: list[bytes] = []
        self.refusals: list[bytes] = []
        self.replies: list[Any] = []  # names, as they came
        self.ends = 0  # of pipes

    # ---- set-up

    def make_pipe(self, socket: Socket, out: int = MANY, into: int = MANY, overflow: str = "block") -> Any:
        pipe = self.engine.make_pipe(self, zmq.DEALER, out, into, overflow, False)
        pipe.socket = socket
        pipe.send_frame = socket.send
        pipe.recv_frame = socket.recv
        pipe.fd = socket.fd
        self.engine._by_fd[pipe.fd] = pipe
        self.engine._listen(pipe)
        self.engine._touch(pipe)
        self.pipes.append(pipe)
        self.putters = Line(self, lambda: self.ends > 0 or pipe.wakes(), pipe.listen_for_room)
        self.getters = Line(self, lambda: pipe.waiting() > 0, pipe.listen_for_message)
        return pipe

    def start(self) -> None:
        for _ in range(3):  # it has parked what it can
            self.engine.step(0)
        self.scheduler.spawn("owner", self._own, must_end=False)

    def _own(self) -> None:
        while self.engine.step(None):
            pass
        self.engine._end()

    def spawn_hub(self, body: Callable[[], Any]) -> None:
        def run() -> None:
            body()
            self.scheduler.done()
            while True:  # it goes on listening
                self.hub_pass()

        self.scheduler.spawn("hub", run)

    def spawn_foreign(self, body: Callable[[Waiter], Any]) -> None:
        me = Waiter(self, self.code.mailbox.Mailbox(), False)
        self.scheduler.spawn("foreign", lambda: body(me))

    # ---- what the owning thread tells

    def refused(self, frames: bytes, _error: BaseException) -> None:
        self.refusals.append(frames)

    def ended(self, unsent: list[Any], _held: int, error: BaseException | None) -> None:
        assert error is None
        self.unsent += [frames for frames, _ in unsent]
        self.ends += 1
        self.putters.nudge()  # as Channel.ended does

    # ---- hub side

    def sleep_on(self, mailbox: Any, what: str) -> None:
        readable, fd = self.scheduler.readable, mailbox.signaler.fileno()
        self.scheduler.point(fd, False)
        self.scheduler.wait(lambda: readable[fd], what)

    def hub_pass(self) -> None:
        """As link._on_ring and link.take_mail."""
        self.sleep_on(self.hub_mail, "in the hub's loop")
        self.hub_mail.signaler.drain()
        inbox: deque[Any] = deque()
        self.hub_mail.move(len(self.hub_mail), inbox)
        for item in inbox:
            item()
        if not self.hub_mail.sleeping():
            self.hub_mail.signaler.ring()

    def reply(self, name: str) -> Any:
        return self.code.mailbox.Reply(self.hub_mail, lambda _reply: self.replies.append(name))

    def try_put(self, pipe: Any, message: bytes, reserved: int = 0, reply: Any = None) -> bool:
        if not pipe.try_push(message, reply, reserved):
            return False
        self.put.append(message)
        return True

    def put_waiting(self, pipe: Any, me: Waiter, message: bytes) -> None:
        if not self.try_put(pipe, message, len(self.putters)):
            self.putters.wait_turn(me, lambda: self.try_put(pipe, message) or self.ends > 0)

    def get_waiting(self, pipe: Any, me: Waiter) -> None:
        message = pipe.try_pop(len(self.getters))

        def attempt() -> bool:
            nonlocal message
            message = pipe.try_pop(0)
            return message is not None

        if message is None:
            self.getters.wait_turn(me, attempt)
        self.got.append(message)

    # ---- in the end

    def check(self) -> None:
        """The owner sleeps, has left nothing undone, and its flags say what is so."""
        assert not len(self.engine.mailbox), "mail was not taken"
        for pipe in self.pipes:
            if pipe.fd < 0:
                assert not pipe.outgoing
                continue
            assert not pipe.ready
            assert not pipe.owes_ring, "the hub believes that it will be told of room"
            assert pipe.idle == (len(pipe.outgoing) == 0)
            assert pipe.starved or pipe.credit() > 0
            assert not pipe.starved or len(pipe.incoming) > pipe.low
            counted = pipe.received - pipe.dropped - len(pipe.incoming)
            assert counted == len(self.got) or len(self.pipes) > 1
