"""zgreen.green: Poller, select, zmq_poll, FD, device, and install."""

import os
import resource
import sys

import gevent
import pytest
import zmq as plain
from gevent import select as gevent_select
from support import run, wait_for

import zgreen.green as zmq


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def inproc(context, left, right, name="inproc://poll"):
    one, other = context.socket(left), context.socket(right)
    one.bind(name)
    other.connect(name)
    return one, other


def test_one_socket(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)
    assert one.poll(1000, zmq.POLLOUT) == zmq.POLLOUT
    assert other.poll(0) == other.poll(10) == 0
    gevent.spawn_later(0.02, one.send, b"x")
    assert other.poll() == zmq.POLLIN
    assert other.EVENTS == zmq.POLLIN
    assert other.recv(zmq.NOBLOCK) == b"x"
    assert other.get(zmq.EVENTS) == 0


def test_pollout_comes_when_there_is_a_peer(context):
    lonely = context.socket(zmq.PUSH)
    assert lonely.poll(10, zmq.POLLOUT) == 0
    poll = gevent.spawn(lonely.poll, None, zmq.POLLOUT)
    wait_for(lambda: lonely._core.readiness._listeners)
    lonely.bind("inproc://peer")
    peer = context.socket(zmq.PULL)
    peer.connect("inproc://peer")
    assert poll.get() == zmq.POLLOUT


def test_sockets_and_descriptors_together(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)
    reading, writing = os.pipe()
    poller = zmq.Poller()
    poller.register(other, zmq.POLLIN)
    poller.register(reading, zmq.POLLIN)
    poller.register(writing, zmq.POLLOUT)
    assert poller.poll(0) == poller.poll() == [(writing, zmq.POLLOUT)]
    poller.unregister(writing)
    assert poller.poll(0) == poller.poll(10) == []
    os.write(writing, b"x")
    assert poller.poll() == [(reading, zmq.POLLIN)]
    one.send(b"x")
    assert other.poll()
    assert dict(poller.poll(0)) == {other: zmq.POLLIN, reading: zmq.POLLIN}
    assert zmq.select([other, reading], [writing], [], 0) == ([other, reading], [writing], [])
    assert zmq.zmq_poll([(other, zmq.POLLIN)], 0) == [(other, zmq.POLLIN)]
    os.close(reading)
    os.close(writing)


def test_descriptors_above_1023(context):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    reading, writing = os.pipe()
    high = os.dup2(reading, 2000)
    try:
        poller = zmq.Poller()
        poller.register(high, zmq.POLLIN)
        poller.register(context.socket(zmq.PULL), zmq.POLLIN)
        gevent.spawn_later(0.01, os.write, writing, b"x")
        assert poller.poll() == [(high, zmq.POLLIN)]
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pyzmqs_own_select_and_poller_see_them(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)
    lonely = context.socket(zmq.PUSH)
    assert plain.select([other], [one, lonely], [], 0) == ([], [one], [])
    poller = plain.Poller()
    poller.register(other, plain.POLLIN)
    poller.register(lonely, plain.POLLOUT)
    assert poller.poll(0) == poller.poll(10) == []
    gevent.spawn_later(0.01, one.send, b"x")  # the hub runs meanwhile
    assert poller.poll() == [(other, plain.POLLIN)]
    assert plain.select([other], [], [], 1) == ([other], [], [])
    assert other.recv(zmq.NOBLOCK) == b"x"


def test_pyzmqs_own_poller_is_as_it_was_for_others():
    with plain.Context() as real, real.socket(plain.PUSH) as one, real.socket(plain.PULL) as other:
        one.bind("inproc://real")
        other.connect("inproc://real")
        assert one.poll(1000, plain.POLLOUT) == plain.POLLOUT
        one.send(b"x")
        assert other.poll(1000) == plain.POLLIN
        assert plain.select([other], [one], [], 1) == ([other], [one], [])
    assert (plain.select.__module__, plain.Poller.__module__) == ("zmq.sugar.poll", "zmq.sugar.poll")
    assert plain.zmq_poll is plain.backend.zmq_poll


def test_what_cannot_be_polled(context):
    real = plain.Context()
    socket = real.socket(plain.PULL)
    with pytest.raises(TypeError, match=r"no zgreen.green.Socket"):
        zmq.zmq_poll([(socket, zmq.POLLIN)], 0)
    real.destroy()
    with pytest.raises(TypeError):
        zmq.zmq_poll([("text", zmq.POLLIN)], 0)
    closed = context.socket(zmq.PULL)
    closed.close()
    with pytest.raises(zmq.ZMQError):
        zmq.zmq_poll([(closed, zmq.POLLIN)], 0)
    assert zmq.zmq_poll([], 0) == []


