"""A sink's error events at a bounded rate: a destination that is down must not flood the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.line_limit import LineLimit

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.ports import ILog


class FailureLog:
    """Writes each kind of error at most once in ten seconds, with the number of those left out before.

    :param event: the event's name, such as ``mqtt_publish_error``.
    """

    def __init__(self, log: ILog, event: str, clock: IReactorTime) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._limit = LineLimit()

    def add(self, kind: str, reason: str, **fields: object) -> None:
        """Log an error, unless one of its kind was logged less than ten seconds ago.

        :param kind: one of a closed set, such as the name of an error code.
        :param reason: for people.
        :param fields: further fields of the event, JSON-able.
        """
        unwritten = self._limit.admit(kind, "", self._clock.seconds(), 1)
        if unwritten is not None:
            self._log.error(self._event, error=reason, kind=kind, more_unwritten=unwritten, **fields)
