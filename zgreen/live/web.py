"""The HTTP server of ``zgreen live``: the page, its event streams, and what it posts. On 127.0.0.1 only.

Only a browser whose page came from here may ask. Another site's page can reach 127.0.0.1 too, so the name that the
browser has asked for (Host), and the site whose page asks (Origin), must be ours; and a body must be JSON, which no
other site may post without asking us first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.queue import Full

import zgreen
from zgreen.live import wire
from zgreen.live.connections import Server
from zgreen.live.service import Service

MAX_CONNECTIONS = 1000  # at once; the next ones wait to be accepted
SEND_BUFFER = 65536  # bytes that the system keeps for a browser that does not read: the queue is to show it soon
_BODY_LIMIT = 5.0  # seconds for the body of a request
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Environ = dict[str, Any]


class Refused(Exception):
    """The answer to a request that is not as it should be: a status line, and a text for people."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(status, text)
        self.status, self.text = status, text


class Web:
    """Serves *service* at *port* of 127.0.0.1 (0: any free one). :raises OSError: the port is taken."""

    def __init__(self, service: Service, port: int = 0) -> None:
        self._service = service
        page = resources.files("zgreen.live") / "page"
        self._files = {path: (page.joinpath(name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}
        listener = gevent.socket.socket()
        listener.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_REUSEADDR, 1)
        listener.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_SNDBUF, SEND_BUFFER)  # accepted ones inherit it
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"port {port} of 127.0.0.1: {error.strerror}") from error
        self.port: int = listener.getsockname()[1]
        self._hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        self._pool = Pool(MAX_CONNECTIONS)
        self._server = Server(listener, self._application, log=None, spawn=self._pool)
        self._server.start()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        """End all connections: streams that wait get their end, those whose browser does not read are cut off."""
        self._service.end_streams()
        self._server.stop(timeout=0.5)

    def _application(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ, start_response)
        except Refused as refused:
            body = json.dumps({"error": refused.text}).encode()
            answer = _respond(start_response, refused.status, body, "application/json", [("Connection", "close")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else answer

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._check_sender(environ)
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        posts = {"/messages": self._post_message, "/subscriptions": self._post_subscription}
        if path in posts:
            _check_method(method, "POST")
            posts[path](_body(environ))
            return _respond(start_response, "202 Accepted", b"{}", "application/json")
        if path == "/events":
            _check_method(method, "GET")
            return self._stream(start_response)
        if path not in self._files:
            raise Refused("404 Not Found", "there is no such page")
        if method != "HEAD":  # which gets the headers alone, see _application
            _check_method(method, "GET")
        return _respond(start_response, "200 OK", *self._files[path])

    def _check_sender(self, environ: Environ) -> None:
        host = environ.get("HTTP_HOST", "")
        if host not in self._hosts:
            raise Refused("403 Forbidden", "this page is for this machine: ask for 127.0.0.1 or localhost")
        if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            raise Refused("403 Forbidden", "pages of other sites may not ask")

    def _stream(self, start_response: StartResponse) -> Iterator[bytes]:
        stream = self._service.open_stream((b"",))
        try:
            start_response("200 OK", [("Content-Type", "text/event-stream"), *_HEADERS])
            yield from stream.events()
        finally:  # also when the browser has gone
            self._service.close_stream(stream)

    def _post_message(self, given: dict[str, Any]) -> None:
        topic, text = _text(given, "topic"), _text(given, "text")
        if len(topic) > wire.MAX_TOPIC:
            raise Refused("400 Bad Request", f"a topic has {wire.MAX_TOPIC} bytes at most")
        if len(text.decode()) > wire.MAX_TEXT:
            raise Refused("400 Bad Request", f"a text has {wire.MAX_TEXT} characters at most")
        if not self._service.can_post:
            raise Refused("409 Conflict", "there is no endpoint to push to: start with --push ENDPOINT")
        try:
            self._service.post(topic, text)
        except Full:
            raise Refused("503 Service Unavailable", "the publisher does not take messages now") from None

    def _post_subscription(self, given: dict[str, Any]) -> None:
        stream = self._service.stream(_text(given, "token").decode())
        if stream is None:
            raise Refused("404 Not Found", "there is no such stream")
        prefixes = given.get("prefixes")
        if not isinstance(prefixes, list) or not 1 <= len(prefixes) <= wire.MAX_PREFIXES:
            raise Refused("400 Bad Request", f"prefixes must be a list of 1 to {wire.MAX_PREFIXES} texts")
        encoded = tuple(dict.fromkeys(_text({"prefix": prefix}, "prefix") for prefix in prefixes))
        if max(map(len, encoded)) > wire.MAX_TOPIC:
            raise Refused("400 Bad Request", f"a prefix has {wire.MAX_TOPIC} bytes at most")
        try:
            stream.want(encoded)
        except (zgreen.ClosedError, zgreen.BrokenError):
            raise Refused("404 Not Found", "the stream has ended") from None


def _respond(
    start_response: StartResponse, status: str, body: bytes, kind: str, more: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS, *more])
    return [body]


def _check_method(method: str, wanted: str) -> None:
    if method != wanted:
        raise Refused("405 Method Not Allowed", f"{wanted} only")


def _body(environ: Environ) -> dict[str, Any]:
    """The JSON object that was posted; nothing is read of one that is too large, or does not say how large it is."""
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("415 Unsupported Media Type", "application/json only")
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal():
        raise Refused("411 Length Required", "Content-Length is missing")
    if int(length) > wire.MAX_BODY:
        raise Refused("413 Content Too Large", f"{wire.MAX_BODY} bytes at most")
    try:
        with gevent.Timeout(_BODY_LIMIT):
            body = environ["wsgi.input"].read(int(length))
    except gevent.Timeout:
        raise Refused("408 Request Timeout", f"the body did not come within {_BODY_LIMIT:g} s") from None
    except OSError:  # the client has left, or has closed its side
        raise Refused("400 Bad Request", "the body ended too early") from None
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("400 Bad Request", "the body is no JSON") from None
    if not isinstance(given, dict):
        raise Refused("400 Bad Request", "the body is no JSON object")
    return given


def _text(given: dict[str, Any], name: str) -> bytes:
    value = given.get(name)
    try:
        if isinstance(value, str):
            return value.encode()
    except UnicodeEncodeError:
        pass
    raise Refused("400 Bad Request", f"{name} must be a text")
