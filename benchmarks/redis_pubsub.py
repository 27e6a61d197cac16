"""PUB and SUB of zgreen beside Redis pub/sub: ``python -m benchmarks.redis_pubsub``.

It needs ``redis-server`` on the PATH and redis-py (``pip install redis``). It stands apart from the scenarios, because
Redis puts a server between the two sides. Both sides are Python programs under ``monkey.patch_all()``, as users of
gevent have them; all connections are local (ipc, and Redis by its Unix socket). The rounds alternate.
"""

# ruff: noqa: E402 (the patching comes before all other imports)
from gevent import monkey

monkey.patch_all()

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

import zgreen

ROUNDS, SECONDS, ROUND_TRIPS = 5, 2.0, 2000
BATCH = 100  # messages that are put in one call
ACK = 1000  # messages for which the receiver answers once
WINDOW = 10 * ACK  # messages under way at most, so that neither side ever drops one
MESSAGE = bytes(100)


class Zgreen:
    """One side: a PUB that it sends by, a SUB that it receives by."""

    def __init__(self, folder: str, sends: str, receives: str) -> None:
        self._pub = zgreen.Channel(zmq.PUB, bind=f"ipc://{folder}/{sends}")
        self._sub = zgreen.Channel(zmq.SUB, connect=f"ipc://{folder}/{receives}", subscribe="")
        self.get = self._sub.get

    def put_many(self, messages: list[bytes]) -> None:
        self._pub.wait_subscriber("")
        self._pub.put_many(messages)


class Redis:
    """One side: a client that publishes to one channel and has subscribed to another."""

    def __init__(self, folder: str, sends: str, receives: str) -> None:
        import redis

        self._client = redis.Redis(unix_socket_path=f"{folder}/redis")
        self._sends = sends
        self._subscription = self._client.pubsub()
        self._subscription.subscribe(receives)
        assert self._subscription.get_message(timeout=5)["type"] == "subscribe"

    def put_many(self, messages: list[bytes]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(self._sends, message)
            pipeline.execute()

    def get(self) -> bytes:
        return self._subscription.get_message(timeout=None)["data"]


LIBRARIES: dict[str, Callable[..., Zgreen | Redis]] = {"zgreen": Zgreen, "redis": Redis}


def publish(side: Zgreen | Redis) -> None:
    """Of the other process: publish without end, and no more than the window."""
    under_way = 0
    while True:
        while under_way + BATCH > WINDOW:
            side.get()
            under_way -= ACK
        side.put_many([MESSAGE] * BATCH)
        under_way += BATCH


def reply(side: Zgreen | Redis) -> None:
    """Of the other process: send back what comes."""
    while True:
        side.put_many([side.get()])


def rate(side: Zgreen | Redis) -> float:
    """Messages received per second."""
    for _ in range(WINDOW // ACK):
        _acknowledge(side)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        _acknowledge(side)
        count += ACK
    return count / (time.monotonic() - began)


def _acknowledge(side: Zgreen | Redis) -> None:
    for _ in range(ACK):
        side.get()
    side.put_many([b"ack"])


def round_trip(side: Zgreen | Redis) -> float:
    """The median, in microseconds."""
    times = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic()
        side.put_many([MESSAGE])
        side.get()
        times.append(time.monotonic() - began)
    return statistics.median(times) * 1e6


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield child
    finally:
        with child:
            child.kill()


def measure(library: str, other: str, measured: Callable[[Zgreen | Redis], float]) -> float:
    """Run *measured* here against *other* in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if library == "redis":
            server = ("redis-server", "--port", "0", "--unixsocket", f"{folder}/redis", "--save", "", "--dir", folder)
            stack.enter_context(process(*server))
            while not Path(folder, "redis").exists():
                time.sleep(0.01)
        side = LIBRARIES[library](folder, "here", "there")
        here = (sys.executable, "-m", "benchmarks.redis_pubsub", library, other, folder)
        child = stack.enter_context(process(*here))
        assert child.stdout is not None
        child.stdout.readline()  # it has subscribed
        return measured(side)


def main() -> int:
    if len(sys.argv) == 4:
        library, other, folder = sys.argv[1:]
        side = LIBRARIES[library](folder, "there", "here")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        {"publish": publish, "reply": reply}[other](side)
    if shutil.which("redis-server") is None:
        sys.stderr.write("redis-server is not installed\n")
        return 1
    for name, other, measured in (("messages/s", "publish", rate), ("round trip, us", "reply", round_trip)):
        rounds: dict[str, list[float]] = {library: [] for library in LIBRARIES}
        for _ in range(ROUNDS):
            for library, results in rounds.items():
                results.append(measure(library, other, measured))
        for library, results in rounds.items():
            sys.stdout.write(
                f"{name:15} {library:7} {statistics.median(results):>10,.0f} "
                f"({min(results):,.0f} - {max(results):,.0f})\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
