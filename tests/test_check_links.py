"""docs/check_links.py: what it finds in built pages, and what it leaves alone."""

import runpy

import pytest
from support import ROOT

pytestmark = pytest.mark.once


broken = runpy.run_path(str(ROOT / "docs" / "check_links.py"))["broken"]


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "picture.svg").write_text("<svg/>")
    more = tmp_path / "more" / "index.html"
    more.write_text('<h1 id="top of it">x</h1><a name="old"></a><a href="../one.html">1</a>')
    (tmp_path / "one.html").write_text(
        '<p id="here"><a href="#here">1</a><a href="#">2</a><a href="more/index.html#top%20of%20it">3</a>'
        '<a href="more/#old">4</a><img src="picture.svg"><a href="https://example.invalid/x#y">5</a>'
    )
    return tmp_path


def test_good_links(pages):
    assert broken(pages) == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ('<a href="two.html">', "two.html: there is no such file"),
        ('<img src="two.svg">', "two.svg: there is no such file"),
        ('<a href="#there">', "#there: there is no such anchor"),
        ('<a href="one.html#there">', "one.html#there: there is no such anchor"),
        ('<a href="more/index.html#there">', "more/index.html#there: there is no such anchor"),
    ],
)
def test_broken_links(pages, link, problem):
    (pages / "bad.html").write_text(link)
    assert broken(pages) == [f"bad.html: {problem}"]


def test_no_pages_are_no_success(tmp_path):
    assert len(broken(tmp_path)) == 1
