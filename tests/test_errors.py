"""The error tree."""

import gevent.queue
import pytest

import zgreen
from zgreen._errors import again, broken

pytestmark = pytest.mark.once


def test_one_root_for_all():
    for error in (zgreen.ClosedError, zgreen.ForkedError, zgreen.BrokenError):
        assert issubclass(error, zgreen.ZgreenError)


def test_closed_is_what_code_for_gevent_queues_expects():
    assert issubclass(zgreen.ClosedError, gevent.queue.ShutDown)
    assert issubclass(zgreen.ForkedError, zgreen.ClosedError)


def test_broken_is_not_taken_for_closed():
    assert not issubclass(zgreen.BrokenError, (zgreen.ClosedError, gevent.queue.ShutDown))


def test_an_error_that_is_given_to_many_is_new_for_each():
    cause = OSError("why")
    first = broken("the text", cause)
    assert (type(first), str(first), first.__cause__) == (zgreen.BrokenError, "the text", cause)
    for error in (first, zgreen.ClosedError("closed"), zgreen.ForkedError("forked")):
        one = again(error)
        assert one is not error
        assert (type(one), str(one), one.__cause__) == (type(error), str(error), error.__cause__)
