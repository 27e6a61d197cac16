"""Many requests at once to a server in another process, which is then killed; a retry reaches the next one.

Run it:  python examples/requester.py

The server is plain pyzmq: any REP, or ROUTER that returns the envelope, will do.
"""

import signal
import subprocess
import sys

import zmq
from gevent.subprocess import PIPE, Popen

import zgreen


def server(endpoint: str) -> None:
    """Add and multiply, one request at a time."""
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.bind(endpoint)
    print(socket.last_endpoint.decode().rstrip("\0"), flush=True)
    while True:
        left, sign, right = socket.recv().split()
        result = int(left) + int(right) if sign == b"+" else int(left) * int(right)
        socket.send_string(str(result))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: an exception, which runs what is in `finally`
    servers = []

    def start(endpoint: str) -> str:
        servers.append(Popen([sys.executable, __file__, endpoint], stdout=PIPE, stderr=subprocess.DEVNULL, text=True))
        return servers[-1].stdout.readline().strip()

    try:
        endpoint = start("tcp://127.0.0.1:*")
        # RECONNECT_IVL is in ZeroMQ's milliseconds
        with zgreen.Requester(connect=endpoint, retries=100, options={zmq.RECONNECT_IVL: 10}) as requester:
            print("2 + 2 =", requester.request("2 + 2", timeout=0.2).decode())  # seconds, for each of 101 tries

            asking = [requester.submit(f"{i} * {i}", timeout=0.2) for i in range(10)]
            print("10 requests at once:", [int(result.get()) for result in asking])

            servers[0].kill()
            servers[0].wait()
            result = requester.submit("3 + 4", timeout=0.2)
            result.wait(0.5)
            print("the server is killed; a reply?", result.ready())

            start(endpoint)
            print("another server answers: 3 + 4 =", result.get().decode())
    finally:
        for process in servers:
            process.kill()
            process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server(sys.argv[1])
    else:
        main()
