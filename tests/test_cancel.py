"""gevent.Timeout and kill, in every wait: they pass through, what they leave behind works, and nothing is lost.

An exception from put() means: not put. From get(): not taken.
"""

import gc
import random
import time
from collections import Counter
from functools import partial

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import ANY, LIMIT, Gate, outcome, real_threads, wait_for

import zgreen

SOON = 0.01  # seconds; what is interrupted would wait for ever


@pytest.fixture(autouse=True)
def no_timers_left():
    """Every timer that the library makes is closed, and nothing stays on the loop."""
    yield
    gc.collect()
    assert not [t for t in gc.get_objects() if isinstance(t, gevent.Timeout) and t.pending]


class Interrupted(Exception):
    """Distinct from all that the library raises or catches."""


def by_timeout(function, *args):
    """Interrupt a call by a gevent.Timeout of the caller's own."""
    with gevent.Timeout(SOON) as timeout, pytest.raises(gevent.Timeout) as raised:
        function(*args)
    assert raised.value is timeout


def by_silent_timeout(function, *args):
    """Interrupt it by a gevent.Timeout that its context swallows."""
    done = False
    with gevent.Timeout(SOON, False):
        function(*args)
        done = True
    assert not done


def by_timeout_with_exception(function, *args):
    """Interrupt it by a gevent.Timeout that raises something of the caller's."""
    with pytest.raises(Interrupted), gevent.Timeout(SOON, Interrupted()):
        function(*args)


def by_kill(function, *args):
    """Kill the greenlet that makes the call."""
    greenlet = gevent.spawn(function, *args)
    gevent.sleep(SOON)
    greenlet.kill(timeout=LIMIT)
    assert isinstance(greenlet.value, gevent.GreenletExit)


def by_kill_with_exception(function, *args):
    """Kill it with an exception of the killer's."""
    greenlet = gevent.spawn(outcome, function, *args)
    gevent.sleep(SOON)
    greenlet.kill(Interrupted(), timeout=LIMIT)
    assert isinstance(greenlet.value, Interrupted)


WAYS = [by_timeout, by_silent_timeout, by_timeout_with_exception, by_kill, by_kill_with_exception]
ways = pytest.mark.parametrize("interrupt", WAYS, ids=lambda way: way.__name__)


def full_push(pump, size=1):
    channel = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=size, pump=pump)
    for i in range(size):
        channel.put(b"%d" % i)
    return channel


def all_from(channel, number):
    """Connect a PULL to *channel* and get what it sends."""
    with zgreen.Channel(zmq.PULL, connect=channel.last_endpoint, pump=channel.pump) as target:
        got = [target.get(timeout=LIMIT) for _ in range(number)]
        assert outcome(target.get_nowait).__class__ is Empty
        return got


@ways
def test_put(pump, interrupt):
    """An interrupted put was not put; the next one is."""
    channel = full_push(pump)
    interrupt(channel.put, b"interrupted")
    interrupt(channel.put, b"interrupted", True, LIMIT)
    assert channel.statistics().putters == 0
    later = gevent.spawn(channel.put, b"1")
    assert all_from(channel, 2) == [b"0", b"1"]
    later.get(timeout=LIMIT)


@ways
def test_get(pump, interrupt):
    """An interrupted get took nothing; the next one gets it."""
    channel = zgreen.Channel(zmq.PULL, bind="inproc://get", pump=pump)
    interrupt(channel.get)
    interrupt(channel.get, True, LIMIT)
    interrupt(next, channel)
    assert channel.statistics().getters == 0
    zgreen.Channel(zmq.PUSH, connect="inproc://get", pump=pump).put(b"x")
    assert channel.get(timeout=LIMIT) == b"x"


