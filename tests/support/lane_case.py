"""Base of the tests of a lane: a scripted sink and a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: a sink under test may answer with anything
from unittest import TestCase

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.ports import IDispatcher, Outcome
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, make_record
from tests.support.books import assert_balanced
from tests.support.lane_sink import LaneSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.memory_budget import Share
    from fleetgw.domain.ports import IDeadLetters
    from fleetgw.domain.records import Record

LIMITS = BacklogLimits(queue_records=100, queue_bytes=10_000, in_flight_records=8, batch_records=4)
TIMING = LaneTiming(linger_s=0.005, retry_initial_s=1.0, retry_max_s=30.0, drain_s=10.0)


@implementer(IDispatcher)
class ScriptedSink(LaneSink):
    """A sink that keeps each batch with its Deferred until ``answer``; ``answer_with`` answers at once."""

    name = "scripted"

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], Deferred[Any]]] = []
        self.answer_with: Any = None

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Keep a batch until ``answer``, unless ``answer_with`` answers it."""
        answer: Deferred[Any] = Deferred()
        self.batches.append(([record.txid.decode() for record in batch], answer))
        if callable(self.answer_with):
            made: Deferred[Sequence[Outcome]] = self.answer_with(batch)
            return made
        return answer

    @property
    def txids(self) -> list[list[str]]:
        """The txids of each batch."""
        return [txids for txids, _ in self.batches]

    def answer(self, number: int, *outcomes: object) -> None:
        """Answer a batch; one outcome stands for all."""
        txids, answer = self.batches[number]
        answer.callback(list(outcomes) * len(txids) if len(outcomes) == 1 else list(outcomes))


class Origin:
    """An origin that notes the confirmed txids of each call."""

    def __init__(self) -> None:
        self.confirmed_txids: list[list[str]] = []

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``."""
        self.confirmed_txids.append([record.txid.decode() for record in records])

    def refused(self, _record: Record) -> bool:
        """See ``AwaitsConfirmation``: the vehicle resends the record."""
        return True


class LaneCase(TestCase):
    """Has a lane over a scripted sink.

    :ivar lost: number of records that must be lost in the end; those whose vehicle does not resend them.
    """

    lost = 0

    dead_letters: IDeadLetters | None = None

    def setUp(self) -> None:
        """Make the lane."""
        self.sink = ScriptedSink()
        self.clock = Clock()
        self.log = ReadableLog()
        self.origin = Origin()
        self.lane = self.make(LIMITS)

    def tearDown(self) -> None:
        """Check that the books balance."""
        if self.lane.accounts:  # it has taken or refused records
            assert_balanced(self.metrics, lost=self.lost)

    def make(self, limits: BacklogLimits, timing: LaneTiming = TIMING, share: Share | None = None) -> Lane:
        """Make a lane with other limits, and with metrics of its own."""
        self.metrics = ReadableMetrics()
        return Lane(self.sink, limits, timing, self.clock, self.metrics, self.log, share, self.dead_letters)

    def offer(self, *txids: str, origin: Origin | None = None) -> int:
        """Offer records of one vehicle and type; returns the number taken."""
        records = [make_record(txid=txid, payload=b"12345") for txid in txids]
        return self.lane.offer(records, 5 * len(records), origin)

    def linger(self) -> None:
        """Let the linger timeout pass."""
        self.clock.advance(TIMING.linger_s)

    def number(self, name: str) -> float:
        """The value of a metric of the lane."""
        return self.metrics.value(name, "scripted")


def succeeded(outcomes: list[Outcome]) -> Deferred[Sequence[Outcome]]:
    """Make the Deferred of a sink that knows the outcomes at once."""
    answer: Deferred[Sequence[Outcome]] = Deferred()
    answer.callback(outcomes)
    return answer
