"""Authenticator: who gets in, over real tcp, and who does not."""

import logging
import os
from pathlib import Path

import gevent
import gevent.event
import gevent.socket
import pytest
import zmq
import zmq.auth
from gevent.queue import Empty
from support import ANY, LIMIT, finish, run, script, wait_for

import zgreen
import zgreen.auth
from zgreen import keygen


class Keys:
    """A server's key pair and clients' pairs in a directory."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.server = zmq.curve_keypair()

    def new(self, name, *, known=True):
        """A client's options; its public key is in the directory if it is to be known."""
        place = self.directory if known else self.directory.parent
        _, secret_file = keygen.write_key_pair(place, name)
        return self.client(*zmq.auth.load_certificate(secret_file))

    def client(self, public, secret):
        return {zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret, zmq.CURVE_SERVERKEY: self.server[0]}

    def options(self, **more):
        """The server's."""
        return {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: self.server[1], zmq.ZAP_DOMAIN: "test"}


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys")


@pytest.fixture
def auth(pump):
    with zgreen.auth.Authenticator(pump) as auth:
        yield auth


@pytest.fixture
def clients():
    """A pump of another context: its sockets are clients as those of another process are."""
    with zgreen.Pump("clients") as pump:
        yield pump
        pump.shutdown(linger=0)


def pull(pump, options):
    return zgreen.Channel(zmq.PULL, bind=ANY, options=options, pump=pump, monitor=True)


def push(clients, server, options):
    return zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, options=options, pump=clients, monitor=True)


def gets_in(clients, server, options):
    """Connect and send one message, which arrives."""
    with push(clients, server, options) as channel:
        channel.put("let me in")
        assert server.get(timeout=LIMIT) == b"let me in"
        return channel.wait_connected(LIMIT)


def is_refused(clients, server, options):
    """Connect and send; return the event that says why, of the client's or the server's side."""
    with server.monitor() as events, push(clients, server, options) as channel:
        channel.put("let me in")
        own = channel.monitor()
        event = failure(events, own)
        assert server.statistics().received == 0
        assert not channel.wait_connected(0)
        channel.close(linger=0)
        return event


def failure(*monitors):
    """The first event that says that a handshake failed, of any of the monitors."""
    found = []

    def look():
        for monitor in monitors:
            while True:
                try:
                    event = monitor.get_nowait()
                except Empty:
                    break
                if event.name.startswith("HANDSHAKE_FAILED"):
                    found.append(event)
        return found

    return wait_for(look, "a handshake that fails")[0]


# ------------------------------------------------------------------ CURVE


def test_right_key_gets_in(pump, auth, clients, keys):
    right = keys.new("right")
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        assert gets_in(clients, server, right)
    assert auth.statistics().allowed == 1
    assert auth.statistics().denied == 0


def test_wrong_key_does_not(pump, auth, clients, keys):
    keys.new("right")
    wrong = keys.new("wrong", known=False)
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        event = is_refused(clients, server, wrong)
    assert (event.name, event.value, event.reason) == ("HANDSHAKE_FAILED_AUTH", 400, "ZAP status 400: refused")
    assert auth.statistics().key >= 1
    assert auth.statistics().allowed == 0


def test_client_without_keys_does_not(pump, auth, clients, keys):
    """libzmq sees to that: the mechanisms do not fit."""
    keys.new("right")
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        event = is_refused(clients, server, {})
    assert event.name in ("HANDSHAKE_FAILED_PROTOCOL", "HANDSHAKE_FAILED_NO_DETAIL")
    assert auth.statistics().allowed == 0


def test_plain_client_of_a_curve_server_does_not(pump, auth, clients, keys):
    auth.configure_curve(zgreen.auth.ANY)
    auth.configure_plain({"name": "word"})
    with pull(pump, keys.options()) as server:
        is_refused(clients, server, {zmq.PLAIN_USERNAME: "name", zmq.PLAIN_PASSWORD: "word"})
    assert auth.statistics().allowed == 0


