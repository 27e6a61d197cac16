"""The demo itself: serves, starts worker and client, shows how it goes, and judges.

A run goes through these steps, and a signal, or a child that ends too early, stops it in any of them: worker
started and heard; HTTP served; client started; client done; worker done; summary.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from zgreen.demo import progress
from zgreen.demo.child import Child
from zgreen.demo.server import Server

DESCRIPTION = (
    "A client process POSTs to a gevent WSGI server. The greenlet of each request pushes a message to one "
    "shared PUSH channel; a worker process pulls and publishes it; the server's one SUB channel receives it "
    "and fans it out to many HTTP streams, which the client reads. Ends with a summary; the exit status is 1 "
    "if anything was lost or duplicated."
)

START_LIMIT = 60.0  # seconds for a child to come up
END_LIMIT = 60.0  # seconds from the end of the posting to the last report of a child


class Stopped(Exception):
    """The run cannot go on; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``python -m zgreen demo``."""
    add = parser.add_argument
    add("--seconds", type=_positive(float), default=10.0, help="how long the client posts (default: 10)")
    add("--streams", type=_positive(int), default=50, help="HTTP streams to fan out to (default: 50)")
    add("--posters", type=_positive(int), default=20, help="HTTP connections that post (default: 20)")
    add("--in-flight", type=_positive(int), default=100, help="most messages under way (default: 100)")
    add("--size", type=_positive(int), default=100, help="bytes of text in a message (default: 100)")
    add("--json", action="store_true", help="say nothing but the summary, as JSON")


def run(arguments: argparse.Namespace, view: progress.View | None = None) -> int:
    """Run the demo, shown in *view* (default: lines of text, or JSON if asked for); return the exit status."""
    view = view or (progress.Json() if arguments.json else progress.Plain())
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
    finally:
        demo.close()


class Demo:
    """One run: the server in this process, and its two children."""

    def __init__(self, arguments: argparse.Namespace, view: progress.View) -> None:
        self._arguments = arguments
        self._view = view
        self._stop: AsyncResult[str] = AsyncResult()  # why the run is to stop
        self._children: list[Child] = []
        # Watchers of the loop: as an exception, Ctrl-C would surface in any greenlet, a request's for
        # example.
        self._signals = [
            gevent.signal_handler(number, self._stop.set, f"got {number.name}")
            for number in (signal.SIGINT, signal.SIGTERM)
        ]
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
        except BrokenPipeError as error:  # whoever read what we print has left: `_wait` raises it
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
        for watcher in self._signals:
            watcher.cancel()

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


def _positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse(given: str) -> Any:
        value = kind(given)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{given} is not above 0")
        return value

    parse.__name__ = kind.__name__  # argparse's "invalid int value"
    return parse
