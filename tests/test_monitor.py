"""Monitors, wait_connected and wait_subscriber: what libzmq tells of a socket, whoever closes what first."""

import os
from collections import Counter

import gevent
import gevent.socket
import pytest
import zmq
from gevent.monkey import get_original
from gevent.queue import Empty
from support import (
    ANY,
    LIMIT,
    block_hub_until,
    break_pump,
    channels,
    drained,
    endpoint_of,
    open_descriptors,
    outcome,
    raw_socket,
    real_threads,
    run,
    wait_for,
)

import zgreen
from zgreen._hub.monitor import _Connections, _has_one_name


def event_of(monitor, name):
    """The next event of that name."""
    while True:
        event = monitor.get(timeout=LIMIT)
        if event.name == name:
            return event


def rest(monitor):
    """All that comes until it ends."""
    with gevent.Timeout(LIMIT):
        return list(monitor)


# ------------------------------------------------------------------ events


def test_events_of_both_ends(pump):
    with zgreen.Channel(zmq.PULL, pump=pump) as server, zgreen.Channel(zmq.PUSH, pump=pump) as client:
        at_server, at_client = server.monitor(), client.monitor()
        server.bind(ANY)
        here = server.last_endpoint
        assert event_of(at_server, "LISTENING").endpoint == here
        client.connect(here)
        connected, accepted = event_of(at_client, "CONNECTED"), event_of(at_server, "ACCEPTED")
        assert isinstance(connected, zgreen.MonitorEvent)
        assert connected.endpoint == accepted.endpoint == here
        assert connected.value != accepted.value
        assert connected.reason == ""
        event_of(at_client, "HANDSHAKE_SUCCEEDED")
        event_of(at_server, "HANDSHAKE_SUCCEEDED")
        client.close()
        lost = event_of(at_server, "DISCONNECTED")
        assert (lost.value, lost.endpoint) == (accepted.value, here)


def test_retries_while_nobody_is_there(pump):
    with raw_socket(zmq.PULL, bind=ANY) as other:
        nobody = endpoint_of(other)
    with zgreen.Channel(zmq.PUSH, pump=pump, options={zmq.RECONNECT_IVL: 1}) as client:
        monitor = client.monitor()
        client.connect(nobody)
        assert event_of(monitor, "CONNECT_RETRIED").value >= 1
        event_of(monitor, "CLOSED")
        event_of(monitor, "CONNECT_RETRIED")
        assert not client.wait_connected(0)
        client.close(linger=0)


def test_bind_that_fails(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as first, zgreen.Channel(zmq.PULL, pump=pump) as second:
        monitor = second.monitor()
        with pytest.raises(zmq.ZMQError):
            second.bind(first.last_endpoint)
        assert event_of(monitor, "BIND_FAILED").reason == os.strerror(zmq.EADDRINUSE)


def test_peer_that_speaks_no_zeromq(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as server:
        monitor = server.monitor()
        port = int(server.last_endpoint.rpartition(":")[2])
        with gevent.socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"\xff" + bytes(8) + b"\x7f\x03" + b"\xee" * 60)
            failed = event_of(monitor, "HANDSHAKE_FAILED_PROTOCOL")
        assert failed.reason.startswith("ZMTP_")
        assert not server.closed


def test_peer_that_hangs_up_in_the_handshake(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True) as server:
        monitor = server.monitor()
        port = int(server.last_endpoint.rpartition(":")[2])
        gevent.socket.create_connection(("127.0.0.1", port)).close()
        failed = event_of(monitor, "HANDSHAKE_FAILED_NO_DETAIL")
        assert failed.reason
        event_of(monitor, "DISCONNECTED")
        assert not server.wait_connected(0)


def test_wrong_mechanism_has_a_reason(pump):
    options = {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: zmq.curve_keypair()[1]}
    with zgreen.Channel(zmq.PULL, bind=ANY, options=options, pump=pump) as server:
        monitor = server.monitor()
        with zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, pump=pump):
            assert event_of(monitor, "HANDSHAKE_FAILED_PROTOCOL").reason == "ZMTP_MECHANISM_MISMATCH"


def test_several_monitors_of_one_channel(pump):
    """Each gets all from when it was made; closing one leaves the others."""
    with zgreen.Channel(zmq.PULL, pump=pump) as server:
        first, second = server.monitor(), server.monitor()
        server.bind(ANY)
        assert event_of(first, "LISTENING") == event_of(second, "LISTENING")
        first.close()
        third = server.monitor()
        server.unbind(server.last_endpoint)
        assert event_of(second, "CLOSED") == event_of(third, "CLOSED")
        assert drained(first) == []
        with pytest.raises(zgreen.ClosedError):
            first.get()


def test_monitors_asked_for_at_once(pump):
    """The greenlets that come while the first opens it wait for that."""
    with zgreen.Channel(zmq.PULL, pump=pump) as server:
        greenlets = [gevent.spawn(server.monitor) for _ in range(10)]
        monitors = [greenlet.get(timeout=LIMIT) for greenlet in greenlets]
        server.bind(ANY)
        assert {event_of(monitor, "LISTENING").endpoint for monitor in monitors} == {server.last_endpoint}