def test_wrong_server_key_does_not(pump, auth, clients, keys):
    right = keys.new("right")
    right[zmq.CURVE_SERVERKEY] = zmq.curve_keypair()[0]
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        is_refused(clients, server, right)
    assert auth.statistics().allowed == 0


@pytest.mark.parametrize("age", ["new", "old"])
def test_revoked_key_does_not_and_a_new_one_does(pump, auth, clients, keys, age):
    """The file is removed while all runs: the next handshake is refused. So it is whether the directory has just been
    changed, when its time stamp may not tell of one more change, or was left alone for long."""
    right = keys.new("right")
    if age == "old":
        os.utime(keys.directory, (1, 1))
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        assert gets_in(clients, server, right)
        before = server.statistics().received
        (keys.directory / "right.key").unlink()
        with server.monitor() as events, push(clients, server, right) as revoked:
            revoked.put("let me in")
            assert failure(events).reason == "ZAP status 400: refused"
            revoked.close(linger=0)
        assert server.statistics().received == before
        assert gets_in(clients, server, keys.new("later"))
    assert auth.statistics().key >= 1


def test_key_changed_within_its_file(pump, auth, clients, keys):
    """As if the directory had been left alone for long: then reload() is needed, and is enough."""
    first, second = keys.new("client"), keys.new("second", known=False)
    os.utime(keys.directory, (1, 1))
    auth.configure_curve(keys.directory)
    text = (keys.directory.parent / "second.key").read_text()
    (keys.directory / "client.key").write_text(text)
    with pull(pump, keys.options()) as server:
        assert gets_in(clients, server, first)
        auth.reload()
        with server.monitor() as events, push(clients, server, first):
            assert failure(events).name == "HANDSHAKE_FAILED_AUTH"
        assert gets_in(clients, server, second)


def test_secret_files_and_broken_files_let_nobody_in(pump, auth, clients, keys, caplog):
    """Only *.key counts, and a file without a key is left out; the others still count."""
    (keys.directory / "broken.key").write_text("metadata\n")
    (keys.directory / "short.key").write_text('curve\n    public-key = "abc"\n')
    right = keys.new("right")
    with caplog.at_level(logging.ERROR, "zgreen.auth"):
        auth.configure_curve(keys.directory)
    assert sorted(Path(record.args[0]).name for record in caplog.records) == ["broken.key", "short.key"]
    with pull(pump, keys.options()) as server:
        assert gets_in(clients, server, right)


def test_directory_that_is_gone_denies(pump, auth, clients, keys, caplog):
    right = keys.new("right")
    auth.configure_curve(keys.directory)
    keys.directory.rename(keys.directory.parent / "away")
    with pull(pump, keys.options()) as server:
        event = is_refused(clients, server, right)
    assert event.reason == "ZAP status 300: temporary failure"
    assert auth.statistics().failed >= 1
    assert "failed, so it is denied" in caplog.text


def test_any_key(pump, auth, clients, keys):
    auth.configure_curve(zgreen.auth.ANY)
    with pull(pump, keys.options()) as server:
        assert gets_in(clients, server, keys.client(*zmq.curve_keypair()))


def test_nothing_set_up_denies(pump, auth, clients, keys):
    with pull(pump, keys.options()) as server:
        is_refused(clients, server, keys.new("right"))
    assert auth.statistics().mechanism >= 1


def test_domains_are_apart(pump, auth, clients, keys):
    """A domain's own set-up counts, else that of "*"."""
    right = keys.new("right")
    elsewhere = keys.directory.parent / "elsewhere"
    elsewhere.mkdir()
    auth.configure_curve(zgreen.auth.ANY)
    auth.configure_curve(elsewhere, domain="test")
    with pull(pump, keys.options()) as server, pull(pump, keys.options() | {zmq.ZAP_DOMAIN: "other"}) as other:
        is_refused(clients, server, right)
        assert gets_in(clients, other, right)


