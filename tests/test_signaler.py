"""Signaler: a wake-up on a descriptor, with an eventfd and with a socketpair."""

import contextlib
import gc
import os

import pytest
from gevent import monkey
from support import LIMIT, Gate, real_threads

from zgreen._engine import _signaler
from zgreen._engine._signaler import Signaler

pytestmark = pytest.mark.once


@pytest.fixture(params=["eventfd", "socketpair"])
def make(request, monkeypatch):
    if request.param == "socketpair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("no eventfd here")
    return Signaler


def readable(signaler, seconds=0.0):
    poller = monkey.get_original("select", "poll")()
    poller.register(signaler.fileno(), 1)
    return bool(poller.poll(seconds * 1000))


def test_a_ring_makes_it_readable_until_the_drain(make):
    signaler = make()
    assert not readable(signaler)
    signaler.ring()
    assert readable(signaler)
    assert readable(signaler)  # looking takes nothing away
    signaler.drain()
    assert not readable(signaler)
    signaler.ring()
    assert readable(signaler)


def test_rings_merge(make):
    """It is a doorbell: many rings, one drain."""
    signaler = make()
    for _ in range(1000):
        signaler.ring()
    signaler.drain()
    assert not readable(signaler)


def test_more_rings_than_fit(make):
    """Where the socketpair's buffer is full it is readable already, so nothing is lost; and drains end."""
    signaler = make()
    for _ in range(300_000 if signaler._pair else 1000):
        signaler.ring()
    assert readable(signaler)
    while readable(signaler):
        signaler.drain()
    signaler.ring()
    assert readable(signaler)


def test_an_eventfd_at_its_limit():
    """The counter is full: readable, and neither side blocks."""
    if not hasattr(os, "eventfd"):
        pytest.skip("no eventfd here")
    signaler = Signaler()
    os.eventfd_write(signaler.fileno(), 2**64 - 2)
    signaler.ring()
    assert readable(signaler)
    signaler.drain()
    assert not readable(signaler)


def test_drain_of_nothing(make):
    """A merged ring may find nobody: no error, no wait."""
    signaler = make()
    signaler.drain()
    assert not readable(signaler)


def test_it_wakes_another_thread(make):
    signaler = make()
    ready = Gate()

    def wait():
        ready.open()
        return readable(signaler, LIMIT)

    with real_threads(1) as spawn:
        waiting = spawn(wait)
        ready.wait()
        signaler.ring()
        assert waiting.get() is True


def test_descriptors_go_with_the_last_reference(make):
    """All of them, and the descriptors are not inherited by a child that is executed."""
    gc.collect()
    signaler = make()
    fds = [signaler.fileno()] + [end.fileno() for end in signaler._pair or ()]
    assert not any(os.get_inheritable(fd) for fd in fds)
    assert not any(os.get_blocking(fd) for fd in fds)
    del signaler
    gc.collect()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_ring_after_the_owner_let_go_hits_no_foreign_descriptor(make):
    """Who still holds it to ring keeps its number from being given to somebody else."""
    signaler = make()
    number = signaler.fileno()
    late = signaler.ring  # a thread inside ring() holds this
    del signaler
    gc.collect()
    with contextlib.ExitStack() as stack:
        foreign = []
        for _ in range(5):
            read, write = os.pipe()
            stack.callback(os.close, read)
            stack.callback(os.close, write)
            foreign += [read, write]
        assert number not in foreign
        late()
        os.fstat(number)
        poller = monkey.get_original("select", "poll")()
        for fd in foreign[::2]:
            poller.register(fd, 1)
        assert poller.poll(0) == []


def test_no_descriptor_left(make, monkeypatch):
    """The error is the caller's, and the half made object goes quietly."""

    def none_left(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "eventfd", none_left, raising=False) if hasattr(os, "eventfd") else None
    monkeypatch.setattr(_signaler, "_socketpair", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        make()
    gc.collect()
