"""Pump.on_event: what it sees, in which order, by whom it is called, and that nobody pays for it who does not ask."""

import logging
import os
import time

import gevent
import pytest
import zmq
from gevent.queue import Empty, Full, Queue
from support import (
    ANY,
    LIMIT,
    Gate,
    block_hub_until,
    channels,
    drained,
    inproc,
    outcome,
    raw_socket,
    real_threads,
    run,
    wait_for,
)

import zgreen
from zgreen import Channel, Event
from zgreen._hub import tracer as tracer_module


@pytest.fixture
def events(pump):
    """All events of the pump from now on."""
    seen = []
    pump.on_event = seen.append
    return seen


def of(events, channel, *kinds):
    return [event for event in events if event.channel is channel and event.kind in kinds]


def wait_for_events(events, channel, kind, messages):
    """Until so many messages have had that event; the events."""
    wait_for(lambda: sum(e.messages for e in of(events, channel, kind)) >= messages, f"{messages} times {kind}")
    return of(events, channel, kind)


def test_the_way_of_a_message(pump, events):
    """put and sent here, received and got there; each with its size, in order."""
    server, client = channels(pump, "PULL", "PUSH")
    began = time.monotonic()
    client.put([b"abc", b"de"])
    assert server.get() == [b"abc", b"de"]
    ended = time.monotonic()
    wait_for_events(events, client, "sent", 1)
    wait_for_events(events, server, "got", 1)
    assert [event._replace(time=0) for event in of(events, client, "put", "sent", "received", "got")] == [
        Event("put", client, 5, 2, 0),
        Event("sent", client, 5, 2, 0),
    ]
    assert [event._replace(time=0) for event in of(events, server, "put", "sent", "received", "got")] == [
        Event("received", server, 5, None, 0, 1),
        Event("got", server, 5, 2, 0),
    ]
    [put], [sent] = of(events, client, "put"), of(events, client, "sent")
    [received], [got] = of(events, server, "received"), of(events, server, "got")
    assert began <= put.time <= sent.time
    assert put.time <= received.time <= got.time <= ended


def test_it_is_called_in_a_greenlet_that_may_wait(pump):
    """Not in the greenlet that puts, nor within its put, and not in the hub itself."""
    callers = []

    def callback(event):
        gevent.sleep(0)
        callers.append(gevent.getcurrent())

    pump.on_event = callback
    server, client = channels(pump, "PULL", "PUSH")
    client.put("x")
    assert callers == []
    server.get()
    wait_for(lambda: len(callers) == 4)
    assert not {gevent.getcurrent(), pump._thread.link.hub} & set(callers)


def test_a_callback_that_raises(pump, caplog):
    """It is logged; the messages and the next events are not touched by it."""
    seen = []

    def failing(event):
        seen.append(event)
        raise RuntimeError("a fault of the user's")

    pump.on_event = failing
    server, client = channels(pump, "PULL", "PUSH")
    with caplog.at_level(logging.ERROR, "zgreen"):
        for i in range(3):
            client.put(b"%d" % i)
        assert [server.get() for _ in range(3)] == [b"0", b"1", b"2"]
        wait_for_events(seen, client, "sent", 3)
        wait_for_events(seen, server, "got", 3)
    assert caplog.text.count("on_event has failed") == len(seen)
    assert "a fault of the user's" in caplog.text


def test_a_callback_that_raises_no_exception(pump, hub_errors):
    """A BaseException is the hub's affair, as of any callback of its; the next events come."""
    seen = []

    def leaving(event):
        seen.append(event)
        if len(seen) == 1:
            raise GeneratorExit("a test")

    pump.on_event = leaving
    client = Channel("PUSH", pump=pump)
    client.put("x")
    client.put("y")
    wait_for(lambda: len(seen) == 2)
    [(context, error)] = hub_errors
    hub_errors.clear()
    assert context is leaving
    assert isinstance(error, GeneratorExit)


def test_off_by_default_and_free(pump):
    """The queues and the short way of a channel are the plain ones before, without and after."""

    def ways(channel):
        return (
            channel._lanes.tracer is None,
            channel._lanes.pipe.direct_puts,
            channel._lanes.pipe.direct_gets,
        )

    early = Channel("PAIR", pump=pump)
    assert pump.on_event is None
    before = ways(early)
    assert before == (True, True, True)
    pump.on_event = print
    late = Channel("PAIR", pump=pump)
    assert all(a != b for a, b in zip(before, ways(early), strict=True))
    assert ways(late) == ways(early)
    pump.on_event = None
    assert ways(early) == ways(late) == before


