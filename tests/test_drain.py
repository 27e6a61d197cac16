"""zgreen.drain: a service that is told to end, with open streams and messages that have not gone out."""

from __future__ import annotations

import os
import re
import signal
import textwrap
import time

import pytest
import zmq
from servers import EventSource, Gunicorn
from support import ANY, LIMIT, endpoint_of, finish, raw_socket, real_threads, run, script, wait_for

import zgreen

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, and gunicorn")

STREAMS, PENDING = 6, 1000

APPLICATION = """
    import os
    import gevent, zmq
    import zgreen, zgreen.sse

    @zgreen.per_process
    def push() -> zgreen.Channel:
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"], send_maxsize=None, options={zmq.SNDHWM: 10})

    @zgreen.per_process
    def fan() -> zgreen.Fanout:
        return zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=os.environ["SUBSCRIBE_TO"]))

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            for number in range(int(environ["wsgi.input"].read())):
                push().put(b"%d" % number)
        elif environ["PATH_INFO"] == "/events":
            start_response("200 OK", zgreen.sse.HEADERS)
            try:
                return zgreen.sse.events(fan().subscribe(""))
            except zgreen.ClosedError:
                return zgreen.sse.come_back()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
CONFIG = """
    worker_class = "gevent"
    from zgreen.gunicorn import post_worker_init, worker_int
"""
PYWSGI = """
    from gevent.pool import Pool
    from gevent.pywsgi import WSGIServer
    server = WSGIServer(("127.0.0.1", 0), application, spawn=Pool(100), log=None)
    zgreen.drain_on_signal(server.stop)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()
    print(zgreen.drain())
