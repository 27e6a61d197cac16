"""The WSGI server: requests push to one channel, and one channel fans out to every stream.

It runs in the supervisor's process. Each method below runs in greenlets of the one hub, so no lock is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import zmq
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from gevent.queue import Empty, Queue, ShutDown

import zgreen
from zgreen.demo import wire

STREAM_QUEUE = 256  # lines that wait for one stream; a stream that is behind by more holds up the fan-out

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Server:
    """The server's two channels, its HTTP streams, and what went through them.

    Attributes:
        pushed: items of news put to the PUSH channel.
        received: items of news that came back on the SUB channel.
        heard_worker: set when the worker's publications arrive here.

    Args:
        on_failure: called with a text if the fan-out ended by an error.
    """

    def __init__(self, on_failure: Callable[[str], object]) -> None:
        self.pushed = 0
        self.received = 0
        self.heard_worker = Event()
        self._streams: set[Queue[bytes]] = set()
        # Both bind, to any free port: the worker is told where. All frames of a message arrive as a list.
        self._push = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*")
        self._sub = zgreen.Channel(zmq.SUB, bind="tcp://127.0.0.1:*", multipart=True)
        self._sub.subscribe(b"")
        self._http = WSGIServer(("127.0.0.1", 0), self._application, log=None)
        self._fan_out_greenlet = gevent.spawn(self._fan_out)
        self._fan_out_greenlet.link_exception(lambda it: on_failure(f"the fan-out failed: {it.exception!r}"))

    def start(self) -> None:
        """Take HTTP requests."""
        self._http.start()

    @property
    def port(self) -> int:
        """The port of the HTTP server."""
        assert self._http.server_port is not None, "not started"
        return self._http.server_port

    @property
    def push_endpoint(self) -> str:
        """Where the worker pulls from."""
        return self._push.last_endpoint

    @property
    def sub_endpoint(self) -> str:
        """Where the worker publishes to."""
        return self._sub.last_endpoint

    def close(self) -> None:
        """Stop serving and drop what is still under way: in a run that went well, nothing is."""
        self._http.stop(timeout=0)
        self._fan_out_greenlet.kill()
        self._push.close(linger=0)
        self._sub.close(linger=0)

    # -- HTTP: one greenlet a connection

    def _application(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if asked == ("POST", wire.NEWS_PATH):
            try:
                number, text = environ["wsgi.input"].read().split(b" ", 1)
            except (OSError, ValueError):  # the client has gone in the middle of its request, or is not ours
                start_response("400 Bad Request", [])
                return [b"bad request\n"]
            self._push.put([wire.NEWS, number, text])
            self.pushed += 1
        elif asked == ("POST", wire.END_PATH):
            self._push.put(wire.END)
        elif asked == ("GET", wire.STREAM_PATH):
            start_response("200 OK", [("Content-Type", "text/plain")])  # no length: pywsgi sends it in chunks
            return self._stream()
        else:
            start_response("404 Not Found", [])
            return [b"not found\n"]
        start_response("204 No Content", [])
        return []

    def _stream(self) -> Iterator[bytes]:
        """Yield chunks until the end; each is all that waits: a slow client gets fewer and larger ones."""
        queue: Queue[bytes] = Queue(STREAM_QUEUE)
        self._streams.add(queue)
        try:
            yield wire.READY
            while True:
                lines = _all_of(queue)
                ended = lines[-1] == wire.END
                chunk = b"".join(lines[:-1] if ended else lines)
                if chunk:
                    yield chunk
                if ended:
                    return
        finally:
            # The client may have gone: the fan-out must neither find this queue again nor wait for room in
            # it.
            self._streams.discard(queue)
            queue.shutdown(immediate=True)

    # -- ZeroMQ: one greenlet

    def _fan_out(self) -> None:
        while True:
            for frames in self._sub.get_many(wire.BATCH):
                self._deliver(frames)

    def _deliver(self, frames: list[bytes]) -> None:
        topic = frames[0]
        if topic == wire.HELLO:
            if not self.heard_worker.is_set():
                self._push.put(wire.HEARD)
                self.heard_worker.set()
            return
        self.received += topic == wire.NEWS
        line = b"%s %s\n" % (frames[1], frames[2]) if topic == wire.NEWS else wire.END
        for queue in list(self._streams):
            try:
                queue.put(line)  # waits while it is full: nothing is dropped
            except ShutDown:
                pass


def _all_of(queue: Queue[bytes]) -> list[bytes]:
    """Wait for an item, then return it with all that are behind it."""
    lines = [queue.get()]
    try:
        while True:
            lines.append(queue.get_nowait())
    except Empty:
        return lines