# ------------------------------------------------------------------ callbacks


def test_callback_that_waits_in_gevent(pump, auth, clients, keys):
    """It asks another greenlet over a real gevent socket; meanwhile others get in, one beside the other."""
    mine, theirs = gevent.socket.socketpair()
    asked = []
    released = gevent.event.Event()

    def database():
        while key := theirs.recv(40):
            released.wait()
            theirs.sendall(b"y" if key == good[zmq.CURVE_PUBLICKEY] else b"n")

    def callback(domain, key):
        asked.append((domain, key))
        if key == other[zmq.CURVE_PUBLICKEY]:
            return True
        mine.sendall(key)
        return mine.recv(1) == b"y"

    good, other = keys.client(*zmq.curve_keypair()), keys.client(*zmq.curve_keypair())
    auth.configure_curve_callback(callback)
    greenlet = gevent.spawn(database)
    with pull(pump, keys.options()) as server, push(clients, server, good) as slow:
        slow.put("slow")
        wait_for(lambda: asked, "the callback")
        assert gets_in(clients, server, other)
        assert not slow.wait_connected(0)
        released.set()
        assert server.get(timeout=LIMIT) == b"slow"
    assert asked[0] == ("test", good[zmq.CURVE_PUBLICKEY])
    mine.close()
    greenlet.get(timeout=LIMIT)
    theirs.close()


def test_callback_that_says_no(pump, auth, clients, keys):
    auth.configure_curve_callback(lambda _domain, _key: False)
    with pull(pump, keys.options()) as server:
        is_refused(clients, server, keys.client(*zmq.curve_keypair()))
    assert auth.statistics().key >= 1


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), gevent.Timeout(0), TimeoutError("slow")])
def test_callback_that_raises_denies(pump, auth, clients, keys, caplog, error):
    good = keys.client(*zmq.curve_keypair())

    def callback(_domain, key):
        if key != good[zmq.CURVE_PUBLICKEY]:
            raise error
        return True

    auth.configure_curve_callback(callback)
    with pull(pump, keys.options()) as server:
        event = is_refused(clients, server, keys.client(*zmq.curve_keypair()))
        assert event.reason == "ZAP status 300: temporary failure"
        assert gets_in(clients, server, good)
    assert auth.statistics().failed >= 1
    assert type(error).__name__ in caplog.text


def test_callback_that_never_ends_denies(pump, clients, keys, caplog):
    with zgreen.auth.Authenticator(pump, timeout=0.01) as auth:
        auth.configure_curve_callback(lambda _domain, _key: gevent.event.Event().wait())
        with pull(pump, keys.options()) as server:
            is_refused(clients, server, keys.client(*zmq.curve_keypair()))
        assert auth.statistics().failed >= 1
    assert "the callback took over" in caplog.text


def test_no_more_callbacks_at_once_than_asked(pump, clients, keys):
    running, most, done = set(), [], gevent.event.Event()

    def callback(_domain, key):
        running.add(key)
        most.append(len(running))
        done.wait()
        running.discard(key)
        return True

    with zgreen.auth.Authenticator(pump, concurrency=2) as auth:
        auth.configure_curve_callback(callback)
        with pull(pump, keys.options()) as server:
            channels = [push(clients, server, keys.client(*zmq.curve_keypair())) for _ in range(5)]
            wait_for(lambda: len(running) == 2, "two callbacks")
            wait_for(lambda: auth._waiting.qsize() == 3, "three that wait")
            done.set()
            assert all(channel.wait_connected(LIMIT) for channel in channels)
        assert max(most) == 2
        assert auth.statistics().allowed == 5


