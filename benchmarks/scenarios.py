"""What is measured: scenarios, their variants and candidates, the metrics of each, and the figures asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NATIVE, PYTHON = "zgreen native", "zgreen python"
GREEN, BLOCKING, ASYNCIO, CPP = "zmq.green", "blocking pyzmq", "zmq.asyncio", "C++"
NO_PUSH = "pushes nothing"
SLEEPING = "zgreen native, busy_wait=0"  # where it is asked for, in each variant that has NATIVE; and in paced
SOCKETS = "zmq.green sockets"  # one for each greenlet

# module in candidates/, and the options that make it this candidate
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    NATIVE: ("zgreen_channel", {"engine": "native"}),
    PYTHON: ("zgreen_channel", {"engine": "python"}),
    GREEN: ("zmq_green", {}),
    BLOCKING: ("blocking", {}),
    ASYNCIO: ("zmq_asyncio", {}),
    CPP: ("cpp", {}),
    NO_PUSH: ("blocking", {"push": 0}),
    SLEEPING: ("zgreen_channel", {"engine": "native", "busy_wait": 0}),
    SOCKETS: ("zmq_green", {"socket_each": 1}),
}
ENGINES = {NATIVE: "native", PYTHON: "python"}
ALL = (NATIVE, PYTHON, GREEN, BLOCKING, ASYNCIO, CPP)

Reports = Mapping[str, Mapping[str, Any]]  # of "candidate", "peer" and "load"


@dataclass(frozen=True)
class Metric:
    """*key* is its name in JSON; *better* is "more" or "less"."""

    key: str
    title: str
    better: str
    digits: int = 0


RATE = Metric("rate", "msg/s", "more")
DELIVERIES = Metric("rate", "deliveries/s", "more")
MEMORY = Metric("bytes_per_channel", "bytes/channel", "less")
RECEIVERS = Metric("receivers", "receivers", "more")
CPU_DELIVERY = Metric("cpu_us", "CPU us/delivery", "less", 2)
CPU = Metric("cpu_us", "CPU us/msg", "less", 2)
P50 = Metric("p50_us", "p50 us", "less")
P99 = Metric("p99_us", "p99 us", "less")
REQUESTS = Metric("rate", "requests/s", "more")
CPU_SECONDS = Metric("cpu_s", "CPU s", "less", 4)
CPU_SHARE = Metric("cpu_share", "CPU %", "less", 2)
SWITCHES = Metric("switches", "context switches", "less")
PEAK = Metric("peak_kib", "peak KiB", "less")
# Not a figure of the candidate: how much of its time the peer's busiest thread ran. Near 1 it may be the bottleneck.
PEER_BUSY = Metric("peer_busy", "peer busy", "less", 2)


@dataclass(frozen=True)
class Target:
    """A figure asked for: *metric* of zgreen, over that of *against*, is *bound* ("at least", "at most") *factor*.

    Without *against* the figure itself is meant; *of* names another variant of zgreen's own instead.
    """

    variant: str
    metric: str
    bound: str
    factor: float
    against: str | None = None
    of: str | None = None


@dataclass(frozen=True)
class Variant:
    """*options* go to the candidate, *peer* to its peer; *metrics*, if given, in place of the scenario's."""

    name: str
    options: Mapping[str, Any]
    peer: Mapping[str, Any]
    candidates: tuple[str, ...] = ALL
    metrics: tuple[Metric, ...] = ()
    function: str = ""  # of the candidate, where it is not named as the scenario
    peer_module: str = ""  # a peer of its own, in Python, where the peer's speed cannot matter


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[Reports], dict[str, float]]
    charts: tuple[str, ...]  # keys of metrics
    targets: tuple[Target, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)  # why a candidate is not in it


@dataclass(frozen=True)
class Lengths:
    """How long runs are, in seconds, and how big."""

    seconds: float = 0.5
    quick: bool = False

    @property
    def warm(self) -> float:
        return 0.02 if self.quick else 0.1


def _sent(reports: Reports) -> dict[str, float]:
    """Rates are the sink's: what has arrived. CPU is all of the candidate's, over all of its messages."""
    candidate, peer = reports["candidate"], reports["peer"]
    figures = {
        "rate": peer["count"] / peer["seconds"],
        "cpu_us": candidate["cpu"] / max(1, candidate["sent"]) * 1e6,
        "peer_busy": peer["busy"],
    }
    if "p50_us" in peer:
        figures.update(p50_us=peer["p50_us"], p99_us=peer["p99_us"])
    return figures


