"""What several tests use. Nothing here sleeps and hopes: everything waits for a condition, for LIMIT seconds at most."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import gevent
import zmq
from gevent.threadpool import ThreadPool

# The one number that scales every wait of the suite: raise it on a slow machine.
LIMIT = float(os.environ.get("ZGREEN_TEST_LIMIT", "30"))

ROOT = Path(__file__).resolve().parent.parent
TESTS = Path(__file__).resolve().parent
PATCHED = bool(os.environ.get("ZGREEN_TEST_PATCHED"))
ANY = "tcp://127.0.0.1:*"


def wait_for(condition, what="the condition"):
    """Let other greenlets run until *condition* returns something true, and return that."""
    deadline = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {LIMIT:g} s for {what}"
        gevent.sleep(0.002)
    return value


@contextlib.contextmanager
def real_threads(number):
    """`spawn(function, *args)` into one of *number* real OS threads, patched or not; gives an AsyncResult."""
    pool = ThreadPool(number)
    try:
        yield pool.spawn
    finally:
        with gevent.Timeout(LIMIT):
            pool.kill()


@contextlib.contextmanager
def raw_socket(kind, bind=None, connect=None, **options):
    """A plain ZeroMQ socket of a context of its own, used by one greenlet, with limits on every wait.

    Its blocking calls block the whole hub, so what it waits for must already be under way in the owning thread.
    """
    context = zmq.Context()
    socket = context.socket(kind)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(LIMIT * 1000)
    for name, value in options.items():
        setattr(socket, name, value)
    if bind is not None:
        socket.bind(bind)
    if connect is not None:
        socket.connect(connect)
    try:
        yield socket
    finally:
        socket.close(linger=0)
        context.term()


def endpoint_of(socket):
    """The endpoint that a plain socket is bound to."""
    return socket.last_endpoint.rstrip(b"\0").decode()


def script(code, *args, **options):
    """Start a Python process that runs *code* (dedented); under the patched suite it is patched first, too."""
    prelude = "from gevent import monkey; monkey.patch_all()\n" if PATCHED else ""
    command = [sys.executable, "-u", "-c", prelude + textwrap.dedent(code), *map(str, args)]
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    options.setdefault("text", True)
    return subprocess.Popen(command, **options)


def finish(process, limit=LIMIT):
    """Wait for a process from `script`; returns (exit status, stdout, stderr). One that does not end is a failure."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"the process did not end within {limit:g} s\n{out}\n{err}") from None
    return process.returncode, out, err


def run(code, *args, **options):
    """`finish(script(...))`."""
    return finish(script(code, *args, **options))


def cpu_seconds():
    """CPU time of all threads of this process."""
    return time.process_time()


def resident_bytes():
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors():
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
