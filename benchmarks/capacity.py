"""``python -m benchmarks capacity``: how many servers and proxies a load needs, from constants measured in this run.

The arithmetic is here, the measuring in measure.py. A server is a process with an HTTP server, a `Fanout` and a stream
of server-sent events for each client. A proxy is libzmq's own (XSUB and XPUB), which `zgreen.Proxy` runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HEADROOM = 0.7  # the share of a core, a link or a memory that is planned with
TOP = 2  # so many proxies at the top need no other above them: each publisher connects to all of them
LEAST_CHILDREN = 8  # of a proxy; where a core does not do that, topics are split over several trees
SPARE = 100  # descriptors of a process that are not clients' connections


@dataclass(frozen=True)
class Constants:
    """What was measured: microseconds of CPU, and bytes."""

    message_us: float  # of a server for each message that it receives
    delivery_us: float  # of a server for each message and client
    delivery_bytes: float  # that a client's connection carries for a message, beyond the message itself
    connection_bytes: float  # resident memory of a client's connection, with its stream and its subscription
    subscription_bytes: float  # of the subscription alone
    proxy_message_us: float  # of a proxy for each message that it receives
    proxy_copy_us: float  # of a proxy for each message that it sends to one peer
    proxy_rate: (
        float  # messages per second that went through one proxy to one peer when the measuring was all there was
    )


@dataclass(frozen=True)
class Load:
    """*rate*: messages per second of all publishers; *size*: bytes of a message; each client wants so many topics."""

    clients: int
    topics: int
    rate: float
    size: int = 100
    topics_per_client: int = 1

    @property
    def share(self) -> float:
        """Of all messages, that one client wants."""
        return min(1.0, self.topics_per_client / self.topics)


@dataclass(frozen=True)
class Machine:
    """One of the machines; *link* in bits per second, *memory* in bytes, *descriptors* of one process."""

    cores: int = 8
    memory: float = 32e9
    link: float = 10e9
    descriptors: int = 1_000_000


@dataclass(frozen=True)
class Plan:
    """*levels*: proxies of one tree, those next to the servers first; *used*: the share of each resource."""

    clients_per_process: int
    processes: int
    machines: int
    trees: int
    levels: tuple[int, ...]
    children: int  # of a proxy next to the servers, at most
    links: int
    deliveries: float  # per second, in all
    used: dict[str, float]

    @property
    def proxies(self) -> int:
        """In all trees."""
        return self.trees * sum(self.levels)

    @property
    def breaks_first(self) -> str:
        """The resource of which the greatest share is used."""
        return max(self.used, key=lambda name: self.used[name])


def plan(load: Load, constants: Constants, machine: Machine, fan: int | None = None) -> Plan:
    """What *load* needs. *fan*: no proxy is to have more children; None: as many as it can serve.

    :raises ValueError: there is no such system: one client alone is more than a process can serve, for example.
    """
    for name, value in (("clients", load.clients), ("topics", load.topics), ("rate", load.rate), ("size", load.size)):
        if value <= 0:
            raise ValueError(f"{name} must be more than 0, not {value}")
    if fan is not None and fan < 2:
        raise ValueError(f"a proxy needs 2 children at least, not {fan}")
    limits = _limits(load, constants, machine)
    most = min(limits.values())
    if most < 1:
        name = min(limits, key=lambda each: limits[each])
        raise ValueError(f"{name} of a process is not enough for one client, who wants {load.rate * load.share:g}/s")
    processes = math.ceil(load.clients / most)
    each = math.ceil(load.clients / processes)  # they share the clients evenly
    seen = _seen(load, each)
    trees, children, inner = _trees(load, constants, machine, seen, processes, fan)
    levels = _levels(processes, children, inner)
    links = trees * (processes + sum(levels[:-1])) if levels else processes
    busiest = _busiest(processes, levels)
    used = {
        **_server_use(load, constants, machine, each),
        "proxy CPU": _proxy_cpu(constants, load.rate / trees, seen / trees, busiest) if levels else 0.0,
        "proxy link": busiest * seen / trees * load.size * 8 / machine.link if levels else 0.0,
    }
    machines = math.ceil(processes / machine.cores)
    deliveries = load.clients * load.rate * load.share
    return Plan(each, processes, machines, trees, levels, children, links, deliveries, used)


def _seen(load: Load, clients: int) -> float:
    """Messages per second that at least one of so many clients wants, if they choose topics at random."""
    return load.rate * (1 - (1 - load.share) ** clients)


def _server_use(load: Load, constants: Constants, machine: Machine, clients: int) -> dict[str, float]:
    """What so many clients use of a process, and of its part of the machine: 1 is all."""
    deliveries = clients * load.rate * load.share
    return {
        "server CPU": (_seen(load, clients) * constants.message_us + deliveries * constants.delivery_us) / 1e6,
        "server memory": clients * constants.connection_bytes * machine.cores / machine.memory,
        "server link": deliveries * (load.size + constants.delivery_bytes) * 8 * machine.cores / machine.link,
        "server descriptors": clients / max(1, machine.descriptors - SPARE),
    }


def _limits(load: Load, constants: Constants, machine: Machine) -> dict[str, int]:
    """How many clients a process can have, by each resource: the most with which no more than its part is used."""

    def most(name: str, bound: float) -> int:
        def fits(clients: int) -> bool:
            return _server_use(load, constants, machine, clients)[name] <= bound

        low, high = 0, load.clients + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    parts = {"server CPU": HEADROOM, "server memory": HEADROOM, "server link": HEADROOM, "server descriptors": 1.0}
    return {name: most(name, bound) for name, bound in parts.items()}


def _proxy_cpu(constants: Constants, rate: float, seen: float, children: float) -> float:
    """The share of its one core that a proxy uses."""
    return (rate * constants.proxy_message_us + children * seen * constants.proxy_copy_us) / 1e6


def _most_children(load: Load, constants: Constants, machine: Machine, rate: float, seen: float) -> int:
    """Of a proxy that receives *rate* messages per second, and of which each child wants *seen*."""
    by_cpu = (HEADROOM * 1e6 - rate * constants.proxy_message_us) / (seen * constants.proxy_copy_us)
    by_link = HEADROOM * machine.link / (seen * load.size * 8)
    return max(0, math.floor(min(by_cpu, by_link)))


def _trees(
    load: Load, constants: Constants, machine: Machine, seen: float, processes: int, fan: int | None
) -> tuple[int, int, int]:
    """How many trees, each with its part of the topics; the children of a proxy next to servers, and of others."""
    bound = processes if fan is None else fan
    for trees in range(1, load.topics + 1):
        rate = load.rate / trees
        children = min(bound, _most_children(load, constants, machine, rate, seen / trees))
        inner = min(bound, _most_children(load, constants, machine, rate, rate))
        if min(children, inner) >= min(bound, LEAST_CHILDREN):
            return trees, children, inner
    raise ValueError(f"{load.rate:g} messages/s are too many for proxies of {load.topics} topics: split the topics")


def _levels(processes: int, children: int, inner: int) -> tuple[int, ...]:
    if processes == 1:
        return ()  # the publishers connect to the server
    levels = [math.ceil(processes / children)]
    while levels[-1] > TOP:
        levels.append(math.ceil(levels[-1] / inner))
    return tuple(levels)


def _busiest(processes: int, levels: tuple[int, ...]) -> int:
    """How many children the proxy has that has most of them."""
    below = (processes, *levels)
    return max((math.ceil(many / few) for many, few in zip(below, levels, strict=False)), default=0)


def text(load: Load, found: Plan) -> str:
    """For people."""
    shape = " - ".join(f"{number:,}" for number in reversed(found.levels)) or "none"
    what = f"{load.rate:,.0f} messages/s of {load.size} bytes"
    used = ", ".join(f"{name} {share:.0%}" for name, share in found.used.items())
    rows = (
        ("deliveries/s", f"{found.deliveries:,.0f}"),
        ("server processes", f"{found.processes:,}, of {found.clients_per_process:,} clients each"),
        ("machines", f"{found.machines:,} for them"),
        ("proxies", f"{found.proxies:,}: {found.trees:,} x ({shape}), of {found.children:,} children each at most"),
        ("ZeroMQ links", f"{found.links:,}"),
        ("used", used),
        ("breaks first", found.breaks_first),
    )
    head = f"{load.clients:,} clients, each with {load.topics_per_client} of {load.topics:,} topics; {what}:\n"
    return head + "\n".join(f"  {name:<17}{value}" for name, value in rows)
