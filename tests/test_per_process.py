"""per_process: one resource for each process and hub, made on first use."""

import gc
import os
import weakref

import gevent
import pytest
import zmq
from gevent.event import Event
from servers import Gunicorn
from support import (
    ANY,
    LIMIT,
    Gate,
    block_hub_until,
    break_pump,
    endpoint_of,
    outcome,
    raw_socket,
    real_threads,
    run,
    wait_for,
)
from test_fork import WAYS, output

import zgreen
from zgreen._hub.wait import Deadline


class Maker:
    """A decorated function, and what it has made; with `gate` set, making waits for it."""

    def __init__(self, make=object):
        self.made = []
        self.started = 0
        self.gate = None

        @zgreen.per_process
        def resource():
            self.started += 1
            if self.gate is not None:
                self.gate.wait()
            self.made.append(make())
            return self.made[-1]

        self.get = resource


def waiting(maker, number):
    """So many greenlets: the first is making, the others wait for it."""
    maker.gate = Event()
    greenlets = [gevent.spawn(outcome, maker.get) for _ in range(number)]
    gevent.sleep(0)
    assert maker.started == 1
    return greenlets


def test_one_for_all_greenlets():
    maker = Maker()
    greenlets = waiting(maker, 50)
    assert not any(greenlet.ready() for greenlet in greenlets)
    maker.gate.set()
    got = [greenlet.get(timeout=LIMIT) for greenlet in greenlets]
    assert set(map(id, got)) == {id(maker.made[0])}
    assert maker.get() is maker.get() is maker.made[0]
    assert len(maker.made) == 1


def test_none_is_a_resource():
    maker = Maker(lambda: None)
    assert maker.get() is maker.get() is None
    assert len(maker.made) == 1


def test_its_error_is_for_all_and_the_next_call_tries_again():
    error = ValueError("not now")

    def fail():
        if error is not None:
            raise error
        return "made"

    maker = Maker(fail)
    greenlets = waiting(maker, 20)
    maker.gate.set()
    assert [greenlet.get(timeout=LIMIT) for greenlet in greenlets] == [error] * 20
    assert maker.started == 1
    assert outcome(maker.get) is error
    error = None
    assert maker.get() == "made"
    assert maker.started == 3


def test_a_pump_that_does_not_start_says_where_the_main_greenlet_is(monkeypatch):
    """It says so to all callers, the main greenlet among them; and the next call tries again."""
    monkeypatch.setattr("zgreen._hub.thread._START_LIMIT", 0.02)
    pump, gate = zgreen.Pump(), Gate()
    run_engine = pump._thread.engine.run

    def late():  # in the owning thread
        gate.wait()
        run_engine()

    monkeypatch.setattr(pump._thread.engine, "run", late)
    maker = Maker(lambda: zgreen.Channel("push", pump=pump))
    others = [gevent.spawn(outcome, maker.get) for _ in range(3)]
    gevent.joinall(others, timeout=LIMIT)  # here
    error = others[0].value
    assert {other.value for other in others} == {error}
    assert isinstance(error, zgreen.BrokenError)
    assert f"the call is the cause. The main greenlet is at {__file__}:" in str(error)
    assert str(error).endswith(": gevent.joinall(others, timeout=LIMIT)  # here")
    assert str(outcome(maker.get)).endswith(': maker = Maker(lambda: zgreen.Channel("push", pump=pump))')
    gate.open()
    block_hub_until(pump._thread.running, "the thread to start")
    assert not maker.get().closed
    pump.shutdown()


