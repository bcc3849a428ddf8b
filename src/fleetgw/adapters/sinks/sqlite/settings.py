"""The sink's section, read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.sqlite.store import StoreSettings
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext

DEFAULT_PATH = "fleetgw.sqlite3"


def read_settings(context: SinkContext) -> StoreSettings:
    """Every setting has a default: a sink without a section works.

    :raises ConfigurationError: a setting is of the wrong type or out of range.
    """
    problems: list[Problem] = []

    def number(key: str, default: float) -> float:
        value = context.settings.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return value
        problems.append(Problem(f"{context.name}.{key}", f"is {value!r}", "must be a number from 0 on"))
        return default

    path = context.settings.get("path", DEFAULT_PATH)
    if not isinstance(path, str | Path) or not str(path):
        problems.append(Problem(f"{context.name}.path", f"is {path!r}", "must name a file"))
        path = DEFAULT_PATH
    synchronous = context.settings.get("synchronous", "full")
    if synchronous not in ("full", "normal"):
        problems.append(Problem(f"{context.name}.synchronous", f"is {synchronous!r}", 'must be "full" or "normal"'))
    settings = StoreSettings(
        path=Path(path),
        synchronous=str(synchronous),
        retention_days=number("retention_days", 0),
        max_size_mb=number("max_size_mb", 4096),
        write_timeout_s=number("write_timeout_s", 30),
    )
    if problems:
        raise ConfigurationError(problems)
    return settings
