"""How a sink's errors reach the log: a destination that is down must not flood it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.ports import ILog

LOG_INTERVAL_S = 10.0


class FailureLog:
    """Writes each kind of error at most once in ten seconds, and then says how many were left out.

    :param event: the event's name, such as ``mqtt_publish_error``.
    """

    def __init__(self, log: ILog, event: str, clock: IReactorTime) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._written_at_s: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}

    def add(self, kind: str, reason: str, **fields: object) -> None:
        """Note one error.

        :param kind: of a closed set, such as the name of an error code.
        :param reason: for people.
        :param fields: more members of the event, JSON-able.
        """
        now_s = self._clock.seconds()
        if now_s - self._written_at_s.get(kind, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            self._unwritten[kind] = self._unwritten.get(kind, 0) + 1
            return
        self._written_at_s[kind] = now_s
        unwritten = self._unwritten.pop(kind, 0)
        self._log.error(self._event, error=reason, kind=kind, more_unwritten=unwritten, **fields)
