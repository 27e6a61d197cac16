"""Fan in: five PUSH clients send to one PULL server, and connect before the server has bound.

Run it:  python examples/fan_in.py                          clients are greenlets of this process
         python examples/fan_in.py tcp://127.0.0.1:5577     clients are processes; any free port will do
         python examples/fan_in.py ipc:///tmp/fan-in        the same

Only the endpoint differs: the code of the client and of the server does not know where the other one runs.
"""

import argparse
import signal
import sys

import gevent
import zmq
from gevent.subprocess import PIPE, Popen

import zgreen

CLIENTS = 5
MESSAGES = 3


def client(endpoint: str, number: int) -> zgreen.Channel:
    channel = zgreen.Channel(zmq.PUSH, connect=endpoint)
    for count in range(MESSAGES):
        channel.put(f"hey {number} {count}")
    print(f"client {number} has connected and put", flush=True)
    return channel


def server(endpoint: str) -> None:
    channel = zgreen.Channel(zmq.PULL, bind=endpoint)
    print("server has bound", flush=True)
    for _ in range(CLIENTS * MESSAGES):
        print(channel.get().decode(), flush=True)
    channel.close()


def client_process(endpoint: str, number: int, processes: list[Popen]) -> None:
    """Run client() in a process of its own; return when it says that it has connected and put."""
    process = Popen([sys.executable, __file__, endpoint, "--client", str(number)], stdout=PIPE, text=True)
    processes.append(process)
    print(process.stdout.readline(), end="", flush=True)


def serve_processes(endpoint: str) -> None:
    """All clients in processes of their own, which end before this one does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: an exception, which runs what is in `finally`
    processes = []
    try:
        starting = [gevent.spawn(client_process, endpoint, number, processes) for number in range(CLIENTS)]
        gevent.joinall(starting, raise_error=True)  # all have connected, none has bound
        server(endpoint)
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()


def serve_greenlets(endpoint: str) -> None:
    """All clients in greenlets of this process."""
    starting = [gevent.spawn(client, endpoint, number) for number in range(CLIENTS)]
    channels = [greenlet.get() for greenlet in starting]  # all have connected, none has bound
    server(endpoint)
    for channel in channels:
        channel.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Five PUSH clients, one PULL server.")
    parser.add_argument("endpoint", nargs="?", default="inproc://fan-in")
    parser.add_argument("--client", type=int, metavar="NUMBER", help="be this client only")
    arguments = parser.parse_args()
    endpoint = arguments.endpoint
    if arguments.client is not None:
        client(endpoint, arguments.client).close(linger=30)  # seconds for a server to come and take it all
        return

    if endpoint.startswith("inproc:"):
        serve_greenlets(endpoint)
    else:
        serve_processes(endpoint)


if __name__ == "__main__":
    main()