def test_too_many_that_wait_are_told_to_try_again(pump, auth, clients, keys):
    """The refusal is a temporary one: libzmq's client comes again when its handshake has timed out."""
    done = gevent.event.Event()
    auth._concurrency = 1
    auth._waiting.maxsize = 1
    auth.configure_curve_callback(lambda _domain, _key: done.wait())
    with pull(pump, keys.options()) as server:
        soon = {zmq.HANDSHAKE_IVL: 500}
        channels = [push(clients, server, keys.client(*zmq.curve_keypair()) | soon) for _ in range(4)]
        wait_for(lambda: auth.statistics().overloaded >= 2, "two that are told to come again")
        done.set()
        assert all(channel.wait_connected(LIMIT) for channel in channels)


CURVE_REQUEST = ["", "1.0", "7", "test", "127.0.0.1", "", "CURVE", bytes(32)]


def answers(dealer, number):
    """The status of so many replies to a DEALER that asks the handler."""
    return [dealer.get(timeout=LIMIT)[3] for _ in range(number)]


def test_request_that_comes_while_a_worker_ends(pump):
    """The worker has found nobody who waits, and the hub has not told anybody of its end yet."""
    with (
        zgreen.auth.Authenticator(pump, concurrency=1) as auth,
        zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer,
    ):
        arrived = []
        take, auth._take = auth._take, arrived.append

        def callback(_domain, _key):
            if arrived:
                gevent.spawn(take, arrived.pop())  # runs before what the hub does when this greenlet has ended
            return True

        auth.configure_curve_callback(callback)
        for _ in range(2):
            dealer.put(CURVE_REQUEST)
        wait_for(lambda: len(arrived) == 2, "both requests")
        take(arrived.pop())
        assert answers(dealer, 2) == [b"200", b"200"]


def test_callback_that_ends_its_greenlet_does_not_keep_the_next_ones_waiting(pump):
    with (
        zgreen.auth.Authenticator(pump, concurrency=1) as auth,
        zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer,
    ):

        def callback(_domain, _key):
            if not auth.statistics().failed:
                wait_for(lambda: auth._waiting.qsize() == 2, "two that wait")
                raise gevent.GreenletExit
            return True

        auth.configure_curve_callback(callback)
        for _ in range(3):
            dealer.put(CURVE_REQUEST)
        assert answers(dealer, 3) == [b"300", b"200", b"200"]


def test_close_in_a_callback_lets_it_go_on(pump):
    """It does not kill, or wait for, its caller."""
    closed = []
    with (
        zgreen.auth.Authenticator(pump) as auth,
        zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer,
    ):

        def callback(_domain, _key):
            auth.close()
            gevent.sleep(0)
            closed.append(auth.closed)

        auth.configure_curve_callback(callback)
        dealer.put(CURVE_REQUEST)
        wait_for(lambda: closed, "the callback to go on")
    assert closed == [True]


def test_a_worker_that_is_killed_before_it_begins_makes_room_for_another(auth):
    auth._hire()
    (worker,) = auth._workers
    worker.kill()
    gevent.sleep(0)
    assert not auth._workers


def test_close_does_not_wait_for_callbacks_that_do_not_end(monkeypatch, pump, caplog):
    """A callback that is killed may have to give something back, over a network that does not answer."""
    monkeypatch.setattr(zgreen.auth, "_GRACE", 0.01)
    began, network, ended = gevent.event.Event(), gevent.event.Event(), gevent.event.Event()

    def callback(_domain, _key):
        try:
            began.set()
            gevent.sleep(LIMIT)
        finally:
            network.wait()
            ended.set()

    with (
        zgreen.auth.Authenticator(pump) as auth,
        zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer,
    ):
        auth.configure_curve_callback(callback)
        dealer.put(CURVE_REQUEST)
        assert began.wait(LIMIT)
        with gevent.Timeout(LIMIT):
            auth.close()
        assert not ended.is_set()
        assert "1 callbacks were killed and have not ended yet" in caplog.text
        network.set()
        assert ended.wait(LIMIT)


# ------------------------------------------------------------------ PLAIN, NULL and addresses

PLAIN_SERVER = {zmq.PLAIN_SERVER: 1, zmq.ZAP_DOMAIN: "test"}