def _received(reports: Reports) -> dict[str, float]:
    candidate, peer = reports["candidate"], reports["peer"]
    figures = {
        "rate": candidate["count"] / candidate["seconds"],
        "cpu_us": candidate["cpu"] / candidate["count"] * 1e6,
        "peer_busy": peer["busy"],
    }
    if "p50_us" in candidate:
        figures.update(p50_us=candidate["p50_us"], p99_us=candidate["p99_us"])
    return figures


def _scaled(reports: Reports) -> dict[str, float]:
    """Of many pumps what the sink counts; of many channels what they receive, and how much memory each takes."""
    candidate = reports["candidate"]
    if "sent" in candidate:
        return _sent(reports)
    return {**_received(reports), "bytes_per_channel": candidate["bytes_per_channel"]}


def _both_ways(reports: Reports) -> dict[str, float]:
    return _sent(reports) if "sent" in reports["candidate"] else _received(reports)


def _fanned_out(reports: Reports) -> dict[str, float]:
    return {**_received(reports), "receivers": reports["candidate"]["receivers"]}


def _served(reports: Reports) -> dict[str, float]:
    load = reports["load"]
    if load["errors"]:
        raise ValueError(f"the load found {load['errors']}")
    return {key: load[key] for key in ("rate", "p50_us", "p99_us")}


def _idled(reports: Reports) -> dict[str, float]:
    candidate = reports["candidate"]
    return {"cpu_s": candidate["cpu"], "switches": candidate["switches"]}


def _paced(reports: Reports) -> dict[str, float]:
    candidate, peer = reports["candidate"], reports["peer"]
    seconds = candidate["seconds"]
    return {
        "cpu_share": candidate["cpu"] / seconds * 100,
        "rate": candidate["sent"] / seconds,
        "p50_us": peer["p50_us"],
        "p99_us": peer["p99_us"],
    }


def _held(reports: Reports) -> dict[str, float]:
    candidate = reports["candidate"]
    if "peak" not in candidate:
        return {"bytes_per_channel": candidate["bytes_per_channel"]}
    return {"peak_kib": candidate["peak"] / 1024, **_sent(reports)}


# name, greenlets, bytes per frame, frames, high-water mark: 1,000 messages of 1 MiB in each buffer would not fit
_PUSH_SHAPES = (
    ("1-greenlet", 1, 100, 1, 1000),
    ("100-greenlets", 100, 100, 1, 1000),
    ("1000-greenlets", 1000, 100, 1, 1000),
    ("1KiB", 100, 1024, 1, 1000),
    ("64KiB", 100, 65536, 1, 1000),
    ("1MiB", 100, 1 << 20, 1, 32),
    ("3-frames", 100, 100, 3, 1000),
)
_PULL_SHAPES = tuple(
    (name, 1 if greenlets == 100 and name != "100-greenlets" else greenlets, size, frames, hwm)
    for name, greenlets, size, frames, hwm in _PUSH_SHAPES if name != "1000-greenlets"
)  # fmt: skip


def _shaped(greenlets: int, size: int, frames: int, hwm: int, lengths: Lengths) -> dict[str, Any]:
    return {"greenlets": greenlets, "size": size, "frames": frames, "hwm": hwm, "messages": 0,
            "seconds": lengths.seconds, "warm": lengths.warm}  # fmt: skip


_FRAMES_AND_SIZES = (
    Target("3-frames", "rate", "at least", 12, GREEN),
    Target("3-frames", "rate", "at least", 3, BLOCKING),
    Target("64KiB", "rate", "at least", 0.95, CPP),
    Target("1MiB", "rate", "at least", 0.95, CPP),
)


