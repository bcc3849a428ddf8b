"""Records of types without a route: acknowledged or refused, counted and logged."""

from __future__ import annotations

from fleetgw.app.pipeline.routes import OWN_LABELS
from tests.support.session_case import VIN, SessionCase, acks, answers, error, message


class UnroutedTests(SessionCase):
    def test_they_are_counted_and_logged_once_a_minute_for_each_type(self) -> None:
        session = self.session()
        for _ in range(3):
            answers(session, [message("free", b"1"), message("free", b"2")])
        self.assertEqual(self.value("unrouted_records_total", "free"), 6)
        line = {"record_type": "free", "vin": VIN, "answer": "acknowledged"}
        self.assertEqual(self.log.fields_of("unrouted_records"), [line | {"records": 2}])
        self.clock.advance(59)
        answers(session, [message("free", b"3"), message("other type", b"4")])
        self.clock.advance(1)
        answers(session, [message("free", b"5")])
        lines = [(each["record_type"], each["records"]) for each in self.log.fields_of("unrouted_records")]
        self.assertEqual(lines, [("free", 2), ("other type", 1), ("free", 6)])

    def test_they_may_be_refused(self) -> None:
        session = self.session(refuse_unrouted=True)
        replies = answers(session, [message("V", b"1"), message("free", b"2"), message("V", b"3")])
        self.assertEqual(replies, acks("V", b"1") + error(b"2") + acks("V", b"3"))
        self.assertEqual(self.value("unrouted_records_total", "free"), 1)
        self.assertEqual(self.value("unexpected_record_err_total"), 0)
        self.assertEqual([each["answer"] for each in self.log.fields_of("unrouted_records")], ["refused"])

    def test_labels_and_lines_are_bounded(self) -> None:
        session = self.session()
        for number in range(2 * OWN_LABELS):
            answers(session, [message(f"type {number}", b"1")])
        self.assertEqual(self.value("unrouted_records_total", "other"), OWN_LABELS)
        self.assertEqual(len(self.log.fields_of("unrouted_records")), OWN_LABELS + 1)
