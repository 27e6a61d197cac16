"""Log records over a PUB socket: a program that wants the errors of this one subscribes to them.

Run it:  python examples/logging_pub.py
"""

import logging

import zmq

import zgreen


def main() -> None:
    with (
        zgreen.Channel(zmq.PUB, bind="tcp://127.0.0.1:*") as publisher,
        zgreen.Channel(zmq.SUB, connect=publisher.last_endpoint) as subscriber,
    ):
        subscriber.subscribe("shop.ERROR")  # the topic: the root topic and the level
        publisher.wait_subscriber("shop.ERROR")

        handler = zgreen.PubHandler(publisher, "shop")
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger = logging.getLogger("orders")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)

        logger.info("order %d has come", 5)  # no subscriber wants it
        logger.error("order %d is lost", 5)  # never waits, from whatever thread
        topic, text = subscriber.get()
        print(f"{topic.decode()} {text.decode()}")
        print(f"sent {handler.sent}, dropped {handler.dropped}")
        logger.removeHandler(handler)


if __name__ == "__main__":
    main()
