"""What a program of zmq-async looks like here: register_socket, two queues, shutdown().

Run it:  python examples/howto/zmq_async.py
"""

import gevent
import zmq
from gevent.queue import Empty, Queue, ShutDown

import zgreen

ADDRESS = "inproc://adder"

pump = zgreen.Pump()  # (create-context), (initialize! context); here the first socket starts it
to_server, from_server = Queue(16), Queue(16)
to_client, from_client = Queue(16), Queue(16)


def bind(socket: zmq.Socket) -> None:  # the configurator: runs in the owning thread
    socket.bind(ADDRESS)


def connect(socket: zmq.Socket) -> None:
    socket.connect(ADDRESS)


# in_ is what you write, out is what you read, as in zmq-async
pump.register_socket(to_server, from_server, socket_type="router", configurator=bind)
pump.register_socket(to_client, from_client, socket_type="dealer", configurator=connect)


def server() -> None:
    try:
        for identity, left, right in from_server:  # several frames: a list
            to_server.put([identity, str(int(left) + int(right))])
    except ShutDown:  # gevent's queues raise it, where a channel of core.async gives nil
        print("the server has ended")


serving = gevent.spawn(server)
to_client.put(["2", "3"])
to_client.put(["4", "5"])
print("alts! would be zgreen.select:", zgreen.select(from_client)[1].decode())
print("<!! is get:", from_client.get().decode())
try:
    from_client.get_nowait()
except Empty:
    print("poll! is get_nowait")

to_client.shutdown()  # (close! in): closes the socket after what was put has gone out
try:
    from_client.get()
except ShutDown:
    print("a closed channel gives no nil, but ShutDown")
pump.shutdown()  # (shutdown)
serving.join()