def test_on_and_off_in_between(pump):
    """Messages under way are not lost by it, keep their order, and are told from then on."""
    seen = []
    server, client = channels(pump, "PULL", "PUSH")
    getter = gevent.spawn(lambda: [server.get() for _ in range(4)])
    wait_for(lambda: server.statistics().getters)
    client.put("0")
    pump.on_event = seen.append
    client.put("1")
    client.put("2")
    wait_for_events(seen, client, "sent", 2)
    pump.on_event = None
    client.put("3")
    assert getter.get() == [b"0", b"1", b"2", b"3"]
    assert len(of(seen, client, "put")) == 2


def test_on_again_tells_once(pump):
    """What listened before it was off does not listen any more."""
    seen = []
    server, client = channels(pump, "PULL", "PUSH")
    client.put("before it was on")
    assert server.get(timeout=LIMIT) == b"before it was on"
    for on_event in (seen.append, None, seen.append):
        pump.on_event = on_event
    client.put("0")
    wait_for_events(seen, server, "received", 1)
    assert server.get(timeout=LIMIT) == b"0"
    wait_for_events(seen, server, "got", 1)
    assert [(event.kind, event.messages) for event in of(seen, server, "received", "got")] == [
        ("received", 1),
        ("got", 1),
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_callback_that_forks():
    """The child is told nothing of what happened in the parent."""
    code = """
        import os, gevent, zgreen

        parent, told, children = os.getpid(), [], []

        def on_event(event):
            if os.getpid() != parent:
                os._exit(7)
            told.append(event.kind)
            if len(told) == 1:
                children.append(os.fork())
                if not children[0]:
                    gevent.spawn(os._exit, 0)  # when this greenlet has told what there is to be told

        pump = zgreen.Pump().start()
        pump.on_event = on_event
        channel = zgreen.Channel("PUSH", pump=pump)
        for _ in range(5):
            channel.put("x")
        while len(told) < 5:
            gevent.sleep(0.001)
        print(told, os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
        pump.shutdown(0)
    """
    status, out, err = run(code, env_warnings="ignore")
    assert (status, out) == (0, "['put', 'put', 'put', 'put', 'put'] 0\n"), err
    assert "Traceback" not in err


@pytest.mark.parametrize("before", ["never on", "on and off"])
def test_a_getter_that_waits_when_it_is_set(pump, before):
    """It is told once of what it got, and that it was received; the next ones as ever."""
    server, client = channels(pump, "PULL", "PUSH")
    if before == "on and off":
        pump.on_event = [].append
    getter = gevent.spawn(lambda: [server.get() for _ in range(2)])
    wait_for(lambda: server.statistics().getters)
    pump.on_event = None
    seen = []
    pump.on_event = seen.append
    client.put("1")
    wait_for_events(seen, server, "got", 1)  # so that the next one is not received with it
    client.put("22")
    assert getter.get() == [b"1", b"22"]
    wait_for_events(seen, server, "got", 2)
    told = [(event.kind, event.messages, event.size) for event in of(seen, server, "received", "got")]
    assert told == [("received", 1, 1), ("got", 1, 1), ("received", 1, 2), ("got", 1, 2)]


def test_a_thread_that_waits_when_it_is_set(pump):
    server, client = channels(pump, "PULL", "PUSH")
    with real_threads(1) as spawn:
        result = spawn(server.get)
        wait_for(lambda: server.statistics().getters)
        seen = []
        pump.on_event = seen.append
        client.put("1")
        assert result.get() == b"1"
    wait_for_events(seen, server, "got", 1)
    assert [event.kind for event in of(seen, server, "received", "got")] == ["received", "got"]


def test_a_putter_that_waits(pump, events):
    """Its put is told when there was room; a put that failed is not."""
    client = Channel("PUSH", pump=pump, send_maxsize=1)
    client.put("0")
    with pytest.raises(Full):
        client.put_nowait("x")
    with pytest.raises(Full):
        client.put("x", timeout=0.01)
    with pytest.raises(TypeError):
        client.put(5)
    waiting = gevent.spawn(client.put, "12345")
    wait_for(lambda: client.statistics().putters)
    assert [event.size for event in of(events, client, "put")] == [1]
    server = Channel("PULL", bind=inproc(), pump=pump)
    client.connect(server.last_endpoint)
    waiting.get()
    assert [event.size for event in wait_for_events(events, client, "put", 2)] == [1, 5]
    assert [event.size for event in wait_for_events(events, client, "sent", 2)] == [1, 5]
    with pytest.raises(Empty):
        Channel("PULL", pump=pump).get_nowait()


def test_every_kind_of_put_and_get(pump, events):
    """put_nowait, send, iteration, get_nowait, a get with timeout."""
    server, client = channels(pump, "PULL", "PUSH")
    client.put_nowait("1")
    client.send("22").get()
    client.put("333", timeout=LIMIT)
    assert next(server) == b"1"
    wait_for(lambda: server.statistics().waiting == 2)
    assert server.get_nowait() == b"22"
    assert server.get(timeout=LIMIT) == b"333"
    for channel, kinds in ((client, ("put", "sent")), (server, ("got",))):
        for kind in kinds:
            assert [event.size for event in wait_for_events(events, channel, kind, 3)] == [1, 2, 3]


def test_received_before_anybody_gets(pump, events):
    """All that came, with the size of all; nobody needs to get it."""
    server = Channel("PULL", bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=server.last_endpoint) as peer:
        for _ in range(10):
            peer.send_multipart([b"ab", b"c"])
        received = wait_for_events(events, server, "received", 10)
    assert (sum(e.messages for e in received), sum(e.size for e in received)) == (10, 30)
    assert {event.frames for event in received} == {None}
    assert of(events, server, "got") == []
    assert drained(server) == [[b"ab", b"c"]] * 10
    wait_for_events(events, server, "got", 10)
    assert sum(event.messages for event in of(events, server, "received")) == 10


def test_received_comes_before_got(pump, events):
    """Of each message, whoever gets it: greenlets that wait, and a thread."""
    server, client = channels(pump, "PULL", "PUSH")
    with real_threads(1) as spawn:
        of_thread = spawn(lambda: [server.get() for _ in range(10)])
        of_greenlet = gevent.spawn(lambda: [server.get() for _ in range(10)])
        for i in range(20):
            client.put(b"%d" % i)
        assert sorted(of_thread.get() + of_greenlet.get()) == sorted(b"%d" % i for i in range(20))
    wait_for_events(events, server, "got", 20)
    received = got = 0
    for event in of(events, server, "received", "got"):
        received += event.messages if event.kind == "received" else 0
        got += event.kind == "got"
        assert got <= received
    assert (got, received) == (20, 20)


def test_a_thread_is_not_held_up_by_a_blocked_hub(pump, events):
    """It puts and gets as ever; the hub is told when it runs again."""
    server, client = channels(pump, "PULL", "PUSH")
    gate = Gate()

    def exchange():
        for i in range(5):
            client.put(b"%d" % i)
        values = [server.get() for _ in range(5)]
        gate.open()
        return values

    with real_threads(1) as spawn:
        result = spawn(exchange)
        gate.wait()  # the hub does not run
        assert of(events, server, "got") == []
        assert result.get() == [b"0", b"1", b"2", b"3", b"4"]
    for channel, kind in ((client, "put"), (client, "sent"), (server, "received"), (server, "got")):
        wait_for_events(events, channel, kind, 5)


def test_what_libzmq_refuses(pump, events, caplog):
    """It is reported as without tracing: to send()'s result, on_error, else the log; and it was not sent."""
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    assert isinstance(outcome(router.send([b"nobody", b"1"]).get), zmq.ZMQError)
    reported = []
    router.on_error = lambda error, message: reported.append((error.errno, message))
    router.put([b"nobody", b"2"])
    wait_for(lambda: reported)
    assert reported == [(zmq.EHOSTUNREACH, [b"nobody", b"2"])]
    router.on_error = None
    with caplog.at_level(logging.WARNING, "zgreen"):
        router.put([b"nobody", b"3"])
        wait_for(lambda: "a message was not sent" in caplog.text)
    assert dict(router.statistics().refusals) == {"EHOSTUNREACH": 3}
    assert len(of(events, router, "put")) == 3
    assert of(events, router, "sent") == []


def test_what_is_left_at_a_close(pump, events):
    """As without tracing: counted, and given to on_error."""
    client = Channel("PUSH", pump=pump)
    left = []
    client.on_error = lambda error, message: left.append((type(error), message))
    client.put("x")
    client.put(["y", "z"])
    assert client.close(linger=0) == 2
    wait_for(lambda: len(left) == 2)
    assert left == [(zgreen.ClosedError, b"x"), (zgreen.ClosedError, [b"y", b"z"])]
    assert of(events, client, "sent") == []
    with pytest.raises(zgreen.ClosedError):
        client.put("late")
    assert len(of(events, client, "put")) == 2


def test_flow_control_stays(pump, events):
    """A traced channel reads no more than there is room for, and drops as it would."""
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=3)
    for i in range(9):
        client.put(b"%d" % i)
    wait_for_events(events, server, "received", 3)
    assert client.flush(LIMIT)
    assert server.statistics().waiting == server.statistics().received == 3
    assert [server.get() for _ in range(9)] == [b"%d" % i for i in range(9)]
    sliding, source = channels(pump, "PULL", "PUSH", recv_maxsize=2, overflow="drop_oldest")
    for i in range(9):
        source.put(b"%d" % i)
    wait_for(lambda: sliding.statistics().dropped == 7)
    assert drained(sliding) == [b"7", b"8"]
    assert sum(event.messages for event in wait_for_events(events, sliding, "received", 9)) == 9


