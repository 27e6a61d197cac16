"""``python -m zgreen`` and ``zgreen``: all commands in a pipe, at a terminal, and without click."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
import zmq
from gevent.os import make_nonblocking, nb_read
from programs import Program
from support import LIMIT, ROOT, wait_for, wait_until_asleep

import zgreen

pytestmark = pytest.mark.once


ALWAYS = {"demo", "keygen", "proxy"}
ALL = {*ALWAYS, "live", "bench", "info"}
SMALL_DEMO = ("demo", "--seconds", "1", "--streams", "3", "--posters", "2")
SMALL_BENCH = ("bench", "--quick", "--candidate", "zmq.green", "--candidate", "blocking pyzmq", "pull/1-greenlet")
PROXY = ("proxy", "--frontend", "tcp://127.0.0.1:*", "--backend", "tcp://127.0.0.1:*")
NO_TEXT = b"tcp://127.0.0.1:\xff".decode(errors="surrogateescape")
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from zgreen.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def cli(*arguments, status=0, without=None):
    """What a command prints, both streams, in a pipe; *without*: a module that cannot be imported."""
    start = ("-m", "zgreen") if without is None else ("-c", WITHOUT, without)
    with Program(*start, *arguments) as program:
        assert program.end() == status, program.output
        assert "Traceback" not in program.output
        return program.output


def parsed(*arguments, status=0):
    """The JSON on standard output, where nothing else is."""
    result = subprocess.run(
        [sys.executable, "-m", "zgreen", *arguments, "--json"], capture_output=True, text=True, timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": path()},
    )  # fmt: skip
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout)


def path():
    return os.pathsep.join([os.path.dirname(os.path.dirname(zgreen.__file__)), os.environ.get("PYTHONPATH", "")])


def at_terminal(*arguments, status=0):
    """What a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": path(), "TERM": "xterm-256color", "COLUMNS": "100"}
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "zgreen", *arguments],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    make_nonblocking(ours)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
        while data := nb_read(ours, 65536):  # patched, the hub must run while it waits
            shown += data
    os.close(ours)
    assert process.wait(timeout=LIMIT) == status, shown
    return shown.decode()


def commands(text):
    """The names of commands that a help text lists."""
    return set(re.findall(r"^ {2,4}([a-z]+)(?: |$)", text, re.M)) & ALL


def test_all_commands_are_listed():
    assert commands(cli("--help")) == ALL
    assert commands(cli("-h", without="rich")) == ALL


@pytest.mark.parametrize("command", sorted(ALL))
def test_each_command_has_its_help(command):
    text = cli(command, "--help")
    assert f"python -m zgreen {command} " in text
    assert "--json" in text
    assert "--help" in text


def test_without_a_command_and_with_a_wrong_one():
    assert commands(cli(status=2)) == ALL
    assert "nosuch" in cli("nosuch", status=2)
    assert "nosuch" in cli("nosuch", status=2, without="click")
    assert "--nosuch" in cli("info", "--nosuch", status=2)


@pytest.mark.parametrize("module", [None, "click"])
def test_the_version(module):
    assert cli("--version", without=module) == f"zgreen {zgreen.__version__}\n"


