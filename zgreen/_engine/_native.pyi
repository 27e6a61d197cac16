# What the rest of zgreen, and the tests, may use of the native engine. The instances are as `_api.Engine` says.

from collections.abc import Callable
from typing import Any

from ._api import Owner, Pipe
from ._commands import Commands
from ._mailbox import Mailbox

unbalanced: list[tuple[int, int, int]]

class _Core:
    def counts(self) -> tuple[int, int, int]: ...

class NativeEngine(Commands):
    name: str
    _core: _Core

    def __init__(
        self,
        context: Any,
        hub: Mailbox[Callable[[], Any]],
        on_end: Callable[[], None],
        epoll: Callable[[], Any] | None = ...,
        owns_context: bool = ...,
        start_thread: Callable[..., Any] | None = ...,
        busy_wait: float | None = ...,
    ) -> None: ...
    def make_pipe(
        self,
        owner: Owner,
        kind: int,
        out_maxsize: int | None,
        in_maxsize: int | None,
        overflow: str,
        multipart: bool,
        out_maxbytes: int | None = ...,
        in_maxbytes: int | None = ...,
    ) -> Pipe: ...
    def step(self, timeout: float | None) -> bool: ...
