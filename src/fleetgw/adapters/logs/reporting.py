"""A log that passes its errors to an error reporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.logs.passing import PassingLog

if TYPE_CHECKING:
    from fleetgw.domain.ports import IErrorReporter, ILog


class ReportingLog(PassingLog):
    """Writes every event to another log, and passes the error events to a reporter."""

    def __init__(self, log: ILog, reporter: IErrorReporter) -> None:
        super().__init__(log)
        self._reporter = reporter

    def error(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at now, and report it."""
        super().error(event, **fields)
        self._reporter.report(event, fields)