def push(lengths: Lengths) -> Scenario:
    variants = []
    for name, greenlets, size, frames, hwm in _PUSH_SHAPES:
        options = _shaped(greenlets, size, frames, hwm, lengths)
        variants.append(Variant(name, options, {"mode": "sink", "hwm": options["hwm"], "warm": lengths.warm}))
    many = _shaped(1, 100, 1, 1000, lengths)
    sink = {"mode": "sink", "hwm": 1000, "warm": lengths.warm}
    variants.append(Variant("put_many", many, sink, (NATIVE, PYTHON, CPP), function="push_many"))
    return Scenario(
        "push",
        "Greenlets put on one PUSH: 100 bytes, if not said otherwise, and 100 greenlets; one puts 100 messages at once "
        "in put_many. The peer counts.",
        tuple(variants), (RATE, CPU, PEER_BUSY), _sent, ("rate", "cpu_us"),
        (
            Target("100-greenlets", "rate", "at least", 15, GREEN),
            Target("100-greenlets", "rate", "at least", 1.3, BLOCKING),
            Target("100-greenlets", "rate", "at least", 0.6, CPP),
            Target("put_many", "rate", "at least", 0.85, CPP),
            Target("100-greenlets", "cpu_us", "at most", 1.15, of="1-greenlet"),
            *_FRAMES_AND_SIZES,
        ),
    )  # fmt: skip


def pull(lengths: Lengths) -> Scenario:
    variants = []
    for name, greenlets, size, frames, hwm in _PULL_SHAPES:
        options = _shaped(greenlets, size, frames, hwm, lengths)
        source = {"mode": "source", **{key: options[key] for key in ("size", "frames", "hwm")}}
        variants.append(Variant(name, options, source))
    many = _shaped(1, 100, 1, 1000, lengths)
    source = {"mode": "source", "size": 100, "frames": 1, "hwm": 1000}
    variants.append(Variant("get_many", many, source, (NATIVE, PYTHON, CPP), function="pull_many"))
    return Scenario(
        "pull",
        "Greenlets get from one PULL: 100 bytes, if not said otherwise, and 1 greenlet; up to 100 messages at once in "
        "get_many. The candidate counts.",
        tuple(variants), (RATE, CPU, PEER_BUSY), _received, ("rate", "cpu_us"),
        (
            Target("1-greenlet", "rate", "at least", 20, GREEN),
            Target("1-greenlet", "rate", "at least", 1.3, BLOCKING),
            Target("get_many", "rate", "at least", 0.95, CPP),
            *_FRAMES_AND_SIZES,
        ),
    )  # fmt: skip


def round_trip(lengths: Lengths) -> Scenario:
    options = {"size": 100, "seconds": lengths.seconds, "warm": lengths.warm}
    return Scenario(
        "round_trip",
        "DEALER to a process that echoes, 100 bytes: one request in flight, and 100 greenlets with one each.",
        tuple(Variant(f"{n}-in-flight", {**options, "in_flight": n}, {"mode": "echo"}) for n in (1, 100)),
        (P50, P99, RATE, CPU, PEER_BUSY), _received, ("p50_us", "rate"),
        (
            Target("1-in-flight", "p50_us", "at most", 0.8, GREEN),
            Target("1-in-flight", "p99_us", "at most", 1, GREEN),
            Target("100-in-flight", "rate", "at least", 4, GREEN),
        ),
    )  # fmt: skip


def busy_hub(lengths: Lengths) -> Scenario:
    sizes = (50, 200, 1000)
    options = {**_shaped(8, 100, 1, 1000, lengths), "seconds": 2 * lengths.seconds}
    peer = {"mode": "sink", "stamped": 1, "warm": lengths.warm}
    targets = []
    for size in sizes:
        targets += [
            Target(f"{size}us", "p50_us", "at most", 0.7, GREEN),
            Target(f"{size}us", "p99_us", "at most", 1.5, GREEN),
            Target(f"{size}us", "rate", "at least", 1.0 if size == 1000 else 1.1, GREEN),
        ]
    return Scenario(
        "busy_hub",
        "8 greenlets, each so much Python work (CPU time of the hub's thread) and then one put of 100 bytes, without "
        "end: the hub is saturated. Latency is from the put to the peer's receive.",
        tuple(Variant(f"{size}us", {**options, "work_us": size}, peer) for size in sizes),
        (RATE, P50, P99, CPU, PEER_BUSY), _sent, ("p50_us", "p99_us", "rate"), tuple(targets),
    )  # fmt: skip


