"""``zgreen pub``, ``sub``, ``push``, ``pull``, ``req``, ``rep``, ``monitor``: real processes, plain pyzmq as peers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading

import gevent
import pytest
import zmq
import zmq.auth
from programs import environment
from support import LIMIT, endpoint_of, raw_socket, wait_for, wait_until_asleep

from zgreen.cli import app
from zgreen.cli.client import formats
from zgreen.cli.command import parser_of

pytestmark = pytest.mark.once

ANY = "tcp://127.0.0.1:*"
MANY = 100_000
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


class Client:
    """``python -m zgreen *arguments*``; as a context manager, at whose end it is killed."""

    def __init__(self, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zgreen", *arguments],
            stdin=stdin, stdout=stdout, stderr=stderr, env=environment(), **options,
        )  # fmt: skip
        self._limit = threading.Timer(LIMIT, self.process.kill)
        self._limit.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._limit.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def place(self):
        """Where it is bound, as it says."""
        return re.search(r"bound to (\S+)", self.process.stderr.readline().decode())[1]

    def end(self, data=None):
        """Exit status, standard output and standard error, from now on; *data* is the rest of standard input."""
        out, err = self.process.communicate(data)
        return self.process.returncode, out, err.decode() if err is not None else None

    def told(self, number):
        """`end`, once it is told to."""
        self.process.send_signal(number)
        return self.end()


def run(*arguments, stdin=b"", status=0):
    """Standard output and standard error of one that ends by itself."""
    with Client(*arguments) as client:
        found, out, err = client.end(stdin)
    assert found == status, err
    assert "Traceback" not in err
    return out, err


def got(socket, number):
    return [socket.recv_multipart() for _ in range(number)]


# -- push and pub


def test_push_sends_each_line_as_it_is():
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        run("push", endpoint_of(pull), stdin=b"one\n\xff\x00 two\r\n\nlast")
        assert got(pull, 4) == [[b"one"], [b"\xff\x00 two\r"], [b""], [b"last"]]
        assert not pull.poll(0)


def test_push_sends_arguments_again_and_again():
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        run("push", endpoint_of(pull), "a", "--count", "3", "b")
        assert got(pull, 3) == [[b"a"], [b"b"], [b"a"]]


def test_push_binds():
    with Client("push", "--bind", ANY, "hello") as client, raw_socket(zmq.PULL, connect=client.place()) as pull:
        assert pull.recv() == b"hello"
        assert client.end() == (0, b"", "")


@pytest.mark.parametrize("command", ["push", "pub"])
def test_many_lines_arrive_in_order_at_a_peer_that_is_slow(command):
    """Its queues are short, so it holds up the sender; a publisher that drops would lose most of them."""
    kind = zmq.PULL if command == "push" else zmq.SUB
    lines = b"".join(b"%d\n" % number for number in range(MANY))
    with raw_socket(kind, rcvhwm=10, rcvbuf=4096) as peer:
        peer.bind(ANY)
        if command == "pub":
            peer.subscribe(b"")
        with Client(command, endpoint_of(peer), "--linger", str(LIMIT)) as client:
            writer = threading.Thread(target=lambda: client.process.stdin.write(lines) and client.process.stdin.close())
            writer.start()
            for number in range(MANY):
                assert peer.recv() == b"%d" % number
            writer.join()
            client.process.stdin = None
            assert client.end() == (0, b"", "")


@pytest.mark.parametrize("options", [(), ("--raw",)])
def test_a_big_message(options):
    """In one piece, from many reads: as a line without an end, and as a whole file."""
    content = bytes(range(11, 256)) * 200_000
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        run("push", endpoint_of(pull), *options, stdin=content)
        assert pull.recv() == content


def test_pub_waits_for_a_subscriber_to_the_first_message():
    with Client("pub", "--bind", ANY, "weather 21C", "--wait", str(LIMIT)) as client, raw_socket(zmq.SUB) as sub:
        sub.connect(client.place())
        sub.subscribe(b"other")
        sub.subscribe(b"weath")
        assert sub.recv() == b"weather 21C"
        assert client.end() == (0, b"", "")


def test_pub_puts_a_topic_before_each_message():
    with Client("pub", "--bind", ANY, "--topic", "w", "--wait", str(LIMIT)) as client, raw_socket(zmq.SUB) as sub:
        sub.connect(client.place())
        sub.subscribe(b"w")
        client.write(b"1\n2\n")
        assert got(sub, 2) == [[b"w", b"1"], [b"w", b"2"]]
        assert client.end() == (0, b"", "")


def test_pub_says_that_nobody_has_subscribed(tmp_path):
    _, err = run("pub", "--bind", f"ipc://{tmp_path}/pub", "alone", "--wait", "0.01", status=1)
    assert err == (
        "python -m zgreen pub: no subscriber to 'alone' has come within 0.01 s, so messages may have been lost\n"
    )


def test_pub_need_not_wait(tmp_path):
    assert run("pub", "--bind", f"ipc://{tmp_path}/pub", "alone", "--wait", "0") == (b"", "")


def test_a_rate_holds_messages_back():
    """The second would come in a quarter of an hour."""
    with raw_socket(zmq.PULL, bind=ANY) as pull, Client("push", endpoint_of(pull), "--rate", "0.001") as client:
        client.write(b"1\n2\n3\n")
        assert pull.recv() == b"1"
        status, _, err = client.told(signal.SIGINT)
        assert (status, err) == (130, "python -m zgreen push: got SIGINT: 1 message sent, 2 not sent\n")


@pytest.mark.parametrize("arguments", [(), ("1", "2", "3"), ("1", "--count", "3")])
def test_what_was_not_sent_is_said(arguments):
    _, err = run("push", "tcp://127.0.0.1:1", *arguments, "--linger", "0.01", stdin=b"1\n2\n3\n", status=1)
    assert err == "python -m zgreen push: 0 messages sent, 3 not sent\n"


@BOTH
def test_arguments_that_were_never_put_are_not_sent(number):
    with Client("pub", "--bind", ANY, "1", "2", "3", "--wait", "3600") as client:
        client.place()
        status, _, err = client.told(number)
    assert (status, err) == (128 + number, f"python -m zgreen pub: got {number.name}: 0 messages sent, 3 not sent\n")


def test_a_timeout_of_a_peer_that_takes_nothing():
    lines = b"".join(b"%d\n" % number for number in range(5000))
    _, err = run("push", "tcp://127.0.0.1:1", "--timeout", "0.1", "--linger", "0", stdin=lines, status=1)
    assert err.startswith("python -m zgreen push: no peer has taken a message for 0.1 s\n")
    assert re.search(r" 0 messages sent, [\d,]+ not sent\n$", err)


def test_standard_input_that_is_closed():
    with Client("push", "tcp://127.0.0.1:1", stdin=None, preexec_fn=lambda: os.close(0)) as client:
        assert client.end() == (1, b"", "python -m zgreen push: standard input is closed\n")


# -- pull and sub


def test_pull_shows_each_message_as_it_is():
    with raw_socket(zmq.PUSH, bind=ANY) as push, Client("pull", endpoint_of(push), "--count", "4") as client:
        for frames in ([b"one"], [b"\xff\x00"], [b""], [b"a", b"b"]):
            push.send_multipart(frames)
        assert client.end() == (0, b"one\n\xff\x00\n\na b\n", "")


def test_pull_takes_no_more_than_the_count():
    with raw_socket(zmq.PUSH, bind=ANY, sndhwm=1) as push:
        out, _ = run_with(push, ("pull", endpoint_of(push), "--count", "2"), [b"1", b"2"])
        assert out == b"1\n2\n"


def run_with(socket, arguments, messages):
    """`run`, and send it messages."""
    with Client(*arguments) as client:
        for message in messages:
            socket.send(message)
        status, out, err = client.end()
    assert status == 0, err
    return out, err


def test_pull_shows_many_in_order():
    with raw_socket(zmq.PUSH, bind=ANY) as push, Client("pull", endpoint_of(push), "--count", str(MANY)) as client:
        sender = threading.Thread(target=lambda: [push.send(b"%d" % number) for number in range(MANY)])
        sender.start()
        status, out, err = client.end()
        sender.join()
        assert (status, err) == (0, "")
        assert out == b"".join(b"%d\n" % number for number in range(MANY))


def test_pull_of_a_big_message_as_it_is():
    content = bytes(range(256)) * 200_000
    with raw_socket(zmq.PUSH, bind=ANY) as push:
        out, _ = run_with(push, ("pull", endpoint_of(push), "--raw", "--count", "1"), [content])
        assert out == content


def test_pull_of_several_and_bound(tmp_path):
    with (
        raw_socket(zmq.PUSH, bind=ANY) as one,
        raw_socket(zmq.PUSH, bind=f"ipc://{tmp_path}/two") as two,
        Client("pull", endpoint_of(one), f"ipc://{tmp_path}/two", "--count", "2") as client,
    ):
        one.send(b"1")
        two.send(b"2")
        assert sorted(client.end()[1].split()) == [b"1", b"2"]
    with Client("pull", "--bind", ANY, "--count", "1") as client, raw_socket(zmq.PUSH, connect=client.place()) as push:
        push.send(b"3")
        assert client.end() == (0, b"3\n", "")


def test_sub_subscribes_to_topics():
    with raw_socket(zmq.XPUB, bind=ANY) as pub:
        with Client("sub", endpoint_of(pub), "--topic", "a", "--topic", "bc", "--count", "2") as client:
            assert sorted(pub.recv() for _ in range(2)) == [b"\1a", b"\1bc"]
            for message in (b"no", b"b", b"bcd", b"a"):
                pub.send(message)
            assert client.end() == (0, b"bcd\na\n", "")
        with Client("sub", endpoint_of(pub), "--count", "1") as client:
            while pub.recv() != b"\1":  # the other subscriber has left
                pass
            pub.send(b"all")
            assert client.end() == (0, b"all\n", "")


@pytest.mark.parametrize(
    ("count", "sent", "status"), [((), 1, 0), ((), 0, 1), (("--count", "2"), 1, 1), (("--count", "2"), 2, 0)]
)
def test_a_timeout_says_whether_all_have_come(count, sent, status):
    with (
        raw_socket(zmq.PUSH, bind=ANY) as push,
        Client("pull", endpoint_of(push), "--timeout", "2" if sent else "0.01", *count) as client,
    ):
        for _ in range(sent):
            push.send(b"x")
        found, out, err = client.end()
    if found != status:  # a machine that was too slow for the timeout has got fewer
        assert len(out.split()) < sent
    if found == 1:
        wanted = int(count[1]) if count else 1
        assert re.search(rf" messages have come, {wanted} were asked for; none for [\d.]+ s\n$", err)


def test_what_is_shown_on_a_terminal_cannot_command_it():
    ours, theirs = pty.openpty()
    with (
        raw_socket(zmq.PUSH, bind=ANY) as push,
        Client("pull", endpoint_of(push), "--count", "1", stdout=theirs) as client,
    ):
        os.close(theirs)
        push.send_multipart(["grün\t".encode(), b"\x1b[2J\xff\r\n", "\u202e".encode()])
        assert client.end()[0] == 0
    assert read_all(ours).decode() == "grün\t \\x1b[2J\\xff\\r\\n \\u202e\r\n"


# -- formats


FRAMES = [[b"text"], [b"", b"\xff\x00\n"], ["gr\u00fcn".encode(), b"a b", b"-"], [b""]]


@pytest.mark.parametrize(
    "options",
    [("--json",), ("--json", "--hex"), ("--hex",), ("--delimiter", "length"), ("--hex", "--delimiter", "nul")],
)
def test_what_is_shown_can_be_sent_again(options):
    """Whatever the frames are."""
    with raw_socket(zmq.PUSH, bind=ANY) as push, raw_socket(zmq.PULL, bind=ANY) as pull:
        with Client("pull", endpoint_of(push), "--count", str(len(FRAMES)), *options) as client:
            for frames in FRAMES:
                push.send_multipart(frames)
            status, out, err = client.end()
            assert (status, err) == (0, "")
        run("push", endpoint_of(pull), *options, stdin=out)
        assert got(pull, len(FRAMES)) == FRAMES


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "options", [("--json",), ("--hex", "--delimiter", "nul"), ("--delimiter", "length"), ("--hex",)]
)
def test_reads_may_end_anywhere(options, size):
    """A pipe gives what is there."""
    arguments = parser_of(app.command("push"), "zgreen").parse_intermixed_args(["tcp://a:1", *options])
    how = formats.format_of(arguments, to_terminal=False)
    stream = b"".join(how.show(frames) for frames in FRAMES)
    splitter, found = formats.splitter_of(how), []
    for start in range(0, len(stream), size):
        splitter.feed(stream[start : start + size])
        found += splitter.messages()
    splitter.feed(b"")
    assert found == FRAMES
    assert [*splitter.messages()] == []
    assert splitter.left() == 0


def test_json_says_what_is_text():
    with raw_socket(zmq.PUSH, bind=ANY) as push:
        for options, binary in ((), {"base64": "/wA="}), (("--hex",), {"hex": "ff00"}):
            with Client("pull", endpoint_of(push), "--count", "1", "--json", *options) as client:
                push.send_multipart([b"text", b"\xff\x00"])
                assert json.loads(client.end()[1]) == {"frames": ["text", binary]}


@pytest.mark.parametrize(
    ("options", "given", "frames"),
    [
        (("--multipart", ","), b"a,,b\n", [b"a", b"", b"b"]),
        (("--multipart", "\\t"), b"a\tb\n", [b"a", b"b"]),
        (("--multipart", "\u00fc"), "a\u00fcb".encode(), [b"a", b"b"]),
        (("--delimiter", "nul"), b"two\nlines\0", [b"two\nlines"]),
        (("--raw",), b"two\nlines\n", [b"two\nlines\n"]),
        (("--hex",), b"61 6263 -\n", [b"a", b"bc", b""]),
        (("--json",), b'"a"\n', [b"a"]),
        (("--json",), b'["a", {"hex": "FF"}, {"base64": "/w=="}, {"text": "b"}]', [b"a", b"\xff", b"\xff", b"b"]),
        (("--json",), b'{"frames": "a", "more": 1}', [b"a"]),
    ],
)
def test_what_can_be_sent(options, given, frames):
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        run("push", endpoint_of(pull), *options, stdin=given)
        assert pull.recv_multipart() == frames
        if b"\0" not in given and not given.endswith(b"\n\n"):
            run("push", endpoint_of(pull), *options, given if "--raw" in options else given.rstrip(b"\n"))
            assert pull.recv_multipart() == frames


@pytest.mark.parametrize(
    ("options", "line", "complaint"),
    [
        (("--json",), b"nosuch", "'nosuch' is no JSON"),
        (("--json",), b"[]", "a message has at least one frame"),
        (("--json",), b"[1]", '1 is no frame: give a text, {"base64": ...} or {"hex": ...}, or a list of those'),
        (("--json",), b'{"hex": "f"}', 'the frame {"hex": "f"} cannot be decoded: '),
        (("--json",), b'{"base64": 1}', 'the frame {"base64": 1} cannot be decoded: '),
        (("--json",), b'"\\ud800"', 'the frame "\\ud800" cannot be decoded: '),
        (("--hex",), b"abc", "'abc' is not hexadecimal digits, two for each byte"),
    ],
)
def test_what_cannot_be_sent_is_one_line(options, line, complaint):
    """What came before it is sent, and what comes after it is not."""
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        good = b'"00"' if "--json" in options else b"00"
        _, err = run("push", endpoint_of(pull), *options, stdin=b"%s\n%s\n%s\n" % (good, line, good), status=1)
        assert err.startswith(f"python -m zgreen push: standard input, message 2: {complaint}")
        assert err.endswith("python -m zgreen push: 1 message sent, 2 not sent\n")
        assert pull.recv() == (b"00" if "--json" in options else b"\0")
    _, err = run("push", "tcp://127.0.0.1:1", *options, line, status=2)
    assert err.startswith(f"python -m zgreen push: argument MESSAGE: {complaint}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("data", [b"hello\n", b"\0" * 8, b"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5abc"])
def test_lengths_that_are_none(data):
    _, err = run("push", "tcp://127.0.0.1:1", "--delimiter", "length", stdin=data, status=1)
    assert err.endswith("is it of the delimiter 'length'?\n")
    assert err.count("\n") == 1


# -- req and rep


def test_req_asks_and_shows_replies():
    with raw_socket(zmq.REP, bind=ANY) as rep, Client("req", endpoint_of(rep)) as client:
        client.write(b"one\n")
        assert rep.recv() == b"one"
        rep.send_multipart([b"1", b"eins"])
        assert client.process.stdout.readline() == b"1 eins\n"
        client.write(b"two\n")
        assert rep.recv() == b"two"
        rep.send(b"2")
        assert client.end() == (0, b"2\n", "")


def test_req_speaks_with_servers_of_any_kind():
    """Nothing but an empty frame stands between the envelope and the request."""
    with (
        raw_socket(zmq.ROUTER, bind=ANY) as router,
        Client("req", endpoint_of(router), "a,b", "--multipart", ",") as client,
    ):
        sender, *frames = router.recv_multipart()
        assert frames == [b"", b"a", b"b"]
        router.send_multipart([sender, b"", b"c", b"d"])
        assert client.end() == (0, b"c,d\n", "")


def test_a_request_without_reply_does_not_stop_the_next():
    with (
        raw_socket(zmq.ROUTER, bind=ANY) as router,
        Client("req", endpoint_of(router), "lost", "next", "--timeout", "2") as client,
    ):
        late, *frames = router.recv_multipart()
        assert frames == [b"", b"lost"]
        sender, *frames = router.recv_multipart()
        assert frames == [b"", b"next"]
        router.send_multipart([late, b"", b"late"])
        router.send_multipart([sender, b"", b"answer"])
        status, out, err = client.end()
    assert status == 1
    assert out == b"answer\n" or "request 2: no reply" in err  # on a machine that was too slow
    assert err.startswith("python -m zgreen req: request 1: no reply within 2 s\n")


@pytest.mark.parametrize(
    ("options", "request_", "reply"),
    [
        (("--echo",), [b"a", b"\xff"], [b"a", b"\xff"]),
        (("--reply", "pong"), [b"ping"], [b"pong"]),
        (("--command", "tr a-z A-Z"), [b"shout"], [b"SHOUT"]),
        (("--command", "tr a-z A-Z; echo; echo", "--raw"), [b"shout"], [b"SHOUT\n\n"]),
        (("--command", "cat", "--multipart", ","), [b"a", b"b"], [b"a", b"b"]),
        (("--command", "true"), [b"x" * 20_000], [b""]),
    ],
)
def test_rep_answers(options, request_, reply):
    with Client("rep", "--bind", ANY, "--count", "2", *options) as client, raw_socket(zmq.REQ) as req:
        req.connect(client.place())
        for _ in range(2):
            req.send_multipart(request_)
            assert req.recv_multipart() == reply
        status, out, err = client.end()
        assert (status, err) == (0, "")
        assert out.count(request_[0]) == 2


def test_rep_says_that_its_command_failed():
    with Client("rep", "--bind", ANY, "--count", "1", "--command", "echo sorry; exit 3") as client:
        with raw_socket(zmq.REQ, connect=client.place()) as req:
            req.send(b"x")
            assert req.recv() == b"sorry"
        assert client.end() == (1, b"x\n", "python -m zgreen rep: request 1: the command ended with status 3\n")


@BOTH
def test_rep_ends_its_command(number, tmp_path):
    command = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 3600"
    with Client("rep", "--bind", ANY, "--command", command) as client, raw_socket(zmq.REQ) as req:
        req.connect(client.place())
        req.send(b"x")
        wait_for((tmp_path / "pid").exists, "the command")
        status, _, err = client.told(number)
        assert status == 128 + number
        assert err == f"python -m zgreen rep: got {number.name}: 0 requests answered\n"
        pid = int((tmp_path / "pid").read_text())
        wait_for(lambda: not is_running(pid), "the end of the command")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- monitor


def test_monitor_shows_events():
    with raw_socket(zmq.ROUTER, bind=ANY) as router, Client("monitor", endpoint_of(router), "--json") as client:
        names = set()
        while "HANDSHAKE_SUCCEEDED" not in names:
            event = json.loads(client.process.stdout.readline())
            assert set(event) == {"time", "name", "endpoint", "value", "reason"}
            names.add(event["name"])
        assert "CONNECTED" in names
        status, _, err = client.told(signal.SIGINT)
        assert status == 130
        assert re.fullmatch(r"python -m zgreen monitor: got SIGINT: \d+ events\n", err)


def test_monitor_says_why_something_failed():
    with raw_socket(zmq.PULL, plain_server=1) as pull:
        pull.bind(ANY)
        with Client("monitor", endpoint_of(pull), "--type", "push") as client:
            while b"HANDSHAKE_FAILED_PROTOCOL" not in (line := client.process.stdout.readline()):
                assert line
        assert re.search(rf"HANDSHAKE_FAILED_PROTOCOL {endpoint_of(pull)} \S+", line.decode())


def test_monitor_counts_and_waits():
    with Client("monitor", "--bind", ANY, "--count", "1") as client:
        assert re.fullmatch(rb"\d\d:\d\d:\d\d LISTENING tcp://127\.0\.0\.1:\d+\n", client.end()[1])
    _, err = run("monitor", "--bind", ANY, "--count", "2", "--timeout", "0.01", status=1)
    assert err.endswith("python -m zgreen monitor: 1 event, and none for 0.01 s\n")


# -- CURVE


@pytest.fixture
def keys(tmp_path):
    """A directory with certificates of a server and a client; their keys."""
    for name in ("server", "client"):
        run("keygen", "--directory", str(tmp_path), name)
    return tmp_path, {name: zmq.auth.load_certificate(tmp_path / f"{name}.key_secret") for name in ("server", "client")}


def test_a_client_of_a_server_with_curve(keys):
    folder, pairs = keys
    with raw_socket(zmq.PULL, curve_server=1, curve_secretkey=pairs["server"][1]) as pull:
        pull.bind(ANY)
        options = ("--curve-server-key", str(folder / "server.key"))
        run("push", endpoint_of(pull), "secret", *options)
        assert pull.recv() == b"secret"
        run("push", endpoint_of(pull), "known", *options, "--curve-cert", str(folder / "client.key_secret"))
        assert pull.recv() == b"known"


def test_a_server_with_curve_and_the_clients_that_it_knows(keys):
    folder, pairs = keys
    known, stranger = pairs["client"], zmq.curve_keypair()
    options = ("--curve-server", str(folder / "server.key_secret"), "--curve-clients", str(folder))
    with Client("pull", "--bind", ANY, "--count", "1", *options) as client, contextlib.ExitStack() as sockets:
        place = client.place()
        for pair in (stranger, known):
            push = sockets.enter_context(
                raw_socket(
                    zmq.PUSH, curve_serverkey=pairs["server"][0], curve_publickey=pair[0], curve_secretkey=pair[1]
                )
            )
            push.connect(place)
            push.send(b"of the stranger" if pair is stranger else b"of a client")
        assert client.end()[1] == b"of a client\n"


def test_what_a_peer_refuses_is_not_sent(keys):
    """libzmq drops it without a word, whenever it hears of that: so each time it is said."""
    folder, _ = keys
    (folder / "nobody").mkdir()
    server = ("--curve-server", str(folder / "server.key_secret"), "--curve-clients", str(folder / "nobody"))
    key = ("--curve-server-key", str(folder / "server.key"))
    with Client("pull", "--bind", ANY, *server) as pull:
        place = pull.place()
        for _ in range(5):
            _, err = run("push", place, "1", "2", *key, status=1)
            said, summary = err.splitlines()
            assert said == f"python -m zgreen push: {place}: the handshake failed: ZAP status 400: refused"
            assert summary == "python -m zgreen push: 0 messages sent, 2 not sent"


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        (("--curve-server-key", "nosuch"), 1, "nosuch: No such file or directory"),
        (("--curve-server-key", "/dev/null"), 1, "/dev/null is no certificate: "),
        (("--curve-cert", "nosuch"), 2, "--curve-cert needs --curve-server-key: the certificate of the server"),
        (("--curve-clients", "."), 2, "--curve-clients is for --curve-server: give that, too"),
        (("--curve-server", "a", "--curve-server-key", "b"), 2, "--curve-server is for the one side, "),
    ],
)
def test_certificates_that_cannot_be(options, status, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, err = run("pull", "tcp://127.0.0.1:1", *options, status=status)
    assert err.startswith(f"python -m zgreen pull: {complaint}")
    assert err.count("\n") == 1


def test_a_public_certificate_has_no_secret_key(keys):
    folder, _ = keys
    _, err = run("pull", "--bind", ANY, "--curve-server", str(folder / "server.key"), status=1)
    assert err == f"python -m zgreen pull: {folder}/server.key has no secret key: give the file NAME.key_secret\n"


# -- told to end, at any time


@BOTH
@pytest.mark.parametrize("command", ["push", "pull", "sub", "req", "rep", "pub", "monitor"])
def test_one_that_waits_for_a_peer_that_is_not_there(command, number):
    more = {"rep": ("--echo",), "push": ("a",), "pub": ("a", "--wait", "3600"), "req": ("a",)}.get(command, ())
    linger = ("--linger", "3600") if command in ("push", "pub") else ()
    with Client(command, "--bind", ANY, *more, *linger) as client:
        client.place()
        if command == "monitor":
            assert b"LISTENING" in client.process.stdout.readline()
        status, out, err = client.told(number)
    assert (status, out) == (128 + number, b"")
    assert re.fullmatch(rf"python -m zgreen {command}: got {number.name}: .*\n", err)


@BOTH
def test_one_that_waits_for_standard_input(number):
    with raw_socket(zmq.PULL, bind=ANY) as pull, Client("push", endpoint_of(pull)) as client:
        client.write(b"one\ntw")
        assert pull.recv() == b"one"
        client.process.send_signal(number)
        assert client.process.wait() == 128 + number
        assert client.process.stderr.read().decode() == (
            f"python -m zgreen push: got {number.name}: 1 message sent, 0 not sent\n"
        )


@BOTH
def test_one_in_a_flood(number):
    """The peer sends without end: the loop is never idle."""
    with (
        Client("pull", "--bind", ANY, stdout=subprocess.DEVNULL) as client,
        raw_socket(zmq.PUSH, connect=client.place(), sndtimeo=1000) as push,
    ):
        ended = threading.Event()
        flood = threading.Thread(target=send_until, args=(push, ended))
        flood.start()
        try:
            before = cpu_of(client.process.pid)
            wait_for(lambda: cpu_of(client.process.pid) > before + 20, "the flood")
            status, _, err = client.told(number)
        finally:
            ended.set()
            flood.join()
    assert status == 128 + number
    found = re.fullmatch(rf"python -m zgreen pull: got {number.name}: ([\d,]+) messages shown.*\n", err)
    assert int(found[1].replace(",", "")) > 1000


def send_until(socket, ended):
    with contextlib.suppress(zmq.Again):
        while not ended.is_set():
            socket.send(b"x" * 100)


def cpu_of(pid):
    """Clock ticks that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@BOTH
