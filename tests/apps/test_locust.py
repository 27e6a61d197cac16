"""locust with zgreen.green in the place of zmq.green: its numbers are those of the server that it has loaded."""

from __future__ import annotations

import csv
import importlib.util
import socket
import sys
from pathlib import Path

import gevent
import pytest
from gevent import subprocess
from gevent.pywsgi import WSGIServer
from support import LIMIT

if importlib.util.find_spec("locust") is None:  # its import would patch this process
    pytest.skip("locust is not installed", allow_module_level=True)

WORKERS = 2
LOCUSTFILE = """
import zmq.green
from locust import HttpUser, constant, task

assert zmq.green.__name__ == "zgreen.green"

class Visitor(HttpUser):
    wait_time = constant(0.01)

    @task
    def visit(self):
        self.client.get("/")
"""


def test_a_master_and_its_workers_count_every_request(tmp_path: Path) -> None:
    served = 0

    def application(_, start_response):
        nonlocal served
        served += 1
        start_response("204 No Content", [])
        return []

    (tmp_path / "locustfile.py").write_text(LOCUSTFILE)
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    program = Path(sys.executable).with_name("locust")
    command = [sys.executable, "-m", "zgreen.green", program, "--headless", "-f", "locustfile.py", "--skip-log-setup",
               "--host", f"http://127.0.0.1:{server.server_port}"]  # fmt: skip
    master = ["--master", "--master-bind-port", port, "--expect-workers", str(WORKERS), "--users", "10",
              "--spawn-rate", "10", "--run-time", "2s", "--stop-timeout", "20", "--csv", "out"]  # fmt: skip
    options = [master] + [["--worker", "--master-port", port]] * WORKERS
    processes = [subprocess.Popen([*command, *more], cwd=tmp_path, stderr=subprocess.PIPE) for more in options]
    try:
        with gevent.Timeout(LIMIT):
            ends = [(process.communicate()[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.stop()
    assert [status for _, status in ends] == [0] * (1 + WORKERS), ends
    with (tmp_path / "out_stats.csv").open() as file:
        *_, total = csv.DictReader(file)
    assert (int(total["Request Count"]), int(total["Failure Count"])) == (served, 0)
    assert served > 0