def plain(name, password):
    return {zmq.PLAIN_USERNAME: name, zmq.PLAIN_PASSWORD: password}


def test_plain_right_and_wrong(pump, auth, clients):
    auth.configure_plain({"anne": "wört", "empty": ""})
    with pull(pump, PLAIN_SERVER) as server:
        for name, password in [("anne", "wrong"), ("bob", "wört"), ("bob", "x")]:
            assert is_refused(clients, server, plain(name, password)).value == 400
    assert auth.statistics().allowed == 0
    assert auth.statistics().password >= 3
    with pull(pump, PLAIN_SERVER) as server:
        assert gets_in(clients, server, plain("anne", "wört"))


def test_plain_passwords_of_a_domain(pump, auth, clients):
    auth.configure_plain({"anne": "one"}, domain="test")
    auth.configure_plain({"anne": "two"})
    with pull(pump, PLAIN_SERVER) as server, pull(pump, {**PLAIN_SERVER, zmq.ZAP_DOMAIN: "other"}) as other:
        is_refused(clients, server, plain("anne", "two"))
        assert gets_in(clients, server, plain("anne", "one"))
        assert gets_in(clients, other, plain("anne", "two"))


@pytest.mark.parametrize(
    "denied", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104", "::ffff:0:0/96"]
)
def test_denied_address(pump, auth, clients, keys, denied):
    auth.configure_curve(zgreen.auth.ANY)
    auth.allow("127.0.0.1")
    auth.deny(denied)
    with pull(pump, keys.options()) as server:
        is_refused(clients, server, keys.new("right"))
    assert auth.statistics().address >= 1
    assert auth.statistics().allowed == 0


def test_address_that_is_not_among_the_allowed(pump, auth, clients):
    auth.allow("192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.1", "::/64")
    with pull(pump, {zmq.ZAP_DOMAIN: "test"}) as server:
        is_refused(clients, server, {})
        auth.allow("::ffff:127.0.0.0/104")
        assert gets_in(clients, server, {})
    assert auth.statistics().address >= 1


def test_allowed_address_must_still_prove_who_it_is(pump, auth, clients):
    auth.allow("127.0.0.1")
    auth.configure_plain({"anne": "word"})
    with pull(pump, PLAIN_SERVER) as server:
        is_refused(clients, server, plain("anne", "wrong"))


def test_ipv4_client_of_an_ipv6_socket(pump, auth, clients):
    """Its address comes as ::ffff:127.0.0.1, or as the plain one."""
    auth.deny("127.0.0.1")
    options = {zmq.ZAP_DOMAIN: "test", zmq.IPV6: 1}
    with zgreen.Channel(zmq.PULL, bind="tcp://*:*", options=options, pump=pump, monitor=True) as server:
        server._lanes.endpoints.last = f"tcp://127.0.0.1:{server.last_endpoint.rpartition(':')[2]}"
        is_refused(clients, server, {})


# ------------------------------------------------------------------ the handler itself


def ask(pump, *frames):
    """What the handler answers to a request of our own."""
    with zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer:
        dealer.put(["", *frames])
        return dealer.get(timeout=LIMIT)


def test_reply_as_the_protocol_says(pump, auth):
    reply = ask(pump, "1.0", "7", "test", "127.0.0.1", "", "NULL")
    assert reply == [b"", b"1.0", b"7", b"200", b"OK", b"anonymous", b""]


@pytest.mark.parametrize(
    "frames",
    [
        ["2.0", "7", "test", "127.0.0.1", "", "NULL"],
        ["1.0", "7", "test"],
        ["1.0", "7", "test", "127.0.0.1", ""],
        ["1.0", "7", "test", "127.0.0.1", "", "PLAIN", "name alone"],
        ["1.0", "7", "test", "127.0.0.1", "", "PLAIN", "name alone", "", "more"],
        ["1.0", "7", "test", "127.0.0.1", "", "CURVE", "short"],
    ],
)
def test_malformed_request_is_counted_and_answered(pump, auth, frames):
    auth.configure_plain({"name alone": ""})
    auth.configure_curve(zgreen.auth.ANY)
    assert ask(pump, *frames)[1:4] == [b"1.0", b"7", b"400"]
    assert auth.statistics().malformed == 1
    assert ask(pump, "1.0", "8", "test", "127.0.0.1", "", "NULL")[3] == b"200"


