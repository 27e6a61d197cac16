"""A server that handles many requests at once, each in its own greenlet, and is stopped in good order.

Run it:  python examples/serve.py
"""

import logging
import time

import gevent
import zmq

import zgreen


def handler(request: bytes | list[bytes]) -> bytes | str:
    if request == b"divide":
        return str(1 // 0)
    if request == b"slow":
        gevent.sleep(0.3)
    return request.upper()


def on_error(error: BaseException, _request: object) -> list[str]:
    """What the client gets; the error itself, with its traceback, is in the log."""
    return ["error", type(error).__name__]


def main() -> None:
    logging.getLogger("zgreen").addHandler(logging.NullHandler())  # here only to keep this example's output short

    channel = zgreen.Channel(zmq.ROUTER, bind="tcp://127.0.0.1:*")
    server = zgreen.serve(channel, handler, concurrency=20, on_error=on_error)

    with zgreen.Requester(connect=channel.last_endpoint) as client:
        print("upper:", client.request("hello", timeout=5).decode())

        started = time.monotonic()
        gevent.joinall([gevent.spawn(client.request, "slow", 5) for _ in range(10)], raise_error=True)
        if time.monotonic() - started < 2:
            print("10 slow requests took the time of one")

        print(": ".join(frame.decode() for frame in client.request("divide", timeout=5)))

        print("all handlers have finished:", server.stop(timeout=5))
    channel.close()


if __name__ == "__main__":
    main()
