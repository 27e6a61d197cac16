"""Why is it slow: is the hub late, and where do the messages wait?

Run it:  python examples/howto/why_slow.py
"""

import time

import gevent
import zmq

import zgreen


def worst_delay(seconds: float, every: float = 0.01) -> float:
    """How late the hub is at worst, in seconds: time in which no greenlet got its turn."""
    worst = 0.0
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        gevent.sleep(every)
        worst = max(worst, time.monotonic() - before - every)
    return worst


def hog() -> None:
    """What must not be in a greenlet: half a second of work without a pause."""
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass


def where(push: zgreen.Channel, pull: zgreen.Channel) -> str:
    """In which of the queues the messages wait."""
    out, into = push.statistics(), pull.statistics()
    return f"{out.pending} put and not sent, {out.sent - into.received} in ZeroMQ, {into.waiting} received and not got"


with (
    zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", recv_maxsize=100) as pull,
    zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint) as push,
):
    busy = gevent.spawn_later(0.1, hog)
    print("the hub is late:", worst_delay(1) > 0.3)
    busy.join()

    for number in range(200):
        push.put(str(number))
    push.flush()
    while pull.statistics().waiting < 100:
        gevent.sleep(0.01)
    print(where(push, pull))  # all on the receiver's side: it is the getter that is slow
    for _ in range(200):
        pull.get()
    print(where(push, pull))
