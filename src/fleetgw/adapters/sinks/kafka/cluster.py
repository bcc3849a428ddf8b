"""The known state of a Kafka cluster: whether its brokers can be reached, and which topics are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ports import RECEIPT, NotReady, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.adapters.sinks.support.destination import Destination
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

_READY = Ready()


class Cluster:
    """Tells a ``Destination`` about the brokers and topics, by the latest evidence from either Kafka client.

    A missing topic makes the destination not ready until a record is confirmed in it; other topics may work meanwhile.

    :param servers: the bootstrap servers, for people.
    :param topics: topic by record type.
    """

    def __init__(self, destination: Destination, servers: str, topics: Mapping[str, str]) -> None:
        self._destination = destination
        self._servers = servers
        self._topics = topics
        self._brokers: Readiness = NotReady("not started")
        self._needs_receipt = False
        self._missing: dict[str, str] = {}  # reason by record type

    @property
    def is_reachable(self) -> bool:
        """Whether a broker can be reached, whatever the state of the topics."""
        return isinstance(self._brokers, Ready)

    def started(self) -> None:
        """A client begins to connect."""
        self._update(NotReady(f"no broker of {self._servers} has answered yet"))

    def client_changed(self) -> None:
        """Another client takes over: errors and timeouts of the previous client prove nothing about this one.

        A ready destination stays ready, because credentials may rotate while all is well.
        """
        self._needs_receipt = False
        if not self.is_reachable:
            self.started()

    def connected(self) -> None:
        """A broker accepts connections; ignored after ``unusable``."""
        if not self._needs_receipt:
            self._update(_READY)

    def disconnected(self) -> None:
        """No broker is connected: the next connection counts as evidence again."""
        self._needs_receipt = False

    def unreachable(self, reason: str) -> None:
        """No broker can be reached.

        :param reason: for people; holds no secret.
        """
        self._update(NotReady(f"{self._servers}: {reason}"))

    def unusable(self, reason: str) -> None:
        """Brokers do not confirm records: until one is confirmed, an open connection alone does not count as ready."""
        self._needs_receipt = True
        self.unreachable(reason)

    def topic_missing(self, record_type: str, reason: str) -> None:
        """The topic of a record type is missing, or the sink may not write to it."""
        self._missing[record_type] = reason
        self._tell()

    def confirmed(self) -> None:
        """A record was confirmed."""
        if self._needs_receipt or self._brokers is not _READY:
            self._needs_receipt = False
            self._update(_READY)

    def settled(self, batch: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """A batch has its outcomes."""
        if RECEIPT not in outcomes:
            return
        if self._missing:
            for record, outcome in zip(batch, outcomes, strict=True):
                if outcome is RECEIPT:
                    self._missing.pop(record.record_type, None)
            self._tell()
        self.confirmed()

    def _update(self, brokers: Readiness) -> None:
        self._brokers = brokers
        self._tell()

    def _tell(self) -> None:
        if self._missing and self.is_reachable:
            record_type, reason = next(iter(self._missing.items()))
            self._destination.not_ready(f"topic {self._topics[record_type]}: {reason}")
        else:
            self._destination.update(self._brokers)
