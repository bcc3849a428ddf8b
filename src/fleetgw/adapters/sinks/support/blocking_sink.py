"""A sink whose client blocks: a thread writes all waiting records at once, one write at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.errors import DeliveryError, NotConnected
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record


class BlockingSink(LifecycleSink):
    """Collects records while a write is under way, and writes them together in the next one (group commit).

    A subclass gives ``write``. The sink is ready until a write fails for all of its records, and again once one succeeds.
    """

    def __init__(self, context: SinkContext, *, timeout_s: float = 30.0, metrics: PublishMetrics | None = None) -> None:
        super().__init__(context, timeout_s=timeout_s, metrics=metrics)
        self._waiting: list[Dispatch] = []
        self._writing: list[Dispatch] = []

    @abstractmethod
    def write(self, records: Sequence[Record]) -> Sequence[Outcome] | None:
        """Write records, and return once they are delivered; called in a thread, one call at a time.

        :return: an outcome per record, or None where all are delivered.
        :raises DeliveryError: the outcome of all records. Any other exception counts as ``NotConnected``.
        """

    def deliver(self, dispatch: Dispatch) -> None:
        """Queue records for the next write."""
        self._waiting.append(dispatch)
        self._write_next()

    def abandon(self) -> None:
        """Write nothing more; a write under way ends by itself."""
        self._waiting = []

    def timed_out(self, dispatch: Dispatch) -> None:
        """See ``LifecycleSink``. Records that wait for the next write are not written any more."""
        if dispatch in self._waiting:
            self._waiting.remove(dispatch)
        super().timed_out(dispatch)

    def _write_next(self) -> None:
        if self._waiting and not self._writing:
            self._writing, self._waiting = self._waiting, []
            records = [record for dispatch in self._writing for record in dispatch.batch]
            self._context.reactor.callInThread(self._write_in_thread, records)

    def _write_in_thread(self, records: Sequence[Record]) -> None:
        try:
            result = self.write(records)
            outcomes = [RECEIPT] * len(records) if result is None else result
            if len(outcomes) != len(records):
                raise NotConnected(f"{len(outcomes)} outcomes for {len(records)} records")
        except DeliveryError as error:
            outcomes = [error] * len(records)
        except Exception as error:  # of any kind: it becomes the records' outcome
            outcomes = [NotConnected(f"{type(error).__name__}: {error}")] * len(records)
        self._context.reactor.callFromThread(self._written, outcomes)

    def _written(self, outcomes: Sequence[Outcome]) -> None:
        if RECEIPT in outcomes:
            self.destination.ready()
        elif isinstance(outcomes[0], NotConnected):
            self.destination.not_ready(str(outcomes[0]))
        written, self._writing = self._writing, []
        start = 0
        for dispatch in written:
            end = start + len(dispatch.batch)
            self.settle_all(dispatch, outcomes[start:end])
            start = end
        self._write_next()
