"""``fleetgw bundle``: one file for a bug report."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.gateway_client import GatewayError, add_gateway_options, client_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence

    from fleetgw.cli.bundle_file import Document, Failure
    from fleetgw.cli.bundle_parts import Part
    from fleetgw.cli.gateway_client import GatewayClient

_DESCRIPTION = """\
Write one zip for a bug report about a running gateway: versions, the doctor's report, the overview, health, the
configuration in effect, the metrics twice, a CPU profile of 10 seconds, the ledger, recent refusals, the last 2000 log
lines, traces. It takes about half a minute. A part that cannot be had is named in the zip's README.txt, and the others are
there all the same.

Secrets are masked. VINs are replaced by vehicle-1, vehicle-2, ... throughout, and records in the log, of the sink logger and
of dead letters, are left out, unless --with-vins is given. Addresses and names of hosts stay: read the zip before you send
it.

It needs status_port and operations.token in the gateway's configuration; the doctor needs --config. The exit status is 0, 1
when parts are missing, 2 when no zip can be written.
"""

_EXAMPLES = """\
examples:
  fleetgw bundle --config config.json
  fleetgw bundle --config config.json --output /tmp/report.zip
  fleetgw bundle --url http://127.0.0.1:8080 --token-file token --with-vins
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bundle",
        help="write one zip for a bug report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_gateway_options(parser)
    parser.add_argument("--output", metavar="FILE", type=Path, help="the zip (default: fleetgw-bundle-<time>.zip here)")
    parser.add_argument("--with-vins", action="store_true", help="leave VINs and logged records as they are")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a list")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Collect and write; returns the exit status."""
    from fleetgw.adapters.text.terminal import printable
    from fleetgw.cli.bundle_file import Failure, vins_in, without_secrets, without_vins, write_zip
    from fleetgw.cli.bundle_parts import parts_of

    now = datetime.now(UTC)
    folder = f"fleetgw-bundle-{now:%Y%m%d-%H%M%S}"
    file: Path = arguments.output or Path(f"{folder}.zip")
    client: GatewayClient | None = None
    documents: Sequence[Document]
    failures: list[Failure] = []
    try:
        client = client_of(arguments)
    except GatewayError as error:
        failures.append(Failure("gateway", str(error)))
    documents, missing = _collected(parts_of(client, arguments.config, with_records=arguments.with_vins))
    failures += missing
    documents, failures = without_secrets(documents, failures, _secrets(arguments.config, client))
    vehicles = None
    if not arguments.with_vins:
        known = _answer(client, "/api/vehicles")
        documents, failures, vehicles = without_vins(documents, failures, vins_in(known))
    documents = [_readme(now, documents, failures, vehicles), *documents]
    try:
        write_zip(file, folder, documents)
    except OSError as error:
        print(printable(f"fleetgw bundle: {file} cannot be written: {error.strerror or error}"), file=sys.stderr)
        return 2
    _show(file, documents, failures, is_json=arguments.json)
    return 1 if failures else 0


def _collected(parts: Sequence[Part]) -> tuple[list[Document], list[Failure]]:
    """The documents of all parts, and the failures."""
    from fleetgw.cli.bundle_file import Failure
    from fleetgw.cli.bundle_parts import PartError
    from fleetgw.cli.progress import progress

    documents: list[Document] = []
    failures = []
    with progress() as show:
        for number, part in enumerate(parts, 1):
            show(f"{number} of {len(parts)}: {part.doing} ...")
            try:
                documents.extend(part.collect())
            except Exception as error:  # a bundle is wanted where something is broken: the other parts go on in any case
                said = str(error) if isinstance(error, GatewayError | PartError) else f"{type(error).__name__}: {error}"
                failures.append(Failure(part.name, " ".join(said.split())))
    return documents, failures


def _answer(client: GatewayClient | None, path: str) -> object:
    """The gateway's answer, or None."""
    try:
        return None if client is None else client.get_json(path, {"limit": 1000})
    except GatewayError:
        return None


def _secrets(config: Path | None, client: GatewayClient | None) -> Collection[str]:
    """The secrets that are known here."""
    from fleetgw.app.config import load_config, secrets_in
    from fleetgw.domain.errors import ConfigurationError

    known = set() if client is None or client.token is None else {client.token}
    if config is not None:
        with suppress(ConfigurationError):
            known |= secrets_in(load_config(config, os.environ).config)
    return known


def _readme(now: datetime, documents: Sequence[Document], failures: Sequence[Failure], vehicles: int | None) -> Document:
    from fleetgw.cli.bundle_file import Document

    if vehicles is None:
        vins = "VINs are in these files as they are, and records of vehicles may be in the log: --with-vins was given."
    else:
        vins = f"VINs are replaced: there are vehicle-1 to vehicle-{vehicles}." if vehicles else "No VIN was found."
    lines = [
        f"Bundle of fleetgw for a bug report, made {now:%Y-%m-%d %H:%M:%S} UTC.",
        "",
        vins,
        "Secrets are masked. Addresses of vehicles and names of hosts are in these files.",
        "",
        "Files:",
        *(f"  {each.name}: {each.about}" for each in documents),
    ]
    if failures:
        lines += ["", "Missing, with the reason:", *(f"  {each.name}: {each.reason}" for each in failures)]
    return Document("README.txt", "what is in here, and what is missing", "\n".join([*lines, ""]))


def _show(file: Path, documents: Sequence[Document], failures: Sequence[Failure], *, is_json: bool) -> None:
    from fleetgw.adapters.text.terminal import json_text, printable
    from fleetgw.cli.figures import size

    size_bytes = file.stat().st_size
    if is_json:
        files = [{"name": each.name, "about": each.about, "size_bytes": each.size_bytes} for each in documents]
        missing = [{"name": each.name, "reason": each.reason} for each in failures]
        print(json_text({"path": str(file), "size_bytes": size_bytes, "files": files, "missing": missing}))
        return
    print(printable(f"{file}  {size(size_bytes)}, readable by you alone"))
    width = max(len(name) for name in [*(each.name for each in documents), *(each.name for each in failures)])
    for each in documents:
        print(printable(f"  {each.name:{width}}  {size(each.size_bytes):>8}  {each.about}"))
    for failure in failures:
        print(printable(f"  {failure.name:{width}}   missing  {failure.reason}"))
