"""Reports: the user's code that must be told something (log handlers, on_error, on_event), called in order. Hub side.

None of it may run inside the hub itself: a log handler, for example, may have to wait for a lock under
``monkey.patch_all()``, and whatever waits in the hub raises BlockingSwitchOutError. So state changes first, and what is
to be told goes on a queue that one greenlet of the hub's thread works off.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event


class Reports:
    """The reports of one link, first come, first served."""

    def __init__(self, hub: gevent.hub.Hub, here: Callable[[], bool]) -> None:
        """*here*: whether the caller is on the hub's thread."""
        self._hub = hub
        self._here = here
        # The hub's thread appends and takes; while the process ends, the exiting thread in its place.
        self._queue: deque[Callable[[], Any]] = deque()
        self._runner: gevent.Greenlet[[], None] | None = None  # works off the queue, while there is something
        self._under_way = False  # a report is being told at this moment
        # The thread that ends the process, or that of an ended hub, sets it; the hub's thread clears it.
        self.held = False  # reports only queue up: they are told by `tell_now`, or when `release` is called

    def add(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Have *function* called, soon, in a greenlet that may wait; the hub's thread."""
        self._queue.append(partial(function, *args, **options))
        if self._runner is None and self._here() and not self.held:
            self._runner = gevent.spawn(self._run)

    def release(self) -> None:
        """Tell what has queued up while `held` was set; the hub's thread."""
        self.held = False
        if self._runner is None and self._queue:
            self._runner = gevent.spawn(self._run)

    def wait(self, timeout: float | None = None) -> None:
        """Return when all that was added before has been told, or after *timeout* seconds.

        Returns at once where waiting would be for oneself or is not possible: in a report, in the hub, on a foreign
        thread.
        """
        runner = self._runner
        if runner is None or not self._here() or gevent.getcurrent() in (runner, self._hub):
            return
        told = Event()
        self._queue.append(told.set)
        told.wait(timeout)

    def tell_now(self, timeout: float) -> None:
        """Tell everything in the caller's own greenlet or thread: at exit, when the hub does not run any more.

        A report that is under way in the greenlet is given *timeout* seconds, for which the hub has to run.
        """
        runner, self._runner = self._runner, None
        if runner is not None:
            if self._under_way and self._here():
                runner.join(timeout)
            runner.kill(block=False)
        while self._queue:
            try:
                self._queue.popleft()()
            except Exception:  # noqa: BLE001 (reported; the next report is not to be lost by it)
                sys.excepthook(*sys.exc_info())
            except SystemExit:
                pass  # the process is ending already, and the other pumps have messages to send

    def forget(self) -> None:
        """Drop the parent's reports; in the child of a fork."""
        self._queue.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.kill(block=False)

    def _run(self) -> None:
        try:
            while self._queue:
                report = self._queue.popleft()
                self._under_way = True
                try:
                    report()
                except Exception as error:  # noqa: BLE001 (reported; the next report is not to be lost by it)
                    self._hub.handle_error(report, type(error), error, error.__traceback__)
                except gevent.GreenletExit:
                    raise
                except BaseException as error:  # noqa: BLE001 (SystemExit is for the main greenlet; we go on)
                    self._hub.handle_error(report, type(error), error, error.__traceback__)
                finally:
                    self._under_way = False
        finally:
            if self._runner is gevent.getcurrent():
                self._runner = None
                if self._queue:
                    self._runner = gevent.spawn(self._run)
