"""The page of ``zgreen live`` in real, headless Chromium.

Where Chromium and its driver are missing these tests are skipped; under CI=true they fail on Linux, where .ci/run
installs both. ZGREEN_SCREENSHOT=1 makes docs/live.png anew.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Events, Live
from support import LIMIT, ROOT
from test_live_server import CONTROL, publisher, subscriptions

selenium = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402 (all behind the line that skips without it)
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.expected_conditions import alert_is_present  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

# starting a browser takes seconds on a busy machine
pytestmark = [pytest.mark.once, pytest.mark.timeout(3 * LIMIT)]

QUIET = ("--rate", "0")
WIDE, PHONE = (1280, 960), (360, 740)


def missing():
    """Which programs are not there."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """A Chromium of its own."""

    def __init__(self) -> None:
        options = selenium.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        # no sandbox: it refuses to start for root, as which CI runs; all it loads is our own page
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.add_argument("--window-size={},{}".format(*WIDE))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.set_capability("unhandledPromptBehavior", "ignore")
        self.driver = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
        self._first = self.driver.current_window_handle

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[Live]:
        """``zgreen live``; before it ends its windows are closed, and nothing is in the browser's console."""
        with Live(*options) as live:
            yield live
            errors = self.errors()
            self.close_windows()
        assert errors == []

    def open(self, live: Live) -> str:
        """The page in a new window, connected; the window's name."""
        self.driver.switch_to.new_window("window")
        self.driver.get(live.url)
        self.wait(lambda: self.get("status").text == "connected" and self.get("pump").text, "the connection")
        return self.driver.current_window_handle

    def to(self, window: str) -> None:
        self.driver.switch_to.window(window)

    def get(self, identity: str):
        return self.driver.find_element(By.ID, identity)

    def js(self, code: str):
        return self.driver.execute_script(code)

    def cdp(self, command: str, **values) -> None:
        self.driver.execute_cdp_cmd(command, values)

    def wait(self, condition, what: str):
        return WebDriverWait(self.driver, LIMIT, 0.05).until(lambda _: condition(), f"waited {LIMIT:g} s for {what}")

    def log(self) -> list[list[str]]:
        """Topic and text of the messages shown, the newest first."""
        return self.js("return [...document.querySelectorAll('#log li')].map((li) => "
                       "[...li.children].map((child) => child.textContent))")  # fmt: skip

    def wait_message(self, topic: str, text: str) -> None:
        self.wait(lambda: [topic, text] in self.log(), f"the message {topic} {text:.20}")

    def connections(self) -> dict[int, dict[str, str]]:
        """The table of connections."""
        rows = self.js("return [...document.querySelectorAll('#connections tbody tr')].map((row) => "
                       "[...row.cells].map((cell) => cell.textContent))")  # fmt: skip
        names = ("topics", "queue", "lost", "sent")
        return {int(row[0].split()[0]): dict(zip(names, row[1:], strict=True)) for row in rows}

    def number(self) -> int:
        """Of this window's connection."""
        return self.js("return state.number")

    def pause(self) -> None:
        """Show a dialog, which stops all that the page does, until it is accepted."""
        self.js("setTimeout(() => alert('paused'))")
        self.wait(lambda: alert_is_present()(self.driver), "the dialog")

    def filter(self, words: str) -> None:
        self.get("filter").clear()
        self.get("filter").send_keys(words, Keys.ENTER)
        shown = " ".join(words.split()) or "all"
        self.wait(lambda: self.get("subscribed").text == f"subscribed to {shown}", "the subscription")

    def send(self, topic: str, text: str) -> None:
        self.get("topic").clear()
        self.get("topic").send_keys(topic)
        self.get("text").send_keys(text, Keys.ENTER)
        self.wait(lambda: self.get("sent").text == "pushed", "the answer")

    def errors(self) -> list[str]:
        """What the browser has complained of in its console."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def close_windows(self) -> None:
        for window in self.driver.window_handles:
            if window != self._first:
                self.to(window)
                self.driver.close()
        self.to(self._first)

    def quit(self) -> None:
        self.driver.quit()


@pytest.fixture(scope="module")
def shared():
    if missing():
        reason = f"{' and '.join(missing())} not found: apt-get install chromium chromium-driver"
        installed = os.environ.get("CI") == "true" and sys.platform == "linux"
        pytest.fail(reason) if installed else pytest.skip(reason)
    browser = Browser()
    yield browser
    browser.quit()


@pytest.fixture
def browser(shared):
    """With no window but its first, empty one."""
    yield shared
    shared.close_windows()  # of a test that has failed
    shared.errors()


def test_a_pushed_message_is_shown_in_two_windows(browser):
    with browser.serving(*QUIET) as live:
        one, two = browser.open(live), browser.open(live)
        browser.send("hello", "from the second")
        for window in (one, two):
            browser.to(window)
            browser.wait_message("hello", "from the second")
            assert browser.js("return document.querySelector('#topics tbody').innerText").split() == [
                "hello", "1", "from", "the", "second"
            ]  # fmt: skip
        browser.wait(lambda: len(browser.connections()) == 2, "both connections in the table")


def test_what_comes_is_text_and_never_markup(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        nasty = '<img src=x onerror="document.title=1"><b>"&amp;'
        browser.send("<i>t", nasty)
        browser.wait_message("<i>t", nasty)
        assert browser.js("return document.querySelectorAll('main img, #log i, td b, td i').length") == 0


def test_the_filter_subscribes_and_unsubscribes(browser):
    """libzmq is told: the publisher, a plain socket, hears of it."""
    with publisher() as (xpub, endpoint), browser.serving("--connect", endpoint) as live:
        browser.open(live)
        assert sorted(subscriptions(xpub, 2)) == [b"\1", b"\1" + CONTROL]
        for topic in (b"metal.tin", b"weather"):
            xpub.send_multipart([topic, b"1"])
        browser.wait_message("weather", "1")
        browser.filter("metal  abc")
        assert sorted(subscriptions(xpub, 3)) == [b"\0", b"\1abc", b"\1metal"]
        # the publisher hears of it before the page has the answer
        topics = "return document.querySelector('#topics tbody').innerText"
        browser.wait(lambda: browser.js(topics).split() == ["metal.tin", "1", "1"], "the table of topics")
        for topic in (b"weather", b"other", b"metal.tin"):
            xpub.send_multipart([topic, b"2"])
        browser.wait_message("metal.tin", "2")
        assert [message for message in browser.log() if message[1] == "2"] == [["metal.tin", "2"]]
        browser.wait(lambda: browser.connections()[browser.number()]["topics"] == "metal abc", "the table")
        browser.filter("")
        assert sorted(subscriptions(xpub, 3)) == [b"\0abc", b"\0metal", b"\1"]


def test_the_filter_of_one_window_is_not_that_of_the_other(browser):
    with browser.serving(*QUIET) as live:
        one, two = browser.open(live), browser.open(live)
        browser.filter("b")
        browser.to(one)
        for topic in ("a", "b"):
            browser.send(topic, f"to {topic}")
        browser.wait_message("b", "to b")
        assert ["a", "to a"] in browser.log()
        browser.to(two)
        browser.wait_message("b", "to b")
        assert browser.log() == [["b", "to b"]]


def test_a_tab_that_is_paused_loses_by_its_policy_and_the_others_do_not(browser):
    """A dialog stops all that a page does, as a debugger or a telephone in a pocket does: it reads no more. It is in a
    browser of its own, as pages of one browser may share a process, and would stop together."""
    paused = Browser()
    with contextlib.ExitStack() as stack:
        stack.callback(paused.quit)
        xpub, endpoint = stack.enter_context(publisher())
        live = stack.enter_context(browser.serving("--connect", endpoint, "--queue", "200"))
        one = browser.open(live)
        fast = [browser.number()]
        two = browser.open(live)
        fast.append(browser.number())
        paused.open(live)
        slow = paused.number()
        subscriptions(xpub, 2)
        paused.pause()

        for sent in range(200):  # at most; 100 messages of 2 kB each time
            for number in range(100):
                xpub.send_multipart([b"t", b"%d.%d " % (sent, number) + b"x" * 1900])
            for window in (one, two):  # which have it all before more comes
                browser.to(window)
                browser.wait(lambda: browser.log() and browser.log()[0][1].startswith(f"{sent}.99 "), "the last one")  # noqa: B023
            rows = browser.connections()
            if rows[slow]["lost"] != "0":
                break
        assert int(rows[slow]["lost"].replace(",", "")) > 0
        assert rows[slow]["queue"] == "200 / 200"
        assert [rows[number]["lost"] for number in fast] == ["0", "0"]
        assert browser.js("return document.querySelector('#connections .lost') !== null")

        paused.driver.switch_to.alert.accept()
        xpub.send_multipart([b"t", b"the last"])
        paused.wait_message("t", "the last")  # by its policy the oldest were lost, so it is up to date again
        assert paused.js("return state.topics.get('t').count") < 100 * (sent + 1)
        assert paused.errors() == []


def test_a_publisher_that_was_killed_is_picked_up_again(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        browser.send("t", "before")
        browser.wait_message("t", "before")
        process = "return [...document.querySelectorAll('#pump dd')].at(-2)?.textContent"
        browser.wait(lambda: (browser.js(process) or "").startswith("process "), "its pid")
        shown = browser.js(process)
        os.kill(int(shown.removeprefix("process ")), signal.SIGKILL)
        browser.wait(lambda: "publisher restarts\n1" in browser.get("pump").text, "the restart")
        browser.send("t", "after")
        browser.wait_message("t", "after")
        assert browser.get("status").text == "connected"


def test_a_real_publisher_that_comes_again_is_picked_up(browser):
    with contextlib.ExitStack() as stack:
        with publisher() as (xpub, endpoint):
            live = stack.enter_context(browser.serving("--connect", endpoint))
            browser.open(live)
            browser.filter("metal")
            subscriptions(xpub, 4)
        with publisher(endpoint) as (again, _):
            assert sorted(subscriptions(again, 2)) == [b"\1metal", b"\1" + CONTROL]
            again.send_multipart([b"metal", b"again"])
            browser.wait_message("metal", "again")


def test_a_page_that_was_disconnected_comes_back_with_its_filter(browser):
    with contextlib.ExitStack() as stack:
        xpub, endpoint = stack.enter_context(publisher())
        options = ("--queue", "200", "--overflow", "disconnect")
        live = stack.enter_context(browser.serving("--connect", endpoint, *options))
        browser.open(live)
        browser.filter("metal")
        number = browser.number()
        other = stack.enter_context(Events(live.port))
        subscriptions(xpub, 5)
        browser.pause()
        messages = other.messages()
        while not other.next("statistics")["fanout"]["disconnected"]:
            for _ in range(20):  # the other one reads it all before more comes
                for _ in range(100):
                    xpub.send_multipart([b"metal", b"x" * 1900])
                assert len(list(itertools.islice(messages, 100))) == 100
        browser.driver.switch_to.alert.accept()
        browser.wait(lambda: browser.number() != number, "the next connection")
        browser.wait(lambda: browser.get("subscribed").text == "subscribed to metal", "the filter")
        browser.wait(lambda: browser.connections().get(browser.number(), {}).get("topics") == "metal", "the table")
        assert number not in browser.connections()


def test_where_nobody_pulls_the_form_says_so(browser):
    with publisher() as (_, endpoint), browser.serving("--connect", endpoint) as live:
        browser.open(live)
        assert not browser.get("text").is_enabled()
        assert "--push" in browser.get("sent").text


def test_a_sixth_page_says_why_it_cannot_post(browser):
    """A browser makes six connections to a server, and each page's events hold one."""
    with browser.serving(*QUIET) as live:
        for _ in range(6):
            browser.open(live)
        browser.get("text").send_keys("from the sixth", Keys.ENTER)
        browser.wait(lambda: browser.get("sent").text.startswith("no answer: "), "the page to give up")
        assert "six pages" in browser.get("sent").text
        browser.driver.close()
        browser.to(browser.driver.window_handles[-1])
        browser.send("t", "from the fifth")
        browser.wait_message("t", "from the fifth")


