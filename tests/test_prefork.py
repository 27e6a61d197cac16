"""gunicorn with gevent workers: an application that pushes each request, with and without --preload."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import zmq
from support import ANY, LIMIT, PATCHED, ROOT, endpoint_of, raw_socket

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
# The arbiter itself may be patched, too, before it forks.
CONFIG = "from gevent import monkey\nmonkey.patch_all()\n"


class Gunicorn:
    """Two workers; standard error goes to a file, because all of them write there."""

    def __init__(self, folder, preload, channel, push_to):
        (folder / "application.py").write_text(textwrap.dedent(APPLICATION))
        (folder / "config.py").write_text(CONFIG if PATCHED else "")
        self._log = folder / "log"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [
            sys.executable, "-m", "gunicorn", "application:application", "--worker-class", "gevent", "--workers", "2",
            "--bind", "127.0.0.1:0", "--config", "config.py", "--graceful-timeout", "20", *["--preload"] * preload,
        ]  # fmt: skip
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stderr=log,
                env={**os.environ, "PYTHONPATH": path, "PUSH_TO": push_to, "CHANNEL": channel},
            )  # fmt: skip
        self.port = int(self.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[0])
        self.workers = self.new_workers(set())

    def wait_for(self, pattern, number=1):
        """The first *number* matches in the log."""
        deadline = time.monotonic() + LIMIT
        while len(found := re.findall(pattern, self.log)) < number:
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.01)
        return found

    @property
    def log(self):
        return Path(self._log).read_text()

    def new_workers(self, old):
        """The pids of the workers that were started after *old*."""
        return set(self.wait_for(r"Booting worker with pid: (\d+)", len(old) + 2)) - old

    def post(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("POST", "/", body)
            assert connection.getresponse().status == 202

    def end(self):
        """TERM; returns how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=LIMIT)
        finally:
            self.process.kill()
        return time.monotonic() - started


@pytest.mark.parametrize("channel", ["lazy", "import"])
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_workers_push_each_request(tmp_path, preload, channel):
    """All requests arrive, from both workers, before and after a reload; workers and arbiter end in time."""
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        gunicorn = Gunicorn(tmp_path, preload, channel, endpoint_of(pull))
        try:

            def post_until_all_have_answered(workers):
                seen, number = set(), 0
                while seen != workers or number < 50:
                    body = b"%d" % number
                    gunicorn.post(body)
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
                gunicorn.post(b"%d" % number)
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
