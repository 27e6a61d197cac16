"""Proxy: libzmq's own, in a thread of its own. Messages pass, wait, are counted; it ends in time, whatever happens."""

import errno
import logging
import os
import signal
import struct
import textwrap
import time

import gevent
import pytest
import zmq
from programs import Program
from support import ANY, LIMIT, finish, outcome, real_threads, run, script, wait_for

import zgreen
from zgreen._engine import _proxy
from zgreen.patterns import proxy as module
from zgreen.patterns._steering import Steering

NUMBER = 200  # messages


def text(number, length=100):
    return [b"%d" % i + bytes(length) for i in range(number)]


@pytest.fixture
def proxy(request, pump):
    """A started proxy; *request.param* is its type."""
    with zgreen.Proxy(ANY, ANY, request.param, pump=pump) as made:
        yield made


streamer = pytest.mark.parametrize("proxy", ["streamer"], indirect=True)
every_type = pytest.mark.parametrize("proxy", list(module.TYPES), indirect=True)


def channel(proxy, kind, side, **options):
    return zgreen.Channel(kind, connect=getattr(proxy, side), pump=proxy._pump, **options)


def get_all(from_, number):
    return [from_.get(timeout=LIMIT) for _ in range(number)]


def subscribed(publisher, *topics):
    """Wait until subscriptions have come to an XPUB channel."""
    assert {publisher.get(timeout=LIMIT) for _ in topics} == {b"\x01" + topic for topic in topics}


# ---------------------------------------------------------------------- messages pass


@streamer
def test_a_streamer_passes_all_and_counts_it(proxy):
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
    sent = text(NUMBER)
    for message in sent:
        push.put(message)
    assert get_all(pull, NUMBER) == sent
    size = sum(map(len, sent))
    assert proxy.statistics(LIMIT) == zgreen.ProxyStatistics(NUMBER, size, 0, 0, 0, 0, NUMBER, size)


@streamer
def test_a_streamer_shares_messages_between_those_who_pull(proxy):
    push = channel(proxy, zmq.PUSH, "frontend")
    pulls = [channel(proxy, zmq.PULL, "backend") for _ in range(2)]
    got = []
    for pull in pulls:
        gevent.spawn(lambda pull=pull: got.extend((pull, message) for message in pull))
    while len({pull for pull, _ in got}) < 2:  # one may be connected before the other
        push.put("again")
        gevent.sleep(0)


@streamer
def test_a_message_of_many_frames_stays_whole_and_each_frame_is_counted(proxy):
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
    push.put(["a", b"", "ccc"])
    assert pull.get(timeout=LIMIT) == [b"a", b"", b"ccc"]
    assert proxy.statistics(LIMIT)[:2] == (3, 4)


@pytest.mark.parametrize("proxy", ["queue"], indirect=True)
def test_a_queue_brings_each_reply_to_who_asked(proxy):
    clients = [zgreen.Requester(connect=proxy.frontend, pump=proxy._pump) for _ in range(2)]
    servers = [zgreen.serve(channel(proxy, zmq.REP, "backend"), lambda request: b"re " + request) for _ in range(3)]
    asked = [(i, clients[i % 2].submit(f"{i}")) for i in range(NUMBER)]
    assert [result.get(timeout=LIMIT) for _, result in asked] == [b"re %d" % i for i, _ in asked]
    counts = proxy.statistics(LIMIT)
    # id of the client, id of the request, empty frame, text: the ROUTER counts what is really there
    assert counts.frontend_received == counts.backend_sent == counts.backend_received == counts.frontend_sent
    assert counts.frontend_received == 4 * NUMBER
    assert counts.frontend_sent_bytes == counts.backend_received_bytes
    assert counts.backend_received_bytes - counts.frontend_received_bytes == len(b"re ") * NUMBER
    for client in clients:
        client.close()
    for server in servers:
        server.stop()


