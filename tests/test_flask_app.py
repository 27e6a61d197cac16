"""examples/services/flask_app.py under gunicorn with gevent workers: server-sent events, WebSocket, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time

import pytest
import zmq
from servers import EventSource, Gunicorn
from support import ANY, LIMIT, ROOT, endpoint_of, raw_socket

pytest.importorskip("gunicorn")
pytest.importorskip("flask_sock")
websocket = pytest.importorskip("websocket")

pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="gunicorn forks")]

SERVICES = ROOT / "examples" / "services"
APPLICATION = """
    import os, sys
    sys.path.insert(0, os.environ["SERVICES"])
    import flask_app
    flask_app.SEND_LIMIT = 0.5
    from flask_app import app as application

    @application.get("/")
    def pid():
        return str(os.getpid())
"""


@pytest.fixture
def peers():
    with raw_socket(zmq.PULL, bind=ANY) as pull, raw_socket(zmq.XPUB, bind=ANY, sndhwm=0) as xpub:
        yield pull, xpub


@pytest.fixture
def served(tmp_path, peers):
    """One worker of gunicorn, so that a client that comes back finds its messages."""
    pull, xpub = peers
    shutil.copy(SERVICES / "gunicorn.conf.py", tmp_path / "conf.py")
    config = (SERVICES / "gunicorn.conf.py").read_text()
    environment = {"PUSH_TO": endpoint_of(pull), "SUBSCRIBE_TO": endpoint_of(xpub), "SERVICES": str(SERVICES)}
    with Gunicorn(tmp_path, APPLICATION, workers=1, config=config, **environment) as gunicorn:
        gunicorn.wait_for_workers()
        yield gunicorn


def connect(gunicorn, room, **options):
    return websocket.create_connection(f"ws://127.0.0.1:{gunicorn.port}/socket/{room}", timeout=LIMIT, **options)


def wait_for_subscriptions(gunicorn, number):
    deadline = time.monotonic() + LIMIT
    while gunicorn.get("/subscriptions") != str(number):
        assert time.monotonic() < deadline, gunicorn.get("/subscriptions")


def test_rooms(served, peers):
    pull, xpub = peers
    one, two, other = connect(served, "red"), connect(served, "red"), connect(served, "redder")
    wait_for_subscriptions(served, 3)
    assert sorted(xpub.recv() for _ in range(2)) == [b"\1red", b"\1redder"]
    for number in range(10):
        xpub.send_multipart([b"red", b"%d" % number])
    xpub.send_multipart([b"redder", b"end"])
    assert [one.recv() for _ in range(10)] == [two.recv() for _ in range(10)] == [str(n) for n in range(10)]
    assert other.recv() == "end"
    one.send("said")
    assert pull.recv_multipart() == [b"red", b"said"]
    assert served.post(b"posted", "/messages/blue") == 202
    assert pull.recv_multipart() == [b"blue", b"posted"]
    one.close()
    two.shutdown()  # without a word
    wait_for_subscriptions(served, 1)
    other.close()
    assert "Traceback" not in served.log, served.log


def test_a_slow_client_is_disconnected(served, peers):
    """It does not read; the others get everything meanwhile."""
    _, xpub = peers
    slow = connect(served, "red", sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    quick = connect(served, "red")
    wait_for_subscriptions(served, 2)
    assert xpub.recv() == b"\1red"
    number = 200
    for n in range(number):
        xpub.send_multipart([b"red", b"%d " % n + bytes(b"x" * 100_000)])
        assert quick.recv().startswith(f"{n} ")
    wait_for_subscriptions(served, 1)
    quick.close()
    slow.shutdown()
    assert "Traceback" not in served.log, served.log


def test_term(served, peers):
    """Streams of both kinds end, and are told to come back; the exit status is 0."""
    _, xpub = peers
    ws, sse = connect(served, "red"), EventSource(served.port, "/events/red")
    wait_for_subscriptions(served, 2)
    xpub.send_multipart([b"red", b"hello"])
    assert ws.recv() == "hello"
    served.process.send_signal(signal.SIGTERM)
    assert [data for _, data, _ in sse.events()] == ["hello"]
    assert sse.retry is not None
    sse.close()
    opcode, data = ws.recv_data()
    assert (opcode, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1001).to_bytes(2, "big"))
    ws.shutdown()
    assert served.process.wait(timeout=LIMIT) == 0
    assert "graceful timeout" not in served.log
    assert "Traceback" not in served.log, served.log
