"""Events of an MQTT session, as its owner receives them."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from attrs import frozen


@frozen
class BrokerLimits:
    """A broker's limits (MQTT 5, 3.2.2.3); brokers of earlier versions do not tell them.

    :ivar in_flight: publishes of QoS 1 and 2 that it accepts without an acknowledgement.
    :ivar packet_size_bytes: the largest packet.
    """

    in_flight: int
    packet_size_bytes: int


class EndCause(Enum):
    """The cause of the end of a session, as far as it is known."""

    UNKNOWN = auto()
    BY_BROKER = auto()
    """The broker has ended the session, possibly because of a packet that we sent."""
    REFUSED = auto()
    """The broker has refused the session, and does not say that this is temporary."""
    TAKEN_OVER = auto()
    """The broker says that another client has taken the session over."""
    STALLED = auto()
    """The sink has cut the session, because a record was not confirmed in time."""


@frozen
class SessionEnd:
    """The end of a session, or of an attempt to begin one.

    :ivar reason: for people.
    :ivar lasted_s: seconds since the broker accepted the session; None when it never did.
    """

    reason: str
    cause: EndCause = EndCause.UNKNOWN
    lasted_s: float | None = None


class SessionOwner(Protocol):
    """Receives the events of a session. After ``session_ended`` nothing is called."""

    def session_opened(self, limits: BrokerLimits) -> None:
        """The broker has accepted the session."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """The broker has confirmed publishes, or refused them: packet identifiers and reason codes."""

    def session_resumed(self) -> None:
        """The connection takes data again, after ``paused``."""

    def session_ended(self, end: SessionEnd) -> None:
        """The session has ended, or was never accepted."""