@ways
def test_send(pump, interrupt):
    """An interrupted wait for a result changes nothing: the message is sent. An interrupted send() was not put."""
    channel = full_push(pump, 2)
    interrupt(channel.send, b"interrupted")
    with zgreen.Channel(zmq.PULL, connect=channel.last_endpoint, pump=pump) as target:
        assert [target.get(timeout=LIMIT) for _ in range(2)] == [b"0", b"1"]
    wait_for(lambda: not channel.statistics().pending, "the queue to be empty")
    result = zgreen.Channel(zmq.PUSH, bind="inproc://send", pump=pump)
    waiting = result.send(b"2")
    interrupt(waiting.get)
    target = zgreen.Channel(zmq.PULL, connect="inproc://send", pump=pump)
    assert waiting.get(timeout=LIMIT) is None
    assert target.get(timeout=LIMIT) == b"2"


@ways
def test_flush(pump, interrupt):
    """An interrupted flush leaves the queue as it was, and the next flush works."""
    channel = full_push(pump, 3)
    interrupt(channel.flush)
    interrupt(channel.flush, LIMIT)
    assert not channel.flush(SOON)
    assert all_from(channel, 3) == [b"0", b"1", b"2"]
    assert channel.flush(LIMIT)


class _Stuck:
    """A configurator that holds up the owning thread until it is let go: then every command waits."""

    def __init__(self, pump):
        self._gate = Gate()
        self._entered = []
        self._opener = gevent.spawn(zgreen.Channel, zmq.PAIR, configurator=self._wait, pump=pump)

    def _wait(self, socket):
        self._entered.append(1)
        self._gate.wait()

    def __enter__(self):
        wait_for(lambda: self._entered, "the owning thread to be held up")

    def __exit__(self, *exc_info):
        self._gate.open()
        self._opener.get(timeout=LIMIT)


@ways
def test_commands(pump, interrupt):
    """bind, connect and options go on when nobody waits for them any more; the channel works."""
    channel = zgreen.Channel(zmq.PULL, pump=pump)
    with _Stuck(pump):
        interrupt(channel.bind, "inproc://bound")
        interrupt(channel.bind, "nonsense://")
        interrupt(channel.setsockopt, zmq.RCVHWM, 17)
        interrupt(channel.connect, "tcp://127.0.0.1:9")
    assert channel.getsockopt(zmq.RCVHWM) == 17
    zgreen.Channel(zmq.PUSH, connect="inproc://bound", pump=pump).put(b"x")
    assert channel.get(timeout=LIMIT) == b"x"


@ways
def test_opening(pump, interrupt):
    """A Channel() that was interrupted leaves nothing open: its endpoint can be bound by the next one."""
    with _Stuck(pump):
        for _ in range(3):
            interrupt(lambda: zgreen.Channel(zmq.PULL, bind="inproc://opening", pump=pump))
        assert len(pump.channels) == 1
    # the owning thread may not have closed them yet
    open_one = partial(outcome, zgreen.Channel, zmq.PULL, bind="inproc://opening", pump=pump)
    wait_for(lambda: isinstance(open_one(), zgreen.Channel), "the endpoint to be free")
    channel = pump.channels[-1]
    zgreen.Channel(zmq.PUSH, connect="inproc://opening", pump=pump).put(b"x")
    assert channel.get(timeout=LIMIT) == b"x"


@ways
def test_close(pump, interrupt):
    """An interrupted close goes on; puts stay refused, and the next close waits for the same end."""
    channel = full_push(pump, 3)
    interrupt(channel.close, LIMIT)
    assert channel.closed
    assert isinstance(outcome(channel.put, b"late"), zgreen.ClosedError)
    # the linger has not run out: a peer that comes now gets all
    with zgreen.Channel(zmq.PULL, connect=channel.last_endpoint, pump=pump) as target:
        assert channel.close() == 0
        assert [target.get(timeout=LIMIT) for _ in range(3)] == [b"0", b"1", b"2"]


