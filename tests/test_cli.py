"""``python -m zgreen`` and ``zgreen``: all commands in a pipe, at a terminal and without rich; ends; completion."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import zmq
from gevent.os import make_nonblocking, nb_read
from programs import Program
from support import LIMIT, ROOT, wait_for, wait_until_asleep

import zgreen
from zgreen.cli import app, command

pytestmark = pytest.mark.once


ALL = set(app.NAMES)
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


def at_terminal(*arguments, status=0, without=None):
    """What a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": path(), "TERM": "xterm-256color", "COLUMNS": "100"}
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, *(("-m", "zgreen") if without is None else ("-c", WITHOUT, without)), *arguments],
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


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_command_has_its_help(name):
    text = cli(name, "--help")
    assert f"usage: python -m zgreen {name} " in text
    assert "--json" in text
    assert "-h, --help" in text
    assert "examples:" in text


@pytest.mark.parametrize("name", sorted(ALL))
def test_examples_can_be_typed(name):
    """The parser takes each example that a command's help shows; the first has the fewest words."""
    found = app.command(name)
    for line, text in found.examples:
        assert text
        command.parser_of(found, "zgreen").parse_intermixed_args(shlex.split(re.sub(r" [<>] \S+", "", line)))
    words = [len(line.split()) for line, _ in found.examples]
    assert words[0] == min(words)


def test_every_command_has_its_section_in_the_documentation():
    """The text of a section is made of the command's parser, see docs/conf.py."""
    page = (ROOT / "docs" / "commands.md").read_text()
    assert sorted(re.findall(r"^% COMMAND (\w+)$", page, re.MULTILINE)) == sorted(ALL)


def test_without_a_command():
    assert commands(cli(status=2)) == ALL


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nosuch",), ": there is no command 'nosuch': there are pub, "),
        (("lives",), ": there is no command 'lives': did you mean live?"),
        (("--nosuch",), ": unrecognized arguments: --nosuch"),
        (("info", "--nosuch"), " info: unrecognized arguments: --nosuch"),
        (("info", "more"), " info: unrecognized arguments: more"),
        (("proxy",), " proxy: the following arguments are required: --frontend, --backend"),
        (("proxy", "--front", "tcp://127.0.0.1:*"), " proxy: the following arguments are required: --frontend"),
        ((*PROXY, "--capture", "nosuch"), " proxy: argument --capture: 'nosuch' is no endpoint: give one like tcp://"),
        ((*PROXY, "--capture", "inproc://a"), " proxy: argument --capture: 'inproc://a' is within one process"),
        (("live", "--connect", NO_TEXT), " live: argument --connect: 'tcp://127.0.0.1:\\udcff' is no text in UTF-8"),
        (("live", "--port", "70000"), " live: argument --port: 70000 is not possible: give a number from 0 to 65535"),
        (("live", "--queue", "0"), " live: argument --queue: 0 is not possible: give 1 or more"),
        (("live", "--queue", "many"), " live: argument --queue: 'many' is no whole number"),
        (("live", "--overflow", "block"), " live: argument --overflow: invalid choice: 'block' (choose from "),
        (("live", "--rate", "-1"), " live: argument --rate: -1 is not possible: give 0 or more"),
        (("live", "--rate", "nan"), " live: argument --rate: nan is not finite"),
        (("live", "--push", "tcp://127.0.0.1:5555"), " live: --push is for --connect or --bind: give one, "),
        (("demo", "--seconds", "0"), " demo: argument --seconds: 0 is not possible: give a number above 0"),
        (("completion", "csh"), " completion: argument SHELL: invalid choice: 'csh' (choose from "),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_to_do(arguments, complaint):
    text = cli(*arguments, status=2)
    assert text.startswith(f"python -m zgreen{complaint}")
    assert re.search(r"; see 'python -m zgreen[ a-z]* --help'\n$", text)
    assert text.count("\n") == 1


@pytest.mark.parametrize("module", ["nothing", "rich"])
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
        assert "usage: zgreen info" in program.output


