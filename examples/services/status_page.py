"""A page about the channels of this process.

Run it:  python examples/services/status_page.py [port]    (needs pip install 'zgreen[status]')
and open http://127.0.0.1:8000/ in a browser. SIGTERM (kill) ends it.
"""

import sys

import gevent
import zmq
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

import zgreen
import zgreen.status


def work() -> None:
    """Something to see."""
    pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
    push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)
    for number in range(sys.maxsize):
        push.put(str(number))
        pull.get()
        gevent.sleep(0.01)


def main() -> None:
    worker = gevent.spawn(work)
    port = int(sys.argv[1]) if sys.argv[1:] else 8000
    server = WSGIServer(("127.0.0.1", port), zgreen.status.application(), spawn=Pool(100), log=None)
    zgreen.drain_on_signal(worker.kill, server.stop)
    server.start()
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
    zgreen.drain()


if __name__ == "__main__":
    main()
