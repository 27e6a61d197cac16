"""zgreen.metrics: what a real scrape over HTTP says, read by prometheus_client's own two parsers."""

import contextlib
import subprocess
import sys
import urllib.request

import gevent
import pytest
import zmq
from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support import ANY, LIMIT, channels, inproc, outcome, raw_socket, real_threads, run, wait_for

import zgreen
from zgreen import Channel, Pump
from zgreen.metrics import Collector

FORMATS = {
    "text": ("text/plain", parse_text),
    "openmetrics": ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
}


@contextlib.contextmanager
def served(*collectors):
    """The URL of a real HTTP server with the application that prometheus_client makes."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server = WSGIServer(("127.0.0.1", 0), make_wsgi_app(registry), log=None)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.stop()


def fetch(url, accept):
    """In a real thread, as the client's socket would block the hub that serves it."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=LIMIT) as response:
        return response.headers["Content-Type"], response.read().decode()


def scrape(url, form="openmetrics"):
    """{(sample, its labels as a frozenset): value}, and {family: type}."""
    accept, parse = FORMATS[form]
    with real_threads(1) as spawn:
        content_type, text = spawn(fetch, url, accept).get()
    assert content_type.startswith(accept.partition(";")[0])
    families = list(parse(text))
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "the same series twice"
    return found, {family.name: family.type for family in families}


def labels(**values):
    return frozenset(values.items())


@pytest.fixture
def pair(pump):
    """Two channels with some traffic behind them."""
    server = Channel("PULL", bind=ANY, pump=pump)
    client = Channel("PUSH", connect=server.last_endpoint, pump=pump)
    for body in (b"abc", [b"de", b"f"]):
        client.put(body)
        server.get()
    assert client.flush(LIMIT)
    return server, client


@pytest.mark.parametrize("form", FORMATS)
def test_a_scrape(pump, pair, form):
    server, _ = pair
    with served(Collector(pump)) as url:
        found, types = scrape(url, form)
    of_pump = labels(pump="test")
    assert found["zgreen_pump_sent_messages_total", of_pump] == 2
    assert found["zgreen_pump_sent_bytes_total", of_pump] == 6
    assert found["zgreen_pump_received_messages_total", of_pump] == 2
    assert found["zgreen_pump_received_bytes_total", of_pump] == 6
    assert found["zgreen_pump_channels", of_pump] == 2
    assert found["zgreen_pump_up", of_pump] == 1
    assert found["zgreen_pump_info", labels(pump="test", engine=pump.engine)] == 1
    end = server.last_endpoint
    pull = labels(pump="test", channel="1", socket_type="PULL", endpoint=end)
    push = labels(pump="test", channel="2", socket_type="PUSH", endpoint=end)
    assert found["zgreen_channel_received_bytes_total", pull] == 6
    assert found["zgreen_channel_sent_bytes_total", pull] == 0
    assert found["zgreen_channel_sent_bytes_total", push] == 6
    assert found["zgreen_channel_get_waits_total", pull] == server.statistics().get_waits
    assert found["zgreen_channel_get_wait_seconds_total", pull] == server.statistics().get_wait_seconds
    assert found["zgreen_channel_putters", push] == 0
    assert types["zgreen_pump_sent_bytes"] == "counter"
    assert types["zgreen_channel_peak_pending_messages"] == "gauge"


def test_every_figure_is_there(pump, pair):
    """No field of the snapshots is forgotten, but the text of the last error."""
    with served(Collector(pump)) as url:
        _, types = scrape(url)
    for prefix, snapshot in (("zgreen_pump_", zgreen.PumpStatistics), ("zgreen_channel_", zgreen.ChannelStatistics)):
        for field in set(snapshot._fields) - {"last_error", "refused", "dropped", "unsent"}:
            names = {prefix + name for name in (field, f"{field}_messages")}
            assert names & types.keys(), field


def test_causes(pump):
    """refused, dropped and unsent are there by cause."""
    router = Channel("ROUTER", bind=inproc(), options={zmq.ROUTER_MANDATORY: 1}, pump=pump)
    assert isinstance(outcome(router.send([b"nobody", b"x"]).get), zmq.ZMQError)
    server, client = channels(pump, "PULL", "PUSH", recv_maxsize=1, overflow="drop_newest")
    for _ in range(3):
        client.put("x")
    wait_for(lambda: server.statistics().dropped == 2)
    idle = Channel("PUSH", pump=pump)
    idle.put("x")
    idle.close(linger=0)
    with served(Collector(pump)) as url:
        found, _ = scrape(url)
    assert found["zgreen_pump_refusals_total", labels(pump="test", cause="EHOSTUNREACH")] == 1
    assert found["zgreen_pump_drops_total", labels(pump="test", cause="drop_newest")] == 2
    assert found["zgreen_pump_drops_total", labels(pump="test", cause="unsent")] == 1


