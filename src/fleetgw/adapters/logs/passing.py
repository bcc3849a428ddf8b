"""A log that passes its events to another one."""

from __future__ import annotations

from zope.interface import implementer

from fleetgw.domain.ports import ILog


@implementer(ILog)
class PassingLog:
    """Passes every event to another log. Subclasses add to the methods of some levels."""

    def __init__(self, log: ILog) -> None:
        self._log = log

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
        """Write an event that an operator should look at now."""
        self._log.error(event, **fields)
