"""``fleetgw ledger``: whether the books of a running gateway balance."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import above_zero

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

_TIMEOUT_S = 10.0
_MIN_WATCH_S = 0.1
_PATH = "/metrics"


class CannotRead(Exception):
    """The accounts cannot be read; ``str()`` says why, for people."""


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
        url = _page_of(arguments.config) if arguments.url is None else _page_at(arguments.url)
    except CannotRead as error:
        return _cannot(error)
    if arguments.watch is None:
        return _show(url, json=arguments.json)
    while True:
        _show(url, json=arguments.json, is_watching=True)
        time.sleep(arguments.watch)


def _show(url: str, *, json: bool, is_watching: bool = False) -> int:
    """Read the accounts and print them; returns the exit status."""
    from fleetgw.cli.ledger_output import as_json, clear, print_books
    from fleetgw.domain.ledger import imbalances

    try:
        ledger = _read(url)
    except CannotRead as error:
        return _cannot(error)
    off = imbalances(ledger)
    if json:
        print(as_json(url, ledger, off, indent=None if is_watching else 2), flush=True)
    else:
        if is_watching:
            clear()
        print_books(url, ledger, off)
    return 1 if off or ledger.lost else 0


def _cannot(error: CannotRead) -> int:
    from fleetgw.adapters.text.terminal import printable

    print("\n".join(map(printable, f"fleetgw ledger: {error}".splitlines())), file=sys.stderr, flush=True)
    return 2


def _page_of(file: Path) -> str:
    """The address of the metrics page of a gateway with this configuration.

    :raises CannotRead: the configuration is refused, or has no metrics page.
    """
    from fleetgw.adapters.text.addresses import address
    from fleetgw.app.config import load_config, render_problems
    from fleetgw.cli.gateway_client import host_to_reach
    from fleetgw.domain.errors import ConfigurationError

    try:
        monitoring = load_config(file, os.environ).config.monitoring
    except ConfigurationError as error:
        raise CannotRead(render_problems(error.problems)) from error
    port = monitoring.prometheus_metrics_port
    if not port:
        raise CannotRead(
            f"{file}: monitoring.prometheus_metrics_port is 0, so that the gateway has no metrics page to read the accounts"
            " from; set it, such as to 9090, and start the gateway again"
        )
    return f"http://{address(host_to_reach(monitoring.prometheus_metrics_host), port)}{_PATH}"


def _page_at(text: str) -> str:
    """The address of the metrics page at a URL.

    :raises CannotRead: it is no URL of a page.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_page = False
    if not is_page:
        raise CannotRead(f"--url {text!r} is no address of a page; write one such as http://127.0.0.1:9090{_PATH}")
    return parts._replace(path=_PATH).geturl() if parts.path in ("", "/") else text


def _read(url: str) -> Ledger:
    """Read the ledger from a metrics page.

    :raises CannotRead: the page does not answer, or has no ledger.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    from fleetgw.adapters.metrics.ledger import ledger_of_page
    from fleetgw.domain.ledger import NoLedger

    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_S) as answer:  # a gateway is not behind a proxy
            page = answer.read().decode("utf-8", "replace")
    except HTTPError as error:
        raise CannotRead(f"{url} answers with HTTP status {error.code}; it is not the metrics page of a gateway") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise CannotRead(
            f"{url} cannot be read: {reason}; is the gateway running, and is this its monitoring.prometheus_metrics_port?"
        ) from error
    try:
        return ledger_of_page(page)
    except NoLedger as error:
        raise CannotRead(f"{url} has no ledger ({error}): the gateway is older than this command; start it anew") from error
    except ValueError as error:
        raise CannotRead(f"{url} is not the metrics page of a gateway: {error}") from error
