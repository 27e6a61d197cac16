"""The pollers: epoll, and libzmq's own where there is none."""

import contextlib
import os
import resource
import time

import pytest
import zmq
from gevent import monkey
from support import LIMIT, channels, open_descriptors

import zgreen
from zgreen._engine._poller import EpollPoller, ZmqPoller
from zgreen._hub import thread as thread_module

pytestmark = pytest.mark.once


def epoll():
    try:
        return monkey.get_original("select", "epoll")
    except AttributeError:
        pytest.skip("no epoll here")


@pytest.fixture(params=["epoll", "zmq_poll"])
def poller(request):
    poller = EpollPoller(epoll()) if request.param == "epoll" else ZmqPoller()
    yield poller
    poller.close()


@pytest.fixture
def pipe():
    with pipes(1) as (ends,):
        yield ends


@contextlib.contextmanager
def pipes(number):
    ends = [os.pipe() for _ in range(number)]
    try:
        yield ends
    finally:
        for read, write in ends:
            os.close(read)
            os.close(write)


def test_readable_descriptors(poller):
    """Those that are, as long as they are, and only those registered."""
    with pipes(3) as ((a, into_a), (b, into_b), (_, into_c)):
        poller.register(a)
        poller.register(b)
        assert poller.poll(0) == []
        os.write(into_b, b"x")
        os.write(into_c, b"x")
        assert poller.poll(LIMIT) == [b]
        assert poller.poll(LIMIT) == [b]
        os.write(into_a, b"x")
        assert sorted(poller.poll(LIMIT)) == sorted([a, b])
        poller.unregister(b)
        assert poller.poll(0) == [a]
        os.read(a, 1)
        assert poller.poll(0) == []


def test_timeouts(poller, pipe):
    """0 is at once; a part of a millisecond is not cut down to a busy loop."""
    poller.register(pipe[0])
    assert poller.poll(0) == []
    started = time.monotonic()
    assert poller.poll(0.02) == []
    assert 0.015 < time.monotonic() - started < LIMIT / 2
    passes, started = 0, time.monotonic()
    while time.monotonic() - started < 0.01:
        poller.poll(0.0004)
        passes += 1
    assert passes <= 25


def test_no_limit(poller, pipe):
    """None waits until there is something; here there is."""
    poller.register(pipe[0])
    os.write(pipe[1], b"x")
    assert poller.poll(None) == [pipe[0]]


def test_a_descriptor_above_1023(poller):
    """select() fails there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1100:
        pytest.skip("this process may not have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    import fcntl

    try:
        with pipes(1) as ((read, write),):
            high = fcntl.fcntl(read, fcntl.F_DUPFD, 1050)
            try:
                poller.register(high)
                os.write(write, b"x")
                assert poller.poll(LIMIT) == [high]
                poller.unregister(high)
            finally:
                os.close(high)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_epoll_gives_its_descriptor_back():
    before = open_descriptors()
    poller = EpollPoller(epoll())
    assert open_descriptors() == before + 1
    poller.close()
    assert open_descriptors() == before


def test_an_engine_without_epoll_passes_messages(monkeypatch):
    """As on platforms that have none: both ways, through many sockets, and it ends."""
    monkeypatch.setattr(thread_module, "_select_original", lambda name: None)
    with zgreen.Pump("no epoll", engine="python") as pump:
        assert isinstance(pump._thread.engine._poller, ZmqPoller)
        pairs = [channels(pump, "REP", "REQ") for _ in range(10)]
        for round_ in range(10):
            for _, client in pairs:
                client.put(b"ping %d" % round_)
            for server, _ in pairs:
                assert server.get(timeout=LIMIT) == b"ping %d" % round_
                server.put(b"pong")
            for _, client in pairs:
                assert client.get(timeout=LIMIT) == b"pong"
        tcp = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", pump=pump)
        with zgreen.Channel(zmq.PUSH, connect=tcp.last_endpoint, pump=pump) as client:
            client.put("x")
        assert tcp.get(timeout=LIMIT) == b"x"
