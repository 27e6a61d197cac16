"""fork: the child knows that nothing of the parent's is its own, and the parent does not notice."""

import os
import textwrap

import pytest
import zmq
from support import ANY, PATCHED, TESTS, endpoint_of, finish, raw_socket, script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# How the process forks: as C does, with gevent told of it, under monkey.patch_all().
WAYS = ["plain", "gevent", "patched"]

# Warnings reach stderr, which must stay empty: but for Python 3.12's, that there are threads, which we know.
WARNINGS = "default,ignore::DeprecationWarning"

PREAMBLE = """
    import sys
    way = sys.argv[1]
    if way == "patched":
        from gevent import monkey
        monkey.patch_all()
    import os, time
    import gevent, gevent.os, zmq
    from gevent import monkey
    import zgreen

    ANY = "tcp://127.0.0.1:*"
    LIMIT = 20

    def fork():
        if way == "plain":
            return monkey.get_original("os", "fork")()
        gevent.get_hub().loop.install_sigchld()  # as support.PATCH_ALL
        if way == "gevent":
            return gevent.os.fork()
        return os.fork()

    waitpid = gevent.os.waitpid if way == "gevent" else os.waitpid  # gevent.os.fork() watches its children

    def status_of(pid):
        "Wait, and let others run, until a child has ended; its exit status."
        with gevent.Timeout(LIMIT):
            while True:
                done, status = waitpid(pid, os.WNOHANG)
                if done:
                    return os.waitstatus_to_exitcode(status)
                gevent.sleep(0.005)

    def what(function, *args):
        "What comes of a call, in one word."
        try:
            with gevent.Timeout(LIMIT, TimeoutError):
                return repr(function(*args))
        except Exception as error:
            return type(error).__name__

    def pair(**options):
        "Two connected channels, which have been used."
        pull = zgreen.Channel(zmq.PULL, bind=ANY, **options)
        push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint, **options)
        push.put("first")
        assert pull.get() == b"first"
        return push, pull

    def real_thread(function):
        monkey.get_original("_thread", "start_new_thread")(function, ())
"""


def start(code, *args):
    """A process that runs PREAMBLE and *code*."""
    return script(textwrap.dedent(PREAMBLE) + textwrap.dedent(code), *args, env_warnings=WARNINGS)


def output(code, *args):
    """What a process that runs PREAMBLE and *code* prints; it ends well and says nothing on stderr."""
    status, out, err = finish(start(code, *args))
    assert (status, err) == (0, ""), f"{out}\n{err}"
    return out.splitlines()


@pytest.mark.parametrize("way", WAYS)
def test_every_method_of_what_was_inherited_raises_forked_error_at_once(way):
    """And names the remedy; close() and shutdown() do nothing, properties and statistics can still be read."""
    lines = output(
        """
        push, pull = pair()
        pump = push.pump
        unused = zgreen.Pump("unused")
        push.put("for the parent")
        while not pull.statistics().waiting:
            gevent.sleep(0.001)
        pid = fork()
        if pid == 0:
            for name, call in {
                "put": lambda: push.put("x"), "put_nowait": lambda: push.put_nowait("x"),
                "send": lambda: push.send("x"), "flush": push.flush,
                "get": pull.get, "get_nowait": pull.get_nowait, "next": lambda: next(pull),
                "bind": lambda: pull.bind(ANY), "unbind": lambda: pull.unbind(ANY),
                "connect": lambda: push.connect("inproc://x"), "disconnect": lambda: push.disconnect("inproc://x"),
                "setsockopt": lambda: push.setsockopt(zmq.SNDHWM, 1), "getsockopt": lambda: push.getsockopt(zmq.SNDHWM),
                "start": pump.start, "enter": pump.__enter__, "start unused": unused.start,
                "Channel": lambda: zgreen.Channel("push", pump=pump),
                "register": lambda: pump.register_socket(gevent.queue.Queue(), socket_type="push", configurator=print),
                "closes": lambda: (push.close(), push.close(linger=1), pull.close(), push.closed, pull.closed),
                "shutdowns": lambda: (pump.shutdown(), pump.shutdown(linger=1), unused.shutdown(), pump.closed),
            }.items():
                print(name, what(call))
            try:
                pull.get()
            except zgreen.ForkedError as error:
                print(isinstance(error, zgreen.ClosedError), error)
            print(pump.name, pump.engine, len(pump.channels), push.last_endpoint == pull.last_endpoint)
            push.statistics(), pump.statistics(), push.on_error, repr(push), repr(pump)
            sys.exit(0)
        assert status_of(pid) == 0
        print("parent", pull.get(), pump.closed)
        push.put("second")
        print("parent", pull.get())
        """,
        way,
    )
    *raising, closes, shutdowns, message, names, first, second = lines
    assert len(raising) == 18
    assert {line.rpartition(" ")[2] for line in raising} == {"ForkedError"}, raising
    assert closes == "closes (0, 0, 0, True, True)"
    assert shutdowns == "shutdowns (0, 0, 0, True)"
    assert message.startswith("True ")
    assert "parent process" in message
    assert "make a new one" in message
    assert names == "pump-1 python 0 True" or names == "pump-1 native 0 True"
    assert (first, second) == ("parent b'for the parent' False", "parent b'second'")