def test_pause_holds_the_display_and_not_the_messages(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        assert browser.get("pause").text == "Pause"
        browser.get("pause").click()
        assert browser.get("pause").text == "Resume"
        browser.send("t", "1")
        browser.wait(lambda: browser.js("return state.mine") == 1, "the message")
        assert browser.log() == []
        browser.get("pause").click()
        assert browser.get("pause").text == "Pause"
        browser.wait_message("t", "1")


def test_without_a_publisher_the_page_says_so(browser):
    with contextlib.ExitStack() as stack:
        with publisher() as (_, endpoint):
            live = stack.enter_context(browser.serving("--connect", endpoint))
            browser.open(live)
        browser.wait(lambda: browser.get("status").text == "no publisher is connected", "the news")
        assert browser.get("status").get_attribute("data-state") == "waiting"
        with publisher(endpoint):
            browser.wait(lambda: browser.get("status").text == "connected", "the publisher")


def test_without_a_server_the_page_says_so_and_shows_no_rate(browser):
    with Live() as live:
        browser.open(live)
        browser.wait(lambda: browser.get("rate-all").text.isdigit(), "a rate")
        live.signal(signal.SIGSTOP)
        browser.wait(lambda: browser.get("status").text == "no word from the server", "the silence")
        assert browser.get("rate-all").text == "\N{EN DASH}"
        live.signal(signal.SIGCONT)
        browser.wait(lambda: browser.get("status").text == "connected", "the server")
        browser.wait(lambda: browser.get("rate-all").text.isdigit(), "a rate")
        live.signal(signal.SIGKILL)
        browser.wait(lambda: browser.get("status").text == "the server has gone: connecting", "the end")
        assert browser.get("rate-all").text == browser.get("rate-mine").text == "\N{EN DASH}"
        assert "stale" in browser.get("main").get_attribute("class")
        browser.errors()
        browser.close_windows()


# -- for everybody


def press(browser, *keys):
    selenium.ActionChains(browser.driver).send_keys(*keys).perform()


def tab_to(browser, identity):
    """Press the tab key until that element has the focus; whatever has it on the way shows that."""
    for _ in range(20):
        press(browser, Keys.TAB)
        active = browser.driver.switch_to.active_element
        assert active.value_of_css_property("outline-style") == "solid", active.get_attribute("outerHTML")
        if active.get_attribute("id") == identity:
            return
    raise AssertionError(f"{identity} is not to be reached by the keyboard")


def test_keyboard_alone(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        press(browser, Keys.TAB)
        assert browser.driver.switch_to.active_element.text == "Skip to the messages"
        press(browser, Keys.ENTER)
        tab_to(browser, "filter")
        press(browser, "met", Keys.TAB, Keys.SPACE)  # the button
        browser.wait(lambda: browser.get("subscribed").text == "subscribed to met", "the subscription")
        tab_to(browser, "topic")
        press(browser, "metal.lead")  # in place of what is there: who comes by the keyboard has all of it selected
        tab_to(browser, "text")
        press(browser, "by hand", Keys.ENTER)
        browser.wait_message("metal.lead", "by hand")
        assert browser.driver.switch_to.active_element.get_attribute("id") == "text"  # ready for the next one


def test_every_field_has_a_name(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        names = browser.js("return [...document.querySelectorAll('input, button')].map("
                           "(it) => (it.labels[0] || it).textContent.trim())")  # fmt: skip
        assert names == ["Pause", "Topics that begin with", "Subscribe", "Topic", "Text", "Send"]
        assert browser.js("return document.documentElement.lang") == "en"


CONTRAST = """
    const light = (colour) => {
      const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255).map(
        (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (it) => {
      const colour = getComputedStyle(it).backgroundColor;
      return colour === "rgba(0, 0, 0, 0)" ? behind(it.parentElement) : colour;
    };
    const texts = "h1, h2, h3, p, label, th, td, dt, dd, button, input, #log li *";
    return [...document.querySelectorAll(texts)].map((it) => {
      const [a, b] = [light(getComputedStyle(it).color), light(behind(it))].sort((a, b) => b - a);
      return [(a + 0.05) / (b + 0.05), it.outerHTML];
    });
"""


def test_light_and_dark(browser):
    """Both can be read: text has the contrast of 4.5 to 1 that WCAG asks for."""
    with browser.serving(*QUIET) as live:
        browser.open(live)
        browser.send("t", "x")
        browser.wait_message("t", "x")
        backs = []
        for scheme in ("light", "dark"):
            browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            backs.append(browser.js("return getComputedStyle(document.body).backgroundColor"))
            found = browser.js(CONTRAST)
            assert len(found) > 30
            assert [(ratio, html) for ratio, html in found if ratio < 4.5] == []
        assert backs[0] == "rgb(245, 246, 244)"
        assert backs[1] == "rgb(18, 22, 20)"


def test_a_phone_has_nothing_to_scroll_sideways(browser):
    with browser.serving(*QUIET) as live:
        browser.open(live)
        width, height = PHONE
        browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)
        long = "w" * 500
        browser.send("topic." + "t" * 58, long)
        browser.wait(lambda: browser.log() and browser.log()[0][1] == long, "the message")
        browser.filter("topic." + "t" * 58)
        browser.wait(lambda: browser.connections()[browser.number()]["topics"] != "all", "the table")
        assert browser.js("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
        assert browser.js("return [...document.querySelectorAll('input, button')].filter("
                          "(it) => it.getBoundingClientRect().right > innerWidth).length") == 0  # fmt: skip


def test_the_chart_and_a_screenshot(browser, tmp_path):
    with browser.serving("--rate", "20") as live:
        browser.open(live)
        browser.open(live)
        browser.filter("metal")
        browser.send("metal.news", "a message from this page")
        seconds = 20 if os.environ.get("ZGREEN_SCREENSHOT") else 3
        browser.wait(lambda: browser.js("return state.rates.length") >= seconds, "the chart")
        points = browser.js("return ['line', 'area'].map((id) => document.getElementById(id).points.length)")
        assert points[0] >= seconds
        assert points[1] == points[0] + 2
        rates = [int(browser.get(f"rate-{which}").text) for which in ("all", "mine")]
        assert 0 < rates[1] <= rates[0]
        folder = ROOT / "docs" if os.environ.get("ZGREEN_SCREENSHOT") else tmp_path
        picture = Path(folder) / "live.png"
        browser.js("document.activeElement.blur()")
        assert browser.driver.save_screenshot(str(picture))
        assert picture.stat().st_size > 20_000
