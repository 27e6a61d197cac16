"""The states of an object, and the errors that its callers get; no channel is needed for it."""

import pytest
import zmq

from zgreen import BrokenError, ClosedError, ForkedError
from zgreen._hub.life import ChannelState, Life, State

pytestmark = pytest.mark.once


class Thread:
    """The owning thread, as far as the states of its channels ask it."""

    def __init__(self):
        self.name = "<pump>"
        self.state = State()
        self.failure = None

    def error(self):
        return None if self.failure is None else self.failure()


@pytest.fixture
def thread():
    return Thread()


@pytest.fixture
def finished():
    """Whether the pipe is finished: it is if this list is not empty."""
    return []


@pytest.fixture
def state(thread, finished):
    return ChannelState(lambda: "<channel>", lambda: bool(finished), thread)


def test_an_object_goes_forwards_only():
    state = State()
    assert (state.now, state.error()) == (Life.OPEN, None)
    assert state.advance(Life.CLOSING)
    assert not state.advance(Life.CLOSING)
    assert state.advance(Life.ENDED, lambda: LookupError("the first"))
    for life in Life:
        assert not state.advance(life, lambda: LookupError("the second"))
        assert state.now is Life.ENDED
    errors = state.error(), state.error()
    assert [str(error) for error in errors] == ["the first"] * 2
    assert errors[0] is not errors[1], "each caller adds a traceback to its own"


def test_in_the_child_of_a_fork():
    """Whatever it was: it has ended, and a lock that another thread held is free."""
    state = State()
    state.advance(Life.ENDED, LookupError)
    held = state.lock
    state.forked(lambda: ForkedError("the parent's"))
    assert (state.now, str(state.error())) == (Life.ENDED, "the parent's")
    assert state.lock is not held


def test_an_open_channel_has_no_error(state):
    assert (state.get_error(), state.put_error()) == (None, None)
    state.check_open()


def test_a_channel_that_is_being_closed(state, finished):
    """Puts are refused at once, gets when the owning thread has let go of the pipe: the hub may learn that later."""
    state.advance(Life.CLOSING)
    assert state.get_error() is None
    assert str(state.put_error()) == "<channel> was closed"
    with pytest.raises(ClosedError, match="<channel> was closed"):
        state.check_open()
    finished.append(True)
    assert (type(state.get_error()), str(state.get_error())) == (ClosedError, "<channel> was closed")


def test_the_owning_thread_has_ended_and_the_channel_does_not_know_yet(state, thread):
    thread.failure = lambda: BrokenError("the thread's")
    for error in (state.get_error(), state.put_error()):
        assert (type(error), str(error)) == (BrokenError, "the thread's")


def test_the_end_by_a_close(state):
    make_error = state.end(None)
    assert state.now is Life.ENDED
    assert [str(error) for error in (make_error(), state.get_error(), state.put_error())] == [
        "<channel> was closed"
    ] * 3
    assert type(state.get_error()) is ClosedError


def test_the_end_by_the_shutdown_of_the_pump(state, thread):
    thread.state.advance(Life.CLOSING)
    state.end(None)
    assert str(state.put_error()) == "<channel> was closed by the shutdown of <pump>"


def test_the_end_by_an_error_of_the_socket(state):
    cause = zmq.ZMQError(zmq.ENOTSOCK)
    state.end(cause)
    error = state.get_error()
    assert (type(error), error.__cause__) == (BrokenError, cause)
    assert str(error).startswith("<channel> has ended by an error of its socket: ")


@pytest.mark.parametrize("known", [False, True])
def test_the_end_by_that_of_the_owning_thread(state, thread, known):
    """Callers get the thread's error, a new one each time as soon as the thread makes them."""
    cause = BrokenError("the thread's")
    state.end(cause)
    if known:
        thread.failure = lambda: BrokenError("the thread's")
    errors = state.get_error(), state.get_error()
    assert {(type(error), str(error)) for error in errors} == {(BrokenError, "the thread's")}
    assert (errors[0] is errors[1] is cause) is not known


def test_a_channel_ends_once(state):
    state.end(None)
    state.end(zmq.ZMQError(zmq.ENOTSOCK))
    assert type(state.get_error()) is ClosedError