def test_get_gives_up(pump):
    with zgreen.Channel(zmq.PULL, pump=pump) as server, server.monitor() as monitor:
        with pytest.raises(Empty):
            monitor.get_nowait()
        with pytest.raises(Empty):
            monitor.get(timeout=0.001)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.001):
            monitor.get()
        server.bind(ANY)
        assert event_of(monitor, "LISTENING")


def test_oldest_events_are_dropped_and_counted(pump):
    with zgreen.Channel(zmq.PULL, pump=pump) as server:
        all_of_it, small = server.monitor(maxsize=None), server.monitor(maxsize=2)
        for _ in range(3):
            server.bind(ANY)
        events = [event_of(all_of_it, "LISTENING") for _ in range(3)]
        assert [small.get_nowait(), small.get_nowait()] == events[1:]
        assert small.dropped == 1
        assert all_of_it.dropped == 0


@pytest.mark.parametrize("maxsize", [0, -1, "10", True])
def test_bad_maxsize(pump, maxsize):
    with zgreen.Channel(zmq.PULL, pump=pump) as server, pytest.raises((TypeError, ValueError), match="maxsize"):
        server.monitor(maxsize)


def test_monitor_belongs_to_the_hub(pump):
    with zgreen.Channel(zmq.PULL, pump=pump) as server, server.monitor() as monitor, real_threads(1) as spawn:
        for call in (server.monitor, server.wait_connected, monitor.get, monitor.close):
            assert isinstance(spawn(outcome, call).get(timeout=LIMIT), RuntimeError)
    with zgreen.Channel(zmq.PUB, pump=pump) as server, real_threads(1) as spawn:
        assert isinstance(spawn(outcome, server.wait_subscriber, "x").get(timeout=LIMIT), RuntimeError)


# ------------------------------------------------------------------ ends


def test_iteration_ends_when_the_channel_is_closed(pump):
    server = zgreen.Channel(zmq.PULL, pump=pump)
    monitor = server.monitor()
    reader = gevent.spawn(lambda: [event.name for event in monitor])
    server.bind(ANY)
    server.close()
    assert "LISTENING" in reader.get(timeout=LIMIT)
    assert monitor.closed
    wait_for(lambda: not pump.channels, "the monitor's own socket to be closed")
    for call in (server.monitor, server.wait_connected):
        with pytest.raises(zgreen.ClosedError):
            call()


def test_events_before_the_close_can_still_be_got(pump):
    server = zgreen.Channel(zmq.PULL, pump=pump)
    monitor = server.monitor()
    server.bind(ANY)
    server.close()
    assert "LISTENING" in [event.name for event in rest(monitor)]


def test_close_the_monitor_then_the_channel(pump):
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    with server.monitor() as monitor:
        assert len(pump.channels) == 2
    assert rest(monitor) == []
    monitor.close()
    assert pump.channels == (server,)
    with zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, pump=pump) as client:
        client.put("x")
        assert server.get(timeout=LIMIT) == b"x"
    again = server.monitor()
    with zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, pump=pump):
        event_of(again, "ACCEPTED")
    server.close()


def test_the_last_monitor_of_a_monitored_channel_leaves_it_monitored(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True) as pull:
        pull.monitor().close()
        with zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint, pump=pump):
            assert pull.wait_connected(LIMIT)


def test_close_of_a_monitor_wakes_those_who_wait(pump):
    """Though the channel stays monitored."""
    with zgreen.Channel(zmq.PULL, pump=pump, monitor=True) as pull:
        with pull.monitor() as monitor:
            getter = gevent.spawn(outcome, monitor.get)
            wait_for(lambda: monitor._tap.changed._waiters, "the getter")
        assert isinstance(getter.get(timeout=LIMIT), zgreen.ClosedError)


def test_a_descriptor_that_is_used_again_is_one_connection():
    """Even if libzmq did not report the end of the one before: what is not open is neither up nor failed."""
    connections = _Connections()
    happened = ["CONNECTED 1", "HANDSHAKE_FAILED_AUTH 400", "CONNECTED 1", "HANDSHAKE_SUCCEEDED 0", "DISCONNECTED 1"]
    for event in happened:
        name, value = event.split()
        connections.take(zgreen.MonitorEvent(name, "", int(value), ""))
    assert connections.up == 0
    happened = ["CONNECTED 1", "HANDSHAKE_FAILED_AUTH 400"] * 2 + ["DISCONNECTED 1", "CONNECTED 1", "CONNECTED 2"]
    for event in [*happened, "HANDSHAKE_SUCCEEDED 0", "DISCONNECTED 1"]:
        name, value = event.split()
        connections.take(zgreen.MonitorEvent(name, "", int(value), ""))
    assert connections.up == 0


