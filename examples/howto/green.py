"""A program of zmq.green with one line changed. Greenlets may now share a socket, without a lock.

Run it:  python examples/howto/green.py
"""

import gevent

import zgreen.green as zmq  # was: import zmq.green as zmq

context = zmq.Context()
pull = context.socket(zmq.PULL)
port = pull.bind_to_random_port("tcp://127.0.0.1")
push = context.socket(zmq.PUSH)
push.connect(f"tcp://127.0.0.1:{port}")

gevent.joinall([gevent.spawn(push.send, b"%d" % number) for number in range(10)])
print(sum(int(pull.recv()) for _ in range(10)))
context.destroy(linger=0)
