"""Two reliable protocols of the ZeroMQ guide between processes: the programs in guide/ are written for zmq.green.

They run with it, in the place of which `python -m zgreen.green` puts zgreen.green, and with the one line changed.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Program
from support import PATCHED

PROGRAMS = Path(__file__).with_name("guide")
WAYS = ["zmq.green", "-m zgreen.green", "import zgreen.green"]


class Guide:
    """The programs of one protocol, started in one way: `line_with` waits for what they say."""

    broker_role = ""
    service: tuple[str, ...] = ()

    def __init__(self, start: Callable[..., Program], folder: Path) -> None:
        self._start = start
        self.for_clients = self.for_workers = f"ipc://{folder}/broker"

    def broker(self) -> Program:
        """A broker that is up."""
        broker = self._start(self.broker_role, *dict.fromkeys((self.for_clients, self.for_workers)))
        broker.line_with("is up")
        return broker

    def worker(self, name: str, seconds: float = 0.01) -> Program:
        """A worker that needs so many seconds for a request."""
        return self._start("worker", self.for_workers, name, str(seconds), *self.service)

    def client(self, number: int) -> Program:
        """A client that asks *number* questions."""
        return self._start("client", self.for_clients, str(number), *self.service)

    def knows(self, service: str) -> str:
        """What a broker of the Majordomo protocol says when it is asked for a service."""
        asking = self._start("knows", self.for_clients, service)
        assert asking.end() == 0, asking.output
        return asking.lines[-1]


class ParanoidPirate(Guide):
    broker_role = "queue"

    def __init__(self, start: Callable[..., Program], folder: Path) -> None:
        super().__init__(start, folder)
        self.for_workers = f"ipc://{folder}/workers"


class Majordomo(Guide):
    broker_role = "broker"
    service = ("echo",)


@pytest.fixture(params=WAYS)
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Start a program; after the test each must end at SIGTERM without an error, the brokers last."""
    folder = tmp_path / "guide"
    shutil.copytree(PROGRAMS, folder)
    if request.param == WAYS[2]:
        for file in folder.glob("*.py"):
            file.write_text(file.read_text().replace("import zmq.green as zmq", "import zgreen.green as zmq"))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    patch = ["-m", "gevent.monkey", "--module"] if PATCHED else []
    started: list[tuple[bool, Program]] = []
    with contextlib.ExitStack() as stack:

        def start(file: str, role: str, *arguments: str) -> Program:
            if request.param == WAYS[1]:
                way = [*(patch or ["-m"]), "zgreen.green", str(folder / f"{file}.py")]
            else:
                way = [*(patch or ["-m"]), file]
            program = stack.enter_context(Program(*way, role, *arguments))
            started.append((role in ("queue", "broker"), program))
            return program

        yield start
        for _, program in sorted(started, key=lambda one: one[0]):
            with contextlib.suppress(ProcessLookupError):
                program.signal(signal.SIGTERM)
            status = program.end()
            assert status in (0, -signal.SIGKILL), program.output
            assert not program.over_limit, program.output
            assert "Traceback" not in program.output, program.output


@pytest.fixture(params=[ParanoidPirate, Majordomo])
def guide(request: pytest.FixtureRequest, start: Callable[..., Program], tmp_path: Path) -> Guide:
    file = {ParanoidPirate: "paranoid_pirate", Majordomo: "majordomo"}[request.param]
    return request.param(lambda *arguments: start(file, *arguments), tmp_path)


@pytest.fixture
def majordomo(start: Callable[..., Program], tmp_path: Path) -> Guide:
    return Majordomo(lambda *arguments: start("majordomo", *arguments), tmp_path)


def answers(client: Program) -> tuple[list[int], set[str]]:
    """The questions to which a client that has ended got an answer, and the workers that gave them."""
    assert client.end() == 0, client.output
    found = [line.split()[1:] for line in client.lines if line.startswith("answer")]
    return sorted(int(number) for number, _ in found), {worker for _, worker in found}


def test_several_workers_answer(guide: Guide) -> None:
    broker = guide.broker()
    for name in ("A", "B"):
        guide.worker(name)
        broker.line_with(f"{name}.1 is ready")
    assert answers(guide.client(40)) == (list(range(40)), {"A", "B"})


def test_a_killed_worker_is_forgotten_and_its_request_goes_to_another(guide: Guide) -> None:
    broker = guide.broker()
    slow = guide.worker("slow", 1000)
    broker.line_with("slow.1 is ready")
    client = guide.client(1)
    slow.line_with("slow works")
    slow.signal(signal.SIGKILL)
    broker.line_with("is gone")
    client.line_with("asks again")
    guide.worker("other")
    assert answers(client) == ([0], {"other"})


def test_workers_come_back_to_a_broker_that_is_started_again(guide: Guide) -> None:
    broker = guide.broker()
    workers = {name: guide.worker(name) for name in ("A", "B")}
    for _ in workers:
        broker.line_with("1 is ready")
    broker.signal(signal.SIGKILL)
    broker.end()
    for worker in workers.values():
        for seconds in (0.1, 0.2):
            worker.line_with(f"waits {seconds} s")
    client = guide.client(4)
    client.line_with("asks again")
    broker = guide.broker()
    for _ in workers:
        assert ".1 " not in broker.line_with("is ready")  # each has a new identity
    assert answers(client)[0] == list(range(4))
    assert answers(guide.client(40)) == (list(range(40)), {"A", "B"})


def test_a_majordomo_broker_and_its_workers_tell_each_other_when_they_leave(majordomo: Guide) -> None:
    broker = majordomo.broker()
    workers = [majordomo.worker(name) for name in ("A", "B")]
    for _ in workers:
        broker.line_with("is ready")
    assert (majordomo.knows("echo"), majordomo.knows("other")) == ("200", "404")
    for worker in workers:
        worker.signal(signal.SIGTERM)
        broker.line_with("is gone")
    assert majordomo.knows("echo") == "404"
    worker = majordomo.worker("C")
    broker.line_with("C.1 is ready")
    broker.signal(signal.SIGTERM)
    worker.line_with("has lost its broker")
    assert broker.end() == 0
    majordomo.broker().line_with("is ready")
    assert majordomo.knows("echo") == "200"