@pytest.mark.parametrize("proxy", ["forwarder"], indirect=True)
def test_a_forwarder_brings_topics_to_those_who_want_them(proxy):
    publishers = [channel(proxy, zmq.XPUB, "frontend") for _ in range(2)]
    fans = {topic: zgreen.Fanout(channel(proxy, zmq.SUB, "backend")) for topic in (b"a", b"b")}
    inboxes = {topic: fan.subscribe(topic, maxsize=None) for topic, fan in fans.items()}
    for publisher in publishers:
        subscribed(publisher, b"a", b"b")
    before = proxy.statistics(LIMIT)
    assert (before.backend_received, before.frontend_sent) == (2, 2)  # the subscriptions
    for i in range(NUMBER):
        publishers[i % 2].put(f"{'abc'[i % 3]}{i}")
    for topic, inbox in inboxes.items():
        wanted = {b"%c%d" % (b"abc"[i % 3], i) for i in range(NUMBER)} & {topic + b"%d" % i for i in range(NUMBER)}
        assert {inbox.get(timeout=LIMIT) for _ in wanted} == wanted
    passed = NUMBER - len(range(2, NUMBER, 3))  # what nobody wants does not even come
    assert proxy.statistics(LIMIT).frontend_received == passed
    for fan in fans.values():
        fan.close()


def test_a_capture_gets_a_copy_of_what_passes(pump):
    with zgreen.Proxy(ANY, ANY, "streamer", capture=ANY, pump=pump) as proxy:
        spy = channel(proxy, zmq.SUB, "capture")
        spy.subscribe("")
        push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
        with gevent.Timeout(LIMIT):  # the subscription takes a moment
            while not spy.statistics().received:
                push.put("one")
                assert pull.get(timeout=LIMIT) == b"one"
        assert spy.get(timeout=LIMIT) == b"one"


def test_options_and_connections_of_each_side(pump):
    """A second proxy that is connected to the first, and binds nothing."""
    options = {zmq.RCVHWM: 7}
    with (
        zgreen.Proxy(ANY, [ANY, ANY], "streamer", frontend_options=options, pump=pump) as first,
        zgreen.Proxy(None, ANY, "streamer", frontend_connect=first.backend[1], pump=pump) as second,
    ):
        assert len(first.backend) == 2
        assert second.frontend == (first.backend[1],)
        push, pull = channel(first, zmq.PUSH, "frontend"), channel(second, zmq.PULL, "backend")
        push.put("far")
        assert pull.get(timeout=LIMIT) == b"far"


# ---------------------------------------------------------------------- pause and resume


def pauses_and_passes(proxy, put, get):
    """All that is put in a pause waits, and then passes, in order, twice."""
    for lap in range(2):
        counts = proxy.statistics(LIMIT)
        proxy.pause(LIMIT)
        assert proxy.paused
        for i in range(NUMBER):
            put(b"%d %d" % (lap, i))
        wait_for(lambda: put.__self__.flush(LIMIT), "libzmq to have them all")
        assert proxy.statistics(LIMIT) == counts
        proxy.resume()
        assert not proxy.paused
        assert [get(timeout=LIMIT) for _ in range(NUMBER)] == [b"%d %d" % (lap, i) for i in range(NUMBER)]


@streamer
def test_messages_wait_in_a_pause_and_then_pass(proxy):
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
    push.put("first")
    assert pull.get(timeout=LIMIT) == b"first"
    pauses_and_passes(proxy, push.put, pull.get)
    assert proxy.statistics(LIMIT).frontend_received == 2 * NUMBER + 1, "a pause forgets no counts"


@pytest.mark.parametrize("proxy", ["queue"], indirect=True)
def test_requests_wait_in_a_pause_and_are_then_answered(proxy):
    client = zgreen.Requester(connect=proxy.frontend, pump=proxy._pump)
    server = zgreen.serve(channel(proxy, zmq.REP, "backend"), lambda request: request)
    assert client.request("first", LIMIT) == b"first"
    proxy.pause(LIMIT)
    results = [client.submit(f"{i}") for i in range(NUMBER)]
    client.channel.flush(LIMIT)
    assert server.statistics().requests == 1
    proxy.resume()
    assert [result.get(timeout=LIMIT) for result in results] == [b"%d" % i for i in range(NUMBER)]
    client.close()
    server.stop()


