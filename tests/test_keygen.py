"""python -m zgreen keygen: the files, their modes, and what it refuses."""

import os
import stat

import pytest
import zmq
import zmq.auth
from programs import Program
from support import finish, outcome, script

from zgreen import keygen

pytestmark = pytest.mark.once


def run_keygen(*arguments):
    """(exit status, what it printed) of the command, as a user runs it."""
    with Program("-m", "zgreen", "keygen", *map(str, arguments)) as program:
        return program.end(), program.output


def contents(directory):
    return {path.name: None if path.is_dir() else path.read_text() for path in directory.iterdir()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_pair_that_pyzmq_reads_and_libzmq_takes(tmp_path):
    status, output = run_keygen("--directory", tmp_path / "keys", "server")
    public, secret = tmp_path / "keys" / "server.key", tmp_path / "keys" / "server.key_secret"
    assert (status, output.split()) == (0, [str(public), str(secret)])
    key, nothing = zmq.auth.load_certificate(public)
    assert nothing is None
    assert zmq.auth.load_certificate(secret)[0] == key
    assert zmq.curve_public(zmq.auth.load_certificate(secret)[1]) == key
    assert zmq.auth.load_certificates(tmp_path / "keys") == {key: True}
    assert b"secret-key" not in public.read_bytes()


def test_modes_whatever_the_umask(tmp_path):
    code = """
        import os, sys
        os.umask(0)
        from zgreen.__main__ import main
        sys.exit(main(["keygen", "--directory", sys.argv[1], "open"]))
    """
    status, _, err = finish(script(code, tmp_path / "made"))
    assert (status, err) == (0, "")
    assert mode(tmp_path / "made" / "open.key_secret") == 0o600
    assert mode(tmp_path / "made" / "open.key") == 0o644
    assert mode(tmp_path / "made") == 0o700


def test_secret_is_never_readable_by_others(tmp_path):
    """Not even when it is created: what is opened has its mode from then on."""
    code = """
        import os, sys
        os.umask(0)
        opened = []
        def hook(event, args):
            if event == "os.chmod":
                raise AssertionError("a mode was changed afterwards")
        sys.addaudithook(hook)
        real = os.open
        def watched(path, flags, mode=0o777, **options):
            descriptor = real(path, flags, mode, **options)
            opened.append((os.path.basename(path), oct(os.fstat(descriptor).st_mode & 0o777)))
            return descriptor
        os.open = watched
        from zgreen.__main__ import main
        status = main(["keygen", "--directory", sys.argv[1], "s"])
        assert ("s.key_secret", "0o600") in opened, opened
        sys.exit(status)
    """
    status, _, err = finish(script(code, tmp_path))
    assert (status, err) == (0, "")


@pytest.mark.parametrize("present", ["key", "key_secret"])
def test_existing_file_is_not_replaced(tmp_path, present):
    old = tmp_path / f"mine.{present}"
    old.write_text("old")
    status, output = run_keygen("--directory", tmp_path, "mine")
    assert status == 1
    assert str(old) in output
    assert "--force" in output
    assert "Traceback" not in output
    assert old.read_text() == "old"
    assert os.listdir(tmp_path) == [old.name]


def test_force_replaces_the_files_and_their_modes(tmp_path):
    victim = tmp_path / "elsewhere"
    victim.write_text("not mine")
    (tmp_path / "mine.key").symlink_to(victim)
    (tmp_path / "mine.key_secret").write_text("old")
    (tmp_path / "mine.key_secret").chmod(0o666)
    status, output = run_keygen("--directory", tmp_path, "--force", "mine")
    assert status == 0, output
    assert victim.read_text() == "not mine"
    assert mode(tmp_path / "mine.key_secret") == 0o600
    assert zmq.auth.load_certificate(tmp_path / "mine.key_secret")[1]
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "mine.key", "mine.key_secret"]


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a\0b"])
def test_name_that_is_no_file_name(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        keygen.write_key_pair(tmp_path, name)
    assert os.listdir(tmp_path) == []


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    status, output = run_keygen("--directory", tmp_path / "file", "mine")
    assert (status, "keygen:" in output, "Traceback" in output) == (1, True, False)


def test_nothing_is_left_when_the_second_file_cannot_be_written(tmp_path):
    """A directory stands where the public file would go, as if it had come between the look and the write."""
    code = """
        import os, sys
        from pathlib import Path
        from zgreen import keygen
        directory = Path(sys.argv[1])
        real = os.open
        def open_after_a_rival(path, *arguments, **options):
            if str(path).endswith(".key"):
                (directory / "mine.key").mkdir()
            return real(path, *arguments, **options)
        os.open = open_after_a_rival
        try:
            keygen.write_key_pair(directory, "mine")
        except FileExistsError:
            print(os.listdir(directory))
    """
    status, out, err = finish(script(code, tmp_path))
    assert (status, out.strip(), err) == (0, "['mine.key']", "")


@pytest.mark.parametrize("directory", ["mine.key", "mine.key_secret"])
def test_force_that_fails_changes_nothing(tmp_path, directory):
    """A directory is not replaced."""
    keygen.write_key_pair(tmp_path, "mine")
    (tmp_path / directory).unlink()
    (tmp_path / directory).mkdir()
    before = contents(tmp_path)
    status, output = run_keygen("--directory", tmp_path, "--force", "mine")
    assert (status, f"{tmp_path / directory} is a directory" in output, "Traceback" in output) == (1, True, False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("present", [["mine.key", "mine.key_secret"], ["mine.key"], ["mine.key_secret"], []])
@pytest.mark.parametrize("call", ["open", "replace"])
def test_force_that_fails_at_any_step_changes_nothing(tmp_path, monkeypatch, call, present):
    keygen.write_key_pair(tmp_path, "mine")
    for name in set(os.listdir(tmp_path)) - set(present):
        (tmp_path / name).unlink()
    before = contents(tmp_path)
    real, steps, failures = getattr(os, call), [], 0

    def fails_at_the_last_step(*arguments):
        steps.append(arguments)
        if len(steps) == failures + 1:
            raise OSError("no space")
        return real(*arguments)

    monkeypatch.setattr(os, call, fails_at_the_last_step)
    while outcome(keygen.write_key_pair, tmp_path, "mine", force=True).__class__ is OSError:
        assert contents(tmp_path) == before
        steps.clear()
        failures += 1
    assert failures == (2 if call == "open" else 2 + len(present))
    assert len(os.listdir(tmp_path)) == 2


def test_help_names_the_command():
    with Program("-m", "zgreen", "--help") as program:
        assert program.end() == 0
        assert "keygen" in program.output
