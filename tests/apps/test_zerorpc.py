"""zerorpc with zgreen.green in the place of zmq.green: calls, streams, errors and heartbeats between processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from support import LIMIT

if importlib.util.find_spec("zerorpc") is None:
    pytest.skip("zerorpc is not installed", allow_module_level=True)

SERVER = """
import os
import sys

import gevent
import zerorpc
import zmq.green

assert zmq.green.__name__ == "zgreen.green"

class Service:
    def add(self, one, other):
        return one + other

    @zerorpc.stream
    def count(self, end):
        return iter(range(end))

    def fail(self):
        raise KeyError("no such thing")

    def slow(self, seconds):
        gevent.sleep(seconds)  # several heartbeats
        return "done"

    def die(self):
        os._exit(7)

server = zerorpc.Server(Service(), heartbeat=0.3)
server.bind(sys.argv[1])
print("ready", flush=True)
server.run()
"""
CLIENT = """
import sys

import gevent
import zerorpc
import zmq.green

assert zmq.green.__name__ == "zgreen.green"
client = zerorpc.Client(heartbeat=0.3, timeout=60)
client.connect(sys.argv[1])
assert [call.get() for call in [client.add(n, 1, **{"async": True}) for n in range(20)]] == list(range(1, 21))
assert list(client.count(1000)) == list(range(1000))
try:
    client.fail()
except zerorpc.RemoteError as error:
    assert error.name == "KeyError", error
else:
    raise AssertionError("no error came")
assert client.slow(1.5) == "done"
try:
    client.die()
except zerorpc.LostRemote:
    print("lost")
client.close()
"""


def test_a_server_and_a_client(tmp_path: Path) -> None:
    for name, program in (("server.py", SERVER), ("client.py", CLIENT)):
        (tmp_path / name).write_text(program)
    command = [sys.executable, "-m", "zgreen.green"]
    endpoint = f"ipc://{tmp_path}/socket"
    server = subprocess.Popen([*command, tmp_path / "server.py", endpoint], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        client = [*command, tmp_path / "client.py", endpoint]
        done = subprocess.run(client, capture_output=True, text=True, timeout=2 * LIMIT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "lost\n", "")
        assert server.wait(LIMIT) == 7
    finally:
        server.kill()
        server.communicate()
