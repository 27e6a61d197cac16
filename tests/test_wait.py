"""Deadlines, the block of a thread on its mailbox, and conditions: the small steps of a wait, one by one."""

from types import SimpleNamespace

import gevent
import pytest
from support import LIMIT, Interrupted, readable, real_threads, wait_for

from zgreen._engine._mailbox import Mailbox
from zgreen._hub import wait
from zgreen._hub.call import Call
from zgreen._hub.link import Link
from zgreen._hub.wait import Change, Deadline, TimedOut, wait_for_mail, wait_within


@pytest.fixture
def change():
    link = Link(gevent.get_hub())
    link.start()
    yield Change(link)
    link.stop()


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0.0004, 1), (0.0014, 2), (0.0, 0), (-1.0, 0)])
def test_what_is_left_of_a_millisecond_is_waited_for(monkeypatch, seconds, milliseconds):
    """Else a thread would ask again and again, without a pause, until the deadline."""
    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert Deadline(seconds).milliseconds() == milliseconds


def test_the_callers_own_timeout_passes():
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.001) as own:
        wait_within(LIMIT, lambda: gevent.sleep(LIMIT))
    assert caught.value is own
    with pytest.raises(TimedOut):
        wait_within(0.001, lambda: gevent.sleep(LIMIT))


def test_a_ring_is_used_up():
    """Else the next wait on the mailbox would return at once, and so would each that follows."""
    mailbox = Mailbox()
    mailbox.signaler.ring()
    assert wait_for_mail(mailbox, Deadline(LIMIT))
    assert not readable(mailbox)


def test_a_mailbox_that_nobody_sleeps_at_is_not_rung():
    mailbox = Mailbox()
    mailbox.signaler.ring()
    assert wait_for_mail(mailbox, Deadline(LIMIT))
    mailbox.send(lambda: None)
    assert not readable(mailbox)


def test_a_ring_without_an_answer_is_none(change):
    """The engine rings to say that there is something to look at, which may be for another caller."""
    mailbox = Mailbox()
    call = Call(change._link, "a command", mailbox=mailbox)
    mailbox.signaler.ring()
    with real_threads(1) as spawn:
        waiting = spawn(call.wait, Deadline(LIMIT))
        wait_for(lambda: not readable(mailbox), "the thread to use the ring up")
        call.reply.complete("the answer")
        assert waiting.get(timeout=LIMIT) == "the answer"


def test_waiters_that_have_left_are_forgotten(change):
    """However they leave: too late, killed, or told."""
    assert not change.wait_until(lambda: False, Deadline(0.001))
    killed = gevent.spawn(change.wait_until, lambda: False, Deadline(None))
    wait_for(lambda: change._waiters, "the waiter")
    killed.kill()
    true = []
    told = gevent.spawn(change.wait_until, lambda: true, Deadline(LIMIT))
    wait_for(lambda: change._waiters, "the waiter")
    true.append(True)
    change.tell()
    assert told.get(timeout=LIMIT)
    assert not change._waiters


def test_a_signal_handler_that_raises_as_waiters_are_woken_leaves_none_asleep(change):
    class Raising:
        """A waiter at whose turn the handler raises."""

        def switch(self, _value):
            change._waiters.remove(self)
            raise Interrupted

    change._waiters.append(Raising())
    true = []
    waiter = gevent.spawn(change.wait_until, lambda: true, Deadline(None))
    wait_for(lambda: len(change._waiters) == 2, "the waiter")
    true.append(True)
    with pytest.raises(Interrupted):
        change._wake()
    assert waiter.get(timeout=LIMIT)


def test_a_condition_that_became_true_just_before_the_deadline_counts(change):
    """What was told is still on its way then."""
    looks = iter([False, True])
    assert change.wait_until(lambda: next(looks), Deadline(0.001))
