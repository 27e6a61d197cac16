"""RecvQueue, beside an end that comes at the worst moment."""

import gevent
import pytest

from zgreen import ClosedError
from zgreen._hub.link import Link
from zgreen._hub.queues import RecvQueue

pytestmark = pytest.mark.once


class Late:
    """A pipe to which the last message, and with it the end, comes just after the look of that number."""

    def __init__(self, number):
        self.looks = 0
        self.number = number
        self.messages = []
        self.error = None

    def try_pop(self, reserved):
        message = self.messages.pop() if len(self.messages) > reserved else None
        self.looks += 1
        if self.looks == self.number:
            self.messages.append(b"last")
            self.error = ClosedError("over")
        return message

    def waiting(self):
        return len(self.messages)

    def listen_for_message(self, bell, reserved):
        """Nothing rings here."""


@pytest.mark.parametrize("number", [1, 2])
def test_the_last_message_is_got_before_the_end_is_told(number):
    pipe = Late(number)
    queue = RecvQueue(Link(gevent.get_hub()), pipe, lambda: pipe.error)
    assert queue.get(True, None) == b"last"
    with pytest.raises(ClosedError):
        queue.get(True, None)