# -- without the extra


def test_the_demo_works_without_rich():
    text = cli(*SMALL_DEMO, without="rich")
    assert re.search(r"^delivered +[\d,]+   [\d,]+/s, to 3 streams$", text, re.M)
    assert re.search(r"^lost +0$", text, re.M)


def test_info_and_bench_are_plain_at_a_terminal_without_rich(monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = at_terminal("info", without="rich")
    assert re.search(rf"^libzmq +{re.escape(zmq.zmq_version())}\r$", shown, re.M)
    shown = at_terminal(*SMALL_BENCH, without="rich")
    assert re.search(r"^\| zmq\.green +\| +[\d,]+ \|", shown, re.M)
    assert "[" + "." * 30 + "] 0/2" in shown  # the bar of benchmarks/progress.py


def test_another_missing_module_is_not_taken_for_the_extra():
    with Program("-c", WITHOUT, "gevent.subprocess", *SMALL_DEMO) as program:
        assert program.end() == 1
        assert "gevent.subprocess" in program.output


# -- standard output that is closed, or full


def end_of(arguments, stdout, module="nothing"):
    """Exit status and standard error of a command whose standard output is *stdout*; None: closed from the start."""
    ours = os.open(os.devnull, os.O_RDONLY) if stdout is None else stdout
    close = (lambda: os.close(1)) if stdout is None else None
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT, module, *arguments], stdout=ours, stderr=subprocess.PIPE, preexec_fn=close,
        stdin=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": path()},
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize("module", ["nothing", "rich"])
@pytest.mark.parametrize("arguments", [("demo", "--seconds", "3600"), PROXY])
def test_the_reader_of_the_output_may_leave(arguments, module):
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
        assert process.stderr.read() == b""


PRINTING = [("--help",), ("--version",), ("info",), ("info", "--help"), ("info", "--json"), ("completion", "bash"),
            PROXY, ("live",), ("demo", "--seconds", "3600"), ("keygen", "k")]  # fmt: skip


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_has_left_before_is_no_word(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    os.close(read)
    try:
        assert end_of(arguments, write) == (1, "")
    finally:
        os.close(write)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_standard_output_is_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("/dev/full", "w") as full:
        status, said = end_of(arguments, full)
    assert re.fullmatch(r"python -m zgreen[ a-z]*: standard output: No space left on device\n", said)
    assert status == 1


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_standard_output_that_is_closed_is_one_line(arguments, tmp_path, monkeypatch):
    """And what is opened meanwhile does not take its place."""
    monkeypatch.chdir(tmp_path)
    status, said = end_of(arguments, None)
    assert re.fullmatch(r"python -m zgreen[ a-z]*: standard output is closed\n", said)
    assert status == 1


# -- what goes wrong


@pytest.mark.parametrize("command", ["demo", "live"])
def test_an_engine_that_is_not_there_is_one_line(command, monkeypatch):
    monkeypatch.setenv("ZGREEN_ENGINE", "steam")
    text = cli(command, status=1)
    assert text.endswith(": ZGREEN_ENGINE='steam': there is no such engine; there are native and python\n")
    assert text.count("\n") == 1


def test_what_a_page_needs_is_said():
    text = cli("live", status=1, without="bottle")
    need = "zgreen.status and zgreen live need bottle and uplot-python: pip install 'zgreen[status]'"
    assert text.endswith(f" live: {need}\n")
    assert text.count("\n") == 1


def test_a_port_that_is_taken_is_one_line():
    with Program("-m", "zgreen", "live", "--json") as first:
        port = json.loads(first.line_with('"url"'))["url"].rstrip("/").rpartition(":")[2]
        text = cli("live", "--port", port, status=1)
    assert text == f"python -m zgreen live: port {port} of 127.0.0.1: Address already in use\n"


# -- told to end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("arguments", "sign"), [(PROXY, "forwarder: "), (("live",), "live at ")], ids=["proxy", "live"]
)
def test_what_has_no_other_end_ends_well(arguments, sign, number):
    with Program("-m", "zgreen", *arguments) as program:
        program.line_with(sign)
        program.signal(number)
        assert program.end() == 0
        assert "Traceback" not in program.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_bench_leaves_nothing_behind_when_it_is_told_to_end(monkeypatch, tmp_path, number):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Program("-m", "zgreen", "bench", "--seconds", "600", "--candidate", "blocking pyzmq", "pull") as program:
        wait_for(lambda: [*tmp_path.glob("zgreen-*/candidate.errors")], "a run")
        wait_until_asleep(program.pid)  # it waits for what the candidate says
        program.signal(number)
        assert program.end() == 128 + number, program.output
        assert "Traceback" not in program.output
    assert [*tmp_path.iterdir()] == []


