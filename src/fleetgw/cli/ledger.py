"""``fleetgw ledger``: whether the books of a running gateway balance."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import above_zero
from fleetgw.cli.gateway_client import GatewayClient, GatewayError, host_to_reach

if TYPE_CHECKING:
    from fleetgw.domain.ledger import Ledger

_DESCRIPTION = """\
Show where every record of a running gateway is, and check that the books balance: each record received is acknowledged,
not acknowledged, or awaiting that; each record that a sink's queue took is delivered, a dead letter or held. The accounts
are read from the gateway's metrics page, and begin with its start.

It needs monitoring.prometheus_metrics_port in the gateway's configuration. The exit status is 0 when the books balance and
nothing is lost, 1 when they do not or something is, 2 when the accounts cannot be read.
"""

_EXAMPLES = """\
examples:
  fleetgw ledger --config config.json              the gateway that runs here with this configuration
  fleetgw ledger --url http://gateway-1:9090       another one
  fleetgw ledger --config config.json --watch 2    every two seconds
  fleetgw ledger --config config.json --json | jq .imbalances
"""

_MIN_WATCH_S = 0.1
_PATH = "/metrics"

_PORT_KEY = "monitoring.prometheus_metrics_port"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ledger",
        help="check that no record is missing from a running gateway's books",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", metavar="FILE", type=Path, help="the configuration, which has the metrics port")
    place.add_argument("--url", help=f"the gateway's metrics page; {_PATH} may be left out")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables; one line each time with --watch")
    parser.add_argument("--watch", metavar="SECONDS", type=_seconds, help="look again after so long, until interrupted")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    seconds = above_zero(text)
    if seconds < _MIN_WATCH_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {_MIN_WATCH_S} on")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Show the books, once or until interrupted; returns the exit status."""
    try:
        client, path = _page_of(arguments.config) if arguments.url is None else _page_at(arguments.url)
    except GatewayError as error:
        return _cannot(error)
    if arguments.watch is None:
        return _show(client, path, json=arguments.json)
    while True:
        _show(client, path, json=arguments.json, is_watching=True)
        time.sleep(arguments.watch)


def _show(client: GatewayClient, path: str, *, json: bool, is_watching: bool = False) -> int:
    """Read the accounts and print them; returns the exit status."""
    from fleetgw.cli.ledger_output import as_json, clear, print_books
    from fleetgw.domain.ledger import imbalances

    url = client.url + path
    try:
        ledger = _ledger_in(client.get_text(path), url)
    except GatewayError as error:
        return _cannot(error)
    off = imbalances(ledger)
    if json:
        print(as_json(url, ledger, off, indent=None if is_watching else 2), flush=True)
    else:
        if is_watching:
            clear()
        print_books(url, ledger, off)
    return 1 if off or ledger.lost else 0


def _cannot(error: GatewayError) -> int:
    from fleetgw.adapters.text.terminal import printable

    print(printable(f"fleetgw ledger: {error}"), file=sys.stderr, flush=True)
    return 2


def _page_of(file: Path) -> tuple[GatewayClient, str]:
    """The gateway with this configuration, and the path of its metrics page.

    :raises GatewayError: the configuration is refused, or has no metrics page.
    """
    from fleetgw.adapters.text.addresses import address
    from fleetgw.cli.storage import CannotUse, config_of

    try:
        monitoring = config_of(file).monitoring
    except CannotUse as error:
        raise GatewayError(f"{file}: {'; '.join(str(error).splitlines())}; or name the metrics page by --url") from error
    port = monitoring.prometheus_metrics_port
    if not port:
        raise GatewayError(
            f"{file}: {_PORT_KEY} is 0, so that the gateway has no metrics page to read the accounts from; set it, such as"
            " to 9090, and start the gateway again"
        )
    return GatewayClient(
        f"http://{address(host_to_reach(monitoring.prometheus_metrics_host), port)}", port_key=_PORT_KEY
    ), _PATH


def _page_at(text: str) -> tuple[GatewayClient, str]:
    """The gateway at a URL, and the path of its metrics page.

    :raises GatewayError: it is no URL of a page.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        client = GatewayClient(f"{parts.scheme}://{parts.netloc}", port_key=_PORT_KEY)
    except (ValueError, GatewayError) as error:
        raise GatewayError(
            f"--url {text!r} is no address of a page; write one such as http://127.0.0.1:9090{_PATH}"
        ) from error
    path = _PATH if parts.path in ("", "/") else parts.path
    return client, f"{path}?{parts.query}" if parts.query else path


def _ledger_in(page: str, url: str) -> Ledger:
    """Read the ledger from a metrics page.

    :raises GatewayError: the page has no ledger.
    """
    from fleetgw.adapters.metrics.ledger import ledger_of_page
    from fleetgw.domain.ledger import NoLedger

    try:
        return ledger_of_page(page)
    except NoLedger as error:
        raise GatewayError(
            f"{url} has no ledger ({error}): the gateway is older than this command; start it anew"
        ) from error
    except ValueError as error:
        raise GatewayError(f"{url} is not the metrics page of a gateway: {error}") from error
