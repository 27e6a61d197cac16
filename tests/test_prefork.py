"""gunicorn with gevent workers: an application that pushes each request, with and without --preload."""

import os
import signal

import pytest
import zmq
from servers import Gunicorn
from support import ANY, endpoint_of, raw_socket

pytest.importorskip("gunicorn")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="gunicorn forks")

# "lazy": each worker makes its channel at its first request. "import": where the module is imported, which is the
# arbiter under --preload: the worker is told so by ForkedError, and makes its own.
APPLICATION = """
    import os
    import zgreen, zmq

    def make():
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])

    channel = make() if os.environ["CHANNEL"] == "import" else None

    def push(message):
        global channel
        try:
            if channel is not None:
                return channel.put(message)
        except zgreen.ForkedError:
            pass
        channel = make()
        channel.put(message)

    def application(environ, start_response):
        push([str(os.getpid()), environ["wsgi.input"].read()])
        start_response("202 Accepted", [("Content-Length", "0")])
        return []
"""


def start(folder, preload, channel, push_to):
    environment = {"PUSH_TO": push_to, "CHANNEL": channel}
    return Gunicorn(folder, APPLICATION, preload=preload, arguments=["--graceful-timeout", "20"], **environment)


@pytest.mark.parametrize("channel", ["lazy", "import"])
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_workers_push_each_request(tmp_path, preload, channel):
    """All requests arrive, from both workers, before and after a reload; workers and arbiter end in time."""
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        gunicorn = start(tmp_path, preload, channel, endpoint_of(pull))
        try:

            def post_until_all_have_answered(workers):
                seen, number = set(), 0
                while seen != workers or number < 50:
                    body = b"%d" % number
                    assert gunicorn.post(body) == 202
                    pid, got = pull.recv_multipart()
                    assert got == body
                    assert pid.decode() in workers
                    seen.add(pid.decode())
                    number += 1
                    assert number < 1000, f"{seen} of {workers}\n{gunicorn.log}"

            first = gunicorn.workers
            post_until_all_have_answered(first)
            gunicorn.process.send_signal(signal.SIGHUP)
            second = gunicorn.new_workers(first)
            for pid in first:
                gunicorn.wait_for(rf"Worker exiting \(pid: {pid}\)")
            post_until_all_have_answered(second)
            for number in range(50):  # these may be with the workers when they are told to end
                assert gunicorn.post(b"%d" % number) == 202
            seconds = gunicorn.end()
            assert sorted(int(pull.recv_multipart()[1]) for _ in range(50)) == list(range(50))
        finally:
            gunicorn.process.kill()
            gunicorn.process.wait()
    log = gunicorn.log
    assert gunicorn.process.returncode == 0, log
    assert "Traceback" not in log, log
    assert "not sent" not in log, log
    assert seconds < 10, log
