"""Every decision of an Authenticator, asked for as libzmq does: a ZAP request is answered 200 or the client stays out.

One wrong word in the code that decides lets somebody in, so each rule has a request on either side of it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import zmq
from support import LIMIT, wait_for
from zmq.utils import z85

import zgreen
import zgreen.auth
from zgreen import keygen

ALLOWED, TRY_AGAIN, REFUSED = b"200", b"300", b"400"
HERE, IPC = "127.0.0.1", ""


@pytest.fixture
def auth(pump):
    with zgreen.auth.Authenticator(pump) as auth:
        yield auth


@pytest.fixture
def ask(pump, auth):
    """Ask whether a client may connect: the status, after a look at the rest of the answer."""
    with zgreen.Channel(zmq.DEALER, connect=zgreen.auth.ENDPOINT, pump=pump) as dealer:

        def ask(mechanism="NULL", *credentials, domain="test", address=HERE):
            before = auth.statistics()
            dealer.put(["", "1.0", "number", domain, address, "identity", mechanism, *credentials])
            empty, version, number, status, text, user, metadata = dealer.get(timeout=LIMIT)
            assert (empty, version, number, metadata) == (b"", b"1.0", b"number", b"")
            after = auth.statistics()
            assert (status == ALLOWED) == (text == b"OK") == (after.allowed == before.allowed + 1)
            assert (status != ALLOWED) == (after.denied == before.denied + 1)
            assert (status == ALLOWED) == (user != b"")
            assert after.denied == sum(after[2:])
            return status

        yield ask


def key_file(folder, name):
    """Write a certificate; its public key, as ZAP gives it."""
    public_file, _ = keygen.write_key_pair(folder, name)
    return z85.decode(zmq.auth.load_certificate(public_file)[0])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


# ------------------------------------------------------------------ PLAIN


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        ("anne", "word", ALLOWED),
        ("anne", "", REFUSED),
        ("anne", "wor", REFUSED),
        ("anne", "words", REFUSED),
        ("anne", "WORD", REFUSED),
        ("anne", "other", REFUSED),  # another user's
        ("Anne", "word", REFUSED),
        ("bob", "other", ALLOWED),
        ("empty", "", ALLOWED),
        ("empty", "x", REFUSED),
        ("nobody", "", REFUSED),
        ("nobody", "word", REFUSED),
        ("", "", REFUSED),
        ("", "word", REFUSED),
    ],
)
def test_only_the_right_password_of_a_known_user_lets_in(auth, ask, name, password, status):
    auth.configure_plain({"anne": "word", "bob": "other", "empty": ""})
    assert ask("PLAIN", name, password) == status
    assert auth.statistics().password == (status == REFUSED)


def test_a_user_of_another_domain_or_of_an_earlier_set_up_is_unknown(auth, ask):
    assert ask("PLAIN", "anne", "one") == REFUSED  # nothing is set up
    auth.configure_plain({"anne": "one"}, domain="test")
    assert ask("PLAIN", "anne", "one", domain="other") == REFUSED
    assert auth.statistics().mechanism == 2
    auth.configure_plain({"anne": "two"})
    assert ask("PLAIN", "anne", "one") == ALLOWED
    assert ask("PLAIN", "anne", "two") == REFUSED
    assert ask("PLAIN", "anne", "one", domain="other") == REFUSED
    assert ask("PLAIN", "anne", "two", domain="other") == ALLOWED
    assert ask("PLAIN", "anne", "two", domain="") == ALLOWED
    auth.configure_plain({"bob": "one"}, domain="test")
    assert ask("PLAIN", "anne", "one") == REFUSED
    auth.configure_plain({}, domain="test")  # a domain without users is not one without a set-up
    assert ask("PLAIN", "bob", "one") == REFUSED
    assert ask("PLAIN", "anne", "two") == REFUSED


@pytest.mark.parametrize("credentials", [(), ("anne",), ("anne", "word", ""), ("anne", "word", "word")])
def test_plain_has_two_credentials(auth, ask, credentials):
    auth.configure_plain({"anne": "word"})
    assert ask("PLAIN", *credentials) == REFUSED
    assert auth.statistics().malformed == 1


# ------------------------------------------------------------------ CURVE


def test_only_a_key_of_the_domains_folder_lets_in(auth, ask, folder, tmp_path):
    key, other = key_file(folder, "known"), key_file(tmp_path, "other")
    secret = z85.decode(zmq.auth.load_certificate(folder / "known.key_secret")[1])
    assert ask("CURVE", key) == REFUSED  # nothing is set up
    auth.configure_curve(folder, domain="test")
    assert ask("CURVE", key) == ALLOWED
    for wrong in (other, secret, bytes(32), key[::-1]):
        assert ask("CURVE", wrong) == REFUSED
    assert auth.statistics().key == 4
    assert ask("CURVE", key, domain="other") == REFUSED
    auth.configure_curve(zgreen.auth.ANY)
    assert ask("CURVE", other, domain="other") == ALLOWED
    assert ask("CURVE", other) == REFUSED  # the domain has a set-up of its own


@pytest.mark.parametrize("what", ["folder", "any", "callback"])
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("size", [0, 31, 33, 32])
def test_curve_has_one_credential_of_32_bytes(auth, ask, folder, what, number, size):
    called = []
    if what == "callback":
        auth.configure_curve_callback(lambda *args: called.append(args) or True)
    else:
        auth.configure_curve(folder if what == "folder" else zgreen.auth.ANY)
    for credentials in ([bytes(size)] * number, [bytes(size)]):
        if credentials != [bytes(32)]:
            assert ask("CURVE", *credentials) == REFUSED
    assert not called
    assert auth.statistics().malformed == 1 + (size != 32)


@pytest.mark.parametrize("answer", [None, False, 0, "", b"", [], True, 1, "yes"])
def test_what_a_callback_answers_counts(auth, ask, answer):
    asked = []
    auth.configure_curve_callback(lambda domain, key: asked.append((domain, key)) or answer)
    key = bytes(range(32))
    assert ask("CURVE", key) == (ALLOWED if answer else REFUSED)
    assert asked == [("test", z85.encode(key))]
    assert auth.statistics().key == (not answer)


# ------------------------------------------------------------------ mechanisms


def test_each_mechanism_must_be_set_up_for_itself(auth, ask, folder):
    key = key_file(folder, "known")
    auth.configure_plain({"anne": "word"})
    assert ask("CURVE", key) == REFUSED
    assert ask("CURVE", "anne", "word") == REFUSED
    auth.configure_plain({}, domain="test")
    auth.configure_curve(zgreen.auth.ANY)
    assert ask("PLAIN", "anne", "word") == REFUSED
    assert ask("PLAIN", key) == REFUSED
    for unknown in ("", "plain", "curve", "null", "GSSAPI", "PLAIN\0", "NULLNULL"):
        assert ask(unknown, key) == REFUSED
        assert ask(unknown, "anne", "word") == REFUSED
    assert ask("NULL") == ALLOWED


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("allowed", "denied", "address", "status"),
    [
        ([], [], HERE, ALLOWED),
        ([], [], IPC, ALLOWED),
        ([HERE], [], HERE, ALLOWED),
        ([HERE], [], "127.0.0.2", REFUSED),
        ([HERE], [], IPC, REFUSED),
        ([HERE], [], "nonsense", REFUSED),
        ([HERE], [], "localhost", REFUSED),
        (["0.0.0.0/0", "::/0"], [], IPC, REFUSED),
        (["0.0.0.0/0"], [], "2001:db8::1", REFUSED),
        (["::/0"], [], HERE, REFUSED),
        (["192.0.2.0/24", HERE], [], HERE, ALLOWED),
        (["192.0.2.0/24"], [], "192.0.2.255", ALLOWED),
        (["192.0.2.0/24"], [], "192.0.3.0", REFUSED),
        ([], [HERE], HERE, REFUSED),
        ([], [HERE], "127.0.0.2", ALLOWED),
        ([], [HERE], IPC, ALLOWED),
        ([HERE], [HERE], HERE, REFUSED),
        ([HERE], ["127.0.0.0/8"], HERE, REFUSED),
        (["127.0.0.0/8"], [HERE], HERE, REFUSED),
        (["127.0.0.0/8"], [HERE], "127.0.0.2", ALLOWED),
        (["127.0.0.0/8"], [HERE], IPC, REFUSED),
        ([HERE], ["192.0.2.0/24"], HERE, ALLOWED),
        ([HERE], [], "::ffff:127.0.0.1", ALLOWED),
        ([], [HERE], "::ffff:127.0.0.1", REFUSED),
        ([], ["::ffff:127.0.0.1"], HERE, REFUSED),
        ([], ["::fffe:0:0/95"], HERE, ALLOWED),  # a network of IPv6 that holds more than the IPv4 ones
        ([], ["::ffff:0:0/97"], HERE, REFUSED),
        ([], ["::ffff:128.0.0.0/97"], HERE, ALLOWED),
        (["2001:db8::/32"], [], "2001:db8::1", ALLOWED),
        (["2001:db8::/32"], [], "2001:db9::1", REFUSED),
    ],
)
def test_addresses(auth, ask, allowed, denied, address, status):
    for given, method in ((allowed, auth.allow), (denied, auth.deny)):
        if given:
            method(*given)
    assert ask(address=address) == status
    assert auth.statistics().address == (status == REFUSED)


def test_lists_of_addresses_grow(auth, ask):
    auth.allow("192.0.2.1")
    auth.allow("192.0.2.2", "192.0.2.3")
    auth.deny("192.0.2.3")
    auth.deny("192.0.2.4")
    assert [ask(address=f"192.0.2.{n}") for n in range(1, 6)] == [ALLOWED, ALLOWED, REFUSED, REFUSED, REFUSED]
    with pytest.raises(ValueError, match="nowhere"):
        auth.allow("192.0.2.5", "nowhere")
    assert ask(address="192.0.2.5") == REFUSED


def test_an_address_and_a_proof_are_both_needed(auth, ask, folder):
    """Whatever the mechanism."""
    key = key_file(folder, "known")
    auth.configure_plain({"anne": "word"})
    auth.configure_curve(folder)
    auth.configure_curve_callback(lambda _domain, given: given == z85.encode(key), domain="callback")
    auth.allow(HERE)
    auth.deny("192.0.2.1")
    for address in ("192.0.2.1", "192.0.2.2", IPC):
        assert ask("PLAIN", "anne", "word", address=address) == REFUSED
        assert ask("CURVE", key, address=address) == REFUSED
        assert ask("CURVE", key, address=address, domain="callback") == REFUSED
    assert auth.statistics().address == 9
    for right, wrong, domain in [(("PLAIN", "anne", "word"), ("PLAIN", "anne", ""), "test"),
                                 (("CURVE", key), ("CURVE", bytes(32)), "test"),
                                 (("CURVE", key), ("CURVE", bytes(32)), "callback")]:  # fmt: skip
        assert ask(*right, domain=domain) == ALLOWED
        assert ask(*wrong, domain=domain) == REFUSED


def test_a_client_over_ipc_has_no_address_to_be_allowed(pump, auth, tmp_path):
    """In truth, not only as a request."""
    endpoint = f"ipc://{tmp_path}/socket"
    auth.allow("0.0.0.0/0", "::/0")
    with (
        zgreen.Channel(zmq.PULL, bind=endpoint, options={zmq.ZAP_DOMAIN: "test"}, pump=pump) as server,
        zgreen.Pump("client") as other,
    ):
        zgreen.Channel(zmq.PUSH, connect=endpoint, pump=other).put("let me in")
        wait_for(lambda: auth.statistics().address, "the denial")
        assert server.statistics().received == 0
        other.shutdown(linger=0)


# ------------------------------------------------------------------ the folder of keys


def unreadable(folder):
    """Entries of all kinds in which there is no key."""
    (folder / "itself.key").symlink_to(folder / "itself.key")
    (folder / "nowhere.key").symlink_to(folder / "nothing")
    (folder / "circle.key").symlink_to(folder / "circle2.key")
    (folder / "circle2.key").symlink_to(folder / "circle.key")
    (folder / "folder.key").mkdir()
    os.mkfifo(folder / "fifo.key")
    (folder / "device.key").symlink_to("/dev/null")
    (folder / "empty.key").write_text("")
    (folder / "binary.key").write_bytes(bytes(range(256)))
    for name, value in {"short": "x", "large": "#" * 40, "strange": "\\" * 40, "long": "1" * 45, "none": ""}.items():
        (folder / f"{name}.key").write_text(f'curve\n    public-key = "{value}"\n')
    (folder / "forbidden.key").write_text("not even this\n")
    (folder / "forbidden.key").chmod(0)


def test_an_entry_that_is_no_certificate_is_logged_once_and_left_out(auth, ask, folder, caplog):
    key = key_file(folder, "known")
    unreadable(folder)
    with caplog.at_level(logging.ERROR, "zgreen.auth"):
        auth.configure_curve(folder)
        assert ask("CURVE", key) == ALLOWED
        assert ask("CURVE", bytes(32)) == REFUSED
    wrong = {path.name for path in folder.glob("*.key")} - {"known.key"}
    assert len(wrong) == 15
    assert sorted(Path(record.args[0]).name for record in caplog.records) == sorted(wrong)


def test_a_link_to_a_certificate_counts(auth, ask, folder, tmp_path):
    key = key_file(tmp_path, "elsewhere")
    (folder / "link.key").symlink_to(tmp_path / "elsewhere.key")
    auth.configure_curve(folder)
    assert ask("CURVE", key) == ALLOWED


def test_only_names_that_end_in_key_count(auth, ask, folder):
    keys = [key_file(folder, name) for name in ("a", "b", "c")]
    (folder / "b.key").rename(folder / "b.key.old")
    (folder / "c.key").rename(folder / "c.KEY")
    auth.configure_curve(folder)
    assert [ask("CURVE", key) for key in keys] == [ALLOWED, REFUSED, REFUSED]


def with_time_kept(path, change):
    """Change a folder so fast that its time stays the same."""
    status = path.stat()
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_change_within_one_tick_of_the_clock_is_seen(auth, ask, folder):
    """A folder that changed a moment ago may change again, and have the same time of its last change."""
    first = key_file(folder, "first")
    auth.configure_curve(folder)
    assert ask("CURVE", first) == ALLOWED
    added = []
    with_time_kept(folder, lambda: added.append(key_file(folder, "second")))
    assert ask("CURVE", added[0]) == ALLOWED
    with_time_kept(folder, (folder / "second.key").unlink)
    assert ask("CURVE", added[0]) == REFUSED


def test_a_folder_that_is_at_rest_is_not_read_again(auth, ask, folder, monkeypatch):
    key = key_file(folder, "known")
    os.utime(folder, (1, 1))
    auth.configure_curve(folder)
    reads, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reads.append(path) or scandir(path))
    assert [ask("CURVE", key) for _ in range(3)] == [ALLOWED] * 3
    assert reads == []
    auth.reload()
    assert [ask("CURVE", key) for _ in range(3)] == [ALLOWED] * 3
    assert len(reads) == 1


@pytest.mark.parametrize("kept", ["nothing", "time", "size and inode", "time and inode"])
def test_a_certificate_that_has_changed_is_read_again(auth, ask, folder, tmp_path, kept):
    """By its time, size, or inode: a rename may bring a file of the same time and size."""
    old, new = key_file(folder, "client"), key_file(tmp_path, "client")
    os.utime(folder / "client.key", (1, 1))
    auth.configure_curve(folder)
    assert [ask("CURVE", key) for key in (old, new)] == [ALLOWED, REFUSED]
    text = (tmp_path / "client.key").read_text()
    if kept.endswith("and inode"):
        (folder / "client.key").write_text(text if kept.startswith("size") else f"{text}\n")
        os.utime(folder / "client.key", (2, 2) if kept.startswith("size") else (1, 1))
        os.utime(folder)
    else:
        (tmp_path / "client.key").write_text(text if kept == "time" else f"{text}\n")
        os.utime(tmp_path / "client.key", (1, 1) if kept == "time" else (2, 2))
        (tmp_path / "client.key").rename(folder / "client.key")
    assert [ask("CURVE", key) for key in (old, new)] == [REFUSED, ALLOWED]


def test_reload_reads_all_files_whatever_they_look_like(auth, ask, folder, tmp_path):
    """A certificate that was changed in place may have the time and the size of the old one."""
    old, new = key_file(folder, "client"), key_file(tmp_path, "client")
    auth.configure_curve(folder)
    with_time_kept(
        folder / "client.key", lambda: (folder / "client.key").write_bytes((tmp_path / "client.key").read_bytes())
    )
    assert [ask("CURVE", key) for key in (old, new)] == [ALLOWED, REFUSED]
    auth.reload()
    assert [ask("CURVE", key) for key in (old, new)] == [REFUSED, ALLOWED]


def test_while_the_folder_cannot_be_read_all_are_told_to_try_again(auth, ask, folder, caplog):
    key = key_file(folder, "known")
    auth.configure_curve(folder)
    folder.rename(folder.parent / "away")
    assert ask("CURVE", key) == TRY_AGAIN
    assert auth.statistics().failed == 1
    (folder.parent / "away").rename(folder)
    assert ask("CURVE", key) == ALLOWED
    assert "denied" in caplog.text
