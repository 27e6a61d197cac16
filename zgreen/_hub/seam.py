"""The seam between the core and the patterns: all that a pattern may use of a pump beyond its public face. Hub side.

Patterns, and everything else outside the core, import the public names and this module, nothing more of the core.
Unless its docstring says otherwise, a function may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent.hub

from .._errors import ForkedError
from . import shutdown
from .channel import Channel
from .many import get_many as _get_many
from .monitor import peers_of
from .pump import Pump
from .received import Reader
from .shutdown import LINGER as LINGER
from .shutdown import Watched as Watched
from .wait import Deadline as Deadline


def hub_of(pump: Pump) -> gevent.hub.Hub:
    """Return the gevent hub that *pump* serves."""
    return pump._thread.link.hub


def is_here(pump: Pump) -> bool:
    """Whether the caller is on the thread of the pump's hub."""
    return pump._thread.link.here()


def checks_of(pump: Pump) -> tuple[Callable[[], bool], Callable[[], bool]]:
    """Return `is_here` and `may_wait` for this pump alone, each of which is one call: for what is asked for each
    message."""
    return pump._thread.link.here, pump._thread.link.may_wait


def may_wait(pump: Pump) -> bool:
    """Whether the caller may wait: it is not the hub itself, which runs the callbacks of its loop."""
    return pump._thread.link.may_wait()


def check_here(pump: Pump, what: object) -> None:
    """Raise a RuntimeError unless the caller is on the thread of the pump's hub; *what* begins its text."""
    pump._thread.link.check_here(what)


def check_greenlet(pump: Pump, what: object) -> None:
    """Raise a RuntimeError unless the caller is a greenlet of the pump's hub; *what* begins its text."""
    check_here(pump, what)
    if not may_wait(pump):
        raise RuntimeError(f"{what} may have to wait, so it works in a greenlet only: a callback of the hub spawns one")


def fork_error(pump: Pump) -> ForkedError | None:
    """Return what to raise in the child of a fork, if *pump* belongs to the parent of this process, else None."""
    error = pump._thread.error()
    return error if isinstance(error, ForkedError) else None


def check_process(pump: Pump) -> None:
    """Raise ForkedError if *pump* belongs to the parent of this process."""
    error = fork_error(pump)
    if error is not None:
        raise error


def check_open(channel: Channel) -> None:
    """Raise the error that a put would raise if *channel* has ended or is being closed."""
    channel._lanes.state.check_open()


def reader_of(channel: Channel) -> Reader | None:
    """The open reader that alone gets from *channel*, if there is one."""
    return channel._read_by()


def give_to(channel: Channel, reader: Reader) -> None:
    """Let *reader* alone get from *channel*, by way of `get_many`, until it is closed; on the hub's thread.

    All others get a RuntimeError. Greenlets that wait in a get already would not.
    """
    channel._give_to(reader)


def take_back(channel: Channel) -> None:
    """Let all get from *channel* again; on the hub's thread."""
    channel._take_back()


def get_many(channel: Channel, limit: int) -> list[Any]:
    """`Channel.get_many` for the one reader of *channel*."""
    return _get_many(channel._lanes, limit, None)


def peers(channel: Channel) -> int | None:
    """How many peers are connected to *channel*, handshake done; None if that is not known: it is not monitored since
    before its first bind or connect, or it is one of the cases of `Channel.wait_connected`."""
    return peers_of(channel._lanes)


def watch(thing: Watched) -> None:
    """Call the methods of *thing* at the exit of the process and in the child of a fork, as those of a pump."""
    shutdown.watch(thing)


def pumps() -> list[Pump]:
    """Return the pumps of this process that live, sorted by name."""
    owning = [one.thread for one in shutdown.watched() if isinstance(one, shutdown.Shutdown)]
    return sorted((pump for pump in (thread.face() for thread in owning) if pump is not None), key=repr)


def report(pump: Pump, function: Callable[..., Any], *args: Any) -> None:
    """Have the user's code, a log line for example, called in a greenlet that may wait; on the hub's thread.

    In order with what the pump itself reports. Such code must not be called in a callback of the hub.
    """
    pump._thread.link.reports.add(function, *args)


def numbered(pump: Pump) -> list[tuple[int, Channel]]:
    """The open channels, each with its number: the first that the pump had is 1."""
    return pump._thread.faces()
