"""Fan out: one SUB channel for all the browsers of a server, each with a queue of its own.

Run it:  python examples/fan_out.py

Three "browsers" are greenlets. Each wants its own topics; one of them is slow and has room for two messages only, so
it loses the oldest ones. That costs the others nothing, and the publisher never hears of it.
"""

import gevent
import zmq
from gevent.event import Event

import zgreen

PRICES = 5


def browser(name: str, prices: zgreen.Subscription) -> None:
    with prices:  # closed at the end, however it comes: leaving the fan-out is all there is to do
        for message in prices:
            print(f"{name}: {message.decode()}")


def slow_browser(prices: zgreen.Subscription, go_on: Event) -> None:
    go_on.wait()  # it is busy with something else, while messages come
    browser("slow", prices)
    print(f"slow: lost {prices.dropped}")


def main() -> None:
    publisher = zgreen.Channel(zmq.XPUB, bind="tcp://127.0.0.1:*")
    fan = zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=publisher.last_endpoint))
    go_on = Event()
    browsers = [
        gevent.spawn(browser, "gold", fan.subscribe("gold")),
        gevent.spawn(browser, "all", fan.subscribe("gold", "tin")),
        gevent.spawn(slow_browser, fan.subscribe("gold", maxsize=2, overflow="drop_oldest"), go_on),
    ]
    topics = {publisher.get() for _ in range(2)}  # three want gold: ZeroMQ is told once
    print("subscribed to:", *sorted(topic[1:].decode() for topic in topics))

    for price in range(PRICES):
        publisher.put(f"gold {price}")
    publisher.put(f"tin {PRICES}")
    while fan.statistics().received < PRICES + 1:
        gevent.sleep(0.01)
    go_on.set()
    fan.channel.close()  # what has come is still got, then each loop ends
    gevent.joinall(browsers, raise_error=True)


if __name__ == "__main__":
    main()
