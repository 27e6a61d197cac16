"""What pumps and channels count: each figure, on the engine that the environment names."""

import copy
import itertools
import json
import pickle

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full
from support import (
    ANY,
    LIMIT,
    Gate,
    block_hub_until,
    break_pump,
    channels,
    drained,
    inproc,
    outcome,
    raw_socket,
    real_threads,
    stuck,
    wait_for,
)

import zgreen
from zgreen import Channel
from zgreen._hub import statistics as sums


def test_the_first_fields_are_what_they_were():
    """Programs may take the snapshots apart by position."""
    assert zgreen.ChannelStatistics._fields[:9] == (
        "sent", "received", "pending", "waiting", "refused", "dropped", "unsent", "putters", "getters",
    )  # fmt: skip
    assert zgreen.PumpStatistics._fields[:8] == (
        "channels", "sent", "received", "pending", "waiting", "refused", "dropped", "unsent",
    )  # fmt: skip


CHANGES = [
    lambda counts: counts.__setitem__("EFSM", 1),
    lambda counts: counts.__delitem__("EFSM"),
    lambda counts: counts.__ior__({"EFSM": 1}),
    lambda counts: counts.update(EFSM=1),
    lambda counts: counts.setdefault("EFSM", 1),
    lambda counts: counts.pop("EFSM", None),
    lambda counts: counts.popitem(),
    lambda counts: counts.clear(),
]


def test_a_snapshot_cannot_be_changed(pump):
    for snapshot in (stuck(pump).statistics(), pump.statistics()):
        with pytest.raises(AttributeError):
            snapshot.sent = 1
        for counts in (snapshot.refusals, snapshot.drops):
            for change in CHANGES:
                with pytest.raises(TypeError):
                    change(counts)
            assert counts == {}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_snapshot_can_be_copied_and_sent(pump, copied):
    """And the copy is one, too."""
    channel = stuck(pump)
    channel.put("x")
    channel.close(linger=0)
    for snapshot in (channel.statistics(), pump.statistics()):
        again = copied(snapshot)
        assert again == snapshot
        assert type(again) is type(snapshot)
        assert again.drops == json.loads(json.dumps(snapshot._asdict()))["drops"] == {"unsent": 1}
        with pytest.raises(TypeError):
            again.drops["unsent"] = 2


def test_a_snapshot_stays_as_it_was(pump):
    server, client = channels(pump, "PULL", "PUSH")
    before = client.statistics(), pump.statistics()
    copies = tuple(tuple(snapshot) for snapshot in before)
    client.put("x")
    server.get()
    assert tuple(tuple(snapshot) for snapshot in before) == copies


def test_bytes(pump):
    """Of the content, of all frames."""
    server, client = channels(pump, "PULL", "PUSH")
    client.put(b"abc")
    client.put([b"de", b"", b"fghi"])
    client.put("ä")
    client.put(bytes(100_000))  # which the native engine does not copy
    client.put([bytes(70_000), b"x"])
    for _ in range(5):
        server.get()
    size = 3 + 6 + 2 + 100_000 + 70_001
    assert (client.statistics().sent_bytes, client.statistics().received_bytes) == (size, 0)
    assert (server.statistics().sent_bytes, server.statistics().received_bytes) == (0, size)
    both = pump.statistics()
    assert (both.sent, both.sent_bytes, both.received, both.received_bytes) == (5, size, 5, size)


def test_bytes_from_elsewhere(pump):
    server = Channel("PULL", bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=server.last_endpoint) as peer:
        peer.send_multipart([b"12", b"345"])
        peer.send(b"")
        assert [server.get(), server.get()] == [[b"12", b"345"], b""]
    assert server.statistics().received_bytes == 5


def test_what_was_not_sent_has_no_bytes(pump):
    """Neither what waits, nor what libzmq refused."""
    client = stuck(pump)
    client.put("waits")
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    assert isinstance(outcome(router.send([b"nobody", b"refused"]).get), zmq.ZMQError)
    assert client.statistics().sent_bytes == router.statistics().sent_bytes == 0


def test_dropped_messages_were_received(pump):
    """Their bytes count, too: they have come."""
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=2, overflow="drop_newest")
    for _ in range(10):
        client.put(b"1234")
    wait_for(lambda: server.statistics().received_bytes == 40)
    assert server.statistics().received == 10


