"""The command line: ``python -m zgreen demo``, ``keygen`` and ``proxy``. Built on the public face alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from zgreen import _proxy_command, keygen
from zgreen.demo import supervisor


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status of the process."""
    parser = argparse.ArgumentParser("python -m zgreen", description="ZeroMQ sockets behind gevent queues.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="run a WSGI server, a worker and a client for a while, and count what was lost",
        description=supervisor.DESCRIPTION,
    )
    supervisor.add_arguments(demo)
    demo.set_defaults(run=supervisor.run)
    keys = commands.add_parser(
        "keygen", help="write a CURVE key pair as two certificate files", description=keygen.DESCRIPTION
    )
    keygen.add_arguments(keys)
    keys.set_defaults(run=keygen.run)
    proxy = commands.add_parser(
        "proxy", help="pass messages between a frontend and a backend", description=_proxy_command.DESCRIPTION
    )
    _proxy_command.add_arguments(proxy)
    proxy.set_defaults(run=_proxy_command.run)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