def test_another_threads_socket_cannot_be_polled_but_used(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)

    def use():
        with pytest.raises(RuntimeError, match="hub only"):
            zmq.zmq_poll([(other, zmq.POLLIN)], 0)
        with pytest.raises(RuntimeError, match="hub only"):
            other.fileno()
        one.send(b"x")
        return other.recv()

    assert gevent.get_hub().threadpool.apply(use) == b"x"
    assert gevent_select.select([other.fileno()], [], [], 0)[0] == []
    one.send(b"y")
    assert gevent_select.select([other.fileno()], [], [])[0] == [other.fileno()]


def test_a_timeout_of_the_callers_passes_and_leaves_nothing(context):
    _, other = inproc(context, zmq.PUSH, zmq.PULL)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        other.poll()
    assert other._core.readiness._listeners == []


def test_the_descriptor_is_readable_while_something_has_come(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)
    assert other.fileno() == other.FD
    assert gevent_select.select([other.FD], [], [], 0)[0] == []
    one.send(b"x")
    assert gevent_select.select([other.FD], [], [])[0] == [other.FD]
    assert other.EVENTS & zmq.POLLIN
    other.recv()
    assert not other.EVENTS & zmq.POLLIN
    assert gevent_select.select([other.FD], [], [], 0)[0] == []


def test_a_proxy_forwards_both_ways(context):
    front, client = inproc(context, zmq.ROUTER, zmq.REQ, "inproc://front")
    back, worker = inproc(context, zmq.DEALER, zmq.REP, "inproc://back")
    forwarding = gevent.spawn(zmq.device, zmq.QUEUE, front, back)
    for _ in range(3):
        client.send(b"question")
        assert worker.recv() == b"question"
        worker.send(b"answer")
        assert client.recv() == b"answer"
    forwarding.kill()


def test_the_descriptor_stays_readable_while_more_is_there(context):
    one, other = inproc(context, zmq.PUSH, zmq.PULL)
    for _ in range(2):
        one.send(b"x")
    wait_for(lambda: other._core.lanes.pipe.waiting() == 2)  # before the first use of the descriptor
    assert gevent_select.select([other.FD], [], [], 0)[0] == [other.FD]
    for left in (1, 0):
        assert other.EVENTS == zmq.POLLIN
        other.recv()
        assert bool(other.EVENTS) == bool(left)
        assert gevent_select.select([other.FD], [], [], 0)[0] == [other.FD] * left


def test_a_socket_that_is_polled_all_the_time_lets_others_run(context):
    _, other = inproc(context, zmq.PUSH, zmq.PULL)
    runs = gevent.spawn(lambda: None)
    turns = 0
    while not runs.ready():
        assert other.poll(0) == 0
        turns += 1
        assert turns < 10_000


def test_a_proxy_gives_a_copy_of_each_message_to_its_capture(context):
    front, client = inproc(context, zmq.PULL, zmq.PUSH, "inproc://front")
    back, worker = inproc(context, zmq.PUSH, zmq.PULL, "inproc://back")
    capture, watcher = inproc(context, zmq.PUSH, zmq.PULL, "inproc://capture")
    forwarding = gevent.spawn(zmq.proxy, front, back, capture)
    client.send_multipart([b"a", b"b"])
    assert worker.recv_multipart() == watcher.recv_multipart() == [b"a", b"b"]
    forwarding.kill()


PROGRAM = """
import sys
import zmq
import zmq.green
import zmq.green as green
from zmq.green import Context
assert green is zmq.green and green.__name__ == "zgreen.green", green
assert zmq.Context.__module__ == "zmq.sugar.context"
assert Context is green.Context
print(sys.argv[1:], __name__)
"""


def test_a_program_runs_unchanged(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    code = """
        import sys, runpy
        sys.argv[:] = ["zgreen.green", *sys.argv[1:]]
        runpy.run_module("zgreen.green", run_name="__main__", alter_sys=True)
    """
    status, out, err = run(code, str(program), "a", "b")
    assert (status, out.strip(), err) == (0, "['a', 'b'] __main__", "")
    status, out, err = run(code)
    assert status == 1
    assert "usage" in err


def test_install_in_code(tmp_path):
    status, out, err = run("import zgreen.green; zgreen.green.install()\n" + PROGRAM, "a")
    assert (status, out.strip(), err) == (0, "['a'] __main__", "")
    assert sys.modules.get("zmq.green") is not zmq
