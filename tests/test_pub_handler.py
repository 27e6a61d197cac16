"""PubHandler: log records as messages; what it drops, what it never does."""

import contextlib
import itertools
import logging
import os

import gevent
import pytest
import zmq
from support import (
    ANY,
    LIMIT,
    block_hub_until,
    break_pump,
    channels,
    drained,
    outcome,
    raw_socket,
    real_threads,
    run,
    stuck,
)

import zgreen

_names = itertools.count()


@contextlib.contextmanager
def logger_with(*handlers, name=None, level=logging.DEBUG):
    """A logger of its own with these handlers."""
    logger = logging.getLogger(name or f"test.pub_handler.{next(_names)}")
    logger.setLevel(level)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield logger
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.fixture
def pair(pump):
    """A PUSH channel, and the PULL channel that gets what is put to it."""
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    return push, pull


# ------------------------------------------------------------------ what is sent


def test_topic_and_text_over_pub(pump):
    """Subscribers choose by root topic and level."""
    with zgreen.Channel(zmq.PUB, bind=ANY, pump=pump) as pub, zgreen.Channel(zmq.SUB, pump=pump) as sub:
        sub.subscribe("app.ERROR")
        sub.connect(pub.last_endpoint)
        assert pub.wait_subscriber("app.ERROR", LIMIT)
        handler = zgreen.PubHandler(pub, "app")
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        with logger_with(handler) as logger:
            logger.info("not wanted")
            logger.error("wört %d", 5)
        assert sub.get(timeout=LIMIT) == [b"app.ERROR", f"{logger.name}: wört 5".encode()]
        assert (handler.sent, handler.dropped, handler.skipped) == (2, 0, 0)


def test_without_root_topic_the_level_alone(pair):
    push, pull = pair
    with logger_with(zgreen.PubHandler(push)) as logger:
        logger.debug("a::b")
        logger.critical("c")
        logger.log(35, "odd")
    got = [pull.get(timeout=LIMIT) for _ in range(3)]
    assert got == [[b"DEBUG", b"a::b"], [b"CRITICAL", b"c"], [b"Level 35", b"odd"]]


def test_traceback_and_names_that_are_no_text(pair):
    push, pull = pair
    with logger_with(zgreen.PubHandler(push)) as logger:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logger.exception("failed on %s", os.fsdecode(b"file-\xff"))
    topic, text = pull.get(timeout=LIMIT)
    assert topic == b"ERROR"
    assert text.startswith(b"failed on file-\\udcff\nTraceback")
    assert text.endswith(b"ZeroDivisionError: division by zero")


def test_level_and_filters(pair):
    push, pull = pair
    handler = zgreen.PubHandler(push, level="WARNING")
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    with logger_with(handler) as logger:
        logger.info("low")
        logger.warning("secret")
        logger.warning("told")
    assert pull.get(timeout=LIMIT) == [b"WARNING", b"told"]
    assert (handler.sent, handler.dropped, handler.skipped) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["PUB", "XPUB", "PUSH", "DEALER", "PAIR"])
def test_sockets_that_send_at_any_time(pump, kind):
    with zgreen.Channel(kind, pump=pump) as channel:
        zgreen.PubHandler(channel).close()
        assert not channel.closed


@pytest.mark.parametrize("kind", ["SUB", "PULL", "REQ", "REP", "ROUTER", "XSUB", "STREAM"])
def test_sockets_that_do_not(pump, kind):
    with zgreen.Channel(kind, pump=pump) as channel, pytest.raises(TypeError, match="PubHandler needs PUB"):
        zgreen.PubHandler(channel)


def test_bad_input(pair):
    with pytest.raises(TypeError, match="channel"):
        zgreen.PubHandler("tcp://127.0.0.1:5555")
    with pytest.raises(TypeError, match="root_topic"):
        zgreen.PubHandler(pair[0], b"app")
    with pytest.raises(ValueError, match="Unknown level"):
        zgreen.PubHandler(pair[0], level="LOUD")


# ------------------------------------------------------------------ never blocks, drops and counts


def test_full_queue_drops_the_newest_and_counts(pump):
    channel = stuck(pump, send_maxsize=3)
    handler = zgreen.PubHandler(channel)
    with logger_with(handler) as logger, gevent.Timeout(LIMIT):
        for number in range(10):
            logger.info("%d", number)
    assert (handler.sent, handler.dropped) == (3, 7)
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        channel.connect(pull.last_endpoint.rstrip(b"\0").decode())
        assert [pull.recv_multipart()[1] for _ in range(3)] == [b"0", b"1", b"2"]


def test_logging_in_the_hub_itself(pump):
    """In a callback of the loop, where nothing may wait."""
    handler = zgreen.PubHandler(stuck(pump, send_maxsize=3))
    with logger_with(handler) as logger:
        for _ in range(5):
            gevent.get_hub().loop.run_callback(logger.info, "from the hub")
        gevent.sleep(0)
        assert (handler.sent, handler.dropped) == (3, 2)


def test_any_thread_and_greenlet_at_once(pump):
    """Four real threads, and greenlets beside them: each record arrives or is counted, none is there twice."""
    pull, push = channels(pump, zmq.PULL, zmq.PUSH, send_maxsize=50)
    handler = zgreen.PubHandler(push)
    with logger_with(handler) as logger, real_threads(4) as spawn:

        def work(who):
            for number in range(500):
                logger.info("%s %d", who, number)

        tasks = [spawn(work, f"t{n}") for n in range(4)] + [gevent.spawn(work, f"g{n}") for n in range(4)]
        got = []
        while not all(task.ready() for task in tasks):
            got += drained(pull)
            gevent.sleep(0.001)
        for task in tasks:
            task.get()
        while len(got) < handler.sent:
            got.append(pull.get(timeout=LIMIT))
    assert handler.sent + handler.dropped == 8 * 500
    texts = [text.decode().split() for _, text in got]
    for who in {who for who, _ in texts}:
        numbers = [int(number) for name, number in texts if name == who]
        assert numbers == sorted(set(numbers)), "each one's own keep their order"


