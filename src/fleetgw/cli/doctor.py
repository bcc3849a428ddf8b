"""``fleetgw doctor``: checks of everything that a gateway needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fleetgw.app.config import LoadedConfig
    from fleetgw.app.doctor.checkup import Diagnosis
    from fleetgw.app.service.composition import IGatewayReactor
    from fleetgw.domain.errors import ConfigurationError

_DESCRIPTION = """\
Check everything that a gateway with this configuration needs: certificates, ports, open files, memory, the clock, and the
broker of every sink that records are routed to. Prints each finding with its remedy. The doctor publishes nothing and
leaves nothing behind; the gateway may run meanwhile.

It needs the configuration, on the machine of the gateway. The exit status is 0 when everything works, 1 when something does
not, 2 when the configuration is refused.
"""

_EXAMPLES = """\
examples:
  fleetgw doctor --config config.json
  fleetgw doctor --config config.json --json | jq '.checks[] | select(.works | not)'
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="check brokers, certificates, ports and limits",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, required=True, help="the configuration")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the checks; 0, 1 or 2."""
    from fleetgw.app.config import load_config
    from fleetgw.domain.errors import ConfigurationError

    try:
        loaded = load_config(arguments.config, os.environ)
    except ConfigurationError as error:
        _refuse(error, arguments.config, json=arguments.json)
        return 2
    from fleetgw.app.config import secrets_in
    from fleetgw.app.doctor.report import as_json, print_table, without_secrets
    from fleetgw.cli.console import table_console

    diagnoses = without_secrets(_examined(loaded), secrets_in(loaded.config))
    if arguments.json:
        print(as_json(str(arguments.config), diagnoses))
    else:
        print_table(diagnoses, table_console(120))
    return 0 if all(diagnosis.works for diagnosis in diagnoses) else 1


def _refuse(error: ConfigurationError, file: Path, *, json: bool) -> None:
    if json:
        from fleetgw.app.doctor.report import refusal_as_json

        print(refusal_as_json(str(file), error.problems))
        return
    from fleetgw.adapters.text.terminal import has_colours
    from fleetgw.app.config import render_problems

    print(render_problems(error.problems, (), colour=has_colours(sys.stderr, os.environ)), file=sys.stderr)


def _examined(loaded: LoadedConfig) -> Sequence[Diagnosis]:
    """Run every check on the reactor, which runs until all have ended."""
    from fleetgw.app.doctor.allow_list import allow_list_checks
    from fleetgw.app.doctor.checkup import examine
    from fleetgw.app.doctor.host import host_checks
    from fleetgw.app.doctor.progress import Progress
    from fleetgw.app.doctor.sinks import sink_checks
    from fleetgw.app.service.on_reactor import run_on_reactor

    async def run_checks(reactor: IGatewayReactor) -> Sequence[Diagnosis]:
        config = loaded.config
        checks = [*host_checks(loaded, reactor), *allow_list_checks(config, reactor), *sink_checks(config, reactor)]
        with Progress([check.subject for check in checks]) as progress:
            return await examine(checks, reactor, progress.done)

    return run_on_reactor(run_checks)
