"""A stand-in for ``zmq.green``: ``import zgreen.green as zmq``, and everything else stays as it is.

The names are those of ``zmq.green``: the constants and errors of pyzmq, and `Context`, `Socket`, `Poller`, `select`,
`zmq_poll`, `device` and `proxy` of zgreen's own. A socket of this package is served by the owning thread of a pump.
Their types are in ``__init__.pyi``.
"""

from zmq import *  # noqa: F403
from zmq import _FINISHED_TRACKER as _FINISHED_TRACKER
from zmq import __all__ as __all__
from zmq import __revision__ as __revision__
from zmq import __version__ as __version__

from . import _plain as _plain  # imported for what it does
from ._context import Context as Context
from ._device import device as device
from ._device import proxy as proxy
from ._install import install as install
from ._poll import Poller as Poller
from ._poll import select as select
from ._poll import zmq_poll as zmq_poll
from ._socket import Socket as Socket