@streamer
def test_a_pause_with_messages_that_wait_costs_no_processor_time(proxy):
    """libzmq's own pause uses all of a core from the first message on."""
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
    push.put("first")
    assert pull.get(timeout=LIMIT) == b"first"
    proxy.pause(LIMIT)
    for message in text(NUMBER):
        push.put(message)
    push.flush(LIMIT)
    with real_threads(1) as spawn:  # wall time passes, nobody here does anything
        before = time.process_time()
        spawn(module.monkey.get_original("time", "sleep"), 0.5).get(timeout=LIMIT)
        assert time.process_time() - before < 0.4


@streamer
def test_pauses_and_resumes_from_many_greenlets(proxy):
    """In whatever order, and whoever is killed meanwhile: the last one counts, and nothing is lost or doubled."""
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
    for i in range(NUMBER):
        push.put(f"{i}")
        worker = gevent.spawn([proxy.pause, proxy.resume, proxy.statistics][i % 3])
        if i % 5 == 0:
            gevent.sleep(0)
            worker.kill()
    proxy.resume()
    assert get_all(pull, NUMBER) == [b"%d" % i for i in range(NUMBER)]
    counts = proxy.statistics(LIMIT)
    assert (counts.frontend_received, counts.backend_sent) == (NUMBER, NUMBER)


@every_type
def test_pausing_and_resuming_twice_is_once(proxy):
    for _ in range(2):
        proxy.pause(LIMIT)
        proxy.pause(LIMIT)
        assert proxy.statistics(LIMIT) == (0,) * 8
        proxy.resume()
        proxy.resume()
        assert proxy.statistics(LIMIT) == (0,) * 8


@streamer
def test_who_pauses_while_another_does_waits_too(proxy):
    first = gevent.spawn(proxy.pause)
    gevent.sleep(0)
    assert proxy.paused
    assert not first.ready()
    proxy.pause(LIMIT)
    assert first.ready()


def test_which_of_libzmqs_commands_pauses_is_found_out():
    """The release 4.3.5 has PAUSE and RESUME the wrong way round."""
    word = _proxy.word_that_pauses()
    assert word in (b"PAUSE", b"RESUME")
    context = zmq.Context()
    kinds = [zmq.PULL, zmq.PUSH, zmq.PAIR, zmq.PUSH, zmq.PULL, zmq.PAIR]
    frontend, backend, control, push, pull, commands = sockets = [context.socket(kind) for kind in kinds]
    for i in range(3):
        sockets[i].bind(f"inproc://{i}")
        sockets[i + 3].connect(f"inproc://{i}")
    push.send(b"waits")
    for command in (word, b"STATISTICS", b"TERMINATE"):
        commands.send(command)
    zmq.proxy_steerable(frontend, backend, None, control)
    assert not pull.poll(0)
    assert frontend.recv() == b"waits"
    context.destroy(linger=0)


# ---------------------------------------------------------------------- the end


@every_type
def test_the_end(proxy):
    """close() twice, under both names: the addresses are free, the last counts stay, all else is refused."""
    frontend, backend = proxy.frontend, proxy.backend
    proxy.close(LIMIT)
    proxy.terminate(LIMIT)
    proxy.close()
    assert proxy.closed
    assert proxy.join(0)
    assert proxy.statistics() == (0,) * 8
    for use in (proxy.start, proxy.pause, proxy.resume):
        assert isinstance(outcome(use), zgreen.ClosedError)
    with zgreen.Proxy(frontend, backend, proxy.type, pump=proxy._pump) as again:
        assert (again.frontend, again.backend) == (frontend, backend)


