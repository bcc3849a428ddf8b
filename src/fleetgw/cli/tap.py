"""``fleetgw tap``: the records of a running gateway, decoded, as they come."""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetgw.cli.argument_values import above_zero, filled, positive
from fleetgw.cli.gateway_client import GatewayError, add_gateway_options, run_with_client

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/tap"
_TIME, _VIN, _TYPE, _NAME, _PLAIN = "\x1b[2m", "\x1b[36m", "\x1b[35m", "\x1b[2m", "\x1b[0m"
_IN_EACH_RECORD = {"Vin", "CreatedAt", "IsResend"}
"""Members of signals that a line of text leaves out."""

_DESCRIPTION = """\
Show the records that vehicles send to a running gateway, decoded, as they come: one line a record. Nothing is stored, and
sinks get what they always get. Where more records come than the gateway decodes for taps (some hundreds a second), or than
the reader takes, some are left out, which is said; the gateway is never slowed.

It needs status_port and operations.token in the gateway's configuration. Ctrl-C ends it. The exit status is 0, or 2 when the
gateway cannot be asked, or goes away.
"""

_EXAMPLES = """\
examples:
  fleetgw tap --config config.json
  fleetgw tap --config config.json --vin 5YJ3E1EA7KF000001 --type V --field VehicleSpeed,Soc
  fleetgw tap --config config.json --type alerts --type errors       two record types
  fleetgw tap --config config.json --seconds 60 --json > minute.jsonl
  fleetgw tap --config config.json --limit 100 --json | jq -c '[.vin, .data.Soc]'
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tap",
        help="show decoded records as they come",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_gateway_options(parser)
    parser.add_argument("--vin", type=filled, action="append", help="only records of this vehicle; may be repeated")
    parser.add_argument(
        "--type", metavar="TYPE", type=filled, action="append", help="only this record type, such as V; may be repeated"
    )
    parser.add_argument(
        "--field",
        metavar="NAME",
        type=filled,
        action="append",
        help="only these fields, such as VehicleSpeed; may be repeated",
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="end after N records")
    parser.add_argument("--seconds", metavar="S", type=above_zero, help="end after so long")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, such as for jq")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the records until interrupted; returns the exit status."""
    from fleetgw.cli.interruption import until_interrupted

    with until_interrupted():
        return run_with_client(arguments, partial(_show, arguments))
    return 0


def _show(arguments: argparse.Namespace, client: GatewayClient) -> int:
    from fleetgw.adapters.text.terminal import has_colours, json_text, printable

    left = arguments.limit
    query = {"vin": arguments.vin, "type": arguments.type, "field": arguments.field}
    form = _Text(is_coloured=has_colours(sys.stdout, os.environ))
    with closing(client.stream_lines(_PATH, query, for_s=arguments.seconds)) as lines:
        for record in _values(lines, client):
            if (dropped := record.get("dropped")) is not None and "type" not in record:
                if arguments.json:
                    print(json_text(record, None), flush=True)
                said = f"{dropped} records were left out: more come than a tap shows, or than its reader takes"
                print(printable(f"fleetgw tap: {said}"), file=sys.stderr, flush=True)
                continue
            print(json_text(record, None) if arguments.json else form.line(record), flush=True)
            if left is not None:
                left -= 1
                if left == 0:
                    return 0
    if arguments.seconds is None:
        raise client.stream_ended()
    return 0


def _values(lines: Iterator[str], client: GatewayClient) -> Iterator[dict[str, Any]]:
    """The JSON object in each line; its members are of any shape, therefore ``Any``."""
    for line in lines:
        if not line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise GatewayError(f"{client.url}{_PATH} sends a line that is no record; is this the status_port of a gateway?")
        yield value


class _Text:
    """Records as lines for people."""

    def __init__(self, *, is_coloured: bool) -> None:
        self._is_coloured = is_coloured

    def line(self, record: dict[str, Any]) -> str:
        """Time, VIN, record type, and each member of the data as ``Name=value``."""
        from fleetgw.adapters.text.terminal import escaped

        at_ms, data = record.get("at_ms"), record.get("data")
        at = ""
        if isinstance(at_ms, int | float):
            at = f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%H:%M:%S.%f}"[:12]
        parts = [
            self._coloured(_TIME, at),
            self._coloured(_VIN, escaped(str(record.get("vin", "")))),
            self._coloured(_TYPE, escaped(str(record.get("type", "")))),
        ]
        for each in data if isinstance(data, list) else [data]:
            parts += self._members(each)
        return "  ".join(parts)

    def _members(self, data: object) -> Iterator[str]:
        from fleetgw.adapters.text.terminal import escaped

        if not isinstance(data, dict):
            yield escaped(_value(data))
            return
        for name, value in data.items():
            if name not in _IN_EACH_RECORD:
                yield self._coloured(_NAME, f"{escaped(name)}=") + escaped(_value(value))

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._is_coloured else text


def _value(value: object) -> str:
    match value:
        case str():
            return value
        case {"latitude": float() | int() as latitude, "longitude": float() | int() as longitude}:
            return f"{latitude:.6f},{longitude:.6f}"
        case float():
            return f"{value:.{7 if _is_32_bit(value) else 10}g}"
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_32_bit(number: float) -> bool:
    """Whether a number was a 32-bit float, which has seven digits that mean something."""
    try:
        return bool(struct.unpack("<f", struct.pack("<f", number))[0] == number)
    except OverflowError:
        return False
