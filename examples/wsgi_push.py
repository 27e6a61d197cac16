"""A WSGI server whose requests all push to one ZeroMQ socket.

Run it:  python examples/wsgi_push.py
         curl --data 'hello' http://127.0.0.1:PORT/some/path        (it prints its PORT)

gevent gives each connection a greenlet; all of them put to the one PUSH channel, without a lock. A worker
process pulls and prints. It serves until Ctrl-C or SIGTERM, or until it has served --requests POSTs.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402  (patch first, then import: as in any application of gevent)
import itertools  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

import gevent  # noqa: E402
import zmq  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

import zgreen  # noqa: E402

STOP = b"stop"


def worker(endpoint: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # these are for the server, which then sends STOP
        signal.signal(number, signal.SIG_IGN)
    channel = zgreen.Channel(zmq.PULL, connect=endpoint, multipart=True)
    for kind, *frames in channel:
        if kind == STOP:
            break
        print("worker got", *(frame.decode() for frame in frames), flush=True)


def serve(port: int, requests: int | None) -> None:
    stop = threading.Event()  # one of gevent's, since monkey.patch_all()
    for number in (signal.SIGINT, signal.SIGTERM):  # first: from here on no signal leaves the worker behind
        gevent.signal_handler(number, stop.set)
    served = itertools.count(1)
    push = zgreen.Channel(zmq.PUSH, bind="tcp://127.0.0.1:*")

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] != "POST":
            start_response("405 Method Not Allowed", [("Allow", "POST")])
            return [b"POST something\n"]
        push.put([b"post", environ["PATH_INFO"], environ["wsgi.input"].read()])
        start_response("202 Accepted", [("Content-Type", "text/plain")])
        if next(served) == requests:
            stop.set()
        return [b"pushed\n"]

    process = subprocess.Popen([sys.executable, __file__, "--worker", push.last_endpoint])
    server = WSGIServer(("127.0.0.1", port), application, log=None)
    server.start()
    print(f"serving on http://127.0.0.1:{server.server_port}", flush=True)
    stop.wait()
    print("stopping")
    server.stop()  # waits for the requests that are being served
    push.put([STOP])
    push.close(linger=30)  # seconds for the worker to take it all: it may still be starting
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="POST something; a worker process prints it.")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--requests", type=int, metavar="N", help="end after N POSTs (default: at Ctrl-C or SIGTERM)")
    parser.add_argument("--worker", metavar="ENDPOINT", help="be the worker")
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
    else:
        serve(arguments.port, arguments.requests)


if __name__ == "__main__":
    main()