def test_one_whose_reader_does_not_read(number):
    """Standard output is full: what was received and not shown is counted."""
    read, write = os.pipe()
    with raw_socket(zmq.PUSH, bind=ANY) as push, Client("pull", endpoint_of(push), stdout=write) as client:
        os.close(write)
        for _ in range(1500):  # fewer than fit into ZeroMQ's queues, and far more than into the pipe
            push.send(b"x" * 1000)
        wait_for(lambda: waiting_in(read) > 60_000, "a full pipe")
        wait_until_asleep(client.process.pid)
        status, _, err = client.told(number)
        shown = os.read(read, 1_000_000)
        while more := os.read(read, 1_000_000):
            shown += more
    os.close(read)
    assert status == 128 + number
    found = re.fullmatch(
        rf"python -m zgreen pull: got {number.name}: ([\d,]+) messages shown, ([\d,]+) received and not shown\n", err
    )
    assert found, err
    assert shown.count(b"\n") == int(found[1].replace(",", ""))
    assert int(found[2].replace(",", "")) > 0


def waiting_in(descriptor):
    """How many bytes can be read."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]


@BOTH
def test_what_was_read_is_sent_or_counted(number):
    """A peer that takes a few: what it gets, and what is said not to be sent, are together all that was read."""
    with raw_socket(zmq.PULL, bind=ANY, rcvhwm=1, rcvbuf=4096) as pull, Client("push", endpoint_of(pull)) as client:
        line = b"x" * 4095 + b"\n"
        assert len(line) <= select.PIPE_BUF
        client.write(line)
        assert pull.recv()
        for _ in range(2000):  # there are two queues for 1,000 each
            client.write(line)
        while select.select([], [client.process.stdin], [], 1.0)[1]:  # until all is full
            client.write(line)
        client.process.send_signal(number)
        assert client.process.wait() == 128 + number
        err = client.process.stderr.read().decode()
        sent, unsent = (int(each.replace(",", "")) for each in re.search(r": ([\d,]+) m.*, ([\d,]+) not", err).groups())
        assert unsent > 0
        received = 1
        while pull.poll(2000):
            received += len(pull.recv()) == len(line) - 1
        assert received >= sent  # of those that libzmq had, it is not known which have gone out
        assert received <= sent + unsent


def test_one_that_waits_for_delivery_waits_no_longer():
    with Client("push", "--bind", ANY, "--linger", "3600") as client:
        client.place()
        client.write(b"1\n2\n")
        client.process.stdin.close()
        client.process.stdin = None
        wait_until_asleep(client.process.pid)  # it has read all that there is
        status, _, err = client.told(signal.SIGINT)
        assert status == 130
        assert err == "python -m zgreen push: got SIGINT: 0 messages sent, 2 not sent\n"


@pytest.mark.parametrize("pause", [0.0, 0.2], ids=["the same", "another"])
def test_a_second_signal_changes_only_how_long_it_waits(pause):
    """timeout(1) sends each signal twice. One that comes later (*pause* is longer than what counts as one) ends the
    wait for delivery; what was not sent is said all the same."""
    with Client("push", "--bind", ANY, "--linger", "3600") as client:
        client.place()
        client.write(b"1\n2\n")
        wait_until_asleep(client.process.pid)  # it has read all that there is
        client.process.send_signal(signal.SIGINT)
        gevent.sleep(pause)
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait() == 130
        assert client.process.stderr.read().decode() == (
            "python -m zgreen push: got SIGINT: 0 messages sent, 2 not sent\n"
        )


# -- standard output that is closed, or full


def test_a_reader_that_leaves_is_no_word():
    read, write = os.pipe()
    with raw_socket(zmq.PUSH, bind=ANY) as push, Client("pull", endpoint_of(push), stdout=write) as client:
        os.close(write)
        push.send(b"1")
        assert os.read(read, 10) == b"1\n"
        os.close(read)
        push.send(b"2")
        assert client.end() == (1, None, "")


def test_a_full_standard_output_is_one_line():
    with (
        open("/dev/full", "wb") as full,
        raw_socket(zmq.PUSH, bind=ANY) as push,
        Client("pull", endpoint_of(push), stdout=full) as client,
    ):
        push.send(b"1")
        assert client.end() == (1, None, "python -m zgreen pull: standard output: No space left on device\n")


def test_a_regular_file_is_written_and_read(tmp_path):
    """The loop cannot watch one."""
    (tmp_path / "in").write_bytes(b"1\n2\n")
    with raw_socket(zmq.PULL, bind=ANY) as pull, (tmp_path / "in").open("rb") as stdin:
        with Client("push", endpoint_of(pull), stdin=stdin) as client:
            assert client.end()[0] == 0
        assert got(pull, 2) == [[b"1"], [b"2"]]
    with (
        raw_socket(zmq.PUSH, bind=ANY) as push,
        (tmp_path / "out").open("wb") as stdout,
        Client("pull", endpoint_of(push), "--count", "2", stdout=stdout) as client,
    ):
        push.send(b"1")
        push.send(b"2")
        assert client.end()[0] == 0
    assert (tmp_path / "out").read_bytes() == b"1\n2\n"


# -- a terminal


def read_all(descriptor):
    """What is left to be read of a terminal whose other side is closed."""
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(descriptor, 65536):
            shown += data
    os.close(descriptor)
    return shown


def test_the_line_of_rates():
    """On the terminal, while standard output is data."""
    ours, theirs = pty.openpty()
    with (
        raw_socket(zmq.PUSH, bind=ANY) as push,
        Client("pull", endpoint_of(push), "--count", "3", stderr=theirs) as client,
    ):
        os.close(theirs)
        shown = b""
        for number in (1, 2):
            push.send(b"x")
            while b"received %d (" % number not in shown:
                shown += os.read(ours, 65536)
        push.send(b"x")
        status, out, _ = client.end()
        shown += read_all(ours)
    assert (status, out) == (0, b"x\nx\nx\n")
    assert re.search(rb"\rreceived 1 \(\d+/s, [\d.]+ B/s\)\x1b\[K", shown)
    assert shown.endswith(b"\r\x1b[Kpython -m zgreen pull: 3 messages received\r\n")


def test_no_line_where_data_is_shown_or_typed():
    for name, stream in (("pull", "stdout"), ("push", "stdin")):
        ours, theirs = pty.openpty()
        kind = zmq.PUSH if name == "pull" else zmq.PULL
        with (
            raw_socket(kind, bind=ANY) as peer,
            Client(name, endpoint_of(peer), "--count", "1", stderr=theirs, **{stream: theirs}) as client,
        ):
            os.close(theirs)
            if name == "pull":
                peer.send(b"hello")
            else:
                os.write(ours, b"hello\n")
                assert peer.recv() == b"hello"
            client.process.stdin = None if name == "push" else client.process.stdin
            assert client.end()[0] == 0
        assert read_all(ours) == b"hello\r\n"


# -- wrong usage


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("push",), " push: the following arguments are required: ENDPOINT"),
        (
            ("push", "nosuch"),
            " push: argument ENDPOINT: 'nosuch' is no endpoint: give one like tcp://127.0.0.1:5555 or ",
        ),
        (("pull", "tcp://a:1", "--count", "0"), " pull: argument --count: 0 is not possible: give 1 or more"),
        (("pull", "tcp://a:1", "--bind", "--connect"), " pull: argument --connect: not allowed with argument --bind"),
        (("push", "tcp://a:1", "--rate", "0"), " push: argument --rate: 0 is not possible: give a number above 0"),
        (("push", "tcp://a:1", "--linger", "-1"), " push: argument --linger: -1 is not possible: give 0 or more"),
        (("push", "tcp://a:1", "--multipart", ""), " push: argument --multipart: nothing cannot stand between frames"),
        (("push", "tcp://a:1", "--topic", "a"), " push: unrecognized arguments: --topic a"),
        (("sub", "tcp://a:1", "--delimiter", "x"), " sub: argument --delimiter: invalid choice: 'x' (choose from "),
        (("rep", "tcp://a:1"), " rep: one of the arguments --echo --reply --command is required"),
        (("monitor", "tcp://a:1", "--type", "stream"), " monitor: argument --type: invalid choice: 'stream' (choose "),
    ],
)
def test_wrong_usage_is_one_line(arguments, complaint):
    out, err = run(*arguments, status=2)
    assert out == b""
    assert err.startswith(f"python -m zgreen{complaint}"), err
    assert err.endswith(f"; see 'python -m zgreen {arguments[0]} --help'\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["push", "pull", "monitor"])
def test_an_endpoint_that_libzmq_refuses_is_one_line(command):
    with raw_socket(zmq.REP, bind=ANY) as taken:
        place = endpoint_of(taken)
        _, err = run(command, "--bind", place, status=1)
        assert err == f"python -m zgreen {command}: {place}: Address already in use\n"
