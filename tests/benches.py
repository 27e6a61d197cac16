"""An engine that is driven one step at a time, without gevent: what the tests of pipes, commands and ends share.

This thread plays both sides: it is the hub side that pushes, pops and posts, and by `step` the owning thread.
"""

import contextlib
import time

import zmq
from support import LIMIT

from zgreen._engine._api import Plan
from zgreen._engine._mailbox import Mailbox, Reply

NOBODY = "tcp://127.0.0.1:1"  # a port that nobody listens on


class Owner:
    """What a channel is to its pipe: it keeps what it is told."""

    def __init__(self):
        self.refusals = []
        self.end = None  # (the messages left, how many libzmq may hold, the error)

    def refused(self, frames, error):
        self.refusals.append((frames, error))

    def ended(self, left, unsent, error):
        assert self.end is None, "told twice"
        assert unsent.queued == len(left)
        self.end = (left, unsent.held, error)


class EngineBench:
    """An engine, and the hub side's half of it."""

    def __init__(self, engine, context=None, *options):
        """*engine*: its class, which is called with *options* at the end. *context*: one of the caller's."""
        self.context = context or zmq.Context()
        self.hub = Mailbox()
        self.done = []  # replies that have come, in order
        self.ends = 0  # how often the engine has said that it has ended
        self.over = False  # the loop has
        self.engine = engine(self.context, self.hub, self._on_end, *options)

    def _on_end(self):
        self.ends += 1

    def step(self, times=1, timeout=0):
        for _ in range(times):
            assert not self.over
            self.over = not self.engine.step(timeout)
            self.take_mail()

    def take_mail(self):
        calls = []
        self.engine.look(calls)
        while (item := self.hub.take()) is not None:
            calls.append(item)
        for call in calls:
            call()

    def until(self, condition, what="the condition"):
        """Step until *condition* is true."""
        deadline = time.monotonic() + LIMIT
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {LIMIT:g} s for {what}"
            self.step(timeout=0.01)
        return value

    def reply(self):
        return Reply(self.hub, self.done.append)

    def post(self, command, *args):
        """Post a command, by its name."""
        reply = self.reply()
        self.engine.post(reply, getattr(self.engine, command), *args)
        return reply

    def get(self, reply):
        """Step until *reply* is there: its value, or its error raised."""
        self.until(lambda: reply in self.done, "the reply")
        if reply.error is not None:
            raise reply.error
        return reply.value

    def ask(self, command, *args):
        return self.get(self.post(command, *args))

    def make(self, kind=zmq.PUSH, out=1000, in_=1000, overflow="block", out_bytes=None, in_bytes=None):
        """A pipe that has no socket."""
        return self.engine.make_pipe(Owner(), int(kind), out, in_, overflow, False, out_bytes, in_bytes)

    def open(self, kind, bind=(), connect=(), options=(), configurator=None, socket=None, **sizes):
        return self.open_at(kind, bind, connect, options, configurator, socket, **sizes)[0]

    def open_at(self, kind, bind=(), connect=(), options=(), configurator=None, socket=None, **sizes):
        """A pipe, and the last endpoint of its socket."""
        pipe = self.make(kind, **sizes)
        return pipe, self.ask("open", pipe, Plan(socket, int(kind), options, configurator, bind, connect))

    def end(self):
        if not self.over and self.engine.failure is None:
            self.post("stop")
            self.until(lambda: self.over)
        if not self.engine.ended:
            self.engine._end()
        self.take_mail()


@contextlib.contextmanager
def peer(bench, kind, bind=None, connect=None, **options):
    """A plain socket of the engine's context."""
    with bench.context.socket(kind) as socket:
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = int(LIMIT * 1000)
        for name, value in options.items():
            setattr(socket, name, value)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        yield socket


def push(pipe, *messages, reply=None):
    for message in messages:
        assert pipe.try_push(message, reply, 0)
