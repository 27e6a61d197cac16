"""The arithmetic of benchmarks/capacity.py, its command, and one system of real processes that is as it says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from support import LIMIT, ROOT
from test_proxy_hosts import NETWORKS

sys.path.append(str(ROOT))

from benchmarks import measure
from benchmarks.capacity import Constants, Load, Machine, plan

pytestmark = [pytest.mark.once, pytest.mark.timeout(3 * LIMIT)]

CONSTANTS = Constants(
    message_us=20, delivery_us=10, delivery_bytes=8, connection_bytes=20_000, subscription_bytes=1300,
    proxy_message_us=2, proxy_copy_us=1, proxy_rate=100_000,
)  # fmt: skip
MACHINE = Machine(cores=8, memory=32e9, link=10e9, descriptors=1_000_000)


def test_one_process_needs_no_proxy():
    found = plan(Load(1000, 1, 20), CONSTANTS, MACHINE)
    assert (found.processes, found.machines, found.proxies, found.links) == (1, 1, 0, 1)
    assert found.deliveries == 20_000
    assert found.used["server CPU"] == pytest.approx((20 * 20 + 20_000 * 10) / 1e6)


def test_processor():
    """Each client gets 10 messages/s: 0.7 s of CPU are 6,998 clients beside the 10 messages."""
    found = plan(Load(100_000, 1, 10), CONSTANTS, MACHINE)
    most = math.floor((0.7e6 - 10 * 20) / (10 * 10))
    assert most == 6998
    assert found.processes == math.ceil(100_000 / most) == 15
    assert (found.clients_per_process, found.machines) == (6667, 2)
    assert (found.levels, found.trees, found.links) == ((1,), 1, 15)
    assert found.breaks_first == "server CPU"


@pytest.mark.parametrize(("machine", "clients", "resource"), [
    (replace(MACHINE, memory=1.6e8), 700, "server memory"),  # 0.7 x 160 MB / 8 cores / 20 kB
    (replace(MACHINE, descriptors=600), 500, "server descriptors"),
    (replace(MACHINE, link=8e6), 81, "server link"),  # 0.7 x 1 MB/s / 8 / 10 messages/s / 108 bytes
])  # fmt: skip
def test_what_else_bounds_a_process(machine, clients, resource):
    found = plan(Load(clients * 10, 1, 10), CONSTANTS, machine, fan=100)
    assert (found.clients_per_process, found.processes) == (clients, 10)
    assert found.breaks_first == resource


def test_a_tree():
    """1,000 processes, 10 children to a proxy: 100, then 10, then 1 proxies, each child with one link."""
    load = Load(500_000, 1, 10)
    found = plan(load, CONSTANTS, replace(MACHINE, descriptors=600), fan=10)
    assert (found.processes, found.levels, found.proxies) == (1000, (100, 10, 1), 111)
    assert found.links == 1000 + 100 + 10
    assert found.used["proxy CPU"] == pytest.approx(10 * (2 + 10 * 1) / 1e6)


def test_two_at_the_top_need_none_above_them():
    found = plan(Load(1500, 1, 20), CONSTANTS, replace(MACHINE, descriptors=600), fan=2)
    assert (found.processes, found.clients_per_process, found.levels, found.links) == (3, 500, (2,), 3)


def test_topics_are_split_over_trees():
    """To receive 200,000 messages/s takes 0.4 s of a proxy's CPU, which leaves time for few children."""
    load = Load(1_000_000, 1_000_000, 200_000)
    found = plan(load, CONSTANTS, MACHINE)
    assert found.trees > 1
    assert found.proxies == found.trees * sum(found.levels)
    assert 0 < found.used["proxy CPU"] <= 0.7 + 1e-9


def test_few_clients_want_few_topics():
    """A process with 100 clients, each with one of 1,000,000 topics, is sent hardly more than it delivers."""
    found = plan(Load(100, 1_000_000, 1_000_000), CONSTANTS, MACHINE)
    assert found.used["server CPU"] == pytest.approx(100 * (20 + 10) / 1e6, rel=0.01)


@pytest.mark.parametrize(("topics", "rate"), [(100_000, 50_000), (10, 10), (1000, 1000)])
def test_ten_million_clients(topics, rate):
    load = Load(10_000_000, topics, rate)
    found = plan(load, CONSTANTS, MACHINE)
    assert found.processes * found.clients_per_process >= load.clients
    assert found.deliveries == pytest.approx(10_000_000 * rate / topics)
    assert all(share <= 0.7 + 1e-9 for name, share in found.used.items() if name != "server descriptors")
    assert found.breaks_first in found.used


@pytest.mark.parametrize(("load", "fan", "says"), [
    (Load(1, 1, 100_000), None, "server CPU of a process is not enough for one client, who wants 100000/s"),
    (Load(0, 1, 1), None, "clients must be more than 0"),
    (Load(1, 1, 0), None, "rate must be more than 0"),
    (Load(1, 0, 1), None, "topics must be more than 0"),
    (Load(1, 1, 1), 1, "2 children at least, not 1"),
    (Load(1000, 2, 30_000), None, "are too many for proxies of 2 topics"),
])  # fmt: skip
def test_what_cannot_be(load, fan, says):
    constants = replace(CONSTANTS, proxy_copy_us=20)
    with pytest.raises(ValueError, match=says):
        plan(load, constants, MACHINE, fan)


def test_the_command():
    command = [sys.executable, "-m", "benchmarks", "capacity", "--quick", "--json", "--clients", "1500", "--rate", "20"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert all(value > 0 for value in told["constants"].values()), told["constants"]
    (row,) = told["plans"]
    assert row["plan"]["deliveries"] == pytest.approx(1500 * 20 / 1000)
    assert row["plan"]["processes"] >= 1


@pytest.mark.parametrize("network", list(NETWORKS))
def test_three_servers_of_500_clients_behind_two_proxies(network):
    """Processes, proxies, links and deliveries are those of the plan, counted by each part."""
    servers, clients, messages = 3, 500, 10
    found = plan(Load(servers * clients, 1, messages), CONSTANTS, replace(MACHINE, descriptors=600), fan=2)
    assert (found.processes, found.clients_per_process, found.levels) == (servers, clients, (2,))
    hosts = NETWORKS[network](["proxy", "publisher", "s0", "s1", "s2"])
    try:
        places = {}
        for number in range(2):  # both on the host of the proxies
            front, back = 5559 + 2 * number, 5560 + 2 * number
            places |= {f"p{number} f": hosts.proxy_binds(front), f"p{number} b": hosts.proxy_binds(back)}
            places[f"p{number} publisher"] = hosts.proxy_from("publisher", front)
            places |= {f"p{number} s{server}": hosts.proxy_from(f"s{server}", back) for server in range(servers)}

        def prefix(host):
            return hosts.command("proxy" if host in ("p0", "p1") else host)[:-1]  # without the name of Python

        got = measure.point(servers, clients, messages, 10.0, prefix, places)
    finally:
        hosts.close()
    assert sum(got["clients"]) == found.deliveries
    assert got["clients"] == [clients * messages] * servers
    assert [(one["received"], one["dropped"]) for one in got["servers"]] == [(messages, 0)] * servers
    assert sum(one["received"] for one in got["servers"]) == found.links * messages
    assert [one["frontend_received"] for one in got["proxies"]] == [messages] * 2
    cpu = sum(got["cpu"][:servers]) / servers
    print(f"CPU of a server: {cpu / messages / clients * 1e6:.1f} us for each delivery")
