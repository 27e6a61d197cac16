"""select, and channels in gevent.wait: exactly one message, nothing lost, nobody left waiting; over real sockets."""

from __future__ import annotations

import collections
import gc

import gevent
import pytest
import zmq
from gevent.event import AsyncResult
from gevent.queue import Empty, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from support import LIMIT, block_hub_until, break_pump, channels, drained, inproc, outcome, real_threads, wait_for
from test_fork import WAYS, output

import zgreen


class Source:
    """A source of one kind, with a way to put to it and to look at who waits there."""

    def __init__(self, kind, pump, number):
        self.kind = kind
        if kind == "queue":
            self.source = Queue()
            self.put, self.close = self.source.put, self.source.shutdown
            return
        pull, push = channels(pump, zmq.PULL, zmq.PUSH)
        self.channel, self.put, self.close = pull, push.put, pull.close
        self.source = pull if kind == "channel" else zgreen.Fanout(pull).subscribe("", maxsize=None)
        self.number = number

    def waiters(self):
        if self.kind == "queue":
            return str(self.source).count("getters[")
        if self.kind == "channel":
            return self.source.statistics().getters
        return len(self.source._inbox._links)

    def size(self):
        return self.channel.statistics().waiting if self.kind == "channel" else self.source.qsize()

    def fill(self, *messages):
        before = self.size()
        for message in messages:
            self.put(message)
        wait_for(lambda: self.size() == before + len(messages), f"messages in the {self.kind}")


KINDS = ["channel", "subscription", "queue"]


@pytest.fixture
def make(pump):
    """Make sources of the kinds given; at the end nobody waits at any of them."""
    made = []

    def make(*kinds):
        made.extend(new := [Source(kind, pump, number) for number, kind in enumerate(kinds)])
        return new

    yield make
    for source in made:
        wait_for(lambda source=source: not source.waiters(), f"nobody to wait at the {source.kind}")


def text(message):
    return message if isinstance(message, str) else message.decode()


# ---------------------------------------------------------------- one message of one source


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_taken_at_once(make, kind):
    empty, full, other = make(kind, kind, kind)
    full.fill("a", "b")
    for expected in "ab":
        source, message = zgreen.select(empty.source, full.source, other.source, timeout=0)
        assert source is full.source
        assert text(message) == expected
    with pytest.raises(Empty):
        zgreen.select(empty.source, full.source, other.source, timeout=0)


@pytest.mark.parametrize("kind", KINDS)
def test_waits_for_the_first(make, kind):
    sources = make(*KINDS, kind)
    waiting = gevent.spawn(zgreen.select, *(s.source for s in sources))
    wait_for(lambda: all(s.waiters() for s in sources))
    sources[-1].put("x")
    source, message = waiting.get(timeout=LIMIT)
    assert source is sources[-1].source
    assert text(message) == "x"


def test_exactly_one_of_those_that_have_one(make):
    sources = make(*KINDS)
    for s in sources:
        s.fill("a", "b")
    left = 6
    while left:
        zgreen.select(*(s.source for s in sources), timeout=0)
        left -= 1
        assert sum(s.size() for s in sources) == left


def test_one_source_and_the_same_twice(make):
    (s,) = make("channel")
    s.fill("a", "b")
    assert zgreen.select(s.source) == (s.source, b"a")
    assert zgreen.select(s.source, s.source) == (s.source, b"b")
    waiting = gevent.spawn(zgreen.select, s.source, s.source)
    wait_for(lambda: s.waiters() == 2)
    s.put("c")
    assert waiting.get(timeout=LIMIT) == (s.source, b"c")


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue] + [SimpleQueue] * hasattr(SimpleQueue, "peek"))
def test_all_queues_of_gevent(kind):
    queue, other = kind(), kind()
    waiting = gevent.spawn(zgreen.select, other, queue)
    gevent.sleep(0)
    queue.put(None)
    assert waiting.get(timeout=LIMIT) == (queue, None)


def test_a_bounded_queue_lets_its_putters_in(make):
    queue = Queue(1)
    putters = [gevent.spawn(queue.put, n) for n in range(5)]
    assert [zgreen.select(queue, timeout=LIMIT)[1] for _ in range(5)] == list(range(5))
    gevent.joinall(putters, timeout=LIMIT, raise_error=True)


