"""The monitor of a green socket: a PAIR socket of ours to which libzmq tells its events."""

from __future__ import annotations

import itertools

import zmq

from .._engine._api import Plan
from .._hub.lanes import Sizes
from .._sockets import kind_of
from ._core import Core
from ._lanes import SocketLanes

_NUMBERS = itertools.count(1)


def open_monitor(core: Core, pair: Core, events: int, addr: str | None) -> None:
    """Have the socket of *core* tell its *events* to that of *pair*, a PAIR that was just made, by way of *addr*.

    libzmq waits where its events find no room, and with it the threads of the socket: so the queue has no limit.
    """
    lanes = core.ready()
    pair_lanes = SocketLanes(
        lanes.thread,
        kind_of(zmq.PAIR),
        Plan(None, int(zmq.PAIR), ((zmq.RCVHWM, 0),), None, (), ()),
        Sizes(None, None, "block"),
        1,
        core.life,
    )
    pair_lanes.open()
    pair.wear(pair_lanes)
    addr = addr or f"inproc://zgreen.green.monitor.{next(_NUMBERS)}"
    core.command(lanes.engine.monitor, pair_lanes.pipe, addr, events)
