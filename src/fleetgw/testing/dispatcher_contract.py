"""The obligations of sinks as tests, each with the clauses of docs/component-specification.md that it checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import IDispatcher, ITakesFurtherTypes, Ready, Receipt
from fleetgw.testing.contract_case import SHORT_S, VINS, ContractCase, holds, kinds
from fleetgw.testing.dispatcher_harness import Received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import Outcome


class DispatcherContract(ContractCase):
    """Mix into a ``twisted.trial.unittest.TestCase`` and give ``make_harness``."""

    @holds("1.1", "1.2")
    async def test_provides_the_interface(self) -> None:
        """IDispatcher: every method is there with its signature, and ``name`` is the name that routes use."""
        sink = self._make()
        verifyObject(IDispatcher, sink)
        self.assertEqual(sink.name, "under_test")

    @holds("3.1", "3.2")
    async def test_receipt_after_delivery(self) -> None:
        """dispatch: fires with one outcome per record; a record with a receipt is at the destination."""
        sink = await self._started()
        records = self._records(7)
        self.assertEqual(await self._outcomes(sink, records), [Receipt] * 7)
        await self._assert_received(records)

    @holds("3.2")
    async def test_no_receipt_before_confirmation(self) -> None:
        """dispatch: no outcome before the destination confirms; then the receipt."""
        sink = await self._started()
        await self._delivered(sink, self._records(1))
        await self.harness.hold()
        answer = sink.dispatch(self._records(3, start=1))
        await self.harness.a_while()
        self.assertFalse(answer.called, "an outcome without confirmation")
        await self.harness.release()
        self.assertEqual(kinds(await self.harness.until(answer)), [Receipt] * 3)
        await self._assert_received(self._records(4))

    @holds("3.3")
    async def test_every_record_type(self) -> None:
        """dispatch: one batch may hold records of all types that are routed to the sink."""
        sink = await self._started()
        types = self.harness.record_types
        batch = [self.harness.make_record(VINS[0], f"tx-{kind}", record_type=kind, payload=kind.encode()) for kind in types]
        self.assertEqual(await self._outcomes(sink, batch), [Receipt] * len(types))
        received = await self.harness.received(len(types))
        self.assertEqual(sorted(record.payload for record in received), sorted(kind.encode() for kind in types))

    @holds("3.20")
    async def test_record_types_that_are_routed_later(self) -> None:
        """take_further_types: records of these types are taken, too."""
        *further, first = self.harness.record_types
        sink = self._running = self._make(record_types=(first,))
        if not ITakesFurtherTypes.providedBy(sink):
            self.skipTest("the sink takes the types that it was made with")
        await self.harness.until(sink.start())
        ITakesFurtherTypes(sink).take_further_types(further)
        types = self.harness.record_types
        batch = [self.harness.make_record(VINS[0], f"tx-{kind}", record_type=kind, payload=kind.encode()) for kind in types]
        await self._delivered(sink, batch)
        received = await self.harness.received(len(types))
        self.assertEqual(sorted(record.payload for record in received), sorted(kind.encode() for kind in types))

    @holds("3.4")
    async def test_batch_is_left_alone(self) -> None:
        """dispatch: the sink does not change the sequence, whatever kind of sequence it is."""
        sink = await self._started()
        batch = self._records(3)
        self.assertEqual(await self._outcomes(sink, tuple(batch)), [Receipt] * 3)
        self.assertEqual(await self._outcomes(sink, batch), [Receipt] * 3)
        self.assertEqual([record.txid for record in batch], [b"tx-0", b"tx-1", b"tx-2"])

    @holds("3.5")
    async def test_calls_overlap(self) -> None:
        """dispatch: the next batch may come before the outcomes of the last."""
        sink = await self._started()
        records = self._records(30)
        answers = [sink.dispatch(records[start : start + 3]) for start in range(0, 30, 3)]
        outcomes = await self.harness.until(gatherResults(answers))
        self.assertEqual([type(outcome) for batch in outcomes for outcome in batch], [Receipt] * 30)
        await self._assert_received(records)

    @holds("3.6")
    async def test_order_of_a_vehicle(self) -> None:
        """dispatch: records of one vehicle arrive in the order received, also when the destination is slow."""
        sink = await self._started()
        await self._delivered(sink, self._records(3))
        await self.harness.hold()
        records = self._records(60, start=3)
        answers = [sink.dispatch(records[start : start + 6]) for start in range(0, 60, 6)]
        await self.harness.a_while()
        await self.harness.release()
        outcomes = await self.harness.until(gatherResults(answers))
        self.assertEqual([type(outcome) for batch in outcomes for outcome in batch], [Receipt] * 60)
        await self._assert_received(self._records(63))

    @holds("3.7", "3.8")
    async def test_refused_for_good(self) -> None:
        """dispatch: ``Rejected`` for a record that can never be delivered; its neighbours and successors pass."""
        sink = await self._started()
        refused = self.harness.make_record(
            VINS[0], "tx-refused", record_type=self.harness.record_types[0], payload=self._refused_payload()
        )
        before, after = self._records(2), self._records(2, start=2)
        outcomes = await self._outcomes(sink, [*before, refused, *after])
        self.assertEqual(outcomes, [Receipt, Receipt, Rejected, Receipt, Receipt])
        successors = self._records(2, start=4)
        self.assertEqual(await self._outcomes(sink, successors), [Receipt] * 2)
        received = await self.harness.received(6)
        expected = [Received(record.vin, record.payload) for record in (*before, *after, *successors)]
        self.assertEqual(sorted(received), sorted(expected))

    @holds("3.9", "3.10", "5.1", "5.3")
    async def test_destination_out_of_reach_and_back(self) -> None:
        """dispatch: ``Retryable`` within the time-out while the destination cannot be reached; delivered once it is back."""
        sink = await self._started(timeout_s=SHORT_S)
        await self._delivered(sink, self._records(3))
        self.assertEqual(sink.readiness(), Ready())
        await self.harness.received(3)  # a destination may still be passing them on, and lose them when it goes away
        await self.harness.go_away()
        lost: Sequence[Outcome] = await self.harness.until(sink.dispatch(self._records(3, start=3)))
        for outcome in lost:
            self.assertIsInstance(outcome, Retryable)
            self.assertNotEqual(str(outcome), "", "an error says why")
        self._assert_not_ready(sink)
        await self.harness.come_back()
        fresh = self._records(3, start=6)
        await self._delivered(sink, fresh)
        self.assertEqual(sink.readiness(), Ready())
        received = await self.harness.received(6)
        self.assertLessEqual({Received(record.vin, record.payload) for record in fresh}, set(received))

    @holds("2.1", "2.2", "5.1")
    async def test_destination_out_of_reach_at_start(self) -> None:
        """start: fires whether or not the destination can be reached; the sink keeps trying by itself."""
        await self.harness.go_away()
        sink = await self._started(timeout_s=SHORT_S)
        outcomes = await self._outcomes(sink, self._records(1))
        self.assertTrue(issubclass(outcomes[0], Retryable), outcomes)
        self._assert_not_ready(sink)
        await self.harness.come_back()
        await self._delivered(sink, self._records(1, start=1))

    @holds("5.5")
    async def test_readiness_is_logged(self) -> None:
        """Log: ``sink_ready`` once the destination has been reached; stopping the sink is no such event."""
        sink = await self._started()
        await self._delivered(sink, self._records(3))  # a destination may be several servers, each with its vehicles
        self.assertEqual(self._readiness_events(), [("sink_ready", None)])
        await self._stop(sink)
        self.assertEqual(len(self._readiness_events()), 1)

    @holds("5.5")
    async def test_lost_destination_is_logged(self) -> None:
        """Log: ``sink_not_ready``, with the reason, when the destination is lost, and ``sink_ready`` when it is back."""
        sink = await self._started(timeout_s=SHORT_S)
        await self._delivered(sink, self._records(3))
        await self.harness.go_away()
        await self._outcomes(sink, self._records(3, start=3))
        self._assert_not_ready(sink)
        event, reason = self._readiness_events()[-1]
        self.assertEqual(event, "sink_not_ready")
        self.assertTrue(reason, "it says why")
        await self.harness.come_back()
        await self._delivered(sink, self._records(3, start=6))
        events = [event for event, _ in self._readiness_events()]
        self.assertEqual(events[-1], "sink_ready")
        self.assertEqual(events[::2], ["sink_ready"] * len(events[::2]), "each event is a transition")
        self.assertEqual(events[1::2], ["sink_not_ready"] * len(events[1::2]), "each event is a transition")

    @holds("3.11")
    async def test_bounded(self) -> None:
        """dispatch: records beyond the sink's bound are ``Retryable`` at once; the others are kept."""
        bound = self._bound()
        sink = await self._started(bounded=True)
        await self._delivered(sink, self._records(1))
        await self.harness.hold()
        answers = [sink.dispatch([record]) for record in self._records(bound + 5, start=1)]
        await self.harness.a_while()
        refused = [answer for answer in answers if answer.called]
        self.assertGreater(len(refused), 0, "nothing was refused beyond the bound")
        self.assertLessEqual(len(answers) - len(refused), bound)
        for answer in refused:
            (outcome,) = await answer
            self.assertIsInstance(outcome, Retryable)
        await self.harness.release()
        kept = await self.harness.until(gatherResults([answer for answer in answers if answer not in refused]))
        self.assertEqual({type(outcome) for (outcome,) in kept}, {Receipt})

    @holds("3.12", "5.2", "5.3")
    async def test_before_start(self) -> None:
        """dispatch: ``NotConnected`` before ``start``, and the sink is not ready."""
        sink = self._make()
        self.assertEqual(await self._outcomes(sink, self._records(2)), [NotConnected] * 2)
        self._assert_not_ready(sink)

    @holds("3.12", "5.2", "5.3")
    async def test_after_stop(self) -> None:
        """dispatch: ``NotConnected`` from ``stop`` on, and the sink is not ready."""
        sink = await self._started()
        stopped = sink.stop()
        self._running = None
        self.assertEqual(await self._outcomes(sink, self._records(2)), [NotConnected] * 2)
        await self.harness.until(stopped)
        self.assertEqual(await self._outcomes(sink, self._records(2)), [NotConnected] * 2)
        self._assert_not_ready(sink)
        self.assertEqual(list(await self.harness.received(0)), [])

    @holds("4.1", "4.2")
    async def test_stop_settles(self) -> None:
        """stop: takes no new records and settles those in flight; every dispatch fires before ``stop`` does."""
        sink = await self._started()
        await self._delivered(sink, self._records(1))
        order: list[str] = []
        answers = [sink.dispatch([record]) for record in self._records(5, start=1)]

        def note(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
            order.append("dispatch")
            return outcomes

        for answer in answers:
            answer.addCallback(note)
        stopped = sink.stop()
        stopped.addCallback(lambda _: order.append("stop"))
        self._running = None
        late = sink.dispatch(self._records(1, start=6))
        await self.harness.until(stopped)
        self.assertEqual(order, ["dispatch"] * 5 + ["stop"])
        outcomes = [type(outcome) for answer in answers for outcome in await answer]
        self.assertEqual(outcomes, [Receipt] * 5)
        self.assertEqual(kinds(await self.harness.until(late)), [NotConnected])
        await self._assert_received(self._records(6))

    @holds("4.3", "4.4")
    async def test_stop_given_up(self) -> None:
        """stop: cancelling it gives up on records in flight, which are ``Retryable``; it never fails."""
        sink = await self._started()
        await self._delivered(sink, self._records(1))
        await self.harness.hold()
        answer = sink.dispatch(self._records(2, start=1))
        stopped = sink.stop()
        self._running = None
        await self.harness.a_while()
        self.assertFalse(stopped.called, "stopped while records were in flight")
        stopped.cancel()
        outcomes: Sequence[Outcome] = await self.harness.until(answer)
        for outcome in outcomes:
            self.assertIsInstance(outcome, Retryable)
        await self.harness.until(stopped)

    @holds("3.13")
    async def test_cancelled_dispatch(self) -> None:
        """dispatch: cancelling does nothing; the records stay in flight, and the Deferred fires with outcomes."""
        sink = await self._started()
        records = self._records(2)
        answer = sink.dispatch(records)
        answer.cancel()
        self.assertEqual(kinds(await self.harness.until(answer)), [Receipt] * 2)
        await self._assert_received(records)

    @holds("3.7", "3.8", "3.14")
    async def test_never_raises(self) -> None:
        """dispatch: a record of a type that is not routed to the sink is ``Rejected``, and its neighbours pass."""
        if self.harness.unsendable_type is None:
            self.skipTest("the destination has a place for any record type")
        sink = await self._started()
        strange = self.harness.make_record(VINS[0], record_type=self.harness.unsendable_type)
        first, last = self._records(2)
        outcomes = await self._outcomes(sink, [first, strange, last])
        self.assertEqual([outcomes[0], outcomes[2]], [Receipt] * 2)
        self.assertEqual(outcomes[1], Rejected)

    @holds("6.1", "6.2")
    async def test_counted_once(self) -> None:
        """Metrics: a confirmed record is counted once, under its type; a rejected one is counted once, as not taken."""
        sink = await self._started()
        kind = self.harness.record_types[0]
        self.assertEqual(await self._outcomes(sink, self._records(5)), [Receipt] * 5)
        if self.harness.confirmed_metric is None:
            self.skipTest("the sink counts nothing")
        self.assertEqual(self.metrics.value(self.harness.confirmed_metric, kind), 5)
        if self.harness.refused_metric is not None and self.harness.refused_payload is not None:
            self.assertEqual(self.metrics.value(self.harness.refused_metric, *self.harness.refused_labels), 0)
            refused = self.harness.make_record(VINS[0], "tx-refused", record_type=kind, payload=self.harness.refused_payload)
            outcomes = await self._outcomes(sink, [*self._records(1, start=5), refused])
            self.assertEqual(outcomes, [Receipt, Rejected])
            self.assertEqual(self.metrics.value(self.harness.confirmed_metric, kind), 6)
            self.assertEqual(self.metrics.value(self.harness.refused_metric, *self.harness.refused_labels), 1)
