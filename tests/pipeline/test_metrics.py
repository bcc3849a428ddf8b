"""Metrics of records, signals and connections."""

from __future__ import annotations

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.app.pipeline.refusals import OWN_MESSAGE_TYPES
from fleetgw.app.pipeline.routes import OWN_LABELS
from fleetgw.domain.deduplication import DeduplicationWindow
from fleetgw.domain.metrics import UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL
from fleetgw.domain.records import MessageType
from tests.support.recording_link import Link
from tests.support.session_case import (
    V_PAYLOAD,
    VIN,
    SessionCase,
    acks,
    answers,
    message,
    vehicle,
)


class NumberTests(SessionCase):
    def test_connections(self) -> None:
        gateway = self.make()
        sessions = [gateway.connected(vehicle(), Link()) for _ in range(3)]
        self.assertEqual(self.value("num_connections"), 3)
        sessions[0].disconnected()
        self.assertEqual(self.value("num_connections"), 2)

    def test_records_and_signals(self) -> None:
        gateway = self.make(tracked=[VIN])
        for vin in (VIN, "another"):
            session = gateway.connected(vehicle(vin), Link())
            answers(session, [message("V", b"1"), message("V", b"2"), message("alerts", b"3"), message("custom", b"4")])
        self.assertEqual([self.value("record_total", each) for each in ("V", "alerts", "custom")], [4, 2, 2])
        size_bytes = len(V_PAYLOAD) + 2 + len(VIN)
        self.assertEqual(self.value("record_size_bytes_total", "V"), 2 * size_bytes + 2 * (len(V_PAYLOAD) + 2 + 7))
        self.assertEqual([self.value("signal_count", each) for each in ("V", "alerts", "custom")], [8, 4, 0])
        self.assertEqual(self.value("vin_signal_count", "V", VIN), 4)
        self.assertEqual(self.value("vin_signal_count", "alerts", VIN), 2)
        self.assertEqual(self.value("vin_signal_count", "V", "another"), 0)

    def test_hostile_record_types_make_a_bounded_number_of_labels_and_totals(self) -> None:
        session = self.session()
        answers(session, [message("x" * 65, b"1"), message("a\nb", b"1")])
        for number in range(3 * OWN_LABELS):
            answers(session, [message(f"free{number}", b"1"), message(b"\xff%d" % number, b"1")])
        labelled = [number for number in range(3 * OWN_LABELS) if self.value("record_total", f"free{number}")]
        self.assertEqual(labelled, list(range(OWN_LABELS)))
        self.assertEqual(self.value("record_total", "other"), 5 * OWN_LABELS + 2)
        self.assertEqual(len(session.received_of), OWN_LABELS + 1)

    def test_hostile_message_types_make_a_bounded_number_of_labels(self) -> None:
        session = self.session()
        ack = bytearray(envelope_form.ack("V", b"1"))
        at = ack.index(MessageType.STREAM_ACK.value)
        for number in range(50, 256):
            ack[at] = number
            answers(session, [bytes(ack)] * 2)
        (family,) = (each for each in self.metrics.snapshot() if each.metric is UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL)
        self.assertEqual(len(family.series), OWN_MESSAGE_TYPES + 1)
        self.assertEqual(self.value("unknown_message_type_error_total", "50"), 2)
        self.assertEqual(self.value("unknown_message_type_error_total", "other"), 2 * (256 - 50 - OWN_MESSAGE_TYPES))

    def test_signals_of_every_accepted_record_count(self) -> None:
        """Tesla bills them all: also those of duplicates, of records that a queue has no room for, and without a route."""
        for how in ("kafka", "accepted", "spooled"):
            with self.subTest(policy=how):
                self.link, self.room["kafka"], self.spool = Link(), 1, MemorySpool(self.clock, 1_000_000)
                session = self.session({"V": how}, deduplication=DeduplicationWindow(60.0, 100))
                for txid in (b"1", b"1", b"2", b"3"):
                    answers(session, [message("V", txid)])
                self.assertEqual(self.value("signal_count", "V"), 8)
                session.disconnected()
        self.link, self.records = Link(), {"alerts": ["kafka"]}
        answers(self.session(), [message("V", b"1")])
        self.assertEqual(self.value("signal_count", "V"), 2)

    def test_signals_of_payloads_of_every_form_count(self) -> None:
        """Also of those that are not canonical, which protobuf reads."""
        session = self.session()
        vin_first = Payload(vin="another").SerializeToString() + V_PAYLOAD
        answers(session, [message("V", b"1", vin_first), message("V", b"2", UnknownValueTests.PAYLOAD)])
        self.assertEqual(self.value("signal_count", "V"), 3)

    def test_the_known_types_keep_their_labels(self) -> None:
        self.records = {"custom": ["kafka"]}
        session = self.session()
        for number in range(OWN_LABELS):
            answers(session, [message(f"free{number}", b"1")])
        answers(session, [message("V", b"1")])
        self.assertEqual((self.value("record_total", "V"), self.value("signal_count", "V")), (1, 2))

    def test_the_fields_logged_at_a_disconnect_are_bounded(self) -> None:
        session = self.session()
        for number in range(3 * OWN_LABELS):
            answers(session, [message(f"type {number}", b"1"), message("long" * 200 + str(number), b"2")])
        session.disconnected()
        (fields,) = self.log.fields_of("socket_disconnected")
        self.assertLessEqual(len(fields), OWN_LABELS + 5)
        self.assertLessEqual(max(map(len, fields)), OWN_LABELS)

    def test_the_bytes_of_each_type_are_logged_at_a_disconnect(self) -> None:
        self.records = {"V": ["kafka"], "event": ["kafka"]}
        session = self.session()
        answers(session, [message("V", b"1"), message("event", b"2", b"12"), message("self", b"3", b"123")])
        answers(session, [message(b"\xff", b"4", b"1234"), envelope_form.ack("V", b"5")])
        self.clock.advance(7.9)
        session.disconnected()
        size = len(V_PAYLOAD) + 2 + len(VIN)
        self.assertEqual(
            self.log.fields_of("socket_disconnected"),
            [
                {
                    "V": str(size),
                    "other": "4",
                    "": "0",
                    "total": str(size + 9),
                    "duration_sec": 7,
                    "device_id": VIN,
                    "remote_ip": "",
                }
            ],
        )


