"""The edges of the core: threads that end, dropped pumps, log handlers that wait, raw forks, odd subclasses."""

import gc
import threading

import gevent
import pytest
import zmq
from support import (
    ANY,
    LIMIT,
    block_hub_until,
    endpoint_of,
    open_descriptors,
    outcome,
    raw_socket,
    real_threads,
    run,
    wait_for,
)

import zgreen
from zgreen._hub import shutdown


def start_thread(function):
    """Run *function* in a real OS thread, patched or not; returns a function that says whether it has ended."""
    ended = []
    start = gevent.monkey.get_original("_thread", "start_new_thread")
    start(lambda: (function(), ended.append(1)), ())
    return lambda: bool(ended)


def test_the_pump_of_a_thread_that_has_ended_delivers_and_leaves_nothing():
    """Neither its OS thread nor a descriptor: the hub of the thread is destroyed with it."""
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        endpoint = endpoint_of(peer)
        gc.collect()
        before = open_descriptors()
        for i in range(5):
            ended = start_thread(lambda i=i: zgreen.Channel(zmq.PUSH, connect=endpoint).put(b"%d" % i))
            wait_for(ended, "the thread to end")
        assert sorted(peer.recv() for _ in range(5)) == [b"%d" % i for i in range(5)]

        def all_gone():
            gc.collect()
            return open_descriptors() <= before + 1  # libzmq's connection to the peer may be closed a moment later

        wait_for(all_gone, "the descriptors to be given back")


def test_a_pump_that_is_dropped_delivers_and_ends():
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        pump = zgreen.Pump("dropped").start()
        channel = zgreen.Channel(zmq.PUSH, connect=endpoint_of(peer), pump=pump)
        for i in range(100):
            channel.put(b"%d" % i)
        thread = pump._thread
        del pump, channel
        gc.collect()
        wait_for(lambda: thread.gone, "the dropped pump's thread to end")
        assert [peer.recv() for _ in range(100)] == [b"%d" % i for i in range(100)]


def test_a_pump_whose_start_was_interrupted_can_be_dropped_or_started_again():
    kept, dropped = zgreen.Pump("kept"), zgreen.Pump("dropped")
    starting = [gevent.spawn(pump.start) for pump in (kept, dropped)]
    gevent.sleep(0)
    thread = dropped._thread
    for greenlet in starting:
        greenlet.kill()
    del dropped, starting, greenlet
    gc.collect()
    wait_for(lambda: thread.gone, "the thread of the interrupted start to end")
    assert kept.start() is kept
    kept.shutdown()


def test_a_log_handler_that_waits_loses_no_end_of_a_channel():
    """Under monkey.patch_all() logging's lock cannot be waited for in the hub: the report has a greenlet of its own."""
    code = """
        from gevent import monkey; monkey.patch_all()
        import logging, os, gevent, zgreen

        class Slow(logging.Handler):
            def emit(self, record):
                if record.name == "app":
                    gevent.sleep(0.3)
                else:
                    os.write(1, f"{record.getMessage()}\\n".encode())

        logging.getLogger().addHandler(Slow())
        pump = zgreen.Pump().start()
        push = zgreen.Channel("PUSH", bind="tcp://127.0.0.1:*", pump=pump)
        push.put(b"x")
        gevent.spawn(logging.getLogger("app").warning, "slow")
        gevent.sleep(0.01)
        print(push.close(0), pump.channels, pump.shutdown(0), flush=True)
    """
    status, out, err = run(code)
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.endswith("1 message was not sent")
    assert second == "1 () 1"


def test_an_on_error_that_exits_at_exit_does_not_cut_off_the_other_pumps():
    code = """
        import sys, zmq, zgreen
        kept = []  # a pump that is dropped would shut down, and on_error end the program, before its end
        for name in ("a", "b", "c"):
            pump = zgreen.Pump(name).start()
            lost = zgreen.Channel("PUSH", bind="tcp://127.0.0.1:*", pump=pump, options={zmq.LINGER: 0})
            lost.on_error = lambda *_: sys.exit(3)
            lost.put(b"lost")
            push = zgreen.Channel("PUSH", connect=sys.argv[1], pump=pump)
            for i in range(100):
                push.put(b"x")
            kept += [pump, lost, push]
    """
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        run(code, endpoint_of(peer))
        assert [peer.recv() for _ in range(300)] == [b"x"] * 300


