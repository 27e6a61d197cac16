"""Measures what capacity.py computes with: small systems of real processes, their CPU time and their memory."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import runner
from .capacity import Constants

SIZE = 100  # bytes of a message
_LEAST = 0.01  # microseconds
ANY = "tcp://127.0.0.1:*"
Prefix = Callable[[str], list[str]]  # of a command, so that it runs on the host of that name


@dataclass(frozen=True)
class Amounts:
    """How much is measured. One and more subscribers of a proxy tell its two constants apart."""

    clients: int = 400
    messages: int = 200  # to each of them
    rate: float = 50.0  # of these, per second
    received: int = 100_000  # by a server, for nobody
    passing: int = 100_000  # messages through a proxy
    subscribers: int = 4
    subscriptions: int = 20_000


QUICK = Amounts(clients=20, messages=20, rate=200.0, received=2000, passing=2000, subscriptions=500)


class System:
    """Some processes; the end of the block is theirs. *prefix*: see `Prefix`."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, prefix: Prefix = lambda _: []) -> None:
        self._stack, self._folder, self._prefix = stack, folder, prefix
        self._number = 0

    def start(self, role: str, host: str = "", **options: Any) -> runner.Child:
        """A process of parts.py."""
        return self._child(role, [*self._prefix(host), *runner.python("parts")], {"role": role, **options})

    def clients(self, port: int, number: int, host: str = "") -> runner.Child:
        """A process with so many clients, all connected."""
        readers = self._child("clients", [*self._prefix(host), *runner.python("readers"), str(port), str(number)], {})
        readers.line("reading")
        return readers

    def _child(self, name: str, command: list[str], options: Mapping[str, Any]) -> runner.Child:
        self._number += 1
        return self._stack.enter_context(runner.child(f"{name}-{self._number}", command, options, self._folder))


@contextlib.contextmanager
def system(prefix: Prefix = lambda _: []) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="zgreen-") as name, contextlib.ExitStack() as stack:
        yield System(stack, Path(name), prefix)


def ask(child: runner.Child, command: str = "figures") -> dict[str, Any]:
    """What it answers."""
    child.tell(command)
    return child.report()


def until(child: runner.Child, key: str, value: float) -> dict[str, Any]:
    """Its figures, as soon as one of them has come to *value*."""
    deadline = time.monotonic() + runner.LIMIT
    while (figures := ask(child))[key] < value:
        if time.monotonic() > deadline:
            raise runner.RunFailed(f"{key} is {figures[key]}, not {value}, after {runner.LIMIT:g} s")
        time.sleep(0.02)
    return figures


def constants(amounts: Amounts) -> Constants:
    """Measure all of them. None is 0: what is too small to be measured is not nothing."""
    message, served = max(_LEAST, _message(amounts)), _served(amounts)
    one, more = _proxy(amounts, 1), _proxy(amounts, amounts.subscribers)
    copy = max(_LEAST, (more["cpu_us"] - one["cpu_us"]) / (amounts.subscribers - 1))
    return Constants(
        message_us=message,
        delivery_us=max(_LEAST, (served["cpu_us"] - message) / amounts.clients),
        delivery_bytes=max(0.0, served["bytes"] - SIZE),
        connection_bytes=served["connection"],
        subscription_bytes=_subscription(amounts),
        proxy_message_us=max(_LEAST, one["cpu_us"] - copy),
        proxy_copy_us=copy,
        proxy_rate=one["rate"],
    )


def _message(amounts: Amounts) -> float:
    """CPU of a server for each message that it receives and that none of its clients wants."""
    with system() as parts:
        publisher = parts.start("publisher", bind=ANY, size=SIZE)
        server = parts.start("server", connect=publisher.line("ready"))
        server.line("port")
        server.tell("receive")
        server.line("null")
        ask(publisher, "wait")
        before = ask(server)["cpu"]
        ask(publisher, f"publish {amounts.received} 0")
        cpu: float = until(server, "received", amounts.received)["cpu"] - before
        return cpu / amounts.received * 1e6


