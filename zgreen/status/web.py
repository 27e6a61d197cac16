"""The WSGI application: who may look, and what is served. Charts are drawn by uPlot, of the package uplot-python."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zgreen import Pump, _pages
from zgreen.status.snapshot import History, snapshot

logger = logging.getLogger("zgreen")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_CHARTS = {
    "uplot.js": ("uPlot.iife.js", "text/javascript; charset=utf-8"),
    "uplot.css": ("uPlot.min.css", "text/css; charset=utf-8"),
}
# Another machine's request, brought here by a proxy, comes from a loopback address, too: these headers tell.
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_HOST", "HTTP_VIA")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def application(pump: Pump | None = None, *, authorize: Callable[[Environ], Any] | None = None) -> Application:
    """A WSGI application with a page about this process's pumps, and the same as JSON at ``status.json``.

    :param pump: show this one only; None: all pumps of the process.
    :param authorize: called with the environ of each request; what it returns says whether it is answered. None:
        requests from this machine only, by a loopback address and a name of this machine, and not by way of a proxy.
    :raises TypeError: *pump* is no Pump, or *authorize* cannot be called.
    :raises ImportError: the extra ``status`` is not installed.

    A visitor who may not look gets 403, and no detail. If *authorize* raises, that is logged, and the answer is no. The
    page shows lines of your source code, where greenlets wait: give it only to people who may see them. Mount it at a
    path of your application; it works without a network. Its charts begin with the first request.
    """
    if pump is not None and not isinstance(pump, Pump):
        raise TypeError(f"pump must be a zgreen.Pump or None, not {type(pump).__name__}")
    if authorize is not None and not callable(authorize):
        raise TypeError(f"authorize must be callable or None, not {type(authorize).__name__}")
    may_look = authorize or _is_local
    inner = _routes(History(pump))

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not _allowed(may_look, environ):
            return _answer(start_response, "403 Forbidden", b"", [])
        if not environ.get("PATH_INFO"):  # the page's links are relative to its folder
            return _answer(start_response, "308 Permanent Redirect", b"", [("Location", _here(environ))])
        answer: Iterable[bytes] = inner(environ, start_response)
        return answer

    return application


def _routes(history: History) -> Any:
    bottle = _pages.framework()
    app = bottle.Bottle()
    files = _pages.read("zgreen.status", _FILES)
    files[""] = files.pop("index.html")
    charts = _chart_folder()
    files |= {name: ((charts / file).read_bytes(), kind) for name, (file, kind) in _CHARTS.items()}

    def answer(name: str) -> Any:
        history.begin()
        if name == "status.json":
            return _pages.answer(json.dumps(snapshot(history)).encode(), "application/json; charset=utf-8")
        if name not in files:
            return _pages.answer(b"", "text/plain", 404)
        return _pages.answer(*files[name])

    app.get("/<name:re:[a-z.]*>", callback=answer)
    return app


def _chart_folder() -> Path:
    """Where uplot-python has uPlot's files. It is not imported, as that would import all of IPython."""
    spec = importlib.util.find_spec("uplot")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(_pages.MISSING)
    return Path(next(iter(spec.submodule_search_locations))) / "static"


def _allowed(may_look: Callable[[Environ], Any], environ: Environ) -> bool:
    try:
        return bool(may_look(environ))
    except Exception:
        logger.exception("zgreen.status: authorize has failed, so access is refused")
        return False


def _is_local(environ: Environ) -> bool:
    if any(name in environ for name in _FORWARDED):
        return False
    host = environ.get("HTTP_HOST", "")
    if host.rpartition(":")[0] not in _LOCAL_NAMES and host not in _LOCAL_NAMES:
        return False
    try:
        address = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _here(environ: Environ) -> str:
    return str(environ.get("SCRIPT_NAME", "")).rpartition("/")[2] + "/"


def _answer(start_response: StartResponse, status: str, body: bytes, headers: list[tuple[str, str]]) -> Iterable[bytes]:
    start_response(status, [("Content-Length", str(len(body))), *_pages.HEADERS, *headers])
    return [body]
