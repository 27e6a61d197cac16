"""Real servers for the tests: gunicorn with gevent workers, in a folder with the application's file."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from support import LIMIT, PATCHED, ROOT

# Under the patched suite the arbiter itself is patched, too, before it forks.
CONFIG = "from gevent import monkey\nmonkey.patch_all()\n" if PATCHED else ""


class Server:
    """A server process in *folder*, which serves ``application`` of a module with the text *application*; as a context
    manager it is killed at the end. All its processes write to a file, *log*.

    :param environment: more variables.
    """

    def __init__(self, folder, application, command, environment):
        (folder / "application.py").write_text(textwrap.dedent(application))
        self._log = folder / "log"
        path = os.pathsep.join([str(ROOT), *[place for place in sys.path if place]])
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path, **environment}
            )
        self.port = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()

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
        """All that the processes have written to standard output and standard error."""
        return Path(self._log).read_text()

    def post(self, body, path="/"):
        """The status of a POST on a connection of its own."""
        return self.answer(body, path)[0]

    def answer(self, body, path="/"):
        """The status and the body that a POST gives."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def get(self, path="/"):
        """The body that a GET gives, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            return answer.read().decode()


class Gunicorn(Server):
    """gunicorn with gevent workers.

    :param config: more lines for its configuration file.
    :param environment: more variables.
    """

    def __init__(self, folder, application, *, preload=False, workers=2, arguments=(), config="", **environment):
        (folder / "config.py").write_text(CONFIG + textwrap.dedent(config))
        self._number = workers
        command = [
            sys.executable, "-m", "gunicorn", "application:application", "--worker-class", "gevent",
            "--workers", str(workers), "--bind", "127.0.0.1:0", "--config", "config.py",
            *["--preload"] * preload, *arguments,
        ]  # fmt: skip
        super().__init__(folder, application, command, environment)
        self.port = int(self.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[0])
        self.workers = self.new_workers(set())

    def new_workers(self, old):
        """The pids of the workers that were started after *old*."""
        return set(self.wait_for(r"Booting worker with pid: (\d+)", len(old) + self._number)) - old

    def wait_for_workers(self):
        """Until all have answered; the application answers a GET with its process's id. A worker that is still starting
        does not hear a SIGTERM."""
        deadline = time.monotonic() + LIMIT
        seen = set()
        while not self.workers <= seen:
            assert time.monotonic() < deadline, self.log
            seen.add(self.get())

    def settle(self):
        """Until all workers that have been started and have not ended have answered: see `wait_for_workers`."""
        deadline = time.monotonic() + LIMIT
        seen = set()
        while True:
            booted = set(re.findall(r"Booting worker with pid: (\d+)", self.log))
            alive = booted - set(re.findall(r"(?:Worker exiting \(pid: |Worker \(pid:)(\d+)\)", self.log))
            if len(alive) == self._number and alive <= seen:
                return
            assert time.monotonic() < deadline, self.log
            seen.add(self.get())

    def end(self):
        """TERM; returns how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=LIMIT)
        finally:
            self.process.kill()
        return time.monotonic() - started


class EventSource:
    """A client of server-sent events on a connection of its own, with gevent's sockets or the system's: *connect* makes
    them. Attributes: *retry*: what the server has said last; *comments*: how many lines of comment have come."""

    def __init__(self, port, path="/", connect=socket.create_connection, **headers):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        self._connection.sock = connect(("127.0.0.1", port), timeout=LIMIT)
        self.retry = None
        self.comments = 0
        try:
            self._connection.request("GET", path, headers=headers)
            self.response = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise

    def lines(self):
        """Until the end of the response."""
        for line in iter(self.response.readline, b""):
            yield line.rstrip(b"\n").decode()

    def events(self):
        """Yield (type, data, id) of each event, until the end of the response."""
        event, data, identity = None, [], None
        for line in self.lines():
            field, _, value = line.partition(": ")
            if not line:
                if data:
                    yield event, "\n".join(data), identity
                event, data = None, []
            elif line.startswith(":"):
                self.comments += 1
            elif field == "retry":
                self.retry = int(value)
            elif field == "event":
                event = value
            elif field == "id":
                identity = value
            else:
                assert field == "data", line
                data.append(value)

    def close(self):
        """Go, as a browser does whose page is closed."""
        self._connection.close()
        self.response.close()
