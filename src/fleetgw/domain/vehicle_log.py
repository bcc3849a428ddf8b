"""Log lines that vehicles cause: rate limited by vehicle and kind, over all connections of a vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.domain.line_limit import LINES, LineLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ILog


@define
class VehicleLog:
    """Writes log lines within ``LineLimit``.

    A line that follows others that were left out has their number as the field ``more_unwritten``. The other fields come
    from a callable, which is called only for a line that is written.

    :ivar monotonic: seconds, never going back.
    """

    log: ILog
    monotonic: Callable[[], float]
    _limit: LineLimit = field(factory=LineLimit)

    def warn_once(self, event: str, vin: str, fields: Callable[[], dict[str, object]]) -> None:
        """Write a warning, unless one of this kind was written within the interval."""
        if (more := self._admit(event, vin, 1)) is not None:
            self.log.warn(event, **fields(), **more)

    def warn(self, event: str, vin: str, fields: Callable[[], dict[str, object]]) -> None:
        """Write a warning, within the limit."""
        if (more := self._admit(event, vin)) is not None:
            self.log.warn(event, **fields(), **more)

    def info(self, event: str, vin: str, fields: Callable[[], dict[str, object]]) -> None:
        """Write an event of normal operation, within the limit; does nothing when the log writes no such events."""
        if self.log.info_enabled and (more := self._admit(event, vin)) is not None:
            self.log.info(event, **fields(), **more)

    def error(self, event: str, vin: str, fields: Callable[[], dict[str, object]]) -> None:
        """Write an error, within the limit."""
        if (more := self._admit(event, vin)) is not None:
            self.log.error(event, **fields(), **more)

    def _admit(self, event: str, vin: str, lines: int = LINES) -> dict[str, int] | None:
        return self._limit.fields(event, vin, self.monotonic(), lines)
