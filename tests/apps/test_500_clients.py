"""500 clients of one process, by server-sent events and by WebSocket, each of which counts its messages."""

from __future__ import annotations

import base64
import os
import textwrap

import gevent
import gevent.socket
import pytest
import zmq
from gevent.event import Event
from support import ANY, LIMIT, endpoint_of, finish, raw_socket, script

CLIENTS, MESSAGES = 500, 100

SERVER = """
    from gevent import monkey; monkey.patch_all()
    import os
    import simple_websocket, zmq
    from gevent.pool import Pool
    from gevent.pywsgi import WSGIServer
    import zgreen, zgreen.sse

    fan = zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=os.environ["SUBSCRIBE_TO"], multipart=True))

    def application(environ, start_response):
        subscription = fan.subscribe("news", maxsize=1000)
        if environ["PATH_INFO"] == "/sse":
            start_response("200 OK", zgreen.sse.HEADERS)
            return zgreen.sse.events(subscription)
        ws = simple_websocket.Server.accept(environ)
        with subscription:
            for message in subscription:
                ws.send(message[1].decode())
            ws.close()
        return []

    server = WSGIServer(("127.0.0.1", 0), application, spawn=Pool(1000), log=None, backlog=600)
    zgreen.drain_on_signal(server.stop, timeout=20)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()
    zgreen.drain(20)
    print(fan.statistics().dropped)
"""
SSE = b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


def client(port, request, begun):
    """All bytes of one response."""
    with gevent.socket.create_connection(("127.0.0.1", port), timeout=4 * LIMIT) as sock:
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            if not data:
                begun.append(sock)
            data += piece
            if b"<last>" in data and request is WEBSOCKET:
                break
        return data


@pytest.mark.timeout(5 * LIMIT)
@pytest.mark.parametrize("request_", [SSE, WEBSOCKET], ids=["sse", "websocket"])
def test_500_clients(request_):
    with raw_socket(zmq.XPUB, bind=ANY, sndhwm=0) as xpub:
        environment = {**os.environ, "SUBSCRIBE_TO": endpoint_of(xpub)}
        process = script(textwrap.dedent(SERVER), env=environment)
        port = int(process.stdout.readline())
        begun = []
        clients = [gevent.spawn(client, port, request_, begun) for _ in range(CLIENTS)]
        with gevent.Timeout(2 * LIMIT):
            while len(begun) < CLIENTS:
                gevent.sleep(0.05)
        assert xpub.recv() == b"\1news"
        for number in range(MESSAGES):
            xpub.send_multipart([b"news", b"<%d>" % number])
        xpub.send_multipart([b"news", b"<last>"])
        if request_ is SSE:  # then each response has an end
            ended = Event()
            gevent.spawn_later(2, ended.set)
            ended.wait()
            process.terminate()
        received = [one.get(timeout=4 * LIMIT) for one in clients]
        if request_ is WEBSOCKET:
            process.terminate()
        status, out, err = finish(process)
    for data in received:
        positions = [data.find(b"<%d>" % number) for number in range(MESSAGES)]
        assert -1 not in positions
        assert positions == sorted(positions)
        assert all(data.count(b"<%d>" % number) == 1 for number in range(MESSAGES))
        assert data.count(b"<last>") == 1
    assert status == 0, err
    assert out == "0\n"