def test_a_signal_that_is_ignored_stays_ignored():
    """As ``nohup`` and shells in the background want it."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + WITHOUT
    with Program("-c", ignore, "nothing", "live") as program:
        program.line_with("live at ")
        program.signal(signal.SIGINT)
        assert not asleep_then_ended(program)
        program.signal(signal.SIGTERM)
        assert program.end() == 0


def asleep_then_ended(program):
    """Whether it has ended, once it has had the time to look at a signal."""
    wait_until_asleep(program.pid)
    return not os.path.exists(f"/proc/{program.pid}/status")


# -- info


def test_info():
    found = parsed("info")
    assert found["versions"]["zgreen"] == zgreen.__version__
    assert found["versions"]["libzmq"] == zmq.zmq_version()
    assert set(found["versions"]) >= {"python", "pyzmq", "gevent", "rich", "system"}
    assert found["libzmq"]["ipc"] is bool(zmq.has("ipc"))
    assert found["libzmq"]["curve"] is bool(zmq.has("curve"))
    assert found["limits"]["sockets_of_a_pump"] == 65535
    assert found["limits"]["open_files_now"]
    assert found["engine"]["name"] in ("python", "native")


def test_info_says_why_this_engine(monkeypatch):
    monkeypatch.setenv("ZGREEN_ENGINE", "python")
    why = "the environment variable ZGREEN_ENGINE asks for it"
    assert parsed("info")["engine"] == {"name": "python", "why": why}
    monkeypatch.delenv("ZGREEN_ENGINE")
    chosen = parsed("info")["engine"]
    reasons = {
        "python": "the faster one, native, is not installed: ",
        "native": "it is installed here and the faster one; ",
    }
    assert chosen["why"].startswith(reasons[chosen["name"]])
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
    assert "from when the client begins to POST until it has read the message from a stream" in shown


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
    assert re.search(r"^\| zmq\.green +\| +[\d,.]+ \|", plain, re.M)
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--candidate", "nosuch"), "no candidate nosuch; there are zgreen native, "),
        (("nosuch",), "no scenario nosuch; there are push, "),
        (("push/nosuch",), "push has no variant nosuch; it has "),
        (("--seconds", "nan"), "argument --seconds: nan is not finite"),
    ],
)
def test_bench_complains_of_what_was_typed(arguments, complaint, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli("bench", *arguments, status=2).startswith(f"python -m zgreen bench: {complaint}")


def test_bench_and_its_help_agree(monkeypatch, tmp_path):
    """On what can be measured, with the package and without."""
    monkeypatch.chdir(ROOT)
    complaint = cli("bench", "nosuch", status=2)
    named = re.search(r"there are ([^;]+);", complaint)[1].split(", ")
    shown = " ".join(cli("bench", "--help").split())
    assert ", ".join(named) in shown
    shown = " ".join(cli("bench", "--help", without="benchmarks").split())
    assert "the package benchmarks is not here" in shown
    assert "the package benchmarks is not here" in cli("bench", "nosuch", status=2, without="benchmarks")


def test_bench_shows_no_bar_where_nobody_looks(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in cli(*SMALL_BENCH)


def test_bench_without_the_benchmarks():
    text = cli(*SMALL_BENCH, status=2, without="benchmarks")
    assert "source distribution and repository only" in text


# -- the others


def test_keygen_as_json(tmp_path):
    found = parsed("keygen", "--directory", str(tmp_path), "k")
    assert found == {"public": str(tmp_path / "k.key"), "secret": str(tmp_path / "k.key_secret")}
    assert sorted(os.listdir(tmp_path)) == ["k.key", "k.key_secret"]


def test_proxy_as_json():
    with Program("-m", "zgreen", *PROXY, "--json") as program:
        found = json.loads(program.line_with("frontend"))
        assert found["type"] == "forwarder"
        assert [place.startswith("tcp://127.0.0.1:") for place in found["frontend"] + found["backend"]] == [True, True]
        program.signal(signal.SIGTERM)
        assert program.end() == 0
        assert "statistics" in json.loads(program.lines[-1])


def test_live_says_where_it_is():
    with Program("-m", "zgreen", "live") as program:
        assert re.fullmatch(r"live at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", program.line_with("live at"))


def test_live_opens_a_browser(monkeypatch, tmp_path):
    """$BROWSER is a real program, which is given the page's address."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened.new; mv {tmp_path}/opened.new {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with Program("-m", "zgreen", "live", "--json", "--open") as program:
        url = json.loads(program.line_with('"url"'))["url"]
        wait_for((tmp_path / "opened").exists, "the browser")
        assert (tmp_path / "opened").read_text() == f"{url}\n"
        program.signal(signal.SIGINT)
        assert program.end() == 0


