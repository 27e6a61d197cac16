"""Every public name has a docstring that says something, is in the reference, and reads well in help()."""

from __future__ import annotations

import inspect
import pydoc
import re

import pytest
from support import ROOT

import zgreen
import zgreen.auth
import zgreen.gunicorn
import zgreen.metrics
import zgreen.sse
import zgreen.status

pytestmark = pytest.mark.once


PUBLIC = {
    f"{module.__name__}.{name}": value
    for module in (zgreen, zgreen.auth, zgreen.gunicorn, zgreen.metrics, zgreen.sse, zgreen.status)
    for name, value in vars(module).items()
    if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    if f"{value.__module__}.".startswith(f"{module.__name__}.")
    or (module is zgreen and value.__module__.startswith("zgreen"))
}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}

# What the parts of zgreen call of each other; no underscore, because they are other modules. Not for users, and help()
# says so.
INTERNAL = {
    "zgreen.Channel": {"before_close", "at_end", "tap", "close_within", "begin_close", "push", "refused", "not_sent",
                       "ended", "pump_ended", "forked", "check_open", "trace", "sent_by_command", "picture"},
    "zgreen.Pump": {"link", "make_pipe", "error", "check", "post", "new_call", "send", "join", "leave",
                    "note_error", "numbered", "begin_exit", "end_exit", "park_thread", "after_fork"},
    "zgreen.Fanout": {"check_thread", "may_wait", "change_one", "close_one", "abandon", "kept", "token"},
    "zgreen.Subscription": {"get_numbered", "resume", "token"},
    "zgreen.sse.EventStream": {"resume"},
    "zgreen.Monitor": {"take", "wake"},
    "zgreen.Proxy": {"dump", "begin_exit", "park_thread", "end_exit", "after_fork"},
}  # fmt: skip


def members(name: str) -> dict[str, object]:
    """The public methods and properties that a class defines itself, or a class of zgreen's that it extends."""
    hidden = INTERNAL.get(name, set())
    bases = [base for base in reversed(CLASSES[name].__mro__) if base.__module__.startswith("zgreen.")]
    own = {member: value for base in bases for member, value in vars(base).items()}
    fields = getattr(CLASSES[name], "_fields", ())  # of a NamedTuple: the class says what they are
    return {
        member: value
        for member, value in own.items()
        if not member.startswith("_") and member not in hidden and member not in fields
        if inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
    }


MEMBERS = [(name, member) for name in CLASSES for member in members(name)]
# what a logging.Handler does is described there
REFERENCE = [(n, m) for n, m in MEMBERS if n != "zgreen.PubHandler" or m not in ("createLock", "handle", "emit")]


def text_of(value: object) -> str:
    return inspect.cleandoc(getattr(value, "__doc__", None) or "")


def test_the_test_sees_the_names() -> None:
    assert {"zgreen.Channel", "zgreen.get_pump", "zgreen.MonitorEvent", "zgreen.auth.Authenticator"} <= set(PUBLIC)
    assert {("zgreen.Channel", "put"), ("zgreen.Pump", "engine"), ("zgreen.Fanout", "subscribe")} <= set(MEMBERS)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_documented(name: str) -> None:
    text = text_of(PUBLIC[name])
    assert len(text) > 30, text
    assert not text.startswith(f"{name.rpartition('.')[2]}("), "that is what NamedTuple says by itself"


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_every_member_is_documented(name: str, member: str) -> None:
    assert len(text_of(members(name)[member])) > 10


@pytest.mark.parametrize(("name", "value"), PUBLIC.items())
def test_parameters_are_those_of_the_signature(name: str, value: object) -> None:
    for thing in [value, *(members(name).values() if name in CLASSES else ())]:
        function = thing.fget if isinstance(thing, property) else thing
        described = set(re.findall(r":param (\w+):", text_of(thing)))
        if described:
            assert described <= set(inspect.signature(function).parameters), (name, function)


@pytest.mark.parametrize(("name", "member"), REFERENCE)
def test_every_member_is_in_the_reference(name: str, member: str) -> None:
    """Where the reference names the members of a class, all are named."""
    module, _, short = name.rpartition(".")
    page = (ROOT / "docs" / "reference.rst").read_text()
    page = next(part for part in page.split("module:: ") if part.startswith(f"{module}\n"))
    entry = re.search(rf"auto(class|exception):: {short}(\(\))?\n((?:   .*\n|\n)*)", page)
    assert entry, f"{name} is not in docs/reference.rst"
    listed = re.search(r":members:(.*)", entry[3])
    assert listed, f"{name} is there without its members"
    names = listed[1].replace(" ", "").split(",")
    left_out = re.search(r":exclude-members:(.*)", entry[3])
    assert names == [""] or member in names, f"{name}.{member} is not in docs/reference.rst"
    assert not left_out or member not in left_out[1].replace(" ", "").split(",")


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_in_the_reference(name: str) -> None:
    page = (ROOT / "docs" / "reference.rst").read_text()
    assert re.search(rf"auto(class|exception|function):: {name.rpartition('.')[2]}\b", page)


@pytest.mark.parametrize("name", PUBLIC)
def test_help_reads_well(name: str) -> None:
    """Fields of docstrings begin their line."""
    for line in pydoc.plain(pydoc.render_doc(PUBLIC[name])).splitlines():
        assert not re.search(r"\S :(raises|param|return)\b", line.replace(" |  ", "")), line


@pytest.mark.parametrize(("name", "member"), [(name, member) for name in INTERNAL for member in sorted(INTERNAL[name])])
def test_what_is_internal_says_so(name: str, member: str) -> None:
    value = vars(CLASSES[name]).get(member)
    if value is not None:  # else it is no member of the class, and help() does not show it
        assert text_of(value).startswith("Internal: ")


def test_help_of_channel() -> None:
    text = pydoc.plain(pydoc.render_doc(zgreen.Channel))
    for word in ("put(self, message", "get(self, block", "on_error", "last_endpoint", ":param send_maxsize:"):
        assert word in text


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_page_points_to_is_there(page: str) -> None:
    """Files and folders by their paths, also within code, and the environments of tox."""
    text = (ROOT / page).read_text()
    for path in re.findall(r"`((?:zgreen|tests|docs|benchmarks)/[\w./]+)`|\]\(([\w./]+)\)", text):
        assert (ROOT / (path[0] or path[1])).exists(), path
    environments = (ROOT / "tox.ini").read_text()
    for names in re.findall(r"tox -e\s+([\w,]+)", text):
        for name in names.split(","):
            assert f"[testenv:{name}]" in environments, name
