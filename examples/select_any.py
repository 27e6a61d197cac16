"""Select: one greenlet that serves three sources: jobs over ZeroMQ, news of a publisher, and a queue of its own.

Run it:  python examples/select_any.py

It takes one message at a time from whichever source has one, until all three have ended.
"""

import gevent
import zmq
from gevent.queue import Queue, ShutDown

import zgreen

ROUNDS = 3


def worker(sources: dict) -> None:
    while sources:
        try:
            source, message = zgreen.select(*sources)
        except ShutDown as ended:  # ClosedError is one, too
            print(f"no more {sources.pop(ended.source)}")
        else:
            text = message.decode() if isinstance(message, bytes) else message
            print(f"{sources[source]}: {text}")


def main() -> None:
    jobs = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
    client = zgreen.Channel(zmq.PUSH, connect=jobs.last_endpoint)
    publisher = zgreen.Channel(zmq.XPUB, bind="tcp://127.0.0.1:*")
    subscriber = zgreen.Channel(zmq.SUB, connect=publisher.last_endpoint)
    subscriber.subscribe("news")
    publisher.get()  # it knows of the subscription now
    timer = Queue()

    working = gevent.spawn(worker, {jobs: "job", subscriber: "news", timer: "tick"})
    for number in range(ROUNDS):
        client.put(f"dig {number}")
        publisher.put(f"news {number}")
        timer.put(f"tick {number}")
    while jobs.statistics().received < ROUNDS or subscriber.statistics().received < ROUNDS:
        gevent.sleep(0.01)
    timer.shutdown()
    jobs.close()
    subscriber.close()
    working.join()


if __name__ == "__main__":
    main()
