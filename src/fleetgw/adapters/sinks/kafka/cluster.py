"""How a client of librdkafka stands with its brokers, pieced together from what it says now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from fleetgw.adapters.sinks.kafka.failures import MissingTopics
from fleetgw.domain.ports import RECEIPT, NotReady, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

_READY = Ready()

_CAUSE_CODES = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._TRANSPORT})
"""Why a broker cannot be used. That all of them are down comes after it, and says less."""


class Standing:
    """Whether the brokers can be reached, by the last word: a delivery, a broker's state, an error; and on each topic.

    :param servers: for people.
    :param topics: by record type.
    """

    def __init__(self, servers: str, topics: Mapping[str, str]) -> None:
        self._servers = servers
        self._missing = MissingTopics(topics)
        self._of_servers: Readiness = NotReady("not started")
        self._unconfirmed = False  # a record timed out: a connection alone is no good news until one is confirmed
        self._all_down = False
        self._cause = ""  # why, by the last word on one of the brokers

    def readiness(self) -> Readiness:
        """See ``IDispatcher``."""
        return self._missing.readiness(self._of_servers)

    @property
    def has_broker(self) -> bool:
        """Whether a broker can be reached, whatever is wrong with topics."""
        return isinstance(self._of_servers, Ready)

    def started(self) -> None:
        """The client has been made; it connects by itself."""
        self._of_servers = NotReady(f"no broker of {self._servers} has answered yet")

    def client_changed(self) -> None:
        """Another client has taken over: errors and time-outs of the client before it say nothing about this one.

        The last known readiness stays while it is good: it need not be lost when credentials rotate.
        """
        self._unconfirmed = self._all_down = False
        self._cause = ""
        if not self.has_broker:
            self.started()

    def stopped(self) -> None:
        """The client has gone."""
        self._of_servers = NotReady("stopped")

    def heard_error(self, error: KafkaError) -> None:
        """The client has met an error that concerns no record."""
        reason = f"{error.name()}: {error.str()}"
        code = error.code()
        if code in _CAUSE_CODES:
            self._cause = reason
        elif code == KafkaError._ALL_BROKERS_DOWN:
            self._all_down = True
            reason = self._cause or reason
        elif not error.fatal():
            return
        if self._all_down or error.fatal():
            self._of_servers = NotReady(f"{self._servers}: {reason}")

    def heard_statistics(self, statistics: str) -> None:
        """The client has written its statistics, JSON."""
        # of any broker; parsing the whole would cost more than the answer is worth
        if '"state":"UP"' in statistics:
            self._all_down, self._cause = False, ""
            if not self._unconfirmed:
                self._of_servers = _READY
        else:
            self._unconfirmed = False  # there was no broker: one that is there next is another matter

    def timed_out(self) -> None:
        """A record was not confirmed in time."""
        cause = f": {self._cause}" if self._all_down and self._cause else ""
        self._of_servers = NotReady(f"{self._servers} did not confirm in time{cause}")
        self._unconfirmed = True

    def topic_missing(self, record_type: str, reason: str) -> None:
        """A record's topic is missing, or not ours to write to."""
        self._missing.add(record_type, reason)

    def settled(self, batch: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Records have their outcomes."""
        if RECEIPT in outcomes:
            self._of_servers = _READY
            self._unconfirmed = False
            self._missing.settled(batch, outcomes)