def test_a_hub_that_was_blocked_for_longer_than_a_pump_may_take_to_start(monkeypatch):
    """That is no error if the thread has started meanwhile."""
    monkeypatch.setattr("zgreen._hub.thread._START_LIMIT", 0.01)
    pump = zgreen.Pump()
    maker = Maker(lambda: zgreen.Channel("push", pump=pump))
    others = [gevent.spawn(outcome, maker.get) for _ in range(3)]
    gevent.sleep(0)
    passed = Deadline(0.02).passed
    block_hub_until(lambda: pump._thread.running() and passed(), "the thread to start and the limit to pass")
    gevent.joinall(others, timeout=LIMIT)
    assert {other.value for other in others} == set(maker.made)
    pump.shutdown()


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_if_the_maker_is_stopped_another_one_makes_it(how):
    """A kill is for one greenlet, and no error for those that wait."""
    maker = Maker()
    maker.gate = Event()

    def first():
        with gevent.Timeout(0.01 if how == "timeout" else LIMIT, False):
            maker.get()

    victim = gevent.spawn(first)
    gevent.sleep(0)
    others = [gevent.spawn(outcome, maker.get) for _ in range(5)]
    gevent.sleep(0)
    if how == "kill":
        victim.kill()
    victim.join(LIMIT)
    wait_for(lambda: maker.started == 2)
    maker.gate.set()
    assert {greenlet.get(timeout=LIMIT) for greenlet in others} == set(maker.made)
    assert len(maker.made) == 1


def test_a_waiter_that_is_killed_stops_nobody():
    maker = Maker()
    greenlets = waiting(maker, 3)
    greenlets[1].kill()
    maker.gate.set()
    assert greenlets[0].get(timeout=LIMIT) is greenlets[2].get(timeout=LIMIT) is maker.made[0]


def test_a_closed_channel_is_replaced(pump):
    maker = Maker(lambda: zgreen.Channel("push", pump=pump))
    first = maker.get()
    first.close()
    second = maker.get()
    assert second is not first
    assert not second.closed
    assert maker.get() is second


def test_what_has_ended_with_its_pump_is_replaced():
    """The next one is of a new pump."""
    maker = Maker(lambda: zgreen.Channel("push"))
    first = maker.get()
    first.pump.shutdown()
    second = maker.get()
    assert second.pump is not first.pump
    second.pump.shutdown()


def test_what_broke_is_replaced(caplog):
    maker = Maker(lambda: zgreen.Channel("push"))
    first = maker.get()
    break_pump(first.pump, RuntimeError("on purpose"))
    second = maker.get()
    assert second is not first
    assert not second.closed


@pytest.mark.parametrize("closed", [lambda self: True, None, 0], ids=["method", "none", "zero"])
def test_what_says_nothing_of_its_end_is_kept(closed):
    maker = Maker(type("Resource", (), {"closed": closed}))
    assert maker.get() is maker.get()


def test_fan_outs_and_requesters(pump):
    fans = Maker(lambda: zgreen.Fanout(zgreen.Channel("sub", pump=pump)))
    requesters = Maker(lambda: zgreen.Requester(pump=pump))
    for maker in (fans, requesters):
        first = maker.get()
        assert maker.get() is first
        first.close()
        assert maker.get() is not first


def test_it_must_not_need_itself():
    @zgreen.per_process
    def circle():
        return circle()

    with pytest.raises(RuntimeError, match=r"circle\(\) calls itself"):
        circle()


def test_a_callback_of_the_hub_does_not_wait():
    maker = Maker()
    greenlets = waiting(maker, 1)
    seen = []
    gevent.get_hub().loop.run_callback(lambda: seen.append(outcome(maker.get)))
    wait_for(lambda: seen)
    assert "callback of the hub" in str(seen[0])
    maker.gate.set()
    gevent.joinall(greenlets, timeout=LIMIT)
    gevent.get_hub().loop.run_callback(lambda: seen.append(maker.get()))
    wait_for(lambda: seen[1:])
    assert seen[1] is maker.made[0]


@pytest.mark.parametrize("wrong", [lambda a: a, lambda a, b=1: a, lambda *, c: c])
def test_no_arguments(wrong):
    with pytest.raises(TypeError, match="without arguments"):
        zgreen.per_process(wrong)


def test_no_function():
    with pytest.raises(TypeError, match="a function, not Channel"):
        zgreen.per_process(zgreen.Channel("push"))


