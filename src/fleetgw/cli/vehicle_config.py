"""``fleetgw vehicle-config``: the configuration that vehicles get from Tesla's API."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from cryptography import x509

    from fleetgw.app.config.loading import LoadedConfig
    from fleetgw.domain.ports import Finding

_DESCRIPTION = """\
Write the fleet_telemetry_config that tells vehicles where to stream, and check it.

The result is the body of POST /api/1/vehicles/fleet_telemetry_config, which Tesla's vehicle-command proxy signs and
sends. It names the gateway's public host name and port, the authorities that issued its certificate
(tls.server_cert), and the fields to stream. JSON goes to standard output or to --output; findings go to standard
error. With --check, nothing is written: an existing body, or an answer of GET fleet_telemetry_config, is checked
against the gateway's configuration.

Checked are the mistakes that keep vehicles away without an error: a chain that has expired or does not verify the
certificate, a list of all the world's authorities in place of the chain, a host name that the certificate does not
have, a port as text, intervals under the minimum, fields that do not exist, and, by a connection to the public
address, a load balancer that ends TLS.

It needs the gateway's configuration and certificate, and for the last check its public address. The exit status is 0 when
the configuration can work, 1 when it cannot, 2 when it could not be made or read.
"""

_EXAMPLES = """\
examples:
  fleetgw vehicle-config --config config.json --host telemetry.example.com --vin 5YJ3E1EA7KF000001 --preset fleet > body.json
  fleetgw vehicle-config --config config.json --host telemetry.example.com --vins vins.txt --field Soc=60 --field Location=10
  fleetgw vehicle-config --config config.json --check body.json
  fleetgw vehicle-config --list-presets
"""

DEFAULT_INTERVAL_S = 60


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "vehicle-config",
        help="write and check the configuration that vehicles get from Tesla's API",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="the gateway's configuration")
    parser.add_argument("--host", metavar="NAME", help="the public host name of the gateway")
    parser.add_argument("--port", type=int, help="the public port (default: the configuration's, usually 443)")
    parser.add_argument("--vin", action="append", default=[], help="a vehicle; repeatable")
    parser.add_argument("--vins", metavar="FILE", type=Path, help="vehicles, one VIN a line")
    parser.add_argument(
        "--preset", action="append", default=[], metavar="NAME", help="a list of fields; repeatable; see --list-presets"
    )
    parser.add_argument("--field", action="append", default=[], metavar="NAME[=SECONDS]", help="a field; repeatable")
    parser.add_argument("--fields", metavar="FILE", type=Path, help="fields, one NAME or NAME=SECONDS a line")
    parser.add_argument(
        "--interval",
        type=int,
        default=DEFAULT_INTERVAL_S,
        metavar="SECONDS",
        help="of fields without one (default %(default)s)",
    )
    parser.add_argument("--days", type=int, help="vehicles stop to stream after so many days (default: never)")
    parser.add_argument(
        "--ca", metavar="FILE", type=Path, help="authorities to add to those of tls.server_cert, such as the root"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the body there")
    parser.add_argument("--check", metavar="FILE", type=Path, help="check this body, write none")
    parser.add_argument(
        "--connect", metavar="ADDRESS", default="", help="connect to this address in place of the host name's"
    )
    parser.add_argument("--offline", action="store_true", help="do not connect to the public address")
    parser.add_argument("--json", action="store_true", help="with --check or --output: findings as JSON on standard output")
    parser.add_argument("--list-presets", action="store_true", help="show the presets, and end")
    parser.add_argument("--list-fields", action="store_true", help="show all fields, and end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make or check; 0, 1 or 2."""
    from fleetgw.adapters.text.terminal import printable

    if arguments.list_presets or arguments.list_fields:
        return _list(arguments)
    try:
        if arguments.json and arguments.check is None and arguments.output is None:
            raise _Unusable("--json prints findings where the body goes; give --check FILE, or --output FILE for the body")
        loaded, chain = _gateway(arguments.config)
        body = _read(arguments.check) if arguments.check is not None else _made(arguments, loaded, chain)
    except _Unusable as error:
        print("\n".join(map(printable, f"fleetgw vehicle-config: {error}".splitlines())), file=sys.stderr)
        return 2
    findings = list(_findings(body, loaded, chain, arguments))
    works = _report(findings, as_json=arguments.json)
    if arguments.check is None:
        try:
            _write(body, arguments.output)
        except OSError as error:
            print(printable(f"fleetgw vehicle-config: --output {arguments.output}: {error.strerror}"), file=sys.stderr)
            return 2
    return 0 if works else 1


class _Unusable(Exception):
    """The command cannot work as given; ``str()`` is the reason with its remedy."""


def _list(arguments: argparse.Namespace) -> int:
    from fleetgw.app.vehicle_config.checks import FIELDS, signals_per_day
    from fleetgw.app.vehicle_config.presets import PRESETS

    if arguments.list_fields:
        print("\n".join(sorted(FIELDS)))
        return 0
    for name, fields in PRESETS.items():
        signals = signals_per_day({field: {"interval_seconds": interval} for field, interval in fields.items()})
        print(f"{name} (at most {signals:,} signals for each vehicle and day)")
        print("  " + ", ".join(f"{field} every {interval} s" for field, interval in fields.items()))
    return 0