def wsgi(lengths: Lengths) -> Scenario:
    seconds = 1 if lengths.quick else max(1, round(4 * lengths.seconds))
    options = {"greenlets": 64, "size": 100, "frames": 1, "push": 1, "load_seconds": seconds}
    return Scenario(
        "wsgi",
        "gevent's pywsgi under HTTP load from 64 connections; each request pushes 100 bytes to one shared PUSH.",
        (Variant("64-connections", options, {"mode": "sink"}, (NO_PUSH, NATIVE, PYTHON, GREEN, BLOCKING)),),
        (REQUESTS, P50, P99), _served, ("rate", "p99_us"),
        (
            Target("64-connections", "rate", "at least", 0.95, NO_PUSH),
            Target("64-connections", "rate", "at least", 1.0, GREEN),
        ),
        {ASYNCIO: "no gevent server", CPP: "no gevent server"},
    )  # fmt: skip


def many_sockets(lengths: Lengths) -> Scenario:
    variants = []
    for channels in (1, 10, 100, 1000):
        busy = min(channels, 10)
        options = {"channels": channels, "busy": busy, "seconds": lengths.seconds, "warm": lengths.warm}
        peer = {"mode": "source", "sockets": busy, "idle": 1, "rate": 20_000, "size": 100}
        candidates = (NATIVE, PYTHON, GREEN, BLOCKING, ASYNCIO)
        variants.append(Variant(f"{channels}-channels", options, peer, candidates))
    return Scenario(
        "many_sockets",
        "PULL channels on one pump, a greenlet waiting on each; 20,000 messages of 100 bytes per second in all, on 10 "
        "of them (on the one where there is one), the others connected and silent.",
        tuple(variants), (CPU, RATE, PEER_BUSY), _received, ("cpu_us",),
        (Target("1000-channels", "cpu_us", "at most", 1.2, of="10-channels"),),
        {CPP: "what a C++ program pays here is a matter of how it polls"},
    )  # fmt: skip


SILENT = {"mode": "source", "sockets": 0, "idle": 1}


def scale(lengths: Lengths) -> Scenario:
    engines = (NATIVE, PYTHON)
    variants = []
    for pumps in (1, 2, 4, 8):
        options = {**_shaped(100, 100, 1, 1000, lengths), "pumps": pumps}
        sink = {"mode": "sink", "hwm": 1000, "warm": lengths.warm, "ends": pumps}
        variants.append(Variant(f"{pumps}-pumps", options, sink, engines, (RATE, CPU, PEER_BUSY), "many_pumps"))
    for channels in (1, 10, 100, 1000, 10_000):
        options = {"channels": channels, "size": 100, "per_second": 20_000, "seconds": 2 * lengths.seconds,
                   "warm": lengths.warm}  # fmt: skip
        metrics = (CPU, RATE, MEMORY)
        variants.append(Variant(f"{channels}-channels", options, SILENT, engines, metrics, "many_channels"))
    return Scenario(
        "scale",
        "100 greenlets put 100 bytes on the PUSH channels of so many pumps, one each. And so many PULL channels on one "
        "pump, a greenlet waiting on each, connected over inproc, as 10,000 of any other transport take more than the "
        "usual 20,000 descriptors; a PUSH channel on the same pump sends 20,000 messages of 100 bytes per second, to "
        "all in turn, and CPU is that of both ends.",
        tuple(variants), (RATE, CPU, MEMORY, PEER_BUSY), _scaled, ("rate", "cpu_us"),
        (Target("10000-channels", "cpu_us", "at most", 1.3, of="10-channels"),),
        dict.fromkeys((GREEN, BLOCKING, ASYNCIO, CPP), "how zgreen itself scales"),
    )  # fmt: skip


def small_queues(lengths: Lengths) -> Scenario:
    options = _shaped(1, 100, 1, 1000, lengths)
    sink = {"mode": "sink", "hwm": 1000, "warm": lengths.warm}
    source = {"mode": "source", "size": 100, "frames": 1, "hwm": 1000}
    engines = (NATIVE, PYTHON)
    variants = [
        Variant(f"{way}-{size}", {**options, "maxsize": size}, peer, engines, function=f"{way}_small")
        for way, peer in (("put", sink), ("get", source)) for size in (1, 10)
    ]  # fmt: skip
    return Scenario(
        "small_queues",
        "One greenlet puts, or gets, 100 bytes on a channel whose queue holds 1 or 10 messages; and one sends and "
        "waits until libzmq has taken the message, before it sends the next.",
        (*variants, Variant("send-and-wait", options, sink, engines, function="send_and_wait")),
        (RATE, CPU, PEER_BUSY), _both_ways, ("rate", "cpu_us"), (),
        dict.fromkeys((GREEN, BLOCKING, ASYNCIO, CPP), "no queues of this kind"),
    )  # fmt: skip