def test_peak_pending(pump):
    """It stays after the queue has become empty."""
    client = stuck(pump)
    for i in range(7):
        client.put(b"%d" % i)
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    for _ in range(7):
        server.get()
    assert client.flush(LIMIT)
    statistics = client.statistics()
    assert (statistics.pending, statistics.peak_pending) == (0, 7)
    stuck(pump).put("1")
    assert pump.statistics().peak_pending == 7


def test_peak_pending_of_what_was_given_up(pump):
    """A close without linger takes the messages away, not their peak."""
    client = stuck(pump)
    for i in range(4):
        client.put(b"%d" % i)
    assert client.close(linger=0) == 4
    assert client.statistics().peak_pending == pump.statistics().peak_pending == 4
    assert pump.statistics().pending == 0


def test_peak_waiting(pump):
    server, client = channels(pump, "PULL", "PUSH")
    for i in range(9):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().waiting == 9)
    for _ in range(9):
        server.get()
    client.put("x")
    server.get()
    assert (server.statistics().waiting, server.statistics().peak_waiting) == (0, 9)
    assert pump.statistics().peak_waiting == 9


def test_peak_waiting_does_not_pass_the_limit(pump):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=3)
    for i in range(9):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().waiting == 3)
    assert [server.get() for _ in range(9)] == [b"%d" % i for i in range(9)]
    assert server.statistics().peak_waiting == 3


def test_nobody_had_to_wait(pump):
    client = stuck(pump)
    client.put("x")
    statistics = client.statistics()
    assert (statistics.put_waits, statistics.put_wait_seconds) == (0, 0.0)
    assert (statistics.get_waits, statistics.get_wait_seconds) == (0, 0.0)


def test_waits_of_puts(pump):
    """Those that wait count from the start, with the time so far; a timeout and a kill count, too."""
    client = stuck(pump, send_maxsize=1)
    client.put("0")
    with pytest.raises(Full):
        client.put("x", timeout=0.01)
    with pytest.raises(Full):
        client.put_nowait("x")
    first = client.statistics()
    assert first.put_waits == 1
    assert first.put_wait_seconds >= 0.01
    putters = [gevent.spawn(client.put, "x") for _ in range(3)]
    wait_for(lambda: client.statistics().putters == 3)
    assert client.statistics().put_waits == 4
    so_far = client.statistics().put_wait_seconds
    wait_for(lambda: client.statistics().put_wait_seconds > so_far, "the time of those that wait")
    gevent.killall(putters)
    ended = client.statistics()
    assert (ended.putters, ended.put_waits, ended.get_waits) == (0, 4, 0)
    gevent.sleep(0.01)
    assert client.statistics().put_wait_seconds == ended.put_wait_seconds, "it goes on with nobody waiting"
    total = pump.statistics()
    assert (total.put_waits, total.put_wait_seconds) == (4, ended.put_wait_seconds)


def test_waits_of_gets(pump):
    server, client = channels(pump, "PULL", "PUSH")
    with pytest.raises(Empty):
        server.get(timeout=0.01)
    with pytest.raises(Empty):
        server.get_nowait()
    getter = gevent.spawn(server.get)
    wait_for(lambda: server.statistics().getters)
    client.put("x")
    assert getter.get() == b"x"
    statistics = server.statistics()
    assert (statistics.get_waits, statistics.put_waits) == (2, 0)
    assert statistics.get_wait_seconds >= 0.01
    assert pump.statistics().get_waits == 2


def test_waits_of_a_thread(pump):
    """It counts its wait itself, while the hub is blocked."""
    server, client = channels(pump, "PULL", "PUSH")
    with real_threads(1) as spawn:
        got = spawn(server.get)
        block_hub_until(lambda: server.statistics().getters == 1, "the thread to wait")
        client.put("x")
        block_hub_until(lambda: server.statistics().getters == 0, "the thread to go on")
        statistics = server.statistics()
        assert statistics.get_waits == 1
        assert statistics.get_wait_seconds > 0
        assert got.get() == b"x"


