"""Limits for connections of the HTTP server: how long one may take to ask, and to read what it is given.

Without them a program that opens connections and sends half a request, or reads nothing, would keep the page from all
others, because the number of connections is limited. The hub's thread alone.
"""

from __future__ import annotations

import errno
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

HEAD_LIMIT = 10.0  # seconds for a request up to the end of its headers; a connection that rests is closed then, too
WRITE_LIMIT = 60.0  # seconds that a browser may take to read what is written in one go
MAX_HEADS = 100  # connections whose next request has not come wholly; when there are more, the oldest one is closed


class _Handler(WSGIHandler):
    """Serves one connection, in a greenlet of its own."""

    server: Server

    def handle_one_request(self) -> Any:
        """Read the headers within the limits, and answer."""
        self._limit = gevent.Timeout.start_new(HEAD_LIMIT)
        try:
            self.server.expect_head(self._limit)
            return super().handle_one_request()
        except gevent.Timeout as expired:
            if expired is not self._limit:
                raise
            return None  # which closes the connection
        finally:
            self._has_come()

    def handle_one_response(self) -> None:
        """The headers are there; answer, however long that takes."""
        self._has_come()
        super().handle_one_response()

    def _has_come(self) -> None:
        self._limit.close()
        self.server.heads.pop(self._limit, None)

    def _sendall(self, data: bytes) -> None:
        limit = gevent.Timeout(WRITE_LIMIT)
        try:
            with limit:
                super()._sendall(data)  # type: ignore[misc]  # the stubs do not have it
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
            raise OSError(errno.ECONNRESET, "the browser does not read") from None


class Server(WSGIServer):
    """A WSGIServer with these limits."""

    handler_class = _Handler

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # the requests that have not come wholly, the oldest first: each by its limit, with the greenlet that waits
        self.heads: dict[gevent.Timeout, Any] = {}

    def expect_head(self, limit: gevent.Timeout) -> None:
        """The caller waits for a request; *limit* is thrown into it if too many others begin to wait."""
        self.heads[limit] = gevent.getcurrent()
        if len(self.heads) > MAX_HEADS:
            oldest = next(iter(self.heads))
            self.heads.pop(oldest).kill(oldest, block=False)
