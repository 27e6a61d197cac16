"""Who waits for room or for a message, over real pipes: the order of every race is forced.

There is no socket and no engine: the test does by hand what the owning thread does to a pipe, at the moment it likes.
"""

import random
import sys

import gevent
import pytest
import zmq
from gevent import monkey
from gevent.queue import Empty, Full
from support import LIMIT, Gate, Interrupted, block_hub_until, interruptions, outcome, real_threads, wait_for

from zgreen._engine._mailbox import Mailbox
from zgreen._engine._pipe import Pipe
from zgreen._engine._pipe_state import Streak
from zgreen._hub.line import _GreenletWaiter
from zgreen._hub.link import Link
from zgreen._hub.queues import RecvQueue, SendQueue
from zgreen._hub.wait import Deadline, TimedOut, wait_within

real_sleep = monkey.get_original("time", "sleep")


class Ended(Exception):
    """What callers get after the end."""


class Bench:
    """A pipe, its two queues, and the owning thread's hands."""

    def __init__(self, room=2, credit=1000):
        self.link = Link(gevent.get_hub())
        self.link.start()
        self.pipe = Pipe(Mailbox(), Streak(), None, int(zmq.PAIR), room, credit, "block", False)
        self.error = None
        self.sends = SendQueue(self.link, self.pipe, lambda: self.error)
        self.receives = RecvQueue(self.link, self.pipe, lambda: self.error)

    # --- the owning thread

    def deliver(self, *messages, ring=True):
        for message in messages:
            self.pipe.deliver(message)
        bell = self.pipe.message_bell
        if ring and bell is not None:
            bell.ring()
        return bell

    def take(self, count=1, ring=True):
        taken = [self.pipe.outgoing.popleft()[0] for _ in range(count)]
        if ring and self.pipe.room_bell is not None:
            self.pipe.room_bell.ring()
        return taken

    # --- the hub side

    def get(self, block=True, timeout=None):
        return self.receives.get(block, timeout)

    def put(self, message, block=True, timeout=None):
        self.sends.put(message, None, block, timeout)

    def end(self):
        self.error = Ended()
        self.sends.line.nudge()
        self.receives.line.nudge()

    def getters(self, count, *args):
        greenlets = [gevent.spawn(outcome, self.get, *args) for _ in range(count)]
        self.settle()
        return greenlets

    def settle(self):
        """Let the hub do all that is to be done now."""
        for _ in range(3):
            gevent.sleep(0)

    def waiting(self, count):
        wait_for(lambda: len(self.receives.line) + len(self.sends.line) == count, f"{count} waiters")


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.end()
    wait_for(lambda: not len(bench.receives.line) and not len(bench.sends.line), "the waiters to leave")
    assert bench.pipe.message_bell is None
    assert bench.pipe.room_bell is None
    bench.link.stop()


def values(greenlets):
    return [g.get(timeout=LIMIT) for g in greenlets]


# ---------------------------------------------------------------------- turns


def test_first_come_first_served(bench):
    """Getters by turn, however many messages come at once; each ring serves all that it can."""
    getters = bench.getters(5)
    bench.deliver("a", "b", "c")
    assert values(getters[:3]) == ["a", "b", "c"]
    assert len(bench.receives.line) == 2
    bench.deliver("d", "e")
    assert values(getters[3:]) == ["d", "e"]


def test_putters_by_turn(bench):
    bench.put("0")
    bench.put("1")
    putters = [gevent.spawn(bench.put, str(i)) for i in range(2, 6)]
    bench.waiting(4)
    assert bench.take() == ["0"]
    gevent.joinall(putters[:1], timeout=LIMIT)
    assert [p.dead for p in putters] == [True, False, False, False]
    assert bench.take(2) == ["1", "2"]
    gevent.joinall(putters[1:3], timeout=LIMIT)
    assert bench.take(2) == ["3", "4"]
    gevent.joinall(putters, timeout=LIMIT, raise_error=True)
    assert bench.take() == ["5"]