@streamer
def test_what_has_passed_is_still_sent_when_it_ends(proxy):
    """It is in the queues of the backend then; and all of it is in the last counts."""
    push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend", recv_maxsize=None)
    for message in text(NUMBER, 10_000):
        push.put(message)
    wait_for(lambda: proxy.statistics(LIMIT).backend_sent == NUMBER, "all to have passed")
    proxy.close(LIMIT)
    assert get_all(pull, NUMBER) == text(NUMBER, 10_000)
    assert proxy.statistics().backend_sent == NUMBER


@streamer
def test_a_paused_proxy_ends(proxy):
    proxy.pause(LIMIT)
    proxy.close(LIMIT)
    assert proxy.join(0)


def clogged(pump):
    """A streamer whose thread waits for a peer that takes no more: libzmq's loop does not look at commands then."""
    options = {zmq.SNDHWM: 1, zmq.SNDBUF: 20_000, zmq.LINGER: 0}  # SNDBUF: the kernel's buffers are not to grow
    proxy = zgreen.Proxy(ANY, ANY, "streamer", backend_options=options, pump=pump).start()
    push = channel(proxy, zmq.PUSH, "frontend")
    pull = channel(proxy, zmq.PULL, "backend", recv_maxsize=1, options={zmq.RCVHWM: 1, zmq.RCVBUF: 20_000})
    push.put("first")
    assert pull.get(timeout=LIMIT) == b"first"
    filler = gevent.spawn(lambda: [push.put(message) for message in text(2000, 50_000)])
    silences = 0  # in a row: a slow machine may keep it silent for once
    with gevent.Timeout(LIMIT):
        while silences < 3:
            silences = silences + 1 if isinstance(outcome(proxy.statistics, 0.2), TimeoutError) else 0
    return proxy, filler


def test_a_proxy_that_does_not_hear_is_made_to_end(pump, caplog):
    proxy, filler = clogged(pump)
    with pytest.raises(TimeoutError, match="slow"):
        proxy.pause(0.01)
    with caplog.at_level(logging.WARNING, "zgreen"):
        proxy.close(LIMIT)
    assert "did not hear" in caplog.text
    assert proxy.join(0)
    assert isinstance(outcome(proxy.statistics), zgreen.ClosedError), "the last counts are not known"
    filler.kill()


def test_commands_that_a_slow_peer_kept_waiting_are_carried_out(pump):
    """All of them, in order, when the peer takes messages again."""
    proxy, filler = clogged(pump)
    pull = next(c for c in pump.channels if c.getsockopt(zmq.TYPE) == zmq.PULL)
    for _ in range(2):
        assert isinstance(outcome(proxy.pause, 0.01), TimeoutError), "whoever comes second does not know better"
    reader = gevent.spawn(lambda: [len(m) for m in pull])
    assert proxy.statistics(LIMIT).frontend_received > 1
    proxy.resume()
    filler.join(LIMIT)
    assert filler.successful()
    wait_for(lambda: proxy.statistics(LIMIT).backend_sent == 2001, "all to have passed")
    wait_for(lambda: pull.statistics().received == 2001, "all to have come")
    pull.close(linger=0)
    reader.join(LIMIT)


def test_close_takes_no_longer_than_it_may(pump, caplog):
    """What has passed and is not sent keeps the thread, not the caller; when a peer comes at last it gets it all."""
    with zgreen.Channel(zmq.PULL, bind=ANY, pump=pump) as holder:
        late = holder.last_endpoint  # free from here on, and nobody's
    proxy = zgreen.Proxy(
        ANY, None, "streamer", backend_connect=late, backend_options={zmq.LINGER: -1}, pump=pump
    ).start()
    push = channel(proxy, zmq.PUSH, "frontend")
    for i in range(10):
        push.put(f"{i}")
    wait_for(lambda: proxy.statistics(LIMIT).backend_sent == 10, "all to have passed")
    with caplog.at_level(logging.ERROR, "zgreen"):
        proxy.close(0.1)
    assert "did not end in time" in caplog.text
    assert not proxy.join(0)
    pull = zgreen.Channel(zmq.PULL, bind=late, pump=pump)
    assert get_all(pull, 10) == [b"%d" % i for i in range(10)]
    assert proxy.join(LIMIT)
    assert proxy.statistics().backend_sent == 10


