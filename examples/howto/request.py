"""One exchange at a time on a plain REQ channel, with a timeout that does not wedge the socket.

Run it:  python examples/howto/request.py
"""

import gevent
import zmq

import zgreen


def server(channel: zgreen.Channel) -> None:
    for request in channel:
        if request == b"slow":
            gevent.sleep(0.3)
        channel.put(b"reply to " + request)


serving = zgreen.Channel(zmq.REP, bind="tcp://127.0.0.1:*")
gevent.spawn(server, serving)

with zgreen.Channel(zmq.REQ, connect=serving.last_endpoint) as client:
    print(client.request("ping", timeout=5).decode())  # seconds
    try:
        client.request("slow", timeout=0.1)
    except TimeoutError:
        print("no reply in 0.1 s")
    print(client.request("next", timeout=5).decode())  # never the late reply to the one before
serving.close()
