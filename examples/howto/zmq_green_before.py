"""A program of zmq.green: ten greenlets push to one socket, so it needs a lock. zmq_green_after.py is the same.

Run it:  python examples/howto/zmq_green_before.py
"""

import gevent
import zmq.green as zmq
from gevent.lock import RLock

context = zmq.Context()
pull = context.socket(zmq.PULL)
pull.linger = 0
port = pull.bind_to_random_port("tcp://127.0.0.1")
push = context.socket(zmq.PUSH)
push.connect(f"tcp://127.0.0.1:{port}")
lock = RLock()


def work(number: int) -> None:
    with lock:
        push.send_multipart([b"result", str(number * number).encode()])


workers = [gevent.spawn(work, number) for number in range(10)]
total = 0
for _ in workers:
    topic, result = pull.recv_multipart()
    total += int(result)
print(topic.decode(), total)

with gevent.Timeout(0.1, False):
    pull.recv()
    print("never printed")
print("nothing more")
push.close(linger=5000)  # milliseconds
pull.close()
context.term()
