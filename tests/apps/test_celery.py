"""Celery with a pool of greenlets, whose tasks put to one channel of their process: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import zmq
from support import ANY, LIMIT, ROOT, endpoint_of, raw_socket

pytest.importorskip("celery")

TASKS = 200

# A broker of files, so that no server is needed: both processes see one folder.
TASK = """
    import os

    import celery
    import gevent
    import zmq

    import zgreen

    folder = os.environ["BROKER"]
    app = celery.Celery("tasks", broker="filesystem://")
    app.conf.broker_transport_options = {
        "data_folder_in": folder, "data_folder_out": folder, "control_folder": folder + "/control"}

    @zgreen.per_process
    def push() -> zgreen.Channel:
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])

    @app.task
    def put(number):
        gevent.sleep(0.01)  # so that tasks run at the same time
        push().put([str(os.getpid()), str(number), str(gevent.getcurrent())])
"""
SEND = f"from tasks import put\nfor number in range({TASKS}): put.delay(number)\n"


def test_a_pool_of_greenlets(tmp_path: Path) -> None:
    """And SIGTERM ends it with what was put sent, and status 0."""
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASK))
    (tmp_path / "queue").mkdir()
    with raw_socket(zmq.PULL, bind=ANY) as pull, (tmp_path / "log").open("w") as log:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "BROKER": str(tmp_path / "queue")}
        environment["PUSH_TO"] = endpoint_of(pull)
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "gevent", "--concurrency", "20",
                   "--without-gossip", "--without-mingle", "--loglevel", "INFO"]  # fmt: skip
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            subprocess.run([sys.executable, "-c", SEND], cwd=tmp_path, env=environment, check=True, timeout=LIMIT)
            got = [pull.recv_multipart() for _ in range(TASKS)]
            worker.send_signal(signal.SIGTERM)
            status = worker.wait(timeout=LIMIT)
            assert not pull.poll(0)
        finally:
            worker.kill()
            worker.wait()
    text = (tmp_path / "log").read_text()
    assert sorted(int(body) for _, body, _ in got) == list(range(TASKS)), text
    assert {int(pid) for pid, _, _ in got} == {worker.pid}
    assert len({greenlet for _, _, greenlet in got}) > 1
    assert (status, "Traceback" in text, "not sent" in text) == (0, False, False), text
