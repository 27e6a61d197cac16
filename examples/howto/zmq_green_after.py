"""The program of zmq_green_before.py, with zgreen: no lock, no context, no bytes of one's own.

Run it:  python examples/howto/zmq_green_after.py
"""

import gevent
import zmq
from gevent.queue import Empty

import zgreen

pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)


def work(number: int) -> None:
    push.put(["result", str(number * number)])


workers = [gevent.spawn(work, number) for number in range(10)]
total = 0
for _ in workers:
    topic, result = pull.get()
    total += int(result)
print(topic.decode(), total)

try:
    pull.get(timeout=0.1)
except Empty:
    print("nothing more")
push.close(linger=5)  # seconds
pull.close()
