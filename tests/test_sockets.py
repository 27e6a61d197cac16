"""The kinds of sockets, and the names of options and errors."""

from __future__ import annotations

import errno

import pytest
import zmq

from zgreen._sockets import error_name, kind_of, option_name

pytestmark = pytest.mark.once

BOTH = ("PAIR", "REQ", "REP", "DEALER", "ROUTER", "XPUB", "XSUB", "STREAM")


@pytest.mark.parametrize(("names", "sends", "receives"), [
    (BOTH, True, True), (("PUB", "PUSH"), True, False), (("SUB", "PULL"), False, True),
])  # fmt: skip
def test_which_way_messages_go(names, sends, receives):
    for name in names:
        number = getattr(zmq, name)
        assert kind_of(name) == kind_of(name.lower()) == kind_of(int(number)) == kind_of(number)
        assert kind_of(name) == (name, number, sends, receives)


def test_what_a_kind_cannot_do():
    assert str(kind_of("PULL").cannot("send", "jobs")) == ("jobs: a PULL socket cannot send: get from it, do not put")
    assert str(kind_of("PUB").cannot("receive", "news")) == ("news: a PUB socket cannot receive: put to it, do not get")


@pytest.mark.parametrize(("value", "error"), [
    ("", ValueError), ("PULLL", ValueError), (12, ValueError), (-1, ValueError),
    (True, TypeError), (False, TypeError), (b"PULL", TypeError), (None, TypeError), (7.0, TypeError),
])  # fmt: skip
def test_what_is_no_kind(value, error):
    with pytest.raises(error, match=r"socket type|socket_type") as caught:
        kind_of(value)
    assert (type(value).__name__ if error is TypeError else repr(value)) in str(caught.value)


def test_names_for_error_texts():
    assert [option_name(option) for option in (zmq.SNDHWM, int(zmq.LINGER), 99999)] == ["SNDHWM", "LINGER", "99999"]
    numbers = [errno.EACCES, errno.EHOSTUNREACH, zmq.EFSM, zmq.ETERM, 99999, None, 0]
    assert [error_name(number) for number in numbers] == [
        "EACCES",
        "EHOSTUNREACH",
        "EFSM",
        "ETERM",
        "99999",
        "None",
        "0",
    ]
