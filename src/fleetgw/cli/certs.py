"""``fleetgw certs``: development certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Make a development certificate authority in DIR, a server certificate for the gateway and certificates for vehicles.

The authority is named TeslaMotors, because by default the gateway accepts that issuer's certificates as vehicles'. It is
not Tesla's, and nothing but your own gateway trusts it.

An authority that exists already is kept, so that another run adds what is missing: more vehicles, or a server
certificate with further names.

files:
  DIR/ca.crt  DIR/ca.key              the authority: the gateway's tls.ca_file
  DIR/server.crt  DIR/server.key      tls.server_cert and tls.server_key
  DIR/vehicles/VIN.crt  VIN.key       one pair a vehicle

It needs nothing but a folder that it may write to. The exit status is 0, or 2 when the certificates cannot be made.
"""

_EXAMPLES = """\
examples:
  fleetgw certs certs                                  loopback names, one vehicle
  fleetgw certs certs --vehicles 200                   loopback names, 200 vehicles
  fleetgw certs certs --host gateway.example.com       one more name of the server
"""

_MOST_DAYS = 36_500


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "certs",
        help="make development certificates",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("dir", metavar="DIR", type=Path, help="the folder; made when it does not exist")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        help="a further DNS name or IP address of the server; repeatable",
    )
    parser.add_argument("--vehicles", type=int, default=1, metavar="N", help="number of vehicles in DIR (default 1)")
    parser.add_argument("--days", type=int, default=365, help="validity of new certificates (default 365)")
    parser.add_argument("--force", action="store_true", help="replace the authority and all certificates that it signed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the certificates; returns the exit status: 0, or 2 when the folder cannot be used."""
    from fleetgw.simulator.certificate_folder import CertificateFolder, CertificateFolderError

    if not 1 <= arguments.days <= _MOST_DAYS or arguments.vehicles < 0:
        print(f"fleetgw certs: --days must be from 1 to {_MOST_DAYS}, --vehicles at least 0", file=sys.stderr)
        return 2
    folder = CertificateFolder(arguments.dir, arguments.days)
    try:
        if arguments.force:
            folder.clear()
        made = [
            "a certificate authority (TeslaMotors, for development only)" if folder.ensure_authority() else "",
            "a server certificate" if folder.ensure_server(arguments.host) else "",
        ]
        vehicles = folder.ensure_vehicles(arguments.vehicles)
    except OSError as error:
        print(f"fleetgw certs: {error.filename}: {error.strerror}; name a folder to which you may write", file=sys.stderr)
        return 2
    except (CertificateFolderError, ValueError) as error:
        print(f"fleetgw certs: {error}", file=sys.stderr)
        return 2
    if vehicles:
        made.append("1 vehicle" if vehicles == 1 else f"{vehicles} vehicles")
    news = ", ".join(filter(None, made)) or "nothing, all is there"
    print(f"{folder.path}: made {news}; vehicles in all: {len(folder.vehicle_files())}")
    return 0
