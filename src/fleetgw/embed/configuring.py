"""Checks the configuration object of a program."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.app.config import BUILT_IN_SINKS, Config, check_config, parse_config
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.records import RECORD_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fleetgw.app.config import LoadedConfig

SINK = "embedded"
"""The name that routes records to the program's listeners."""


def load(config: Mapping[str, object] | Config, environ: Mapping[str, str], base_dir: Path) -> LoadedConfig:
    """Check a configuration. Reads files.

    :param config: the keys of the configuration file, with paths as text or ``Path``; without ``records``, all known record
        types go to the listeners. Or a typed configuration, which is used as it is.
    :param base_dir: the folder of relative paths in ``config``; a typed configuration's paths are used as they are.
    :raises ConfigurationError: it has problems; carries all of them.
    """
    if isinstance(config, Config):
        return check_config(config, environ, available_sinks=BUILT_IN_SINKS)
    members = {"records": {record_type: [SINK] for record_type in RECORD_TYPES}, **config}
    try:
        text = json.dumps(members, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        problem = Problem("", f"cannot be written as JSON: {error}", "use what JSON has, and Path")
        raise ConfigurationError([problem]) from error
    return parse_config(text, environ, base_dir, available_sinks=BUILT_IN_SINKS)


@frozen
class ProgramConfiguration:
    """A program's configuration object, as ``load`` takes it."""

    config: Mapping[str, object] | Config
    environ: Mapping[str, str]
    base_dir: Path

    def load(self) -> LoadedConfig:
        """See the function ``load``."""
        return load(self.config, self.environ, self.base_dir)

    def check(self, config: Config) -> LoadedConfig:
        """See ``check_config``."""
        return check_config(config, self.environ, available_sinks=BUILT_IN_SINKS)


def _plain(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    try:
        return dict(value)  # type: ignore[call-overload]  # another kind of Mapping, or else TypeError
    except (TypeError, ValueError):
        raise TypeError(f"it holds {value!r}") from None
