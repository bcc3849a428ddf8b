"""``fleetgw fetch-ca``: the certificate authorities that sign real vehicles' certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.figures import plural

if TYPE_CHECKING:
    import argparse

    from fleetgw.cli.ca_bundle import Appended

_DESCRIPTION = """\
Write the certificates of the authorities that sign vehicles' certificates into FILE, the tls.ca_file of a gateway for real
vehicles. Tesla publishes them in the public repository teslamotors/fleet-telemetry, as
config/files/prod_ca.crt (vehicles on the road) and config/files/eng_ca.crt (engineering, --eng).

With --append, FILE keeps its certificates, such as an authority of your own, and gets the missing ones.

The content is compared with the SHA-256 that this version of fleetgw knows. Where it differs, nothing is written: the
certificates are listed, with the differences from FILE, and the SHA-256 to give to --accept once you have verified that
the change is Tesla's.

It needs HTTPS to raw.githubusercontent.com, or a mirror (--url), or a local copy (--from). The exit status is 0, or 1 when
the certificates cannot be had, are not those that are known, or cannot be written.
"""

_EXAMPLES = """\
examples:
  fleetgw fetch-ca tesla-ca.crt
  fleetgw fetch-ca my-ca.crt --append                            add them to a file that has your own authorities
  fleetgw fetch-ca tesla-ca.crt --from prod_ca.crt               from a local copy; nothing is downloaded
  fleetgw fetch-ca tesla-ca.crt --url https://mirror.example.com/prod_ca.crt
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fetch-ca",
        help="get the authorities that sign real vehicles' certificates",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to write")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--url", help="download from this URL (https; http only from this machine)")
    source.add_argument("--from", dest="local_file", metavar="LOCAL_FILE", type=Path, help="read a local file")
    parser.add_argument("--eng", action="store_true", help="the engineering authorities instead of the production ones")
    parser.add_argument(
        "--append", action="store_true", help="keep the certificates in FILE, and add the missing authorities"
    )
    parser.add_argument("--accept", metavar="SHA256", help="accept this unknown content")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, compare, write; returns 0, or 1 when the content cannot be had, differs, or cannot be written."""
    from fleetgw.cli.ca_bundle import BundleError, append, check, describe, download, published, write

    file: Path = arguments.file
    bundle = published(engineering=arguments.eng)
    try:
        if arguments.local_file is not None:
            content = arguments.local_file.read_bytes()
        else:
            content = download(arguments.url or bundle.url)
        previous = file.read_bytes() if file.exists() else b""
        verdict = check(content, bundle, b"" if arguments.append else previous, arguments.accept)
        for line in verdict.lines:
            print(line, file=sys.stdout if verdict.accepted else sys.stderr)
        if not verdict.accepted:
            return 1
        if arguments.append:
            appended = append(previous, content)
            if appended.added:
                write(file, appended.content)
            _print_appended(file, appended)
            return 0
        write(file, content)
    except (BundleError, OSError) as error:
        print(f"fleetgw fetch-ca: {file}: {error}", file=sys.stderr)
        return 1
    certificates = describe(content)
    print(f"wrote {len(certificates)} certificates to {file}:")
    for certificate in certificates:
        print(f"  {certificate}")
    return 0


def _print_appended(file: Path, appended: Appended) -> None:
    kept = plural(appended.kept, "certificate")
    if appended.unreadable:
        print(f"{file} has blocks that cannot be read as certificates: {appended.unreadable}; they were left as they are")
    if not appended.added:
        print(f"{file} has all of them already, among {kept}: nothing was written")
        return
    print(f"added {len(appended.added)} to {file}, which keeps its {kept}:")
    for line in appended.added:
        print(f"  {line}")
