"""The folder that a command is about, and what it tells about the folder's faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fleetgw.app.config import Config
    from fleetgw.domain.errors import Problem


class CannotUse(Exception):
    """The command cannot do its work; ``str()`` is the reason and the remedy.

    :ivar status: the exit status: 1 for a failure, 2 when the command cannot work as given.
    """

    def __init__(self, what: str, status: int = 1) -> None:
        super().__init__(what)
        self.status = status


def add_place(parser: argparse.ArgumentParser, section: str) -> None:
    """Add the arguments that name the folder of a section of the configuration."""
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", metavar="FILE", type=Path, help=f"the configuration; its {section}.path is the folder")
    place.add_argument("--path", metavar="DIR", type=Path, help="the folder itself")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def place_of(arguments: argparse.Namespace, section: str) -> str:
    """The folder that the arguments name.

    :raises CannotUse: there is no such folder.
    """
    path = arguments.path
    if path is None:
        found = getattr(config_of(arguments.config), section)
        if found is None:
            raise CannotUse(f'{arguments.config} has no section "{section}"; add it, or name a folder with --path', 2)
        path = found.path
    if not path.is_dir():
        key = "--path" if arguments.path is not None else f"{section}.path"
        what = "is not a folder" if path.exists() else "does not exist: the gateway makes it at its first start"
        raise CannotUse(f"{key}: {path} {what}", 2)
    return str(path)


def config_of(file: Path) -> Config:
    """The configuration in a file.

    :raises CannotUse: it cannot work.
    """
    from fleetgw.app.config import load_config
    from fleetgw.domain.errors import ConfigurationError

    try:
        return load_config(file, os.environ).config
    except ConfigurationError as error:
        raise CannotUse(problems_as_text(error.problems), 2) from error


def problems_as_text(problems: Sequence[Problem]) -> str:
    """A line for each problem."""
    return "\n".join(map(str, problems))


def run_safely(command: str, arguments: argparse.Namespace) -> int:
    """Run ``arguments.do``; its exit status. Errors of the folder become a line on standard error."""
    import apsw

    from fleetgw.adapters.spool.database import NewerVersion
    from fleetgw.adapters.text.terminal import printable

    try:
        return int(arguments.do(arguments))
    except CannotUse as error:
        lines, status = str(error).splitlines(), error.status
    except NewerVersion as error:
        what = f"the files are of format version {error.args[0]}, which this version of fleetgw does not know"
        lines, status = [f"{what}; use the version that wrote them"], 2
    except (apsw.Error, OSError) as error:
        lines, status = [f"the files cannot be read: {error}"], 1
    for line in lines:
        print(printable(f"fleetgw {command}: {line}"), file=sys.stderr)
    return status
