"""What the pages of ``zgreen.status`` and ``zgreen.live`` have in common: the framework, the headers and the files.

bottle, of the extra ``status``, routes the requests. Its ``request`` and ``response`` are local to a thread, and so one
and the same for all greenlets that serve requests, unless ``monkey.patch_all()`` has made ``threading`` gevent's.
Therefore a handler takes what it needs from ``bottle.request`` before it waits for anything, and its answer is an
HTTPResponse of its own, whose headers replace all that is in ``bottle.response``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

MISSING = "zgreen.status and zgreen live need bottle and uplot-python: pip install 'zgreen[status]'"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


def framework() -> Any:
    """The module bottle. It is imported here, so that the modules of this package can be imported without it.

    :raises ImportError: it is not installed; says how to install it.
    """
    try:
        import bottle
    except ImportError as error:
        raise ImportError(MISSING) from error
    return bottle


def read(package: str, kinds: Mapping[str, str]) -> dict[str, tuple[bytes, str]]:
    """The content and the type of files in the folder ``page`` of *package*; *kinds*: their types by their names."""
    folder = resources.files(package) / "page"
    return {name: (folder.joinpath(name).read_bytes(), kind) for name, kind in kinds.items()}


def answer(body: Any, kind: str, status: int = 200, **headers: str) -> Any:
    """The HTTPResponse for *body*, of type *kind*; an underscore in the name of a further header is a hyphen."""
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return framework().HTTPResponse(body, status, [("Content-Type", kind), *HEADERS, *more])
