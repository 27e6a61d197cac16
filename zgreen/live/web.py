"""The HTTP server of ``zgreen live``: the page, its event streams, and what it posts. On 127.0.0.1 only.

Only a browser whose page came from here may ask. Another site's page can reach 127.0.0.1 too, so the name that the
browser has asked for (Host), and the site whose page asks (Origin), must be ours; and a body must be JSON, which no
other site may post without asking us first. bottle routes the requests; ``zgreen._pages`` says what that asks of the
handlers here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.queue import Full

import zgreen
from zgreen import _pages
from zgreen.live import wire
from zgreen.live.connections import Server
from zgreen.live.service import Service
from zgreen.live.stream import Stream
from zgreen.status import application as status_page

MAX_CONNECTIONS = 1000  # at once; the next ones wait to be accepted
SEND_BUFFER = 65536  # bytes that the system keeps for a browser that does not read: the queue is to show it soon
_BODY_LIMIT = 5.0  # seconds for the body of a request
_FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
STATUS = "/status/"  # where zgreen.status is mounted

Environ = dict[str, Any]


class Refused(Exception):
    """A request that is not as it should be: the status of the answer, and a text for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status, self.text = status, text


class Web:
    """Serves *service* at *port* of 127.0.0.1 (0: any free one).

    :raises OSError: the port is taken. :raises ImportError: the extra ``status`` is not installed.
    """

    def __init__(self, service: Service, port: int = 0) -> None:
        self._service = service
        self._bottle = _pages.framework()
        application = self._routes()
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
        self._server = Server(listener, application, log=None, spawn=self._pool)
        self._server.start()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        """End all connections: streams that wait get their end, those whose browser does not read are cut off."""
        self._service.end_streams()
        self._server.stop(timeout=0.5)

    def _routes(self) -> Any:
        app = self._bottle.Bottle()
        app.catchall = False  # a mistake of ours is pywsgi's to report
        app.default_error_handler = self._error
        app.add_hook("before_request", self._check_sender)
        files = _pages.read("zgreen.live", _FILES)
        files[""] = files.pop("index.html")
        for name, (body, kind) in files.items():
            app.get(f"/{name}", callback=partial(_pages.answer, body, kind))
        app.get("/events", callback=self._events)
        app.post("/messages", callback=partial(self._take, self._post_message))
        app.post("/subscriptions", callback=partial(self._take, self._post_subscription))
        app.mount(STATUS, status_page())
        return app

    def _check_sender(self) -> None:
        environ = self._bottle.request.environ
        host = environ.get("HTTP_HOST", "")
        if host not in self._hosts:
            raise self._bottle.HTTPError(403, "this page is for this machine: ask for 127.0.0.1 or localhost")
        if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            raise self._bottle.HTTPError(403, "pages of other sites may not ask")
        if not environ["bottle.raw_path"].isascii():  # bottle leaves out what is no UTF-8
            raise self._bottle.HTTPError(404)

    def _error(self, error: Any) -> Any:
        """The answer for an HTTPError, of this module or of bottle, whose own texts have the path of the request."""
        text = {404: "there is no such page", 405: "not with this method"}.get(error.status_code, error.body)
        allow = {"Allow": error.get_header("Allow")} if error.status_code == 405 else {}
        return _json({"error": text}, error.status_code, Connection="close", **allow)

    def _events(self) -> Any:
        if self._bottle.request.method == "HEAD":  # bottle would have it open a stream
            raise self._bottle.HTTPError(405, Allow="GET")
        stream = self._service.open_stream((b"",))
        return _pages.answer(self._pieces(stream), "text/event-stream")

    def _pieces(self, stream: Stream) -> Iterator[bytes]:
        """The events. bottle asks for the first one at once, and it is there without a wait."""
        try:
            yield from stream.events()
        finally:  # also when the browser has gone
            self._service.close_stream(stream)

    def _take(self, post: Any) -> Any:
        """Call *post* with what was posted."""
        environ = self._bottle.request.environ
        try:
            post(_body(environ))
        except Refused as refused:
            return _json({"error": refused.text}, refused.status, Connection="close")
        return _json({}, 202)

    def _post_message(self, given: dict[str, Any]) -> None:
        topic, text = _text(given, "topic"), _text(given, "text")
        if len(topic) > wire.MAX_TOPIC:
            raise Refused(400, f"a topic has {wire.MAX_TOPIC} bytes at most")
        if len(text.decode()) > wire.MAX_TEXT:
            raise Refused(400, f"a text has {wire.MAX_TEXT} characters at most")
        if not self._service.can_post:
            raise Refused(409, "there is no endpoint to push to: start with --push ENDPOINT")
        try:
            self._service.post(topic, text)
        except Full:
            raise Refused(503, "the publisher does not take messages now") from None

    def _post_subscription(self, given: dict[str, Any]) -> None:
        stream = self._service.stream(_text(given, "token").decode())
        if stream is None:
            raise Refused(404, "there is no such stream")
        prefixes = given.get("prefixes")
        if not isinstance(prefixes, list) or not 1 <= len(prefixes) <= wire.MAX_PREFIXES:
            raise Refused(400, f"prefixes must be a list of 1 to {wire.MAX_PREFIXES} texts")
        encoded = tuple(dict.fromkeys(_text({"prefix": prefix}, "prefix") for prefix in prefixes))
        if max(map(len, encoded)) > wire.MAX_TOPIC:
            raise Refused(400, f"a prefix has {wire.MAX_TOPIC} bytes at most")
        try:
            stream.want(encoded)
        except (zgreen.ClosedError, zgreen.BrokenError):
            raise Refused(404, "the stream has ended") from None


def _json(value: Any, status: int, **headers: str) -> Any:
    return _pages.answer(json.dumps(value).encode(), "application/json", status, **headers)


def _body(environ: Environ) -> dict[str, Any]:
    """The JSON object that was posted; nothing is read of one that is too large, or does not say how large it is."""
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "application/json only")
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal():
        raise Refused(411, "Content-Length is missing")
    if int(length) > wire.MAX_BODY:
        raise Refused(413, f"{wire.MAX_BODY} bytes at most")
    try:
        with gevent.Timeout(_BODY_LIMIT):
            body = environ["wsgi.input"].read(int(length))
    except gevent.Timeout:
        raise Refused(408, f"the body did not come within {_BODY_LIMIT:g} s") from None
    except OSError:  # the client has left, or has closed its side
        raise Refused(400, "the body ended too early") from None
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(given, dict):
        raise Refused(400, "the body is no JSON object")
    return given


def _text(given: dict[str, Any], name: str) -> bytes:
    value = given.get(name)
    try:
        if isinstance(value, str):
            return value.encode()
    except UnicodeEncodeError:
        pass
    raise Refused(400, f"{name} must be a text")
