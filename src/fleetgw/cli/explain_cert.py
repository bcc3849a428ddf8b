"""``fleetgw explain-cert``: who a client certificate would be for the gateway, and why it would be refused."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fleetgw.app.doctor.client_certificate import Judgement

_DESCRIPTION = """\
Say who a client certificate would be for the gateway: device id (the VIN of a vehicle), client type, sender id; or why it
would be refused, and what helps. The gateway's own TLS and identity rules decide. The file is in PEM or DER; intermediates
may follow the certificate. The private key is not needed.

It needs the configuration to know the authorities; without it, names, dates and identity are examined. The exit status is 0
when the certificate would be accepted, 1 when it would be refused, 2 when a file cannot be read.
"""

_EXAMPLES = """\
examples:
  fleetgw explain-cert vehicle.crt --config config.json
  fleetgw explain-cert vehicle.crt                           without tls.ca_file: names, dates, identity
  fleetgw explain-cert vehicle.der --config config.json --json | jq .refusals
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain-cert",
        help="say who a client certificate would be, or why it would be refused",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the certificate, in PEM or DER")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the gateway's configuration")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain; returns the exit status."""
    import warnings
    from datetime import UTC, datetime

    from OpenSSL import SSL

    from fleetgw.adapters.certificates.files import UnusableCertificateFile
    from fleetgw.adapters.text.terminal import escaped, json_text
    from fleetgw.app.doctor.client_certificate import judge, judge_by_list, read_client_certificates
    from fleetgw.app.service.on_reactor import run_on_reactor
    from fleetgw.cli.storage import CannotUse, config_of
    from fleetgw.domain.errors import ConfigurationError

    try:
        # cryptography warns of unusual names, on which the gateway's rules decide
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            certificates = read_client_certificates(arguments.file)
            config = None if arguments.config is None else config_of(arguments.config)
            judgement = judge(certificates, config, datetime.now(UTC))
        if config is not None and config.vehicles.allow is not None:
            judgement = run_on_reactor(partial(judge_by_list, judgement, config.vehicles.allow))
    except (CannotUse, UnusableCertificateFile, ConfigurationError, SSL.Error) as error:
        for line in str(error).splitlines():
            print(escaped(f"fleetgw explain-cert: {line}"), file=sys.stderr)
        return 2
    if arguments.json:
        print(json_text(_members(str(arguments.file), judgement)))
    else:
        for line in _lines(judgement):
            print(escaped(line))
    return 1 if judgement.refusals else 0


def _members(file: str, judgement: Judgement) -> dict[str, object]:
    from fleetgw.adapters.ingress.events import certificate_fields

    identity = judgement.identity
    who = None
    if identity is not None:
        who = {"device_id": identity.device_id, "client_type": identity.client_type, "sender_id": identity.sender_id}
    return {
        "file": file,
        "accepted": not judgement.refusals,
        "certificate": certificate_fields(judgement.certificate),
        "identity": who,
        "refusals": [{"what": each.what, "fix": each.fix} for each in judgement.refusals],
        "remarks": [{"what": each.what, "fix": each.fix} for each in judgement.remarks],
    }


def _lines(judgement: Judgement) -> Iterator[str]:
    from fleetgw.adapters.ingress.certificate import shown_date

    certificate, identity = judgement.certificate, judgement.identity
    yield f"subject      {certificate.subject or '(no common name)'}"
    yield f"issuer       {certificate.issuer or '(no common name)'}"
    yield f"valid        {shown_date(certificate.not_before)} to {shown_date(certificate.not_after)}"
    if identity is not None:
        yield f"identity     {identity.sender_id}"
        yield f"device id    {identity.device_id}"
        yield f"client type  {identity.client_type}"
    for remark in judgement.remarks:
        yield f"note         {remark.what}; {remark.fix}"
    for refusal in judgement.refusals:
        yield f"refused      {refusal.what}"
        yield f"fix          {refusal.fix}"
    if not judgement.refusals:
        yield "accepted"
