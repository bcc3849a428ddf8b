"""``fleetgw trace``: every stage of one vehicle, or of one address, at a running gateway."""

from __future__ import annotations

import argparse
import re
from functools import partial

from fleetgw.cli.argument_values import UNITS_S, filled
from fleetgw.cli.gateway_client import add_gateway_options, run_with_client

_DEFAULT_S = 3600.0
_ACTIONS = ("list", "show", "stop", "remove")

_DESCRIPTION = """\
Follow one vehicle (--vin), or one address (--ip), through every stage at a running gateway: accepted socket, TLS handshake
with the client's certificate, upgrade, records received, queued and acknowledged, the outcome at each sink, disconnect. A
vehicle that cannot connect at all is found by its address. Recent refusals are shown at once.

The gateway keeps the trace until its end, whoever reads it, also over a restart where operations.folder is set. Ctrl-C ends
the command and not the trace. Payloads and secrets are in no trace.

It needs status_port and operations.token in the gateway's configuration. The exit status is 0, or 2 when the gateway cannot
be asked, or refuses.
"""

_EXAMPLES = """\
examples:
  fleetgw trace --config config.json --ip 203.0.113.9            why does it not connect?
  fleetgw trace --config config.json --vin 5YJ3E1EA7KF000001 --for 1h
  fleetgw trace --config config.json --vin 5YJ3E1EA7KF000001 --json > trace.jsonl
  fleetgw trace list --config config.json                        the traces that are kept
  fleetgw trace show 3 --config config.json                      what trace 3 has
  fleetgw trace stop 3 --config config.json                      end it, and keep what it has
  fleetgw trace remove 3 --config config.json                    end it, and remove what it has
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "trace",
        help="follow one vehicle or address through every stage",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("action", nargs="?", choices=_ACTIONS, help="what to do with the traces that are kept")
    parser.add_argument("id", nargs="?", type=_number, help="the number of a trace")
    add_gateway_options(parser)
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--vin", type=filled, help="the vehicle to follow")
    whom.add_argument("--ip", type=filled, help="the address to follow, such as 203.0.113.9")
    parser.add_argument(
        "--for",
        metavar="TIME",
        dest="for_s",
        type=_duration_s,
        default=_DEFAULT_S,
        help="length of the trace, such as 10m, 1h",
    )
    parser.add_argument("--stop", action="store_true", help="end the trace with the command, at Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.set_defaults(run=partial(run, parser))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a trace; fleetgw trace list shows them")
    return int(text)


def _duration_s(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write one such as 90s, 10m, 1h or 2d")
    return float(found[1]) * UNITS_S[found[2] or "s"]


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do what the arguments say; returns the exit status."""
    whom = arguments.vin if arguments.vin is not None else arguments.ip
    if arguments.action is None and whom is None:
        parser.error("name whom to follow by --vin or --ip, or give one of: " + ", ".join(_ACTIONS))
    if arguments.action is not None and whom is not None:
        parser.error(f"{arguments.action} is about traces that are kept: give its number, without --vin and --ip")
    if arguments.action not in (None, "list") and arguments.id is None:
        parser.error(f"{arguments.action} needs the number of a trace, which fleetgw trace list shows")
    from fleetgw.cli.trace_actions import ACTIONS, follow

    return run_with_client(arguments, partial(ACTIONS.get(arguments.action, follow), arguments))