# ---------------------------------------------------------------- fairness


def test_no_source_starves(make):
    """All have messages all the time: each is chosen about as often as the others, wherever it stands."""
    sources = make(*KINDS, *KINDS)
    rounds = 600
    for s in sources:
        s.fill(*(b"m",) * rounds)
    chosen = collections.Counter(id(zgreen.select(*(s.source for s in sources))[0]) for _ in range(rounds))
    assert len(chosen) == 6
    assert min(chosen.values()) > rounds / 6 / 3


def test_neither_getters_nor_selectors_starve(make):
    """One channel, messages one at a time: who waits in get and who waits in select take turns."""
    s, other = make("channel", "queue")
    got = {"get": 0, "select": 0}

    def getter():
        while True:
            s.source.get()
            got["get"] += 1

    def selector():
        while True:
            zgreen.select(s.source, other.source)
            got["select"] += 1

    greenlets = [gevent.spawn(getter), gevent.spawn(selector), gevent.spawn(getter)]
    wait_for(lambda: s.waiters() == 3)
    for n in range(1, 301):
        s.put("x")
        wait_for(lambda n=n: sum(got.values()) == n and s.waiters() == 3)
    assert got == {"get": 200, "select": 100}
    gevent.killall(greenlets)


def test_who_came_first_is_first(make):
    s, other = make("channel", "queue")
    calls = [s.source.get, lambda: zgreen.select(s.source, other.source)[1]] * 3
    waiting = []
    for number, call in enumerate(calls, 1):
        waiting.append(gevent.spawn(call))
        wait_for(lambda number=number: s.waiters() == number)
    for n in range(6):
        s.put(b"%d" % n)
    assert [greenlet.get(timeout=LIMIT) for greenlet in waiting] == [b"%d" % n for n in range(6)]


def test_a_newcomer_does_not_pass_those_who_wait(make):
    """Whoever is told may take one; what comes after belongs to the next in line."""
    (s,) = make("channel")
    taken = []

    def selector():
        taken.append(zgreen.select(s.source)[1])
        taken.append(outcome(s.source.get_nowait))

    gevent.spawn(selector)
    wait_for(lambda: s.waiters() == 1)
    second = gevent.spawn(s.source.get)
    wait_for(lambda: s.waiters() == 2)
    s.put("a", False)
    s.put("b", False)
    block_hub_until(lambda: s.size() == 2)  # both are there before anybody is told
    assert second.get(timeout=LIMIT) == b"b"
    assert taken[0] == b"a"
    assert isinstance(taken[1], Empty)


def test_a_selector_that_comes_too_late_waits_on():
    """A gevent queue tells all who peek of one item; those who do not get it wait for the next."""
    queue = Queue()
    selectors = [gevent.spawn(zgreen.select, queue, timeout=LIMIT) for _ in range(3)]
    gevent.sleep(0)
    for number in range(3):
        queue.put(number)
        for _ in range(5):
            gevent.sleep(0)
    assert sorted(selector.get(timeout=LIMIT)[1] for selector in selectors) == [0, 1, 2]


def test_without_time_to_wait_nobody_else_runs(make):
    """What comes in the same turn of the loop comes too late."""
    (source,) = make("channel")
    ran = []
    gevent.spawn(ran.append, "another greenlet")
    with pytest.raises(Empty):
        zgreen.select(source.source, timeout=0)
    assert not ran


def test_a_selector_that_never_waits_lets_others_run(make):
    (s,) = make("queue")
    s.fill(*range(1000))
    ran = []

    def other():
        while True:
            ran.append(1)
            gevent.sleep(0)

    greenlet = gevent.spawn(other)
    for _ in range(1000):
        zgreen.select(s.source)
    assert len(ran) >= 9
    greenlet.kill()


# ---------------------------------------------------------------- who leaves takes nothing