def test_it_ends_with_its_pump():
    pump = zgreen.Pump("its own")
    proxy = zgreen.Proxy(ANY, ANY, "queue", pump=pump).start()
    waiting = gevent.spawn(proxy.join)
    pump.shutdown(timeout=LIMIT)
    waiting.join(LIMIT)
    assert waiting.value is True
    with pytest.raises(zgreen.ClosedError, match="its own"):
        proxy.statistics()
    proxy.close()


def test_a_context_that_outlives_the_pump_does_not_keep_it():
    """Many times: libzmq may be in the middle of an answer to a command, and would wait for who is to get it."""
    for _ in range(30):
        context = zmq.Context()
        pump = zgreen.Pump("guest", context=context)
        proxy = zgreen.Proxy(ANY, ANY, "queue", pump=pump).start()
        proxy.pause(LIMIT)
        pump.shutdown(timeout=LIMIT)
        assert proxy.join(LIMIT)
        assert isinstance(proxy.error(), zgreen.ClosedError)
        context.term()


def test_a_proxy_that_ends_by_an_error_says_so(monkeypatch, pump, caplog):
    def fails(*sockets):
        raise zmq.ZMQError(zmq.EFSM)

    monkeypatch.setattr(_proxy, "word_that_pauses", lambda: b"PAUSE")
    monkeypatch.setattr(zmq, "proxy_steerable", fails)
    with caplog.at_level(logging.ERROR, "zgreen"), zgreen.Proxy(ANY, ANY, pump=pump) as proxy:
        assert proxy.join(LIMIT)
        with pytest.raises(zgreen.BrokenError) as info:
            proxy.statistics()
        assert info.value.__cause__.errno == zmq.EFSM
        assert isinstance(proxy.error(), zgreen.BrokenError)
    assert "has ended by an error" in caplog.text


def test_a_greenlet_that_is_killed_while_it_starts_a_proxy_leaves_nothing_behind(pump):
    for _ in range(10):
        proxy = zgreen.Proxy(ANY, ANY, pump=pump)
        starter = gevent.spawn(proxy.start)
        gevent.sleep(0)
        starter.kill()
        proxy.close(LIMIT)
        assert proxy.join(LIMIT)
        assert not pump.channels


def test_closed_by_another_greenlet_while_it_starts(pump):
    """In the first moment, when there is no thread yet: none begins, and it is a closed proxy like any other."""
    proxy = zgreen.Proxy(ANY, ANY, pump=pump)
    starter = gevent.spawn(outcome, proxy.start)
    gevent.sleep(0)
    assert proxy._proxying is None
    proxy.close(LIMIT)
    assert proxy.join(0)
    assert isinstance(starter.get(timeout=LIMIT), zgreen.ClosedError)
    for use in (proxy.start, proxy.pause, proxy.statistics):
        with pytest.raises(zgreen.ClosedError, match="was closed"):
            use()
    assert proxy._pool is None
    assert not pump.channels


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("error", "match", "args", "options"),
    [
        (ValueError, "forwarder, queue, streamer", (ANY, ANY, "broker"), {}),
        (TypeError, "type must be a str, not int", (ANY, ANY, 3), {}),
        (ValueError, "frontend has no endpoint", (None, ANY), {}),
        (ValueError, "backend has no endpoint", (ANY, []), {}),
        (ValueError, "capture has no endpoint", (ANY, ANY), {"capture": []}),
        (TypeError, "frontend must be", (5559, ANY), {}),
        (TypeError, "backend must be", (ANY, [5559]), {}),
        (TypeError, "backend_connect must be", (ANY, ANY), {"backend_connect": 1}),
        (TypeError, "frontend: .*options", (ANY, ANY), {"frontend_options": [1]}),
        (TypeError, "backend: .*option", (ANY, ANY), {"backend_options": {"SNDHWM": 1}}),
        (TypeError, "pump must be", (ANY, ANY), {"pump": zmq}),
    ],
)
def test_bad_arguments_are_refused_at_the_call(error, match, args, options):
    with pytest.raises(error, match=match):
        zgreen.Proxy(*args, **options)