def test_a_traced_greenlet_lets_others_run(pump, events):
    """Putting or getting without end, as without tracing."""
    server, client = channels(pump, "PULL", "PUSH", send_maxsize=None, recv_maxsize=None)
    ticks = []
    ticker = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0)) for _ in range(1000)])
    for _ in range(500):
        client.put("x")
    while_putting = len(ticks)
    wait_for(lambda: server.statistics().waiting == 500)
    before = len(ticks)
    for _ in range(500):
        server.get()
    assert while_putting >= 3
    assert len(ticks) >= before + 3 or ticker.ready()
    ticker.kill()


def test_requests(pump, events):
    """Those that take the place of lost ones, too."""
    router = Channel("ROUTER", bind=inproc(), pump=pump)
    client = Channel("REQ", connect=router.last_endpoint, pump=pump)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            client.request(b"12345", timeout=0.01)
    assert [event.size for event in wait_for_events(events, client, "sent", 2)] == [5, 5]
    assert len(of(events, client, "put")) == 2


def test_registered_sockets(pump, events):
    """What goes through the queues that the user brings, what a close feeds included."""
    out, in_ = Queue(), Queue()
    server = pump.register_socket(out=out, socket_type="pull", configurator=lambda s: s.bind("inproc://traced"))
    client = pump.register_socket(in_=in_, socket_type="push", configurator=lambda s: s.connect("inproc://traced"))
    in_.put("1")
    assert out.get() == b"1"
    in_.put("22")
    in_.put("333")
    client.close()
    assert [out.get(), out.get()] == [b"22", b"333"]
    assert sorted(event.size for event in wait_for_events(events, client, "put", 3)) == [1, 2, 3]
    wait_for_events(events, server, "got", 3)


