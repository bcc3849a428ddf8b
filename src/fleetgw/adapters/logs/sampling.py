"""A log that samples repeated warnings and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.logs.cutting import UNCUT_FIELDS
from fleetgw.adapters.logs.passing import PassingLog
from fleetgw.domain.line_limit import LineLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ILog

SAMPLED_LINES = 100
"""Largest number of lines of one event and sink in ten seconds."""

UNWRITTEN = "more_unwritten"
"""The field with the number of like events that were left out before a line."""


class SamplingLog(PassingLog):
    """Passes events to another log, warnings and errors at a bounded rate for each event and sink.

    A line that follows others that were left out has their number as ``more_unwritten``. A line that may be the last copy
    of a record (``UNCUT_FIELDS``) is always written. Limits of other parts, such as that on the lines of one vehicle, come
    before this one; this one bounds the lines of ten thousand vehicles with the same fault.
    """

    def __init__(self, log: ILog, monotonic: Callable[[], float]) -> None:
        super().__init__(log)
        self._monotonic = monotonic
        self._limit = LineLimit()

    def warn(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at eventually, within the limit."""
        if self._admits(event, fields):
            super().warn(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at now, within the limit."""
        if self._admits(event, fields):
            super().error(event, **fields)

    def _admits(self, event: str, fields: dict[str, object]) -> bool:
        if not UNCUT_FIELDS.isdisjoint(fields):
            return True
        sink = str(fields.get("dispatcher", ""))
        unwritten = self._limit.admit(event, sink, self._monotonic(), SAMPLED_LINES)
        if unwritten:
            before = fields.get(UNWRITTEN, 0)
            fields[UNWRITTEN] = unwritten + (before if isinstance(before, int) else 0)
        return unwritten is not None