def bind_errors(pump):
    taken = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump).last_endpoint
    return {
        taken: {zmq.EADDRINUSE},
        "tcp://192.0.2.1:5559": {errno.ENODEV, errno.EADDRNOTAVAIL},  # not of this machine
        "nonsense": {zmq.EINVAL},
        "nosuch://x": {zmq.EPROTONOSUPPORT},
    }


@pytest.mark.parametrize("side", ["frontend", "backend", "capture"])
def test_an_endpoint_that_cannot_be_bound_is_named(pump, side):
    for endpoint, errnos in bind_errors(pump).items():
        places = {"frontend": ANY, "backend": ANY, side: endpoint}
        proxy = zgreen.Proxy(**places, pump=pump)
        with pytest.raises(zmq.ZMQError) as info:
            proxy.start()
        assert endpoint in str(info.value)
        assert info.value.errno in errnos
        assert proxy.closed
        assert proxy.join(LIMIT)
        with pytest.raises(zgreen.BrokenError):
            proxy.start()
        proxy.close()
    with zgreen.Proxy(ANY, ANY, pump=pump):
        pass  # and the next one is none the worse


def test_an_option_that_is_refused_is_named(pump):
    proxy = zgreen.Proxy(ANY, ANY, frontend_options={zmq.RCVHWM: -5}, pump=pump)
    with pytest.raises(zmq.ZMQError, match="RCVHWM"):
        proxy.start()


def test_a_proxy_that_was_not_started(pump):
    proxy = zgreen.Proxy(ANY, ANY, pump=pump)
    assert not proxy.closed
    for use in (proxy.pause, proxy.resume, proxy.statistics, proxy.join):
        with pytest.raises(zgreen.ClosedError, match="not started"):
            use()
    proxy.close()
    assert proxy.closed
    assert proxy.join(0)
    with pytest.raises(zgreen.ClosedError):
        proxy.start()


@streamer
@pytest.mark.parametrize("use", ["pause", "statistics", "join", "close", "terminate"])
def test_times_are_checked(proxy, use):
    with pytest.raises(ValueError, match="timeout"):
        getattr(proxy, use)(-1)
    with pytest.raises(TypeError, match="timeout"):
        getattr(proxy, use)("1")


@streamer
def test_another_thread_is_told_to_keep_away(proxy):
    with real_threads(1) as spawn:
        for use in (proxy.start, proxy.pause, proxy.resume, proxy.statistics, proxy.join, proxy.close):
            assert isinstance(spawn(outcome, use).get(timeout=LIMIT), RuntimeError)


def test_a_libzmq_without_statistics_is_refused_at_the_call(monkeypatch):
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 2, 5))
    with pytest.raises(NotImplementedError, match=r"4\.2\.5 knows no STATISTICS"):
        zgreen.Proxy(ANY, ANY)


def test_the_counts_are_64_bit_numbers(pump):
    steering = Steering(pump, "inproc://proxy", module.AsyncResult())
    result = steering.ask()
    steering._take([struct.pack("=Q", 2**63 + i) for i in range(8)])
    assert result.get() == tuple(2**63 + i for i in range(8))


# ---------------------------------------------------------------------- exit and fork

PREAMBLE = """
    import os, sys, time
    import gevent, zmq
    from gevent import monkey
    import zgreen
    ANY = "tcp://127.0.0.1:*"
"""


def program(code):
    return textwrap.dedent(PREAMBLE) + textwrap.dedent(code)


