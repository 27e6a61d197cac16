"""What a candidate measures of itself: counts and CPU in a window of time, latencies, memory, context switches."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

clock = time.perf_counter

_STAMP = struct.Struct("<q")  # nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share


class Meter:
    """Counts in a window that begins *warm* seconds after the first message, so that no start-up is measured.

    Whoever counts looks at the clock: a timer would not fire where a greenlet that always finds messages never yields.
    """

    def __init__(self, spec: SimpleNamespace, on_done: Callable[[], object] = lambda: None) -> None:
        self.done = False
        self.latencies: list[int] = []  # nanoseconds, of replies
        self._count = 0
        self._warm, self._seconds = spec.warm, spec.seconds
        self._next = 0.0
        self._marks: list[tuple[float, int, float]] = []
        self._on_done = on_done

    def add(self, number: int) -> None:
        self._count += number
        now = clock()
        if now >= self._next:
            self._mark(now)

    def _mark(self, now: float) -> None:
        """The first message, the begin of the window, its end."""
        if self.done:
            return
        self._marks.append((now, self._count, time.process_time()))
        self._next = now + (self._warm if len(self._marks) == 1 else self._seconds)
        if len(self._marks) == 3:
            self.done = True
            self._on_done()

    def figures(self) -> dict[str, float]:
        (started, first, cpu_before), (ended, last, cpu_after) = self._marks[1:]
        figures = {"seconds": ended - started, "count": last - first, "cpu": cpu_after - cpu_before}
        if self.latencies:
            figures.update(percentiles(self.latencies[first:last]))
        return figures


def percentiles(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {
        "p50_us": ordered[len(ordered) // 2] / 1e3,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1e3,
    }


def stamped(size: int) -> bytes:
    """A message of *size* bytes that says when it was made."""
    return _STAMP.pack(time.monotonic_ns()) + b"x" * (size - 8)


def age(message: bytes) -> int:
    """Nanoseconds since :func:`stamped`."""
    made: int = _STAMP.unpack_from(message)[0]
    return time.monotonic_ns() - made


def work(microseconds: int) -> None:
    """Hold the GIL for so much CPU time of this thread: what others take from it makes it last longer, not less."""
    end = time.thread_time_ns() + microseconds * 1000
    while time.thread_time_ns() < end:
        pass


def switches() -> int:
    """Context switches of all threads of this process, voluntary or not."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def _status(name: str) -> int:
    """Bytes, from /proc; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def resident() -> int:
    return _status("VmRSS:")


def peak() -> int:
    return _status("VmHWM:")


def forget_peak() -> None:
    """Have :func:`peak` begin again."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then it is the peak since the start of the process, which had loaded the same modules


def allow_descriptors() -> None:
    """1,000 sockets need some thousands of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Sending:
    """CPU and memory of a candidate that sends, from before the first message until the peer has counted the last."""

    def __init__(self) -> None:
        forget_peak()
        self._resident = resident()
        self._cpu = time.process_time()

    def figures(self, sent: int) -> dict[str, float]:
        return {"sent": sent, "cpu": time.process_time() - self._cpu, "peak": peak() - self._resident}


class Opening:
    """What open channels cost: memory each, then CPU and context switches while nothing happens."""

    def __init__(self) -> None:
        self._resident = resident()

    def opened(self, number: int) -> None:
        self._bytes = (resident() - self._resident) / number
        self._cpu, self._switches = time.process_time(), switches()

    def figures(self) -> dict[str, float]:
        return {
            "bytes_per_channel": self._bytes,
            "cpu": time.process_time() - self._cpu,
            "switches": switches() - self._switches,
        }
