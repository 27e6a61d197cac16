"""Four buffers in a row: how many messages fit between a put() and a get() that never comes.

Run it:  python examples/howto/buffers.py
"""

import zmq
from gevent.queue import Full

import zgreen


def capacity(send_maxsize: int, sndhwm: int, rcvhwm: int, recv_maxsize: int) -> int:
    """Put until nothing fits any more. Over inproc, where no kernel buffers messages besides."""
    with zgreen.Pump() as pump:
        pull = zgreen.Channel(
            zmq.PULL, bind="inproc://buffers", options={zmq.RCVHWM: rcvhwm}, recv_maxsize=recv_maxsize, pump=pump
        )
        push = zgreen.Channel(
            zmq.PUSH, connect="inproc://buffers", options={zmq.SNDHWM: sndhwm}, send_maxsize=send_maxsize, pump=pump
        )
        count = 0
        try:
            while True:
                push.put("x", timeout=0.5)
                count += 1
        except Full:
            here, there = push.statistics().pending, pull.statistics().waiting
            print(f"put {count}: {here} here, {there} there, the rest in ZeroMQ")
        while pull.statistics().received < count:  # empty all of it
            pull.get()
        return count


print("10 + 10 + 10 + 10 =", capacity(10, 10, 10, 10))
print("1 + 1 + 1 + 1 =", capacity(1, 1, 1, 1))
