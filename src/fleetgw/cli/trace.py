"""``fleetgw trace``: every stage of one vehicle, or of one address, at a running gateway."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetgw.cli.gateway_client import GatewayError, add_gateway_options, run_with_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.cli.gateway_client import GatewayClient

    Json = dict[str, Any]
    """A JSON object of the gateway; its members are of any shape, therefore ``Any``."""

_PATH = "/api/traces"
_DEFAULT_S = 3600.0
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_POLL_S = 0.5
_JOINED_LINES = 20
"""Number of earlier lines that are shown of a trace that is on already."""

_QUIET_S = 10.0
"""Time without a line after which the command says what may be the reason."""

_SHOWN_REFUSALS = 5
_OK = 200

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
    traces = client.get_json(_PATH)["traces"]
    if arguments.json:
        for trace in traces:
            _print(_json(trace))
        return 0
    if not traces:
        _print("no trace is kept; fleetgw trace --vin or --ip begins one")
    for trace in traces:
        state = f"until {_at(trace['until_ms'])}" if trace["is_on"] else f"ended {_at(trace['until_ms'])}"
        lines, size = trace["next_line"] - 1, trace["size_bytes"]
        _print(
            f"{trace['id']:>3}  {_whom(trace):<20}  from {_at(trace['started_ms'])} {state}  {lines:,} lines, {size:,} bytes"
        )
    return 0


def _show(arguments: argparse.Namespace, client: GatewayClient) -> int:
    first = 1
    while lines := _lines(client, arguments.id, first):
        for line in lines:
            _print_line(arguments, line)
        first = lines[-1]["n"] + 1
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
    trace = client.post_json(_PATH, {**whom, "for_s": arguments.for_s})
    number = trace["id"]
    try:
        _say(f"trace {number} follows {_whom(trace)} until {_at(trace['until_ms'])}; Ctrl-C {_at_interruption(arguments)}")
        _tell_refusals(client, trace)
        _read_on(arguments, client, trace)
        _say(f"trace {number} has ended; fleetgw trace show {number} shows it again")
    except KeyboardInterrupt:
        if arguments.stop:
            client.post_json(f"{_PATH}/{number}", {"for_s": 0})
            _say(f"trace {number} has ended; fleetgw trace show {number} shows it")
        else:
            ends = f"fleetgw trace stop {number} ends it"
            _say(f"trace {number} goes on until {_at(trace['until_ms'])}: fleetgw trace show {number} shows it, {ends}")
    return 0


def _at_interruption(arguments: argparse.Namespace) -> str:
    return "ends it" if arguments.stop else "leaves it running"


def _read_on(arguments: argparse.Namespace, client: GatewayClient, trace: Json) -> None:
    """Show lines as they come, until the trace has ended. A gateway that starts anew is waited for."""
    number, first = trace["id"], max(1, trace["next_line"] - _JOINED_LINES)
    hint_at, is_away = time.monotonic() + _QUIET_S, False
    while True:
        try:
            lines = _lines(client, number, first)
            has_ended = not lines and not _is_on(client, number)
        except GatewayError as error:
            if error.code is not None:
                raise
            if not is_away:
                _say(f"{error}; waiting for it")
            is_away = True
        else:
            is_away = False
            for line in lines:
                _print_line(arguments, line)
                first, hint_at = line["n"] + 1, float("inf")
            if has_ended:
                return
            if time.monotonic() >= hint_at:
                hint_at = float("inf")
                _say(_hint(trace))
        time.sleep(_POLL_S)


def _is_on(client: GatewayClient, number: int) -> bool:
    return any(trace["id"] == number and trace["is_on"] for trace in client.get_json(_PATH)["traces"])


def _hint(trace: Json) -> str:
    if trace["ip"]:
        return (
            f"nothing has come from {trace['ip']} so far: does the name that it connects to resolve to this gateway, and do"
            " firewalls let it through? Behind a load balancer or a NAT, connections may have another address"
        )
    return f"{trace['vin']} has not connected so far; a vehicle that shows no certificate is found by its address: --ip"


def _tell_refusals(client: GatewayClient, trace: Json) -> None:
    """Show the refusals of this vehicle or address that the gateway remembers."""
    try:
        refusals = client.get_json("/api/refusals")["refusals"]
    except GatewayError as error:
        if error.code != 404:
            raise
        return
    its = [each for each in refusals if _concerns(each, trace)][:_SHOWN_REFUSALS]
    for each in reversed(its):
        fix = f"; {each['fix']}" if each.get("fix") else ""
        _say(f"refused before, {_at(each['at_ms'])} {each.get('address') or ''}: {each['text']}{fix}")


def _concerns(refusal: Json, trace: Json) -> bool:
    from fleetgw.adapters.text.addresses import split_address

    if trace["vin"]:
        return refusal.get("vin") == trace["vin"] or f'"{trace["vin"]}"' in str(refusal.get("text"))  # in a certificate
    address = str(refusal.get("address") or "")
    try:
        host = address if address == trace["ip"] else split_address(address, 0)[0]
    except ValueError:
        return False
    return bool(host == trace["ip"])


def _lines(client: GatewayClient, number: int, first: int) -> list[Json]:
    return [*_objects(client.get_text(f"{_PATH}/{number}", {"from": first}))]


def _objects(text: str) -> Iterator[Json]:
    for line in text.split("\n"):
        if line:
            try:
                value = json.loads(line)
                value["n"], value["text"]
            except (ValueError, RecursionError, TypeError, KeyError):
                what = "the gateway answers with a line that is none of a trace; use its own version of this command"
                raise GatewayError(what, _OK) from None
            yield value


def _print_line(arguments: argparse.Namespace, line: Json) -> None:
    if arguments.json:
        _print(_json(line))
    else:
        _print(f"{_at(line['at_ms'])}  {line['connection']:<21}  {line['stage']:<15}  {line['text']}")


def _whom(trace: Json) -> str:
    return str(trace["vin"] or trace["ip"])


def _at(at_ms: float) -> str:
    """A time of today as its time, others with the date."""
    at = datetime.fromtimestamp(at_ms / 1000).astimezone()
    day = "" if at.date() == datetime.now().astimezone().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S}.{at.microsecond // 1000:03}"


def _json(value: Json) -> str:
    from fleetgw.adapters.text.terminal import json_text

    return json_text(value, None)


def _print(text: str) -> None:
    from fleetgw.adapters.text.terminal import escaped

    print(escaped(text), flush=True)


def _say(text: str) -> None:
    """Tell something besides the lines."""
    from fleetgw.adapters.text.terminal import escaped

    print(escaped(f"fleetgw trace: {text}"), file=sys.stderr, flush=True)