def test_monitor_and_linger_at_close(pump):
    """The close of a monitored channel still waits for its messages, and counts what it gives up."""
    with raw_socket(zmq.PULL, bind=ANY) as puller:
        client = zgreen.Channel(zmq.PUSH, connect=endpoint_of(puller), pump=pump, monitor=True)
        monitor = client.monitor()
        for number in range(100):
            client.put(b"%d" % number)
        assert client.close(linger=LIMIT) == 0
        assert [puller.recv() for _ in range(100)] == [b"%d" % number for number in range(100)]
        rest(monitor)
    nobody = zgreen.Channel(zmq.PUSH, connect="tcp://127.0.0.1:1", pump=pump, monitor=True, options={zmq.SNDHWM: 10})
    for _ in range(5):
        nobody.put("x")
    assert nobody.close(linger=0.05) == 5
    rest(monitor)


def test_address_is_free_after_the_close_of_a_monitored_channel(pump):
    for _ in range(20):
        server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True)
        server.monitor()
        endpoint = server.last_endpoint
        server.close()
        with zgreen.Channel(zmq.PULL, bind=endpoint, pump=pump):
            pass


@pytest.mark.parametrize("linger", [0, None])
def test_shutdown_with_open_monitors(linger):
    pump = zgreen.Pump().start()
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True)
    client = zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, pump=pump, monitor=True)
    assert client.wait_connected(LIMIT)
    monitors = [channel.monitor() for channel in (server, client, server)]
    readers = [gevent.spawn(rest, monitor) for monitor in monitors]
    assert pump.shutdown(linger=linger, timeout=LIMIT) == 0
    for reader in readers:
        reader.get(timeout=LIMIT)


@pytest.mark.parametrize("how", ["shutdown", "channel", "break"])
def test_ends_in_the_middle_of_events(how):
    """libzmq sends events from its own threads, blocking: none may be left without its PAIR, whatever ends first."""
    real_socket = get_original("socket", "socket")
    for _ in range(10):
        pump = zgreen.Pump().start()
        server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True, options={zmq.BACKLOG: 2000})
        port, stop = int(server.last_endpoint.rpartition(":")[2]), []
        monitor = server.monitor()

        def strangers(port=port, stop=stop):
            while not stop:
                with real_socket() as s:
                    if s.connect_ex(("127.0.0.1", port)):
                        break  # nobody listens any more

        with real_threads(2) as spawn:
            tasks = [spawn(strangers) for _ in range(2)]
            event_of(monitor, "DISCONNECTED")
            with gevent.Timeout(LIMIT):
                if how == "channel":
                    server.close()
                elif how == "break":
                    break_pump(pump, ZeroDivisionError("oops"))
                pump.shutdown(linger=0)
            stop.append(True)
            for task in tasks:
                task.get(timeout=LIMIT)
        assert pump.context.closed
        assert isinstance(outcome(rest, monitor), zgreen.BrokenError if how == "break" else list)


def test_pump_that_breaks_ends_monitors_with_its_error():
    pump_ = zgreen.Pump().start()
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump_, monitor=True)
    monitor = server.monitor()
    reader = gevent.spawn(outcome, lambda: list(monitor))
    connecting = gevent.spawn(outcome, server.wait_connected)
    gevent.idle()
    break_pump(pump_, ZeroDivisionError("oops"))
    assert isinstance(reader.get(timeout=LIMIT), zgreen.BrokenError)
    assert isinstance(connecting.get(timeout=LIMIT), zgreen.BrokenError)


def test_terminated_context_of_the_users():
    """Its monitored sockets end, and nothing hangs."""
    context = zmq.Context()
    with zgreen.Pump(context=context) as pump:
        server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True)
        monitor = server.monitor()
        reader = gevent.spawn(outcome, rest, monitor)
        with real_threads(1) as spawn:
            spawn(context.term).get(timeout=LIMIT)
        reader.get(timeout=LIMIT)
        assert monitor.closed


def test_fork_ends_the_childs_monitor(pump):
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, monitor=True)
    monitor = server.monitor()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with gevent.Timeout(LIMIT):
                error = outcome(rest, monitor)
            os.write(write, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"ForkedError"
    os.close(read)
    with zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, pump=pump):
        event_of(monitor, "ACCEPTED")


def test_monitor_that_nobody_reads_stalls_nothing(pump):
    """Thousands of events, far over libzmq's high-water marks, while the hub does not even run."""
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, options={zmq.BACKLOG: 2000})
    monitor = server.monitor(maxsize=10)
    endpoint, rounds = server.last_endpoint, 1500
    real_socket = get_original("socket", "socket")

    def strangers():
        for _ in range(rounds):
            with real_socket() as s:
                s.connect(("127.0.0.1", int(endpoint.rpartition(":")[2])))

    with raw_socket(zmq.PUSH) as peer, real_threads(1) as spawn:
        spawn(strangers).get(timeout=LIMIT)
        peer.connect(endpoint)
        peer.send(b"x")
        block_hub_until(lambda: server._lanes.pipe.counts().received, "a message from libzmq's I/O thread")
        assert server.get(timeout=LIMIT) == b"x"
        # of each: accepted, handshake failed, disconnected
        wait_for(lambda: monitor.dropped >= 3 * rounds - 10, "all events to have come")
    assert server.close() == 0


