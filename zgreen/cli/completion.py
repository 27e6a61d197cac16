"""``zgreen completion``: a script that completes zgreen's command line, made of the parsers of all commands.

The script holds all names itself: a shell that asked the program for them would start Python, with gevent and libzmq,
at each press of the key.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from zgreen.cli import app, output
from zgreen.cli.command import Command, parser_of

_SHELLS = ("bash", "zsh", "fish")


class Option(NamedTuple):
    """An option, or, without *flags*, an operand. *words*: what may be its value; *file*: it is the name of one."""

    flags: tuple[str, ...]
    has_value: bool
    words: tuple[str, ...]
    file: bool
    text: str


def options(command: Command) -> list[Option]:
    """What a command takes."""
    return [
        Option(
            tuple(action.option_strings),
            action.nargs != 0,
            tuple(map(str, action.choices or ())),
            action.metavar in ("FILE", "FOLDER", "DIRECTORY"),
            (action.help or "").partition(";")[0].partition(" (")[0],
        )
        for action in parser_of(command, "zgreen")._actions
    ]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help="bash, zsh or fish")


def _run(arguments: argparse.Namespace) -> int:
    script = "\n".join(_SCRIPTS[arguments.shell]()) + "\n"
    if arguments.json:
        output.as_json({"shell": arguments.shell, "script": script})
    else:
        output.write(script)
    return 0


def _bash() -> Iterator[str]:
    yield "_zgreen() {"
    yield "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words="
    yield "    COMPREPLY=()"
    yield "    if ((COMP_CWORD == 1)); then"
    yield f'        words="{" ".join(app.NAMES)} --version --help"'
    yield "    else"
    yield '        case "${COMP_WORDS[1]} $before" in'
    for command in app.commands():
        for option in options(command):
            if option.flags and option.has_value:
                pattern = "|".join(f'"{command.name} {flag}"' for flag in option.flags)
                yield f"            {pattern}) {_bash_value(option)}return;;"
    yield "        esac"
    yield '        case "${COMP_WORDS[1]}" in'
    for command in app.commands():
        flags = [flag for option in options(command) for flag in option.flags]
        words = [word for option in options(command) if not option.flags for word in option.words]
        yield f'            {command.name}) words="{" ".join([*words, *flags])}";;'
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "}"
    yield "complete -F _zgreen zgreen"


def _bash_value(option: Option) -> str:
    """What completes the value; nothing, for one that zgreen cannot know."""
    if option.words:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.words)}" -- "$word")); '
    return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); ' if option.file else ""


def _zsh() -> Iterator[str]:
    yield "#compdef zgreen"
    yield "_zgreen() {"
    yield "    local -a commands=("
    for command in app.commands():
        yield f"        {_quoted(f'{command.name}:{command.help}')}"
    yield "    )"
    yield "    if ((CURRENT == 2)); then"
    yield "        _describe command commands"
    yield "        _arguments '--version[show the version and exit]' {-h,--help}'[show the commands and exit]'"
    yield "        return"
    yield "    fi"
    yield "    local name=${words[2]}"
    yield '    words=("${(@)words[2,-1]}")'
    yield "    ((CURRENT--))"
    yield "    case $name in"
    for command in app.commands():
        yield f"        {command.name}) _arguments -s {' '.join(_zsh_specs(command))};;"
    yield "    esac"
    yield "}"
    yield 'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _zgreen "$@"; else compdef _zgreen zgreen; fi'


def _zsh_specs(command: Command) -> Iterator[str]:
    for option in options(command):
        value = f"({' '.join(option.words)})" if option.words else "_files" if option.file else " "
        if not option.flags:
            yield _quoted(f"*:operand:{value}")
            continue
        text = option.text.replace("[", "(").replace("]", ")").replace(":", "\\:")
        for flag in option.flags:  # "*": most may be given again
            yield _quoted(f"*{flag}[{text}]" + (f":value:{value}" if option.has_value else ""))


def _fish() -> Iterator[str]:
    yield "complete -c zgreen -f"
    yield f"set -l names {' '.join(app.NAMES)}"
    yield "complete -c zgreen -n \"not __fish_seen_subcommand_from $names\" -l version -d 'show the version and exit'"
    yield "complete -c zgreen -n \"not __fish_seen_subcommand_from $names\" -l help -d 'show the commands and exit'"
    for command in app.commands():
        yield (
            f'complete -c zgreen -n "not __fish_seen_subcommand_from $names" -a {command.name} '
            f"-d {_fish_quoted(command.help)}"
        )
    for command in app.commands():
        for option in options(command):
            if option.flags or option.words:
                yield f'complete -c zgreen -n "__fish_seen_subcommand_from {command.name}" {_fish_option(option)}'


def _fish_option(option: Option) -> str:
    parts = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    if option.flags and option.has_value:
        parts.append("-r -F" if option.file else "-x")
    if option.words:
        parts.append(f"-a {_fish_quoted(' '.join(option.words))}")
    if option.flags:
        parts.append(f"-d {_fish_quoted(option.text)}")
    return " ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

COMMANDS = (
    Command(
        "completion",
        "print a script that completes zgreen's command line in a shell",
        "SHELL",
        "Print a script that completes commands, options and their values in bash, zsh or fish.",
        (
            ("bash", "in ~/.bashrc: eval \"$(zgreen completion bash)\""),
            ("zsh", "in ~/.zshrc, after compinit: eval \"$(zgreen completion zsh)\""),
            ("fish", "in ~/.config/fish/config.fish: zgreen completion fish | source"),
        ),
        "print JSON, the script as a text in it",
        _add_arguments,
        _run,
        waits=False,
    ),
)  # fmt: skip
