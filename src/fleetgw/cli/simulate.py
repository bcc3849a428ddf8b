"""``fleetgw simulate``: a fleet of vehicles against a gateway."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import above_zero, positive

if TYPE_CHECKING:
    from fleetgw.simulator.launch import PemCredential

_DESCRIPTION = """\
Simulate a fleet: vehicles that park, drive and charge, and send records about it to a gateway over WebSocket, with
certificates of their own. A record that is not acknowledged in time is sent again with the same txid; a lost connection is
opened again. The report has the numbers of records sent, acknowledged and refused, and the latency of acknowledgements.

Ctrl-C ends the sending, waits two seconds for the last answers and reports; a second Ctrl-C does not wait.

It needs a gateway, and certificates that it accepts. The exit status is 0 when every record was acknowledged, 1 when not,
2 when the run cannot start.
"""

_EXAMPLES = """\
examples:
  fleetgw simulate --url wss://localhost:4443 --certs certs --vehicles 10 --rate 20 --duration 30
      ten vehicles of ./certs (missing ones are made), twenty records a second in all, half a minute
  fleetgw simulate --url wss://localhost:4443 --certs certs --types V=90,alerts=9,errors=1 --count 1000 --ids ids.jsonl
      a thousand records of three types; txids of issued and acknowledged records as JSON lines
  fleetgw simulate --url wss://telemetry.example.com --ca ca.crt --cert vehicle.crt --key vehicle.key
      any fleet-telemetry server, with a certificate that it accepts
"""

_DEFAULT_WEIGHTS = {"V": 100.0, "alerts": 2.0, "errors": 1.0}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "simulate",
        help="simulate a fleet of vehicles",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    where = parser.add_argument_group("the gateway and the vehicles")
    where.add_argument("--url", default="wss://localhost:4443", help="the gateway (default %(default)s)")
    where.add_argument("--certs", metavar="DIR", type=Path, help="a folder of `fleetgw certs`: one certificate a vehicle")
    where.add_argument(
        "--ca", metavar="FILE", type=Path, help="authority of the gateway's certificate (default: the system's)"
    )
    where.add_argument("--cert", metavar="FILE", type=Path, help="one certificate for all vehicles, instead of --certs")
    where.add_argument("--key", metavar="FILE", type=Path, help="its private key")
    where.add_argument("--insecure", action="store_true", help="do not check the name in the gateway's certificate")
    where.add_argument("--vehicles", type=positive, default=10, metavar="N", help="number of vehicles (default %(default)s)")
    what = parser.add_argument_group("what they send")
    what.add_argument("--rate", type=above_zero, default=10.0, help="records a second in all (default %(default)s)")
    what.add_argument(
        "--duration", type=above_zero, metavar="SECONDS", help="seconds of sending (default: until Ctrl-C, or --count)"
    )
    what.add_argument("--count", type=positive, metavar="N", help="number of records in all")
    what.add_argument(
        "--types", type=_mix, default="V,alerts,errors", metavar="TYPE[=WEIGHT],...",
        help="record types; any but V, alerts and errors gets a small JSON text (default %(default)s)",
    )  # fmt: skip
    what.add_argument("--seed", type=int, default=1, help="of the drives (default %(default)s)")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--connects", type=above_zero, default=200.0, metavar="N", help="connects a second (default %(default)s)"
    )
    how.add_argument(
        "--resend-after",
        type=above_zero,
        default=10.0,
        metavar="SECONDS",
        help="longest wait for an answer (default %(default)s)",
    )
    how.add_argument(
        "--drain",
        type=above_zero,
        default=30.0,
        metavar="SECONDS",
        help="longest wait for the last answers (default %(default)s)",
    )
    how.add_argument(
        "--outbox", type=positive, default=1000, metavar="N", help="unanswered records a vehicle keeps (default %(default)s)"
    )
    how.add_argument("--ids", metavar="FILE", type=Path, help="write txids of issued and answered records as JSON lines")
    how.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the fleet."""
    from fleetgw.simulator.certificate_folder import CertificateFolderError
    from fleetgw.simulator.fleet import Schedule
    from fleetgw.simulator.launch import Simulation, simulate

    try:
        with contextlib.ExitStack() as stack:
            authority_pem, credentials = _credentials(arguments)
            ids = stack.enter_context(arguments.ids.open("w")) if arguments.ids else None
            schedule = Schedule(
                rate=arguments.rate,
                mix=arguments.types,
                duration_s=arguments.duration,
                count=arguments.count,
                connects_per_s=arguments.connects,
                drain_s=arguments.drain,
            )
            return simulate(
                Simulation(
                    url=arguments.url,
                    credentials=credentials,
                    authority_pem=authority_pem,
                    check_server_name=not arguments.insecure,
                    schedule=schedule,
                    resend_after_s=arguments.resend_after,
                    outbox_limit=arguments.outbox,
                    seed=arguments.seed,
                    ids=ids,
                    json_report=arguments.json,
                )
            )
    except (CertificateFolderError, OSError, ValueError) as error:
        print(f"fleetgw simulate: {error}", file=sys.stderr)
        return 2


def _credentials(arguments: argparse.Namespace) -> tuple[bytes | None, list[PemCredential]]:
    from fleetgw.simulator.certificate_folder import CertificateFolder
    from fleetgw.simulator.launch import PemCredential

    number: int = arguments.vehicles
    ca_file: Path | None = arguments.ca
    if arguments.certs is not None:
        if arguments.cert or arguments.key:
            raise ValueError("--certs and --cert/--key say the same thing twice; give one of them")
        folder = CertificateFolder(arguments.certs)
        folder.ensure_vehicles(number)
        files = folder.vehicle_files()[:number]
        ca_file = ca_file or folder.authority_file
    elif arguments.cert and arguments.key:
        files = [arguments.cert]
    else:
        raise ValueError("vehicles need certificates: give --certs DIR (`fleetgw certs DIR` makes one), or --cert and --key")
    credentials = [
        PemCredential(_pem(file, "CERTIFICATE"), _pem(arguments.key or file.with_suffix(".key"), "PRIVATE KEY"))
        for file in files
    ]
    if arguments.certs is None:
        credentials *= number
    return _pem(ca_file, "CERTIFICATE") if ca_file else None, credentials


def _pem(file: Path, kind: str) -> bytes:
    """The content of a PEM file.

    :raises ValueError: it has no block of this kind.
    """
    content = file.read_bytes()
    if f"{kind}-----".encode() not in content:
        raise ValueError(f"{file} has no {kind} in PEM; name a file with a block that begins with -----BEGIN")
    return content


def _mix(text: str) -> dict[str, float]:
    from fleetgw.domain.gateway_status import OWN_TYPES

    mix = {}
    for part in text.split(","):
        record_type, _, weight = part.strip().partition("=")
        if record_type in ("", *OWN_TYPES):
            raise argparse.ArgumentTypeError(
                f"{record_type} records are the gateway's own; vehicles send V, alerts, errors or a custom type"
                if record_type
                else f"{text!r} lists an empty type; V,alerts=5 would be right"
            )
        mix[record_type] = above_zero(weight) if weight else _DEFAULT_WEIGHTS.get(record_type, 1.0)
    return mix
