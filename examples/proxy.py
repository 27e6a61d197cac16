"""More than one machine: two publishers, a proxy that all know, and three servers that fan out to their browsers.

Run it:  python examples/proxy.py

Publishers and servers know the proxy's two addresses and nothing of each other, so each may come, go and come again.
Here all of it runs on one machine, each part in a process of its own; on several, only the addresses differ:

    python -m zgreen proxy --frontend tcp://*:5559 --backend tcp://*:5560
    python examples/proxy.py publisher alice tcp://proxy.example:5559
    python examples/proxy.py server 1 tcp://proxy.example:5560

A publisher goes on until it is ended: with a proxy between them it cannot know which servers have subscribed by now.
"""

import itertools
import signal
import subprocess
import sys

import gevent
import zmq

import zgreen

TOPICS = ["gold", "tin"]
ROUNDS = 3  # messages from each publisher that a browser waits for
PUBLISHERS = ["alice", "bob"]
SERVERS = ["1", "2", "3"]


def publisher(name: str, frontend: str) -> None:
    channel = zgreen.Channel(zmq.PUB, connect=frontend)
    for price in itertools.count():
        for topic in TOPICS:
            channel.put(f"{topic} {price} from {name}")
        gevent.sleep(0.02)


def browser(server: str, topic: str, prices: zgreen.Subscription) -> None:
    heard = dict.fromkeys(PUBLISHERS, 0)
    with prices:
        for message in prices:
            text = message.decode()
            sys.stdout.write(f"server {server}, browser of {topic}: {text}\n")  # whole, whatever else is written there
            sys.stdout.flush()
            heard[text.split()[-1]] += 1
            if min(heard.values()) >= ROUNDS:
                return


def server(name: str, backend: str) -> None:
    fan = zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=backend))
    browsers = [gevent.spawn(browser, name, topic, fan.subscribe(topic)) for topic in TOPICS]
    gevent.joinall(browsers, raise_error=True)


def start(*arguments: str, **options: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], **options)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: an exception, which runs what is in `finally`
    anywhere = "tcp://127.0.0.1:*"  # any free port; the proxy says which
    arguments = ["--frontend", anywhere, "--backend", anywhere, "--type", "forwarder"]
    proxy = start("-m", "zgreen", "proxy", *arguments, stdout=subprocess.PIPE, text=True)
    publishers, servers = [], []
    try:
        _, _, frontend, _, backend = proxy.stdout.readline().replace(",", "").split()
        servers = [start(__file__, "server", name, backend) for name in SERVERS]
        publishers = [start(__file__, "publisher", name, frontend) for name in PUBLISHERS]
        print("servers ended with", [process.wait() for process in servers])
    finally:
        for process in [*publishers, *servers]:
            process.kill()
            process.wait()
        proxy.terminate()  # SIGTERM: it ends in order, and says what has passed
        print("proxy:", proxy.communicate()[0].strip())


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        role, *arguments = sys.argv[1:]
        {"publisher": publisher, "server": server}[role](*arguments)
