"""``fleetgw config-schema``: the configuration's JSON Schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Print a JSON Schema of the configuration, for editors that complete and check as you type.

It needs nothing. The exit status is 0.
"""

_EXAMPLES = """\
example:
  fleetgw config-schema > fleetgw.schema.json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "config-schema",
        help="print a JSON Schema of the configuration",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Print it; 0."""
    from fleetgw.app.config import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