def test_the_bell_is_the_heads(bench):
    """The owning thread tells whoever is first, be it a greenlet or a thread, and nobody if nobody waits."""
    assert bench.pipe.message_bell is None
    first = bench.getters(1)[0]
    of_greenlets = bench.pipe.message_bell
    assert of_greenlets is not None
    with real_threads(2) as spawn:
        threads = [spawn(outcome, bench.get)]
        bench.waiting(2)
        assert bench.pipe.message_bell is of_greenlets
        threads.append(spawn(outcome, bench.get))
        bench.waiting(3)
        last = bench.getters(1)[0]
        first.kill()
        of_thread = bench.pipe.message_bell
        assert of_thread is not of_greenlets
        bench.deliver("a")
        assert threads[0].get() == "a"
        assert bench.pipe.message_bell not in (of_thread, of_greenlets)
        bench.deliver("b")
        assert threads[1].get() == "b"
        assert bench.pipe.message_bell is of_greenlets
        bench.deliver("c")
        assert values([last]) == ["c"]


def test_a_newcomer_does_not_overtake(bench):
    """What is there for those who wait is theirs, though they have not run yet."""
    getter = bench.getters(1)[0]
    bench.deliver("x")
    with pytest.raises(Empty):
        bench.get(block=False)
    bench.deliver("y")
    assert bench.get(block=False) == "x"  # two, one waits: one is free
    assert values([getter]) == ["y"]
    bench.put("0")
    bench.put("1")
    putter = gevent.spawn(bench.put, "2")
    bench.waiting(1)
    bench.take()
    with pytest.raises(Full):
        bench.put("3", block=False)
    putter.get(timeout=LIMIT)


def test_a_spurious_ring(bench):
    """Nobody is there, or there is nothing: no harm."""
    getters = bench.getters(2)
    bell = bench.deliver(ring=True)
    bench.settle()
    assert len(bench.receives.line) == 2
    bench.deliver("a", "b")
    assert values(getters) == ["a", "b"]
    bell.ring()
    bench.settle()


# ---------------------------------------------------------------------- the head leaves while it is told


def test_killed_before_it_is_woken(bench):
    """The ring is on its way; the kill comes first. The next one gets the message."""
    head, next_ = bench.getters(2)
    bench.deliver("x")  # in the mailbox of a hub that has not run
    head.kill(block=False)
    assert values([next_]) == ["x"]
    assert isinstance(head.value, gevent.GreenletExit)


def test_killed_just_after_it_was_woken(bench):
    """The kill comes in the same pass of the loop, just after the head was woken: by then it has its message."""
    head, next_ = bench.getters(2)
    bench.deliver("x", ring=False)
    gevent.get_hub().loop.run_callback(bench.receives.line.dispatch)
    head.kill(block=False)
    assert values([head]) == ["x"]
    assert not next_.dead


def test_killed_and_woken_in_one_switch(bench, monkeypatch):
    """The waiter has been told but has not run when the kill comes: it has taken nothing."""
    woken = []

    class Deaf(_GreenletWaiter):
        def switch(self, _value):
            head.kill(block=False)
            woken.append(1)  # told; the greenlet itself never comes to run its attempt

    with monkeypatch.context() as patch:
        patch.setattr("zgreen._hub.line._GreenletWaiter", Deaf)
        head = bench.getters(1)[0]
    next_ = gevent.spawn(outcome, bench.get)
    bench.waiting(2)
    bench.deliver("x")
    assert values([next_]) == ["x"]
    assert woken