def test_monitor_of_a_blocked_hub_stalls_nothing(pump):
    """The events of all that wait in the owning thread, while the hub's thread does other work."""
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump, options={zmq.BACKLOG: 2000})
    monitor = server.monitor(maxsize=None)
    endpoint, rounds, done = server.last_endpoint, 700, []
    real_socket = get_original("socket", "socket")

    def strangers():
        for _ in range(rounds):
            with real_socket() as s:
                s.connect(("127.0.0.1", int(endpoint.rpartition(":")[2])))
        done.append(True)

    with real_threads(1) as spawn:
        task = spawn(strangers)
        block_hub_until(lambda: done, "the strangers to be done")
        task.get(timeout=LIMIT)
    lost = [event_of(monitor, "DISCONNECTED") for _ in range(rounds)]
    assert {event.endpoint for event in lost} == {endpoint}
    assert monitor.dropped == 0


def test_nothing_is_left_of_monitors(pump):
    server = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
    server.monitor().close()
    before = open_descriptors()
    for _ in range(50):
        with server.monitor():
            pass
    wait_for(lambda: open_descriptors() <= before, "the descriptors to be given back")


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_nothing_is_left_of_a_monitored_channel_whose_making_was_killed(monkeypatch, pump, nth):
    """While it waits for its socket, for the monitor's PAIR, or for the start of the monitor."""
    zgreen.Channel(zmq.PULL, pump=pump, monitor=True).close()
    before, post = open_descriptors(), pump._thread.post

    def post_and_die(command, *args):
        call = post(command, *args)
        posted.append(command.__name__)
        if len(posted) == nth:
            raise gevent.GreenletExit
        return call

    for _ in range(10):
        posted = []
        with monkeypatch.context() as patch:
            patch.setattr(pump._thread, "post", post_and_die)
            making = gevent.spawn(zgreen.Channel, zmq.PULL, pump=pump, monitor=True)
            assert isinstance(making.get(timeout=LIMIT), gevent.GreenletExit)
        assert posted[nth - 1] == ["open", "open", "monitor"][nth - 1]
    wait_for(lambda: open_descriptors() <= before, "the descriptors to be given back")
    wait_for(lambda: not pump.channels)


REFUSED = """
    import errno, os, resource
    import gevent, zmq, zgreen
    from gevent import monkey

    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    close = monkey.get_original("os", "close")  # gevent's closes later
    descriptors = lambda: len(os.listdir("/proc/self/fd"))
    channel = zgreen.Channel(zmq.PULL, bind="inproc://bound")  # else its monitor is kept
    before = descriptors()

    def settle():
        with gevent.Timeout({limit}):
            while descriptors() > before:
                gevent.sleep(0.01)

    def monitor_with(left):
        settle()
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            for fd in held[:left]:
                close(fd)
        try:
            channel.monitor().close()
        except zmq.ZMQError as error:
            assert error.errno == errno.EMFILE
            return False
        finally:
            for fd in held[left:]:
                close(fd)
        return True

    print([monitor_with(left) for left in range(3) for _ in range(10)])
    settle()
    os._exit(0)
"""


def test_nothing_is_left_of_a_monitor_that_was_refused():
    """There are descriptors for its PAIR, but none for libzmq's, or for neither."""
    status, out, err = run(REFUSED.replace("{limit}", str(LIMIT)))
    assert (status, out) == (0, f"{[False] * 20 + [True] * 10}\n"), err


# ------------------------------------------------------------------ wait_connected


@pytest.mark.parametrize("kind", [zmq.PUSH, zmq.DEALER, zmq.PUB])
def test_wait_connected_now_and_before(pump, kind):
    """It waits for a peer that comes; and knows of one that came long before, and of one that has gone."""
    with zgreen.Channel(kind, bind=ANY, pump=pump, monitor=True) as server:
        assert not server.wait_connected(0)
        waiter = gevent.spawn(server.wait_connected, LIMIT)
        other = {zmq.PUSH: zmq.PULL, zmq.DEALER: zmq.ROUTER, zmq.PUB: zmq.SUB}[kind]
        with zgreen.Channel(other, connect=server.last_endpoint, pump=pump, monitor=True) as client:
            assert waiter.get(timeout=LIMIT)
            assert client.wait_connected(LIMIT)
            assert client.wait_connected(0)
            assert server.wait_connected(0)
        wait_for(lambda: not server.wait_connected(0), "the peer to be seen gone")


def test_wait_connected_on_a_channel_without_endpoints_so_far(pump):
    """No flag is needed if it is asked before the first connect."""
    with raw_socket(zmq.PULL, bind=ANY) as puller, zgreen.Channel(zmq.PUSH, pump=pump) as client:
        assert not client.wait_connected(0)
        client.connect(endpoint_of(puller))
        assert client.wait_connected(LIMIT)


