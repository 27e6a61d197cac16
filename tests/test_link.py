"""Link: one hub as other threads see it; no engine, no socket."""

import gevent
import pytest
from support import wait_for

from zgreen._hub.link import Link

pytestmark = pytest.mark.once


@pytest.fixture
def link():
    link = Link(gevent.get_hub())
    link.start()
    yield link
    link.stop()


class Stop(BaseException):
    """What is no Exception, as SystemExit, which the hub does not report but raise, is none."""


@pytest.mark.parametrize("error", [ZeroDivisionError, Stop])
def test_mail_that_fails_each_time_is_called_once_or_twice(link, hub_errors, error):
    """A signal handler may have kept it from its work: so it is called once more after what is no Exception, and only
    once; what comes behind it is called in any case."""
    calls = []

    def fail():
        calls.append("fail")
        raise error

    link.mailbox.send(fail)
    link.mailbox.send(lambda: calls.append("next"))
    wait_for(lambda: "next" in calls)
    link.mailbox.send(lambda: calls.append("last"))
    wait_for(lambda: "last" in calls)
    assert calls == ["fail"] * (1 if error is ZeroDivisionError else 2) + ["next", "last"]
    assert [type(one) for _, one in hub_errors] == [error]
    hub_errors.clear()


def test_mail_that_a_signal_handler_has_kept_from_its_work_is_called_again(link, hub_errors):
    calls = []

    def work():
        calls.append(1)
        if len(calls) == 1:
            raise Stop

    link.mailbox.send(work)
    wait_for(lambda: len(calls) == 2)
    assert [type(one) for _, one in hub_errors] == [Stop]
    hub_errors.clear()


def test_a_link_that_is_stopped_hears_no_ring(link):
    """Its watcher would keep the hub's loop alive, and so a program that waits for nothing else."""
    watcher = link._watcher
    assert watcher.active
    link.stop()
    assert not watcher.active
    link.mailbox.send(lambda: pytest.fail("called"))
    link.mailbox.signaler.ring()
    for _ in range(3):
        gevent.sleep(0)
    assert link.wakeups == 0