def _open(channels: int, seconds: float, getters: int, settle: float) -> dict[str, Any]:
    return {"channels": channels, "busy": 0, "seconds": seconds, "getters": getters, "settle": settle}


def idle(lengths: Lengths) -> Scenario:
    options = _open(1000, 0.5 if lengths.quick else 5, 1, 0.5)
    return Scenario(
        "idle",
        f"1,000 PULL channels, connected, a greenlet waiting on each, no traffic for {options['seconds']:g} s.",
        (Variant("1000-channels", options, SILENT, (NATIVE, PYTHON, GREEN, CPP)),),
        (CPU_SECONDS, SWITCHES), _idled, ("cpu_s", "switches"),
        (
            Target("1000-channels", "cpu_s", "at most", 0.001),
            Target("1000-channels", "switches", "at most", 5),
        ),
        {BLOCKING: "a thread per socket, or a poll that is C++'s case", ASYNCIO: "as zmq.green: a watcher per socket"},
    )  # fmt: skip


def paced(lengths: Lengths) -> Scenario:
    options = {"size": 100, "seconds": 2 * lengths.seconds, "warm": 0}
    peer = {"mode": "sink", "stamped": 1, "warm": 0}
    candidates = (NATIVE, SLEEPING)
    return Scenario(
        "paced",
        "One greenlet puts so many messages of 100 bytes per second. CPU is that of all threads of the candidate, as a "
        "share of one core. Latency is from the put to the peer's receive.",
        tuple(
            Variant(f"{n}-per-second", {**options, "per_second": n}, peer, candidates) for n in (10, 100, 1000, 5000)
        ),
        (CPU_SHARE, P50, P99, RATE), _paced, ("cpu_share", "p50_us"), (),
        {PYTHON: "never looks before it sleeps", **dict.fromkeys((GREEN, BLOCKING, ASYNCIO, CPP), "no owning thread")},
    )  # fmt: skip


def memory(lengths: Lengths) -> Scenario:
    channels, messages = (100, 20_000) if lengths.quick else (1000, 1_000_000)
    passing = {**_shaped(100, 100, 1, 1000, lengths), "messages": messages}
    # the sink takes 4 us for a message, so that the sender is faster and the queue full all the time
    slow = {"mode": "sink", "pause_ns": 4000}
    return Scenario(
        "memory",
        f"Resident bytes per connected PULL channel, of {channels:,}; and the peak, over what was resident before, "
        f"while 100 greenlets put {messages:,} messages of 100 bytes and the receiver is slower.",
        (
            Variant("open", _open(channels, 0, 0, 0.3), SILENT, ALL, (MEMORY,), "idle"),
            Variant("full-queue", passing, slow, (NATIVE, PYTHON, BLOCKING, CPP), (PEAK, RATE), "push"),
        ),
        (MEMORY, PEAK, RATE), _held, ("bytes_per_channel", "peak_kib"), (),
        {GREEN: "full-queue: slower than the receiver, so no queue is ever full", ASYNCIO: "full-queue: the same"},
    )  # fmt: skip


PUBLISHER = {"mode": "publisher", "hwm": 1000, "size": 100}


def fan_out(lengths: Lengths) -> Scenario:
    variants = []
    for greenlets in (100, 1000, 10_000):
        options = {"greenlets": greenlets, "size": 100, "frames": 1, "hwm": 1000, "socket_each": 0, "topic": "",
                   "seconds": 2 * lengths.seconds, "warm": lengths.warm}  # fmt: skip
        candidates = (NATIVE, PYTHON, GREEN, SOCKETS)
        variants.append(Variant(f"{greenlets}-greenlets", options, PUBLISHER, candidates, peer_module="publisher"))
        if greenlets == 1000:
            variants += [
                Variant(f"{greenlets}-greenlets-{topic}", {**options, "topic": topic}, PUBLISHER, (NATIVE, PYTHON),
                        peer_module="publisher")
                for topic in ("prefix", "exact")
            ]  # fmt: skip
    return Scenario(
        "fan_out",
        "One publisher, 100 bytes, to so many greenlets of one process: by zgreen's Fanout of one SUB; by one "
        "zmq.green SUB and a gevent Queue for each greenlet; by a zmq.green SUB for each greenlet (as many as the "
        "limit of descriptors allows, two each: see receivers). The publisher waits for its slowest subscriber. "
        "Variants prefix and exact: subscriptions to the message's own topic, as a prefix and as a whole topic.",
        tuple(variants), (DELIVERIES, CPU_DELIVERY, RECEIVERS, PEER_BUSY), _fanned_out, ("rate", "cpu_us"),
        (Target("1000-greenlets-exact", "cpu_us", "at most", 1.1, of="1000-greenlets-prefix"),),
        {BLOCKING: "no greenlets", ASYNCIO: "no greenlets", CPP: "no greenlets"},
    )  # fmt: skip