def test_wait_connected_that_cannot_know_says_so(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as server:
        with pytest.raises(RuntimeError, match="monitor=True"):
            server.wait_connected(0)
        with server.monitor(), pytest.raises(RuntimeError, match="monitor=True"):
            server.wait_connected(0)


def test_wait_connected_over_inproc_says_so(pump):
    bound, connected = channels(pump, zmq.PUSH, zmq.PULL, monitor=True)
    for channel in (bound, connected):
        with pytest.raises(RuntimeError, match="inproc"):
            channel.wait_connected(0)


def test_wait_connected_after_disconnect(pump):
    """libzmq says nothing about the end of a connection that is given up here."""
    with raw_socket(zmq.PULL, bind=ANY) as puller, zgreen.Channel(zmq.PUSH, pump=pump, monitor=True) as client:
        for _ in range(5):
            client.connect(endpoint_of(puller))
            assert client.wait_connected(LIMIT)
            client.disconnect(endpoint_of(puller))
            assert not client.wait_connected(0)


def free_port(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as holder:
        return holder.last_endpoint.rpartition(":")[2]


def bind(channel, endpoint):
    """Again: an unbind returns before libzmq has closed what listens."""
    wait_for(lambda: outcome(channel.bind, endpoint) is None, "the address to be free")


def test_wait_connected_after_unbind_of_a_host_name(pump):
    """libzmq reports the address."""
    port = free_port(pump)
    with (
        zgreen.Channel(zmq.PULL, pump=pump, monitor=True) as server,
        zgreen.Channel(zmq.PUSH, connect=f"tcp://127.0.0.1:{port}", pump=pump, options={zmq.RECONNECT_IVL: 1}),
    ):
        for _ in range(3):
            bind(server, f"tcp://localhost:{port}")
            assert server.wait_connected(LIMIT)
            server.unbind(f"tcp://localhost:{port}")
            assert not server.wait_connected(0)


def test_wait_connected_after_binds_under_several_names_does_not_guess(pump):
    port = free_port(pump)
    with zgreen.Channel(zmq.PULL, pump=pump, monitor=True) as server:
        server.bind(f"tcp://127.0.0.1:{port}")
        server.unbind(f"tcp://127.0.0.1:{port}")
        assert not server.wait_connected(0)
        bind(server, f"tcp://localhost:{port}")
        with pytest.raises(RuntimeError, match="no name"):
            server.wait_connected(0)


def test_wait_connected_after_disconnect_of_a_host_name_does_not_guess(pump):
    """libzmq reports the name first, and the address after a reconnection."""
    port = free_port(pump)
    with zgreen.Channel(zmq.PUSH, pump=pump, monitor=True, options={zmq.RECONNECT_IVL: 1}) as client:
        client.connect(f"tcp://localhost:{port}")
        names, monitor = [], client.monitor()
        for _ in range(2):
            with zgreen.Channel(zmq.PULL, bind=f"tcp://127.0.0.1:{port}", pump=pump) as server:
                assert client.wait_connected(LIMIT)
                names.append(event_of(monitor, "HANDSHAKE_SUCCEEDED").endpoint)
                server.close()
            wait_for(lambda: not client.wait_connected(0), "the server to be seen gone")
        assert names[-1] == f"tcp://127.0.0.1:{port}"
        with zgreen.Channel(zmq.PULL, bind=f"tcp://127.0.0.1:{port}", pump=pump):
            assert client.wait_connected(LIMIT)
            client.disconnect(f"tcp://localhost:{port}")
            with pytest.raises(RuntimeError, match=f"localhost:{port} by other names"):
                client.wait_connected(0)


def test_who_waits_is_told_that_it_cannot_be_known_any_more(pump):
    with zgreen.Channel(zmq.PUSH, pump=pump, monitor=True) as client:
        client.connect("tcp://localhost:1")
        waiter = gevent.spawn(outcome, client.wait_connected)
        gevent.sleep(0)
        with real_threads(1) as spawn:
            spawn(client.disconnect, "tcp://localhost:1").get(timeout=LIMIT)
        assert isinstance(waiter.get(timeout=LIMIT), RuntimeError)


def test_wait_connected_after_unbind_of_all_interfaces_does_not_guess(pump):
    """libzmq reports each connection by the address that the client has used."""
    with (
        zgreen.Channel(zmq.PULL, bind="tcp://*:*", pump=pump, monitor=True) as server,
        zgreen.Channel(zmq.PUSH, connect=server.last_endpoint.replace("0.0.0.0", "127.0.0.1"), pump=pump),
    ):
        assert server.wait_connected(LIMIT)
        server.unbind(server.last_endpoint)
        with pytest.raises(RuntimeError, match="no wildcard"):
            server.wait_connected(0)


@pytest.mark.parametrize(
    ("endpoint", "known"),
    [
        ("tcp://192.0.2.7:5555", True),
        ("tcp://[2001:db8::1]:5555", True),
        ("ipc:///tmp/x", True),
        ("inproc://x", True),
        ("tcp://localhost:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://[::]:5555", False),
        ("tcp://192.0.2.7:05555", False),
        ("tcp://[2001:db8:0::1]:5555", False),
        ("tcp://[fe80::1%eth0]:5555", False),
        ("tcp://192.0.2.1:0;192.0.2.7:5555", False),
        ("tcp://192.0.2.7", False),
        ("ws://192.0.2.7:5555", False),
    ],
)
def test_endpoints_that_libzmq_reports_under_one_name(endpoint, known):
    assert _has_one_name(endpoint) is known


def test_connect_while_wait_connected_opens_the_monitor(monkeypatch, pump):
    """It waits until libzmq has been asked to tell of it."""
    posted, post = [], pump._thread.post
    with raw_socket(zmq.PULL, bind=ANY) as puller, zgreen.Channel(zmq.PUSH, pump=pump) as client:
        waiter = gevent.spawn(client.wait_connected, LIMIT)
        gevent.sleep(0)
        assert not waiter.ready()
        monkeypatch.setattr(pump._thread, "post", lambda *args: posted.append(args[0].__name__) or post(*args))
        client.connect(endpoint_of(puller))
        assert posted == ["monitor", "connect"]
        assert waiter.get(timeout=LIMIT)


def test_connect_that_is_killed_while_the_monitor_opens_has_done_nothing(pump):
    """A PUB would take a second connect to the same endpoint for done."""
    with zgreen.Channel(zmq.SUB, bind=ANY, pump=pump) as sub, zgreen.Channel(zmq.PUB, pump=pump) as pub:
        sub.subscribe("")
        waiter = gevent.spawn(pub.wait_connected, LIMIT)
        gevent.sleep(0)
        connecting = gevent.spawn(pub.connect, sub.last_endpoint)
        gevent.sleep(0)
        connecting.kill()
        pub.connect(sub.last_endpoint)
        assert waiter.get(timeout=LIMIT)
        assert pub.wait_subscriber("x", LIMIT)


def test_wait_connected_while_a_connect_is_under_way_says_that_it_cannot_know(pump):
    with raw_socket(zmq.PULL, bind=ANY) as puller, zgreen.Channel(zmq.PUSH, pump=pump) as client:
        connecting = gevent.spawn(client.connect, endpoint_of(puller))
        gevent.sleep(0)
        assert not connecting.ready()
        with pytest.raises(RuntimeError, match="monitor=True"):
            client.wait_connected(0)
        with client.monitor(), pytest.raises(RuntimeError, match="monitor=True"):
            client.wait_connected(0)
        connecting.get(timeout=LIMIT)


def test_wait_connected_whose_monitor_opens_while_a_thread_connects_says_that_it_cannot_know(pump):
    """Unlike a greenlet it cannot wait for that, nor be seen before."""
    with (
        raw_socket(zmq.PULL, bind=ANY) as puller,
        zgreen.Channel(zmq.PUSH, pump=pump) as client,
        real_threads(1) as spawn,
    ):
        waiter = gevent.spawn(outcome, client.wait_connected, LIMIT)
        gevent.sleep(0)
        task = spawn(client.connect, endpoint_of(puller))
        block_hub_until(lambda: client._lanes.endpoints.attached, "the thread to connect")
        assert isinstance(waiter.get(timeout=LIMIT), RuntimeError)
        task.get(timeout=LIMIT)


def test_wait_connected_ends_with_the_channel(pump):
    client = zgreen.Channel(zmq.PUSH, connect="tcp://127.0.0.1:1", pump=pump, monitor=True)
    waiter = gevent.spawn(outcome, client.wait_connected)
    gevent.idle()
    client.close(linger=0)
    assert isinstance(waiter.get(timeout=LIMIT), zgreen.ClosedError)


def test_wait_connected_refuses_bad_timeouts(pump):
    with zgreen.Channel(zmq.PUSH, pump=pump) as client:
        for call in (client.wait_connected, lambda timeout: client.wait_subscriber("x", timeout)):
            with pytest.raises(ValueError, match="timeout"):
                call(-1)


def test_monitored_channel_whose_bind_fails_is_not_left_open(pump):
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as first:
        with pytest.raises(zmq.ZMQError, match="Address already in use"):
            zgreen.Channel(zmq.PULL, bind=[ANY, first.last_endpoint], pump=pump, monitor=True)
        wait_for(lambda: pump.channels == (first,), "the rest to be closed")


def test_connections_are_counted_over_failures():
    """Of one endpoint: a failed handshake's end is not taken for that of a good one."""
    connections = _Connections()

    def take(*events):
        for name, value in events:
            connections.take(zgreen.MonitorEvent(name, "tcp://x", value, ""))
        return connections.up

    assert take(("ACCEPTED", 1), ("ACCEPTED", 2)) == 0
    assert take(("HANDSHAKE_SUCCEEDED", 0)) == 1
    assert take(("HANDSHAKE_FAILED_AUTH", 400), ("DISCONNECTED", 2)) == 1
    assert take(("DISCONNECTED", 1)) == 0
    assert take(("ACCEPTED", 1), ("HANDSHAKE_FAILED_PROTOCOL", 0), ("HANDSHAKE_FAILED_NO_DETAIL", 0)) == 0
    assert take(("DISCONNECTED", 1), ("ACCEPTED", 1), ("HANDSHAKE_SUCCEEDED", 0)) == 1
    assert take(("DISCONNECTED", 1)) == 0


# ------------------------------------------------------------------ wait_subscriber


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB])
@pytest.mark.parametrize("transport", ["tcp", "inproc"])
def test_no_message_is_lost_after_wait_subscriber(pump, kind, transport):
    """The slow joiner, cured without a sleep: many times, the first message always arrives."""
    for number in range(20):
        endpoint = ANY if transport == "tcp" else f"inproc://{kind}.{number}"
        with zgreen.Channel(kind, bind=endpoint, pump=pump) as pub, zgreen.Channel(zmq.SUB, pump=pump) as sub:
            sub.subscribe("topic")
            sub.connect(pub.last_endpoint)
            assert pub.wait_subscriber("topic", LIMIT)
            pub.put(["topic", "first"])
            assert sub.get(timeout=LIMIT) == [b"topic", b"first"]
            assert pub.wait_subscriber("topic", 0)


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB])
def test_what_a_subscription_is_good_for(pump, kind):
    with zgreen.Channel(kind, bind=ANY, pump=pump) as pub, zgreen.Channel(zmq.SUB, pump=pump) as sub:
        sub.connect(pub.last_endpoint)
        assert not pub.wait_subscriber("news.eu", 0)
        assert not pub.wait_subscriber(timeout=0.001)
        waiter = gevent.spawn(pub.wait_subscriber, b"news.eu", LIMIT)
        sub.subscribe("news")
        assert waiter.get(timeout=LIMIT)
        assert not pub.wait_subscriber("new", 0)
        assert not pub.wait_subscriber("", 0)
        sub.unsubscribe("news")
        wait_for(lambda: not pub.wait_subscriber("news.eu", 0), "the subscription to be seen gone")
        sub.subscribe("")
        assert pub.wait_subscriber("anything", LIMIT)
        sub.close()
        wait_for(lambda: not pub.wait_subscriber("anything", 0), "the subscriber to be seen gone")


