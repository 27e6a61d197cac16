"""The shortest whole program: two channels, one message.

Run it:  python examples/howto/first.py
"""

import zmq

import zgreen

with (
    zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*") as pull,  # any free port
    zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint) as push,
):
    push.put("hello")
    print(pull.get().decode())