def test_refusals_by_cause(pump):
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    rep = Channel("REP", bind=inproc(), pump=pump)
    for channel in (router, rep):
        channel.on_error = lambda error, message: None
    assert isinstance(outcome(router.send([b"nobody", b"x"]).get), zmq.ZMQError)
    router.put([b"nobody", b"x"])
    rep.put("nobody asked")
    wait_for(lambda: pump.statistics().refusals.get("EHOSTUNREACH") == 2 and pump.statistics().refusals.get("EFSM"))
    assert dict(router.statistics().refusals) == {"EHOSTUNREACH": 2}
    assert dict(rep.statistics().refusals) == {"EFSM": 1}
    assert dict(pump.statistics().refusals) == {"EHOSTUNREACH": 2, "EFSM": 1}
    assert (router.statistics().refused, rep.statistics().refused, pump.statistics().refused) == (2, 1, 3)
    assert router.statistics().drops == {}


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_drops_by_cause(pump, overflow):
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=2, overflow=overflow)
    for i in range(10):
        client.put(b"%d" % i)
    wait_for(lambda: server.statistics().dropped == 8)
    idle = stuck(pump)
    idle.put("x")
    idle.close(linger=0)
    assert server.statistics().drops == {overflow: 8}
    assert idle.statistics().drops == {"unsent": 1}
    assert pump.statistics().drops == {overflow: 8, "unsent": 1}
    assert pump.statistics().dropped == 8


def test_turns(pump):
    """What goes at once goes in one turn, of a hundred messages at most."""
    client = stuck(pump)
    for i in range(250):
        client.put(b"%d" % i)
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    wait_for(lambda: server.statistics().received == 250)
    assert client.flush(LIMIT)
    sent, received = client.statistics(), server.statistics()
    assert sent.largest_send == 100
    assert sent.send_turns >= 3
    assert sent.mean_send == 250 / sent.send_turns
    assert 1 <= received.largest_receive <= 100
    assert received.receive_turns >= 3
    assert received.mean_receive == 250 / received.receive_turns
    assert (sent.largest_receive, sent.receive_turns, sent.mean_receive) == (0, 0, 0.0)
    both = pump.statistics()
    assert (both.send_turns, both.largest_send) == (sent.send_turns, 100)
    assert (both.mean_send, both.mean_receive) == (sent.mean_send, received.mean_receive)


def test_wakeups(pump):
    """One who waits is told once; who does not wait is not."""
    server, client = channels(pump, "PULL", "PUSH")
    before, of_client, of_pump = server.statistics(), client.statistics(), pump.statistics()
    getter = gevent.spawn(server.get)
    wait_for(lambda: server.statistics().getters)
    client.put("x")
    assert getter.get() == b"x"
    wait_for(lambda: server.statistics().hub_wakeups == before.hub_wakeups + 1)  # counted after the ring
    assert client.statistics().thread_wakeups > of_client.thread_wakeups
    assert pump.statistics().hub_wakeups > of_pump.hub_wakeups
    assert pump.statistics().thread_wakeups > of_pump.thread_wakeups
    client.put("y")
    wait_for(lambda: server.statistics().waiting)
    assert server.statistics().hub_wakeups == before.hub_wakeups + 1


def test_an_idle_pump_is_not_woken(pump):
    """Its channels are asked for figures, which wakes nobody."""
    server, _ = channels(pump, "PULL", "PUSH")
    server.getsockopt(zmq.TYPE)
    counts = []

    def settled():
        counts.append(pump.statistics().thread_wakeups)
        return len(counts) > 20 and counts[-1] == counts[-20]

    wait_for(settled, "the owning thread to sleep through 20 snapshots")


def test_last_error(pump):
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    assert router.statistics().last_error is None
    assert pump.statistics().last_error is None
    assert isinstance(outcome(router.send([b"nobody", b"x"]).get), zmq.ZMQError)
    assert router.statistics().last_error == "ZMQError: Host unreachable"
    assert pump.statistics().last_error == f"{router}: ZMQError: Host unreachable"


def test_the_error_that_breaks_a_pump(pump, caplog):
    client = stuck(pump)
    break_pump(pump, RuntimeError("a test breaks it"))
    wait_for(lambda: client.closed and pump.statistics().last_error)
    assert pump.statistics().last_error == "RuntimeError: a test breaks it"
    assert "a test breaks it" in client.statistics().last_error