def test_it_looks_like_the_function():
    @zgreen.per_process
    def push():
        """Where requests go."""

    assert (push.__name__, push.__doc__) == ("push", "Where requests go.")


def test_threads_with_hubs_of_their_own():
    """Each has its own, and what a thread has closed is forgotten."""

    @zgreen.per_process
    def push():
        return zgreen.Channel("push")

    def in_thread():
        channel = push()
        assert push() is channel
        channel.pump.shutdown()
        return weakref.ref(channel)

    with real_threads(2) as spawn:
        seen = [spawn(in_thread) for _ in range(2)]
        seen = [result.get(timeout=LIMIT) for result in seen]
    mine = push()
    assert push() is mine
    assert mine not in [ref() for ref in seen]

    def gone():
        gc.collect()
        return not any(ref() for ref in seen)

    wait_for(gone, "the channels of threads that have ended")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])
def test_each_child_of_a_fork_has_its_own(way):
    """Also while a greenlet of the parent is making one. gevent must be told of the fork: a hub that both processes run
    has one epoll descriptor for both, and the events of one may go to the other."""
    lines = output(
        """
        pull = zgreen.Channel(zmq.PULL, bind=ANY)

        @zgreen.per_process
        def push():
            gevent.sleep(0.01)
            return zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)

        end = pull.last_endpoint
        mine = push()

        @zgreen.per_process
        def late():
            gevent.sleep(0.01)
            return zgreen.Channel(zmq.PUSH, connect=end)

        making = gevent.spawn(late)
        gevent.sleep(0)
        pid = fork()
        if pid == 0:
            pull = type("Pull", (), {"last_endpoint": end})
            assert push() is push() is not mine
            push().put("child")
            late().put("child")
            assert late() is late()
            zgreen.get_pump().shutdown()
            os._exit(0)
        assert push() is mine
        push().put("parent")
        assert late() is making.get()
        print(status_of(pid), sorted(pull.get() for _ in range(3)))
        """,
        way,
    )
    assert lines == ["0 [b'child', b'child', b'parent']"]


def test_patched_after_the_decoration():
    status, out, err = run("""
        import zgreen, zmq

        @zgreen.per_process
        def push():
            return zgreen.Channel(zmq.PUSH, connect="inproc://nobody")

        from gevent import monkey
        monkey.patch_all()
        import threading, time

        channels = []
        threads = [threading.Thread(target=lambda: channels.append(push())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(channels), len(set(channels)))
    """)
    assert (status, out) == (0, "20 1\n"), err


APPLICATION = """
    import os
    import zgreen, zmq

    @zgreen.per_process
    def push() -> zgreen.Channel:
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            push().put([str(os.getpid()), environ["wsgi.input"].read()])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]

    if os.environ["USED_BEFORE"]:
        push().put("from the arbiter")
"""


@pytest.mark.parametrize("used_before", ["", "yes"], ids=["", "used-before-the-fork"])
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_300_requests_to_gunicorn(tmp_path, preload, used_before):
    """All at once, so that many greenlets ask for the channel before it is there."""
    pytest.importorskip("gunicorn")
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        environment = {"PUSH_TO": endpoint_of(pull), "USED_BEFORE": used_before}
        with Gunicorn(tmp_path, APPLICATION, preload=preload, **environment) as gunicorn, real_threads(30) as spawn:
            answers = [spawn(gunicorn.post, b"%d" % number) for number in range(300)]
            assert [answer.get(timeout=LIMIT) for answer in answers] == [200] * 300
            gunicorn.wait_for_workers()
            seconds = gunicorn.end()
            log = gunicorn.log
        got = []
        while len(got) < 300:
            frames = pull.recv_multipart()
            if len(frames) > 1:
                got.append(frames)
    assert sorted(int(body) for _, body in got) == list(range(300))
    assert {pid.decode() for pid, _ in got} <= gunicorn.workers
    assert "Traceback" not in log, log
    assert seconds < 10
