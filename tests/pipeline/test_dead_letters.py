"""Dead letters of a lane."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.domain.errors import Rejected, SpoolFull, StorageError, Unheard
from fleetgw.domain.line_limit import INTERVAL_S, LINES
from fleetgw.domain.ports import RECEIPT, IDeadLetters, Page
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import LIMITS, LaneCase, Origin, succeeded

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetgw.domain.records import Record


class DeadLetterTests(LaneCase):
    def refuse(self, count: int, **how: object) -> list[dict[str, object]]:
        self.sink.answer_with = lambda batch: succeeded([Rejected("too large")] * len(batch))
        for number in range(count):
            self.offer(f"{number}" + "x" * 1000, **how)  # type: ignore[arg-type]
            self.linger()
        return self.log.fields_of("dead_letter")

    def test_the_last_copy_is_always_logged_with_its_payload(self) -> None:
        letters = self.refuse(50)
        self.assertEqual(len([each for each in letters if "payload_base64" in each]), 50)
        self.assertEqual(len(letters[0]["metadata"]["txid"]), 1001)  # type: ignore[index]

    def test_a_record_that_the_vehicle_resends_is_logged_without_payload_and_rate_limited(self) -> None:
        letters = self.refuse(50, origin=self.origin)
        self.assertEqual(len(letters), LINES)
        self.assertEqual(letters[0]["payload_bytes"], 5)
        self.assertNotIn("payload_base64", letters[0])
        self.assertLess(len(letters[0]["metadata"]["txid"]), 200)  # type: ignore[index]
        self.assertEqual(self.number("dead_letter_total"), 50)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(self.refuse(1, origin=self.origin)[-1]["more_unwritten"], 50 - LINES)

    def test_a_dead_letter_is_logged_with_reason_metadata_and_payload(self) -> None:
        self.offer("acked")
        self.offer("awaited", origin=self.origin)
        self.linger()
        self.sink.answer(0, Rejected("too large"))
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["vehicle_resends"] for letter in letters], [False, True])
        self.assertEqual(letters[0]["dispatcher"], "scripted")
        self.assertEqual(letters[0]["error"], "too large")
        self.assertEqual(base64.b64decode(str(letters[0]["payload_base64"])), b"12345")
        self.assertEqual(letters[0]["metadata"], make_record(txid="acked").metadata())
        self.assertEqual(self.origin.confirmed_txids, [])


@implementer(IDeadLetters)
class ScriptedStore:
    """Stores dead letters when the test says so; at once while ``at_once`` is set."""

    next_position = 1
    stored_again = 0

    def __init__(self) -> None:
        self.at_once = False
        self.letters: list[tuple[str, str]] = []
        self.answers: list[Deferred[StorageError | None]] = []

    def store(self, record: Record, reason: str) -> Deferred[StorageError | None]:
        """See ``IDeadLetters``."""
        self.letters.append((record.txid.decode(), reason))
        answer: Deferred[StorageError | None] = Deferred()
        self.answers.append(answer)
        if self.at_once:
            answer.callback(None)
        return answer

    def read(self, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """Lanes read no letters."""
        raise NotImplementedError

    def remove(self, positions: Collection[range]) -> Deferred[StorageError | None]:
        """Lanes remove none."""
        raise NotImplementedError


class RefusedOrigin(Origin):
    """Notes refusals.

    :ivar resends: whether the vehicle resends what is refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused_txids: list[str] = []
        self.resends = True

    def refused(self, record: Record) -> bool:
        """See ``AwaitsConfirmation``."""
        self.refused_txids.append(record.txid.decode())
        return self.resends


