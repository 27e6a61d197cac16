"""What a fan-out tells libzmq to subscribe to, step by step."""

import pytest

from zgreen.patterns._upstream import Upstream

pytestmark = pytest.mark.once


class Fan:
    """A fan-out: which prefixes its subscriptions want; and its channel: what that was told."""

    def __init__(self, linger, filters=True):
        self.wanted = set()
        self.told = []
        self.upstream = Upstream(self, filters, self.wanted.__contains__, linger)

    def subscribe(self, prefix):
        self.told.append(b"+" + prefix)

    def unsubscribe(self, prefix):
        self.told.append(b"-" + prefix)

    def want(self, *prefixes):
        for prefix in prefixes:
            self.wanted.add(prefix)
            self.upstream.tell(prefix)

    def leave(self, *prefixes):
        """Returns what was told because of it."""
        self.told.clear()
        self.wanted.difference_update(prefixes)
        for prefix in self.upstream.leave(prefixes):
            self.upstream.tell(prefix)
        return self.told


def test_what_is_wanted_is_told_once():
    fan = Fan(0)
    fan.want(b"a", b"b", b"a")
    assert fan.told == [b"+a", b"+b"]
    assert fan.leave(b"a") == [b"-a"]
    fan.upstream.tell(b"a")
    fan.want(b"a")
    assert fan.told == [b"-a", b"+a"]
    assert sorted(fan.upstream.leave_all()) == [b"a", b"b"]


def test_those_that_were_left_last_linger():
    fan = Fan(2)
    fan.want(b"a", b"b", b"c", b"d")
    assert fan.leave(b"a", b"b") == []
    assert fan.upstream.covers(b"a1")
    assert not fan.upstream.covers(b"c1")
    assert fan.leave(b"c") == [b"-a"]
    assert not fan.upstream.covers(b"a1")
    fan.want(b"b")  # it was subscribed all the time
    assert fan.told == [b"-a"]
    assert not fan.upstream.covers(b"b1")
    assert fan.leave(b"d") == []  # there is a place, as b is wanted
    assert fan.leave(b"b") == [b"-c"]  # it was left last, although it was left before
    assert sorted(fan.upstream.leave_all()) == [b"b", b"d"]
    assert not fan.upstream.covers(b"d1")


def test_what_is_left_twice_was_left_last():
    """It was wanted in between, but was left again before that was told."""
    fan = Fan(2)
    fan.want(b"a", b"b", b"c")
    for prefix in (b"a", b"b", b"a"):
        assert fan.leave(prefix) == []
    assert fan.leave(b"c") == [b"-b"]


def test_a_pull_is_told_nothing():
    fan = Fan(0, filters=False)
    fan.want(b"a")
    assert fan.leave(b"a") == []
    assert fan.upstream.leave_all() == []
