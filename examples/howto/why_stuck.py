"""Why is it stuck: every channel of a pump, what waits in it, which callers wait for it, and the likely reason.

Run it:  python examples/howto/why_stuck.py
"""

import gevent
import zmq

import zgreen


def why(channel: zgreen.Channel) -> str:
    s = channel.statistics()
    if s.pending:
        return f"{s.pending} put and not sent, {s.putters} wait to put: no peer, or it does not read"
    if s.waiting:
        return f"{s.waiting} received, no consumer gets them"
    if s.getters:
        return f"{s.getters} wait to get: nothing comes"
    return "idle"


def picture(pump: zgreen.Pump) -> str:
    return "\n".join(f"{channel}: {why(channel)}" for channel in pump.channels)


with zgreen.Pump() as pump:
    lonely = zgreen.Channel(zmq.PUSH, bind="inproc://lonely", send_maxsize=2, pump=pump)
    full = zgreen.Channel(zmq.PULL, bind="inproc://full", pump=pump)
    zgreen.Channel(zmq.PUSH, connect="inproc://full", pump=pump).put("unread")
    zgreen.Channel(zmq.PULL, bind="inproc://quiet", pump=pump)

    putters = [gevent.spawn(lonely.put, "x") for _ in range(5)]
    getter = gevent.spawn(pump.channels[-1].get)
    while full.statistics().waiting == 0 or lonely.statistics().putters < 3:
        gevent.sleep(0.01)
    print(picture(pump))

    peer = zgreen.Channel(zmq.PULL, connect="inproc://lonely", pump=pump)  # the cure for the first one
    gevent.joinall(putters, raise_error=True)
    print("got:", len([peer.get() for _ in putters]))
    getter.kill()
