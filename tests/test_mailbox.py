"""Mailbox, Bell and Reply: how one thread tells another something."""

from collections import deque

import pytest
from support import LIMIT, interruptions, readable, real_threads

from zgreen._engine._mailbox import Bell, Mailbox, Reply

pytestmark = pytest.mark.once


def taken(mailbox):
    items = []
    while (item := mailbox.take()) is not None:
        items.append(item)
    return items


def test_items_come_in_order():
    mailbox = Mailbox()
    for i in range(5):
        mailbox.send(i)
    assert len(mailbox) == 5
    assert taken(mailbox) == [0, 1, 2, 3, 4]
    assert mailbox.take() is None
    assert len(mailbox) == 0


def test_moving_some():
    """The oldest, in order; what is not asked for stays."""
    mailbox, moved = Mailbox(), deque("a")
    for item in ("b", "c", "d"):
        mailbox.send(item)
    mailbox.move(0, moved)
    mailbox.move(2, moved)
    assert list(moved) == ["a", "b", "c"]
    assert taken(mailbox) == ["d"]


def test_it_rings_only_a_sleeper():
    """And a sleeper only once, however much is sent."""
    mailbox = Mailbox()
    mailbox.send(1)
    assert not readable(mailbox)
    assert taken(mailbox) == [1]
    assert mailbox.sleeping() is True
    mailbox.send(2)
    assert readable(mailbox)
    mailbox.signaler.drain()
    mailbox.send(3)
    assert not readable(mailbox)
    assert taken(mailbox) == [2, 3]


def test_it_does_not_sleep_over_an_item():
    """What was sent just before is seen by the look that comes after saying so."""
    mailbox = Mailbox()
    mailbox.send(1)
    assert mailbox.sleeping() is False
    assert mailbox.asleep is False


def test_a_send_between_saying_and_looking(monkeypatch):
    """The order of the race: the owner has said that it sleeps, then the item comes, then the owner looks."""

    class Items(list):
        sender = None

        def __bool__(self):
            if self.sender is not None:
                sender, self.sender = self.sender, None
                sender()
            return len(self) > 0

        def popleft(self):
            return self.pop(0)

    mailbox = Mailbox()
    mailbox._items = Items()
    mailbox._items.sender = lambda: mailbox.send("just now")
    assert mailbox.sleeping() is False
    assert readable(mailbox)  # it rang, which does no harm
    assert mailbox.take() == "just now"


def test_no_wake_up_is_lost_between_threads():
    """Every item that one thread sends wakes the other, which sleeps between any two."""
    there, back = Mailbox(), Mailbox()
    count = 2000

    def echo():
        for _ in range(count):
            back.send(wait(there))

    def wait(mailbox):
        while (item := mailbox.take()) is None:
            if mailbox.sleeping():
                assert readable(mailbox, LIMIT), "a lost wake-up"
                mailbox.signaler.drain()
        return item

    with real_threads(2) as spawn:
        echoing = spawn(echo)

        def ask():
            for i in range(count):
                there.send(i)
                assert wait(back) == i

        spawn(ask).get()
        echoing.get()


def test_many_senders():
    mailbox = Mailbox()
    with real_threads(4) as spawn:

        def send(name):
            for i in range(1000):
                mailbox.send((name, i))

        for sender in [spawn(send, n) for n in range(4)]:
            sender.get()
    items = taken(mailbox)
    assert sorted(items) == sorted((n, i) for n in range(4) for i in range(1000))
    for n in range(4):
        assert [i for name, i in items if name == n] == list(range(1000))


def test_a_bell_asks_once_until_somebody_looks():
    mailbox = Mailbox()
    looked = []
    bell = Bell(mailbox, lambda: looked.append(1))
    for _ in range(3):
        bell.ring()
    assert len(mailbox) == 1
    mailbox.take()()
    assert looked == [1]
    bell.ring()
    assert len(mailbox) == 1


@pytest.mark.parametrize("lines", [False, True], ids=["calls", "lines"])
def test_a_ring_that_a_signal_handler_ends_can_be_repeated(lines):
    """Wherever it raises: else nobody would ever look."""
    mailbox, number, looked = Mailbox(), -1, []
    bell = Bell(mailbox, lambda: looked.append(1))
    mailbox.sleeping()
    for number in interruptions(bell.ring, "_engine/_mailbox.py", lines=lines):
        bell.ring()
        assert mailbox.take() is bell, f"at place {number}"
        bell()
        taken(mailbox)  # it may have been there twice
        mailbox.sleeping()
    assert number > 0
    assert len(looked) == number + 1


@pytest.mark.parametrize("lines", [False, True], ids=["calls", "lines"])
def test_a_send_that_a_signal_handler_ends_leaves_nothing_unseen(lines):
    """Wherever it raises: the item is not there, or its owner is woken."""
    mailbox, number = Mailbox(), -1
    mailbox.sleeping()
    for number in interruptions(
        lambda: mailbox.send("item"), "_engine/_mailbox.py", "_engine/_signaler.py", lines=lines
    ):
        there = taken(mailbox)
        assert readable(mailbox) or not there, f"at place {number}"
        mailbox.signaler.drain()
        mailbox.sleeping()
        mailbox.send("next")
        assert readable(mailbox), f"at place {number}"
        assert taken(mailbox) == ["next"]
        mailbox.signaler.drain()
        mailbox.sleeping()
    assert number > 0


def test_a_ring_while_somebody_looks_is_not_lost():
    """It may be about what they have just passed."""
    mailbox = Mailbox()
    bell = Bell(mailbox, lambda: bell.ring())
    bell.ring()
    mailbox.take()()
    assert len(mailbox) == 1


def test_a_reply():
    mailbox = Mailbox()
    seen = []
    reply = Reply(mailbox, seen.append)
    reply.complete("value")
    assert seen == []  # its asker's thread calls
    mailbox.take()()
    assert seen == [reply]
    assert (reply.value, reply.error) == ("value", None)
    error = ValueError()
    reply = Reply(mailbox, seen.append)
    reply.complete(error=error)
    mailbox.take()()
    assert (reply.value, reply.error) == (None, error)


def test_a_reply_has_its_outcome_before_it_is_sent():
    """The owner of the mailbox may be awake, and look at once."""
    seen = []

    class Looking(Mailbox):
        def send(self, item):
            seen.append((item.value, item.error))

    error = ValueError()
    Reply(Looking(), lambda _: None).complete("value")
    Reply(Looking(), lambda _: None).complete(error=error)
    assert seen == [("value", None), (None, error)]