@pytest.mark.parametrize("way", ["timeout=", "gevent.Timeout"])
def test_timed_out_while_the_ring_is_on_its_way(bench, way):
    """Timer and ring in one pass of the loop: whichever is first, the message goes to exactly one."""

    def get():
        if way == "timeout=":
            return bench.get(timeout=0.01)
        with gevent.Timeout(0.01, Empty):
            return bench.get()

    head = gevent.spawn(outcome, get)
    next_ = gevent.spawn(outcome, bench.get)
    bench.waiting(2)
    real_sleep(0.02)  # the hub does not run: the timer is due
    bench.deliver("x")
    first = head.get(timeout=LIMIT)
    if isinstance(first, Empty):
        assert values([next_]) == ["x"]
    else:
        assert first == "x"
        bench.deliver("y")
        assert values([next_]) == ["y"]


def test_timed_out_between_the_message_and_the_ring(bench):
    """The owning thread has appended and not yet rung: the leaver looks, and tells the next."""
    head = gevent.spawn(outcome, bench.get, True, 0.01)
    next_ = gevent.spawn(outcome, bench.get)
    bench.waiting(2)
    bell = bench.pipe.message_bell
    head_left = []
    head.rawlink(head_left.append)
    # appended in the moment in which the head leaves: after its last look, before the line is told
    original = bench.receives.line._listen

    def listen(new, waiting):
        if not head_left and len(bench.receives.line) == 1:
            bench.deliver("x", ring=False)
            bench.receives.line._listen = original
        original(new, waiting)

    bench.receives.line._listen = listen
    assert isinstance(head.get(timeout=LIMIT), Empty)
    assert values([next_]) == ["x"]
    bell.ring()  # late
    bench.settle()


def test_the_last_one_leaves_a_message_behind(bench):
    """Nobody waits any more; who comes next finds it."""
    head = bench.getters(1)[0]
    bench.deliver("x")
    head.kill(block=False)
    bench.settle()
    assert bench.get(block=False) == "x"


def test_a_killed_putter_leaves_its_room_to_the_next(bench):
    bench.put("0")
    bench.put("1")
    head = gevent.spawn(outcome, bench.put, "2")
    next_ = gevent.spawn(outcome, bench.put, "3")
    bench.waiting(2)
    bench.take()
    head.kill(block=False)
    assert values([next_]) == [None]
    assert bench.take(2) == ["1", "3"]


def test_the_middle_one_leaves(bench):
    getters = bench.getters(3)
    getters[1].kill()
    bench.deliver("a", "b")
    assert values([getters[0], getters[2]]) == ["a", "b"]


def test_a_signal_handler_that_raises_leaves_nobody_in_line(bench):
    """Wherever it does so: on the way into the line, at the turn, or on the way out."""
    line = bench.receives.line
    number = -1
    for number in interruptions(lambda: line.wait_turn(lambda: True, Deadline(None)), "_hub/line.py"):
        assert not line.waiters(), f"at place {number}"
        assert bench.pipe.message_bell is None
        assert line._now == 0
    assert number > 5
    getter = bench.getters(1)[0]
    bench.deliver("x")
    assert values([getter]) == ["x"]


def test_a_signal_handler_that_raises_as_turns_are_about_to_be_given(bench, hub_errors):
    """gevent forgets a callback that raises: whoever waits gets the turn all the same."""

    def interrupt(frame, event, _arg):
        if event == "call" and frame.f_code is bench.receives.line.dispatch.__code__:
            sys.setprofile(None)
            raise Interrupted

    getter = bench.getters(1)[0]
    for message in ("x", "y"):
        bench.deliver(message, ring=False)
        gevent.get_hub().loop.run_callback(sys.setprofile, interrupt)
        bench.receives.line.nudge()
        assert values([getter]) == [message]
        assert [type(error) for _, error in hub_errors] == [Interrupted]
        hub_errors.clear()
        getter = bench.getters(1)[0]


def test_a_signal_handler_that_raises_leaves_no_timer(monkeypatch):
    """One that is left goes off somewhere else."""
    timers = []

    class Noted(gevent.Timeout):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            timers.append(self)

    monkeypatch.setattr(gevent, "Timeout", Noted)
    number = -1
    for number in interruptions(lambda: wait_within(LIMIT, lambda: None), "_hub/wait.py", "gevent/timeout.py"):
        assert not [timer for timer in timers if timer.pending], f"at place {number}"
    assert number >= 5


