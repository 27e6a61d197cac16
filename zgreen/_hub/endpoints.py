"""Endpoints: what the socket of a channel is bound and connected to. Hub side; any thread.

Each method sends one command to the owning thread and waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .._engine._api import Command, Engine


class Watcher(Protocol):
    """Follows the connections of a socket; see `monitor.Tap`."""

    def expect(self, endpoint: str) -> None: ...
    def bound(self, endpoint: str, reported: str) -> None: ...
    def forget(self, endpoint: str) -> None: ...


class Endpoints:
    """The endpoints of one channel."""

    def __init__(self, engine: Engine, command: Callable[..., Any], connects_once: bool) -> None:
        """*command* carries out a command on the socket. *connects_once*: a second connect to an endpoint is ignored,
        as libzmq does for a PUB socket, but not for the XPUB that does its work."""
        self._engine = engine
        self._command = command
        self._connected: set[str] | None = set() if connects_once else None
        self.last = ""  # the one bound or connected last, as libzmq calls it; "" if none
        # Something was bound or connected since the opening, or is about to be. The thread that does it sets this
        # before the owning thread hears of it: see `monitor.Tap`.
        self.attached = False
        self.watcher: Watcher | None = None  # the hub's thread alone sets it

    def opened(self, last: str, connected: tuple[str, ...]) -> None:
        """Note what the socket was connected to as it was made."""
        self.last = last
        if self._connected is not None:
            self._connected.update(connected)

    def is_new(self) -> bool:
        """Whether nothing has been bound or connected."""
        return not self.last and not self.attached

    def bind(self, endpoint: str) -> None:
        """Bind the socket."""
        self._attach(self._engine.bind, endpoint)
        if self.watcher is not None:
            self.watcher.bound(endpoint, self.last)

    def connect(self, endpoint: str) -> None:
        """Connect the socket."""
        if self._connected is None:
            self._attach(self._engine.connect, endpoint)
        elif endpoint not in self._connected:
            self._connected.add(endpoint)
            try:
                self._attach(self._engine.connect, endpoint)
            except BaseException:
                self._connected.discard(endpoint)
                raise

    def unbind(self, endpoint: str) -> None:
        """Undo a bind."""
        self._detach(self._engine.unbind, endpoint)

    def disconnect(self, endpoint: str) -> None:
        """Undo a connect."""
        self._detach(self._engine.disconnect, endpoint)
        if self._connected is not None:
            self._connected.discard(endpoint)

    def _attach(self, how: Command, endpoint: str) -> None:
        if self.watcher is not None:
            self.watcher.expect(endpoint)
        self.attached = True
        self.last = self._command(how, endpoint)

    def _detach(self, how: Command, endpoint: str) -> None:
        self._command(how, endpoint)
        if self.watcher is not None:
            self.watcher.forget(endpoint)
