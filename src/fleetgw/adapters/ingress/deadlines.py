"""Deadlines of one connection. Pure: takes the time as an argument and returns the step to take."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.limits import IngressLimits

CLOSE_TIMEOUT_S = 5.0
"""Longest wait for the peer's close frame before the connection is cut."""


class Stage(Enum):
    """State of a connection."""

    UPGRADE = 1
    OPEN = 2
    CLOSING = 3


@frozen
class Ping:
    """Ping a silent peer."""


@frozen
class Cut:
    """Cut the connection, and log ``event`` with the reason."""

    event: str
    reason: str


@frozen
class Close:
    """Begin the closing handshake, because a message was not complete in time."""

    reason: str


@frozen
class Abort:
    """Cut a connection whose closing handshake takes too long."""


Step = Ping | Cut | Close | Abort


class Deadlines:
    """Checks the deadlines of one connection.

    :ivar stage: the current stage.
    :ivar stage_since: monotonic time of its start.
    """

    __slots__ = ("_pinged_at", "_unsent_since", "stage", "stage_since")

    def __init__(self, now: float) -> None:
        self.stage = Stage.UPGRADE
        self.stage_since = now
        self._pinged_at = 0.0
        self._unsent_since: float | None = None

    def enter(self, stage: Stage, now: float) -> None:
        """Change the stage; harmless when it is the current one."""
        if self.stage is not stage:
            self.stage = stage
            self.stage_since = now

    def check(
        self,
        limits: IngressLimits,
        now: float,
        *,
        heard_at: float,
        unsent_bytes: int,
        incomplete_since: float | None,
        is_paused: bool,
    ) -> Step | None:
        """Check all deadlines; called about once a second.

        :param heard_at: time of the last read.
        :param unsent_bytes: number of bytes of replies that the socket has not accepted.
        :param incomplete_since: time of the first byte of an incomplete message; None between messages.
        :param is_paused: whether the session has paused reading: the vehicle cannot be heard. It is still pinged, as a
            write to a vehicle that has gone fails, and ends the connection.
        :return: None when no deadline has passed.
        """
        if self.stage is Stage.CLOSING:
            return Abort() if now - self.stage_since > CLOSE_TIMEOUT_S else None
        if self.stage is Stage.UPGRADE:
            if 0 < limits.handshake_timeout_s < now - self.stage_since:
                return Cut("handshake_timeout", f"no upgrade within {limits.handshake_timeout_s:g} s")
            return None
        if 0 < limits.write_timeout_s < self._unsent_for_s(now, unsent_bytes):
            return Cut("replies_not_read", f"replies could not be sent for {limits.write_timeout_s:g} s")
        if is_paused:
            return self._ping_if_silent(limits, now, max(heard_at, self._pinged_at))
        if incomplete_since is not None and 0 < limits.message_timeout_s < now - incomplete_since:
            return Close(f"a message was not complete within {limits.message_timeout_s:g} s")
        if self._pinged_at > heard_at:
            if 0 < limits.ping_timeout_s < now - self._pinged_at:
                return Cut("ping_timeout", f"silent for {now - heard_at:.0f} s")
            return None
        return self._ping_if_silent(limits, now, heard_at)

    def _ping_if_silent(self, limits: IngressLimits, now: float, since: float) -> Ping | None:
        if 0 < limits.ping_after_s < now - since:
            self._pinged_at = now
            return Ping()
        return None

    def _unsent_for_s(self, now: float, unsent_bytes: int) -> float:
        """Seconds for which every check has found unsent replies; 0 when there are none."""
        if not unsent_bytes:
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now
        return 0.0 if self._unsent_since is None else now - self._unsent_since