def test_live_says_if_there_is_no_browser(monkeypatch, tmp_path):
    monkeypatch.setenv("BROWSER", f"{tmp_path}/nosuch %s")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    with Program("-m", "zgreen", "live", "--json", "--open") as program:
        url = json.loads(program.line_with('"url"'))["url"]
        said = program.line_with("browser")
        assert said == f"python -m zgreen live: no browser could be started: open {url} yourself"


# -- completion


def completed(*words):
    """What bash offers for the last of *words*."""
    code = """
        eval "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zgreen
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    script = cli("completion", "bash")
    result = subprocess.run(["bash", "-c", code, "bash", script, *words], capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


def test_bash_completes_commands():
    assert set(completed("zgreen", "")) == {*ALL, "--version", "--help"}
    assert completed("zgreen", "inf") == ["info"]


@pytest.mark.parametrize("name", sorted(ALL))
def test_bash_completes_all_options_of_a_command(name):
    flags = {
        flag for action in command.parser_of(app.command(name), "zgreen")._actions for flag in action.option_strings
    }
    assert set(completed("zgreen", name, "-")) == flags
    assert set(completed("zgreen", name, "--")) == {flag for flag in flags if flag.startswith("--")}


def test_bash_completes_values(tmp_path, monkeypatch):
    assert completed("zgreen", "live", "--overflow", "drop") == ["drop_oldest", "drop_newest"]
    assert set(completed("zgreen", "completion", "")) > {"bash", "zsh", "fish"}
    assert completed("zgreen", "live", "--port", "") == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys of mine").mkdir()
    assert completed("zgreen", "keygen", "--directory", "") == ["keys", "of", "mine"]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_scripts_are_of_the_language_of_their_shell(shell, check, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(cli("completion", shell))
    assert subprocess.run([shell, check, script], capture_output=True, text=True, timeout=LIMIT).stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_hear_of_every_option(shell):
    script = json.loads(cli("completion", shell, "--json"))["script"]
    for name in ALL:
        lines = [line for line in script.splitlines() if re.search(rf"(^ +|from ){name}[)\"]", line)]
        for action in command.parser_of(app.command(name), "zgreen")._actions:
            for flag in action.option_strings:
                shown = flag if shell == "zsh" else f"-l {flag[2:]} " if flag.startswith("--") else f"-s {flag[1:]} "
                assert any(shown in line for line in lines), (name, flag)