def test_counters_do_not_go_down_when_channels_close(pump, pair):
    server, client = pair
    with served(Collector(pump)) as url:
        before, _ = scrape(url)
        client.close()
        between, _ = scrape(url)
        server.close()
        after, _ = scrape(url)
        pump.shutdown()
        ended, _ = scrape(url)
    counters = [key for key in before if key[0].startswith("zgreen_pump_") and key[0].endswith("_total")]
    assert len(counters) >= 12
    for key in counters:
        assert before[key] <= between[key] <= after[key] <= ended[key], key
    assert after["zgreen_pump_sent_bytes_total", labels(pump="test")] == 6
    assert [key for key in after if key[0].startswith("zgreen_channel_")] == []
    assert (after["zgreen_pump_up", labels(pump="test")], ended["zgreen_pump_up", labels(pump="test")]) == (1, 0)


def test_names_are_escaped():
    """What a user may call a pump."""
    name = 'a "quoted" \\ name\nof two lines'
    with Pump(name) as pump, served(Collector(pump)) as url:
        for form in FORMATS:
            found, _ = scrape(url, form)
            assert found["zgreen_pump_channels", labels(pump=name)] == 0


def test_two_channels_of_one_endpoint(pump, pair):
    """They are told apart by their numbers, which are not used again."""
    server, client = pair
    other = Channel("PUSH", connect=server.last_endpoint, pump=pump)
    client.close()
    third = Channel("PUSH", connect=server.last_endpoint, pump=pump)
    with served(Collector(pump)) as url:
        found, _ = scrape(url)
    numbers = [dict(tags)["channel"] for name, tags in found if name == "zgreen_channel_pending_messages"]
    assert numbers == ["1", "3", "4"]
    assert pump.channels == (server, other, third)


def test_several_pumps(pump, pair):
    with Pump("second") as second, served(Collector(pump, second)) as url:
        Channel("PULL", pump=second)
        found, _ = scrape(url)
        assert found["zgreen_pump_channels", labels(pump="test")] == 2
        assert found["zgreen_pump_channels", labels(pump="second")] == 1
        kind = labels(pump="second", channel="1", socket_type="PULL", endpoint="")
        assert found["zgreen_channel_getters", kind] == 0


def test_without_channels(pump, pair):
    with served(Collector(pump, channels=False)) as url:
        found, types = scrape(url)
    assert found["zgreen_pump_channels", labels(pump="test")] == 2
    assert [name for name in types if name.startswith("zgreen_channel")] == []


def test_a_scrape_from_a_thread_while_the_hub_is_busy(pump, pair):
    """prometheus_client's own server has a thread for each request."""
    collector = Collector(pump)
    with real_threads(1) as spawn:
        scraping = spawn(lambda: {family.name for family in collector.collect()})
        while not scraping.ready():
            server, client = channels(pump, "PULL", "PUSH")
            client.put("x")
            server.get()
            client.close()
            server.close()
            gevent.sleep(0)
        assert "zgreen_pump_sent_bytes" in scraping.get()


def test_what_it_does_not_take(pump):
    with pytest.raises(TypeError, match="a Collector is for pumps, not for Channel"):
        Collector(Channel("PULL", pump=pump))
    with pytest.raises(ValueError, match="one pump or more"):
        Collector()
    with pytest.raises(ValueError, match="a name of its own"):
        Collector(pump, pump)


def test_in_the_child_of_a_fork():
    """The parent's pump can still be scraped there: it has ended."""
    code = """
        import os
        import zgreen
        from zgreen.metrics import Collector
        from prometheus_client import CollectorRegistry, generate_latest

        pump = zgreen.Pump("p").start()
        channel = zgreen.Channel("PUSH", pump=pump, send_maxsize=1)
        registry = CollectorRegistry()
        registry.register(Collector(pump))
        pid = os.fork()
        text = generate_latest(registry).decode()
        if not pid:
            print([line for line in text.splitlines() if line.startswith(("zgreen_pump_up", "zgreen_pump_channels"))])
            os._exit(0)
        os.waitpid(pid, 0)
        pump.shutdown(linger=0)
    """
    status, out, err = run(code)
    assert (status, err.count("Traceback")) == (0, 0), err
    assert out == "['zgreen_pump_up{pump=\"p\"} 0.0', 'zgreen_pump_channels{pump=\"p\"} 0.0']\n"


def test_without_prometheus_client():
    """The core does not need it, and zgreen.metrics says what is missing."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import zgreen\n"
        "try:\n    import zgreen.metrics\nexcept ImportError as error:\n    print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    assert out == "zgreen.metrics needs prometheus_client: pip install 'zgreen[metrics]'\n"


def test_it_counts_what_comes_from_elsewhere(pump):
    """Between two scrapes."""
    server = Channel("PULL", bind=ANY, pump=pump)
    with raw_socket(zmq.PUSH, connect=server.last_endpoint) as peer, served(Collector(pump)) as url:
        first, _ = scrape(url)
        for _ in range(5):
            peer.send(b"1234")
            server.get()
        second, _ = scrape(url)
    key = "zgreen_pump_received_bytes_total", labels(pump="test")
    assert second[key] - first[key] == 20