class UnknownValueTests(SessionCase):
    """A signal of ``V`` whose value is of a kind that the schema does not have."""

    PAYLOAD = b"\x0a\x07\x08\x04\x12\x03\xb8\x03\x03"

    def test_the_record_is_delivered_counted_and_logged(self) -> None:
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1", self.PAYLOAD), message("V", b"2")]), acks("V", b"1", b"2"))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"1", b"2"])
        self.assertEqual(self.value("unknown_signal_value_total"), 1)
        self.assertEqual(
            self.log.fields_of("unknown_signal_value"), [{"vin": VIN, "signals": ["VehicleSpeed"], "more_unwritten": 0}]
        )

    def test_it_is_counted_once_for_two_sinks(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        answers(self.session(), [message("V", b"1", self.PAYLOAD)])
        self.assertEqual(self.value("unknown_signal_value_total"), 1)

    def test_a_flood_over_many_connections_writes_one_line_in_an_interval(self) -> None:
        gateway = self.make()
        for _ in range(10):
            answers(gateway.connected(vehicle(), self.link), [message("V", b"1", self.PAYLOAD)] * 10)
        self.assertEqual(len(self.log.fields_of("unknown_signal_value")), 1)
        self.clock.advance(10)
        answers(gateway.connected(vehicle(), self.link), [message("V", b"1", self.PAYLOAD)])
        self.assertEqual([fields["more_unwritten"] for fields in self.log.fields_of("unknown_signal_value")], [0, 99])
        self.assertEqual(self.value("unknown_signal_value_total"), 101)
