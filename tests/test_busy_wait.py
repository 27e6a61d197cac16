"""Pump(busy_wait=): the owning thread looks for work for a while before it sleeps; the native engine alone.

How long it may look, and that it is not rung meanwhile, is for the tests in C++ (tests/core).
"""

import os

import pytest
from support import LIMIT, channels, run, wait_for

from zgreen import Pump

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
LONG = LIMIT  # so that each wait is a short one


def looks(pump):
    """How often its thread has looked before it slept: (found something, found nothing)."""
    statistics = pump.statistics()
    return statistics.busy_wait_hits, statistics.busy_wait_misses


def send_one(server, client):
    client.put("x")
    assert server.get(timeout=LIMIT) == b"x"


@pytest.mark.parametrize(
    ("busy_wait", "error", "match"),
    [
        ("1", TypeError, "busy_wait must be a number of seconds or None, not str"),
        (True, TypeError, "busy_wait must be a number of seconds or None, not bool"),
        (-1e-6, ValueError, "busy_wait must be 0 or more, and finite: seconds, not -1e-06"),
        (float("inf"), ValueError, "busy_wait must be 0 or more, and finite: seconds, not inf"),
        (float("nan"), ValueError, "busy_wait must be 0 or more, and finite: seconds, not nan"),
    ],
)
def test_wrong_arguments_name_what_is_wrong(busy_wait, error, match):
    with pytest.raises(error, match=match):
        Pump(busy_wait=busy_wait)


def test_looks_that_find_something_are_counted():
    with Pump(busy_wait=LONG) as pump:
        server, client = channels(pump, "PULL", "PUSH")

        def found():
            send_one(server, client)
            return looks(pump)[0]

        if pump.engine == "native" and CORES > 1:
            wait_for(found, "a look that finds something")
        else:
            for _ in range(100):
                found()
            assert looks(pump) == (0, 0)


def test_looks_that_find_nothing_are_counted():
    """Then the thread sleeps, and is woken as ever."""
    with Pump(busy_wait=1e-3) as pump:
        server, client = channels(pump, "PULL", "PUSH")

        def missed():
            send_one(server, client)
            return looks(pump)[1]

        if pump.engine == "native" and CORES > 1:
            wait_for(missed, "a look that finds nothing")
        else:
            for _ in range(100):
                missed()
            assert looks(pump) == (0, 0)


@pytest.mark.parametrize("busy_wait", [0, 0.0])
def test_zero_turns_it_off(busy_wait):
    with Pump(busy_wait=busy_wait) as pump:
        server, client = channels(pump, "PULL", "PUSH")
        for _ in range(100):
            send_one(server, client)
        assert looks(pump) == (0, 0)


def test_an_idle_pump_does_not_look(pump):
    """Its last look finds nothing; then it sleeps until there is work."""
    server, client = channels(pump, "PULL", "PUSH")
    for _ in range(100):
        send_one(server, client)
    counts = []

    def settled():
        statistics = pump.statistics()
        counts.append((looks(pump), statistics.thread_wakeups))
        return len(counts) > 20 and counts[-1] == counts[-20]

    wait_for(settled, "the owning thread to sleep through 20 snapshots")


def test_a_shutdown_does_not_wait_for_the_end_of_a_look():
    """A look sees mail: the long ones here would take the shutdown beyond the limit of a test otherwise."""
    pump = Pump(busy_wait=10 * LIMIT).start()
    server, client = channels(pump, "PULL", "PUSH")
    for _ in range(100):
        send_one(server, client)
    pump.shutdown(timeout=LIMIT)
    assert pump.closed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not let a process choose its cores")
def test_off_with_one_core():
    """What it looks for could not come while it looks."""
    status, out, err = run("""
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import zgreen
        with zgreen.Pump(busy_wait=30.0) as pump:
            server = zgreen.Channel("PULL", bind="tcp://127.0.0.1:*", pump=pump)
            client = zgreen.Channel("PUSH", connect=server.last_endpoint, pump=pump)
            for _ in range(100):
                client.put("x")
                server.get()
            print(pump.statistics().busy_wait_hits, pump.statistics().busy_wait_misses)
    """)
    assert (status, out, err) == (0, "0 0\n", "")
