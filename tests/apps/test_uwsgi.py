"""Flask under uWSGI with four gevent processes, through a graceful reload and the end: nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from servers import Server
from support import ANY, LIMIT, endpoint_of, raw_socket, real_threads
from test_frameworks import CHANNEL, FLASK

# uWSGI's workers end without Python's exit functions in gevent mode: see docs/howto/prefork.md.
AT_EXIT = """
    import uwsgi
    uwsgi.atexit = lambda: push().close()
"""
ROUND = 200


def program() -> str:
    """The path of uWSGI with gevent, beside this Python; where there is none the test is skipped, and says why."""
    found = shutil.which("uwsgi", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("uWSGI is not installed: pip builds it from C, which needs a compiler and Python's headers")
    told = subprocess.run([found, "--plugin-list"], capture_output=True, text=True, timeout=LIMIT)
    if "gevent" not in told.stdout + told.stderr:
        pytest.skip(f"{found} was built without its gevent plugin")
    return found


class Uwsgi(Server):
    """uWSGI with four gevent processes."""

    def __init__(self, folder: Path, application: str, *options: str, **environment: str) -> None:
        command = [
            program(), "--http-socket", "127.0.0.1:0", "--gevent", "100", "--gevent-monkey-patch", "--master",
            "--processes", "4", "--die-on-term", "--need-app", "--module", "application", *options,
        ]  # fmt: skip
        super().__init__(folder, application, command, environment)
        self.wait_for_workers(1)

    def wait_for_workers(self, start: int) -> None:
        """Until all are there after that many starts; each start of the master takes another port."""
        self.wait_for("spawned uWSGI worker", 4 * start)
        self.port = int(self.wait_for(r"bound to TCP address 127\.0\.0\.1:(\d+)", start)[-1])


@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["loaded before the fork", "lazy"])
def test_uwsgi(tmp_path: Path, options: tuple[str, ...]) -> None:
    """400 requests, 20 at a time, with a graceful reload between them and a TERM at the end."""
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        endpoint = endpoint_of(pull)
        with (
            Uwsgi(tmp_path, CHANNEL + FLASK + AT_EXIT, *options, PUSH_TO=endpoint) as uwsgi,
            real_threads(20) as spawn,
        ):

            def post(first: int) -> None:
                answers = [spawn(uwsgi.post, b"%d" % n) for n in range(first, first + ROUND)]
                assert [answer.get(timeout=LIMIT) for answer in answers] == [200] * ROUND

            post(0)
            uwsgi.process.send_signal(signal.SIGHUP)
            uwsgi.wait_for_workers(2)
            post(ROUND)
            uwsgi.process.send_signal(signal.SIGTERM)
            got = [pull.recv_multipart() for _ in range(2 * ROUND)]
            uwsgi.process.wait(timeout=LIMIT)
            log = uwsgi.log
    assert sorted(int(body) for _, body in got) == list(range(2 * ROUND))
    assert len({int(pid) for pid, _ in got}) > 1
    assert "Traceback" not in log, log
    assert "not sent" not in log, log