def test_publishers_and_subscriptions(pump, events):
    """A PUB's subscription messages are not the user's; an XPUB's are."""
    pub = Channel("PUB", bind=inproc(), pump=pump)
    xpub = Channel("XPUB", bind=inproc(), pump=pump)
    sub = Channel("SUB", connect=[pub.last_endpoint, xpub.last_endpoint], pump=pump)
    sub.subscribe("a")
    assert pub.wait_subscriber("a", LIMIT)
    assert xpub.wait_subscriber("a", LIMIT)
    assert xpub.get() == b"\x01a"
    pub.put("ab")
    assert sub.get() == b"ab"
    wait_for_events(events, pub, "sent", 1)
    [got] = wait_for_events(events, xpub, "got", 1)
    assert (got.size, got.frames) == (2, 1)
    wait_for_events(events, xpub, "received", 1)
    assert of(events, pub, "received", "got") == []


def test_a_hub_that_does_not_run_for_long(pump, events, caplog, monkeypatch):
    """No more events wait than memory allows for; what is lost is said."""
    monkeypatch.setattr(tracer_module, "_BACKLOG", 10)
    client = Channel("PUSH", pump=pump, send_maxsize=None)
    with real_threads(1) as spawn, caplog.at_level(logging.WARNING, "zgreen"):
        put = spawn(lambda: [client.put("x") for _ in range(50)])
        block_hub_until(lambda: client.statistics().pending == 50, "the thread to have put")
        put.get()
        wait_for(lambda: "40 events were not told" in caplog.text)
        assert len(of(events, client, "put")) == 10
        client.put("y")
        wait_for_events(events, client, "put", 11)
    assert caplog.text.count("were not told") == 1


def test_what_it_does_not_take(pump):
    with pytest.raises(TypeError, match="on_event must be callable or None, not int"):
        pump.on_event = 5
    with real_threads(1) as spawn:
        error = spawn(outcome, setattr, pump, "on_event", print).get()
    assert isinstance(error, RuntimeError)
    assert pump.on_event is None
