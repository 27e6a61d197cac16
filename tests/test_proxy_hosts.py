"""Publishers, a proxy and fan-out servers on hosts of their own, of which each is killed and comes again.

A host is a network namespace, with a wire to the one where the proxy is. Where the machine does not let us make those
(root and iproute2 are needed), a host is a loopback address: the test's id says so.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from programs import Program
from support import PATCHED

PUBLISHERS = ["alice", "bob"]
SERVERS = ["s1", "s2", "s3"]
HOSTS = ["proxy", *PUBLISHERS, *SERVERS]
TOPICS = ["gold", "tin"]
FRONTEND, BACKEND = 5559, 5560

PRELUDE = "from gevent import monkey; monkey.patch_all()\n" if PATCHED else ""

# One message for each topic, again and again, with the time at which it was put: the clock is that of the machine.
PUBLISHER = PRELUDE + textwrap.dedent("""
    import sys, time
    import gevent, zmq, zgreen
    channel = zgreen.Channel(zmq.PUB, connect=sys.argv[2])
    while True:
        for topic in sys.argv[3:]:
            channel.put([topic, sys.argv[1], f"{time.monotonic()}"])
        gevent.sleep(0.03)
""")

# One subscription for each topic; says what each gets.
SERVER = PRELUDE + textwrap.dedent("""
    import sys
    import gevent, zmq, zgreen
    def browse(topic, subscription):
        for _, publisher, when in subscription:
            sys.stdout.write(f"got {topic} {publisher.decode()} {when.decode()}\\n")
    fan = zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=sys.argv[2]))
    gevent.joinall([gevent.spawn(browse, topic, fan.subscribe(topic)) for topic in sys.argv[3:]], raise_error=True)
""")

_numbers = itertools.count()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)


class Namespaces:
    """Each host is a network namespace; all but the proxy's have one interface, a wire to the proxy's."""

    def __init__(self, hosts):
        self._name = f"zg{os.getpid()}-{next(_numbers)}-"
        self._made = []
        self._of_proxy = {}
        try:
            for number, host in enumerate(hosts):
                self._make(number, host)
        except BaseException:
            self.close()
            raise

    def _make(self, number, host):
        name = self._name + host
        ip("netns", "add", name)
        self._made.append(name)
        ip("-n", name, "link", "set", "lo", "up")
        if host == "proxy":
            return
        proxy = f"{self._name}proxy"
        ip("link", "add", "wire", "netns", name, "type", "veth", "peer", "name", f"to-{host}", "netns", proxy)
        for where, interface, last in ((proxy, f"to-{host}", 1), (name, "wire", 2)):
            ip("-n", where, "address", "add", f"10.111.{number}.{last}/24", "dev", interface)
            ip("-n", where, "link", "set", interface, "up")
        self._of_proxy[host] = f"10.111.{number}.1"

    def proxy_binds(self, port):
        return f"tcp://*:{port}"

    def proxy_from(self, host, port):
        return f"tcp://{self._of_proxy[host]}:{port}"

    def command(self, host, *arguments):
        return ["ip", "netns", "exec", self._name + host, sys.executable, *arguments]

    def close(self):
        for name in self._made:
            ip("netns", "delete", name)  # and the wires with them


class Loopback:
    """Each host is a loopback address: what it connects from, or binds. Elsewhere than on Linux there is but one."""

    def __init__(self, hosts):
        first, step = (2, 1) if sys.platform == "linux" else (1, 0)
        self._addresses = {host: f"127.0.0.{first + step * number}" for number, host in enumerate(hosts)}
        self._base = 10_000 + os.getpid() % 10_000  # other programs of this machine may have the ports of the guide

    def proxy_binds(self, port):
        return f"tcp://{self._addresses['proxy']}:{self._base + port}"

    def proxy_from(self, host, port):
        return f"tcp://{self._addresses[host]}:0;{self._addresses['proxy']}:{self._base + port}"

    def command(self, host, *arguments):
        return [sys.executable, *arguments]

    def close(self):
        pass


def namespaces_work():
    """Whether this machine lets us: found out by doing it."""
    if shutil.which("ip") is None:
        return False
    try:
        network = Namespaces(["proxy", "probe"])
        try:
            command = network.command("probe", "-c", "")
            return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0
        finally:
            network.close()
    except (OSError, subprocess.SubprocessError):
        return False


if sys.platform == "linux" and namespaces_work():
    NETWORKS = {"network-namespaces": Namespaces, "loopback-addresses": Loopback}
else:
    NETWORKS = {"loopback-addresses-as-namespaces-are-not-allowed": Loopback}


class Hosts:
    """A program on each host; any of them can be killed and started again."""

    def __init__(self, network):
        self._network = network
        self._running = {}
        self._stack = contextlib.ExitStack()
        self._commands = {"proxy": ["-m", "zgreen", "proxy"]}
        for option, port in (("--frontend", FRONTEND), ("--backend", BACKEND)):
            self._commands["proxy"] += [option, network.proxy_binds(port)]
        for name in PUBLISHERS:
            self._commands[name] = ["-c", PUBLISHER, name, network.proxy_from(name, FRONTEND), *TOPICS]
        for name in SERVERS:
            self._commands[name] = ["-c", SERVER, name, network.proxy_from(name, BACKEND), *TOPICS]

    def start(self, host):
        command = self._network.command(host, *self._commands[host])
        become = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"  # so that it is that process that is killed
        self._running[host] = self._stack.enter_context(Program("-c", become, *command))
        if host == "proxy":
            self._running[host].line_with("forwarder: frontend")

    def kill(self, host):
        """As a power cut would."""
        program = self._running.pop(host)
        program.signal(signal.SIGKILL)
        assert program.end() == -signal.SIGKILL

    def hear(self, publishers=PUBLISHERS, servers=SERVERS):
        """Wait until each server's subscriptions have got from each publisher what was put after this call."""
        since = time.monotonic()
        for server in servers:
            missing = {(topic, name) for topic in TOPICS for name in publishers}
            while missing:
                _, topic, name, when = self._running[server].line_with("got ").split()
                if float(when) > since:
                    missing.discard((topic, name))

    def end(self, host, number):
        program = self._running.pop(host)
        program.signal(number)
        return program.end(), program.lines[-1]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._stack.close()


@pytest.fixture(params=list(NETWORKS))
def hosts(request):
    """All of them, running."""
    network = NETWORKS[request.param](HOSTS)
    try:
        with Hosts(network) as made:
            for host in reversed(HOSTS):  # the proxy last: whoever comes first waits for it
                made.start(host)
            yield made
    finally:
        network.close()


def test_messages_flow_again_after_each_has_been_killed(hosts):
    """Nobody tells the others: they find the one that has come again at the proxy's address, or are the proxy."""
    hosts.hear()
    for host in HOSTS:
        hosts.kill(host)
        hosts.start(host)
        hosts.hear()
    status, last = hosts.end("proxy", signal.SIGTERM)
    assert status == 0
    counts = dict(word.split("=") for word in last.removeprefix("statistics: ").split())
    assert int(counts["backend_sent"]) > 0, last


def test_those_who_live_hear_each_other_while_one_is_dead(hosts):
    """A dead publisher or server is nobody else's concern, not even when the proxy comes again."""
    hosts.hear()
    hosts.kill("bob")
    hosts.kill("s3")
    living = {"publishers": ["alice"], "servers": ["s1", "s2"]}
    hosts.hear(**living)
    hosts.kill("proxy")
    hosts.start("proxy")
    hosts.hear(**living)
    hosts.start("s3")
    hosts.start("bob")
    hosts.hear()
