"""De-duplication: a record that was acknowledged within the window is acknowledged again, and not delivered again."""

from __future__ import annotations

from attrs import evolve

from fleetgw.domain.deduplication import DeduplicationWindow
from tests.support.recording_link import Link
from tests.support.session_case import SessionCase, acks, answers, message, vehicle

WINDOW = DeduplicationWindow(window_s=60.0, max_records=100)


class DeduplicationTests(SessionCase):
    def counted(self) -> tuple[float, float]:
        """The records received and the duplicates, of type ``V``."""
        return self.value("record_total", "V"), self.value("ledger_duplicates_total", "V")

    def test_every_record_is_delivered_unless_configured_otherwise(self) -> None:
        session = self.session()
        for _ in range(2):
            answers(session, [message("V", b"1")])
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.counted()), ([b"1", b"1"], (2, 0)))

    def test_duplicates_are_acked_at_once_and_others_are_delivered(self) -> None:
        session = self.session(deduplication=WINDOW)
        answers(session, [message("V", b"1"), message("V", b"2")])
        replies = answers(session, [message("V", b"2"), message("V", b"3"), message("V", b"1"), message("alerts", b"1")])
        self.assertEqual(replies, acks("V", b"2", b"1") + acks("V", b"3") + acks("alerts", b"1"))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"1"])
        self.assertEqual(self.counted(), (5, 2))
        self.assertEqual(self.lanes["kafka"].share.held_bytes, sum(record.cost_bytes for record in self.kafka.records))

    def test_a_record_under_way_is_not_acked_before_its_policy_holds(self) -> None:
        session = self.session({"V": "kafka"}, deduplication=WINDOW)
        for _ in range(2):
            self.assertEqual(answers(session, [message("V", b"1")]), b"")
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"1", b"1"], "a copy of a record under way is a record like others")
        self.kafka.answer()
        self.link.sent.clear()
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        self.assertEqual(self.counted(), (3, 1))

    def test_a_record_that_was_confirmed_after_its_vehicle_had_left_is_known_on_its_next_connection(self) -> None:
        session = self.session({"V": "kafka"}, deduplication=WINDOW)
        answers(session, [message("V", b"1")])
        self.dispatch()
        session.disconnected()
        self.kafka.answer()
        link = Link()
        self.gateway.connected(vehicle(), link).received([message("V", b"1")])
        self.assertEqual((link.sent, self.counted()), ([acks("V", b"1")], (2, 1)))

    def test_records_of_others_and_records_without_a_txid_are_no_duplicates(self) -> None:
        session = self.session(deduplication=WINDOW)
        other = self.gateway.connected(vehicle("OTHER"), Link())
        for each in (session, other):
            each.received([message("V", b"1"), message("V", b"")])
        session.received([message("V", b"")])
        self.dispatch()
        self.assertEqual(sorted(self.kafka.txids), [b"", b"", b"", b"1", b"1"])

    def test_unrouted_records_are_counted_each_time(self) -> None:
        session = self.session(deduplication=WINDOW)
        for _ in range(2):
            self.assertEqual(answers(session, [message("unrouted", b"1")]), acks("unrouted", b"1"))
        self.assertEqual(self.value("unrouted_records_total", "unrouted"), 2)

    def test_the_window_is_bounded_in_time_and_in_records(self) -> None:
        session = self.session(deduplication=evolve(WINDOW, max_records=2))
        answers(session, [message("V", txid) for txid in (b"1", b"2", b"3")])
        answers(session, [message("V", b"2"), message("V", b"1")])
        self.assertEqual(self.counted(), (5, 1), "the oldest is not forgotten")
        self.clock.advance(60)
        answers(session, [message("V", b"1")])
        self.assertEqual(self.counted(), (6, 2))
        self.clock.advance(0.1)
        answers(session, [message("V", b"1")])
        self.assertEqual(self.counted(), (7, 2))
        assert self.gateway.sessions.acknowledged is not None
        self.assertEqual(len(self.gateway.sessions.acknowledged._acknowledged_at), 1)

    def test_a_reload_replaces_the_window_only_if_it_changes(self) -> None:
        session = self.session(deduplication=WINDOW)
        answers(session, [message("V", b"1")])
        self.gateway.use(evolve(self.gateway.settings, debounce_s=1.0))
        answers(session, [message("V", b"1")])
        self.assertEqual(self.counted(), (2, 1))
        self.gateway.use(evolve(self.gateway.settings, deduplication=None))
        answers(session, [message("V", b"1")])
        self.assertEqual(self.counted(), (3, 1))
