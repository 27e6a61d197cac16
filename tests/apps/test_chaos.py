"""A minute in which workers, the broker and publishers are killed and restarted under load; then an account of it all.

ZGREEN_CHAOS_SECONDS makes it longer. A run of ten minutes is longer than pytest's faulthandler allows by default:

    ZGREEN_CHAOS_SECONDS=600 tox -e apps -- -o faulthandler_timeout=0 apps/test_chaos.py
"""

from __future__ import annotations

import collections
import http.client
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gevent
import pytest
import zmq
from programs import environment
from servers import EventSource, Gunicorn
from support import LIMIT, real_threads
from test_examples import reserved_port

SECONDS = float(os.environ.get("ZGREEN_CHAOS_SECONDS", "60"))
# A broker that is killed takes along what it and the connections to it hold: what was put so many seconds before that.
BEFORE, AFTER = 2.0, 0.5
BETWEEN = 10.0  # seconds between two of these

APPLICATION = """
    import os
    import zgreen, zgreen.sse, zmq
    from flask import Flask, Response, request

    application = Flask(__name__)

    @zgreen.per_process
    def push():
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"], options={zmq.RECONNECT_IVL: 50})

    @zgreen.per_process
    def fan():
        sub = zgreen.Channel(zmq.SUB, connect=os.environ["SUBSCRIBE_TO"], options={zmq.RECONNECT_IVL: 50})
        return zgreen.Fanout(sub, keep=1000)

    @application.errorhandler(zgreen.ClosedError)
    def ending(error):
        return "this worker is ending", 503

    @application.post("/")
    def post():
        push().put([str(os.getpid()), request.get_data()], timeout=20)
        return str(os.getpid())

    @application.get("/")
    def get():
        return str(os.getpid())

    @application.get("/events")
    def events():
        try:
            stream = zgreen.sse.events(fan().subscribe("news", maxsize=None), heartbeat=1)
        except zgreen.ClosedError:
            stream = zgreen.sse.come_back()
        return Response(stream, headers=zgreen.sse.HEADERS)
"""
CONFIG = """
    worker_class = "gevent"
    from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int
"""
PUBLISHER = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.PUB)
socket.bind(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    socket.send_multipart([b"news", b"%s %d" % (sys.argv[2].encode(), number)])
    number += 1
    time.sleep(0.005)
"""


class Load:
    """Posts numbers without end, and remembers which worker took which, and when."""

    def __init__(self, gunicorn):
        self.gunicorn = gunicorn
        self.taken = {}  # number: (time, pid) of the answer; None if there was none
        self._numbers = itertools.count()
        self.over = False

    def run(self):
        """A real thread's."""
        while not self.over:
            number = next(self._numbers)
            try:
                status, pid = self.gunicorn.answer(b"%d" % number)
                self.taken[number] = (time.monotonic(), int(pid)) if status == 200 else None  # else it was not put
            except (OSError, http.client.HTTPException):  # its worker was killed
                self.taken[number] = None


def stream(gunicorn, streams, load):
    """A client of server-sent events that comes back whenever its stream ends; within one nothing may be missing."""
    while not load.over:
        try:
            source = EventSource(gunicorn.port, "/events")
            received = []
            streams.append(received)
            assert source.response.status == 200
            try:
                received.extend(data for _, data, _ in source.events())
            finally:
                source.close()
        except (OSError, http.client.HTTPException):  # a worker was killed in the middle: what came until then counts
            time.sleep(0.05)


@pytest.fixture
def endpoints():
    """Three, at ports that nobody else gets while their processes are restarted."""
    with reserved_port() as front, reserved_port() as back, reserved_port() as news:
        yield [f"tcp://127.0.0.1:{port}" for port in (front, back, news)]


@pytest.mark.timeout(SECONDS + 6 * LIMIT)
def test_chaos(tmp_path, capsys, endpoints):
    frontend, backend, topics = endpoints

    def start(*arguments):
        """A program that says when it is ready."""
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, env=environment())
        assert process.stdout.readline()
        return process

    def broker():
        return start("-m", "zgreen", "proxy", "--type", "streamer", "--frontend", frontend, "--backend", backend)

    def publisher():
        return start("-c", PUBLISHER, topics, f"publisher-{next(publishers)}")

    chance = random.Random(1)
    publishers = itertools.count()
    kills = []
    killed = set()  # pids of workers
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.connect(backend)
    got = collections.Counter()
    options = {"workers": 4, "config": CONFIG, "PUSH_TO": frontend, "SUBSCRIBE_TO": topics}
    with Gunicorn(tmp_path, APPLICATION, **options) as gunicorn, real_threads(16) as spawn:
        running = {"broker": broker(), "publisher": publisher()}
        gunicorn.settle()
        load = Load(gunicorn)
        streams = []
        threads = [spawn(load.run) for _ in range(6)] + [spawn(stream, gunicorn, streams, load) for _ in range(6)]

        def receive():
            while pull.poll(0):
                got[int(pull.recv_multipart()[1])] += 1

        end = time.monotonic() + SECONDS
        next_blow = time.monotonic() + 2
        next_of_broker = 0.0
        while time.monotonic() < end:
            receive()
            gevent.sleep(0.01)
            if time.monotonic() < next_blow:
                continue
            next_blow = time.monotonic() + chance.uniform(1, 3)
            blow = chance.choice(["HUP", "worker TERM", "worker KILL", "broker KILL", "publisher KILL"])
            if blow.startswith("broker") and time.monotonic() < next_of_broker:
                continue
            what, _, name = blow.rpartition(" ")
            kills.append((blow, time.monotonic()))
            if what == "worker":
                victim = chance.choice(living(gunicorn))
                os.kill(victim, getattr(signal, f"SIG{name}"))
                if name == "KILL":
                    killed.add(victim)
            elif what:
                end_now(running[what])
                next_of_broker = time.monotonic() + BETWEEN
                running[what] = {"broker": broker, "publisher": publisher}[what]()
            else:
                gunicorn.process.send_signal(signal.SIGHUP)
        load.over = True
        gunicorn.settle()
        gunicorn.process.send_signal(signal.SIGTERM)
        gunicorn.process.wait(timeout=2 * LIMIT)
        for thread in threads:
            thread.get(timeout=2 * LIMIT)
        quiet = time.monotonic() + 3
        while time.monotonic() < quiet:
            receive()
            gevent.sleep(0.01)
        for program in running.values():
            end_now(program)
    pull.close(linger=0)
    context.term()
    fatal = [at for blow, at in kills if blow == "broker KILL"]
    answered = {number: taken for number, taken in load.taken.items() if taken is not None}
    missing = {number: taken for number, taken in answered.items() if number not in got}
    with_worker = {number for number, (_, pid) in missing.items() if pid in killed}
    with_broker = {
        number
        for number, (at, _) in missing.items()
        if number not in with_worker and any(kill - BEFORE <= at <= kill + AFTER for kill in fatal)
    }
    unexplained = {n: taken for n, taken in missing.items() if n not in with_worker and n not in with_broker}
    doubled = [number for number, times in got.items() if times > 1]
    gaps = [received for received in streams if not whole(received)]
    account = (
        f"chaos: {SECONDS:g} s, {dict(collections.Counter(blow for blow, _ in kills))}; {len(load.taken)} posts, "
        f"{len(answered)} answered, {len(got)} delivered, {len(with_worker)} lost with killed "
        f"workers, {len(with_broker)} with killed brokers, {len(unexplained)} unexplained, {len(doubled)} doubled; "
        f"{len(streams)} streams, "
        f"{sum(map(len, streams))} events, {len(gaps)} streams with gaps or doubles"
    )
    if unexplained:
        start_ = min(at for _, at in kills)
        print([(n, round(at - start_, 2), pid) for n, (at, pid) in sorted(unexplained.items())][:300])
        print([(blow, round(at - start_, 2)) for blow, at in kills], killed)
    with capsys.disabled():
        print("\n" + account)
    assert not unexplained, account
    assert not doubled, account
    assert not gaps, account
    assert len(got) > 100, account
    assert sum(map(len, streams)) > 100, account
    assert "Traceback" not in gunicorn.log, gunicorn.log
    assert "graceful timeout" not in gunicorn.log, gunicorn.log


def end_now(process):
    process.kill()
    process.wait(timeout=LIMIT)
    process.stdout.close()


def living(gunicorn):
    """The pids of the workers that live."""
    found = []
    for pid in re.findall(r"Booting worker with pid: (\d+)", gunicorn.log):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(int(pid))
    return found


def whole(received):
    """Whether the numbers of each publisher follow each other, and publishers come one after the other."""
    runs = itertools.groupby((data.split() for data in received), key=lambda words: words[0])
    seen = []
    for name, words in runs:
        numbers = [int(number) for _, number in words]
        if name in seen or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return False
        seen.append(name)
    return True
