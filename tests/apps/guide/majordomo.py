"""The Majordomo Protocol, https://rfc.zeromq.org/spec/7/, and its mmi.service, https://rfc.zeromq.org/spec/8/.

majordomo.py broker ENDPOINT
majordomo.py worker ENDPOINT NAME SECONDS SERVICE
majordomo.py client ENDPOINT NUMBER SERVICE
majordomo.py knows ENDPOINT SERVICE
"""

from __future__ import annotations

import sys
import time
from collections import deque

import zmq.green as zmq
from common import Client, Heartbeat, WorkerBase, ask_all, end_of_silence, run_until_sigterm

CLIENT, WORKER = b"MDPC01", b"MDPW01"
READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = b"\1", b"\2", b"\3", b"\4", b"\5"
KNOWS = b"mmi.service"


class Service:
    """The requests for one service, and its workers."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.requests: deque[tuple[bytes, list[bytes]]] = deque()  # the client, and the body
        self.workers: set[bytes] = set()
        self.waiting: dict[bytes, None] = {}  # the workers that are not busy, in order


class Broker:
    """Gives each request to a worker of its service, when there is one."""

    def __init__(self, context: zmq.Context, endpoint: str) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._services: dict[bytes, Service] = {}
        self._service_of: dict[bytes, Service] = {}  # by the identity of each worker
        self._gone_at: dict[bytes, float] = {}  # likewise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._socket.bind(endpoint)

    def run(self) -> None:
        """Never returns, but tells its workers when it is killed."""
        heartbeat = Heartbeat()
        print("the broker is up", flush=True)
        try:
            while True:
                if self._poller.poll(heartbeat.left()):
                    self._take(*self._socket.recv_multipart())
                if heartbeat.due():
                    self._forget_the_silent()
                    for worker in self._service_of:
                        self._tell(worker, HEARTBEAT)
        finally:
            for worker in self._service_of:
                self._tell(worker, DISCONNECT)

    def _service(self, name: bytes) -> Service:
        return self._services.setdefault(name, Service(name))

    def _tell(self, worker: bytes, command: bytes, *frames: bytes) -> None:
        self._socket.send_multipart([worker, b"", WORKER, command, *frames])

    def _take(self, peer: bytes, empty: bytes, protocol: bytes, *frames: bytes) -> None:
        assert empty == b""
        if protocol == CLIENT:
            self._take_from_client(peer, *frames)
        elif protocol == WORKER:
            self._take_from_worker(peer, *frames)

    # ------------------------------------------------------------------ clients

    def _take_from_client(self, client: bytes, name: bytes, *body: bytes) -> None:
        if name == KNOWS:
            service = self._services.get(body[0])
            self._answer(client, name, b"200" if service is not None and service.workers else b"404")
            return
        service = self._service(name)
        service.requests.append((client, list(body)))
        self._hand_out(service)

    def _answer(self, client: bytes, service: bytes, *body: bytes) -> None:
        self._socket.send_multipart([client, b"", CLIENT, service, *body])

    def _hand_out(self, service: Service) -> None:
        while service.requests and service.waiting:
            worker = next(iter(service.waiting))
            del service.waiting[worker]
            client, body = service.requests.popleft()
            self._tell(worker, REQUEST, client, b"", *body)

    # ------------------------------------------------------------------ workers

    def _take_from_worker(self, worker: bytes, command: bytes, *frames: bytes) -> None:
        if command == READY and worker not in self._service_of:
            self._add(worker, *frames)
        elif command == DISCONNECT:
            self._forget(worker)
            return
        elif worker not in self._service_of or command not in (REPLY, HEARTBEAT):
            self._forget(worker)
            self._tell(worker, DISCONNECT)
            return
        elif command == REPLY:
            client, _, *body = frames
            service = self._service_of[worker]
            self._answer(client, service.name, *body)
            service.waiting[worker] = None
            self._hand_out(service)
        self._gone_at[worker] = end_of_silence()

    def _add(self, worker: bytes, name: bytes) -> None:
        print(f"{worker.decode()} is ready", flush=True)
        service = self._service_of[worker] = self._service(name)
        service.workers.add(worker)
        service.waiting[worker] = None
        self._hand_out(service)

    def _forget(self, worker: bytes) -> None:
        service = self._service_of.pop(worker, None)
        if service is not None:
            del self._gone_at[worker]
            service.workers.discard(worker)
            service.waiting.pop(worker, None)
            print(f"{worker.decode()} is gone", flush=True)

    def _forget_the_silent(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker, gone_at in self._gone_at.items() if gone_at < now]:
            self._forget(worker)


class Worker(WorkerBase):
    """A worker of one service."""

    service = b""

    def run(self) -> None:
        try:
            super().run()
        finally:
            if not self.socket.closed:
                self._tell(DISCONNECT)

    def say_ready(self) -> None:
        self._tell(READY, self.service)

    def say_alive(self) -> None:
        self._tell(HEARTBEAT)

    def _tell(self, command: bytes, *frames: bytes) -> None:
        self.socket.send_multipart([b"", WORKER, command, *frames])

    def take(self, frames: list[bytes]) -> bool:
        _, _, command, *rest = frames
        if command == REQUEST:
            self.work(rest, lambda socket, reply: socket.send_multipart([b"", WORKER, REPLY, *reply]))
        return command != DISCONNECT


def ask(client: Client, service: bytes, question: bytes) -> list[bytes]:
    """Return the body of the reply."""
    protocol, of, *body = client.ask([CLIENT, service, question])
    assert (protocol, of) == (CLIENT, service)
    return body


def main(role: str, endpoint: str, *arguments: str) -> None:
    context = zmq.Context()
    if role == "broker":
        run_until_sigterm(context, Broker(context, endpoint).run)
    elif role == "worker":
        name, seconds, service = arguments
        worker = Worker(context, endpoint, name, float(seconds))
        worker.service = service.encode()
        run_until_sigterm(context, worker.run)
    elif role == "client":
        client, (number, service) = Client(context, endpoint), arguments
        ask_all(lambda question: ask(client, service.encode(), question), int(number))
        context.term()
    else:
        [status] = ask(Client(context, endpoint), KNOWS, arguments[0].encode())
        print(status.decode())
        context.term()


if __name__ == "__main__":
    main(*sys.argv[1:])