# Greenlets of the parent wait in each of these; the channels are of use to nobody until the parent connects them.
WAITERS = """
    def lonely(messages, maxsize):
        channel = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=maxsize)
        for _ in range(messages):
            channel.put("pending")
        return channel

    empty, full, fresh, flushing, closing = (
        zgreen.Channel(zmq.PULL, bind=ANY), lonely(1, 1), lonely(0, 1), lonely(1, 1), lonely(1, 1)
    )
    stopping = zgreen.Pump("stopping")
    stopped = zgreen.Channel(zmq.PUSH, bind=ANY, pump=stopping)
    stopped.put("pending")
    waits = {
        "get": empty.get, "get with timeout": lambda: empty.get(timeout=60), "iteration": lambda: next(empty),
        "put": lambda: full.put("x"), "put with timeout": lambda: full.put("x", timeout=60),
        "send": lambda: full.send("x"), "result of send": lambda: fresh.send("x").get(),
        "flush": flushing.flush, "flush with timeout": lambda: flushing.flush(60),
        "close": lambda: closing.close(linger=60), "shutdown": lambda: stopping.shutdown(linger=60),
    }
    outcomes = {}
    def wait(name):
        waits[name] = None, waits[name]
        outcomes[name] = what_without_limit(waits[name][1])
    def what_without_limit(function):
        try:
            return repr(function())
        except Exception as error:
            return type(error).__name__
    greenlets = [gevent.spawn(wait, name) for name in waits]

    def all_wait():
        "Every greenlet has called what it waits in, and it is a wait that counts, where there is a count."
        return (
            all(isinstance(value, tuple) for value in waits.values()) and empty.statistics().getters == 3
            and full.statistics().putters == 3 and closing.closed and stopping.closed
            and fresh.statistics().pending == 1
        )
    while not all_wait():
        gevent.sleep(0.001)

    def in_child():
        gevent.joinall(greenlets, timeout=LIMIT)
        for name in waits:
            print(name, "->", outcomes.get(name))
        print("own", own())

    def own():
        push, pull = pair()
        push.put("own")
        return pull.get()

    def in_parent(pid):
        assert status_of(pid) == 0
        print("still waiting:", not outcomes)
        senders = (full, fresh, flushing, closing, stopped)
        peers = [zgreen.Channel(zmq.PULL, connect=channel.last_endpoint) for channel in senders]
        feeder = zgreen.Channel(zmq.PUSH, connect=empty.last_endpoint)
        for _ in range(3):
            feeder.put("m")
        for peer in peers:
            peer.get()
        gevent.joinall(greenlets, timeout=LIMIT)
        for name in waits:
            print(name, "->", outcomes.get(name))
"""

