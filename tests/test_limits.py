"""Many descriptors, many channels, many openings and closings; and what happens when there are no more descriptors."""

import contextlib
import gc
import os
import resource

import gevent
import pytest
import zmq
from support import ANY, LIMIT, finish, open_descriptors, raw_socket, real_threads, resident_bytes, script, wait_for

import zgreen


@contextlib.contextmanager
def descriptors_allowed(number):
    """Let this process open so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"the system allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def first_free_descriptor_above(number):
    """Open files until the next descriptor is above *number*."""
    opened = []
    try:
        while not opened or opened[-1] < number:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in opened:
            os.close(fd)


def test_descriptors_above_1023():
    """select() cannot wait for them; everything works none the less: channels, commands, waiting threads."""
    with descriptors_allowed(3000), first_free_descriptor_above(1100), zgreen.Pump("high") as pump:
        target = zgreen.Channel(zmq.PULL, bind=ANY, pump=pump)
        source = zgreen.Channel(zmq.PUSH, connect=target.last_endpoint, send_maxsize=10, pump=pump)
        assert source.getsockopt(zmq.FD) > 1023
        with real_threads(2) as spawn:
            in_thread = spawn(lambda: [target.get(timeout=LIMIT) for _ in range(50)])
            wait_for(lambda: target.statistics().getters == 1, "the thread to wait")
            putting = spawn(lambda: [source.put(b"%d" % i) for i in range(50)])
            assert in_thread.get(timeout=LIMIT) == [b"%d" % i for i in range(50)]
            putting.get(timeout=LIMIT)
            assert spawn(source.flush, LIMIT).get(timeout=LIMIT)
        getting = gevent.spawn(target.get)
        wait_for(lambda: target.statistics().getters == 1, "the greenlet to wait")
        source.put(b"x")
        assert getting.get(timeout=LIMIT) == b"x"


def open_and_close(pump, cycles):
    for i in range(cycles):
        kind = (zmq.PUSH, zmq.ROUTER, zmq.SUB, zmq.REQ)[i % 4]
        with zgreen.Channel(kind, bind="inproc://cycle" if i % 10 else ANY, pump=pump):
            pass


def no_channel_left(pump):
    gc.collect()
    return not [o for o in gc.get_objects() if isinstance(o, zgreen.Channel) and o.pump is pump]


def test_10_000_open_and_close_cycles_leak_nothing(pump):
    """Neither descriptors nor memory, and nothing of each channel stays with the pump."""
    open_and_close(pump, 1000)  # what an allocator and the interpreter keep once and for all
    gc.collect()
    descriptors, memory = open_descriptors(), resident_bytes()
    open_and_close(pump, 10_000)
    gc.collect()
    wait_for(lambda: open_descriptors() <= descriptors, "libzmq to have closed the last")
    assert not pump.channels
    wait_for(lambda: no_channel_left(pump), "the owning thread to let go of the last")
    # 10,000 of anything of a channel's would be seen: a leaked Channel with its queues takes 5 kB and more
    assert resident_bytes() - memory < 5e6, f"{(resident_bytes() - memory) / 1e6:.1f} MB more"


def test_cycles_with_traffic_leak_nothing(pump):
    """Pairs of channels that pass messages, with waiters of all kinds, leave nothing behind."""

    def cycle(number):
        for i in range(number):
            target = zgreen.Channel(zmq.PULL, bind="inproc://traffic", pump=pump)
            waiting = gevent.spawn(target.get)
            with zgreen.Channel(zmq.PUSH, connect="inproc://traffic", pump=pump) as source:
                source.put([b"x" * 1000, b"%d" % i])
                source.send(b"y").get(timeout=LIMIT)
                assert source.flush(LIMIT)
                assert waiting.get(timeout=LIMIT)[1] == b"%d" % i
                assert target.get(timeout=LIMIT) == b"y"
            target.close()

    cycle(200)
    gc.collect()
    descriptors, memory = open_descriptors(), resident_bytes()
    cycle(1000)
    gc.collect()
    wait_for(lambda: open_descriptors() <= descriptors, "libzmq to have closed the last")
    assert resident_bytes() - memory < 3e6, f"{(resident_bytes() - memory) / 1e6:.1f} MB more"


def test_refused_openings_leak_nothing(pump):
    """A Channel() that raises leaves no descriptor and no channel."""
    with raw_socket(zmq.PULL, bind=ANY) as other:
        taken = other.last_endpoint.rstrip(b"\0").decode()

        def refuse(number):
            for _ in range(number):
                for wrong in ({"bind": taken}, {"bind": "nonsense"}, {"options": {-1: 1}}):
                    with pytest.raises(zmq.ZMQError):
                        zgreen.Channel(zmq.PUSH, **wrong, pump=pump)

        refuse(50)
        descriptors = open_descriptors()
        refuse(300)
        wait_for(lambda: open_descriptors() <= descriptors, "libzmq to have closed the last")
    assert not pump.channels


def test_pumps_leak_nothing():
    """A pump that was started and shut down gives back its thread and its descriptors."""

    def cycle(number):
        for _ in range(number):
            with zgreen.Pump() as pump:
                zgreen.Channel(zmq.PUSH, bind="inproc://x", pump=pump)
            assert pump._thread.pool.size == 0

    cycle(5)
    gc.collect()
    descriptors = open_descriptors()
    cycle(50)
    gc.collect()
    wait_for(lambda: open_descriptors() <= descriptors, "the descriptors to be closed")


def test_1000_channels_on_one_pump(pump):
    """Each passes a message, at the same time as all the others; then again, after all have waited."""
    with descriptors_allowed(4000):
        pairs = []
        for i in range(500):
            a = zgreen.Channel(zmq.PAIR, bind=f"inproc://{i}", pump=pump)
            pairs.append((a, zgreen.Channel(zmq.PAIR, connect=f"inproc://{i}", pump=pump)))
        assert len(pump.channels) == 1000
        for _ in range(3):
            getting = [gevent.spawn(channel.get) for pair in pairs for channel in pair]
            for i, (a, b) in enumerate(pairs):
                a.put(b"to b %d" % i)
                b.put(b"to a %d" % i)
            gevent.joinall(getting, timeout=LIMIT, raise_error=True)
            wanted = [message for i in range(500) for message in (b"to a %d" % i, b"to b %d" % i)]
            assert [greenlet.value for greenlet in getting] == wanted
        assert pump.shutdown() == 0
    assert not pump.channels


NO_DESCRIPTORS = """
    import errno, gc, itertools, os, resource, sys
    import gevent, zmq, zgreen
    from gevent.threadpool import ThreadPool
    from posix import close  # os.close, when patched, leaves it to the hub

    LIMIT = {limit}
    opened = []

    def use_up(left):
        "Leave this process exactly so many descriptors to open."
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        for _ in range(left):
            close(opened.pop())

    def give_back():
        while opened:
            close(opened.pop())

    # not tcp: its bind asks for the network interfaces, and libzmq aborts the process if it has no descriptor for that
    numbers = itertools.count()

    def endpoint():
        return f"ipc://{sys.argv[1]}/{next(numbers)}"

    def check():
        source.put(b"x")
        assert target.get(timeout=LIMIT) == b"x"

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    pump = zgreen.Pump().start()
    target = zgreen.Channel(zmq.PULL, bind=endpoint(), pump=pump)
    source = zgreen.Channel(zmq.PUSH, connect=target.last_endpoint, pump=pump)
    check()

    # a socket, or its bind, or its place in the poller: whichever descriptor is missing, the caller is told
    refused = 0
    for left in range(4):
        use_up(left)
        made = []
        for _ in range(left + 1):
            try:
                made.append(zgreen.Channel(zmq.PULL, bind=endpoint(), pump=pump))
            except zmq.ZMQError as error:
                assert error.errno == errno.EMFILE, error
                refused += 1
        check()
        for channel in made:
            channel.close()  # without a descriptor to watch the end
        check()
        give_back()
    assert refused >= 4, refused

    # the same pump opens channels again
    more = [zgreen.Channel(zmq.PULL, bind=endpoint(), pump=pump) for _ in range(20)]
    check()

    # a thread that would have to wait needs a descriptor; without one it is told so, and has put and got nothing
    threads = ThreadPool(1)
    threads.spawn(gc.collect).get()  # it has started
    use_up(0)

    def wait():
        try:
            return target.get(timeout=LIMIT)
        except OSError as error:
            return error.errno

    outcome = threads.spawn(wait).get()
    assert outcome == errno.EMFILE, outcome
    check()
    give_back()
    threads.kill()

    # a pump that cannot be made, whichever descriptor is missing, and the next one that can
    def make_pump(left):
        gc.collect()
        use_up(left)
        try:
            return zgreen.Pump()
        except (OSError, zmq.ZMQError) as error:
            assert error.errno == errno.EMFILE
        finally:
            give_back()

    lefts = iter(range(20))
    while not (made := make_pump(next(lefts))):
        pass
    assert made.shutdown() == 0
    assert next(lefts) > 3  # the hub's mailbox, the thread's, the poller
    with zgreen.Pump() as other:
        zgreen.Channel(zmq.PULL, bind=endpoint(), pump=other)
    check()
    assert pump.shutdown() == 0
    print("done")
