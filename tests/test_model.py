"""A property: whatever is done to two channels in whatever order, they do what a model made of deques says.

The model knows what was put and is not yet got, in order. It does not know where a message is on its way; so the rules
wait until the pipes are at rest wherever that decides between two outcomes.
"""

import contextlib
from collections import deque

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import ANY, LIMIT, block_hub_until, inproc, outcome, wait_for

import zgreen
from zgreen import ClosedError

SOON = 0.002  # seconds: a timeout that the model expects to run out

messages = st.one_of(
    st.binary(max_size=8), st.lists(st.binary(max_size=8), min_size=2, max_size=4), st.text(max_size=4).map(str)
)

drawn_sides = st.sampled_from(["left", "right"])


def received(message):
    """What get() gives for what was put."""
    if isinstance(message, list):
        return message
    return message.encode() if isinstance(message, str) else message


class Direction:
    """The model of one direction: what was put here and not got there."""

    def __init__(self):
        self.way = deque()
        self.waiters = deque()  # greenlets in get(), in the order they came


class Channels(RuleBasedStateMachine):
    """Two ends, left and right. They are made, used, closed and made again; the one that stays connects anew."""

    def __init__(self):
        super().__init__()
        self.pump = zgreen.Pump("model").start()
        self.ends = {}
        self.ways = {}

    @initialize(
        kinds=st.sampled_from([("PUSH", "PULL"), ("PAIR", "PAIR")]),
        transport=st.sampled_from(["tcp", "inproc"]),
        size=st.sampled_from([1, 2, 10]),
    )
    def start(self, kinds, transport, size):
        self.kinds = dict(zip(("left", "right"), kinds, strict=True))
        self.size = size
        # the right end is the one that is bound, so the endpoint outlives it where it is closed and made again
        self.endpoint = inproc() if transport == "inproc" else ANY
        self.ends["right"] = self.make("right")
        self.endpoint = self.ends["right"].last_endpoint
        self.ends["left"] = self.make("left")
        self.forget()

    def make(self, side):
        """A small high-water mark on both sides, so that all four buffers are met."""
        where = {"bind" if side == "right" else "connect": self.endpoint}
        options = {zmq.SNDHWM: 1, zmq.RCVHWM: 1, zmq.RECONNECT_IVL: 1, zmq.LINGER: int(LIMIT * 1000)}
        return zgreen.Channel(
            self.kinds[side], pump=self.pump, send_maxsize=self.size, recv_maxsize=self.size, options=options, **where
        )

    def forget(self):
        """Nothing is under way."""
        self.ways = {"left": Direction(), "right": Direction()}  # by where it is put

    # ------------------------------------------------------------------ helpers

    def sender(self, side):
        return self.ends[side], self.ways[side]

    def receiver(self, side):
        """The end where `side`'s messages arrive."""
        return self.ends["right" if side == "left" else "left"]

    def side(self, drawn):
        """One that sends. (What is drawn must not depend on what has happened: Hypothesis wants to draw it again.)"""
        return drawn if drawn in self.sides() else "left"

    def sides(self):
        return ["left"] if self.kinds["left"] == "PUSH" else ["left", "right"]

    def both_open(self):
        return bool(self.ends) and not any(end.closed for end in self.ends.values())

    def settle(self, side):
        """Wait until the next message is there to be got, if there is one, and has been given to who waits for it."""
        way = self.ways[side]
        while way.waiters and way.way:
            first = way.waiters.popleft()
            assert first.get(timeout=LIMIT) == way.way.popleft()
        if way.way:
            receiver = self.receiver(side)
            wait_for(lambda: receiver.statistics().waiting, "the next message")

    # ------------------------------------------------------------------ rules

    @precondition(lambda self: self.both_open())
    @rule(side=drawn_sides, message=messages, how=st.sampled_from(["put", "nowait", "timeout", "send"]))
    def put(self, side, message, how):
        """It is put, or Full means that it was not."""
        side = self.side(side)
        channel, way = self.sender(side)
        if how in ("put", "send"):  # would wait for ever if nobody got: so there must be room
            if channel.statistics().pending >= self.size:
                return
            channel.put(message) if how == "put" else channel.send(message)
        else:
            try:
                channel.put_nowait(message) if how == "nowait" else channel.put(message, timeout=SOON)
            except Full:
                assert len(way.way) >= self.size
                return
        way.way.append(received(message))

    @precondition(lambda self: self.both_open())
    @rule(side=drawn_sides, how=st.sampled_from(["get", "nowait", "timeout"]))
    def get(self, side, how):
        """The oldest, or Empty if there is none."""
        side = self.side(side)
        self.settle(side)
        way, channel = self.ways[side], self.receiver(side)
        get = {"get": channel.get, "nowait": channel.get_nowait, "timeout": lambda: channel.get(timeout=SOON)}[how]
        if way.way and not way.waiters:
            assert get() == way.way.popleft()
        elif how != "get":
            with pytest.raises(Empty):
                get()

    @precondition(lambda self: self.both_open())
    @rule(side=drawn_sides)
    def wait_in_a_greenlet(self, side):
        """It gets what comes next, in its turn."""
        side = self.side(side)
        way = self.ways[side]
        if len(way.waiters) < 3:
            way.waiters.append(gevent.spawn(outcome, self.receiver(side).get))
            gevent.sleep(0)  # it is in the line, or has what was there
            gevent.sleep(0)  # it may have let others run first

    @precondition(lambda self: self.both_open())
    @rule(side=drawn_sides, how=st.sampled_from(["kill", "Timeout"]), index=st.integers(0, 2))
    def leave(self, side, how, index):
        """A killed or timed out getter has taken nothing."""
        side = self.side(side)
        self.settle(side)
        way = self.ways[side]
        if way.way:
            return
        if how == "kill" and way.waiters:
            index %= len(way.waiters)
            way.waiters[index].kill()
            del way.waiters[index]
        else:
            with gevent.Timeout(SOON, False):
                self.receiver(side).get()
                raise AssertionError("there was nothing to get")

    @precondition(lambda self: self.both_open())
    @rule(side=drawn_sides, message=messages)
    def killed_at_the_moment_it_arrives(self, side, message):
        """The message is there, the hub has not run, the one who waits for it is killed: one of the two has it."""
        side = self.side(side)
        self.settle(side)
        channel, way = self.sender(side)
        if way.way or way.waiters:
            return
        receiver = self.receiver(side)
        getter = gevent.spawn(receiver.get)
        wait_for(lambda: receiver.statistics().getters)
        channel.put_nowait(message)
        block_hub_until(lambda: receiver.statistics().waiting)
        getter.kill()
        got = receiver.get_nowait() if isinstance(getter.value, gevent.GreenletExit) else getter.value
        assert got == received(message)

    @precondition(lambda self: self.both_open())
    @rule()
    def flush(self):
        """True if all is with libzmq, False if it takes no more for now; nothing is moved or lost by it."""
        for side in self.sides():
            channel, way = self.sender(side)
            assert channel.flush(timeout=SOON) or way.way

    @precondition(lambda self: self.both_open())
    @rule()
    def close_the_sender_while_the_receiver_gets(self):
        """Everything that was put is delivered: nothing is lost between living ends. Then it is made again."""
        channel, way = self.sender("left")
        self.drain("right")  # what came the other way would be lost with the end
        waiters = self.leave_all("right", stay=True)
        closing = gevent.spawn(channel.close)
        expected = list(way.way)
        got = [waiter.get(timeout=LIMIT) for waiter in list(way.waiters)[: len(expected)]]
        for _ in got:
            way.waiters.popleft()
        receiver = self.receiver("left")
        while len(got) < len(expected):
            got.append(receiver.get(timeout=LIMIT))
        assert got == expected
        way.way.clear()
        assert closing.get(timeout=LIMIT) == 0
        assert all(isinstance(w.get(timeout=LIMIT), ClosedError) for w in waiters)
        self.leave_all("left")
        self.check_closed(channel)
        self.made_again("left")

    @precondition(lambda self: self.both_open())
    @rule()
    def restart_the_receiver(self):
        """What it had received can still be got, then ClosedError; the sender's own goes to the next one."""
        for side in self.sides():
            self.drain(side)
        receiver = self.receiver("left")
        waiters = self.leave_all("left", stay=True)
        self.leave_all("right")
        assert receiver.close() == 0
        assert all(isinstance(w.get(timeout=LIMIT), ClosedError) for w in waiters)
        self.check_closed(receiver)
        self.made_again("right")

    @precondition(lambda self: self.both_open())
    @rule(extra=st.integers(0, 3))
    def close_the_receiver_with_messages_there(self, extra):
        """What was received before the close comes first, in order, then the end."""
        for side in self.sides():
            self.drain(side)
        for side in self.sides():
            self.leave_all(side)
        receiver, sender = self.receiver("left"), self.ends["left"]
        count = min(extra, self.size)
        for i in range(count):
            sender.put(b"%d" % i)
        wait_for(lambda: receiver.statistics().waiting == count)
        receiver.close()
        assert list(receiver) == [b"%d" % i for i in range(count)]
        self.check_closed(receiver)
        self.made_again("right")

    # ------------------------------------------------------------------ what the rules share

    def drain(self, side):
        """Get all that is under way from one end."""
        way = self.ways[side]
        self.settle(side)
        while way.way:
            assert self.receiver(side).get(timeout=LIMIT) == way.way.popleft()

    def leave_all(self, side, stay=False):
        """Those who wait for this side's messages leave, or are told by the end that comes."""
        waiters = list(self.ways[side].waiters)
        self.ways[side].waiters.clear()
        if not stay:
            gevent.killall(waiters)
            return []
        return waiters

    def made_again(self, side):
        """The end that was closed is made again, and the two have come together.

        libzmq may take a message for the peer that has gone, and lose it with it: so until one has gone through, there
        are only some that nobody looks for.
        """
        if self.kinds["left"] == "PAIR" or (side == "right" and self.endpoint.startswith("inproc")):
            # a PAIR does not connect again by itself, nor does who is connected over inproc: so both begin anew
            for end in self.ends.values():
                end.close(linger=0)
            self.ends["right"] = self.make("right")
            self.ends["left"] = self.make("left")
        else:
            self.ends[side] = self.make(side)
        self.forget()
        sender, receiver = self.ends["left"], self.ends["right"]

        def through():
            with contextlib.suppress(Full):
                sender.put_nowait("probe")
            return receiver.statistics().waiting

        wait_for(through, "the ends to come together")
        putting = gevent.spawn(sender.put, "last")
        wait_for(
            lambda: outcome(receiver.get_nowait) == b"last",
            f"the last probe: {self.kinds} {side} {sender} {receiver} {sender.statistics()} {receiver.statistics()}",
        )
        putting.get(timeout=LIMIT)

    def check_closed(self, channel):
        """Every use of a closed channel is a ClosedError."""
        assert channel.closed
        for use in (lambda: channel.put("x"), lambda: channel.put_nowait("x"), channel.get, channel.get_nowait):
            error = outcome(use)
            assert isinstance(error, (ClosedError, TypeError))  # TypeError: it cannot do that at all
        assert channel.close() == 0

    # ------------------------------------------------------------------ always

    @invariant()
    def no_more_than_the_queues_hold(self):
        for end in self.ends.values():
            statistics = end.statistics()
            assert statistics.pending <= self.size
            assert statistics.waiting <= self.size
            assert statistics.dropped == statistics.refused == 0

    def teardown(self):
        """What is still under way comes in order; then everything ends."""
        try:
            if self.both_open():
                for side in self.sides():
                    self.drain(side)
        finally:
            for way in self.ways.values():
                gevent.killall(list(way.waiters))
            self.pump.shutdown(linger=0, timeout=LIMIT)


Channels.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestChannels = Channels.TestCase