EXITS = {
    "running": "",
    "paused": "proxy.pause()",
    "messages_that_wait": "proxy.pause(); [push.put(str(i)) for i in range(100)]; push.flush()",
    "somebody_waits": "gevent.spawn(proxy.join); gevent.sleep(0)",
    "never_started": "zgreen.Proxy(ANY, ANY)",
    "sys_exit": "sys.exit(0)",
    "pump_is_shut_down": "proxy._pump.shutdown()",
    "of_a_pump_of_its_own": "zgreen.Proxy(ANY, ANY, pump=zgreen.Pump()).start()",
}


@pytest.mark.parametrize("how", EXITS)
def test_a_process_with_a_live_proxy_exits_in_silence(how):
    code = program("""
        proxy = zgreen.Proxy(ANY, ANY, "streamer").start()
        push = zgreen.Channel(zmq.PUSH, connect=proxy.frontend)
        pull = zgreen.Channel(zmq.PULL, connect=proxy.backend)
        push.put("one")
        assert pull.get() == b"one"
    """)
    assert run(code + EXITS[how], env_warnings="default") == (0, "", "")


def test_a_process_exits_though_its_proxy_waits_for_a_slow_peer():
    code = program("""
        proxy = zgreen.Proxy(ANY, ANY, "streamer", backend_options={zmq.SNDHWM: 1}).start()
        push = zgreen.Channel(zmq.PUSH, connect=proxy.frontend, options={zmq.LINGER: 0})
        pull = zgreen.Channel(zmq.PULL, connect=proxy.backend, recv_maxsize=1, options={zmq.RCVHWM: 1})
        gevent.spawn(lambda: [push.put(bytes(50_000)) for _ in range(2000)])
        while True:
            try:
                proxy.statistics(0.3)
            except TimeoutError:
                break
        print("stuck")
    """)
    status, out, _ = run(code)
    assert (status, out) == (0, "stuck\n")


def test_exit_does_not_wait_for_ever_and_says_so():
    code = program("""
        nowhere = zgreen.Channel(zmq.PULL, bind=ANY)
        nowhere.close()
        proxy = zgreen.Proxy(
            ANY, None, "streamer", backend_connect=nowhere.last_endpoint, backend_options={zmq.LINGER: -1}
        ).start()
        push = zgreen.Channel(zmq.PUSH, connect=proxy.frontend)
        push.put("one")
        while not proxy.statistics().backend_sent:
            gevent.sleep(0.001)
    """)
    status, _, err = run(code)
    assert status == 0
    assert "not all that has passed was sent" in err


def test_what_has_passed_is_sent_when_the_process_exits(pump):
    code = program("""
        proxy = zgreen.Proxy(ANY, sys.argv[1], "streamer", backend_connect=None).start()
        push = zgreen.Channel(zmq.PUSH, connect=proxy.frontend)
        print(*proxy.backend)
        for i in range(200):
            push.put(bytes(10_000))
        while proxy.statistics().backend_sent < 200:
            gevent.sleep(0.001)
    """)
    process = script(code, ANY)
    pull = zgreen.Channel(zmq.PULL, connect=process.stdout.readline().strip(), pump=pump)
    assert [len(message) for message in get_all(pull, 200)] == [10_000] * 200
    assert finish(process) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("way", ["plain", "gevent"])
