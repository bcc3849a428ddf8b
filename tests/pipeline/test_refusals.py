"""Refusals: messages that make no record, and the log lines that they cause."""

from __future__ import annotations

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.domain.line_limit import LINES
from tests.support.recording_link import Link
from tests.support.session_case import (
    VIN,
    SessionCase,
    acks,
    answers,
    error,
    message,
    vehicle,
)


class RefusalTests(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.open_session = self.session()

    def test_a_malformed_envelope_gets_an_error_reply_without_a_txid(self) -> None:
        self.assertEqual(answers(self.open_session, [b"\xff" * 9]), error())
        self.assertEqual(self.value("unexpected_record_err_total"), 1)
        fields = self.log.fields_of("unexpected_record")[0]
        self.assertEqual((fields["device_id"], fields["record_type"], fields["txid"]), (VIN, "", ""))

    def test_a_malformed_payload_gets_an_error_reply(self) -> None:
        self.assertEqual(answers(self.open_session, [message("V", b"1", b"\xff")]), error(b"1"))
        self.assertEqual(self.value("unexpected_record_err_total"), 1)
        self.assertEqual(self.value("record_total", "V"), 0)
        fields = self.log.fields_of("unexpected_record")[0]
        self.assertEqual((fields["record_type"], fields["txid"]), ("V", "1"))

    def test_ids_beyond_their_bound_get_an_error_reply_without_a_txid(self) -> None:
        for number, (record_type, txid, bound) in enumerate((("V", bytes(1025), "txid"), ("t" * 1025, b"1", "topic")), 1):
            self.assertEqual(answers(self.open_session, [message(record_type, txid)]), error())
            self.assertEqual(self.value("record_beyond_bound_total", bound), 1)
            self.assertEqual(self.value("unexpected_record_err_total"), number)
            fields = self.log.fields_of("unexpected_record")[-1]
            self.assertEqual((fields["txid"], fields["error"]), ("", f"a {bound} of 1025 bytes; at most 1024 are taken"))
        self.assertEqual(answers(self.open_session, [message("V", bytes(1024))]), acks("V", bytes(1024)))

    def test_content_beyond_its_bound_gets_an_error_reply(self) -> None:
        payload = VehicleAlerts(alerts=[{"name": "n" * 257}]).SerializeToString()  # type: ignore[list-item]
        self.assertEqual(answers(self.open_session, [message("alerts", b"1", payload)]), error(b"1"))
        self.assertEqual(self.value("record_beyond_bound_total", "name"), 1)
        self.assertEqual(answers(self.open_session, [message("V", b"2", b"\xff")]), error(b"2"))
        self.assertEqual(self.value("record_beyond_bound_total", "name"), 1)

    def test_a_long_sender_id_is_cut_in_the_log(self) -> None:
        self.assertEqual(answers(self.open_session, [message("free", b"1", b"", "s" * 5000)]), error(b"1"))
        cut = "s" * 128 + "... (5000 bytes)"
        self.assertEqual(self.log.fields_of("unexpected_sender_id")[0]["sender_id"], cut)
        self.assertIn(cut, str(self.log.fields_of("unexpected_record")[0]["error"]))

    def test_a_message_that_is_too_big_gets_an_error_reply_without_a_txid(self) -> None:
        session = self.session(max_message_bytes=len(message("V", b"1")))
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        self.assertEqual(answers(session, [message("V", b"12345")]), error())
        self.assertEqual(self.value("record_too_big_total"), 1)
        self.assertEqual(self.value("unexpected_record_err_total"), 1)

    def test_unknown_message_types_are_acked_once_and_not_dispatched(self) -> None:
        ack = envelope_form.ack("V", b"42")
        self.assertEqual(answers(self.open_session, [ack, b"", bytes(20)]), acks("", b"42", b"", b""))
        self.assertEqual(self.value("unknown_message_type_error_total", "5"), 1)
        self.assertEqual(self.value("unknown_message_type_error_total", "0"), 2)
        self.assertEqual((self.value("record_total", ""), self.value("dispatch_total", "")), (3, 3))
        self.assertEqual(self.log.fields_of("unknown_message_type_error")[0]["msg_txid"], "42")
        self.dispatch()
        self.assertEqual(self.kafka.records, [])

    def test_an_unrouted_record_of_the_vehicle_is_acked(self) -> None:
        for sender_id in (VIN, f"vehicle_device.{VIN}"):
            self.assertEqual(answers(self.open_session, [message("free", b"1", b"1234", sender_id)]), acks("free", b"1"))
        self.assertEqual((self.value("record_total", "free"), self.value("record_size_bytes_total", "free")), (2, 8))
        self.assertEqual(self.value("dispatch_total", "free"), 2)

    def test_an_unrouted_record_of_another_sender_is_refused(self) -> None:
        for sender_id in ("", "vehicle_device.X", f"other.{VIN}", f" {VIN}"):
            self.assertEqual(answers(self.open_session, [message("free", b"1", b"", sender_id)]), error(b"1"))
        self.assertEqual(self.value("unauthorized_sender_id_total"), 4)
        self.assertEqual(self.value("unexpected_record_err_total"), 4)
        self.assertEqual(self.log.fields_of("unexpected_sender_id")[1]["sender_id"], "vehicle_device.X")
        self.assertEqual(self.value("record_total", "free"), 0)

    def test_a_routed_record_of_another_sender_counts_as_the_vehicles_own(self) -> None:
        self.assertEqual(answers(self.open_session, [message("V", b"1", sender_id="vehicle_device.X")]), acks("V", b"1"))

    def test_an_unrouted_record_is_decoded(self) -> None:
        self.records = {"custom": ["kafka"]}
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1", b"\xff")]), error(b"1"))
        self.assertEqual(answers(session, [message("V", b"2")]), acks("V", b"2"))
        self.assertEqual(self.value("signal_count", "V"), 2)

    def test_record_types_and_txids_may_be_any_bytes(self) -> None:
        topics = [b"\xff\xfe", b"", b"a\x00b", b"+/#", "ä".encode()]
        replies = b"".join(answers(self.open_session, [message(topic, b"\xff\x00")]) for topic in topics)
        types = [topic.decode("utf-8", "surrogateescape") for topic in topics]
        self.assertEqual(replies, b"".join(acks(each, b"\xff\x00") for each in types))
        self.assertEqual(answers(self.open_session, [message(b"\xff", b"\xff", sender_id="\x00")]), error(b"\xff"))


class LogFloodTests(SessionCase):
    """A vehicle causes a bounded number of log lines of bounded length, over all of its connections."""

    def flood(self, *messages: bytes) -> int:
        """Send messages over and over for a second; returns the number of characters logged."""
        gateway = self.make(max_message_bytes=1_000_000)
        sessions = [gateway.connected(vehicle(), self.link) for _ in range(5)]
        for _ in range(50):
            for session in sessions:
                answers(session, messages)
            self.clock.advance(0.02)
        return sum(len(str(fields)) for _, _, fields in self.log.entries)

    def test_a_flood_of_any_kind_of_message_is_bounded(self) -> None:
        long = b"x" * 900_000
        floods = {
            "empty messages": b"",
            "no envelope": b"\xff" * 9,
            "an acknowledgement": envelope_form.ack("V", b"1"),
            "a payload that does not parse": message("V", b"1", b"\xff"),
            "another sender": message("free", b"1", sender_id="X"),
            "a long txid": message("V", long, b"\xff"),
            "a long txid of an acknowledgement": envelope_form.ack("V", long),
            "a long record type": message(long, b"1", sender_id="X"),
            "a long sender": message("free", b"1", sender_id="x" * 900_000),
            "a long message": long + long,
        }
        for name, content in floods.items():
            with self.subTest(name):
                self.log.entries.clear()
                self.assertLess(self.flood(content), 12_000)
                self.assertLessEqual(len(self.log.entries), 2 * LINES)
                self.assertTrue(self.log.entries)

    def test_the_next_line_has_the_number_of_lines_left_out(self) -> None:
        session = self.session()
        answers(session, [b""] * 100)
        self.clock.advance(10)
        answers(session, [b""])
        lines = self.log.fields_of("unknown_message_type_error")
        self.assertEqual([fields.get("more_unwritten", 0) for fields in lines], [0] * LINES + [100 - LINES])

    def test_the_flood_of_one_vehicle_hides_no_line_of_another(self) -> None:
        gateway = self.make()
        answers(gateway.connected(vehicle(), Link()), [b""] * 1000)
        answers(gateway.connected(vehicle("ANOTHER"), Link()), [b""])
        self.assertEqual(self.log.fields_of("unknown_message_type_error")[-1]["device_id"], "ANOTHER")