def test_request_without_anything_to_answer_is_counted_and_logged(pump, auth, caplog):
    with zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer:
        dealer.put("x")
        dealer.put(["", "1.0"])
        wait_for(lambda: auth.statistics().malformed == 2, "both to be counted")
    assert caplog.text.count("malformed") == 2
    assert ask(pump, "1.0", "8", "test", "127.0.0.1", "", "NULL")[3] == b"200"


def test_unknown_mechanism_is_denied(pump, auth):
    assert ask(pump, "1.0", "7", "test", "127.0.0.1", "", "GSSAPI", "someone")[3] == b"400"
    assert auth.statistics().mechanism == 1


def test_one_authenticator_per_pump(pump, auth):
    with pytest.raises(zmq.ZMQError, match="has a ZAP handler") as raised:
        zgreen.auth.Authenticator(pump)
    assert raised.value.errno == zmq.EADDRINUSE
    auth.close()
    zgreen.auth.Authenticator(pump).close()


def test_close_again_and_with_the_pump(pump, auth):
    auth.close()
    auth.stop()
    assert auth.closed
    other = zgreen.auth.Authenticator(pump)
    assert not other.closed
    pump.shutdown()
    assert other.closed
    other.close()


def test_without_authenticator_an_enforced_domain_lets_nobody_in(pump, auth, clients, keys):
    """What the docstring says of the end of an authenticator."""
    auth.configure_curve(zgreen.auth.ANY)
    auth.close()
    with pull(pump, keys.options() | {zmq.ZAP_ENFORCE_DOMAIN: 1}) as server:
        is_refused(clients, server, keys.new("right"))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda auth: auth.allow("nowhere"), ValueError),
        (lambda auth: auth.allow("192.0.2.7/24"), ValueError),
        (lambda auth: auth.deny(), ValueError),
        (lambda auth: auth.deny(b"127.0.0.1"), TypeError),
        (lambda auth: auth.configure_plain(["anne"]), TypeError),
        (lambda auth: auth.configure_plain({"anne": b"word"}), TypeError),
        (lambda auth: auth.configure_plain({}, domain=b"test"), TypeError),
        (lambda auth: auth.configure_curve("/does/not/exist"), NotADirectoryError),
        (lambda auth: auth.configure_curve(__file__), NotADirectoryError),
        (lambda auth: auth.configure_curve_callback("callback"), TypeError),
        (lambda auth: zgreen.auth.Authenticator(auth._channel.pump, concurrency=0), ValueError),
        (lambda auth: zgreen.auth.Authenticator(auth._channel.pump, timeout=-1), ValueError),
        (lambda auth: zgreen.auth.Authenticator("pump"), TypeError),
    ],
)
def test_bad_input_is_an_error_at_the_call(auth, call, error):
    with pytest.raises(error):
        call(auth)
    assert not auth._allowed + auth._denied


# ------------------------------------------------------------------ patched, forked, flooded

PATCHED_PROGRAM = """
    from gevent import monkey; monkey.patch_all()
    import zmq, zgreen, zgreen.auth

    server_key, client_key = zmq.curve_keypair(), zmq.curve_keypair()
    with zgreen.Pump() as pump, zgreen.auth.Authenticator(pump) as auth, zgreen.Pump() as clients:
        auth.configure_curve_callback(lambda domain, key: key == client_key[0])
        pull = zgreen.Channel("pull", bind="tcp://127.0.0.1:*", pump=pump, options={
            zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: server_key[1], zmq.ZAP_DOMAIN: "x"})
        for public, secret in [zmq.curve_keypair(), client_key]:
            push = zgreen.Channel("push", connect=pull.last_endpoint, pump=clients, options={
                zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret, zmq.CURVE_SERVERKEY: server_key[0]})
            push.put(public)
        assert pull.get(timeout=float(%r)) == client_key[0]
        print("in")
        clients.shutdown(linger=0)
"""