@pytest.mark.parametrize("kind", KINDS)
def test_a_select_that_had_its_message_in_time_leaves_no_timer(make, kind):
    """Else Empty would come out of whatever the greenlet does later."""
    [s] = make(kind)
    before = timers()
    selecting = gevent.spawn(zgreen.select, s.source, timeout=LIMIT)
    wait_for(s.waiters, "the caller to stand in line")
    [timer] = timers() - before
    s.put("a")
    assert text(selecting.get(timeout=LIMIT)[1]) == "a"
    assert not timer.pending


def timers():
    """All gevent.Timeouts that are yet to come."""
    return {one for one in gc.get_objects() if isinstance(one, gevent.Timeout) and one.pending}


@pytest.mark.parametrize("how", ["timeout", "gevent.Timeout", "kill"])
def test_leaving_leaves_nobody_and_takes_nothing(make, how):
    sources = make(*KINDS)

    def selector():
        with gevent.Timeout(0.02 if how == "gevent.Timeout" else None, False):
            zgreen.select(*(s.source for s in sources), timeout=0.02 if how == "timeout" else None)

    greenlet = gevent.spawn(outcome, selector)
    if how == "kill":
        wait_for(lambda: all(s.waiters() for s in sources))
        greenlet.kill()
    greenlet.join(LIMIT)
    assert greenlet.dead
    wait_for(lambda: not any(s.waiters() for s in sources))
    for s in sources:
        s.fill("x")
    assert [s.size() for s in sources] == [1, 1, 1]


def test_a_timeout_raises_empty_and_the_callers_own_passes(make):
    sources = [s.source for s in make(*KINDS)]
    with pytest.raises(Empty):
        zgreen.select(*sources, timeout=0.01)
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as own:
        zgreen.select(*sources, timeout=LIMIT)
    assert caught.value is own


@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_the_moment_of_its_message(make, kind):
    """The kill is under way when the message comes, or comes right after: either it has the message, or nobody."""
    s, other = make(kind, "channel")
    for kill_first in (True, False) * 10:
        got = []
        greenlet = gevent.spawn(lambda got=got: got.append(zgreen.select(s.source, other.source)))
        wait_for(lambda: s.waiters() and other.waiters())
        if kill_first:
            greenlet.kill(block=False)
        s.put("x")
        if not kill_first:
            greenlet.kill(block=False)
        greenlet.join(LIMIT)
        wait_for(lambda got=got: len(got) + s.size() == 1, "the message to be somewhere")
        wait_for(lambda: not s.waiters())
        drained(s.source)


def test_a_killed_selector_hands_on_to_the_next(make):
    s, other = make("channel", "queue")
    selectors = [gevent.spawn(zgreen.select, s.source, other.source) for _ in range(3)]
    wait_for(lambda: s.waiters() == 3)
    selectors[0].kill(block=False)
    s.put("x")
    assert selectors[1].get(timeout=LIMIT) == (s.source, b"x")
    selectors[2].kill()


def test_a_race_of_many_over_the_same_sources(make):
    """Selectors, getters, kills and timeouts: each message is got exactly once."""
    sources = make(*KINDS, "channel")
    each = 500
    got, stop = [], []

    def selector(seed):
        while not stop:
            try:
                got.append(zgreen.select(*(s.source for s in sources), timeout=0.0005 * (1 + seed % 7))[1])
            except Empty:
                continue

    def getter(source):
        while not stop:
            try:
                got.append(source.get(timeout=0.001))
            except Empty:
                continue

    selectors = [gevent.spawn(selector, n) for n in range(20)]
    getters = [gevent.spawn(getter, s.source) for s in sources]

    def feed(place):
        for n in range(each):
            sources[place].put(b"%d %d" % (place, n))
            if n % 7 == 0:
                gevent.sleep(0)

    feeders = [gevent.spawn(feed, place) for place in range(4)]
    for n in range(200):
        victim = selectors[n % 20]
        victim.kill(block=False)
        selectors[n % 20] = gevent.spawn(selector, n)
        gevent.sleep(0)
    gevent.joinall(feeders, timeout=LIMIT, raise_error=True)
    wait_for(lambda: len(got) == 4 * each, "all messages")
    stop.append(True)
    gevent.joinall(selectors + getters, timeout=LIMIT)
    assert sorted(got) == sorted(b"%d %d" % (place, n) for place in range(4) for n in range(each))