# ---------------------------------------------------------------------- foreign threads


def test_a_thread_ahead_of_a_greenlet(bench):
    """The owning thread wakes the thread, which tells the hub, asleep or not."""
    with real_threads(1) as spawn:
        thread = spawn(outcome, bench.get)
        bench.waiting(1)
        greenlet = bench.getters(1)[0]
        bench.deliver("a", "b")
        assert values([greenlet]) == ["b"]
        assert thread.get() == "a"


def test_a_greenlet_ahead_of_a_thread(bench):
    greenlet = bench.getters(1)[0]
    with real_threads(1) as spawn:
        thread = spawn(outcome, bench.get)
        bench.waiting(2)
        bench.deliver("a", "b")
        assert thread.get() == "b"
        assert values([greenlet]) == ["a"]


def test_a_thread_at_the_head_needs_no_hub(bench):
    """This thread, and with it the hub, does not run: the foreign thread gets its message all the same."""
    with real_threads(1) as spawn:
        gate = Gate()
        thread = spawn(lambda: (bench.get(), gate.open()))
        bench.waiting(1)
        bench.deliver("x")
        gate.wait()
        thread.get()


def test_a_thread_behind_a_thread_needs_no_hub(bench):
    with real_threads(3) as spawn:
        gates = [Gate() for _ in range(3)]
        threads = [spawn(lambda g=g: (bench.get(), g.open())) for g in gates]
        bench.waiting(3)
        bench.deliver("a", "b", "c")
        for gate in gates:
            gate.wait()
        for thread in threads:
            thread.get()


def test_a_thread_times_out_between_the_message_and_the_ring(bench):
    """It tells the next, a greenlet, though it has not been told itself."""
    with real_threads(1) as spawn:
        thread = spawn(outcome, bench.get, True, 0.05)
        bench.waiting(1)
        greenlet = bench.getters(1)[0]
        bell = bench.pipe.message_bell
        bench.pipe.incoming.append("x")  # and no ring yet
        result = thread.get()
        if isinstance(result, Empty):
            assert values([greenlet]) == ["x"]
        bell.ring()
        bench.deliver("y")
        assert values([greenlet]) in (["x"], ["y"])


def test_a_thread_rung_between_its_look_and_its_wait(bench):
    """The attempt fails, the ring comes, then it waits: it does not sleep."""
    line = bench.receives.line
    attempts = []

    def attempt():
        attempts.append(1)
        if len(attempts) == 1:
            bench.deliver("x")  # rings this thread's bell
            return False
        return bench.pipe.try_pop(0) is not None

    with real_threads(1) as spawn:
        spawn(line.wait_turn, attempt, Deadline(LIMIT)).get()
    assert len(attempts) == 2


def test_a_greenlet_rung_between_its_look_and_its_wait(bench):
    line = bench.receives.line
    attempts = []

    def attempt():
        attempts.append(1)
        if len(attempts) == 1:
            bench.deliver("x")
            return False
        return bench.pipe.try_pop(0) is not None

    line.wait_turn(attempt, Deadline(LIMIT))
    assert len(attempts) == 2


def test_a_turn_that_never_comes(bench):
    """TimedOut, in a greenlet and in a thread, and nobody is left in the line."""
    with pytest.raises(TimedOut):
        bench.receives.line.wait_turn(lambda: False, Deadline(0.01))
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, bench.receives.line.wait_turn, lambda: False, Deadline(0.01)).get(), TimedOut)
    assert len(bench.receives.line) == 0


# ---------------------------------------------------------------------- the end


def test_the_end_wakes_the_whole_line(bench):
    """Greenlets and threads, in whatever order they stand."""
    with real_threads(2) as spawn:
        waiting = bench.getters(2)
        waiting.append(spawn(outcome, bench.get))
        bench.waiting(3)
        waiting += bench.getters(2)
        waiting.append(spawn(outcome, bench.get))
        bench.waiting(6)
        bench.end()
        assert [type(w.get()) for w in waiting] == [Ended] * 6