def test_wait_subscriber_takes_no_message_from_an_xpub(pump):
    """Nor does it change their order, whoever gets while it waits, and from whatever thread."""
    topics = [b"%03d" % number for number in range(300)]
    with (
        zgreen.Channel(zmq.XPUB, bind=ANY, pump=pump, recv_maxsize=10) as pub,
        zgreen.Channel(zmq.SUB, connect=pub.last_endpoint, pump=pump) as sub,
        real_threads(1) as spawn,
    ):
        waiter = gevent.spawn(pub.wait_subscriber, topics[-1], LIMIT)
        getters = [gevent.spawn(pub.get, timeout=LIMIT) for _ in range(50)]
        for topic in topics:
            sub.subscribe(topic)
        first = [getter.get(timeout=LIMIT) for getter in getters]
        then = spawn(lambda: [pub.get(timeout=LIMIT) for _ in range(50)]).get(timeout=LIMIT)
        assert waiter.get(timeout=LIMIT)
        assert pub.statistics().waiting == 200
        assert first + then + [pub.get(timeout=LIMIT) for _ in range(200)] == [b"\x01" + topic for topic in topics]
        assert pub.statistics().received == 300
        with pytest.raises(Empty):
            pub.get_nowait()


def test_a_message_of_an_xpub_is_left_to_the_getter_that_waits_for_it(pump):
    """Whether it was looked at before or not."""
    with (
        zgreen.Channel(zmq.XPUB, bind=ANY, pump=pump) as pub,
        zgreen.Channel(zmq.SUB, connect=pub.last_endpoint, pump=pump) as sub,
        real_threads(1) as spawn,
    ):
        getter = gevent.spawn(pub.get, timeout=LIMIT)
        wait_for(lambda: pub.statistics().getters, "the getter")
        spawn(sub.subscribe, "x")  # not here, where the hub would run meanwhile
        block_hub_until(lambda: pub._lanes.pipe.waiting(), "the subscription")
        with pytest.raises(Empty):
            pub.get_nowait()
        assert pub.wait_subscriber("x", 0)  # it looks
        with pytest.raises(Empty):
            pub.get_nowait()
        assert getter.get(timeout=LIMIT) == b"\x01x"