def test_with_threads_that_get_beside(make):
    """Foreign threads stand in the same line: nobody sleeps while a message is there."""
    (s,) = make("channel")
    total, got = 1000, []

    def thread():
        own = []
        while True:
            message = s.source.get(timeout=LIMIT)
            if message == b"end":
                return own
            own.append(message)

    def selector():
        while True:
            message = zgreen.select(s.source)[1]
            if message == b"end":
                return
            got.append(message)

    with real_threads(2) as spawn:
        threads = [spawn(thread) for _ in range(2)]
        selectors = [gevent.spawn(selector) for _ in range(3)]
        for n in range(total):
            s.put(b"%d" % n)
        for _ in range(5):
            s.put("end")
        gevent.joinall(selectors, timeout=LIMIT, raise_error=True)
        for result in threads:
            got += result.get(timeout=LIMIT)
    assert sorted(map(int, got)) == list(range(total))


def test_between_threads(make):
    """A thread before it in line, and one behind it."""
    (s,) = make("channel")
    with real_threads(2) as spawn:
        before = spawn(s.source.get, timeout=LIMIT)
        wait_for(lambda: s.waiters() == 1)
        selector = gevent.spawn(zgreen.select, s.source)
        wait_for(lambda: s.waiters() == 2)
        behind = spawn(s.source.get, timeout=LIMIT)
        wait_for(lambda: s.waiters() == 3)
        for message in "abc":
            s.put(message)
        assert before.get(timeout=LIMIT) == b"a"
        assert selector.get(timeout=LIMIT) == (s.source, b"b")
        assert behind.get(timeout=LIMIT) == b"c"


def test_a_loop_of_selects_leaves_no_garbage(make):
    sources = make(*KINDS)
    arguments = [s.source for s in sources]
    with pytest.raises(Empty):
        zgreen.select(*arguments, timeout=0.001)

    def count():
        gevent.sleep(0)
        gc.collect()
        return sum(isinstance(o, gevent.Greenlet) for o in gc.get_objects())

    before = count()
    for _ in range(50):
        with pytest.raises(Empty):
            zgreen.select(*arguments, timeout=0.0001)
    wait_for(lambda: count() <= before)


# ---------------------------------------------------------------- the end of a source


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_ends_says_so_and_which(make, kind):
    ends, goes_on = make(kind, "channel")
    ends.fill("last")
    waiting = [gevent.spawn(outcome, zgreen.select, ends.source, goes_on.source) for _ in range(4)]
    results = [greenlet for greenlet in waiting if greenlet.join(0) or True]
    wait_for(lambda: any(greenlet.dead for greenlet in waiting))
    ends.close()
    values = [greenlet.get(timeout=LIMIT) for greenlet in results]
    assert [text(v[1]) for v in values if isinstance(v, tuple)] == ["last"]
    errors = [v for v in values if not isinstance(v, tuple)]
    assert len(errors) == 3
    assert all(isinstance(error, ShutDown) and error.source is ends.source for error in errors)
    assert all(isinstance(error, zgreen.ClosedError) for error in errors) == (kind != "queue")
    goes_on.put("x")
    assert zgreen.select(goes_on.source, timeout=LIMIT) == (goes_on.source, b"x")


def test_the_end_is_chosen_as_a_message_is(make):
    """A busy source does not hide that another one has ended, nor the other way round."""
    ended, busy = make("channel", "channel")
    busy.fill(*"x" * 200)
    ended.close()
    outcomes = collections.Counter(type(outcome(zgreen.select, ended.source, busy.source)) for _ in range(200))
    assert min(outcomes[tuple], outcomes[zgreen.ClosedError]) > 30


def test_the_loop_of_the_documentation(make):
    sources = make(*KINDS)
    for s in sources:
        s.fill("a", "b")
        s.close()
    for s in sources:
        if s.kind == "subscription":
            wait_for(lambda s=s: s.source.closed)
    remaining = {s.source for s in sources}
    got = []
    while remaining:
        try:
            _, message = zgreen.select(*remaining, timeout=LIMIT)
            got.append(text(message))
        except ShutDown as error:
            remaining.discard(error.source)
    assert sorted(got) == ["a", "a", "a", "b", "b", "b"]