def test_thread_that_logs_while_the_hub_is_blocked(pump):
    """No lock of logging's and no hub is waited for."""
    handler = zgreen.PubHandler(stuck(pump, send_maxsize=None))
    done = []
    with logger_with(handler) as logger, real_threads(1) as spawn:

        def work():
            for number in range(100):
                logger.info("%d", number)
            done.append(True)

        task = spawn(work)
        block_hub_until(lambda: done, "the thread to have logged")
        task.get(timeout=LIMIT)
    assert handler.sent == 100
    assert handler.lock is None


def test_after_close_and_break_records_are_dropped():
    with zgreen.Pump() as pump:
        pull, push = channels(pump, zmq.PULL, zmq.PUSH)
        handler = zgreen.PubHandler(push)
        with logger_with(handler) as logger:
            push.close()
            logger.error("late")
            assert handler.dropped == 1
        other = zgreen.Channel(zmq.PUSH, pump=pump)
        handler = zgreen.PubHandler(other)
        with logger_with(handler) as logger:
            break_pump(pump, ZeroDivisionError("oops"))
            logger.error("later")
            assert handler.dropped == 1
    assert pull.closed


def test_child_of_a_fork_drops_and_counts(pump):
    push = stuck(pump, send_maxsize=None)
    handler = zgreen.PubHandler(push)
    with logger_with(handler) as logger:
        logger.info("parent's")
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                error = outcome(logger.error, "child's")
                os.write(write, f"{error} {handler.sent} {handler.dropped}".encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"None 1 1"
        os.close(read)
        logger.info("parent's")
        assert (handler.sent, handler.dropped) == (2, 0)


# ------------------------------------------------------------------ never recurses


def test_records_of_zgreen_are_not_sent(pump, caplog):
    """Not even those that the loss of a record makes, on the root logger, where all come together."""
    channel = stuck(pump, send_maxsize=3)
    handler = zgreen.PubHandler(channel)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        logging.getLogger("app").error("one")
        logging.getLogger("zgreen").error("own")
        logging.getLogger("zgreen.auth").error("own")
        logging.getLogger("zgreenish").error("two")
        assert (handler.sent, handler.skipped) == (2, 2)
        assert channel.close(linger=0) == 2  # which warns on the zgreen logger
        assert "2 messages were not sent" in caplog.text
        assert (handler.sent, handler.dropped, handler.skipped) == (2, 0, 3)
    finally:
        root.removeHandler(handler)


def test_records_that_arise_while_one_is_sent(pair):
    """An argument that logs when it is formatted."""
    push, pull = pair
    handler = zgreen.PubHandler(push)
    with logger_with(handler) as logger:

        class Chatty:
            def __str__(self):
                logger.info("formatting %s", self)
                return "chatty"

        logger.info("%s", Chatty())
        logger.info("after")
    assert [pull.get(timeout=LIMIT)[1] for _ in range(2)] == [b"chatty", b"after"]
    assert (handler.sent, handler.skipped) == (2, 1)


def test_greenlet_that_logs_while_another_formats(pair):
    """That is no recursion: both are sent."""
    push, pull = pair
    handler = zgreen.PubHandler(push)
    with logger_with(handler) as logger:

        class Slow:
            def __str__(self):
                gevent.spawn(logger.info, "other").get(timeout=LIMIT)
                return "slow"

        logger.info("%s", Slow())
    assert [pull.get(timeout=LIMIT)[1] for _ in range(2)] == [b"other", b"slow"]
    assert (handler.sent, handler.skipped) == (2, 0)


def test_two_handlers_on_one_logger(pump):
    first, second = (zgreen.PubHandler(stuck(pump, send_maxsize=3)) for _ in range(2))
    with logger_with(first, second) as logger:
        logger.info("to both")
    assert (first.sent, second.sent) == (1, 1)


def test_formatter_that_fails_is_loggings_affair(pair, capsys):
    """Reported as by any handler, not raised; the next record goes."""
    push, pull = pair
    handler = zgreen.PubHandler(push)
    with logger_with(handler) as logger:
        logger.info("%d", "no number")
        logger.info("fine")
    assert pull.get(timeout=LIMIT) == [b"INFO", b"fine"]
    assert "--- Logging error ---" in capsys.readouterr().err


def test_under_monkey_patching_from_a_real_thread():
    code = """
        from gevent import monkey; monkey.patch_all()
        import logging, zmq, zgreen
        from gevent import get_hub
        pull = zgreen.Channel("pull", bind="inproc://log")
        push = zgreen.Channel("push", connect="inproc://log")
        logging.getLogger().addHandler(zgreen.PubHandler(push, "app"))
        get_hub().threadpool.apply(logging.warning, ("from a thread",))
        logging.warning("from a greenlet")
        print(pull.get(timeout=float(%r)), pull.get(timeout=float(%r)))
    """
    lines = "[b'app.WARNING', b'from a thread'] [b'app.WARNING', b'from a greenlet']\n"
    assert run(code % (LIMIT, LIMIT)) == (0, lines, "")
