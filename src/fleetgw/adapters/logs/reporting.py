"""A log that passes its errors to an error reporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.domain.ports import ILog

if TYPE_CHECKING:
    from fleetgw.domain.ports import IErrorReporter


@implementer(ILog)
class ReportingLog:
    """Writes every event to another log, and passes the error events to a reporter."""

    def __init__(self, log: ILog, reporter: IErrorReporter) -> None:
        self._log = log
        self._reporter = reporter

    @property
    def debug_enabled(self) -> bool:
        """Whether ``debug`` writes."""
        return bool(self._log.debug_enabled)

    @property
    def info_enabled(self) -> bool:
        """Whether ``info`` writes."""
        return bool(self._log.info_enabled)

    def debug(self, event: str, **fields: object) -> None:
        """Write an event for developers."""
        self._log.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Write an event of normal operation."""
        self._log.info(event, **fields)

    def warn(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at eventually."""
        self._log.warn(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at now, and report it."""
        self._log.error(event, **fields)
        self._reporter.report(event, fields)
