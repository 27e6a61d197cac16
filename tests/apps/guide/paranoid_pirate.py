"""The Paranoid Pirate Protocol, https://rfc.zeromq.org/spec/6/: a queue with heartbeats, its workers and its clients.

paranoid_pirate.py queue FRONTEND BACKEND
paranoid_pirate.py worker BACKEND NAME SECONDS
paranoid_pirate.py client FRONTEND NUMBER
"""

from __future__ import annotations

import sys
import time

import zmq.green as zmq
from common import Client, Heartbeat, WorkerBase, ask_all, end_of_silence, run_until_sigterm

READY, HEARTBEAT = b"\1", b"\2"


class Queue:
    """Gives each request to the worker that has waited longest."""

    def __init__(self, context: zmq.Context, frontend: str, backend: str) -> None:
        self._frontend, self._backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        self._gone_at: dict[bytes, float] = {}  # by the identity of each worker, busy or not
        self._waiting: dict[bytes, None] = {}  # those that are not busy, in order
        self._workers_alone, self._all = zmq.Poller(), zmq.Poller()
        for poller in (self._workers_alone, self._all):
            poller.register(self._backend, zmq.POLLIN)
        self._all.register(self._frontend, zmq.POLLIN)
        self._frontend.bind(frontend)
        self._backend.bind(backend)

    def run(self) -> None:
        """Never returns."""
        heartbeat = Heartbeat()
        print("the queue is up", flush=True)
        while True:
            poller = self._all if self._waiting else self._workers_alone
            ready = dict(poller.poll(heartbeat.left()))
            if self._backend in ready:
                self._take_from_worker(*self._backend.recv_multipart())
            if self._frontend in ready:
                self._give_to_worker(self._frontend.recv_multipart())
            if heartbeat.due():
                self._forget_the_silent()
                for worker in self._gone_at:
                    self._backend.send_multipart([worker, HEARTBEAT])

    def _take_from_worker(self, worker: bytes, *frames: bytes) -> None:
        if frames == (READY,):
            print(f"{worker.decode()} is ready", flush=True)
            self._waiting[worker] = None
        elif worker not in self._gone_at:
            return  # it gets no heartbeats, and so it will connect again
        elif frames != (HEARTBEAT,):
            self._frontend.send_multipart(frames)
            self._waiting[worker] = None
        self._gone_at[worker] = end_of_silence()

    def _give_to_worker(self, request: list[bytes]) -> None:
        worker = next(iter(self._waiting))
        del self._waiting[worker]
        self._backend.send_multipart([worker, *request])

    def _forget_the_silent(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker, gone_at in self._gone_at.items() if gone_at < now]:
            del self._gone_at[worker]
            self._waiting.pop(worker, None)
            print(f"{worker.decode()} is gone", flush=True)


class Worker(WorkerBase):
    """A worker of the queue."""

    def say_ready(self) -> None:
        self.socket.send(READY)

    def say_alive(self) -> None:
        self.socket.send(HEARTBEAT)

    def take(self, frames: list[bytes]) -> bool:
        if frames != [HEARTBEAT]:
            self.work(frames, lambda socket, reply: socket.send_multipart(reply))
        return True


def main(role: str, endpoint: str, *arguments: str) -> None:
    context = zmq.Context()
    if role == "queue":
        run_until_sigterm(context, Queue(context, endpoint, *arguments).run)
    elif role == "worker":
        name, seconds = arguments
        run_until_sigterm(context, Worker(context, endpoint, name, float(seconds)).run)
    else:
        client = Client(context, endpoint)
        ask_all(lambda question: client.ask([question]), int(arguments[0]))
        context.term()


if __name__ == "__main__":
    main(*sys.argv[1:])
