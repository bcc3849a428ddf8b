"""A session tells when none of its records waits for an acknowledgement any more."""

from __future__ import annotations

from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import RECEIPT
from tests.pipeline.test_ack_policies import PolicyCase
from tests.support.session_case import SessionCase, answers, message


class OneSinkTests(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.settled: list[str] = []

    def test_at_once_when_nothing_waits(self) -> None:
        session = self.session()
        answers(session, [message("V", b"1")])
        session.when_settled(lambda: self.settled.append("settled"))
        self.assertEqual(self.settled, ["settled"])

    def test_after_the_last_outcome_whatever_it_is(self) -> None:
        for outcome, writes in ((RECEIPT, 2), (Rejected("no"), 0)):
            with self.subTest(outcome=outcome):
                self.setUp()
                session = self.session({"V": "kafka"})
                answers(session, [message("V", b"1"), message("V", b"2")])
                self.dispatch()
                answers(session, [message("V", b"3")])
                session.when_settled(lambda: self.settled.append(f"after {len(self.link.sent)}"))
                self.kafka.answer(outcome)
                self.assertEqual(self.settled, [])
                self.dispatch()
                self.kafka.answer(outcome)
                self.assertEqual(self.settled, [f"after {writes}"])

    def test_records_that_wait_for_room_are_not_settled(self) -> None:
        self.room["kafka"] = 1
        session = self.session({"V": "kafka"})
        answers(session, [message("V", b"1"), message("V", b"2")])
        session.when_settled(lambda: self.settled.append(f"after {len(self.link.sent)}"))
        for expected in ([], ["after 2"]):
            self.dispatch()
            self.assertEqual(self.settled, [])
            self.kafka.answer()
            self.assertEqual(self.settled, expected)
            self.clock.advance(0)

    def test_records_that_wait_for_room_are_not_settled_although_they_need_no_confirmation(self) -> None:
        self.room["kafka"] = 1
        session = self.session()
        answers(session, [message("V", b"1"), message("V", b"2")])
        session.when_settled(lambda: self.settled.append(f"after {len(self.link.sent)}"))
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.settled, [])
        self.clock.advance(0)
        self.assertEqual(self.settled, ["after 1"])

    def test_a_record_that_no_queue_can_hold_does_not_wait(self) -> None:
        session = self.session({"V": "kafka"}, max_message_bytes=10_000_000)
        answers(session, [message("custom", b"1", bytes(2_000_000)), message("V", b"2")])
        session.when_settled(lambda: self.settled.append("settled"))
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.settled, ["settled"])

    def test_not_after_the_end_of_the_connection(self) -> None:
        session = self.session({"V": "kafka"})
        answers(session, [message("V", b"1")])
        self.dispatch()
        session.when_settled(lambda: self.settled.append("settled"))
        session.disconnected()
        self.kafka.answer()
        self.assertEqual(self.settled, [])


class SeveralSinksTests(PolicyCase):
    def test_once_all_are_acknowledged_whatever_the_other_sinks_do(self) -> None:
        settled: list[str] = []
        session = self.sent(b"1", b"2", policy="kafka and (mqtt or redis)")
        session.when_settled(lambda: settled.append("settled"))
        self.mqtt.answer()
        self.assertEqual(settled, [])
        self.kafka.answer()
        self.assertEqual((settled, len(self.link.sent)), (["settled"], 1))

    def test_a_record_that_cannot_be_acknowledged_any_more_does_not_wait(self) -> None:
        settled: list[str] = []
        session = self.sent(b"1", policy="kafka and (mqtt or redis)")
        session.when_settled(lambda: settled.append("settled"))
        self.mqtt.answer(Rejected("no"))
        self.kafka.answer(Retryable("later"))
        self.assertEqual(settled, [])
        self.redis.answer(Rejected("no"))
        self.assertEqual(settled, ["settled"])
