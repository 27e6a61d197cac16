"""A Flask application: it pushes what is posted, and fans out to browsers, by server-sent events and WebSocket.

Run it, in the folder of this file (pip install flask flask-sock 'gunicorn[gevent]'):

    PUSH_TO=tcp://127.0.0.1:5555 SUBSCRIBE_TO=tcp://127.0.0.1:5556 gunicorn --workers 4 flask_app:app

gunicorn.conf.py, in the same folder, has the worker class and the hooks.
"""

import contextlib
import os

import gevent
import zmq
from flask import Flask, Response, request
from flask_sock import Sock
from gevent.lock import RLock
from simple_websocket import ConnectionClosed

import zgreen
import zgreen.sse

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 4096}
sock = Sock(app)

SEND_LIMIT = 10.0  # seconds that one message to a WebSocket may take


@zgreen.per_process
def push() -> zgreen.Channel:
    return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])


@zgreen.per_process
def fan() -> zgreen.Fanout:
    return zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=os.environ["SUBSCRIBE_TO"], multipart=True), keep=100)


@app.errorhandler(zgreen.ClosedError)
def ending(_error):
    return "this worker is ending", 503


@app.post("/messages/<room>")
def post(room):
    push().put([room, request.get_data()], timeout=5)
    return "", 202


@app.get("/events/<room>")
def events(room):
    try:
        subscription = fan().subscribe(room, exact=True, replay=10)
    except zgreen.ClosedError:  # a browser comes back after 200 only
        return Response(zgreen.sse.come_back(), headers=zgreen.sse.HEADERS)
    stream = zgreen.sse.events(subscription, last_event_id=request.headers.get("Last-Event-ID"))
    return Response(stream, headers=zgreen.sse.HEADERS)


@app.get("/subscriptions")
def subscriptions():
    return str(fan().statistics().subscriptions)


@sock.route("/socket/<room>")
def socket(ws, room):
    ws.sock = WholeSends(ws.sock)
    with fan().subscribe(room, exact=True, maxsize=100, overflow="disconnect") as subscription:
        receiving = gevent.spawn(receive, ws, subscription, room)
        try:
            for message in subscription:
                ws.send(message[1].decode(errors="replace"))
            ws.close(1001, "going away")  # the client may come back, to another worker
        except zgreen.ClosedError:
            ws.close(1013, "too slow")
        except OSError:  # the client has gone, or has not read for SEND_LIMIT
            ws.sock.close()
        finally:
            receiving.kill()


def receive(ws, subscription, room):
    """What the client says is pushed; when it has gone, the subscription ends."""
    with contextlib.suppress(ConnectionClosed), subscription:
        while True:
            push().put([room, ws.receive()])


class WholeSends:
    """The socket of a WebSocket, of which send() sends all it is given, one greenlet after the other, in time."""

    def __init__(self, sock):
        self._sock = sock
        self._lock = RLock()

    def send(self, data):
        with gevent.Timeout(SEND_LIMIT, TimeoutError("the client does not read")), self._lock:
            self._sock.sendall(data)
        return len(data)

    def __getattr__(self, name):
        return getattr(self._sock, name)
