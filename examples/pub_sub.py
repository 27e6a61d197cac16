"""Publish and subscribe: a publisher that waits for its subscribers, and two that each want one topic.

Run it:  python examples/pub_sub.py

A PUB socket drops what has no subscriber *yet* (the "slow joiner"). No sleep cures that. An XPUB
socket tells the publisher of each subscription as a message, so it can wait for the ones it needs.
"""

import gevent
import zmq

import zgreen

TOPICS = ["news", "weather"]
ROUNDS = 3


def publisher(channel: zgreen.Channel) -> None:
    awaited = set(TOPICS)
    while awaited:
        event = channel.get()  # b"\x01" and the topic: a peer has subscribed (b"\x00": the last one left)
        print(f"publisher: a subscriber wants {event[1:].decode()}")
        awaited.discard(event[1:].decode())
    for number in range(ROUNDS):
        for topic in [*TOPICS, "gossip"]:  # no subscriber wants gossip: libzmq does not even send it
            channel.put([topic, f"{topic} number {number}"])
    channel.close()


def subscriber(endpoint: str, topic: str) -> None:
    channel = zgreen.Channel(zmq.SUB, connect=endpoint)
    channel.subscribe(topic)
    for _ in range(ROUNDS):
        _, text = channel.get()
        print(f"subscriber to {topic}: {text.decode()}")
    channel.close()


def main() -> None:
    channel = zgreen.Channel(zmq.XPUB, bind="tcp://127.0.0.1:*")  # any free port; last_endpoint tells which
    greenlets = [gevent.spawn(publisher, channel)]
    greenlets += [gevent.spawn(subscriber, channel.last_endpoint, topic) for topic in TOPICS]
    gevent.joinall(greenlets, raise_error=True)


if __name__ == "__main__":
    main()
