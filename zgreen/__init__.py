"""zgreen: ZeroMQ sockets behind gevent queues.

One real OS thread owns every socket; greenlets (and other threads) put and get, any number of them at once.
"""

from ._drain import drain as drain
from ._drain import drain_on_signal as drain_on_signal
from ._errors import BrokenError as BrokenError
from ._errors import ClosedError as ClosedError
from ._errors import ForkedError as ForkedError
from ._errors import ZgreenError as ZgreenError
from ._hub.channel import Channel as Channel
from ._hub.monitor import Monitor as Monitor
from ._hub.monitor import MonitorEvent as MonitorEvent
from ._hub.on_signal import dump_on_signal as dump_on_signal
from ._hub.pump import Pump as Pump
from ._hub.pump import get_pump as get_pump
from ._hub.register import register_socket as register_socket
from ._hub.statistics import ChannelStatistics as ChannelStatistics
from ._hub.statistics import PumpStatistics as PumpStatistics
from ._hub.tracer import Event as Event
from ._per_process import per_process as per_process
from ._version import __version__ as __version__
from .patterns.fanout import Fanout as Fanout
from .patterns.fanout import FanoutStatistics as FanoutStatistics
from .patterns.fanout import TopicStatistics as TopicStatistics
from .patterns.proxy import Proxy as Proxy
from .patterns.proxy import ProxyStatistics as ProxyStatistics
from .patterns.pub_handler import PubHandler as PubHandler
from .patterns.requester import Requester as Requester
from .patterns.requester import RequesterStatistics as RequesterStatistics
from .patterns.select import select as select
from .patterns.server import Server as Server
from .patterns.server import ServerStatistics as ServerStatistics
from .patterns.server import serve as serve
from .patterns.subscription import Subscription as Subscription
