"""The known state of a sink's destination."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.ports import NotReady, Readiness, Ready

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext

_READY = Ready()


class Destination:
    """Keeps a sink's readiness, and logs each change of it: ``sink_ready`` and ``sink_not_ready``.

    The log lines of a destination that comes and goes are bounded by ``LineLimit``. Stopping the sink logs nothing.

    :ivar readiness: the last known state, see ``IDispatcher.readiness``.
    """

    def __init__(self, context: SinkContext) -> None:
        self.readiness: Readiness = NotReady("not started")
        self._name = context.name
        self._log = context.log
        self._clock = context.reactor
        self._limit = LineLimit()
        self._confirmed_at_s = -math.inf
        self._stopped = False

    def ready(self) -> None:
        """The destination can be reached."""
        self.update(_READY)

    def not_ready(self, reason: str) -> None:
        """The destination cannot be reached.

        :param reason: for people; must not contain secrets.
        """
        self.update(NotReady(reason))

    def update(self, readiness: Readiness) -> None:
        """Set the current state; does nothing after ``stopped``."""
        if self._stopped:
            return
        before, self.readiness = self.readiness, readiness
        if type(before) is type(readiness):
            return
        event = "sink_ready" if isinstance(readiness, Ready) else "sink_not_ready"
        more = self._limit.fields(event, "", self._clock.seconds())
        if more is None:
            return
        if isinstance(readiness, NotReady):
            self._log.warn("sink_not_ready", dispatcher=self._name, error=readiness.reason, **more)
        else:
            self._log.info("sink_ready", dispatcher=self._name, **more)

    def stopped(self) -> None:
        """The sink stops, and stays not ready."""
        self.readiness = NotReady("stopped")
        self._stopped = True

    def confirmed(self) -> None:
        """The destination has confirmed a record."""
        self._confirmed_at_s = self._clock.seconds()

    def unanswered(self, timeout_s: float, reason: str = "") -> Retryable:
        """The outcome of a record that the destination has not answered in time.

        It is ``NotConnected``, or ``Retryable`` where other records were confirmed in the second half of that time: then
        the destination can be reached, and the fault concerns this record.

        :param reason: in place of the default, for people.
        """
        reason = reason or f"no answer within {timeout_s:g} s"
        if self._confirmed_at_s > self._clock.seconds() - timeout_s / 2:
            return Retryable(f"{reason}, while others were confirmed")
        return NotConnected(reason)
