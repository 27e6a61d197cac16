"""Inbox and Waker: one subscription's queue, and how those who wait there are told. No socket, no pump."""

import gevent
import pytest
from gevent.queue import Empty
from support import LIMIT, Interrupted, interruptions, outcome

from zgreen import ClosedError
from zgreen.patterns._inbox import _PASS, Inbox, Waker

pytestmark = pytest.mark.once


@pytest.fixture
def waker():
    return Waker(gevent.get_hub())


def make(waker, maxsize=None, overflow="drop_oldest", at_full=lambda inbox: None):
    return Inbox(waker, maxsize, overflow, at_full)


def got(inbox, timeout=LIMIT):
    inbox.wait(timeout)
    return inbox.take()


def passes(number=5):
    """Let the loop go through its callbacks."""
    for _ in range(number):
        gevent.sleep(0)


def test_a_get_that_had_its_message_in_time_leaves_no_timer(waker):
    """Else Empty would come out of whatever the greenlet does later."""
    inbox = make(waker)
    gevent.spawn(inbox.offer, "message")
    assert got(inbox, 0.05) == "message"
    gevent.sleep(0.1)


def test_a_get_that_was_killed_leaves_nobody_in_the_line(waker):
    inbox = make(waker)
    getter = gevent.spawn(inbox.wait, None)
    passes()
    getter.kill()
    assert not inbox._links
    with pytest.raises(Empty):
        inbox.wait(0.01)
    assert not inbox._links


def test_an_inbox_is_looked_after_once_for_many_messages(waker):
    inbox = make(waker)
    told = []
    inbox.link(told.append, "told")
    for number in range(10):
        inbox.offer(number)
    assert len(waker._due) == 1
    passes()
    assert told == ["told"]
    assert not waker._due


def test_one_callback_of_the_loop_for_many_inboxes(waker, monkeypatch):
    """Each tells at most so many; they follow each other, with the loop between them."""
    run, runs = waker._run, []
    monkeypatch.setattr(waker, "_run", lambda: (runs.append(len(waker._due)), run()))
    told = []
    inboxes = [make(waker) for _ in range(2 * _PASS + 1)]
    for number, inbox in enumerate(inboxes):
        inbox.link(told.append, number)
        inbox.offer("message")
    passes()
    assert runs == [2 * _PASS + 1, _PASS + 1, 1]
    assert told == list(range(2 * _PASS + 1))
    assert not waker._scheduled


def test_catching_up_is_over_when_all_have_been_told(waker):
    told = []
    for number in range(3 * _PASS + 1):
        inbox = make(waker)
        inbox.link(told.append, number)
        inbox.offer("message")
    waker.urgent = True
    waker.catch_up()
    assert told == list(range(3 * _PASS + 1))
    assert not waker.urgent


def test_who_links_to_what_is_ready_is_told(waker):
    inbox = make(waker)
    inbox.offer("message")
    told = []
    inbox.link(told.append, "first")
    inbox.link(told.append, "second")
    passes()
    assert told == ["first", "second"]


def test_a_signal_handler_that_raises_leaves_no_waiter_untold(waker, hub_errors):
    """Wherever it does so as the hub tells them: a waiter leaves the line only as it is told."""
    told, number = [], -1

    def prepare():
        told.clear()
        inbox = make(waker)
        for name in ("first", "second"):
            inbox.link(told.append, name)
        inbox.offer("message")

    prepare()
    for number in interruptions(waker._run, "patterns/_inbox.py"):
        passes()
        assert told == ["first", "second"], f"at place {number}"
        prepare()
    assert number > 5
    assert told == ["first", "second"]
    assert {type(error) for _, error in hub_errors} == {Interrupted}
    hub_errors.clear()


def test_a_getter_that_takes_the_last_one_leaves_the_next_waiting(waker):
    inbox = make(waker)
    messages = []
    getters = [gevent.spawn(lambda: messages.append(got(inbox))) for _ in range(3)]
    passes()
    inbox.offer("one")
    inbox.offer("two")
    passes()
    assert messages == ["one", "two"]
    assert [getter.dead for getter in getters] == [True, True, False]
    inbox.offer("three")
    gevent.joinall(getters)
    assert messages == ["one", "two", "three"]


def test_a_callback_that_takes_the_last_one_leaves_the_next_untold(waker):
    inbox = make(waker)
    told = []
    for name in ("first", "second"):
        inbox.link(lambda name: told.append((name, inbox.take())), name)
    inbox.offer("message")
    passes()
    assert told == [("first", "message")]
    inbox.offer("another")
    passes()
    assert told == [("first", "message"), ("second", "another")]


def test_a_callback_that_links_again_is_told_again(waker):
    """One that takes nothing does not keep the others waiting, or the hub busy for ever in one call."""
    inbox = make(waker)
    told = []

    def again(name):
        told.append(name)
        if len(told) < 10:
            inbox.link(again, name)

    inbox.link(again, "a")
    inbox.link(again, "b")
    inbox.offer("message")
    passes(20)
    assert told[:4] == ["a", "b", "a", "b"]
    assert len(told) >= 10


def test_the_end_tells_all_who_wait(waker):
    inbox = make(waker)
    getters = [gevent.spawn(outcome, got, inbox) for _ in range(3)]
    passes()
    inbox.end(lambda: ClosedError("over"))
    gevent.joinall(getters, timeout=LIMIT)
    assert [type(getter.value) for getter in getters] == [ClosedError] * 3
    assert not inbox.offer("late")
    inbox.end(lambda: ClosedError("again"))
    assert str(inbox.error()) == "over"


def test_limits_and_policies(waker):
    full = []
    kept = {}
    for overflow in ("drop_oldest", "drop_newest", "disconnect"):
        inbox = make(waker, 2, overflow, full.append)
        taken = [inbox.offer(number) for number in range(4)]
        kept[overflow] = (taken, [inbox.take() for _ in range(len(inbox))], inbox.dropped, inbox.full)
    assert kept == {
        "drop_oldest": ([True] * 4, [2, 3], 2, False),
        "drop_newest": ([True, True, False, False], [0, 1], 2, False),
        "disconnect": ([True, True, False, False], [0, 1], 2, True),
    }
    assert len(full) == 2


def test_a_full_inbox_with_waiters_is_urgent(waker):
    inbox = make(waker, 2)
    inbox.offer("one")
    assert not waker.urgent  # nobody waits there
    inbox.take()
    inbox.link(lambda _: None, None)
    inbox.offer("one")
    assert not waker.urgent
    inbox.offer("two")
    assert waker.urgent


def test_a_signal_handler_that_raises_costs_no_inbox_its_turn(waker, monkeypatch):
    """The first one is told once more, and the others after it."""
    tell, told = Inbox.tell, []

    def interrupted(inbox):
        monkeypatch.setattr(Inbox, "tell", tell)
        raise Interrupted

    monkeypatch.setattr(Inbox, "tell", interrupted)
    for number in range(3):
        inbox = make(waker)
        inbox.link(told.append, number)
        inbox.offer("message")
    with pytest.raises(Interrupted):
        waker._run()
    passes()
    assert told == [0, 1, 2]