def test_the_end_gives_what_is_there_first(bench):
    getters = bench.getters(3)
    bench.deliver("a", "b", ring=False)
    bench.end()
    assert [v if isinstance(v, str) else type(v) for v in values(getters)] == ["a", "b", Ended]


def test_the_end_seen_by_a_thread_before_the_hub(bench):
    """The hub does not run; a thread at the head is told by the owning thread's ring."""
    with real_threads(1) as spawn:
        gate = Gate()
        thread = spawn(lambda: (outcome(bench.get), gate.open()))
        bench.waiting(1)
        bench.error = Ended()
        bench.pipe.message_bell.ring()
        gate.wait()
        thread.get()


def test_killed_while_the_end_is_told(bench):
    """The head is killed in the pass that brings the end: the rest are told all the same."""
    getters = bench.getters(4)
    bench.end()
    getters[0].kill(block=False)
    assert [type(v) for v in values(getters[1:])] == [Ended] * 3


def test_the_last_message_comes_just_before_the_end(bench):
    """After a getter's look, and before the getter learns of the end: it gets the message, then the end."""

    class Late:
        """The pipe, into which the owning thread puts the last message just behind a look that finds none."""

        waiting = bench.pipe.waiting
        last = None

        def try_pop(self, reserved):
            message = bench.pipe.try_pop(reserved)
            if message is None and self.last:
                bench.pipe.deliver(self.last)
                self.last = None
            return message

    source = Late()
    receives = RecvQueue(bench.link, bench.pipe, lambda: bench.error, source)
    getter = gevent.spawn(receives.get, True, None)
    wait_for(lambda: len(receives.line) == 1)
    source.last, bench.error = "to a waiter", Ended()
    receives.line.nudge()
    assert getter.get(timeout=LIMIT) == "to a waiter"
    source.last = "to a newcomer"
    assert receives.get(True, None) == "to a newcomer"
    assert isinstance(outcome(receives.get, True, None), Ended)


def test_while_the_process_ends_waiters_are_left_to_wait(bench):
    """An error would be a traceback of no use, of a greenlet that the hub happens to run."""
    bench.put("1"), bench.put("2")
    waiting = [*bench.getters(1), gevent.spawn(outcome, bench.put, "3")]
    bench.waiting(2)
    bench.link.exiting = True
    bench.end()
    bench.settle()
    assert [greenlet.dead for greenlet in waiting] == [False, False]
    assert isinstance(outcome(bench.get), Ended), "a newcomer is not a waiter"
    bench.link.exiting = False
    bench.end()
    assert [type(value) for value in values(waiting)] == [Ended, Ended]


# ---------------------------------------------------------------------- what is left to others


def test_a_callbacks_turn_is_its_own(bench):
    """A thread that gets meanwhile leaves it the message, and what the waiters behind it need."""
    line, seen, gate = bench.receives.line, [], Gate()

    def in_a_thread():
        gate.wait()
        seen.extend([line.reserved(), line.claim(), type(outcome(bench.get, False))])

    def turn(_):
        gate.open()
        block_hub_until(lambda: len(seen) == 3, "the thread")
        seen.append(bench.get(block=False))

    with real_threads(1) as spawn:
        thread = spawn(in_a_thread)
        line.link(turn, None)
        behind = bench.getters(1)[0]
        bench.deliver("x")
        wait_for(lambda: len(seen) == 4)
        thread.get()
    assert seen == [2, 2, Empty, "x"]
    bench.deliver("y")
    assert values([behind]) == ["y"]


