"""``fleetgw trace``: every stage of one vehicle, or of one address, at a running gateway."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from fleetgw.cli.gateway_answers import Refusals, Trace, TraceLine, Traces, read_as
from fleetgw.cli.gateway_client import GatewayError, add_gateway_options, run_with_client

if TYPE_CHECKING:
    from fleetgw.cli.gateway_answers import Refused
    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/traces"
_DEFAULT_S = 3600.0
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_POLL_S = 0.5
_JOINED_LINES = 20
"""Number of earlier lines that are shown of a trace that is on already."""

_QUIET_S = 10.0
"""Time without a line after which the command says what may be the reason."""

_SHOWN_REFUSALS = 5
_NOT_FOUND = 404

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
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=[*_ACTIONS], help="what to do with the traces that are kept")
    parser.add_argument("id", nargs="?", type=_number, help="the number of a trace")
    add_gateway_options(parser)
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--vin", help="the vehicle to follow")
    whom.add_argument("--ip", help="the address to follow, such as 203.0.113.9")
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
    return float(found[1]) * _UNITS_S[found[2]]


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do what the arguments say; returns the exit status."""
    whom = arguments.vin if arguments.vin is not None else arguments.ip
    if arguments.action is None and whom is None:
        parser.error("name whom to follow by --vin or --ip, or give one of: " + ", ".join(_ACTIONS))
    if arguments.action is not None and whom is not None:
        parser.error(f"{arguments.action} is about traces that are kept: give its number, without --vin and --ip")
    if arguments.action not in (None, "list") and arguments.id is None:
        parser.error(f"{arguments.action} needs the number of a trace, which fleetgw trace list shows")
    return run_with_client(arguments, partial(_ACTIONS.get(arguments.action, _follow), arguments))


def _list(arguments: argparse.Namespace, client: GatewayClient) -> int:
    listed = client.get_json(_PATH)
    traces = read_as(Traces, listed, client).traces
    if arguments.json:
        for each in listed["traces"]:
            _print(_json(each))
        return 0
    if not traces:
        _print("no trace is kept; fleetgw trace --vin or --ip begins one")
    for trace in traces:
        state = f"{'until' if trace.is_on else 'ended'} {_at(trace.until_ms)}"
        size = f"{trace.next_line - 1:,} lines, {trace.size_bytes:,} bytes"
        _print(f"{trace.id:>3}  {trace.whom:<20}  from {_at(trace.started_ms)} {state}  {size}")
    return 0


def _show(arguments: argparse.Namespace, client: GatewayClient) -> int:
    first = 1
    while text := _text(client, arguments.id, first):
        first = _print_lines(arguments, client, text)
    return 0


def _stop(arguments: argparse.Namespace, client: GatewayClient) -> int:
    client.post_json(f"{_PATH}/{arguments.id}", {"for_s": 0})
    _print(f"trace {arguments.id} has ended; fleetgw trace show {arguments.id} shows it")
    return 0


def _remove(arguments: argparse.Namespace, client: GatewayClient) -> int:
    client.delete(f"{_PATH}/{arguments.id}")
    _print(f"trace {arguments.id} is removed")
    return 0


_ACTIONS = {"list": _list, "show": _show, "stop": _stop, "remove": _remove}


def _follow(arguments: argparse.Namespace, client: GatewayClient) -> int:
    """Begin or join a trace, and show its lines until its end or Ctrl-C."""
    whom = {"ip": arguments.ip} if arguments.vin is None else {"vin": arguments.vin}
    trace = read_as(Trace, client.post_json(_PATH, {**whom, "for_s": arguments.for_s}), client)
    until, shows = _at(trace.until_ms), f"fleetgw trace show {trace.id} shows it"
    try:
        at_interruption = "ends it" if arguments.stop else "leaves it running"
        _say(f"trace {trace.id} follows {trace.whom} until {until}; Ctrl-C {at_interruption}")
        _tell_refusals(client, trace)
        _read_on(arguments, client, trace)
        _say(f"trace {trace.id} has ended; {shows} again")
    except KeyboardInterrupt:
        if arguments.stop:
            client.post_json(f"{_PATH}/{trace.id}", {"for_s": 0})
            _say(f"trace {trace.id} has ended; {shows}")
        else:
            _say(f"trace {trace.id} goes on until {until}: {shows}, fleetgw trace stop {trace.id} ends it")
    return 0


