"""The client process: posts over HTTP, reads every stream, and counts what came.

Run by the supervisor as ``python -m zgreen.demo.client PORT ...``. It knows HTTP only, nothing of ZeroMQ.
"""

from __future__ import annotations

import argparse
import sys
import time
from http.client import HTTPConnection, HTTPResponse

import gevent
from gevent import monkey
from gevent.lock import BoundedSemaphore

from zgreen.demo import report, wire
from zgreen.demo.measure import Tally

DRAIN_LIMIT = 30.0  # seconds for the end to come out of the streams; what is missing then is lost
CHUNK = 65536  # bytes read at once


def main() -> int:
    """Run the client; return its exit status."""
    parser = argparse.ArgumentParser(description="POST news and read it from streams. Started by the demo.")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--posters", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    arguments = parser.parse_args()
    monkey.patch_socket()  # http.client then holds up one greenlet, not the process
    report.die_with_supervisor()
    Client(arguments).run()
    return 0


class Client:
    """Posters and readers: a greenlet and an HTTP connection each."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._text = wire.text(arguments.size)
        self._tally = Tally(arguments.streams)
        # Posted, and not yet delivered by all streams. Without this bound the posters would fill every
        # queue on the way, and the time to delivery would tell how long those queues are.
        self._in_flight = BoundedSemaphore(arguments.in_flight)

    def run(self) -> None:
        """Post for the time given, wait until all has come, and report."""
        streams = range(self._arguments.streams)
        readers = [gevent.spawn(self._read, stream, _open_stream(self._arguments.port)) for stream in streams]
        reports = report.keep_sending(self._counts)
        deadline = time.monotonic() + self._arguments.seconds
        posters = [gevent.spawn(self._post_until, deadline) for _ in range(self._arguments.posters)]
        gevent.joinall(posters, raise_error=True)
        # Each POST was answered, so its message is in the server's PUSH channel. The end goes the same way,
        # so it is behind all of them wherever it arrives.
        _post(HTTPConnection("127.0.0.1", self._arguments.port), wire.END_PATH, b"")
        gevent.joinall(readers, timeout=DRAIN_LIMIT, raise_error=True)
        reports.kill()
        p50, p99 = self._tally.percentiles(50, 99)
        report.send(**self._counts(), lost=self._tally.lost, p50=p50, p99=p99, done=True)

    def _counts(self) -> dict[str, int]:
        tally = self._tally
        return {
            "posted": tally.posted,
            "delivered": tally.delivered,
            "duplicated": tally.duplicated,
            "unknown": tally.unknown,
        }

    def _post_until(self, deadline: float) -> None:
        connection = HTTPConnection("127.0.0.1", self._arguments.port)
        while (left := deadline - time.monotonic()) > 0 and self._in_flight.acquire(timeout=left):
            _post(connection, wire.NEWS_PATH, b"%d %s" % (self._tally.post(), self._text))
        connection.close()

    def _read(self, stream: int, response: HTTPResponse) -> None:
        rest = b""
        while chunk := response.read1(CHUNK):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._deliver(stream, line, now)

    def _deliver(self, stream: int, line: bytes, now: float) -> None:
        number, _, text = line.partition(b" ")
        if text != self._text:
            self._tally.unknown += 1  # and so the message it should have been is lost
        elif self._tally.deliver(stream, int(number), now):
            self._in_flight.release()


def _open_stream(port: int) -> HTTPResponse:
    """Return the response of a stream that has said it is ready: it gets all that is posted from now on."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", wire.STREAM_PATH)
    response = connection.getresponse()
    first = response.readline()
    if first != wire.READY:
        raise RuntimeError(f"a stream began with status {response.status} and {first!r}")
    return response


def _post(connection: HTTPConnection, path: str, body: bytes) -> None:
    connection.request("POST", path, body)
    response = connection.getresponse()
    response.read()
    if response.status != 204:
        raise RuntimeError(f"POST {path} was answered with {response.status} {response.reason}")


if __name__ == "__main__":
    sys.exit(main())
