"""What every test gets: a clean process state before, and a look at what it left behind after.

With ZGREEN_TEST_PATCHED=1 the whole suite runs under monkey.patch_all().
"""

import os

if os.environ.get("ZGREEN_TEST_PATCHED"):
    import warnings

    from gevent import monkey

    with warnings.catch_warnings():
        # pytest has imported what gevent would rather patch first (ssl); the suite does not use it
        warnings.simplefilter("ignore")
        monkey.patch_all()

import gc
import signal
import sys
import weakref

import gevent
import pytest
import zmq
from support import ANY, LIMIT, close_all, raw_socket, unanswered

import zgreen
from zgreen._hub import shutdown

# whole applications, with packages of others: tox -e apps
collect_ignore = [] if os.environ.get("ZGREEN_TEST_APPS") else ["apps"]

# A shell starts background jobs with SIGINT ignored, and what they start inherits that. The tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest-timeout raises in whatever greenlet runs when the time is over; this brings it to the main greenlet, so that
# the test fails.
gevent.hub.Hub.SYSTEM_ERROR += (pytest.fail.Exception,)


def pytest_collection_finish():
    """Have the collector leave alone what is there before the first test: it is called after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def hub_errors():
    """What the hub reports as unhandled, as (context, exception); a test that provokes it takes it out of the list."""
    hub = gevent.get_hub()
    errors = []

    def handle_error(context, type, value, tb):  # noqa: A002
        if issubclass(type, hub.SYSTEM_ERROR):
            hub.handle_system_error(type, value, tb)
        elif not issubclass(type, hub.NOT_ERROR):
            errors.append((context, value))

    hub.handle_error = handle_error
    yield errors
    del hub.handle_error
    assert not errors


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """After the test: each frame that a native engine made was freed or given to libzmq, or waits in a pipe."""
    cores = []
    watch = shutdown.watch

    def watch_and_note(one):
        if isinstance(one, shutdown.Shutdown):  # a proxy is watched, too
            core = getattr(one.thread.engine, "_core", None)
            if core is not None:
                cores.append(weakref.ref(core))
        watch(one)

    monkeypatch.setattr(shutdown, "watch", watch_and_note)
    yield
    counts = [core.counts() for core in (ref() for ref in cores) if core is not None]
    native = sys.modules.get("zgreen._engine._native")
    counts += native.unbalanced if native else []  # of those that are gone
    assert all(made == freed + held for made, freed, held in counts)


@pytest.fixture(autouse=True)
def nothing_left(hub_errors, nothing_kept):
    """After the test: end what it left open, and see that the threads, the contexts and the replies are gone."""
    yield
    gc.collect()  # a pump that was dropped begins to shut down by itself
    for proxy in [one for one in shutdown.watched() if isinstance(one, zgreen.Proxy)]:
        proxy.close(timeout=LIMIT)
        assert proxy._pool.size == 0, f"{proxy}: its thread lives"
        assert proxy._proxying._context.closed, f"{proxy}: its context is open"
    for one in [one for one in shutdown.watched() if isinstance(one, shutdown.Shutdown)]:
        thread = one.thread
        close_all(thread)
        one.run(0, LIMIT)
        assert thread.pool is None or thread.pool.size == 0, f"{thread.name}: its OS thread lives"
        assert not unanswered(thread), f"{thread.name}: replies that never came"
        assert not thread.members
        if thread.engine._owns_context:
            assert thread.engine._context.closed, f"{thread.name}: its context is open"
    gc.collect()


@pytest.fixture
def pump():
    """A started pump, shut down after the test."""
    pump = zgreen.Pump("test").start()
    yield pump
    close_all(pump._thread)
    pump.shutdown(linger=0)  # what a test wants to have sent it has flushed or received


@pytest.fixture
def router():
    """A plain ROUTER that answers what, and when, the test says."""
    with raw_socket(zmq.ROUTER, bind=ANY) as socket:
        yield socket
