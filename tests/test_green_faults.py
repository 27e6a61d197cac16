"""Faults of zmq.green that zgreen.green has not: each program runs with both, in a process of its own.

Where zmq.green hangs, the program ends itself by a timer that begins when all is set up.
"""

import signal

import gevent
import pytest
import zmq as plain
from support import finish, run, script

HEAD = """
import importlib, os, signal, sys
import gevent
zmq = importlib.import_module(sys.argv[1])
context = zmq.Context()

def hangs_after(seconds):
    if sys.argv[1] == "zmq.green":
        signal.setitimer(signal.ITIMER_REAL, seconds)

def inproc(left, right, hwm=1000):
    one, other = context.socket(left), context.socket(right)
    one.hwm = other.hwm = hwm
    other.bind("inproc://name")
    one.connect("inproc://name")
    return one, other

def leave():
    sys.stdout.flush()
    os._exit(0)
"""
HANGS = (-signal.SIGALRM, [])


def both(body):
    """What the program has printed, as words, or how it ended: with zmq.green and with zgreen.green."""
    ends = [run(HEAD + body, name) for name in ("zmq.green", "zgreen.green")]
    return [(status, out.split()) for status, out, _ in ends]


def test_several_greenlets_receive_on_one_socket():
    theirs, ours = both("""
one, other = inproc(zmq.PUSH, zmq.PULL)
receivers = [gevent.spawn(other.recv) for _ in range(5)]
gevent.sleep(0)
for _ in receivers:
    one.send(b"x")
for receiver in receivers:
    receiver.join(1)
print(*[type(receiver.exception).__name__ if receiver.exception else receiver.value for receiver in receivers])
leave()
""")
    assert theirs[1].count("AssertionError") == 4
    assert ours == (0, ["b'x'"] * 5)


@pytest.mark.parametrize("option", ["RCVTIMEO", "SNDTIMEO"])
def test_timeouts_work(option):
    theirs, ours = both(f"""
socket = context.socket(zmq.PAIR)
socket.set(zmq.{option}, 10)
hangs_after(1)
try:
    socket.recv() if "{option}" == "RCVTIMEO" else socket.send(b"x")
except zmq.Again:
    print("again")
leave()
""")
    assert theirs == HANGS
    assert ours == (0, ["again"])


def test_others_run_beside_a_busy_sender_and_receiver():
    theirs, ours = both("""
from gevent import monkey
turns = 0
block = monkey.get_original("time", "sleep")
def count():
    global turns
    while True:
        gevent.sleep(0)
        block(0.0001)  # a hub that never blocks keeps the GIL from other threads
        turns += 1
one, other = inproc(zmq.PUSH, zmq.PULL, 0)
one.send(b"x")
other.recv()
gevent.spawn(count)
for call in (lambda: one.send(b"x"), other.recv):
    turns = 0
    for _ in range(2000):
        call()
    print(turns)
leave()
""")
    assert theirs == (0, ["0", "0"])
    assert min(map(int, ours[1])) >= 10


def test_term_with_a_waiter_lets_others_run():
    theirs, ours = both("""
socket = context.socket(zmq.PULL)
def wait():
    try:
        socket.recv()
    except zmq.ContextTerminated:
        print("terminated", flush=True)
        socket.close()
gevent.spawn(wait)
gevent.sleep(0.01)
hangs_after(1)
term = gevent.spawn(context.term)
gevent.sleep(0.01)
print("runs", flush=True)
term.join()
leave()
""")
    assert theirs == HANGS
    assert (ours[0], sorted(ours[1])) == (0, ["runs", "terminated"])


def test_term_with_unsent_messages_lets_others_run():
    theirs, ours = both("""
socket = context.socket(zmq.PUSH)
socket.connect("tcp://127.0.0.1:9")
socket.send(b"x")
socket.close()
hangs_after(1)
gevent.spawn(context.term)
gevent.sleep(0.01)
print("runs")
leave()
""")
    assert theirs == HANGS
    assert ours == (0, ["runs"])


def test_the_child_of_a_fork_is_told():
    theirs, ours = both("""
socket = context.socket(zmq.PULL)
socket.bind("inproc://parent")
pid = gevent.os.fork()
if not pid:
    hangs_after(1)
    try:
        socket.recv()
    except zmq.ZMQError as error:
        print(zmq.Errno(error.errno).name, flush=True)
    os._exit(0)
print(os.WTERMSIG(gevent.os.waitpid(pid, 0)[1]))
leave()
""")
    assert theirs[1] == [str(int(signal.SIGALRM))]
    assert ours == (0, ["ENOTSOCK", "0"])


def test_messages_sent_frame_by_frame_never_mix():
    theirs, ours = both("""
one, other = inproc(zmq.PUSH, zmq.PULL)
def send(name):
    for _ in range(50):
        one.send(name, zmq.SNDMORE)
        gevent.sleep(0)
        one.send(name)
senders = [gevent.spawn(send, name) for name in (b"a", b"b", b"c")]
gevent.joinall(senders)
mixed = 0
while other.poll(100):
    frames = other.recv_multipart()
    mixed += len(frames) != 2 or frames[0] != frames[1]
print(mixed)
leave()
""")
    assert int(theirs[1][0]) > 0
    assert ours == (0, ["0"])


def test_descriptors_above_1023():
    theirs, ours = both("""
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
reading, writing = os.pipe()
os.dup2(reading, 2000)
poller = zmq.Poller()
poller.register(2000, zmq.POLLIN)
gevent.spawn_later(0.01, os.write, writing, b"x")
hangs_after(1)
try:
    print(poller.poll()[0][0])
except Exception as error:
    print(type(error).__name__)
leave()
""")
    assert theirs == (0, ["ValueError"])
    assert ours == (0, ["2000"])


@pytest.mark.parametrize(("name", "whole"), [("zmq.green", False), ("zgreen.green", True)])
def test_exit_delivers_what_was_sent(name, whole):
    """900 messages of 200 kB, sent by a greenlet that waits for more to do when the main one ends."""
    with plain.Context() as context, context.socket(plain.PULL) as receiver:
        receiver.rcvhwm = 1
        port = receiver.bind_to_random_port("tcp://127.0.0.1")
        sender = script(HEAD + """
from gevent.event import Event
sent = Event()
def work():
    socket = context.socket(zmq.PUSH)
    socket.connect(sys.argv[2])
    for _ in range(900):
        socket.send(b"x" * 200_000)
    sent.set()
    gevent.sleep(1000)
worker = gevent.spawn(work)
sent.wait()
""", name, f"tcp://127.0.0.1:{port}")  # fmt: skip
        if not whole:
            assert finish(sender)[0] == 0  # it does not wait: what the system's buffers hold is left
        receiver.rcvtimeo = 500
        received = 0
        while received < 900:
            ended = sender.poll() is not None
            try:
                received += len(receiver.recv()) == 200_000
            except plain.Again:
                if ended:
                    break
                gevent.sleep(0.001)
        if whole:
            assert finish(sender)[::2] == (0, "")
    assert (received == 900) is whole
