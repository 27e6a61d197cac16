"""Sphinx: how the pages of this folder, the docstrings and the examples become HTML. `tox -e docs` builds it.

By default no network is used, and names of other projects in signatures and docstrings have no links. Read the Docs, or
ZGREEN_INTERSPHINX=1 in the environment, fetches the inventories of Python, gevent and pyzmq and links to their pages.
"""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

import zgreen
from zgreen.cli import app as cli
from zgreen.cli.command import parser_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

project = "zgreen"
copyright = "the zgreen developers"  # noqa: A001 (Sphinx's name)
author = "the zgreen developers"
release = version = runpy.run_path(str(ROOT / "zgreen" / "_version.py"))["__version__"]

extensions = ["sphinx.ext.autodoc", "myst_parser"]
if "ZGREEN_INTERSPHINX" in os.environ or os.environ.get("READTHEDOCS") == "True":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3/", None),
        "gevent": ("https://www.gevent.org/", None),
        "zmq": ("https://pyzmq.readthedocs.io/en/latest/", None),
    }
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"zgreen {release}"
html_static_path = ["_static"]
html_css_files = ["zgreen.css"]
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(zmq|gevent|greenlet|prometheus_client|logging|collections\.abc|os|types)\..*"),  # others': see above
    (r"py:.*", r"(Callable|Iterable|Iterator|Mapping|Sequence|AsyncResult|PathLike|TracebackType)"),
    (r"py:.*", r"(ThreadPool|Line|Call|Reply|Link|Tap|Home|Inbox|Handler|OnError|Pipe)"),
    (r"py:.*", r"(M|S|T|Overflow|SubscriptionOverflow)"),  # of zgreen._types
    (r"py:.*", r"zgreen\._.*"),
    (r"py:.*", r"(zgreen\.[\w.]+\.)?(_\w+|[A-Z]|[A-Z]_\w+)"),  # private aliases and type variables
]

# names of private modules in annotations: the class is public under zgreen, which is where it is documented
_PRIVATE = re.compile(r"zgreen\.(_hub|_errors|patterns)\b.*\.(\w+)$")


def public_name(app: Sphinx, env: Any, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """Resolve zgreen._hub.pump.Pump, and a bare Pump outside of any module, as zgreen.Pump."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    private = _PRIVATE.match(target)
    name = private[2] if private else target
    if "." in name or not hasattr(zgreen, name):
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", f"zgreen.{name}", node, contnode)


def insert_results(app: Sphinx, docname: str, source: list[str]) -> None:
    """The tables and charts of the benchmarks, if this tree has them."""
    if docname == "benchmarks":
        app.env.note_dependency(str(RESULTS / "README.md"))
        source[0] = source[0].replace("% RESULTS\n", results())


def results() -> str:
    """benchmarks/results/README.md without its title, a level further down, its links from here; else the charts."""
    page = RESULTS / "README.md"
    if page.is_file():
        text = re.sub(r"\A# .*\n", "", page.read_text(encoding="utf-8"))
        text = re.sub(r"^##", "###", text, flags=re.MULTILINE)
        return re.sub(r"\]\((?!\w+:|[#/])([^)]+)\)", r"](../benchmarks/results/\1)", text)
    charts = [f"![{file.stem}](../benchmarks/results/{file.name})\n" for file in sorted(RESULTS.glob("*.svg"))]
    return "\n".join(charts) or "There are no results in this tree: run the benchmarks to make them.\n"


def insert_commands(_app: Sphinx, docname: str, source: list[str]) -> None:
    """What the parsers say of each command."""
    if docname == "commands":
        source[0] = re.sub(r"^% COMMAND (\w+)$", lambda found: command_text(found[1]), source[0], flags=re.MULTILINE)


def command_text(name: str) -> str:
    """A section: the examples, the smallest first, what the command does, and its arguments."""
    command = cli.command(name)
    examples = [f"# {text}\nzgreen {name} {line}".rstrip() for line, text in command.examples]
    rows = ["| argument | |", "|---|---|"]
    for action in parser_of(command, "zgreen")._actions:
        value = "" if action.nargs == 0 else action.metavar or " or ".join(map(str, action.choices or ()))
        called = ", ".join(f"{flag} {value}".rstrip() for flag in action.option_strings) or str(value)
        rows.append(f"| `{called}` | {as_markdown(action.help or '')} |")
    code = "\n\n".join(examples)
    what = as_markdown(command.description)
    return f"### zgreen {name}\n\n```sh\n{code}\n```\n\n{what}\n\n" + "\n".join(rows) + "\n"


def as_markdown(text: str) -> str:
    """What a help text means by its characters; its options as code."""
    escaped = re.sub(r"([\\*{|])", r"\\\1", text)
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", escaped)


def escape_names(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """A parameter's name that ends with an underscore is no reference."""
    lines[:] = [re.sub(r"^:param (\w+)_:", r":param \1\\_:", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", escape_names)
    app.connect("missing-reference", public_name)
    app.connect("source-read", insert_results)
    app.connect("source-read", insert_commands)