@ways
def test_shutdown(interrupt):
    """An interrupted shutdown goes on; the next one waits for the same end."""
    pump = zgreen.Pump().start()
    channel = full_push(pump, 3)
    target = zgreen.Channel(zmq.PULL, pump=pump)
    interrupt(pump.shutdown, LIMIT)
    assert pump.closed
    assert channel.closed
    assert isinstance(outcome(zgreen.Channel, zmq.PULL, pump=pump), zgreen.ClosedError)
    assert isinstance(outcome(target.get, timeout=LIMIT), zgreen.ClosedError)
    channel.close(0)
    assert pump.shutdown() == 3


@ways
def test_start(interrupt):
    """A start that was interrupted is finished by the next use."""
    pump = zgreen.Pump()
    # it may be ready before it can be interrupted
    greenlet = gevent.spawn(outcome, pump.start)
    gevent.sleep(0)
    greenlet.kill(timeout=LIMIT)
    channel = zgreen.Channel(zmq.PULL, bind="inproc://started", pump=pump)
    interrupt(channel.get)
    pump.shutdown()


def test_the_turn_of_one_who_is_killed_goes_to_the_next(pump):
    """Killing waiters at random while messages come: those who stay get them all."""
    source = zgreen.Channel(zmq.PUSH, bind="inproc://turns", pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://turns", recv_maxsize=1, pump=pump)
    got = []

    def get_one():
        got.append(target.get())

    rng = random.Random(3)
    waiting = []
    for i in range(500):
        waiting += [gevent.spawn(get_one) for _ in range(3)]
        source.put(b"%d" % i)
        gevent.killall(rng.sample(waiting, 2), block=False)
        if rng.random() < 0.5:
            gevent.sleep(0)
        waiting = [greenlet for greenlet in waiting if not greenlet.dead]
    wait_for(lambda: len(got) == 500, "all to be got")
    assert [int(message) for message in got] == list(range(500))
    gevent.killall(waiting)


# ---------------------------------------------------------------------- the storm


class Storm:
    """Greenlets that put and get 10,000 messages while they time out, and are killed and replaced, at random."""

    def __init__(self, source, target, seed, number=10_000, writers=20, readers=20):
        self.source = source
        self.target = target
        self.rng = random.Random(seed)
        self.each = number // writers
        self.number = number
        self.written = [0] * writers  # how many each has put: raised right after put() has returned
        self.got = []  # appended to right after get() has returned
        self.interrupted = Counter()
        self._work = [(self.write, i) for i in range(writers)] + [(self.read, i) for i in range(readers)]
        self._greenlets = {}

    def _in_a_storm(self, call):
        """Make *call* under a random time limit; whether it was done."""
        way = self.rng.randrange(4)
        seconds = self.rng.choice([0, 0.00001, 0.0001, 0.001])
        try:
            if way == 0:
                with gevent.Timeout(seconds):
                    call(None)
            elif way == 1:
                with gevent.Timeout(seconds):
                    call(self.rng.choice([0, 0.0001, LIMIT]))
            elif way == 2:
                call(seconds)
            else:
                call(None)
        except (gevent.Timeout, Full, Empty) as error:
            self.interrupted[type(error).__name__] += 1
            return

    def write(self, who):
        def put(timeout):
            self.source.put([b"%d" % who, b"%d" % self.written[who], b"end"], timeout=timeout)
            self.written[who] += 1

        while self.written[who] < self.each:
            self._in_a_storm(put)

    def read(self, _who):
        def get(timeout):
            self.got.append(self.target.get(timeout=timeout))

        while True:
            self._in_a_storm(get)

    def run(self):
        got, deadline = -1, 0.0
        while len(self.got) < self.number:
            if len(self.got) > got:
                got, deadline = len(self.got), time.monotonic() + LIMIT
            assert time.monotonic() < deadline, f"nothing in {LIMIT:g} s after {got} messages: {self.interrupted}"
            for work in self._work:
                greenlet = self._greenlets.get(work)
                if greenlet is None or (greenlet.dead and isinstance(greenlet.value, gevent.GreenletExit)):
                    self._greenlets[work] = gevent.spawn(*work)
            for greenlet in self.rng.sample(list(self._greenlets.values()), 4):
                if not greenlet.dead:
                    self.interrupted["kill"] += 1
                    greenlet.kill(block=False)
            gevent.sleep(self.rng.choice([0, 0, 0.001]))
        self.end()

    def end(self):
        gevent.killall(list(self._greenlets.values()))

    def check(self):
        assert self.written == [self.each] * len(self.written)
        assert Counter(map(tuple, self.got)) == Counter(
            (b"%d" % who, b"%d" % i, b"end") for who in range(len(self.written)) for i in range(self.each)
        )
        last = dict.fromkeys((b"%d" % who for who in range(len(self.written))), -1)
        for who, number, _ in self.got:
            assert int(number) == last[who] + 1
            last[who] += 1
        for way in ("Timeout", "Full", "Empty", "kill"):
            assert self.interrupted[way] > 10, f"too few to show anything: {self.interrupted}"


@pytest.mark.parametrize(("maxsize", "number", "seed"), [(20, 10_000, 0), (20, 10_000, 1), (1, 2000, 2), (1, 2000, 3)])
def test_storm_of_kills_and_timeouts(pump, maxsize, number, seed):
    """10,000 messages through it: none lost, none doubled, each writer's in order, and no timer is left."""
    hub = gevent.get_hub()
    options = {zmq.SNDHWM: 2, zmq.RCVHWM: 2}
    source = zgreen.Channel(zmq.PUSH, bind="inproc://storm", options=options, send_maxsize=maxsize, pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://storm", options=options, recv_maxsize=maxsize, pump=pump)
    watchers = hub.loop.activecnt
    storm = Storm(source, target, seed, number)
    storm.run()
    storm.check()
    assert source.statistics().putters == target.statistics().getters == 0
    wait_for(lambda: hub.loop.activecnt <= watchers, "the timers to be gone")
    # and the channels work as on the first day
    source.put(b"after")
    assert target.get(timeout=LIMIT) == b"after"


def test_storm_of_timeouts_in_threads(pump):
    """The same beside real threads whose puts and gets time out."""
    options = {zmq.SNDHWM: 2, zmq.RCVHWM: 2}
    source = zgreen.Channel(zmq.PUSH, bind="inproc://threads", options=options, send_maxsize=2, pump=pump)
    target = zgreen.Channel(zmq.PULL, connect="inproc://threads", options=options, recv_maxsize=2, pump=pump)
    each, done, got = 500, [], []

    def write(who):
        rng = random.Random(who)
        i = 0
        while i < each:
            try:
                source.put([b"thread%d" % who, b"%d" % i], timeout=rng.choice([0, 0.0001, 0.001]))
            except Full:
                continue
            i += 1

    def read():
        own = []
        while not done:
            try:
                own.append(target.get(timeout=0.001))
            except Empty:
                continue
            got.append(None)  # counts only
        return own

    with real_threads(4) as spawn:
        writers = [spawn(write, who) for who in range(2)]
        readers = [spawn(read) for _ in range(2)]
        storm = Storm(source, target, 5, number=2000, writers=5, readers=5)
        storm.number = 10**9
        greenlet = gevent.spawn(storm.run)
        wait_for(lambda: len(storm.got) + len(got) == 2000 + 2 * each, "all messages")
        done.append(True)
        greenlet.kill()
        storm.end()
        with gevent.Timeout(LIMIT):
            for writer in writers:
                writer.get()
            messages = storm.got + [message for reader in readers for message in reader.get()]
    expected = [(b"thread%d" % who, b"%d" % i) for who in range(2) for i in range(each)]
    expected += [(b"%d" % who, b"%d" % i, b"end") for who in range(5) for i in range(400)]
    assert Counter(map(tuple, messages)) == Counter(expected)
    assert source.statistics().putters == target.statistics().getters == 0
