"""Runs one candidate against its peer, each in a fresh process, and brings back what both have counted.

See candidates/_protocol.py for what is said between them.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import load, processes

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 60.0  # seconds that one run may take, all told

# The children find the zgreen that is installed, and this tree's own only where none is: `-m` would put the current
# folder, and with it a zgreen without its native engine, in front.
_START = """\
import runpy, sys
sys.path[:0] = {ahead!r}
sys.path.append({root!r})
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


class RunFailed(Exception):
    """A run gave no figures; the text says why."""


def python(module: str, ahead: Path | None = None) -> list[str]:
    """The command that runs *module* of this package. *ahead*: where to look for zgreen first."""
    first = [] if ahead is None else [str(ahead)]
    return [sys.executable, "-c", _START.format(root=str(ROOT), ahead=first, module=f"{__package__}.{module}")]


def without_folders(text: str) -> str:
    """Results are published: which folders this machine has is of no use there."""
    return re.sub(r"(?:/[\w.+@-]+)+/", "", text)


class Child:
    """A process that reports in lines on its standard output."""

    def __init__(self, name: str, command: list[str], options: Mapping[str, Any], folder: Path) -> None:
        self._name = name
        self._errors = (folder / f"{name}.errors").open("w+")
        self._process = subprocess.Popen(
            [*command, *(f"{key}={value}" for key, value in options.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=folder,
        )  # fmt: skip

    def line(self, begin: str) -> str:
        """The next line, which must begin so; the rest of it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().rstrip("\n")
        if not line.startswith(begin):
            raise RunFailed(f"the {self._name} said {line!r} instead of {begin!r}{self._complaint()}")
        return line[len(begin) :].strip()

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads("{" + self.line("{"))
        return report

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself; the next line() says so
            self._process.stdin.close()

    def end(self) -> None:
        """Wait for its end, which must be a good one."""
        if self._process.wait() != 0:
            raise RunFailed(self.failure().removeprefix("; "))

    def failure(self) -> str:
        """How it has ended badly, if it has."""
        if not self._process.poll():
            return ""
        return f"; the {self._name} ended with status {self._process.returncode}{self._complaint()}"

    def kill(self) -> None:
        """Whatever happened: it is gone after this."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def expire(self) -> None:
        """Kill from another thread: whoever reads finds the end of the output."""
        self._process.kill()

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return "; its last words: " + without_folders(" | ".join(lines[-3:])) if lines else ""


@contextlib.contextmanager
def child(name: str, command: list[str], options: Mapping[str, Any], folder: Path) -> Iterator[Child]:
    process = limit = None
    try:
        with processes.signals_wait():
            process = Child(name, command, options, folder)
        limit = threading.Timer(LIMIT, process.expire)
        limit.daemon = True  # what ends us must not wait for it
        limit.start()
        yield process
    finally:
        if limit is not None:
            limit.cancel()
        if process is not None:
            process.kill()


def run(
    candidate: tuple[list[str], Mapping[str, Any]], peer: tuple[list[str], Mapping[str, Any]], scenario: str
) -> dict[str, dict[str, Any]]:
    """One measurement. *candidate* and *peer* are commands with their options.

    :return: what each of the two reported, and under "load" what the HTTP load found, if there was one.
    :raises RunFailed: it did not work, or messages were lost.
    """
    with tempfile.TemporaryDirectory(prefix="zgreen-") as name:
        folder = Path(name)
        endpoint = {"endpoint": f"ipc://{folder}/e"}
        with child("peer", peer[0], {**peer[1], **endpoint}, folder) as other:
            other.line("ready")
            with child("candidate", candidate[0], {**candidate[1], **endpoint, "scenario": scenario}, folder) as one:
                try:
                    reports = _converse(one, other, candidate[1], is_sink=peer[1]["mode"] == "sink")
                except RunFailed as error:  # a candidate waits for a peer that has gone until its limit
                    raise RunFailed(f"{error}{other.failure()}") from None
    sent = reports["candidate"].get("sent")
    if sent is not None and sent != reports["peer"].get("total", sent):
        raise RunFailed(f"{sent} messages were sent, {reports['peer']['total']} have come")
    return reports


def _converse(one: Child, other: Child, options: Mapping[str, Any], is_sink: bool) -> dict[str, dict[str, Any]]:
    reports = {}
    if "load_seconds" in options:
        try:
            reports["load"] = load.measure(int(one.line("port")), options["load_seconds"])
        except subprocess.CalledProcessError as error:
            raise RunFailed(f"the HTTP load ended with status {error.returncode}") from None
        one.tell("stop")
    one.line("done")
    if not is_sink:  # a sink reports by itself, after the last message
        other.stop()
    reports["peer"] = other.report()
    one.stop()
    reports["candidate"] = one.report()
    one.end()
    other.stop()
    other.end()
    return reports


def probe(engine: str, ahead: Path | None = None) -> str | None:
    """Why zgreen does not run on *engine*; None: it does. *ahead*: as of `python`."""
    command = [*python("candidates.zgreen_channel", ahead), "scenario=probe", f"engine={engine}"]
    with tempfile.TemporaryDirectory() as folder:
        result = processes.run(command, cwd=folder, timeout=LIMIT)
    if result.returncode == 0:
        return None
    return without_folders((result.stderr.strip().splitlines() or ["it ended without a word"])[-1])
