"""What the programs beside this one share: when heartbeats are due, how a client asks again, how a program ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import gevent
import zmq.green as zmq

INTERVAL = 0.1  # seconds between two heartbeats
SILENCE = 0.8  # a peer that was not heard for so many seconds counts as gone
SHORTEST, LONGEST = 0.1, 0.8  # seconds before a worker connects again; doubled with each attempt that fails
TIMEOUT = 500  # milliseconds; for so long a client waits for a reply before it asks again


class Heartbeat:
    """When the next heartbeat is due."""

    def __init__(self) -> None:
        self._next = time.monotonic() + INTERVAL

    def due(self) -> bool:
        """Whether it is time to send one; if so, the next one is due an interval from now."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + INTERVAL
        return True

    def left(self) -> int:
        """Milliseconds until the next one is due, for a poll."""
        return max(0, round(1000 * (self._next - time.monotonic())))


def end_of_silence() -> float:
    """Until when a peer that was heard just now counts as alive."""
    return time.monotonic() + SILENCE


class WorkerBase:
    """A worker of either protocol: it connects anew, with a new identity, whenever its broker seems to be gone."""

    def __init__(self, context: zmq.Context, endpoint: str, name: str, seconds: float) -> None:
        self.name = name
        self.socket: zmq.Socket | None = None
        self._context = context
        self._endpoint = endpoint
        self._seconds = seconds  # that it works for one request
        self._connections = 0

    def run(self) -> None:
        """Never returns."""
        pause = SHORTEST
        while True:
            self._connect()
            if self._serve():
                pause = SHORTEST
            print(f"{self.name} has lost its broker and waits {pause:g} s", flush=True)
            self.socket.close(linger=0)
            gevent.sleep(pause)
            pause = min(2 * pause, LONGEST)

    def _connect(self) -> None:
        self._connections += 1
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.identity = f"{self.name}.{self._connections}".encode()
        self.socket.connect(self._endpoint)
        self.say_ready()

    def _serve(self) -> bool:
        """Take requests until the broker is gone; whether it was ever heard."""
        heartbeat, gone_at, heard = Heartbeat(), end_of_silence(), False
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        while time.monotonic() < gone_at:
            if poller.poll(heartbeat.left()):
                gone_at, heard = end_of_silence(), True
                if not self.take(self.socket.recv_multipart()):
                    break
            if heartbeat.due():
                self.say_alive()
        return heard

    def work(self, request: list[bytes], reply: Callable[[zmq.Socket, list[bytes]], None]) -> None:
        """Work in a greenlet of its own, while heartbeats go on; the reply goes to where the request came from."""
        socket = self.socket

        def work() -> None:
            print(f"{self.name} works", flush=True)
            gevent.sleep(self._seconds)
            if not socket.closed:
                reply(socket, [*request, self.name.encode()])

        gevent.spawn(work)

    def take(self, frames: list[bytes]) -> bool:
        """Take a message of the broker; False if it sends the worker away."""
        raise NotImplementedError

    def say_ready(self) -> None:
        """Tell the broker that the worker is there."""
        raise NotImplementedError

    def say_alive(self) -> None:
        """Tell the broker that the worker is still there."""
        raise NotImplementedError


class Client:
    """Asks one question at a time, again and again until the reply comes."""

    def __init__(self, context: zmq.Context, endpoint: str) -> None:
        self._context = context
        self._endpoint = endpoint

    def ask(self, request: list[bytes]) -> list[bytes]:
        """Return the reply."""
        while True:
            with self._context.socket(zmq.REQ) as socket:
                socket.linger = 0  # so that a request without a reply is given up when the socket is closed
                socket.connect(self._endpoint)
                socket.send_multipart(request)
                if socket.poll(TIMEOUT):
                    return socket.recv_multipart()
            print("a client asks again", flush=True)


def ask_all(ask: Callable[[bytes], list[bytes]], number: int) -> None:
    """Ask *number* questions from four greenlets, and print each answer, a number and the name of a worker."""
    questions = iter(range(number))

    def some() -> None:
        for question in questions:
            answer, worker = ask(b"%d" % question)
            print("answer", answer.decode(), worker.decode(), flush=True)

    gevent.joinall([gevent.spawn(some) for _ in range(4)], raise_error=True)


def run_until_sigterm(context: zmq.Context, function: Callable[[], None]) -> None:
    """Run *function* in a greenlet that SIGTERM kills; then close all sockets, and give what they say last a second."""
    running = gevent.spawn(function)
    gevent.signal_handler(signal.SIGTERM, running.kill, block=False)
    running.get()
    context.destroy(linger=1000)
