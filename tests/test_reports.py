"""Reports, one by one: in order, whatever one of them does, and wherever they are waited for."""

import gevent
import pytest
from gevent.event import Event
from support import LIMIT, outcome, wait_for

from zgreen._hub.reports import Reports


@pytest.fixture
def reports():
    return Reports(gevent.get_hub(), lambda: True)


@pytest.fixture
def outside():
    """As the exiting thread has them: no greenlet works them off."""
    return Reports(gevent.get_hub(), lambda: False)


def exits():
    raise SystemExit


def is_killed():
    raise gevent.GreenletExit


def test_nothing_is_spawned_outside_of_the_hubs_thread(outside):
    told = []
    outside.add(told.append, 1)
    gevent.sleep(0)
    assert told == []
    outside.tell_now(0)
    assert told == [1]


def test_one_that_exits_does_not_keep_the_next_from_being_told(outside):
    told = []
    outside.add(exits)
    outside.add(told.append, 1)
    outside.tell_now(0)
    assert told == [1]


def test_one_that_is_killed_does_not_keep_the_next_from_being_told(reports):
    told = []
    reports.add(is_killed)
    reports.add(told.append, 1)
    wait_for(lambda: told, "the next one")


def test_the_hub_itself_does_not_wait(reports):
    """It may not: nothing else would run."""
    found = []
    gevent.get_hub().loop.run_callback(lambda: found.append(outcome(reports.wait)))
    reports.add(found.append, "told")
    wait_for(lambda: len(found) == 2)
    assert found == [None, "told"]


def test_a_report_does_not_wait_for_itself(reports):
    found = []
    reports.add(lambda: found.append(outcome(reports.wait)))
    reports.add(found.append, "told")
    wait_for(lambda: len(found) == 2)
    assert found == [None, "told"]


def test_another_greenlet_waits_for_what_was_added_before(reports):
    told = []
    reports.add(gevent.sleep, 0)
    reports.add(told.append, 1)
    reports.wait(LIMIT)
    assert told == [1]
    reports.wait(LIMIT)  # there is nothing left to wait for


def test_one_that_is_under_way_is_waited_for_at_exit(reports):
    go_on, told = Event(), []

    def report():
        told.append("begun")
        go_on.wait()
        told.append("done")

    reports.add(report)
    reports.add(told.append, "next")
    wait_for(lambda: told, "the beginning")
    gevent.spawn(go_on.set)
    reports.tell_now(LIMIT)
    assert told == ["begun", "done", "next"]


def test_those_of_the_parent_are_forgotten(reports, outside):
    told = []
    for one in (reports, outside):
        one.add(told.append, 1)
        one.forget()
        one.tell_now(0)
    gevent.sleep(0)
    assert told == []