def test_the_turn_of_a_callback_that_fails_is_over(bench, hub_errors):
    """Nothing is reserved for it any more, neither on the short way nor in a thread."""
    line = bench.receives.line
    line.link(lambda _: 1 // 0, None)
    bench.deliver("x")
    wait_for(lambda: hub_errors)
    assert isinstance(hub_errors.pop()[1], ZeroDivisionError)
    assert bench.pipe.messages_reserved == 0
    with real_threads(1) as spawn:
        assert spawn(outcome, bench.get, False).get(timeout=LIMIT) == "x"


def test_a_peek_leaves_what_is_reserved(bench):
    """A newcomer neither gets nor sees the message of a waiter, and is told so by `ready`."""
    getter = bench.getters(1)[0]
    bench.deliver("x", ring=False)
    assert isinstance(outcome(bench.receives.peek, False, None), Empty)
    assert not bench.receives.ready()
    bench.deliver("y")
    assert bench.receives.ready()
    assert values([getter]) == ["x"]
    assert bench.receives.peek(False, None) == "y"


def test_without_time_to_wait_no_other_greenlet_runs(bench):
    """A timeout of 0 is the same as block=False: no turn is waited for."""
    bench.put("1"), bench.put("2")
    ran = []
    other = gevent.spawn(ran.append, 1)
    assert isinstance(outcome(bench.get, True, 0), Empty)
    assert isinstance(outcome(bench.receives.peek, True, 0), Empty)
    assert isinstance(outcome(bench.put, "3", True, 0), Full)
    assert (ran, bench.receives.line.waits, bench.sends.line.waits) == ([], 0, 0)
    other.join()


def test_a_ring_for_a_callback_that_has_left_is_passed_on_to_the_idle_listeners(bench):
    """The owning thread rang the bell of the head; by the time the hub looks there is no waiter."""
    line, told = bench.receives.line, []
    line.listen_idle(lambda: told.append(1))
    line.link(told.append, "callback")
    bench.settle()
    told.clear()
    bench.deliver("x")
    line.unlink(told.append)
    wait_for(lambda: told)
    assert told == [1]
    line._listeners = ()
    line.listen_idle(print, listen=False)


# ---------------------------------------------------------------------- within a pass


def test_a_callback_that_stands_in_line_again_within_its_turn(bench):
    """It has taken nothing, and no other ring will come: the pass looks at the line once more at its end."""
    line, calls = bench.receives.line, []

    def again(subject):
        calls.append(subject)
        line.link(calls.append, "second")

    line.link(again, "first")
    bench.deliver("x")
    wait_for(lambda: len(calls) == 2)
    assert (calls, bench.get(block=False)) == (["first", "second"], "x")


def test_the_woken_come_back_at_once(bench):
    """A getter that gets again within the pass stands at the end of the line, and the pass is bounded."""
    got = []

    def reader(name):
        while True:
            got.append((name, bench.get()))

    readers = [gevent.spawn(outcome, reader, n) for n in range(3)]
    bench.waiting(3)
    bench.deliver(*range(9))
    wait_for(lambda: len(got) == 9)
    assert sorted(message for _, message in got) == list(range(9))
    assert {name for name, _ in got} == {0, 1, 2}
    bench.end()
    assert [type(v) for v in values(readers)] == [Ended] * 3


def test_one_that_wakes_another_line(bench):
    """A getter puts, a putter gets: passes of two lines within each other."""
    bench.put("full")
    bench.put("full")

    def echo():
        message = bench.get()
        bench.put(message)
        return message

    echoes = [gevent.spawn(echo) for _ in range(3)]
    bench.waiting(3)
    bench.deliver("a", "b", "c")
    wait_for(lambda: len(bench.sends.line) == 3)
    taken = []
    wait_for(lambda: taken.extend(bench.take(len(bench.pipe.outgoing))) or len(taken) == 5)
    assert taken == ["full", "full", "a", "b", "c"]
    assert values(echoes) == ["a", "b", "c"]


def test_nudge_within_a_pass(bench):
    """Whoever is woken may nudge: no second pass runs within the first, and none is forgotten."""
    line = bench.receives.line
    order = []

    def get(name):
        message = bench.get()
        line.nudge()
        order.append((name, message))
        bench.deliver(f"{message}'", ring=False)
        line.nudge()

    first = gevent.spawn(get, 1)
    second = gevent.spawn(get, 2)
    third = bench.getters(1)[0]
    bench.waiting(3)
    bench.deliver("x")
    gevent.joinall([first, second], timeout=LIMIT, raise_error=True)
    assert order == [(1, "x"), (2, "x'")]
    assert values([third]) == ["x''"]
    assert line._dispatching is False


def test_a_pass_that_finds_nothing_does_not_stop_the_next(bench):
    getters = bench.getters(1)
    gevent.get_hub().loop.run_callback(bench.receives.line.dispatch)
    bench.settle()
    bench.deliver("x")
    assert values(getters) == ["x"]


def test_the_hub_itself_never_waits(bench):
    results = []
    gevent.get_hub().loop.run_callback(lambda: results.append(outcome(bench.get)))
    wait_for(lambda: results)
    assert isinstance(results[0], Empty)


# ---------------------------------------------------------------------- all together


@pytest.mark.parametrize("seed", range(5))
def test_a_storm(bench, seed):
    """Greenlets with kills and timeouts and two threads; messages come in bursts: each is got exactly once."""
    chance = random.Random(seed)
    count = 2000
    got = []

    def reader():
        while True:
            try:
                got.append(bench.get(timeout=chance.choice([None, 0.0001, 0.001])))
            except Empty:
                pass
            except Ended:
                return

    def thread():
        mine = []
        while True:
            try:
                mine.append(bench.get(timeout=0.001))
            except Empty:
                pass
            except Ended:
                return mine

    def killer():
        while True:
            readers[chance.randrange(len(readers))].kill(block=False)
            readers[chance.randrange(len(readers))] = gevent.spawn(reader)
            gevent.sleep(0.0005)

    readers = [gevent.spawn(reader) for _ in range(10)]
    with real_threads(3) as spawn:
        threads = [spawn(thread) for _ in range(2)]

        def deliver():
            sent = 0
            while sent < count:
                burst = min(count - sent, 1 + sent % 7)
                bench.deliver(*range(sent, sent + burst))
                sent += burst
                if sent % 5 == 0:
                    real_sleep(0.0002)

        killing = gevent.spawn(killer)
        spawn(deliver).get()
        wait_for(lambda: not bench.pipe.waiting(), "all to be got")
        killing.kill()
        bench.end()
        everything = got + [message for t in threads for message in t.get(timeout=LIMIT)]
        gevent.joinall(readers, timeout=LIMIT)
    assert sorted(everything) == list(range(count))


def test_rings_while_the_hub_is_blocked(bench):
    """Many rings and one pass: all who can be served are."""
    getters = bench.getters(10)
    with real_threads(1) as spawn:
        delivering = spawn(lambda: [bench.deliver(i) for i in range(10)])
        block_hub_until(lambda: bench.pipe.waiting() == 10)
        delivering.get()
    assert values(getters) == list(range(10))


def test_the_head_leaves_as_the_hub_looks(bench):
    """A foreign thread at the head may leave between the hub's look whether it could go on, and its turn."""
    line, may_leave, left = bench.receives.line, [], []
    with real_threads(1) as spawn:
        head = spawn(outcome, line.wait_turn, lambda: bool(may_leave), Deadline(LIMIT))
        block_hub_until(lambda: len(line) == 1, "the thread to stand in line")
        waiter = line._waiters[0]

        def ready():
            if not may_leave:
                may_leave.append(1)
                waiter.bell.ring()
                block_hub_until(lambda: not len(line), "the thread to leave")
                left.append(1)
            return True

        line._ready = ready
        result = []
        gevent.get_hub().loop.run_callback(lambda: result.append(outcome(line.dispatch)))
        wait_for(lambda: result)
        assert (result, left) == ([None], [1])
        assert head.get(timeout=LIMIT) is None