def test_a_broken_pump(make):
    (goes_on,) = make("channel")
    pump = zgreen.Pump("breaks").start()
    pull, _ = channels(pump, zmq.PULL, zmq.PUSH)
    waiting = gevent.spawn(outcome, zgreen.select, goes_on.source, pull)
    wait_for(lambda: goes_on.waiters())
    break_pump(pump, RuntimeError("on purpose"))
    error = waiting.get(timeout=LIMIT)
    assert isinstance(error, zgreen.BrokenError)
    assert error.source is pull


@pytest.mark.parametrize("way", WAYS)
def test_in_the_child_of_a_fork(way):
    lines = output(
        """
        push, pull = pair()
        waiting = gevent.spawn(what, zgreen.select, pull, gevent.queue.Queue())
        linked = gevent.spawn(gevent.wait, [pull], LIMIT)
        while pull.statistics().getters < 2:
            gevent.sleep(0.001)
        pid = fork()
        if pid == 0:
            print("child", waiting.get(timeout=LIMIT), linked.get(timeout=LIMIT) == [pull], flush=True)
            os._exit(0)
        print(status_of(pid))
        push.put("x")
        push.put("y")
        print("parent", waiting.get(timeout=LIMIT), linked.get(timeout=LIMIT) == [pull], pull.get())
        """,
        way,
    )
    assert lines[:2] == ["child ForkedError True", "0"]
    assert lines[2].startswith("parent (<zgreen.Channel PULL")
    assert lines[2].endswith(", b'x') True b'y'")


# ---------------------------------------------------------------- wrong calls


def test_no_source():
    with pytest.raises(TypeError, match="at least one source"):
        zgreen.select(timeout=1)


@pytest.mark.parametrize("wrong", [None, 1, "channel", AsyncResult(), collections.deque(), zmq.PULL, [Queue()]])
def test_what_cannot_be_waited_for(make, wrong):
    (s,) = make("channel")
    s.fill("x")
    with pytest.raises(TypeError, match="cannot wait for"):
        zgreen.select(s.source, wrong)
    assert s.size() == 1


def test_a_channel_that_cannot_receive(make, pump):
    (s,) = make("channel")
    s.fill("x")
    push = zgreen.Channel("push", pump=pump)
    for _ in range(10):
        with pytest.raises(TypeError, match="a PUSH socket cannot receive"):
            zgreen.select(s.source, push)
    assert s.size() == 1


