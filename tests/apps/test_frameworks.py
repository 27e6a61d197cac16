"""Flask and bottle under gunicorn with four gevent workers, through reloads and changes of workers: nothing is lost."""

from __future__ import annotations

import os
import signal

import pytest
import zmq
from servers import Gunicorn
from support import ANY, LIMIT, endpoint_of, raw_socket, real_threads

FLASK = """
    from flask import Flask, request
    application = Flask(__name__)

    @application.post("/")
    def post():
        push().put([str(os.getpid()), request.get_data()])
        return str(os.getpid())

    @application.get("/")
    def get():
        return str(os.getpid())
"""
BOTTLE = """
    import bottle
    application = bottle.Bottle()

    @application.post("/")
    def post():
        push().put([str(os.getpid()), bottle.request.body.read()])
        return str(os.getpid())

    @application.get("/")
    def get():
        return str(os.getpid())
"""
CHANNEL = """
    import os
    import zgreen, zmq

    @zgreen.per_process
    def push() -> zgreen.Channel:
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])
"""
# bottle's request is a threading.local: under --preload it must be made after patching, or greenlets share it.
CONFIG = """
    from gevent import monkey; monkey.patch_all()
    worker_class = "gevent"
    from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int
"""
ROUND = 200


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("framework", [FLASK, BOTTLE], ids=["flask", "bottle"])
def test_gunicorn(tmp_path, framework, preload):
    """600 requests, 20 at a time, with --max-requests 60, one HUP and a TERM at the end."""
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        options = {"workers": 4, "preload": preload, "config": CONFIG, "PUSH_TO": endpoint_of(pull)}
        arguments = ["--max-requests", "60", "--max-requests-jitter", "20"]
        with (
            Gunicorn(tmp_path, CHANNEL + framework, arguments=arguments, **options) as gunicorn,
            real_threads(20) as spawn,
        ):

            def post(first):
                answers = [spawn(gunicorn.post, b"%d" % n) for n in range(first, first + ROUND)]
                assert [answer.get(timeout=LIMIT) for answer in answers] == [200] * ROUND

            post(0)
            gunicorn.process.send_signal(signal.SIGHUP)
            post(ROUND)
            post(2 * ROUND)
            gunicorn.settle()
            gunicorn.process.send_signal(signal.SIGTERM)
            got = [pull.recv_multipart() for _ in range(3 * ROUND)]
            status = gunicorn.process.wait(timeout=LIMIT)
            log = gunicorn.log
    assert sorted(int(body) for _, body in got) == list(range(3 * ROUND))
    assert status == 0
    assert "Traceback" not in log, log
    assert "not sent" not in log, log
    assert "graceful timeout" not in log, log
    assert os.getpid() not in {int(pid) for pid, _ in got}
