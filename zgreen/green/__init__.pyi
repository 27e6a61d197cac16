"""The types of zgreen.green: those of pyzmq, but for the classes and functions of our own.

The module itself takes all names of pyzmq by ``*``, and type checkers would then take pyzmq's classes for ours.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

import zmq as _zmq
from zmq import COPY_THRESHOLD as COPY_THRESHOLD
from zmq import DRAFT_API as DRAFT_API
from zmq import get_includes as get_includes
from zmq.backend import IPC_PATH_MAX_LEN as IPC_PATH_MAX_LEN
from zmq.backend import PYZMQ_DRAFT_API as PYZMQ_DRAFT_API
from zmq.backend import curve_keypair as curve_keypair
from zmq.backend import curve_public as curve_public
from zmq.backend import has as has
from zmq.backend import proxy_steerable as proxy_steerable
from zmq.backend import strerror as strerror
from zmq.backend import zmq_errno as zmq_errno
from zmq.constants import *  # noqa: F403
from zmq.error import *  # noqa: F403
from zmq.sugar import Frame as Frame
from zmq.sugar import Message as Message
from zmq.sugar import MessageTracker as MessageTracker
from zmq.sugar import Stopwatch as Stopwatch
from zmq.sugar import SyncContext as SyncContext
from zmq.sugar import SyncSocket as SyncSocket
from zmq.sugar.tracker import _FINISHED_TRACKER as _FINISHED_TRACKER
from zmq.sugar.version import __revision__ as __revision__
from zmq.sugar.version import __version__ as __version__
from zmq.sugar.version import pyzmq_version as pyzmq_version
from zmq.sugar.version import pyzmq_version_info as pyzmq_version_info
from zmq.sugar.version import zmq_version as zmq_version
from zmq.sugar.version import zmq_version_info as zmq_version_info

# Their methods have the signatures of pyzmq's.
class Socket(_zmq.Socket[bytes]): ...
class Context(_zmq.Context[Socket]): ...

class Poller(_zmq.Poller):
    def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]: ...

def select(
    rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]: ...
def zmq_poll(sockets: Iterable[tuple[Any, int]], timeout: float | None = -1) -> list[tuple[Any, int]]: ...
def proxy(frontend: Socket, backend: Socket, capture: Socket | None = None) -> NoReturn: ...
def device(device_type: int, frontend: Socket, backend: Socket | int) -> NoReturn: ...
def install() -> None: ...