"""


NO_DESCRIPTOR_FOR_THE_HEAD = """
    import os, resource, sys
    import gevent, zmq, zgreen
    from gevent.threadpool import ThreadPool

    LIMIT = {limit}
    pump = zgreen.Pump().start()
    target = zgreen.Channel(zmq.PULL, bind="inproc://x", pump=pump)
    source = zgreen.Channel(zmq.PUSH, send_maxsize=1, pump=pump)
    source.put(b"1")  # with no peer: now it is full

    def wait_for_putters(number):
        with gevent.Timeout(LIMIT):
            while source.statistics().putters != number:
                gevent.sleep(0.001)

    head = gevent.spawn(source.put, b"2")
    wait_for_putters(1)
    threads = ThreadPool(1)
    putting = threads.spawn(source.put, b"3", timeout=LIMIT)
    wait_for_putters(2)
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        pass
    head.kill()
    print(repr(head.value))
    source.connect("inproc://x")
    putting.get()
    print(target.get(timeout=LIMIT), target.get(timeout=LIMIT))
    os._exit(0)
"""


def test_a_thread_at_the_head_of_a_line_without_a_descriptor_to_ring():
    """Who was before it in line has no error of that, and it is woken by way of the hub."""
    process = script(NO_DESCRIPTOR_FOR_THE_HEAD.replace("{limit}", str(LIMIT)))
    status, out, err = finish(process)
    assert (status, out) == (0, "GreenletExit()\nb'1' b'3'\n"), err
    assert not err


def test_no_descriptors_left(tmp_path):
    """EMFILE is raised at the call; the pump and its channels go on, and open channels again when there are some."""
    process = script(NO_DESCRIPTORS.replace("{limit}", str(LIMIT)), tmp_path)
    status, out, err = finish(process)
    assert (status, out) == (0, "done\n"), err
    assert "Traceback" not in err