def test_the_console_script():
    """setup.cfg's entry point, and what it calls itself."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, target = setup["options.entry_points"]["console_scripts"].strip().split(" = ")
    assert name == "zgreen"
    module, function = target.split(":")
    with Program("-c", f"import sys; from {module} import {function} as f; sys.exit(f())", "info", "-h") as program:
        assert program.end() == 0
        assert "Usage: zgreen info" in program.output


# -- without the extra


@pytest.mark.parametrize("module", ["click", "rich"])
@pytest.mark.parametrize("command", sorted(ALL - ALWAYS))
@pytest.mark.parametrize("more", [(), ("--help",), ("--json", "x")])
def test_what_needs_the_extra_says_so(module, command, more):
    text = cli(command, *more, status=2, without=module)
    assert text == f"python -m zgreen {command} needs click and rich: pip install 'zgreen[cli]'\n"


def test_the_demo_works_without_the_extra():
    text = cli(*SMALL_DEMO, without="click")
    assert re.search(r"^delivered +[\d,]+   [\d,]+/s, to 3 streams$", text, re.M)
    assert re.search(r"^lost +0$", text, re.M)


def test_keygen_works_without_the_extra(tmp_path):
    cli("keygen", "--directory", str(tmp_path), "k", without="rich")
    assert sorted(os.listdir(tmp_path)) == ["k.key", "k.key_secret"]


def test_another_missing_module_is_not_taken_for_the_extra():
    with Program("-c", WITHOUT, "gevent.subprocess", *SMALL_DEMO) as program:
        assert program.end() == 1
        assert "gevent.subprocess" in program.output


# -- what goes wrong


@pytest.mark.parametrize("module", ["nothing", "click"])
@pytest.mark.parametrize("arguments", [("demo", "--seconds", "3600"), PROXY])
def test_who_reads_the_output_may_leave(arguments, module):
    """As ``| head -1`` does."""
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT, module, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path()},
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline()
            process.stdout.close()
            if arguments is PROXY:  # says more only at its end
                process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=LIMIT) == 1
        finally:
            process.kill()
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


@pytest.mark.parametrize("command", ["demo", "live"])
def test_an_engine_that_is_not_there_is_one_line(command, monkeypatch):
    monkeypatch.setenv("ZGREEN_ENGINE", "steam")
    text = cli(command, status=1)
    assert text.endswith(": ZGREEN_ENGINE='steam': there is no such engine; there are native and python\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize("arguments", [("live", "--connect", NO_TEXT), (*PROXY, "--capture", NO_TEXT)])
def test_an_endpoint_that_is_no_text_is_one_line(arguments):
    text = cli(*arguments, status=1)
    assert re.match("(Error|proxy): .*utf-8", text)
    assert text.count("\n") == 1


# -- info


def test_info():
    found = parsed("info")
    assert found["versions"]["zgreen"] == zgreen.__version__
    assert found["versions"]["libzmq"] == zmq.zmq_version()
    assert set(found["versions"]) >= {"python", "pyzmq", "gevent", "click", "rich", "system"}
    assert found["libzmq"]["ipc"] is bool(zmq.has("ipc"))
    assert found["libzmq"]["curve"] is bool(zmq.has("curve"))
    assert found["limits"]["sockets_of_a_pump"] == 65535
    assert found["limits"]["open_files_now"]
    assert found["engine"]["name"] in ("python", "native")


def test_info_says_why_this_engine(monkeypatch):
    monkeypatch.setenv("ZGREEN_ENGINE", "python")
    assert parsed("info")["engine"] == {"name": "python", "why": "ZGREEN_ENGINE=python is in the environment"}
    monkeypatch.delenv("ZGREEN_ENGINE")
    chosen = parsed("info")["engine"]
    reasons = {"python": "the native engine is not built here", "native": "the fastest that is built"}
    assert chosen["why"] == reasons[chosen["name"]]
    monkeypatch.setenv("ZGREEN_ENGINE", "steam")
    assert parsed("info", status=1)["engine"]["name"] is None
    assert "'steam': there is no such engine" in cli("info", status=1)


def test_info_in_a_pipe_and_at_a_terminal():
    plain = cli("info")
    assert re.search(rf"^libzmq +{re.escape(zmq.zmq_version())}$", plain, re.M)
    assert plain.isascii()
    assert "\x1b" not in plain
    shown = at_terminal("info")
    assert re.search(rf"│ libzmq +│ {re.escape(zmq.zmq_version())} ", shown)
    assert "\x1b[" in shown


# -- what takes long


def test_demo_at_a_terminal():
    shown = at_terminal(*SMALL_DEMO)
    assert "━" in shown  # the bar
    assert re.search(r"1/1 s  .*posted [\d,]+/s, pushed", shown)
    assert re.search(r"│ lost +│ +0 │", shown)


def test_demo_as_json():
    found = parsed(*SMALL_DEMO)
    assert found["posted"] > 0
    assert found["delivered"] == 3 * found["posted"]
    assert found["lost"] == found["duplicated"] == found["unknown"] == 0
    assert found["p99"] >= found["p50"] > 0


def test_bench(monkeypatch):
    monkeypatch.chdir(ROOT)
    (result,) = parsed(*SMALL_BENCH)
    assert result["scenario"] == "pull"
    assert set(result["variants"]["1-greenlet"]) == {"zmq.green", "blocking pyzmq"}
    shown = at_terminal(*SMALL_BENCH)
    assert "━" in shown
    assert re.search(r"│ zmq.green +│ +[\d,.]+ │", shown)
    plain = cli(*SMALL_BENCH)
    assert re.search(r"^zmq.green +[\d,.]+ ", plain, re.M)
    assert "\x1b" not in plain
    assert "no scenario nosuch" in cli("bench", "nosuch", status=2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--candidate", "nosuch"), "argument --candidate: invalid choice: 'nosuch'"),
        (("--seconds", "nan"), "nan is not finite"),
        (("--seconds", "inf"), "inf is not finite"),
        (("nosuch",), "python -m zgreen bench: error: no scenario nosuch"),
    ],
)
def test_bench_complains_of_what_was_typed(arguments, complaint, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = cli("bench", *arguments, status=2)
    assert complaint in text
    assert "benchmarks" not in text
    assert "--candidates" not in text


def test_bench_shows_no_bar_where_nobody_looks(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in cli(*SMALL_BENCH)


def test_bench_leaves_nothing_behind_when_it_is_told_to_end(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Program("-m", "zgreen", "bench", "--seconds", "600", "--candidate", "blocking pyzmq", "pull") as program:
        wait_for(lambda: [*tmp_path.glob("zgreen-*/candidate.errors")], "a run")
        wait_until_asleep(program.pid)  # it waits for what the candidate says
        program.signal(signal.SIGTERM)
        assert program.end() == 143, program.output
    assert [*tmp_path.iterdir()] == []


def test_bench_without_the_benchmarks():
    text = cli(*SMALL_BENCH, status=2, without="benchmarks")
    assert "source distribution and repository only" in text


# -- the others


def test_keygen_as_json(tmp_path):
    found = parsed("keygen", "--directory", str(tmp_path), "k")
    assert found == {"public": str(tmp_path / "k.key"), "secret": str(tmp_path / "k.key_secret")}
    assert sorted(os.listdir(tmp_path)) == ["k.key", "k.key_secret"]


@pytest.mark.parametrize("without", [(), ("-c", WITHOUT, "click")])
def test_proxy_as_json(without):
    with Program(*(without or ("-m", "zgreen")), *PROXY, "--json") as program:
        found = json.loads(program.line_with("frontend"))
        assert found["type"] == "forwarder"
        assert [place.startswith("tcp://127.0.0.1:") for place in found["frontend"] + found["backend"]] == [True, True]
        program.signal(signal.SIGTERM)
        assert program.end() == 0
        assert "statistics" in json.loads(program.lines[-1])


def test_live_says_where_it_is_and_ends_with_ctrl_c():
    with Program("-m", "zgreen", "live") as program:
        assert re.fullmatch(r"live at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", program.line_with("live at"))
        program.signal(signal.SIGINT)
        assert program.end() == 0
        assert "Traceback" not in program.output


@pytest.mark.parametrize(
    "options",
    [("--port", "70000"), ("--queue", "0"), ("--overflow", "block"), ("--rate", "-1"), ("--rate", "nan"), ("more",)],
)
def test_options_of_live_are_checked(options):
    assert "Error: " in cli("live", *options, status=2)
