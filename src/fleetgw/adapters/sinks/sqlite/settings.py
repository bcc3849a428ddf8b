"""The section ``sqlite``, and the checked settings of the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from attrs import frozen
from msgspec import Meta

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import Natural, Pause, Seconds, Settings

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext

DEFAULT_PATH = "fleetgw.sqlite3"


class Sqlite(Settings, frozen=True, kw_only=True):
    """One SQLite file, the embedded default: no broker needed. Every key has a default."""

    path: Annotated[
        Path | None,
        Meta(
            description="The file; created where it does not exist, its folder is not. "
            "Default: `fleetgw.sqlite3` in the working directory."
        ),
    ] = None
    retention_days: Annotated[Seconds, Meta(description="Days that a record is kept; 0: no limit.")] = 0
    max_size_mb: Annotated[
        Natural,
        Meta(
            description="Megabytes (10^6 bytes) that the file may hold, before the oldest records are deleted; 0: no limit."
        ),
    ] = 4096
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(description="`full`: confirmed records survive a power cut; `normal`: faster, it may lose the last commits."),
    ] = "full"
    write_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its commit.")] = 30


@frozen
class StoreSettings:
    """The settings of the file.

    :ivar retention_days: greatest age of a record; 0: no limit.
    :ivar max_size_mb: greatest size of the contents, in 10^6 bytes; 0: no limit.
    :ivar write_timeout_s: longest time until a record is committed; half of it may pass while another program has the lock.
    """

    path: Path
    synchronous: str
    retention_days: float
    max_size_mb: float
    write_timeout_s: float


def read_settings(context: SinkContext) -> StoreSettings:
    """Read the section; every setting has a default.

    :raises ConfigurationError: a setting is unknown, of the wrong type or out of range.
    """
    section = typed(Sqlite, context.settings, context.name)
    return StoreSettings(
        path=section.path or Path(DEFAULT_PATH),
        synchronous=section.synchronous,
        retention_days=section.retention_days,
        max_size_mb=section.max_size_mb,
        write_timeout_s=section.write_timeout_s,
    )
