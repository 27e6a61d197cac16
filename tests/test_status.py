"""zgreen.status: who may look, what is told, and the page in a real browser at two widths, in light and dark."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace

import gevent
import pytest
import zmq
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from support import LIMIT, ROOT, channels, real_threads, wait_for

import zgreen

pytest.importorskip("bottle")

from zgreen import status

LOCAL = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8000", "SCRIPT_NAME": "/status",
         "PATH_INFO": "/status.json"}  # fmt: skip


def ask(application, **changes):
    """Status, headers and body of the answer."""
    environ = {**LOCAL, **changes}
    seen = SimpleNamespace()

    def start_response(line, headers, *_):
        seen.status, seen.headers = int(line.split()[0]), dict(headers)

    body = b"".join(application(environ, start_response))
    return seen.status, seen.headers, body


@pytest.fixture
def application(pump):
    return status.application(pump)


def test_the_figures(pump, application):
    pull, push = channels(pump, zmq.PULL, zmq.PUSH)
    push.put("12345")
    assert pull.get() == b"12345"
    getting = gevent.spawn(pull.get)
    gevent.sleep(0)
    code, headers, body = ask(application)
    assert (code, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    told = json.loads(body)
    assert told["process"] == os.getpid()
    (mine,) = told["pumps"]
    assert (mine["name"], mine["engine"], mine["open"]) == ("test", pump.engine, True)
    assert set(mine["statistics"]) == set(pump.statistics()._fields)
    assert mine["statistics"]["sent_bytes"] == 5
    assert "1 in get" in mine["dump"]
    assert [(c["number"], c["type"], c["endpoint"]) for c in mine["channels"]] == [
        (1, "PULL", pull.last_endpoint), (2, "PUSH", push.last_endpoint),
    ]  # fmt: skip
    assert mine["channels"][0]["statistics"]["getters"] == 1
    getting.kill()


def test_the_peers(pump, application):
    def peers():
        return [c["peers"] for c in json.loads(ask(application)[2])["pumps"][0]["channels"] if c["type"] != "PAIR"]

    pull = zgreen.Channel("pull", bind="tcp://127.0.0.1:*", monitor=True, pump=pump)
    assert peers() == [0]
    pushes = [zgreen.Channel("push", connect=pull.last_endpoint, pump=pump) for _ in range(3)]
    wait_for(lambda: peers() == [3, None, None, None], "three peers")
    pushes.pop().close()
    wait_for(lambda: peers() == [2, None, None], "two peers")


def test_the_history_is_sampled_between_requests(pump, application, monkeypatch):
    monkeypatch.setattr("zgreen.status.snapshot.INTERVAL", 0.01)
    assert len(json.loads(ask(application)[2])["pumps"][0]["history"]) == 1
    wait_for(lambda: len(json.loads(ask(application)[2])["pumps"][0]["history"]) > 3)
    rows = json.loads(ask(application)[2])["pumps"][0]["history"]
    assert all(len(row) == 6 for row in rows)
    assert rows == sorted(rows)


def test_all_pumps_of_the_process(pump):
    with zgreen.Pump("second"):
        names = [one["name"] for one in json.loads(ask(status.application())[2])["pumps"]]
        assert {"test", "second"} <= set(names)


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/uplot.js", "/uplot.css"])
def test_the_files(application, path):
    code, headers, body = ask(application, PATH_INFO=path)
    assert code == 200
    assert len(body) > 300
    assert int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("path", ["/nothing", "/../web.py", "/index.html", "/page.js/"])
def test_no_other_files(application, path):
    code, _, body = ask(application, PATH_INFO=path)
    assert code == 404
    assert b"Traceback" not in body


def test_its_links_need_the_slash(application):
    code, headers, _ = ask(application, PATH_INFO="")
    assert (code, headers["Location"]) == (308, "status/")


def test_it_only_reads(application):
    assert ask(application, REQUEST_METHOD="POST")[0] == 405


@pytest.mark.parametrize("changes", [
    {"REMOTE_ADDR": "127.0.0.1"}, {"REMOTE_ADDR": "127.8.9.1"}, {"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:80"},
    {"REMOTE_ADDR": "::ffff:127.0.0.1"}, {"HTTP_HOST": "127.0.0.1"}, {"HTTP_HOST": "localhost"},
])  # fmt: skip
def test_this_machine_may_look(application, changes):
    assert ask(application, **changes)[0] == 200


@pytest.mark.parametrize("path", ["/status.json", "/", "", "/nothing"])
@pytest.mark.parametrize("changes", [
    {"REMOTE_ADDR": "10.0.0.1"}, {"REMOTE_ADDR": "::ffff:10.0.0.1"}, {"REMOTE_ADDR": ""}, {"REMOTE_ADDR": "unix:"},
    {"REMOTE_ADDR": "2001:db8::1"}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, {"HTTP_FORWARDED": "for=127.0.0.1"},
    {"HTTP_X_REAL_IP": ""}, {"HTTP_HOST": "shop.example"}, {"HTTP_HOST": "localhost.example:80"}, {"HTTP_HOST": ""},
])  # fmt: skip
def test_nobody_else_and_no_detail(application, changes, path):
    code, headers, body = ask(application, PATH_INFO=path, **changes)
    assert (code, body) == (403, b"")
    assert "Location" not in headers


def test_authorize_says_who(pump, caplog):
    seen = []

    def authorize(environ):
        seen.append(environ["REMOTE_ADDR"])
        if environ["REMOTE_ADDR"] == "broken":
            raise ValueError("secret")
        return environ["REMOTE_ADDR"] == "10.0.0.1"

    application = status.application(pump, authorize=authorize)
    assert ask(application, REMOTE_ADDR="10.0.0.1", HTTP_HOST="shop.example")[0] == 200
    assert ask(application)[0] == 403
    assert ask(application, REMOTE_ADDR="broken")[::2] == (403, b"")
    assert seen == ["10.0.0.1", "127.0.0.1", "broken"]
    assert "authorize has failed" in caplog.text


def test_wrong_arguments(pump):
    with pytest.raises(TypeError, match=r"zgreen\.Pump or None, not Channel"):
        status.application(zgreen.Channel("push", pump=pump))
    with pytest.raises(TypeError, match="authorize must be callable"):
        status.application(authorize="admin")


# ---------------------------------------------------------------- in a browser

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    if MISSING:
        pytest.skip(f"not installed: {MISSING}")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with real_threads(1) as spawn:  # its calls block, and the hub serves the page
        driver = spawn(webdriver.Chrome, options, webdriver.ChromeService(shutil.which("chromedriver"))).get()
        yield SimpleNamespace(driver=driver, call=lambda function, *args: spawn(function, *args).get(timeout=LIMIT))
        spawn(driver.quit).get()


@pytest.mark.skipif(bool(os.environ.get("ZGREEN_TEST_PATCHED")), reason="selenium's own threads and sockets are real")
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page(pump, browser, size, theme, monkeypatch):
    """It shows figures and charts, within its width, and says when the server has gone; nothing is in the console.

    ZGREEN_SCREENSHOT=1 makes docs/status-light.png and docs/status-dark.png anew.
    """
    monkeypatch.setattr("zgreen.status.snapshot.INTERVAL", 0.1)
    pull = zgreen.Channel("pull", bind="tcp://127.0.0.1:*", monitor=True, pump=pump)
    push = zgreen.Channel("push", connect=pull.last_endpoint, pump=pump)
    assert pull.wait_connected(LIMIT)
    idle = zgreen.Channel("push", connect="tcp://127.0.0.1:1", pump=pump)
    idle.put("<b>not markup</b>")
    server = WSGIServer(("127.0.0.1", 0), status.application(pump), log=None, spawn=Pool(20))
    server.start()

    def traffic():
        for number in range(100_000):
            push.put(b"%d" % number)
            pull.get()
            gevent.sleep(0.001)

    busy = gevent.spawn(traffic)
    driver, call = browser.driver, browser.call

    def js(code):
        return call(driver.execute_script, code)

    def state():
        return js("return document.getElementById('state').dataset.state")

    call(driver.set_window_size, *SIZES[size])
    features = [{"name": "prefers-color-scheme", "value": theme}]
    call(driver.execute_cdp_cmd, "Emulation.setEmulatedMedia", {"features": features})
    call(driver.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride",
         {"width": SIZES[size][0], "height": SIZES[size][1], "deviceScaleFactor": 1, "mobile": False})  # fmt: skip
    call(driver.get, f"http://127.0.0.1:{server.server_port}/")
    wait_for(lambda: state() == "good")
    wait_for(lambda: js("return document.querySelectorAll('canvas').length") == 3)
    rows = js("return [...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent.split(' ')[0])")
    assert rows == ["PULL", "PAIR", "PUSH", "PUSH"]  # the PAIR is that of the PULL's monitor
    peers = js("return [...document.querySelectorAll('[data-name=peers]')].map((cell) => cell.textContent)")
    assert peers == ["1", "not known", "not known", "not known"]
    assert js("return document.documentElement.scrollWidth <= innerWidth")
    ground = js("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 150) == (theme == "dark")
    samples = 60 if os.environ.get("ZGREEN_SCREENSHOT") else 5
    wait_for(lambda: js("return shown.get('test').charts[0].drawn.data[1].filter(Boolean).length") > samples)
    if os.environ.get("ZGREEN_SCREENSHOT") and size == "desktop":
        call(driver.save_screenshot, str(ROOT / "docs" / f"status-{theme}.png"))
    js("document.getElementById('pause').click()")
    assert js("return document.getElementById('pause').textContent") == "Resume"
    js("document.getElementById('pause').click()")
    wait_for(lambda: state() == "good")
    assert [entry for entry in call(driver.get_log, "browser") if "favicon" not in entry["message"]] == []
    server.stop(timeout=0)
    wait_for(lambda: state() == "lost", "the page to say that nobody answers")
    call(driver.get, "about:blank")
    call(driver.get_log, "browser")
    busy.kill()
    idle.close(linger=0)