def test_thread_waiting_in_get_of_an_xpub_is_woken(pump):
    with (
        zgreen.Channel(zmq.XPUB, bind=ANY, pump=pump) as pub,
        zgreen.Channel(zmq.SUB, connect=pub.last_endpoint, pump=pump) as sub,
        real_threads(1) as spawn,
    ):
        assert not pub.wait_subscriber("x", 0)
        task = spawn(pub.get, timeout=LIMIT)
        wait_for(lambda: pub.statistics().getters, "the thread to wait")
        sub.subscribe("x")
        assert task.get(timeout=LIMIT) == b"\x01x"
        assert pub.wait_subscriber("x", 0)
        task = spawn(outcome, pub.get)
        wait_for(lambda: pub.statistics().getters, "the thread to wait")
        pub.close()
        assert isinstance(task.get(timeout=LIMIT), zgreen.ClosedError)


def test_xpub_messages_that_are_no_subscriptions(pump):
    with (
        zgreen.Channel(zmq.XPUB, bind=ANY, pump=pump, multipart=True) as pub,
        zgreen.Channel(zmq.XSUB, connect=pub.last_endpoint, pump=pump) as sub,
    ):
        sub.put(b"hello")
        sub.put(b"\x01topic")
        assert pub.wait_subscriber("topic", LIMIT)
        assert not pub.wait_subscriber("hello", 0)
        pub.peek().clear()  # a list of the caller's own
        assert [pub.get(timeout=LIMIT), pub.get(timeout=LIMIT)] == [[b"hello"], [b"\x01topic"]]


