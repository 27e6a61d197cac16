"""The demo itself: serves, starts worker and client, shows how it goes, and judges.

A run goes through these steps, and an exception in a wait, or a child that ends too early, stops it in any of them:
worker started and heard; HTTP served; client started; client done; worker done; summary.
"""

from __future__ import annotations

import sys
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from zgreen.demo import progress
from zgreen.demo.child import Child
from zgreen.demo.server import Server

START_LIMIT = 60.0  # seconds for a child to come up
END_LIMIT = 60.0  # seconds from the end of the posting to the last report of a child


class Stopped(Exception):
    """The run cannot go on; the text says why."""


def run(arguments: Any, view: progress.View) -> int:
    """Run the demo, shown in *view*; return the exit status.

    *arguments* has ``seconds``, ``streams``, ``posters``, ``in_flight`` and ``size``: options of ``zgreen demo``.
    """
    try:
        demo = Demo(arguments, view)
    except (ValueError, ImportError) as error:  # there is no such engine
        progress.say(f"demo: {error}", sys.stderr)
        return 1
    try:
        demo.run()
        return demo.judge()
    except Stopped as stopped:
        view.finish()
        progress.say(f"stopped: {stopped}", sys.stderr)
        return 1
    except BaseException:  # the caller was told to end, or what is shown cannot be written
        view.finish()
        raise
    finally:
        demo.close()


class Demo:
    """One run: the server in this process, and its two children."""

    def __init__(self, arguments: Any, view: progress.View) -> None:
        self._arguments = arguments
        self._view = view
        self._stop: AsyncResult[str] = AsyncResult()  # why the run is to stop
        self._children: list[Child] = []
        self._server = Server(on_failure=self._stop.set)

    def run(self) -> None:
        """Go through all the steps; raises Stopped if that cannot be done."""
        server, arguments = self._server, self._arguments
        self._worker = self._start("worker", server.push_endpoint, server.sub_endpoint)
        self._wait(server.heard_worker, START_LIMIT, "the worker's first message")
        server.start()
        options = ("seconds", "streams", "posters", "in_flight", "size")
        self._client = self._start(
            "client", str(server.port), *(f"--{o.replace('_', '-')}={getattr(arguments, o)}" for o in options)
        )
        self._view.began(
            f"server at http://127.0.0.1:{server.port}, worker is process {self._worker.pid}, "
            f"client is process {self._client.pid}"
        )
        self._wait(self._client.reported, START_LIMIT, "the client's first report")
        shown = gevent.spawn(self._show)
        try:
            self._wait(self._client.done, arguments.seconds + END_LIMIT, "the client")
            self._wait(self._worker.done, END_LIMIT, "the worker")
        finally:
            shown.kill()

    def _show(self) -> None:
        try:
            self._view.show(self._totals)
        except OSError as error:  # standard output is closed, or full: `_wait` raises it
            self._stop.set_exception(error)

    def judge(self) -> int:
        """Print the summary; return the exit status."""
        worker, client, given = self._worker.latest, self._client.latest, self._arguments
        names = ("posted", "delivered", "lost", "duplicated", "unknown", "p50", "p99")
        self._view.finish()
        self._view.result({
            **{name: client[name] for name in names},
            **{name: worker[name] for name in ("pulled", "published")},
            "pushed": self._server.pushed, "streams": given.streams, "seconds": given.seconds,
        })  # fmt: skip
        if not client["posted"]:
            progress.say("nothing was posted", sys.stderr)
        sound = not (client["lost"] or client["duplicated"] or client["unknown"])
        return 0 if sound and client["posted"] else 1

    def close(self) -> None:
        """End everything that this run has started."""
        for child in reversed(self._children):  # the client first: nothing is posted any more
            child.kill()
        self._server.close()

    def _start(self, name: str, *arguments: str) -> Child:
        child = Child(name, list(arguments), on_death=self._stop.set)
        self._children.append(child)
        return child

    def _wait(self, event: Event, limit: float, awaited: str) -> None:
        gevent.wait([event, self._stop], timeout=limit, count=1)
        if self._stop.ready():
            raise Stopped(self._stop.get())
        if not event.is_set():
            raise Stopped(f"waited {limit:.0f} s for {awaited}")

    def _totals(self) -> dict[str, int]:
        worker, client = self._worker.latest, self._client.latest
        return {
            "posted": client["posted"],
            "pushed": self._server.pushed,
            "published": worker.get("published", 0),
            "delivered": client["delivered"],
        }
