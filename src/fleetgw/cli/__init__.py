"""The command line: ``fleetgw <command>``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib.metadata import version
from signal import SIGINT
from typing import TYPE_CHECKING

from fleetgw.adapters.text.terminal import escaped
from fleetgw.cli import (
    bundle,
    certs,
    check_config,
    completion,
    config_schema,
    dead_letters,
    doctor,
    explain_cert,
    fetch_ca,
    ledger,
    query,
    signals,
    simulate,
    spool,
    tap,
    top,
    trace,
    vehicle_config,
    vehicles,
)
from fleetgw.cli.help import HelpFormatter, lay_out, summaries

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACEBACK_VARIABLE = "FLEETGW_TRACEBACK"
"""Environment variable: when it is not empty, an unexpected error prints a traceback in place of a line."""

_DESCRIPTION = """\
A gateway that connected vehicles stream telemetry into. The gateway itself runs under twistd:

  twistd -n fleetgw --config config.json

This command has the tools around it:
"""

_NAME_CELLS = 18
_HINT = "fleetgw COMMAND --help has examples, what the command needs, and its exit statuses."

_EXAMPLES = """\
examples:
  fleetgw certs certs --vehicles 10                development certificates in ./certs
  fleetgw doctor --config config.json              check brokers, certificates, ports and limits
  fleetgw simulate --url wss://localhost:4443 --certs certs --vehicles 10 --rate 20 --duration 30
  fleetgw top --config config.json                 the running gateway at a glance
  fleetgw vehicles --config config.json --vin 5YJ3E1EA7KF000001      is this car online?
  fleetgw trace --config config.json --ip 203.0.113.9      why does it not connect?
  fleetgw bundle --config config.json              one file for a bug report
  source <(fleetgw completion bash)                completion of these commands in this shell
"""

_GROUPS = (
    ("prepare", (certs, fetch_ca, check_config, config_schema, vehicle_config, completion)),
    ("run", (doctor, simulate)),
    ("look", (top, vehicles, signals, tap, trace, explain_cert, ledger, query)),
    ("mend", (dead_letters, spool, bundle)),
)
"""The commands by what they are for, in the order of the help."""


class _Version(argparse.Action):
    """Prints the version and the hot path, and ends the program."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002  argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from fleetgw.adapters.ingress.hot_path import DESCRIPTION  # which imports OpenSSL

        print(f"fleetgw {version('fleetgw')}, hot path in {DESCRIPTION}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``fleetgw``; its result has the command's function as ``run``."""
    parser = argparse.ArgumentParser(
        "fleetgw",
        usage="fleetgw [-h] [--version] COMMAND ...",
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(whole=parser)
    parser.add_argument("--version", action=_Version, help="show the version, and the hot path that runs")
    commands = parser.add_subparsers(
        prog="fleetgw", metavar="COMMAND", dest="command", required=True, help=argparse.SUPPRESS
    )
    described = [_DESCRIPTION]
    for group, members in _GROUPS:
        known = len(commands.choices)
        for command in members:
            command.add_parser(commands)
        about = summaries(commands)
        names = [*commands.choices][known:]
        for name in names:
            lay_out(commands.choices[name])
        described.append("\n".join([f"{group}:", *(f"  {name:{_NAME_CELLS}}{about[name]}" for name in names), ""]))
    parser.description = "\n".join([*described, _HINT])
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: without the program's name; those of the process by default.
    :return: the exit status: 0 for success, 1 for a failure, 2 when the command cannot work as given, 130 when it was
        interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.isatty():
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not of UTF-8 has no bars and bullets
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 128 + SIGINT
    except Exception as error:  # a line is enough for an operator; the variable asks for the traceback
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        hint = f"this is unexpected; with {TRACEBACK_VARIABLE}=1 in the environment there is a traceback to report"
        print(escaped(f"fleetgw {parsed.command}: {what}; {hint}"), file=sys.stderr)
        return 2