def test_what_was_received_by_an_xpub_can_be_got_after_its_close(pump):
    pub = zgreen.Channel(zmq.XPUB, bind=ANY, pump=pump)
    with zgreen.Channel(zmq.SUB, connect=pub.last_endpoint, pump=pump) as sub:
        sub.subscribe("x")
        assert pub.wait_subscriber("x", LIMIT)
        pub.close()
        assert list(pub) == [b"\x01x"]


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB])
def test_wait_subscriber_ends_with_the_channel(pump, kind):
    pub = zgreen.Channel(kind, bind=ANY, pump=pump)
    waiter = gevent.spawn(outcome, pub.wait_subscriber, "x")
    gevent.idle()
    pub.close()
    assert isinstance(waiter.get(timeout=LIMIT), zgreen.ClosedError)
    with pytest.raises(zgreen.ClosedError):
        pub.wait_subscriber("x", 0)


@pytest.mark.parametrize("kind", [zmq.PUSH, zmq.SUB, zmq.ROUTER])
def test_only_publishers_have_subscribers(pump, kind):
    with zgreen.Channel(kind, pump=pump) as channel, pytest.raises(TypeError, match="PUB or XPUB"):
        channel.wait_subscriber("x")


def test_topic_that_is_none(pump):
    with zgreen.Channel(zmq.PUB, pump=pump) as pub, pytest.raises(TypeError, match="topic"):
        pub.wait_subscriber(5)


# ------------------------------------------------------------------ a PUB is a PUB


def test_pub_stays_a_pub(pump):
    """Though an XPUB does its work: its type, its direction, its counts, and a second connect to one place."""
    with zgreen.Channel(zmq.SUB, bind=ANY, pump=pump) as sub, zgreen.Channel(zmq.PUB, pump=pump, monitor=True) as pub:
        sub.subscribe("")
        endpoint = sub.last_endpoint
        monitor = pub.monitor()
        pub.connect(endpoint)
        pub.connect(endpoint)
        assert pub.getsockopt(zmq.TYPE) == zmq.PUB
        assert pub.wait_subscriber("x", LIMIT)
        pub.put("x")
        pub.put("y")
        assert [sub.get(timeout=LIMIT), sub.get(timeout=LIMIT)] == [b"x", b"y"]
        with pytest.raises(TypeError):
            pub.get()
        assert pub.statistics()[:5] == (2, 0, 0, 0, 0)
        pub.disconnect(endpoint)
        pub.connect(endpoint)
        assert pub.wait_connected(LIMIT)
        events = Counter(event.name for event in drained(monitor))
        assert events["HANDSHAKE_SUCCEEDED"] == 2
        pub.close(linger=0)


def test_pub_with_conflate_keeps_the_last_only(pump):
    """What an XPUB cannot do; so this one is a real PUB and cannot tell of subscribers."""
    with (
        zgreen.Channel(zmq.PUB, bind=ANY, options={zmq.CONFLATE: 1}, pump=pump) as pub,
        pytest.raises(TypeError, match="CONFLATE"),
    ):
        pub.wait_subscriber("x")
    with zgreen.Channel(zmq.PUB, pump=pump) as pub, pytest.raises(ValueError, match="CONFLATE"):
        pub.setsockopt(zmq.CONFLATE, 1)
    with zgreen.Channel(zmq.PUB, configurator=lambda s: s.set(zmq.CONFLATE, 1), pump=pump) as pub:
        assert pub.getsockopt(zmq.CONFLATE) == 1
        with pytest.raises(TypeError, match="configurator"):
            pub.wait_subscriber("x")


def test_pub_whose_subscriptions_nobody_asks_about_does_not_fill_up(pump):
    """The hub takes them as they come: a PUB with recv_maxsize=1 sees the last of thousands."""
    with (
        zgreen.Channel(zmq.PUB, bind=ANY, pump=pump, recv_maxsize=1, overflow="drop_oldest") as pub,
        zgreen.Channel(zmq.SUB, connect=pub.last_endpoint, pump=pump) as sub,
    ):
        for number in range(3000):
            sub.subscribe(b"%d" % number)
        assert all(pub.wait_subscriber(b"%d" % number, LIMIT) for number in range(3000))
        assert pub._lanes.subscribers.waiting() == 0  # they are not kept anywhere


def test_under_monkey_patching():
    code = """
        from gevent import monkey; monkey.patch_all()
        import zmq, zgreen
        pub = zgreen.Channel(zmq.PUB, bind="tcp://127.0.0.1:*", monitor=True)
        sub = zgreen.Channel(zmq.SUB, connect=pub.last_endpoint)
        sub.subscribe("a")
        with pub.monitor():
            print(pub.wait_connected(float(%r)), pub.wait_subscriber("a", float(%r)))
    """
    assert run(code % (LIMIT, LIMIT)) == (0, "True True\n", "")
