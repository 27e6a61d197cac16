"""zgreen.metrics over the workers of a prefork server: each scrape says the same, whichever worker answers it."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request

import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families
from servers import Gunicorn
from support import ANY, LIMIT, ROOT, endpoint_of, raw_socket, run, wait_for

import zgreen
from zgreen.metrics import Collector

pytestmark = pytest.mark.skipif(os.name != "posix", reason="gunicorn forks")

APPLICATION = """
    import os
    import zgreen, zgreen.metrics, zmq

    @zgreen.per_process
    def push() -> zgreen.Channel:
        return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])

    metrics = zgreen.metrics.application()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)
        if environ["REQUEST_METHOD"] == "POST":
            push().put(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
CONFIG = """
    worker_class = "gevent"
    from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int
"""
SENT = "zgreen_pump_sent_messages_total"


def scrape(gunicorn):
    """{name: [(labels, value)]}."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gunicorn.port}/metrics", timeout=LIMIT) as response:
        text = response.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def sent(gunicorn):
    """What a scrape says of all workers together: one series."""
    samples = scrape(gunicorn).get(SENT, [({"pump": "pump-1"}, 0)])
    assert [labels for labels, _ in samples] == [{"pump": "pump-1"}]
    return samples[0][1]


def pids(gunicorn):
    """Those of which there are gauges."""
    return {int(labels["pid"]) for labels, _ in scrape(gunicorn).get("zgreen_pump_channels", [])}


def shares(gunicorn):
    """What each living worker has sent, by its pid."""
    return {labels["pid"]: value for labels, value in scrape(gunicorn).get("zgreen_worker_sent_messages", [])}


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_four_workers(tmp_path, preload):
    """Also of workers that have ended: what they sent stays in the sum, and their gauges go."""
    pytest.importorskip("gunicorn")
    folder = tmp_path / "metrics"
    folder.mkdir()
    with raw_socket(zmq.PULL, bind=ANY) as pull:
        environment = {"PUSH_TO": endpoint_of(pull), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        options = {"config": CONFIG, "workers": 4, "preload": preload, **environment}
        with Gunicorn(tmp_path, APPLICATION, **options) as gunicorn:
            gunicorn.wait_for_workers()
            for _ in range(40):
                assert gunicorn.post(b"x") == 200
            wait_for(lambda: sent(gunicorn) == 40)
            assert [sent(gunicorn) for _ in range(6)] == [40] * 6
            first = gunicorn.workers
            assert pids(gunicorn) <= {int(pid) for pid in first}
            assert set(shares(gunicorn)) <= first
            assert sum(shares(gunicorn).values()) == 40
            gunicorn.process.send_signal(signal.SIGHUP)
            gunicorn.workers = gunicorn.new_workers(first)
            for pid in first:
                gunicorn.wait_for(rf"Worker exiting \(pid: {pid}\)")
            gunicorn.wait_for_workers()
            for _ in range(20):
                assert gunicorn.post(b"x") == 200
            wait_for(lambda: sent(gunicorn) == 60)
            assert [sent(gunicorn) for _ in range(6)] == [60] * 6
            wait_for(lambda: pids(gunicorn) <= {int(pid) for pid in gunicorn.workers})
            assert set(shares(gunicorn)) <= gunicorn.workers
            assert sum(shares(gunicorn).values()) == 20
            assert "Traceback" not in gunicorn.log, gunicorn.log
        assert len([pull.recv() for _ in range(60)]) == 60


def test_without_the_folder(tmp_path):
    status, out, err = run(
        """
        import os, sys
        import zgreen.metrics
        for function in (zgreen.metrics.record, zgreen.metrics.application):
            try:
                function()
            except RuntimeError as error:
                print(error)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
        try:
            zgreen.metrics.record()
        except RuntimeError as error:
            print(error)
        """,
        tmp_path,
    )
    says = "the environment must name a folder as PROMETHEUS_MULTIPROC_DIR, empty when the server starts: ''"
    late = "PROMETHEUS_MULTIPROC_DIR must be in the environment before prometheus_client is imported"
    assert (status, out.splitlines()) == (0, [says, says, late]), err


@pytest.mark.parametrize(
    ("interval", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (None, TypeError)]
)
def test_wrong_intervals(interval, error):
    with pytest.raises(error, match="interval"):
        zgreen.metrics.record(interval)


def test_the_names_are_those_of_one_process(tmp_path, pump):
    """Of pumps; and the values are those of the statistics, of all workers and of each."""
    families = recorded(tmp_path)
    mine = {f.name: f.type for f in Collector(pump).collect() if f.name.startswith("zgreen_pump_")}
    only_of_one_process = {"zgreen_pump", "zgreen_pump_up", "zgreen_pump_refusals"}
    of_all = {name: family.type for name, family in families.items() if not name.startswith("zgreen_worker_")}
    assert of_all == {name: kind for name, kind in mine.items() if name not in only_of_one_process}
    of_each = {name: family.type for name, family in families.items() if name.startswith("zgreen_worker_")}
    assert of_each == {name.replace("pump", "worker", 1): "gauge" for name, kind in of_all.items() if kind == "counter"}
    (sent,) = families["zgreen_pump_sent_bytes"].samples
    assert (sent.labels, sent.value) == ({"pump": "one"}, 9)
    (share,) = families["zgreen_worker_sent_bytes"].samples
    assert (set(share.labels), share.value) == ({"pump", "pid"}, 9)
    (drops,) = families["zgreen_pump_drops"].samples
    assert (drops.labels, drops.value) == ({"pump": "one", "cause": "drop_newest"}, 2)
    (share,) = families["zgreen_worker_drops"].samples
    assert (set(share.labels), share.value) == ({"pump", "cause", "pid"}, 2)


def recorded(folder):
    """The families of a process that has sent and dropped messages, by their names."""
    status, out, err = run(
        """
        import zgreen, zgreen.metrics, zmq
        pump = zgreen.Pump("one").start()
        pull = zgreen.Channel(zmq.PULL, bind="inproc://a", pump=pump, recv_maxsize=1, overflow="drop_newest")
        push = zgreen.Channel(zmq.PUSH, connect="inproc://a", pump=pump)
        for number in range(3):
            push.put("123")
        while pull.statistics().dropped < 2:
            import gevent; gevent.sleep(0.001)
        for _ in range(2):
            zgreen.metrics.record_now()
        answer = zgreen.metrics.application()({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *args: None)
        print(b"".join(answer).decode())
        """,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
    )
    assert status == 0, err
    return {family.name: family for family in text_string_to_metric_families(out)}


def test_the_dashboard_knows_the_names(pump, tmp_path):
    board = json.loads((ROOT / "docs" / "grafana.json").read_text())
    families = [*Collector(pump).collect(), *recorded(tmp_path).values()]
    names = {sample for family in families for sample in sample_names(family)}
    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            found = re.findall(r"zgreen_\w+", target["expr"])
            assert found, target
            asked.update(found)
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= {"pump", "cause", "pid"}
    assert len(asked) >= 10
    assert asked <= names, asked - names


def sample_names(family):
    return [f"{family.name}_total"] if family.type == "counter" else [family.name]


def test_a_scrape_waits_for_a_worker_that_makes_its_file(tmp_path):
    """prometheus_client's reader fails on a file that is still empty."""
    code = """
        import os, sys, gevent, zgreen.metrics
        scrape = zgreen.metrics.application()
        path = os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], "counter_1.db")
        open(path, "w").close()
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": ""}
        scraping = gevent.spawn(scrape, environ, lambda status, headers: print(status))
        gevent.sleep(0)
        assert not scraping.ready()
        os.truncate(path, 1 << 20)
        scraping.get()
    """
    assert run(code, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) == (0, "200 OK\n", "")
