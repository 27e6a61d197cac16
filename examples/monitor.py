"""Which peers are there: wait for a connection and for a subscriber without a sleep, and see what happens on a socket.

Run it:  python examples/monitor.py
"""

import gevent
import zmq

import zgreen


def watch(monitor: zgreen.Monitor) -> None:
    for event in monitor:  # until the channel is closed
        print(f"server: {event.name}")


def main() -> None:
    # monitor=True: watched from before the bind, so wait_connected knows of every connection
    publisher = zgreen.Channel(zmq.PUB, bind="tcp://127.0.0.1:*", monitor=True)
    watcher = gevent.spawn(watch, publisher.monitor())
    print(f"a peer there at once: {publisher.wait_connected(0)}")

    subscriber = zgreen.Channel(zmq.SUB, connect=publisher.last_endpoint)
    subscriber.subscribe("news")
    print(f"connected: {publisher.wait_connected(10)}")
    print(f"subscribed: {publisher.wait_subscriber('news', 10)}")

    publisher.put("news: the first message is not lost")
    print(subscriber.get().decode())
    subscriber.close()
    publisher.close()
    watcher.get()


if __name__ == "__main__":
    main()