def _served(amounts: Amounts) -> dict[str, float]:
    """CPU of a server for each message, with all clients; bytes of a delivery; memory of a connection."""
    messages, clients = amounts.messages, amounts.clients
    with system() as parts:
        publisher = parts.start("publisher", bind=ANY, size=SIZE)
        server = parts.start("server", connect=publisher.line("ready"))
        port = int(server.line("port"))
        before = ask(server)["resident"]
        readers = parts.clients(port, clients)
        idle = until(server, "streams", clients)
        ask(publisher, "wait")
        began = int(_read(readers)[0])
        ask(publisher, f"publish {messages} {amounts.rate}")
        ended = until(server, "delivered", messages * clients)
        while int(_read(readers)[1]) < messages * clients:
            time.sleep(0.02)
        received = int(_read(readers)[0]) - began
    return {
        "cpu_us": (ended["cpu"] - idle["cpu"]) / messages * 1e6,
        "bytes": received / messages / clients,
        "connection": max(0, idle["resident"] - before) / clients,
    }


def _read(readers: runner.Child) -> list[str]:
    readers.tell("")
    return readers.line("").split()


def _subscription(amounts: Amounts) -> float:
    with system() as parts:
        publisher = parts.start("publisher", bind=ANY, size=SIZE)
        server = parts.start("server", connect=publisher.line("ready"))
        server.line("port")
        before = ask(server)["resident"]
        server.tell(f"subscribe {amounts.subscriptions}")
        server.line("null")
        return max(0, ask(server)["resident"] - before) / amounts.subscriptions


def _proxy(amounts: Amounts, subscribers: int) -> dict[str, float]:
    """CPU of a proxy for each message to so many subscribers, and how many passed in a second."""
    with system() as parts:
        proxy = parts.start("proxy", frontend=ANY, backend=ANY)
        frontend, backend = proxy.line("ready").split()
        peers = [parts.start("subscriber", connect=backend) for _ in range(subscribers)]
        for peer in peers:
            peer.line("ready")
        publisher = parts.start("publisher", bind="", connect=frontend, size=SIZE)
        publisher.line("ready")
        ask(publisher, "wait")
        until(proxy, "backend_received", subscribers)  # each has subscribed
        cpu, began = ask(proxy)["cpu"], time.monotonic()
        ask(publisher, f"publish {amounts.passing} 0")
        for peer in peers:
            until(peer, "received", amounts.passing)
        return {
            "cpu_us": (ask(proxy)["cpu"] - cpu) / amounts.passing * 1e6,
            "rate": amounts.passing / (time.monotonic() - began),
        }


def point(servers: int, clients: int, messages: int, rate: float, prefix: Prefix, places: Mapping[str, str]) -> Any:
    """A system of so many servers with so many clients each behind two proxies; what each part has counted.

    *places*: the endpoints: "<proxy> <side>" to bind, and "<proxy> <host>" to connect to from a host.
    """
    with system(prefix) as parts:
        proxies = {}
        for name in ("p0", "p1"):
            proxies[name] = parts.start("proxy", name, frontend=places[f"{name} f"], backend=places[f"{name} b"])
            proxies[name].line("ready")
        publisher = parts.start(
            "publisher", "publisher", bind="", connect=f"{places['p0 publisher']},{places['p1 publisher']}", size=SIZE
        )
        publisher.line("ready")
        running, readers = [], []
        for number in range(servers):
            host, name = f"s{number}", _proxy_of(number, servers)
            running.append(parts.start("server", host, connect=places[f"{name} {host}"]))
            readers.append(parts.clients(int(running[-1].line("port")), clients, host))
            until(running[-1], "streams", clients)
        ask(publisher, "wait")
        for name, proxy in proxies.items():  # each server has subscribed
            until(proxy, "backend_received", sum(_proxy_of(number, servers) == name for number in range(servers)))
        before = [ask(part)["cpu"] for part in (*running, *proxies.values())]
        ask(publisher, f"publish {messages} {rate}")
        after = [until(one, "delivered", messages * clients) for one in running]
        after += [ask(proxy) for proxy in proxies.values()]
        deadline = time.monotonic() + runner.LIMIT
        while sum(tabs := [int(_read(one)[1]) for one in readers]) < messages * clients * servers:
            if time.monotonic() > deadline:
                raise runner.RunFailed(f"the clients have counted {tabs}")
            time.sleep(0.05)
    cpu = [new["cpu"] - old for new, old in zip(after, before, strict=True)]
    return {"servers": after[:servers], "proxies": after[servers:], "clients": tabs, "cpu": cpu}


def _proxy_of(number: int, servers: int) -> str:
    """Behind which of the two proxies the server of that number is."""
    return f"p{number * 2 // servers}"
