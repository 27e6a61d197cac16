"""What several tests use. Nothing here sleeps and hopes: all of it waits for a condition, for LIMIT seconds at most."""

import contextlib
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import gevent
import gevent.socket
import zmq
from gevent.monkey import get_original
from gevent.queue import Empty, ShutDown
from gevent.threadpool import ThreadPool

import zgreen
from zgreen._hub.life import Life

# The one number that scales every wait of the suite: raise it on a slow machine, to 35 at most: what a test may take in
# all is up to 5 times that, and setup.cfg's faulthandler_timeout must not end the run before.
LIMIT = float(os.environ.get("ZGREEN_TEST_LIMIT", "30"))

ROOT = Path(__file__).resolve().parent.parent
TESTS = Path(__file__).resolve().parent
PATCHED = bool(os.environ.get("ZGREEN_TEST_PATCHED"))
ANY = "tcp://127.0.0.1:*"

# gevent, whose fork() is os.fork() then, listens to SIGCHLD only after it has forked its first child: one that has
# ended by then is waited for without end. So listen before.
PATCH_ALL = """from gevent import monkey; monkey.patch_all(); import gevent, os; \
os.fork = lambda fork=os.fork: (gevent.get_hub().loop.install_sigchld(), fork())[1]
"""


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


def script(code, *args, path=None, env_warnings=None, **options):
    """Start a Python process that runs *code* (dedented); under the patched suite it is patched first, too.

    *path*: write the program there and run the file, for what imports the main module again. *env_warnings*: what the
    process, and its children, do with warnings.
    """
    program = (PATCH_ALL if PATCHED else "") + textwrap.dedent(code)
    start = ["-c", program]
    if path is not None:
        path.write_text(program)
        start = [str(path)]
    if env_warnings is not None:
        options["env"] = {**os.environ, **options.get("env", {}), "PYTHONWARNINGS": env_warnings}
    command = [sys.executable, "-u", *start, *map(str, args)]
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    options.setdefault("text", True)
    return subprocess.Popen(command, **options)


def unmeasured():
    """The environment for a process that coverage must not measure: it imports gevent there, or takes its time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


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


def wait_until_asleep(pid):
    """Wait until the main thread of a process sleeps: it has not run between two looks.

    A signal that comes right before gevent's loop goes to sleep is seen when it wakes up for something else, which is
    gevent's affair; tests of what a signal does in a sleeping process wait for that.
    """

    def look():
        status = Path(f"/proc/{pid}/status").read_text()
        state = status.split("State:\t", 1)[1][0]
        return state == "S" and status.split("voluntary_ctxt_switches:\t", 1)[1].split()[0]

    def asleep():
        before = look()
        gevent.sleep(0.02)
        return before and before == look()

    wait_for(asleep, f"process {pid} to sleep")


def readable(mailbox, seconds=0.0):
    """Whether a mailbox's owner is rung, now or within *seconds*, for which this thread blocks."""
    poller = get_original("select", "poll")()
    poller.register(mailbox.signaler.fileno(), 1)
    return bool(poller.poll(seconds * 1000))


def cpu_seconds():
    """CPU time of all threads of this process."""
    return time.process_time()


def resident_bytes():
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors():
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def outcome(function, *args, **options):
    """What *function* returns, or the exception that it raises: gevent reports one that leaves a greenlet or thread."""
    try:
        return function(*args, **options)
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return error


class Interrupted(BaseException):
    """What a signal handler raises."""


def interruptions(function, *files, lines=False):
    """Call *function* again and again, until it is done; each time Interrupted comes out of another place of the code
    in *files* at which Python could run a signal handler: a function's beginning, or a call that C has returned from.
    With *lines*: before each line instead.

    After each time that Interrupted was raised, whether or not it came out of *function*, gives which one it was.
    """
    for number in itertools.count():
        left = number

        def interrupt(frame, event, _arg):
            nonlocal left
            if event in ("call", "line", "c_return") and frame.f_code.co_filename.endswith(files):
                left -= 1
                if left < 0:
                    sys.setprofile(None)
                    sys.settrace(None)
                    raise Interrupted
            return interrupt

        (sys.settrace if lines else sys.setprofile)(interrupt)
        try:
            function()
        except Interrupted:
            pass
        finally:
            sys.setprofile(None)
            sys.settrace(None)
        if left >= 0:
            return
        yield number


class Gate:
    """An event between real OS threads, patched or not; waiting for it blocks the whole thread, its hub included."""

    def __init__(self):
        self._lock = get_original("_thread", "allocate_lock")()
        self._lock.acquire()

    def open(self):
        self._lock.release()

    def wait(self):
        assert self._lock.acquire(timeout=LIMIT), f"waited {LIMIT:g} s at a gate"
        self._lock.release()


def block_hub_until(condition, what="the condition"):
    """Keep the hub's thread busy, without ever letting its hub run, until *condition* returns something true."""
    deadline = time.monotonic() + LIMIT
    real_sleep = get_original("time", "sleep")
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {LIMIT:g} s, the hub blocked, for {what}"
        real_sleep(0.001)
    return value


