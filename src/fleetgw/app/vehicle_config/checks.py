"""Checks of a vehicle configuration: its own members, and whether it fits the gateway that is to receive the records.

The members are those of Tesla's documentation of ``fleet_telemetry_config``
(https://developer.tesla.com/docs/fleet-api/endpoints/vehicle-endpoints#fleet-telemetry-config-create).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.settings.spelling import did_you_mean, quoted
from fleetgw.domain.line_limit import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.domain.ports import Finding

FIELDS = frozenset(name for name in Field.keys() if name != "Unknown" and not name.startswith("Deprecated_"))  # noqa: SIM118  an enum of protobuf is no mapping
"""Names of all fields that a vehicle can stream."""

MIN_INTERVAL_S = 1
"""Shortest time between two values of a field."""

MEMBERS = frozenset(
    {"hostname", "port", "ca", "fields", "alert_types", "exp", "prefer_typed", "delivery_policy", "aud", "iss"}
)
"""Members of ``config``; the last two are Tesla's own answer's."""

FIELD_MEMBERS = frozenset({"interval_seconds", "minimum_delta", "resend_interval_seconds"})

ALERT_TYPES = frozenset({"service", "customer", "service_fix"})

DELIVERY_POLICIES = ("latest",)

_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z"
)
_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{17}\Z")


def check_members(config: Mapping[str, object], now_s: float) -> Iterator[Finding]:
    """Findings on the members of ``config``, the certificates of ``ca`` excepted.

    :param now_s: epoch seconds.
    """
    for name in sorted(config.keys() - MEMBERS):
        yield will_not_work(f"{cut(name)}: Tesla knows no such member", did_you_mean(name, MEMBERS))
    yield from _hostname(config.get("hostname"))
    yield from _port(config.get("port", 443))
    yield from _fields(config.get("fields"))
    yield from _expiry(config.get("exp"), now_s)
    yield from _others(config)


def check_vins(vins: object) -> Iterator[Finding]:
    """Findings on the list of vehicles."""
    if not isinstance(vins, list) or not vins:
        yield will_not_work("vins: names no vehicle", 'give a list, such as ["5YJ3E1EA7KF000001"]')
        return
    wrong = [vin for vin in vins if not isinstance(vin, str) or not _VIN.match(vin)]
    if wrong:
        yield will_not_work(
            f"vins: {_shown(wrong[0])} is no VIN", "a VIN has 17 capital letters and digits, without I, O and Q"
        )
    elif len(set(vins)) < len(vins):
        yield worth_a_look("vins: some vehicles are named twice", "name each once")
    else:
        yield good(f"vins: {len(vins)}")


def signals_per_day(fields: Mapping[str, Mapping[str, object]]) -> int:
    """The most signals that a vehicle can send in a day, awake all the time and with a change in each interval."""
    intervals = (each.get("interval_seconds") for each in fields.values())
    return sum(86_400 // each for each in intervals if isinstance(each, int) and each >= MIN_INTERVAL_S)


def _hostname(name: object) -> Iterator[Finding]:
    if not isinstance(name, str) or not name:
        yield will_not_work("hostname: is missing", "give the public name of the gateway, such as telemetry.example.com")
    elif "://" in name or "/" in name or ":" in name:
        yield will_not_work(f"hostname: is {_shown(name)}", "must be a name alone: no scheme, no port, no path")
    elif _is_address(name):
        yield will_not_work(f"hostname: is {name}, an address", "must be a name: the server's certificate is for names")
    elif name == "localhost" or not _HOSTNAME.match(name):
        yield will_not_work(f"hostname: is {_shown(name)}", "must be a public name, such as telemetry.example.com")
    else:
        yield good(f"hostname: {name}")


def _port(port: object) -> Iterator[Finding]:
    if isinstance(port, str):
        yield will_not_work(
            f"port: is the text {_shown(port)}", "must be a number, without quotation marks; vehicles ignore a text"
        )
    elif isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        yield will_not_work(f"port: is {_shown(port)}", "must be a number from 1 to 65535")
    else:
        yield good(f"port: {port}")


def _fields(fields: object) -> Iterator[Finding]:
    if not isinstance(fields, Mapping) or not fields:
        yield will_not_work("fields: names no field", 'give at least one, such as {"Soc": {"interval_seconds": 60}}')
        return
    problems = [finding for name, options in fields.items() for finding in _field(name, options)]
    yield from problems
    if not problems:
        yield good(f"fields: {len(fields)}, at most {signals_per_day(fields):,} signals for each vehicle and day")


def _field(name: str, options: object) -> Iterator[Finding]:
    if name not in FIELDS:
        yield will_not_work(
            f"fields: there is no field {_shown(name)}",
            did_you_mean(name, FIELDS, "see fleetgw vehicle-config --list-fields"),
        )
        return
    if not isinstance(options, Mapping):
        yield will_not_work(f"fields.{name}: is {_shown(options)}", 'must be an object, such as {"interval_seconds": 60}')
        return
    for other in sorted(options.keys() - FIELD_MEMBERS):
        yield will_not_work(f"fields.{name}: Tesla knows no member {cut(other)}", did_you_mean(other, FIELD_MEMBERS))
    interval = options.get("interval_seconds")
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < MIN_INTERVAL_S:
        what = f"fields.{name}.interval_seconds: is {'missing' if interval is None else _shown(interval)}"
        yield will_not_work(what, f"must be a whole number of seconds, at least {MIN_INTERVAL_S}")
        return
    resend = options.get("resend_interval_seconds")
    if resend is not None and (isinstance(resend, bool) or not isinstance(resend, int) or resend < interval):
        what = f"fields.{name}.resend_interval_seconds: is {_shown(resend)}"
        yield will_not_work(what, f"must be a whole number of seconds, at least interval_seconds ({interval})")
    delta = options.get("minimum_delta")
    if delta is not None and (isinstance(delta, bool) or not isinstance(delta, (int, float)) or delta < 0):
        yield will_not_work(f"fields.{name}.minimum_delta: is {_shown(delta)}", "must be a number, at least 0")


def _expiry(exp: object, now_s: float) -> Iterator[Finding]:
    if exp is None:
        return
    if isinstance(exp, bool) or not isinstance(exp, int):
        yield will_not_work(f"exp: is {_shown(exp)}", "must be a number of seconds since 1970")
    elif exp > 100_000_000_000:
        yield will_not_work(f"exp: is {exp}, which would be milliseconds", "must be a number of seconds since 1970")
    elif exp <= now_s:
        yield will_not_work(f"exp: is {exp}, which has passed", "give a time to come, or leave it out")
    else:
        yield good(f"exp: in {(exp - now_s) / 86_400:.0f} days; vehicles stop to stream then")


def _others(config: Mapping[str, object]) -> Iterator[Finding]:
    alerts = config.get("alert_types", [])
    if not isinstance(alerts, list) or not ALERT_TYPES.issuperset(map(str, alerts)):
        yield will_not_work(f"alert_types: is {_shown(alerts)}", f"must be a list of {quoted(sorted(ALERT_TYPES))}")
    typed = config.get("prefer_typed")
    if typed is not None and not isinstance(typed, bool):
        yield will_not_work(f"prefer_typed: is {_shown(typed)}", "must be true or false")
    elif not typed:
        yield worth_a_look("prefer_typed: is off: numbers come as text", "set it to true, unless your program expects text")
    policy = config.get("delivery_policy")
    if policy is None:
        what = "delivery_policy: is left out: vehicles do not send again what was not acknowledged"
        yield worth_a_look(what, 'set it to "latest" (vehicles with firmware 2025.2.6 or later)')
    elif policy not in DELIVERY_POLICIES:
        yield will_not_work(f"delivery_policy: is {_shown(policy)}", f"must be {quoted(DELIVERY_POLICIES)}, or left out")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    return cut(repr(value), 60)