"""


def subscribed(xpub):
    """Until the server has subscribed."""
    assert xpub.recv() == b"\1"


def pending(pull, number):
    """So many messages, which must be those that were put, in their order."""
    assert [int(pull.recv()) for _ in range(number)] == list(range(number))


def clients(port):
    """Open streams that have begun, as (client, its events)."""
    return [EventSource(port, "/events") for _ in range(STREAMS)]


def check_ended(streams):
    """Each got the one message and the word to come back, and a proper end."""
    for client in streams:
        assert [data for _, data, _ in client.events()] == ["hello"]
        assert client.retry is not None
        client.close()


@pytest.fixture
def peers():
    """A PULL socket that takes a few messages only as long as nobody reads, and an XPUB."""
    with raw_socket(zmq.PULL, bind=ANY, rcvhwm=10) as pull, raw_socket(zmq.XPUB, bind=ANY) as xpub:
        yield pull, xpub


def environment(peers):
    return {"PUSH_TO": endpoint_of(peers[0]), "SUBSCRIBE_TO": endpoint_of(peers[1])}


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_gunicorn(tmp_path, peers, preload):
    """SIGTERM with streams open and messages pending: the streams end, the messages arrive, the exit status is 0."""
    pytest.importorskip("gunicorn")
    pull, xpub = peers
    options = {"config": CONFIG, "workers": 1, "preload": preload, **environment(peers)}
    with Gunicorn(tmp_path, APPLICATION, **options) as gunicorn:
        gunicorn.wait_for_workers()
        streams = clients(gunicorn.port)
        subscribed(xpub)
        xpub.send(b"hello")
        assert gunicorn.post(b"%d" % PENDING) == 200
        gunicorn.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        check_ended(streams)
        pending(pull, PENDING)
        assert gunicorn.process.wait(timeout=LIMIT) == 0
        print(f"ended within {time.monotonic() - started:.2f} s")
        assert "graceful timeout" not in gunicorn.log, gunicorn.log
        assert "Traceback" not in gunicorn.log, gunicorn.log
        assert "not sent" not in gunicorn.log, gunicorn.log


@pytest.mark.parametrize("how", ["HUP", "max-requests"])
def test_gunicorn_replaces_a_worker(tmp_path, peers, how):
    """The streams of the old worker end, and are told to come back."""
    pytest.importorskip("gunicorn")
    _, xpub = peers
    arguments = ["--max-requests", str(STREAMS + 2)] if how == "max-requests" else []
    options = {"config": CONFIG, "workers": 1, "arguments": arguments, **environment(peers)}
    with Gunicorn(tmp_path, APPLICATION, **options) as gunicorn:
        gunicorn.wait_for_workers()
        streams = clients(gunicorn.port)
        subscribed(xpub)
        xpub.send(b"hello")
        if how == "HUP":
            gunicorn.process.send_signal(signal.SIGHUP)
        else:
            gunicorn.get()
        check_ended(streams)
        (old,) = gunicorn.workers
        gunicorn.wait_for(rf"Worker exiting \(pid: {old}\)")
        assert gunicorn.new_workers({old})
        again = EventSource(gunicorn.port, "/events")
        assert again.response.status == 200
        again.close()
        assert "graceful timeout" not in gunicorn.log, gunicorn.log


def test_pywsgi(peers):
    pull, xpub = peers
    process = script(textwrap.dedent(APPLICATION) + textwrap.dedent(PYWSGI), env={**os.environ, **environment(peers)})
    port = int(process.stdout.readline())
    streams = clients(port)
    subscribed(xpub)
    xpub.send(b"hello")
    first = [next(client.events()) for client in streams]
    assert [data for _, data, _ in first] == ["hello"] * STREAMS
    EventSource(port, "/").close()
    with real_threads(1) as spawn:
        post = spawn(lambda: Gunicorn.answer(type("Server", (), {"port": port}), b"%d" % PENDING))
        assert post.get(timeout=LIMIT)[0] == 200
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    for client in streams:
        assert list(client.events()) == []
        assert client.retry is not None
        client.close()
    pending(pull, PENDING)
    assert finish(process) == (0, "0\n", "")
    print(f"ended within {time.monotonic() - started:.2f} s")


def test_a_plain_script(peers):
    """A loop over a channel ends, and what was put goes out."""
    pull, _ = peers
    process = script(
        """
        import sys
        import zgreen, zmq

        source = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
        push = zgreen.Channel(zmq.PUSH, connect=sys.argv[1], send_maxsize=None, options={zmq.SNDHWM: 10})
        zgreen.drain_on_signal()
        for number in range(int(sys.argv[2])):
            push.put(b"%d" % number)
        print("ready", flush=True)
        for message in source:
            print(message)
        print("not sent:", zgreen.drain())
        """,
        endpoint_of(pull), PENDING,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    pending(pull, PENDING)
    assert finish(process) == (0, "not sent: 0\n", "")


def test_the_parts_of_a_drain():
    status, out, err = run(
        """
        import gevent, zgreen, zmq

        @zgreen.per_process
        def fan():
            return zgreen.Fanout(zgreen.Channel(zmq.PULL, bind="inproc://a"))

        @zgreen.per_process
        def never():
            return zgreen.Channel(zmq.PULL)

        def what(function, *args):
            try:
                return function(*args)
            except zgreen.ClosedError as error:
                return f"ClosedError: {str(error)[:29]}"

        push = zgreen.Channel(zmq.PUSH, connect="inproc://a")
        lost = zgreen.Channel(zmq.PUSH, connect="tcp://127.0.0.1:1")
        lost.put("no peer")
        subscription = fan().subscribe("")
        push.put("1")
        while subscription.empty():
            gevent.sleep(0.001)

        def consumer():
            with subscription:
                gevent.sleep(0.05)
                return list(subscription)

        consuming = gevent.spawn(consumer)
        gevent.sleep(0)
        called = []
        both = [gevent.spawn(zgreen.drain, 1.0, stop=[lambda: called.append(consuming.ready())]) for _ in range(2)]
        gevent.sleep(0.01)
        print(called, subscription.closed, push.closed, what(fan().subscribe, "x"), what(never))
        gevent.joinall(both)
        print([one.value for one in both], consuming.value, push.closed, fan().closed, zgreen.drain(0))
        """
    )
    assert (status, out.splitlines()) == (
        0,
        [
            "[False] True False ClosedError: <zgreen.Fanout of <zgreen.Cha ClosedError: this process is being drained",
            "[1, 1] [b'1'] True True 0",
        ],
    ), err


def test_a_fan_out_that_is_being_made_when_it_begins_is_closed():
    """Else its streams would go on for ever."""
    status, out, err = run(
        """
        import gevent, zgreen, zmq
        from gevent.event import Event

        go_on = Event()

        @zgreen.per_process
        def fan():
            channel = zgreen.Channel(zmq.PULL, bind="inproc://a", pump=pump)
            go_on.wait()
            return zgreen.Fanout(channel, keep=5)

        pump = zgreen.Pump().start()
        making = gevent.spawn(fan)
        gevent.sleep(0.01)
        from zgreen.gunicorn import worker_int
        worker_int(None)
        go_on.set()
        print(making.get().closed)
        """
    )
    assert (status, out) == (0, "True\n"), err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_process_that_drains_does_not_drain():
    status, out, err = run(
        """
        import os, zgreen
        from zgreen import _draining
        zgreen.drain(0)
        pid = os.fork()
        if not pid:
            os._exit(10 + _draining.draining())
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _draining.draining())
        """,
        env_warnings="ignore",
    )
    assert (status, out) == (0, "10 True\n"), err


def test_streams_that_do_not_end_are_left():
    """A consumer that never comes back has half of the time; then channels are closed all the same."""
    status, out, err = run(
        """
        import gevent, zgreen, zmq
        from gevent.event import Event

        channel = zgreen.Channel(zmq.PULL, bind="inproc://a")
        subscription = zgreen.Fanout(channel).subscribe("")
        stuck = gevent.spawn(Event().wait)
        print(zgreen.drain(0.2), channel.closed, stuck.ready())
        """
    )
    assert (status, out) == (0, "0 True False\n"), err
    assert re.search(r"drain: not all streams and servers ended in 0\.1 s", err)


@pytest.mark.parametrize(("args", "options", "error"), [
    ((None,), {}, TypeError), (("1",), {}, TypeError), ((-1,), {}, ValueError), ((1,), {"stop": [1]}, TypeError),
])  # fmt: skip
def test_wrong_arguments(args, options, error):
    with pytest.raises(error):
        zgreen.drain(*args, **options)


def test_wrong_arguments_of_the_handler():
    with pytest.raises(TypeError, match="stop must be functions"):
        zgreen.drain_on_signal("server")
    with pytest.raises(ValueError, match="timeout"):
        zgreen.drain_on_signal(timeout=-1)


def test_not_in_a_callback_of_the_hub():
    import gevent

    errors = []

    def callback():
        try:
            zgreen.drain()
        except RuntimeError as error:
            errors.append(str(error))

    gevent.get_hub().loop.run_callback(callback)
    wait_for(lambda: errors)
    assert "gevent.spawn(zgreen.drain)" in errors[0]
