"""A batch under way to Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.kafka.metrics import KafkaNumbers, totals
from fleetgw.adapters.sinks.support.dispatch import Answer
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.records import Record

GIVEN_UP = Retryable("the sink stopped before Kafka answered")
NOT_RUNNING = NotConnected("the Kafka sink is not running")


class Delivery:
    """One ``dispatch`` under way. A record that nobody has reported on counts as given up, never as delivered.

    :ivar batch: its records.
    :ivar outcomes: one per record; written by the sink's delivery reports.
    :ivar unsettled: how many records have no report yet.
    :ivar answer: what ``dispatch`` returned.
    """

    __slots__ = ("_produced", "answer", "batch", "outcomes", "unsettled")

    def __init__(self, batch: Sequence[Record]) -> None:
        self.batch = batch
        self.outcomes: list[Outcome] = [GIVEN_UP] * len(batch)
        self.unsettled = len(batch)
        self.answer = Answer()
        self._produced: tuple[tuple[str, int, int], ...] = ()

    def count_produced(self, numbers: KafkaNumbers) -> None:
        """Count the records that the client has taken; to be called when all were offered and none was reported on."""
        batch = self.batch
        if self.unsettled != len(batch):
            batch = [record for record, outcome in zip(batch, self.outcomes, strict=True) if outcome is GIVEN_UP]
        self._produced = totals(batch)
        numbers.produced(self._produced)

    def finish(self, numbers: KafkaNumbers) -> None:
        """Count the records that Kafka has confirmed, and answer."""
        confirmed = self._produced
        if self.outcomes.count(RECEIPT) < len(self.outcomes):
            confirmed = totals(
                record for record, outcome in zip(self.batch, self.outcomes, strict=True) if outcome is RECEIPT
            )
        numbers.confirmed(confirmed)
        self.answer.callback(self.outcomes)