def test_a_child_of_a_raw_fork_that_runs_its_hub_does_not_deafen_the_parent():
    """They would share one epoll, and the child takes the parent's descriptor out of it."""
    code = """
        import os, gevent, zgreen
        from gevent import monkey
        fork, waitpid = monkey.get_original("os", "fork"), monkey.get_original("os", "waitpid")
        pull = zgreen.Channel("PULL", bind="inproc://a")
        push = zgreen.Channel("PUSH", connect="inproc://a")
        told = []
        pull.pump.on_event = lambda event: told.append(event.kind)
        getting = gevent.spawn(pull.get)
        gevent.sleep(0)
        push.put(b"x")
        if not (pid := fork()):
            told.clear()
            gevent.sleep(0.1)
            os.write(1, f"{told}\\n".encode())
            os._exit(0)
        waitpid(pid, 0)
        with gevent.Timeout(20):
            print(getting.get())
    """
    status, out, err = run(code)
    assert (status, out) == (0, "[]\nb'x'\n"), err


def test_a_watched_xpub_is_as_any_other_channel(pump):
    """A foreign get() needs no hub, and gets let the others run."""
    publisher = zgreen.Channel(zmq.XPUB, bind=ANY, options={zmq.XPUB_VERBOSE: 1}, pump=pump)
    publisher.wait_subscriber("nothing", timeout=0)
    with real_threads(1) as spawn, raw_socket(zmq.SUB, connect=publisher.last_endpoint) as peer:
        got = []
        getting = spawn(lambda: got.append(publisher.get()))
        block_hub_until(lambda: publisher.statistics().getters, "the thread to wait")
        peer.subscribe(b"first")
        block_hub_until(lambda: got, "the thread to get while the hub is blocked")
        getting.get()
        for i in range(300):
            peer.subscribe(b"%d" % i)
        assert publisher.wait_subscriber("299", timeout=LIMIT)
        turns = []

        def take_turns():
            while True:
                turns.append(1)
                gevent.sleep(0)

        others = gevent.spawn(take_turns)
        gevent.sleep(0)
        turns.clear()
        for _ in range(300):
            publisher.get()
        others.kill()
        assert len(turns) >= 2


def test_a_subclass_with_a_constructor_of_its_own_can_monitor(pump):
    class Named(zgreen.Channel):
        def __init__(self, name):
            self.name = name
            super().__init__("PUSH", pump=pump)

    with Named("jobs").monitor() as monitor:
        assert monitor.qsize() == 0


def test_a_handed_over_socket_that_could_not_be_opened_can_be_registered_again(pump):
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    broken = zgreen.Pump()
    broken.shutdown()
    for _ in range(2):
        error = outcome(broken.register_socket, gevent.queue.Queue(), socket=socket)
        assert isinstance(error, zgreen.ClosedError)
    channel = pump.register_socket(gevent.queue.Queue(), socket=socket)
    channel.close(0)
    context.term()


@pytest.mark.parametrize("way", ["register_socket", "on_event"])
def test_what_works_on_the_hubs_thread_only_says_so_at_the_call(pump, way):
    ways = {
        "register_socket": lambda: pump.register_socket(
            gevent.queue.Queue(), socket_type="push", configurator=lambda socket: socket.bind(ANY)
        ),
        "on_event": lambda: setattr(pump, "on_event", print),
    }
    with real_threads(1) as spawn:
        error = spawn(outcome, ways[way]).get(timeout=LIMIT)
    assert isinstance(error, RuntimeError)
    assert "thread of the pump's hub" in str(error)
    assert not pump.channels


def test_an_item_of_the_mail_that_always_raises_is_not_called_without_end(pump, hub_errors):
    calls = []

    def raising():
        calls.append(threading.get_ident())
        raise SystemError("an item's own") if len(calls) > 10 else Interrupt

    class Interrupt(BaseException):
        pass

    pump._thread.link.mailbox.send(raising)
    wait_for(lambda: hub_errors, "the report")
    for _ in range(5):
        gevent.sleep(0)
    assert len(calls) == 2
    assert [type(error) for _, error in hub_errors] == [Interrupt]
    hub_errors.clear()
    assert any(isinstance(one, shutdown.Shutdown) for one in shutdown.watched())
