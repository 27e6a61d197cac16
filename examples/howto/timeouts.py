"""Limits to a wait: timeout=, gevent.Timeout, and what is still true afterwards.

Run it:  python examples/howto/timeouts.py
"""

import gevent
import zmq
from gevent.queue import Empty, Full

import zgreen

with (
    zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*") as pull,
    zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*", send_maxsize=1) as push,  # no peer yet: nothing goes out
):
    try:
        pull.get(timeout=0.1)  # seconds
    except Empty:
        print("Empty: no message in 0.1 s")

    push.put("first")
    try:
        push.put("second", timeout=0.1)
    except Full:
        print("Full: no room in 0.1 s; the second message was not put")
    print("flushed:", push.flush(timeout=0.1))

    with gevent.Timeout(0.1, False):  # your own limit, around as many calls as you like
        push.put("third")
        print("never printed")
    print("gevent.Timeout: the third message was not put either")

    push.connect(pull.last_endpoint)
    print("got:", pull.get(timeout=5).decode())

with zgreen.Channel(zmq.REQ, bind="tcp://127.0.0.1:*") as client:
    try:
        client.request("ping", timeout=0.1)
    except TimeoutError:
        print("TimeoutError: no reply in 0.1 s; the next request may be made at once")
    client.close(linger=0)  # no server will take it
