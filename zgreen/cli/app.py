"""All commands, with click and rich. Those of core.py parse their arguments themselves: the same with and without."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import zmq

import zgreen
from zgreen.cli import core, output

_ENDPOINT = "ENDPOINT"


class _Float(click.FloatRange):
    """No nan either, which is below and above nothing, and nothing without end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not finite.", param, ctx)
        return number


@click.group(help=core.DESCRIPTION, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zgreen.__version__, message=core.VERSION)
def group() -> None:
    """All commands."""


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run one command; return the exit status of the process."""
    try:
        return int(group.main(args=argv, prog_name=prog, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        return 130


def _add_core(name: str) -> None:
    """One of core.COMMANDS: click gives it all that stands behind its name."""

    @click.pass_context
    def run(context: click.Context, rest: tuple[str, ...]) -> int:
        assert context.parent is not None
        arguments = core.parser(name, context.parent.command_path).parse_args(rest)
        if name == "demo" and output.terminal() and not arguments.json:
            from zgreen.cli.demo import Bar
            from zgreen.demo import supervisor

            return supervisor.run(arguments, Bar(arguments.seconds))
        return core.COMMANDS[name].run(arguments)

    settings = {"ignore_unknown_options": True, "help_option_names": []}
    rest = click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)
    group.add_command(click.Command(name, settings, run, [rest], short_help=core.COMMANDS[name].help))


for _name in core.COMMANDS:
    _add_core(_name)

_json = click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")


def _command(name: str) -> Callable[[Callable[..., int]], click.Command]:
    return group.command(name, short_help=core.MORE[name])


@_command("info")
@_json
def _info(as_json: bool) -> int:
    """Show versions, the engine and why it was chosen, what libzmq can do, and limits."""
    from zgreen.cli import info

    return info.run(as_json=as_json)


@_command("bench")
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO[/VARIANT]]...")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each candidate; default 5, with --quick 1.")
@click.option("--seconds", type=_Float(0, min_open=True), help="Of a usual run; default 0.5.")
@click.option("--quick", is_flag=True, help="See that all works; the figures mean nothing.")
@click.option("--candidate", "candidates", multiple=True, help="Only this one; may be given again.")
@click.option("--output", "folder", type=click.Path(file_okay=False), help="Folder for JSON files and charts.")
@_json
def _bench(scenarios: tuple[str, ...], candidates: tuple[str, ...], quick: bool, as_json: bool, **values: Any) -> int:
    """Measure zgreen and what else there is, in alternation, each run in fresh processes.

    Needs the package benchmarks, of the source distribution or the repository. Without SCENARIO: all.
    """
    from zgreen.cli import bench

    options = [f"--{key.replace('folder', 'output')}={value}" for key, value in values.items() if value is not None]
    options += ["--quick"] * quick
    chosen = [bench.CANDIDATE, *candidates] if candidates else []
    prog = click.get_current_context().command_path
    return bench.run([*options, *chosen, "--", *scenarios], prog, as_json=as_json)


@_command("live")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page, on 127.0.0.1; default: any free.")
@click.option("--connect", multiple=True, metavar=_ENDPOINT, help="A publisher to subscribe to; may be given again.")
@click.option("--bind", multiple=True, metavar=_ENDPOINT, help="Where publishers connect to; may be given again.")
@click.option("--push", metavar=_ENDPOINT, help="Who pulls what the page posts, with --connect or --bind.")
@click.option("--rate", type=_Float(0), default=10.0, help="Messages per second of the own publisher; 10.")
@click.option("--queue", type=click.IntRange(1), default=256, help="Messages that may wait for one page; default: 256.")
@click.option(
    "--overflow", type=click.Choice(["drop_oldest", "drop_newest", "disconnect"]), default="drop_oldest",
    help="What a page loses when its queue is full; default: drop_oldest.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Say where the page is as JSON.")
def _live(port: int, queue: int, as_json: bool, **values: Any) -> int:
    """Serve a page that shows messages as they come, until Ctrl-C.

    Without --connect and --bind a publisher process of its own is started.
    """
    from zgreen.live import command

    if values["push"] is not None and not values["connect"] and not values["bind"]:
        raise click.UsageError("--push is for --connect or --bind: give one, or none of the three: then a publisher is "
                               "started that pulls by itself")  # fmt: skip

    def announce(url: str) -> None:
        if as_json:
            output.as_json({"url": url})
        else:
            click.echo(f"live at {url} (Ctrl-C ends it)")
        sys.stdout.flush()

    try:
        service, web = command.start(port, maxsize=queue, **values)
    except (OSError, zmq.ZMQError, ValueError, ImportError) as error:
        raise click.ClickException(str(error)) from error
    command.serve(service, web, announce)
    return 0
