"""gevent.wait with channels, greenlets and events: a hint that a message can be got.

Run it:  python examples/howto/gevent_wait.py
"""

import gevent
import zmq
from gevent.event import Event

import zgreen

with (
    zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*") as pull,
    zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint) as push,
):
    event = Event()
    push.put("hello")
    ready = gevent.wait([pull, event], count=1)
    print("the channel is ready:", ready == [pull])
    print(pull.get_nowait().decode())
    event.set()
    print("the event is set:", gevent.wait([pull, event], count=1) == [event])
