"""``fleetgw top``: a running gateway at a glance, on the whole screen."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from fleetgw.cli.gateway_client import GatewayError, add_gateway_options, run_with_client

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/overview"
_STREAM = "/api/overview/stream"
_RETRY_S = 2.0

_DESCRIPTION = """\
Show a running gateway on the whole screen, drawn anew each second: vehicles, records and acknowledgements a second, latency
of acknowledgements, sinks with their lanes, the spool, the ledger, refusals, certificates. It fits itself to the terminal. A
gateway that goes away is asked again until it is back. q or Ctrl-C ends it.

With --once, and where standard output is no terminal or a dumb one, it prints the overview once. With --json it prints
overviews as JSON, one a line and second; with --once as well, one.

It needs status_port in the gateway's configuration, and no token. The exit status is 0, or 2 when the gateway cannot be
asked.
"""

_EXAMPLES = """\
examples:
  fleetgw top --config config.json
  fleetgw top --url http://127.0.0.1:8080 --once
  fleetgw top --config config.json --json | jq --unbuffered .vehicles.connected
  fleetgw top --config config.json --json --once | jq '.sinks[] | select(.state != "ready")'
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "top",
        help="watch vehicles, rates, sinks and ledger on the whole screen",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_gateway_options(parser)
    parser.add_argument("--once", action="store_true", help="print the overview once, and end")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the overview, once or until interrupted; returns the exit status."""
    from fleetgw.cli.interruption import until_interrupted

    show = _print_json if arguments.json else _show
    with until_interrupted():
        return run_with_client(arguments, partial(show, once=arguments.once))
    return 0


def _print_json(client: GatewayClient, *, once: bool) -> int:
    from fleetgw.adapters.text.terminal import json_text

    if once:
        print(json_text(client.get_json(_PATH), None))
        return 0
    for overview in client.stream_events(_STREAM):
        print(json_text(overview, None), flush=True)
    raise client.stream_ended()


def _show(client: GatewayClient, *, once: bool) -> int:
    from fleetgw.cli.console import table_console
    from fleetgw.cli.gateway_answers import read_as
    from fleetgw.cli.overview import Overview
    from fleetgw.cli.overview_screen import OverviewScreen

    console = table_console(120)
    overview = read_as(Overview, client.get_json(_PATH), client)
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(OverviewScreen(overview), end="")
        return 0
    from rich.live import Live

    with _keys(), Live(OverviewScreen(overview, is_full=True), console=console, screen=True) as live:
        trouble = None
        for answer, trouble in _looks(client):
            if trouble is None:
                overview = read_as(Overview, answer, client)
            live.update(OverviewScreen(overview, is_full=True, trouble=trouble))
    return 0


def _looks(client: GatewayClient) -> Iterator[tuple[Any, str | None]]:
    """Overviews for ever, each of any shape; while the gateway cannot be asked, the reason in place of one.

    :raises GatewayError: it refuses to answer.
    """
    while True:
        try:
            for overview in client.stream_events(_STREAM):
                yield overview, None
            trouble = f"{client.url} has ended the stream"
        except GatewayError as error:
            if error.code is not None:
                raise
            trouble = str(error)
        yield None, trouble
        time.sleep(_RETRY_S)


@contextmanager
def _keys() -> Iterator[None]:
    """Make q end the command as Ctrl-C does, and every end restore the terminal."""
    before = signal.signal(signal.SIGQUIT, signal.default_int_handler)
    ends = {each: signal.signal(each, _end) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with _terminal_input():
            yield
    finally:
        signal.signal(signal.SIGQUIT, before)
        for number, handler in ends.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def _terminal_input() -> Iterator[None]:
    """Let the terminal send SIGQUIT for q, show no keys, and suspend nothing: a suspended command keeps its screen."""
    import os
    import termios

    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    changed = termios.tcgetattr(terminal)
    changed[3] &= ~(termios.ECHO | termios.ICANON)
    changed[6][termios.VQUIT] = b"q"
    changed[6][termios.VSUSP] = bytes([os.fpathconf(terminal, "PC_VDISABLE")])
    termios.tcsetattr(terminal, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