NAMES = [
    "get", "get with timeout", "iteration", "put", "put with timeout", "send", "result of send", "flush",
    "flush with timeout", "close", "shutdown",
]  # fmt: skip
IN_CHILD = [f"{name} -> {'0' if name in ('close', 'shutdown') else 'ForkedError'}" for name in NAMES] + ["own b'own'"]
GOT = {
    "get": "b'm'", "get with timeout": "b'm'", "iteration": "b'm'", "flush": "True", "flush with timeout": "True",
    "close": "0", "shutdown": "0",
}  # fmt: skip


@pytest.mark.parametrize("forker", ["main", "greenlet"])
@pytest.mark.parametrize("way", WAYS)
def test_greenlets_that_wait_in_the_child_get_forked_error(way, forker):
    """In the parent they go on waiting, and get what they wait for."""
    code = WAITERS + """
    def main():
        pid = fork()
        if pid:
            in_parent(pid)
        else:
            in_child()
        sys.stdout.flush()
        return pid
    if sys.argv[2] == "main":
        main()
    else:
        # the greenlet that has called fork() ends the child; the main one, which lives on there, must not
        def in_greenlet():
            if main() == 0:
                zgreen.get_pump().shutdown()
                os._exit(0)
        gevent.spawn(in_greenlet).join()
    """  # fmt: skip
    lines = output(code, way, forker)
    assert lines[: len(IN_CHILD)] == IN_CHILD
    waiting, *parent = lines[len(IN_CHILD) :]
    assert waiting == "still waiting: True"
    assert [line for line in parent if not line.startswith("send -> ")] == [
        f"{name} -> {GOT.get(name, 'None')}" for name in NAMES if name != "send"
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_queue_that_cannot_be_shut_down_does_not_keep_the_others_from_learning_of_the_fork(way):
    """It is said in the log of the child, and of the parent when that ends."""
    lines = output(
        """
        import logging
        logging.getLogger("zgreen").addHandler(logging.NullHandler())
        class Queue(gevent.queue.Queue):
            def shutdown(self, *args):
                raise LookupError
        for _ in range(3):
            zgreen.register_socket(Queue(), socket_type="push", configurator=lambda socket: None, pump=zgreen.Pump())
        push, pull = pair()
        zgreen.register_socket(Queue(), socket_type="push", configurator=lambda socket: None)
        later = zgreen.Channel("push")
        pid = fork()
        if pid == 0:
            print(what(push.put, "x"), what(pull.get), what(later.put, "x"), zgreen.get_pump().closed)
            sys.exit(0)
        assert status_of(pid) == 0
        """,
        way,
    )
    assert lines == ["ForkedError ForkedError ForkedError False"]


@pytest.mark.parametrize("way", WAYS)
def test_a_main_greenlet_that_waits_gets_forked_error_in_the_child(way):
    """Where another greenlet forks, and goes on to end."""
    lines = output(
        """
        push, pull = pair()
        pids = []
        gevent.spawn(lambda: pids.append(fork()))
        try:
            print("parent", pull.get())
        except zgreen.ForkedError:
            print("child ForkedError")
            sys.exit(0)
        """
        # the parent's message is put by the parent, when the child has ended
        .replace("pids.append(fork())", "pids.append(fork()) or pids[0] and (status_of(pids[0]), push.put('second'))"),
        way,
    )
    assert lines == ["child ForkedError", "parent b'second'"]


@pytest.mark.parametrize("way", WAYS)
def test_real_threads_in_the_line_do_not_hold_up_the_child(way):
    """A thread that waits at the head of a line does not exist in the child: the greenlets behind it get their turn."""
    lines = output(
        """
        push, pull = pair()
        full = zgreen.Channel(zmq.PUSH, bind=ANY, send_maxsize=1)
        full.put("pending")
        for target in (pull.get, lambda: full.put("x")):
            real_thread(target)
        while not (pull.statistics().getters and full.statistics().putters):
            gevent.sleep(0.001)
        greenlets = [gevent.spawn(what, pull.get), gevent.spawn(what, full.put, "y")]
        while not (pull.statistics().getters == full.statistics().putters == 2):
            gevent.sleep(0.001)
        pid = fork()
        if pid == 0:
            print([g.get(timeout=LIMIT) for g in greenlets])
            sys.exit(0)
        assert status_of(pid) == 0
        push.put("for the thread")
        push.put("for the greenlet")
        print(greenlets[0].get(timeout=LIMIT))
        peer = zgreen.Channel(zmq.PULL, connect=full.last_endpoint)
        print([peer.get() for _ in range(3)])
        """,
        way,
    )
    assert lines == ["['ForkedError', 'ForkedError']", "b'for the greenlet'", "[b'pending', b'x', b'y']"]


def test_a_fork_in_a_real_thread():
    """The child has only that thread: it gets ForkedError too, and a pump of its own."""
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        process = start(
            """
            push, pull = pair()
            result = []
            def thread():
                pid = fork()
                if pid == 0:
                    print(what(pull.get), what(push.put, "x"), push.close(), push.pump.shutdown())
                    own = zgreen.Channel(zmq.PUSH, connect=sys.argv[2])
                    for i in range(2000):
                        own.put(str(i))
                    own.pump.shutdown()
                    os._exit(0)  # a thread's end would end the process as well, and nothing at exit would be run
                result.append(pid)
            real_thread(thread)
            while not result:
                gevent.sleep(0.001)
            assert status_of(result[0]) == 0
            push.put("second")
            print(pull.get())
            """,
            "plain",  # gevent's own is for the main thread
            endpoint_of(peer),
        )
        assert [int(peer.recv()) for _ in range(2000)] == list(range(2000))
        assert finish(process) == (0, "ForkedError ForkedError 0 0\nb'second'\n", "")


@pytest.mark.parametrize("used", ["before", "after"])
@pytest.mark.parametrize("way", WAYS)
def test_parent_and_children_each_have_their_own_pump(way, used):
    """Children and a grandchild push what they have and end; all of it is delivered, from everybody, once."""
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        process = start(
            """
            def push(who):
                channel = zgreen.Channel(zmq.PUSH, connect=sys.argv[2], send_maxsize=None)
                for i in range(3000):
                    channel.put([who, str(i)])
                return channel
            if sys.argv[3] == "before":
                push("early")  # much of it is still here when the process forks
            pids = []
            for child in ("a", "b"):
                pids.append(fork())
                if pids[-1] == 0:
                    push(child)
                    if child == "b":
                        grandchild = fork()
                        if grandchild == 0:
                            push("c")
                        else:
                            push("b2")
                            assert status_of(grandchild) == 0
                    sys.exit(0)
            push("parent")
            assert [status_of(pid) for pid in pids] == [0, 0]
            """,
            way,
            endpoint_of(peer),
            used,
        )
        names = ["a", "b", "b2", "c", "parent"] + ["early"] * (used == "before")
        got = {name: [] for name in names}
        for _ in range(3000 * len(names)):
            who, number = peer.recv_multipart()
            got[who.decode()].append(int(number))
        assert finish(process) == (0, "", "")
        peer.rcvtimeo = 0
        with pytest.raises(zmq.Again):
            peer.recv()
    assert got == {name: list(range(3000)) for name in names}


# Three processes do round trips at once; then each, told by the test, looks what CPU time it uses in a second of rest.
ROUND_TRIPS = """
    def echo(channel):
        try:
            for message in channel:
                channel.put(message)
        except zgreen.ForkedError:
            pass  # in a child

    def round_trips(number):
        server = zgreen.Channel(zmq.REP, bind=ANY)
        client = zgreen.Channel(zmq.REQ, connect=server.last_endpoint)
        gevent.spawn(echo, server)
        def trips(number):
            for i in range(number):
                client.put(str(i))
                assert client.get(timeout=LIMIT) == b"%d" % i
        trips(number)
        return trips

    def is_idle():
        "CPU time of this process, of all its threads, over a second of doing nothing."
        before = time.process_time()
        gevent.sleep(1)
        return time.process_time() - before < 0.2

    trips = round_trips(10)
    control, children = zgreen.Channel(zmq.PULL, bind=ANY), []
    for child in range(2):
        pid = fork()
        if pid == 0:
            report = zgreen.Channel(zmq.DEALER, connect=sys.argv[2])
            round_trips(300)
            report.put(["ready", str(os.getpid())])
            assert report.get(timeout=LIMIT) == b"rest"
            report.put(["idle", str(is_idle())])
            assert report.get(timeout=LIMIT) == b"end"
            sys.exit(0)
        children.append(pid)
    trips(300)  # beside those of the children
    report = zgreen.Channel(zmq.DEALER, connect=sys.argv[2])
    report.put(["ready", str(os.getpid())])
    assert report.get(timeout=LIMIT) == b"rest"
    report.put(["idle", str(is_idle())])
    assert report.get(timeout=LIMIT) == b"end"
    trips(300)
    assert [status_of(pid) for pid in children] == [0, 0]
    trips(300)
    print("done")
"""


@pytest.mark.parametrize("way", WAYS)
def test_children_steal_no_wake_up_and_nobody_spins(way):
    """While children with pumps of their own live, each round trip of the parent ends; at rest no CPU is used."""
    with raw_socket(zmq.ROUTER, bind=ANY) as router:
        process = start(ROUND_TRIPS, way, endpoint_of(router))
        for order in (b"rest", b"end"):
            reports = {}
            while len(reports) < 3:
                identity, *report = router.recv_multipart()
                reports[identity] = report
            if order == b"end":
                assert list(reports.values()) == [[b"idle", b"True"]] * 3
            for identity in reports:
                router.send_multipart([identity, order])
        assert finish(process) == (0, "done\n", "")


# ---------------------------------------------------------------------- multiprocessing

MULTIPROCESSING = """
    import multiprocessing
    context = multiprocessing.get_context("fork")
    push, pull = pair()

    def work(endpoint):
        words = ("child", what(pull.get), what(push.put, "x"), push.close(), push.pump.shutdown())
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece: two children write
        own = zgreen.Channel(zmq.PUSH, connect=endpoint, send_maxsize=None)
        for i in range(3000):
            own.put(str(i))

    getter = gevent.spawn(what, pull.get)
    gevent.sleep(0)
    children = [context.Process(target=work, args=(sys.argv[2],)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        while child.is_alive():
            gevent.sleep(0.005)
        child.join()
    print("parent", [child.exitcode for child in children])
    push.put("second")
    print("parent", getter.get())
"""


@pytest.mark.parametrize("way", ["plain", "patched"])
def test_children_of_multiprocessing(way):
    """They get ForkedError, push with a pump of their own, and end; the parent goes on."""
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        process = start(MULTIPROCESSING, way, endpoint_of(peer))
        got = sorted(int(peer.recv()) for _ in range(6000))
        assert got == sorted(list(range(3000)) * 2)
        status, out, err = finish(process)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert sorted(lines[:2]) == ["child ForkedError ForkedError 0 0"] * 2
    assert lines[2:] == ["parent [0, 0]", "parent b'second'"]


@pytest.mark.skipif(PATCHED, reason="a forked Pool hangs under monkey.patch_all(), without zgreen")
def test_a_pool_of_multiprocessing():
    """Its processes are used again and again, each with one pump; close() and join() of the pool deliver all."""
    with raw_socket(zmq.PULL, bind=ANY) as peer:
        process = start(
            """
            import multiprocessing
            push, pull = pair()
            channels = []
            def work(number):
                if not channels:
                    channels.append(zgreen.Channel(zmq.PUSH, connect=sys.argv[2]))
                channels[0].put(str(number))
                return what(push.put, "x")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(set(pool.map(work, range(1000))))
                pool.close()
                pool.join()
            push.put("second")
            print(pull.get())
            """,
            "plain",
            endpoint_of(peer),
        )
        assert sorted(int(peer.recv()) for _ in range(1000)) == list(range(1000))
        assert finish(process) == (0, "{'ForkedError'}\nb'second'\n", "")


def test_a_child_that_forgets_what_it_inherited_says_nothing():
    """Inherited sockets and contexts that are garbage in the child are neither closed nor complained of there."""
    code = """
        push, pull = pair()
        pid = fork()
        if pid == 0:
            import gc
            pump = push.pump
            del push, pull, pump
            zgreen.get_pump()
            gc.collect()
            print("collected")
            sys.exit(0)
        assert status_of(pid) == 0
        push.put("second")
        print(pull.get())
    """
    assert output(code, "plain") == ["collected", "b'second'"]


@pytest.mark.parametrize("way", WAYS)
def test_patterns_of_the_parent_raise_forked_error_in_the_child(way):
    """Those that wait there get it, too; what closes does nothing, and what counts can still be read."""
    lines = output(
        """
        import logging
        import zgreen.auth

        class Handler(logging.Handler):
            def emit(self, record):
                print("logged", record.getMessage())
        logging.getLogger("zgreen").addHandler(Handler())

        pump = zgreen.get_pump()
        proxy = zgreen.Proxy(ANY, ANY, "streamer").start()
        unused = zgreen.Proxy(ANY, ANY)
        rep = zgreen.Channel("REP", bind=ANY)
        going = gevent.event.Event()
        server = zgreen.serve(rep, lambda request: going.wait() and request)
        idle = zgreen.serve(zgreen.Channel("ROUTER"), bytes)
        requester = zgreen.Requester(connect=rep.last_endpoint)
        auth = zgreen.auth.Authenticator()
        push = zgreen.Channel("PUSH")
        handler = zgreen.PubHandler(push)

        greenlets = {"Requester.request": gevent.spawn(what, requester.request, "x")}
        while not server.statistics().running:
            gevent.sleep(0.001)
        for name, wait in {"Proxy.join": proxy.join, "Server.join": idle.join, "Server.stop": server.stop}.items():
            greenlets[name] = gevent.spawn(what, wait)
        while server.accepting:
            gevent.sleep(0.001)
        pid = fork()
        if pid == 0:
            going.set()
            for name, greenlet in greenlets.items():
                print("waited", name, greenlet.get(timeout=LIMIT))
            for name, call in {
                "Proxy.start": proxy.start, "Proxy.pause": proxy.pause, "Proxy.resume": proxy.resume,
                "Proxy.statistics": proxy.statistics, "Proxy.join": proxy.join, "Proxy.close": proxy.close,
                "unused.start": unused.start, "unused.join": unused.join, "unused.close": unused.close,
                "unused.pause": unused.pause,
                "Server.join": server.join, "Server.stop": server.stop, "serve": lambda: zgreen.serve(rep, bytes),
                "Requester.request": lambda: requester.request("x"), "Requester.submit": lambda: requester.submit("x"),
                "PubHandler": lambda: zgreen.PubHandler(push),
                "allow": lambda: auth.allow("127.0.0.1"), "deny": lambda: auth.deny("127.0.0.1"),
                "plain": lambda: auth.configure_plain({}), "curve": lambda: auth.configure_curve("*"),
                "callback": lambda: auth.configure_curve_callback(print), "reload": auth.reload,
                "Authenticator": lambda: zgreen.auth.Authenticator(pump),
            }.items():
                found = what(call)
                if found != "ForkedError":
                    print("called", name, found)
            proxy.__exit__(None, None, None), server.__exit__(None, None, None)
            requester.close(), auth.close()
            print(proxy.closed, unused.closed, server.accepting, requester.closed, auth.closed)
            server.statistics(), requester.statistics(), auth.statistics(), proxy.error(), repr(proxy)
            handler.handle(logging.makeLogRecord({"name": "x", "msg": "x"}))
            print("dropped", handler.dropped)
            sys.exit(0)
        assert status_of(pid) == 0
        going.set()
        print("parent", greenlets["Requester.request"].get(timeout=LIMIT), greenlets["Server.stop"].get(timeout=LIMIT))
        proxy.close(), idle.stop(), requester.close(), auth.close()
        print("parent", greenlets["Proxy.join"].get(timeout=LIMIT), greenlets["Server.join"].get(timeout=LIMIT))
        """,
        way,
    )
    waits = ["Requester.request", "Proxy.join", "Server.join", "Server.stop"]
    expected = [
        *(f"waited {name} ForkedError" for name in waits),
        "True True False True True",
        "dropped 1",
        "parent b'x' True",
        "parent True True",
    ]
    assert lines == expected


def test_threads_of_the_parent_do_not_wait_in_the_child():
    """A real thread that waits in the parent is none of the child's waiters."""
    lines = output(
        """
        push, pull = pair()
        real_thread(lambda: what(pull.get))
        while not pull.statistics().getters:
            gevent.sleep(0.001)
        waiter = gevent.spawn(what, pull.get)
        gevent.sleep(0)
        pid = fork()
        if pid == 0:
            # the greenlet is one of the child's, too, until the hub has told it of the fork
            print(pull.statistics().getters, waiter.get(), pull.statistics().getters, flush=True)
            seconds = pull.statistics().get_wait_seconds
            gevent.sleep(0.01)
            print(pull.statistics().get_wait_seconds == seconds, flush=True)
            os._exit(0)
        print(status_of(pid), pull.statistics().getters)
        push.put("x"), push.put("x")
        print(waiter.get())
        """,
        "plain",
    )
    assert lines == ["1 ForkedError 0", "True", "0 2", "b'x'"]


def test_a_pipe_of_the_parents_is_not_freed_in_the_child():
    """A thread of the parent's may hold its lock there; and the end of its content would be told to the parent."""
    lines = output(
        f"""
        sys.path.insert(0, {str(TESTS)!r})
        from test_pipe import Bench
        from support import readable

        bench = Bench()
        pipe = bench.make()
        pipe.try_push(bytes(100_000), None, 0)  # more than is copied
        bench.step(2)  # from now on the owning thread does not hold it either
        pid = fork()
        if pid == 0:
            del pipe
            os._exit(0)
        print(status_of(pid), readable(bench.hub), len(pipe.withdraw()))
        bench.end()
        """,
        "plain",
    )
    assert lines == ["0 False 1"]


@pytest.mark.parametrize("way", WAYS)
def test_locks_that_a_thread_held_are_free_in_the_child(way):
    """A real thread, which the child has not, holds every lock that the parent's objects have."""
    lines = output(
        """
        import _thread, collections, faulthandler, gc, types
        push, pull = pair()
        pump = push.pump
        pub = zgreen.Channel("XPUB", bind=ANY)
        sub = zgreen.Channel("SUB", connect=pub.last_endpoint)
        sub.subscribe("")
        assert pub.wait_subscriber("", LIMIT)
        pump.on_event = lambda event: None
        objects = [push, pull, pub, sub, pump, zgreen.Fanout(sub), zgreen.PubHandler(push)]

        def locks_of(objects):
            "Each lock that zgreen's own objects have."
            kinds = (_thread.LockType, type(monkey.get_original("_thread", "RLock")()))
            todo, seen, found = list(objects), set(), []
            while todo:
                one = todo.pop()
                if id(one) in seen or isinstance(one, (type, types.FunctionType, types.ModuleType)):
                    continue
                seen.add(id(one))
                if isinstance(one, kinds):
                    found.append(one)
                elif type(one).__module__.startswith("zgreen") or type(one) in (
                    dict, list, tuple, set, collections.deque, types.MethodType, types.CellType
                ):
                    todo += gc.get_referents(one)
            return found

        held, forked = [], []
        sleep = monkey.get_original("time", "sleep")  # the hub must not run meanwhile, as it may need one of the locks

        def hold():
            for lock in locks_of(objects):
                lock.acquire()
                held.append(lock)
            held.append(None)
            while not forked:
                sleep(0.001)
            for lock in held[:-1]:
                lock.release()
            held.clear()

        real_thread(hold)
        while not held or held[-1] is not None:
            sleep(0.001)
        print(len(held) > 4)
        pid = fork()
        if pid == 0:
            faulthandler.dump_traceback_later(LIMIT / 2, exit=True)
            for channel in objects[:4]:
                channel.statistics()
                what(channel.put, "x")
                what(channel.get)
                what(channel.wait_subscriber)
                channel.close()
            pump.statistics(), pump.dump(), pump.shutdown()
            pair()
            print("done", flush=True)
            os._exit(0)
        forked.append(pid)
        while held:
            sleep(0.001)
        print(status_of(pid), flush=True)
        """,
        way,
    )
    assert lines == ["True", "done", "0"]
