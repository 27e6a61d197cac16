"""``zgreen live``: a page that shows messages as they come."""

from __future__ import annotations

import argparse
import webbrowser
from typing import Any

import gevent

from zgreen.cli import ending, output
from zgreen.cli.command import ENDPOINT, Command, Failed, Usage, endpoint, number_from, seconds

_POLICIES = ("drop_oldest", "drop_newest", "disconnect")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    many: dict[str, Any] = {"metavar": ENDPOINT, "action": "append", "type": endpoint, "default": []}
    add("--port", metavar="PORT", type=number_from(0, 65535), default=0,
        help="of the page, on 127.0.0.1 (default: any that is free)")  # fmt: skip
    add("--open", action="store_true", help="open the page in a browser")
    add("--connect", help="subscribe to this publisher; may be given again", **many)
    add("--bind", help="have publishers connect here; may be given again", **many)
    add("--push", metavar=ENDPOINT, type=endpoint,
        help="where what the page posts is pulled from; with --connect or --bind")  # fmt: skip
    add("--rate", metavar="RATE", type=seconds, default=10.0,
        help="messages per second of the publisher that is started (default: 10)")  # fmt: skip
    add("--queue", metavar="N", type=number_from(1), default=256,
        help="how many messages may wait for one page (default: 256)")  # fmt: skip
    add("--overflow", choices=_POLICIES, default="drop_oldest",
        help="what becomes of a page whose queue is full (default: drop_oldest)")  # fmt: skip


def _run(arguments: argparse.Namespace) -> int:
    from zgreen.live import command

    if arguments.push is not None and not arguments.connect and not arguments.bind:
        raise Usage("--push is for --connect or --bind: give one, or none of the three: then a publisher is started "
                    "that pulls by itself")  # fmt: skip
    names = ("connect", "bind", "push", "rate", "overflow")
    try:
        service, web = command.start(
            arguments.port, maxsize=arguments.queue, **{name: getattr(arguments, name) for name in names}
        )
    except (ValueError, ImportError) as error:  # there is no such engine
        raise Failed(str(error)) from error

    def announce(url: str) -> None:
        if arguments.json:
            output.as_json({"url": url})
        else:
            output.write(f"live at {url} (Ctrl-C ends it)\n")
        if arguments.open:
            gevent.spawn(_open, url, arguments.called)

    try:
        command.serve(service, web, announce)
    except ending.Told:  # there is no other end
        pass
    return 0


def _open(url: str, called: str) -> None:
    """In a thread: it may start a program and wait for it."""
    if not gevent.get_hub().threadpool.apply(webbrowser.open, (url,)):
        output.say(f"{called}: no browser could be started: open {url} yourself")


COMMANDS = (
    Command(
        "live",
        "serve a page that shows the messages of a publisher as they come",
        "",
        "Serve a page on 127.0.0.1 that shows messages as they come, until Ctrl-C or SIGTERM, which end it with "
        "status 0. Without --connect and --bind a publisher process of its own is started.",
        (
            ("--open", "starts a publisher and opens the page in a browser"),
            ("--connect tcp://127.0.0.1:5556 --port 8000", "shows a publisher of yours"),
        ),
        "say where the page is as JSON",
        _add_arguments,
        _run,
    ),
)