def test_fork(way):
    """The child is told at once, whoever waits there too; it can have a proxy of its own; the parent's goes on."""
    code = program("""
        import gevent.os
        fork = gevent.os.fork if sys.argv[1] == "gevent" else monkey.get_original("os", "fork")
        waitpid = gevent.os.waitpid if sys.argv[1] == "gevent" else monkey.get_original("os", "waitpid")
        proxy = zgreen.Proxy(ANY, ANY, "streamer").start()
        late = zgreen.Proxy(ANY, ANY, "streamer")

        def what(function, *args):
            try:
                with gevent.Timeout(20, TimeoutError):
                    return repr(function(*args))
            except Exception as error:
                return type(error).__name__

        def through(proxy):
            pump = zgreen.get_pump()
            push = zgreen.Channel(zmq.PUSH, connect=proxy.frontend, pump=pump)
            pull = zgreen.Channel(zmq.PULL, connect=proxy.backend, pump=pump)
            push.put("one")
            return pull.get(timeout=20)

        waiting = gevent.spawn(what, proxy.join)
        gevent.sleep(0)
        if sys.argv[1] == "gevent":
            gevent.get_hub().loop.install_sigchld()  # as support.PATCH_ALL
        pid = fork()
        if not pid:
            uses = [proxy.start, proxy.pause, proxy.resume, proxy.statistics, proxy.close, proxy.join]
            uses += [late.start, late.join]
            print({what(use) for use in uses}, proxy.closed, waiting.get(timeout=20))
            with zgreen.Proxy(ANY, ANY, "streamer") as own:
                print(through(own))
            zgreen.Proxy(ANY, ANY).start()  # a live one at exit
            sys.stdout.flush()
            sys.exit(0)
        with gevent.Timeout(20):
            while True:
                done, status = waitpid(pid, os.WNOHANG)
                if done:
                    break
                gevent.sleep(0.005)
        print(status, through(proxy), waiting.ready())
    """)
    status, out, err = run(code, way, env_warnings="default,ignore::DeprecationWarning")
    assert (status, err) == (0, ""), out
    assert out.splitlines() == ["{'ForkedError'} True ForkedError", "b'one'", "0 b'one' False"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals go to threads")
def test_a_signal_does_not_start_libzmqs_loop_again(monkeypatch, pump):
    """That would set all counts to zero, and end a pause."""
    threads = []

    def block():
        threads.append(module.monkey.get_original("_thread", "get_ident")())
        original()

    original = module._block_signals
    monkeypatch.setattr(module, "_block_signals", block)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with zgreen.Proxy(ANY, ANY, "streamer", pump=pump) as proxy:
            push, pull = channel(proxy, zmq.PUSH, "frontend"), channel(proxy, zmq.PULL, "backend")
            for i in range(20):
                push.put(f"{i}")
                assert pull.get(timeout=LIMIT) == b"%d" % i
                signal.pthread_kill(threads[0], signal.SIGUSR1)
            assert proxy.statistics(LIMIT).frontend_received == 20
    finally:
        signal.signal(signal.SIGUSR1, before)


# ---------------------------------------------------------------------- the command line

COMMAND = ("-m", "zgreen", "proxy")


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", list(module.TYPES))
def test_the_command_passes_messages_until_it_is_told_to_end(kind, number, pump):
    with Program(*COMMAND, "--frontend", ANY, "--backend", ANY, "--type", kind) as process:
        words = process.line_with(f"{kind}: frontend").replace(",", "").split()
        frontend, backend = words[2], words[4]
        if kind == "streamer":
            push = zgreen.Channel(zmq.PUSH, connect=frontend, pump=pump)
            pull = zgreen.Channel(zmq.PULL, connect=backend, pump=pump)
            push.put("hello")
            assert pull.get(timeout=LIMIT) == b"hello"
        process.signal(number)
        assert process.end() == 0, process.output
        counts = dict(word.split("=") for word in process.lines[-1].removeprefix("statistics: ").split())
        assert tuple(counts) == zgreen.ProxyStatistics._fields
        assert counts["frontend_received"] == counts["backend_sent"] == ("1" if kind == "streamer" else "0")
        assert len(process.lines) == 2, process.output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--frontend", "tcp://nonsense", "--backend", ANY), 1, "proxy: tcp://nonsense: Invalid argument"),
        (("--frontend", ANY, "--backend", "nosuch://x"), 2, "nosuch://x"),
        (("--frontend", ANY, "--backend", ANY, "--type", "broker"), 2, "broker"),
        (("--frontend", ANY), 2, "--backend"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, status, says):
    with Program(*COMMAND, *arguments) as process:
        assert process.end() == status, process.output
        assert says in process.output
        assert "Traceback" not in process.output