def _gateway(file: Path | None) -> tuple[LoadedConfig, Sequence[x509.Certificate]]:
    from fleetgw.adapters.certificates.files import UnusableCertificateFile, read_certificates
    from fleetgw.app.config import load_config, render_problems
    from fleetgw.domain.errors import ConfigurationError

    if file is None:
        raise _Unusable("name the gateway's configuration: --config FILE")
    try:
        loaded = load_config(file, os.environ)
        return loaded, read_certificates(loaded.config.tls.server_cert)
    except ConfigurationError as error:
        raise _Unusable(f"{file} cannot be used\n{render_problems(error.problems, (), colour=False)}") from error
    except UnusableCertificateFile as error:
        raise _Unusable(str(error)) from error


def _read(file: Path) -> Mapping[str, object]:
    try:
        body = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _Unusable(f"--check {file}: cannot be read as JSON: {error}") from error
    if isinstance(body, dict) and isinstance(body.get("response"), dict):
        body = body["response"]  # of an answer of the API
    if not isinstance(body, dict) or not isinstance(body.get("config"), dict):
        raise _Unusable(f'--check {file}: has no object "config"; give the body of POST fleet_telemetry_config')
    return body


def _made(arguments: argparse.Namespace, loaded: LoadedConfig, chain: Sequence[x509.Certificate]) -> Mapping[str, object]:
    from fleetgw.app.vehicle_config.authority import as_text, authorities_of, system_authorities
    from fleetgw.app.vehicle_config.making import make_body

    if not arguments.host:
        raise _Unusable("name the gateway's public host: --host telemetry.example.com")
    known = [*_authorities(arguments.ca), *system_authorities()]
    expires_at_s = None if arguments.days is None else int(time.time()) + 86_400 * arguments.days
    return make_body(
        [*arguments.vin, *_lines(arguments.vins, "--vins")],
        arguments.host,
        arguments.port if arguments.port is not None else loaded.config.port,
        as_text(authorities_of(chain, known)),
        _fields(arguments),
        expires_at_s,
    )


def _fields(arguments: argparse.Namespace) -> Mapping[str, Mapping[str, int]]:
    from fleetgw.adapters.settings.spelling import did_you_mean
    from fleetgw.app.vehicle_config.making import UnusableField, parse_field, parse_field_list
    from fleetgw.app.vehicle_config.presets import PRESETS

    fields: dict[str, Mapping[str, int]] = {}
    for preset in arguments.preset:
        if preset not in PRESETS:
            raise _Unusable(f"--preset {preset}: there is none; {did_you_mean(preset, PRESETS)}")
        for name, interval in PRESETS[preset].items():
            before = fields.get(name, {}).get("interval_seconds", interval)
            fields[name] = {"interval_seconds": min(interval, before)}
    try:
        fields |= parse_field_list("\n".join(_lines(arguments.fields, "--fields")), arguments.interval)
        fields |= dict(parse_field(each, arguments.interval) for each in arguments.field)
    except UnusableField as error:
        raise _Unusable(f"field {error}") from error
    if not fields:
        raise _Unusable(f"name fields: --preset {next(iter(PRESETS))}, --field Soc=60, or --fields FILE")
    return fields


def _lines(file: Path | None, option: str) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise _Unusable(f"{option} {file}: cannot be read: {error}") from error
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def _authorities(file: Path | None) -> Sequence[x509.Certificate]:
    from fleetgw.adapters.certificates.files import UnusableCertificateFile, read_authorities

    if file is None:
        return ()
    try:
        return read_authorities(file).certificates
    except UnusableCertificateFile as error:
        raise _Unusable(f"--ca {error}") from error


def _findings(
    body: Mapping[str, object], loaded: LoadedConfig, chain: Sequence[x509.Certificate], arguments: argparse.Namespace
) -> Iterator[Finding]:
    from fleetgw.adapters.diagnosis.findings import worth_a_look
    from fleetgw.adapters.diagnosis.front import front_findings
    from fleetgw.app.vehicle_config.authority import check_authority
    from fleetgw.app.vehicle_config.checks import check_members, check_vins
    from fleetgw.domain.ports import Verdict

    config = body["config"]
    if not isinstance(config, dict):
        raise TypeError("the body was read with an object")
    if "vins" in body or arguments.check is None:
        yield from check_vins(body.get("vins"))
    members = list(check_members(config, time.time()))
    yield from members
    host, port = config.get("hostname"), config.get("port", 443)
    yield from check_authority(config.get("ca"), chain, str(host))
    if isinstance(port, int) and loaded.config.port and port != loaded.config.port:
        what = f"port: vehicles connect to {port}, the gateway listens on {loaded.config.port}"
        yield worth_a_look(what, "see that the port is forwarded as TCP, or change one of them")
    if not arguments.offline and all(each.verdict is not Verdict.WILL_NOT_WORK for each in members):
        yield from front_findings(str(host), int(str(port)), chain, arguments.connect)


def _report(findings: Sequence[Finding], *, as_json: bool) -> bool:
    from rich.console import Console

    from fleetgw.app.doctor.checkup import Diagnosis
    from fleetgw.app.doctor.report import as_json as to_json
    from fleetgw.app.doctor.report import print_table

    diagnosis = Diagnosis("vehicle configuration", findings)
    if as_json:
        print(to_json("", [diagnosis]))
    else:
        print_table([diagnosis], Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 120))
    return diagnosis.works


def _write(body: Mapping[str, object], file: Path | None) -> None:
    text = json.dumps(body, indent=2) + "\n"
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text)
