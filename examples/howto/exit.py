"""Leave without loss: flush, close, shut down; and what happens if you do nothing of it.

Run it:  python examples/howto/exit.py
"""

import subprocess
import sys
from itertools import islice

import zmq

import zgreen

SENDER = """
import sys, zmq, zgreen
channel = zgreen.Channel(zmq.PUSH, connect=sys.argv[1])
for number in range(100):
    channel.put(b"%d" % number)
"""  # and no close: zgreen sends what was put when the process exits, in 5 seconds at most


def main() -> None:
    pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
    push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)
    for number in range(100):
        push.put(str(number))
    print("libzmq has taken all of it:", push.flush(timeout=5))
    print("not sent:", push.close(linger=5))  # seconds; returns when the socket has really ended
    print("got:", len(list(islice(pull, 100))))

    sender = subprocess.Popen([sys.executable, "-c", SENDER, pull.last_endpoint])
    print("got from a process that just ended:", len(list(islice(pull, 100))))
    sender.wait()

    nowhere = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*")  # no peer will ever connect
    nowhere.on_error = lambda error, message: print("not sent:", message, type(error).__name__)
    nowhere.put("lost")
    print("not sent:", nowhere.close(linger=0.1))
    pull.close()


if __name__ == "__main__":
    main()
