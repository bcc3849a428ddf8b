"""The actions of ``fleetgw trace``: follow, list, show, stop, remove."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

from fleetgw.adapters.text.addresses import split_address
from fleetgw.adapters.text.terminal import escaped, json_text
from fleetgw.cli.gateway_answers import Refusals, Trace, TraceLine, Traces, read_as
from fleetgw.cli.gateway_client import GatewayError

if TYPE_CHECKING:
    import argparse

    from fleetgw.cli.gateway_answers import Refused
    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/traces"
_POLL_S = 0.5
_JOINED_LINES = 20
"""Number of earlier lines that are shown of a trace that is on already."""

_QUIET_S = 10.0
"""Time without a line after which the command says what may be the reason."""

_SHOWN_REFUSALS = 5
_NOT_FOUND = 404


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
    ended = client.post_json(f"{_PATH}/{arguments.id}", {"for_s": 0})
    _print(_json(ended) if arguments.json else f"trace {arguments.id} has ended; fleetgw trace show {arguments.id} shows it")
    return 0


def _remove(arguments: argparse.Namespace, client: GatewayClient) -> int:
    client.delete(f"{_PATH}/{arguments.id}")
    if not arguments.json:
        _print(f"trace {arguments.id} is removed")
    return 0


ACTIONS = {"list": _list, "show": _show, "stop": _stop, "remove": _remove}


def follow(arguments: argparse.Namespace, client: GatewayClient) -> int:
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
    return json_text(value, None)


def _print(text: str) -> None:
    print(escaped(text), flush=True)


def _say(text: str) -> None:
    """Tell something besides the lines."""
    print(escaped(f"fleetgw trace: {text}"), file=sys.stderr, flush=True)