def test_under_monkey_patching():
    assert run(PATCHED_PROGRAM % LIMIT) == (0, "in\n", "")


# libzmq's client does not come again after it was denied: so each round has new sockets. It ends with its input.
FLOOD = """
    import select, sys, zmq
    endpoint, server_key = sys.argv[1], sys.argv[2].encode()
    context = zmq.Context()
    print("flooding", flush=True)
    while True:
        sockets = [context.socket(zmq.PUSH) for _ in range(20)]
        for number, s in enumerate(sockets):
            s.linger = 0
            if number % 4:  # a wrong key; the others have none
                s.curve_publickey, s.curve_secretkey = zmq.curve_keypair()
                s.curve_serverkey = server_key
            s.connect(endpoint)
        if select.select([sys.stdin], [], [], 0.05)[0]:
            break
        for s in sockets:
            s.close()
    context.destroy(linger=0)
"""


def test_flood_of_bad_handshakes_does_not_delay_good_clients(pump, auth, clients, keys):
    """A second process tries again and again; meanwhile a new good client and all its messages get through, and the
    flood is seen to go on before and after."""
    good, number = keys.new("good"), 2000
    auth.configure_curve(keys.directory)
    with pull(pump, keys.options()) as server:
        flood = script(FLOOD, server.last_endpoint, keys.server[0].decode(), stdin=-1)
        try:
            wait_for(lambda: auth.statistics().key >= 100, "the flood")
            with push(clients, server, good) as channel:
                assert channel.wait_connected(LIMIT)
                before = auth.statistics().key
                sender = gevent.spawn(lambda: [channel.put(b"%d" % count) for count in range(number)])
                got = [server.get(timeout=LIMIT) for _ in range(number)]
                sender.get(timeout=LIMIT)
            assert got == [b"%d" % count for count in range(number)]
            wait_for(lambda: auth.statistics().key >= before + 100, "the flood to go on")
            assert auth.statistics().allowed == 1
        finally:
            status, out, err = finish(flood)
    assert (status, out, err) == (0, "flooding\n", "")


def test_bad_handshakes_that_wait_for_callbacks_do_not_delay_good_clients(pump, clients, keys):
    """More of them than callbacks may run at once, none of them answered: who needs no callback gets in before."""
    good, number = keys.new("good"), 30
    running, done = [], gevent.event.Event()

    def callback(_domain, key):
        running.append(key)
        done.wait()
        return False

    with zgreen.auth.Authenticator(pump, concurrency=5) as auth:
        auth.configure_curve(keys.directory)
        auth.configure_curve_callback(callback, domain="slow")
        with pull(pump, keys.options()) as server, pull(pump, keys.options() | {zmq.ZAP_DOMAIN: "slow"}) as slow:
            for _ in range(number):
                zgreen.Channel(
                    zmq.PUSH, connect=slow.last_endpoint, options=keys.client(*zmq.curve_keypair()), pump=clients
                )
            wait_for(lambda: len(running) + auth._waiting.qsize() == number, "all of them to wait")
            assert gets_in(clients, server, good)
            assert len(running) == 5
            assert auth.statistics()[:2] == (1, 0)
            done.set()
            wait_for(lambda: auth.statistics().key == number, "all of them to be denied")


def test_forked_child_leaves_it_alone(pump, auth):
    """The child's copy answers nobody, the parent's goes on."""
    assert not auth.closed
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, b"closed" if auth.closed else b"open")
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"closed"
    os.close(read)
    assert ask(pump, "1.0", "8", "test", "127.0.0.1", "", "NULL")[3] == b"200"
