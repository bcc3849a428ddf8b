"""``fleetgw check-config``: whether the gateway would start with a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Check a configuration without starting anything, and print the effective configuration: every key, with defaults, secrets
masked. All problems are listed at once on standard error, each with its path and its remedy.

It needs the files that the configuration names, and no broker. The exit status is 0 when the gateway would start with it,
also where there are warnings, else 2.
"""

_EXAMPLES = """\
example:
  fleetgw check-config config.json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check-config",
        help="check a configuration and print what is in effect",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; 0 or 2."""
    from fleetgw.app.service.service_maker import check

    return check(arguments.file)
