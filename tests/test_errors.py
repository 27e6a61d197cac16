"""The error tree."""

import gevent.queue
import pytest

import zgreen

pytestmark = pytest.mark.once


def test_one_root_for_all():
    for error in (zgreen.ClosedError, zgreen.ForkedError, zgreen.BrokenError):
        assert issubclass(error, zgreen.ZgreenError)


def test_closed_is_what_code_for_gevent_queues_expects():
    assert issubclass(zgreen.ClosedError, gevent.queue.ShutDown)
    assert issubclass(zgreen.ForkedError, zgreen.ClosedError)


def test_broken_is_not_taken_for_closed():
    assert not issubclass(zgreen.BrokenError, (zgreen.ClosedError, gevent.queue.ShutDown))
