"""The peer where there is no compiler: peer.cpp's sink, source and echo, in blocking pyzmq.

It may be the bottleneck then; its figure "busy" says so. Modes, arguments and reports are those of peer.cpp.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import zmq

from .candidates._meter import age, allow_descriptors, percentiles
from .candidates._protocol import END, messages_of, parse, say, wait_for_the_end


class Window:
    """A window of time: how much of the busiest thread's time it took."""

    def __init__(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self.total = self.count = 0
        self.latencies: list[int] = []
        self.begin()

    def begin(self) -> None:
        self._started, self._cpu, self._own = time.monotonic(), time.process_time(), time.clock_gettime(self._clock)

    def report(self) -> None:
        seconds, cpu = time.monotonic() - self._started, time.process_time() - self._cpu
        own = time.clock_gettime(self._clock) - self._own
        figures = {"total": self.total or self.count, "count": self.count, "seconds": seconds, "cpu": cpu,
                   "busy": max(own, cpu - own) / seconds}  # fmt: skip
        say(json.dumps(figures | (percentiles(self.latencies) if self.latencies else {})))


def bound(spec: SimpleNamespace, kind: int, endpoint: str) -> Any:
    context: Any = zmq.Context.instance()
    socket = context.socket(kind)
    socket.sndhwm = socket.rcvhwm = spec.hwm
    socket.linger = 0
    socket.bind(endpoint)
    return socket


def report_at_the_end(window: Window) -> threading.Thread:
    """Report and leave when the standard input ends, whatever the main thread waits for."""

    def run() -> None:
        wait_for_the_end()
        window.report()
        os._exit(0)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def sink(spec: SimpleNamespace) -> None:
    socket = bound(spec, zmq.PULL, spec.endpoint)
    say("ready")
    window = Window()
    warm = False
    first = 0.0
    ends = 0
    while True:
        message = socket.recv_multipart()[-1]
        if message == END:
            ends += 1
            if ends == spec.ends:
                break
            continue
        now = time.monotonic()
        if not window.total:
            first = now
            window.begin()
        window.total += 1
        window.count += 1
        if spec.stamped:
            window.latencies.append(age(message))
        while spec.pause_ns and time.monotonic() - now < spec.pause_ns / 1e9:
            pass
        if not warm and now - first >= spec.warm:
            warm, window.count = True, 0
            window.latencies.clear()
            window.begin()
    window.report()
    wait_for_the_end()


def source(spec: SimpleNamespace) -> None:
    if spec.idle:  # one more endpoint, on which nothing is ever sent, and the busy ones have numbers
        kept = bound(spec, zmq.PUSH, f"{spec.endpoint}.idle")
        sockets = [bound(spec, zmq.PUSH, f"{spec.endpoint}.{number}") for number in range(spec.sockets)]
    else:
        sockets = [bound(spec, zmq.PUSH, spec.endpoint)]
    window, message = Window(), messages_of(spec)
    reporter = report_at_the_end(window)
    say("ready")
    if not sockets:
        reporter.join()
        kept.close()
    sends = [socket.send if spec.frames == 1 else socket.send_multipart for socket in sockets]
    for send in sends:
        send(message)  # each returns when its receiver has connected
    window.begin()
    if spec.rate:
        pace(window, sends, message, spec.rate)
    while True:
        sends[0](message)
        window.count += 1


def pace(window: Window, sends: list[Callable[..., Any]], message: Any, rate: int) -> None:
    started, turn = time.monotonic(), 0
    while True:
        early = started + turn / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        try:
            sends[turn % len(sends)](message, zmq.DONTWAIT)
            window.count += 1
        except zmq.Again:
            pass  # a receiver that does not keep up gets less
        turn += 1


def echo(spec: SimpleNamespace) -> None:
    socket = bound(spec, zmq.ROUTER, spec.endpoint)
    window = Window()
    report_at_the_end(window)
    say("ready")
    while True:
        message = socket.recv_multipart()
        if not window.count:
            window.begin()
        socket.send_multipart(message)
        window.count += 1


DEFAULTS = {"hwm": 1000, "size": 100, "frames": 1, "sockets": 1, "rate": 0, "idle": 0, "stamped": 0, "pause_ns": 0,
            "ends": 1, "warm": 0}  # fmt: skip

if __name__ == "__main__":
    allow_descriptors()
    given = vars(parse(sys.argv[1:]))
    {"sink": sink, "source": source, "echo": echo}[given["mode"]](SimpleNamespace(**{**DEFAULTS, **given}))