def sse(lengths: Lengths) -> Scenario:
    clients = 50 if lengths.quick else 500
    options = {"clients": clients, "hwm": 1000, "socket_each": 0, "seconds": 4 * lengths.seconds, "warm": lengths.warm}
    return Scenario(
        "sse",
        f"gevent's pywsgi streams what one publisher publishes, 100 bytes each, to {clients} clients as server-sent "
        "events: zgreen.sse and a Fanout of one SUB; one zmq.green SUB and a plain gevent Queue for each client; a "
        "zmq.green SUB for each client. The publisher waits for its slowest subscriber; the clients are one process "
        "that only reads.",
        (Variant("500-clients", options, PUBLISHER, (NATIVE, PYTHON, GREEN, SOCKETS), peer_module="publisher"),),
        (DELIVERIES, CPU_DELIVERY, RECEIVERS, PEER_BUSY), _fanned_out, ("rate", "cpu_us"),
        (
            Target("500-clients", "rate", "at least", 3, SOCKETS),
            Target("500-clients", "rate", "at least", 1, GREEN),
        ),
        {BLOCKING: "no greenlets", ASYNCIO: "no gevent server", CPP: "no gevent server"},
    )  # fmt: skip


def green(lengths: Lengths) -> Scenario:
    times = {"seconds": lengths.seconds, "warm": lengths.warm}
    three = (NATIVE, PYTHON, GREEN)
    variants, targets = [], []
    for greenlets, factor in ((1, 5), (100, 8)):
        options = _shaped(greenlets, 100, 1, 1000, lengths)
        sink = {"mode": "sink", "hwm": 1000, "warm": lengths.warm}
        source = {"mode": "source", "size": 100, "frames": 1, "hwm": 1000}
        for way, peer in (("push", sink), ("pull", source)):
            name = f"{way}-{greenlets}"
            variants.append(Variant(name, options, peer, three, (RATE, CPU, PEER_BUSY), f"green_{way}"))
            targets.append(Target(name, "rate", "at least", factor, GREEN))
    busy = {**_shaped(8, 100, 1, 1000, lengths), "seconds": 2 * lengths.seconds, "work_us": 200}
    stamped = {"mode": "sink", "stamped": 1, "warm": lengths.warm}
    for name, options, peer, factor in (
        ("requests", {**times, "size": 100}, {"mode": "echo"}, 1.2),
        ("refused", times, SILENT, 3),
        ("polled", times, SILENT, 3),
        ("busy_hub", busy, stamped, 1.1),
    ):
        variants.append(Variant(name, options, peer, three, (P50, P99, RATE), f"green_{name}"))
        targets.append(Target(name, "p50_us", "at most", factor, GREEN))
    return Scenario(
        "green",
        "One program, `import zmq.green as zmq`, and with `zgreen.green` in its place: 1 and 100 greenlets send and "
        "receive 100 bytes on one socket (with the lock that zmq.green needs); requests of a REQ, one at a time; "
        "`send(NOBLOCK)` that says Again; `poll(0)`; and sends under a busy hub, 200 us of work for each.",
        tuple(variants), (RATE, P50, P99, CPU, PEER_BUSY), _both_ways, ("rate", "p50_us"), tuple(targets),
        dict.fromkeys((BLOCKING, ASYNCIO, CPP), "not this interface"),
    )  # fmt: skip


_FUNCTIONS = (
    push, pull, round_trip, busy_hub, wsgi, many_sockets, scale, small_queues, idle, paced, memory, fan_out, sse, green
)  # fmt: skip
SCENARIOS: dict[str, Callable[[Lengths], Scenario]] = {function.__name__: function for function in _FUNCTIONS}