def test_a_close_is_no_error(pump):
    client = stuck(pump)
    client.close(linger=0)
    assert client.statistics().last_error is pump.statistics().last_error is None


def counts_of(statistics):
    """What must never go down: numbers that are no gauges, and the numbers by cause."""
    found = statistics._asdict()
    for gauge in ("channels", "pending", "waiting", "last_error"):
        del found[gauge]
    for mapping in ("refusals", "drops"):
        found |= {f"{mapping}.{key}": number for key, number in found.pop(mapping).items()}
    return found


def test_the_pump_counts_on_when_channels_close(pump):
    """Looked at before, meanwhile and after: nothing that is counted goes down, and all of it is there in the end."""
    snapshots = [pump.statistics()]
    expected = 0
    for _ in range(5):
        server, client = channels(pump, "PULL", "PUSH", recv_maxsize=2, overflow="drop_oldest")
        for _ in range(10):
            client.put(b"abc")
        expected += 10
        wait_for(lambda server=server: server.statistics().dropped == 8)
        wait_for(lambda server=server: server.statistics().waiting == 2)
        assert drained(server) == [b"abc"] * 2
        with pytest.raises(Empty):
            server.get(timeout=0.001)
        snapshots.append(pump.statistics())
        closing = [gevent.spawn(channel.close) for channel in (client, server)]
        while not all(greenlet.ready() for greenlet in closing):
            snapshots.append(pump.statistics())
            gevent.sleep(0)
        snapshots.append(pump.statistics())
    for earlier, later in itertools.pairwise(snapshots):
        before, after = counts_of(earlier), counts_of(later)
        assert [name for name in before if after[name] < before[name]] == []
    last = snapshots[-1]
    assert (last.channels, last.sent, last.received, last.sent_bytes) == (0, expected, expected, 3 * expected)
    assert (last.dropped, dict(last.drops), last.get_waits) == (40, {"drop_oldest": 40}, 5)
    assert (last.pending, last.waiting) == (0, 0)


def test_times_add_up_in_any_order(pump):
    """Or the sum would go down, by its last bit, when channels close in another order than they were made."""
    one = stuck(pump).statistics()
    parts = [one._replace(put_wait_seconds=seconds) for seconds in (0.1, 0.2, 0.3, 1e7, 3e-9)]
    totals = set()
    for order in itertools.permutations(parts):
        total = sums.NOTHING
        for part in order:
            total = sums.add(total, [part])
        totals.add(sums.finish(total).put_wait_seconds)
    assert totals == {10000000.600000003}


def test_a_thread_never_sees_the_pump_count_down(pump):
    """Snapshots from another thread while channels open and close on the hub's."""
    done = []
    gate = Gate()

    def look():
        last, falls, looks = counts_of(pump.statistics()), [], 0
        gate.open()
        while not done:
            now = counts_of(pump.statistics())
            falls += [name for name in last if now[name] < last[name]]
            last = now
            looks += 1
        return falls, looks

    with real_threads(1) as spawn:
        result = spawn(look)
        gate.wait()
        for _ in range(30):
            server, client = channels(pump, "PULL", "PUSH")
            client.put("x")
            server.get()
            client.close()
            server.close()
        done.append(True)
        falls, looks = result.get()
    assert falls == []
    assert looks > 0
    assert pump.statistics().sent == pump.statistics().received == 30


def test_requests_that_take_the_place_of_lost_ones(pump):
    """The command that sends them is counted as any send, bytes included."""
    router = Channel("ROUTER", bind=inproc(), pump=pump)
    client = Channel("REQ", connect=router.last_endpoint, pump=pump)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            client.request(b"12345", timeout=0.01)
    assert client.statistics().sent == 3
    assert client.statistics().sent_bytes == 15


def test_a_publisher_received_nothing(pump):
    """Its socket is told of subscriptions; they are not the user's."""
    pub = Channel("PUB", bind=inproc(), pump=pump)
    sub = Channel("SUB", connect=pub.last_endpoint, pump=pump)
    sub.subscribe("")
    assert pub.wait_subscriber(timeout=LIMIT)
    statistics = pub.statistics()
    assert (statistics.received, statistics.received_bytes, statistics.peak_waiting, statistics.receive_turns) == (
        0, 0, 0, 0,
    )  # fmt: skip