class StoreTests(LaneCase):
    def setUp(self) -> None:
        self.store = self.dead_letters = ScriptedStore()
        super().setUp()
        self.awaiting = RefusedOrigin()

    def reject(self, *txids: str) -> None:
        """Reject records that the origin waits for."""
        self.offer(*txids, origin=self.awaiting)
        self.linger()
        self.sink.answer(len(self.sink.batches) - 1, Rejected("too large"))

    def drained(self) -> list[None]:
        ended: list[None] = []
        self.lane.drain().addCallback(ended.append)
        return ended

    def test_a_stored_letter_settles_as_if_it_was_confirmed(self) -> None:
        self.reject("1")
        self.assertEqual(self.store.letters, [("1", "too large")])
        self.assertEqual(self.awaiting.confirmed_txids, [])
        self.store.answers[0].callback(None)
        self.assertEqual(self.awaiting.confirmed_txids, [["1"]])
        self.assertEqual(self.awaiting.refused_txids, [])
        (line,) = self.log.fields_of("dead_letter")
        self.assertEqual((line["stored"], line["payload_bytes"], line["error"]), (True, 5, "too large"))
        self.assertNotIn("payload_base64", line)
        self.assertEqual((self.number("dead_letter_total"), self.number("dead_letter_stored_total")), (1, 1))

    def test_a_letter_that_is_not_stored_is_refused_and_logged(self) -> None:
        for resends in (True, False):
            with self.subTest(resends=resends):
                self.setUp()
                self.awaiting.resends = resends
                self.reject("1")
                self.store.answers[0].callback(SpoolFull("full"))
                self.assertEqual((self.awaiting.confirmed_txids, self.awaiting.refused_txids), ([], ["1"]))
                (line,) = self.log.fields_of("dead_letter")
                self.assertEqual(line["vehicle_resends"], resends)
                self.assertEqual("payload_base64" in line, not resends)
                self.assertEqual((self.number("dead_letter_total"), self.number("dead_letter_stored_total")), (1, 0))

    def test_successors_pass_while_a_letter_is_being_stored(self) -> None:
        self.reject("1")
        self.offer("2", origin=self.awaiting)
        self.linger()
        self.sink.answer(1, RECEIPT)
        self.assertEqual(self.awaiting.confirmed_txids, [["2"]])

    def test_a_record_is_held_until_the_store_has_answered(self) -> None:
        self.reject("1", "2")
        ended = self.drained()
        self.assertEqual(self.lane.held_records, 2)
        self.store.answers[0].callback(None)
        self.assertEqual((self.lane.held_records, ended), (1, []))
        self.store.answers[1].callback(StorageError("failed"))
        self.assertEqual((self.lane.held_records, ended), (0, [None]))
        self.assertEqual(self.number("lane_held_records"), 0)

    def test_answers_that_come_at_once_end_the_drain_after_the_last(self) -> None:
        self.store.at_once = True
        confirmed_at_end: list[int] = []
        self.offer("1", "2", origin=self.awaiting)
        self.linger()
        self.lane.drain().addCallback(lambda _: confirmed_at_end.append(len(self.awaiting.confirmed_txids)))
        self.sink.answer(0, Rejected("too large"))
        self.assertEqual(confirmed_at_end, [2])

    def test_a_record_without_origin_is_stored(self) -> None:
        self.offer("1")
        self.linger()
        self.sink.answer(0, Rejected("too large"))
        self.store.answers[0].callback(None)
        self.assertEqual(self.store.letters, [("1", "too large")])
        self.assertEqual(self.lane.held_records, 0)

    def test_what_nobody_heard_is_no_letter(self) -> None:
        self.offer("1", origin=self.awaiting)
        self.linger()
        self.sink.answer(0, Unheard("no subscriber"))
        self.assertEqual((self.store.letters, self.awaiting.refused_txids), ([], ["1"]))

    def test_an_origin_that_fails_keeps_no_other_from_its_confirmation(self) -> None:
        broken = RefusedOrigin()
        broken.confirmed = None  # type: ignore[assignment,method-assign]  # fails when called
        self.offer("1", origin=broken)
        self.offer("2", origin=self.awaiting)
        self.linger()
        self.sink.answer(0, Rejected("too large"))
        for answer in self.store.answers:
            answer.callback(None)
        self.assertEqual(self.awaiting.confirmed_txids, [["2"]])
        self.assertEqual(len(self.log.fields_of("confirmation_failed")), 1)

    def abandon(self) -> None:
        """Give up on the record 1, for which nothing waits, and 2, which the vehicle resends."""
        self.offer("1")
        self.offer("2", origin=self.awaiting)
        self.linger()
        self.lane.close()
        self.lane.abandon()

    def test_the_last_copies_of_a_stop_are_stored(self) -> None:
        self.abandon()
        self.assertEqual(self.store.letters, [("1", "the gateway stopped before the sink confirmed it")])
        stored: list[None] = []
        self.lane.letters_stored().addCallback(stored.append)
        self.assertEqual(stored, [])
        self.store.answers[0].callback(None)
        self.assertEqual(stored, [None])
        self.assertEqual(self.awaiting.confirmed_txids, [])

    def test_what_takes_too_long_at_the_stop_is_logged_once(self) -> None:
        self.lost = 1
        self.abandon()
        self.lane.letters_stored().cancel()
        (line,) = self.log.fields_of("dead_letter")
        self.assertEqual(base64.b64decode(line["payload_base64"]), b"12345")
        self.store.answers[0].callback(None)
        self.assertEqual(len(self.log.fields_of("dead_letter")), 1)
        self.assertEqual(self.lane.held_records, 0)

    def test_nothing_is_waited_for_when_all_is_stored(self) -> None:
        self.lane = self.make(LIMITS)
        stored: list[None] = []
        self.lane.letters_stored().addCallback(stored.append)
        self.assertEqual(stored, [None])