def _read_on(arguments: argparse.Namespace, client: GatewayClient, trace: Trace) -> None:
    """Show lines as they come, until the trace has ended. A gateway that starts anew is waited for."""
    first = max(1, trace.next_line - _JOINED_LINES)
    hint_at, is_away = time.monotonic() + _QUIET_S, False
    while True:
        try:
            text = _text(client, trace.id, first)
            listed = None if text else client.get_json(_PATH)
        except GatewayError as error:
            if error.code is not None:
                raise
            if not is_away:
                _say(f"{error}; waiting for it")
            is_away = True
        else:
            is_away = False
            if text:
                first, hint_at = _print_lines(arguments, client, text), float("inf")
            elif not any(each.id == trace.id and each.is_on for each in read_as(Traces, listed, client).traces):
                return
            elif time.monotonic() >= hint_at:
                hint_at = float("inf")
                _say(_hint(trace))
        time.sleep(_POLL_S)


def _hint(trace: Trace) -> str:
    if trace.vin:
        return f"{trace.vin} has not connected so far; a vehicle that shows no certificate is found by its address: --ip"
    return (
        f"nothing has come from {trace.ip} so far: does the name that it connects to resolve to this gateway, and do"
        " firewalls let it through? Behind a load balancer or a NAT, connections may have another address"
    )


def _tell_refusals(client: GatewayClient, trace: Trace) -> None:
    """Show the refusals of this vehicle or address that the gateway remembers."""
    try:
        refusals = read_as(Refusals, client.get_json("/api/refusals"), client).refusals
    except GatewayError as error:
        if error.code != _NOT_FOUND:
            raise
        return
    its = [each for each in refusals if _concerns(each, trace)][:_SHOWN_REFUSALS]
    for each in reversed(its):
        _say(f"refused before, {_at(each.at_ms)} {each.address or ''}: {each.text}{f'; {each.fix}' if each.fix else ''}")


def _concerns(refusal: Refused, trace: Trace) -> bool:
    from fleetgw.adapters.text.addresses import split_address

    if trace.vin:
        return refusal.vin == trace.vin or f'"{trace.vin}"' in refusal.text  # in a certificate
    try:
        return trace.ip in (refusal.address, split_address(refusal.address or "", 0)[0])
    except ValueError:
        return False


def _text(client: GatewayClient, number: int, first: int) -> str:
    return client.get_text(f"{_PATH}/{number}", {"from": first})


def _print_lines(arguments: argparse.Namespace, client: GatewayClient, text: str) -> int:
    """Print lines of a trace; returns the number of the line that follows.

    :raises GatewayError: they are of another form.
    """
    following = 1
    for each in filter(None, text.split("\n")):
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):
            value = None
        line = read_as(TraceLine, value, client)
        if arguments.json:
            _print(_json(value))
        else:
            _print(f"{_at(line.at_ms)}  {line.connection:<21}  {line.stage:<15}  {line.text}")
        following = line.n + 1
    return following


def _at(at_ms: float) -> str:
    """A time of today as its time, others with the date."""
    at = datetime.fromtimestamp(at_ms / 1000).astimezone()
    day = "" if at.date() == datetime.now().astimezone().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S}.{at.microsecond // 1000:03}"


def _json(value: object) -> str:
    from fleetgw.adapters.text.terminal import json_text

    return json_text(value, None)


def _print(text: str) -> None:
    from fleetgw.adapters.text.terminal import escaped

    print(escaped(text), flush=True)


def _say(text: str) -> None:
    """Tell something besides the lines."""
    from fleetgw.adapters.text.terminal import escaped

    print(escaped(f"fleetgw trace: {text}"), file=sys.stderr, flush=True)