def test_a_negative_timeout(make):
    (s,) = make("queue")
    with pytest.raises(ValueError, match="non-negative"):
        zgreen.select(s.source, timeout=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_another_thread_is_refused(make, kind):
    (s,) = make(kind)
    s.fill("x")
    with real_threads(1) as spawn:
        assert isinstance(spawn(outcome, zgreen.select, s.source).get(timeout=LIMIT), RuntimeError)
    assert s.size() == 1


def test_in_the_hub_itself_it_does_not_wait(make):
    (s,) = make("channel")
    result = []
    gevent.get_hub().loop.run_callback(lambda: result.append(outcome(zgreen.select, s.source)))
    wait_for(lambda: result)
    assert isinstance(result[0], Empty)


# ---------------------------------------------------------------- gevent.wait


def test_gevent_wait(make):
    made = make("channel", "channel", "channel")
    first, second, third = (s.source for s in made)
    assert gevent.wait([first, second], timeout=0.01) == []
    made[1].put("x")
    assert gevent.wait([first, second, third], count=1, timeout=LIMIT) == [second]
    assert second.ready()
    assert gevent.wait([second], timeout=LIMIT) == [second]
    assert second.get_nowait() == b"x"
    assert not second.ready()
    made[0].put("y")
    made[2].put("z")
    assert set(gevent.wait([first, third], timeout=LIMIT)) == {first, third}


def test_gevent_wait_together_with_other_things(make):
    (s,) = make("channel")
    greenlet = gevent.spawn(lambda: 5)
    assert gevent.wait([s.source, greenlet], count=1, timeout=LIMIT) == [greenlet]
    s.put("x")
    with gevent.iwait([s.source, greenlet], timeout=LIMIT) as ready:
        assert set(ready) == {s.source, greenlet}


def test_gevent_wait_ends_with_the_channel(make):
    (s,) = make("channel")
    waiting = gevent.spawn(gevent.wait, [s.source], LIMIT)
    wait_for(s.waiters)
    s.close()
    assert waiting.get(timeout=LIMIT) == [s.source]
    assert gevent.wait([s.source], timeout=LIMIT) == [s.source]


def test_who_waits_and_does_not_take_does_not_keep_the_others_waiting(make):
    (s,) = make("channel")
    looking = [gevent.spawn(gevent.wait, [s.source], LIMIT) for _ in range(3)]
    wait_for(lambda: s.waiters() == 3)
    taking = gevent.spawn(zgreen.select, s.source)
    wait_for(lambda: s.waiters() == 4)
    behind = gevent.spawn(gevent.wait, [s.source], LIMIT)
    wait_for(lambda: s.waiters() == 5)
    s.put("x")
    assert taking.get(timeout=LIMIT) == (s.source, b"x")
    assert [greenlet.get(timeout=LIMIT) for greenlet in looking] == [[s.source]] * 3
    assert not behind.dead
    s.put("y")
    assert behind.get(timeout=LIMIT) == [s.source]


def test_a_link_that_is_undone_is_not_told(make):
    (s,) = make("channel")
    calls = []
    s.source.rawlink(calls.append)
    s.source.rawlink(calls.append)
    s.source.unlink(calls.append)
    s.source.unlink(len)
    assert s.waiters() == 1
    s.fill("x")
    wait_for(lambda: calls)
    assert calls == [s.source]
    s.source.unlink(calls.append)
    s.fill("y")
    assert calls == [s.source]


def test_a_callback_that_fails_is_reported_and_the_next_is_told(make, hub_errors):
    (s,) = make("channel")
    calls = []
    s.source.rawlink(lambda _: 1 // 0)
    s.source.rawlink(calls.append)
    s.put("x")
    wait_for(lambda: calls)
    assert isinstance(hub_errors.pop()[1], ZeroDivisionError)


def test_a_callback_may_take(make):
    (s,) = make("channel")
    taken = []
    s.source.rawlink(lambda channel: taken.append(channel.get_nowait()))
    behind = gevent.spawn(s.source.get)
    wait_for(lambda: s.waiters() == 2)
    s.put("x")
    wait_for(lambda: taken)
    s.put("y")
    assert (taken, behind.get(timeout=LIMIT)) == ([b"x"], b"y")


@pytest.mark.parametrize("method", ["ready", "rawlink", "unlink"])
def test_links_of_the_wrong_channel_or_thread(make, pump, method):
    (s,) = make("channel")
    arguments = () if method == "ready" else (print,)
    with pytest.raises(TypeError, match="cannot receive"):
        getattr(zgreen.Channel("push", pump=pump), method)(*arguments)
    with real_threads(1) as spawn:
        error = spawn(outcome, getattr(s.source, method), *arguments).get(timeout=LIMIT)
    assert isinstance(error, RuntimeError)


def test_over_tcp_with_a_publisher_and_workers(pump):
    """What it is for: one greenlet that serves jobs, news and its own timers' queue."""
    jobs = zgreen.Channel("pull", bind="tcp://127.0.0.1:*", pump=pump)
    push = zgreen.Channel("push", connect=jobs.last_endpoint, pump=pump)
    endpoint = inproc()
    xpub = zgreen.Channel("xpub", bind=endpoint, pump=pump)
    with zgreen.Fanout(zgreen.Channel("sub", connect=endpoint, pump=pump)) as fan, fan.subscribe("news") as news:
        ticks = Queue()
        assert xpub.get(timeout=LIMIT) == b"\1news"
        seen = collections.Counter()
        push.put("job")
        xpub.put("news")
        ticks.put("tick")
        for _ in range(3):
            source, _ = zgreen.select(jobs, news, ticks, timeout=LIMIT)
            seen[source] += 1
        assert seen == {jobs: 1, news: 1, ticks: 1}
