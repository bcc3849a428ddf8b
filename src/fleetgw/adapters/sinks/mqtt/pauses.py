"""Backoff between attempts to connect. No I/O and no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

FIRST_PAUSE_S = 0.5
"""Pause before the first reconnect; doubled up to ``connect_retry_interval_ms``."""

LONGEST_WHILE_RECORDS_WAIT_S = 1.0
"""Longest pause between attempts that do not reach the broker, while records wait."""

SHORT_SESSION_S = 15.0
SHORT_SESSIONS = 3
"""Consecutive sessions that the broker ends this early indicate another client with our identifier."""

LASTING_SESSION_S = 60.0


class ReconnectPauses:
    """Pauses between connections: growing while the broker refuses or ends sessions, short while it is not reached.

    :ivar contested: another client seems to use our client identifier, so that each of the two ends the other's session.
    """

    def __init__(self, interval_s: float, random: Random) -> None:
        first_s = min(FIRST_PAUSE_S, interval_s)
        self.contested = False
        self._random = random
        self._unreached = Backoff(first_s, interval_s)
        self._ended = Backoff(first_s, interval_s)
        self._short_sessions = 0
        self._last_s = 0.0

    def not_reached(self, *, records_wait: bool) -> float:
        """An attempt did not reach the broker: the pause before the next one, seconds."""
        self._short_sessions = 0
        self.contested = False
        pause_s = self._unreached.failed(self._random.random())
        if records_wait and pause_s > LONGEST_WHILE_RECORDS_WAIT_S:
            pause_s = self.while_records_wait_s()
        return pause_s

    def while_records_wait_s(self) -> float:
        """A pause of at most a second, or less where the configured interval is shorter."""
        longest_s = min(LONGEST_WHILE_RECORDS_WAIT_S, self._unreached.max_s)
        return longest_s * (1 - self._random.random() / 2)

    def refused(self) -> float:
        """The broker has refused a session: the pause before the next attempt, seconds."""
        self._unreached.succeeded()
        return self._ended.failed(self._random.random())

    def over_a_record(self) -> None:
        """The broker seems to have ended a session over a record, and not for another client."""
        self._short_sessions = 0
        self.contested = False

    def ended(self, lasted_s: float, *, by_broker: bool, taken_over: bool) -> float:
        """A session has ended: the pause before the next attempt, seconds.

        :param by_broker: the broker has ended it, for an unknown reason.
        :param taken_over: the broker has ended it because another client has taken it over.
        """
        self._unreached.succeeded()
        if taken_over or (by_broker and lasted_s < SHORT_SESSION_S):
            self._short_sessions += 1
        elif lasted_s >= LASTING_SESSION_S:
            self._short_sessions = 0
        self.contested = taken_over or self._short_sessions >= SHORT_SESSIONS
        # A session that ends at once is no success. Two clients with one identifier back off alike.
        if lasted_s > (LASTING_SESSION_S if self.contested else self._last_s):
            self._ended.succeeded()
        self._last_s = self._ended.failed(self._random.random())
        return self._last_s