_PEER = """
import json, socket, sys, zmq

control = socket.socket(fileno=int(sys.argv[1]))
control.setblocking(True)
control = control.makefile("rw")
plan = json.loads(sys.argv[2])
context = zmq.Context()
s = context.socket(plan["kind"])
s.linger = -1
s.rcvtimeo = s.sndtimeo = plan["limit"]
for option, value in plan["options"]:
    s.set(option, value.encode() if isinstance(value, str) else value)
for how in ("bind", "connect"):
    if plan[how]:
        getattr(s, how)(plan[how])
next_in = next_out = 0


def answer(value):
    print(json.dumps(value), file=control, flush=True)


def read(number, skip=None):
    "Read messages that must be the integers in order (but for *skip*); how many there were so far."
    global next_in
    end = next_in + number
    while next_in < end:
        frames = s.recv_multipart()
        if skip is not None and frames == [skip.encode()]:
            continue
        found = int(frames[-1].split()[0])
        assert found == next_in, f"{found} came instead of {next_in}"
        next_in += 1
    return next_in


def take():
    "One message as text, or None if there is none now."
    try:
        return [frame.decode() for frame in s.recv_multipart(zmq.DONTWAIT)]
    except zmq.Again:
        return None


def send(number, size):
    "Send the next integers, each padded to *size*."
    global next_out
    for next_out in range(next_out, next_out + number):
        s.send(b"%d " % next_out + bytes(size))
    next_out += 1
    return next_out


def fill(number, size):
    "Like send(), but stop when the socket takes no more for half a second."
    global next_out
    end = next_out + number
    while next_out < end and s.poll(500, zmq.POLLOUT):
        s.send(b"%d " % next_out + bytes(size), zmq.DONTWAIT)
        next_out += 1
    return next_out


def recv():
    return [frame.decode() for frame in s.recv_multipart()]


def reply(*frames):
    s.send_multipart([frame.encode() for frame in frames])


def echo(number):
    "Return so many messages to where they came from."
    for _ in range(number):
        s.send_multipart(s.recv_multipart())


def close():
    s.close(linger=0)
    context.term()


answer(s.last_endpoint.rstrip(b"\\0").decode())
for line in control:
    name, *args = json.loads(line)
    answer(globals()[name](*args))
"""


class Peer:
    """Another process with one plain ZeroMQ socket, which does what the test says and nothing else.

    ``start`` lets it work and the greenlets here run; ``finish`` gives its answer; ``ask`` is both. As a context
    manager; the process ends with it.
    """

    def __init__(self, kind, bind=None, connect=None, options=()):
        mine, theirs = gevent.socket.socketpair()
        plan = {"kind": int(kind), "bind": bind, "connect": connect, "limit": int(LIMIT * 1000)}
        plan["options"] = [(int(option), value) for option, value in dict(options).items()]
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            self._process = script(
                _PEER, theirs.fileno(), json.dumps(plan), pass_fds=[theirs.fileno()], stdout=None, stderr=None
            )
        self._socket = mine
        self._file = mine.makefile("rw")
        self.endpoint = self.finish()

    def start(self, name, *args):
        self._file.write(json.dumps([name, *args]) + "\n")
        self._file.flush()

    def finish(self):
        with gevent.Timeout(LIMIT, AssertionError(f"the peer did not answer in {LIMIT:g} s")):
            line = self._file.readline()
        assert line, "the peer has ended by an error"
        return json.loads(line)

    def ask(self, name, *args):
        self.start(name, *args)
        return self.finish()

    def kill(self):
        """End the process now, as a crash would."""
        self._process.kill()
        self._process.wait(timeout=LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.kill()
        self._file.close()
        self._socket.close()


_names = itertools.count()


def inproc():
    """An inproc endpoint that nobody has used; found within one context only."""
    return f"inproc://test.{next(_names)}"


def channels(pump, bound, connected, **options):
    """Two channels of *pump*, of the given types, tied to each other over inproc."""
    endpoint = inproc()
    return (
        zgreen.Channel(bound, bind=endpoint, pump=pump, **options),
        zgreen.Channel(connected, connect=endpoint, pump=pump, **options),
    )


def stuck(pump, **options):
    """A channel whose messages libzmq does not take: it has no peer."""
    return zgreen.Channel(zmq.PUSH, pump=pump, **options)


def drained(queue):
    """All that a queue with a nowait get holds now."""
    items = []
    with contextlib.suppress(Empty, ShutDown):
        while True:
            items.append(queue.get_nowait())
    return items


def unanswered(thread):
    """The replies that the hub of an OwningThread, and its native core, still wait for."""
    core = getattr(thread.engine, "_core", None)
    return [*thread.link.replies, *(core.replies.values() if core is not None else ())]


def close_all(thread):
    """Close the channels of an OwningThread that runs; then no reply is waited for any more, or one has leaked.

    A shutdown forgets the replies that never came, so this has to look before.
    """
    if thread.state.now is not Life.OPEN or thread.pool is None or not thread.link.here():
        return
    for lanes in tuple(thread.members):
        lanes.close(0, math.inf)
    wait_for(lambda: not unanswered(thread), f"the replies to {thread.name}")


def break_pump(pump, error):
    """Have the owning thread end with *error*, and wait until it is gone and the hub knows."""

    def step(_timeout):
        raise error

    pump._thread.engine.step = step
    pump._thread.engine.mailbox.send(None)  # wakes it from the step that it is in
    thread = pump._thread
    wait_for(lambda: thread.pool.size == 0 and thread.gone, "the end of the broken pump's thread")
