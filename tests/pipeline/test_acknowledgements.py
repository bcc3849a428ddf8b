"""Acknowledgements: when records are acked, and in which order replies leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import IGateway, ISession
from tests.support.recording_link import Link
from tests.support.session_case import (
    NOW_NS,
    VIN,
    SessionCase,
    acks,
    answers,
    error,
    framed,
    message,
    vehicle,
)

if TYPE_CHECKING:
    from fleetgw.domain.records import Record, Vehicle


class AcceptedTests(SessionCase):
    def test_provides_the_ports(self) -> None:
        verifyObject(IGateway, self.make())
        verifyObject(ISession, self.session())

    def test_a_record_is_acked_once_every_lane_has_taken_it(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1", b"2"))
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1", b"2"], [b"1", b"2"]))
        self.kafka.answer(Retryable("down"))
        self.assertEqual(self.link.sent, [], "acknowledged twice")

    def test_a_lane_counts_the_cost_of_records_not_only_their_payloads(self) -> None:
        for reliable in ({}, {"V": "kafka"}):
            self.kafka.records.clear()
            session = self.session(reliable)
            answers(session, [message("V", bytes(1000), b"")] * 5)
            self.dispatch()
            self.assertEqual(len(self.kafka.records), 5)
            self.assertGreater(sum(record.cost_bytes for record in self.kafka.records), 5 * 2000)
            held_bytes = self.lanes["kafka"].share.held_bytes
            self.assertEqual(held_bytes, sum(record.cost_bytes for record in self.kafka.records))

    def test_the_sink_gets_the_decoded_record(self) -> None:
        answers(self.session(), [message("V", b"1")])
        self.dispatch()
        record = self.kafka.records[0]
        sent = Payload.FromString(record.payload)
        self.assertEqual((sent.vin, record.vin, record.received_at_ms), (VIN, VIN, NOW_NS // 1_000_000))
        self.assertEqual(record.metadata()["device_client_version"], "1.2")

    def test_a_full_queue_withholds_the_ack_until_it_has_room(self) -> None:
        self.room["kafka"] = 2
        session = self.session()
        messages = [message("V", txid) for txid in (b"1", b"2", b"3")]
        self.assertEqual(answers(session, messages), acks("V", b"1", b"2"))
        self.assertEqual((self.value("record_total", "V"), self.value("dispatch_total", "V")), (3, 2))
        self.dispatch()
        self.kafka.answer()
        self.clock.advance(0)
        self.assertEqual(self.link.sent, [acks("V", b"3")])
        self.assertEqual((self.value("record_total", "V"), self.value("dispatch_total", "V")), (3, 3))
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0)

    def test_one_full_queue_withholds_the_ack_but_not_the_record_from_other_sinks(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        self.room["kafka"] = 1
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1"], [b"1", b"2"]))

    def test_no_messages_get_no_replies(self) -> None:
        self.assertEqual(answers(self.session(), []), b"")


class ConfirmedTests(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = {"V": ["logger", "kafka"], "alerts": ["kafka"], "errors": ["kafka"]}
        self.reliable = {"V": "kafka", "alerts": "kafka"}

    def test_records_are_acked_in_one_write_when_the_source_confirms(self) -> None:
        session = self.session(self.reliable)
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), b"")
        self.dispatch()
        self.logger.answer()
        self.assertEqual(self.link.sent, [])
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")], "not in one write")
        self.assertEqual(self.value("reliable_ack", "V", "kafka"), 2)
        self.assertEqual(self.value("kafka_reliable_ack_total", "V"), 2)
        self.assertEqual(self.value("reliable_ack_miss", "V", "kafka"), 0)

    def test_record_types_confirmed_together_are_counted_apart(self) -> None:
        session = self.session(self.reliable)
        self.assertEqual(answers(session, [message("V", b"1"), message("alerts", b"2"), message("errors", b"3", b"")]),
                         acks("errors", b"3"))  # fmt: skip
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(b"".join(self.link.sent), acks("V", b"1") + acks("alerts", b"2"))
        self.assertEqual([self.value("reliable_ack", each, "kafka") for each in ("V", "alerts", "errors")], [1, 1, 0])

    def test_the_failure_of_another_sink_does_not_withhold_the_ack(self) -> None:
        session = self.session(self.reliable)
        answers(session, [message("V", b"1")])
        self.dispatch()
        self.logger.answer(Rejected("no"))
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_a_full_queue_of_another_sink_does_not_withhold_the_ack(self) -> None:
        self.room["logger"] = 1
        session = self.session(self.reliable)
        answers(session, [message("V", b"1"), message("V", b"2")])
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1", b"2"], [b"1"]))
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")])
        self.assertEqual(self.value("lane_refused_total", "logger"), 1)
        self.assertEqual(self.value("dispatch_total", "V"), 1)

    def test_a_record_is_not_acked_when_the_queue_of_the_source_is_full(self) -> None:
        self.room.update(kafka=1, logger=2)
        session = self.session(self.reliable)
        answers(session, [message("V", b"1"), message("V", b"2"), message("V", b"3")])
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_a_retryable_record_and_a_rejected_record_are_not_acked(self) -> None:
        session = self.session(self.reliable)
        answers(session, [message("V", b"1")])
        self.dispatch()
        self.kafka.answer(Retryable("down"))
        self.assertEqual(self.link.sent, [])
        self.clock.advance(1)
        self.kafka.answer(Rejected("too large"))
        self.assertEqual(self.link.sent, [])
        self.assertEqual(self.value("dead_letter_total", "kafka"), 1)

    def test_the_ack_of_a_disconnected_vehicle_counts_as_missed(self) -> None:
        session = self.session(self.reliable)
        answers(session, [message("V", b"1"), message("V", b"2")])
        self.dispatch()
        session.disconnected()
        self.kafka.answer()
        self.assertEqual(self.link.sent, [])
        self.assertEqual(self.value("reliable_ack_miss", "V", "kafka"), 2)
        self.assertEqual(self.value("reliable_ack", "V", "kafka"), 0)
        self.assertEqual(self.value("kafka_reliable_ack_total", "V"), 2)

    def test_each_vehicle_gets_its_own_acks(self) -> None:
        gateway = self.make(self.reliable)
        links = [Link() for _ in range(3)]
        sessions = [gateway.connected(vehicle(f"VIN{number}"), link) for number, link in enumerate(links)]
        for txid in (b"1", b"2"):
            for number, session in enumerate(sessions):
                answers(session, [message("V", b"%d-%s" % (number, txid))])
        self.dispatch()
        self.assertEqual([record.vin for record in self.kafka.records], ["VIN0", "VIN1", "VIN2"] * 2)
        self.kafka.answer()
        self.assertEqual([link.sent for link in links], [[acks("V", b"%d-1" % n, b"%d-2" % n)] for n in range(3)])

    def test_two_connections_with_one_connection_id_get_their_own_acks(self) -> None:
        gateway = self.make(self.reliable)
        old_link, new_link = Link(), Link()
        old = gateway.connected(vehicle(), old_link)
        new = gateway.connected(vehicle(), new_link)
        answers(old, [message("V", b"old")])
        answers(new, [message("V", b"new")])
        self.dispatch()
        self.kafka.answer()
        self.assertEqual((old_link.sent, new_link.sent), ([acks("V", b"old")], [acks("V", b"new")]))
        answers(new, [message("V", b"new 2")])
        old.disconnected()
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(new_link.sent[1:], [acks("V", b"new 2")], "a late close took the other's acks away")


class MixedTests(SessionCase):
    def test_replies_are_in_the_order_of_the_messages(self) -> None:
        session = self.session()
        replies = answers(
            session,
            [
                message("V", b"1"),
                message("V", b"2"),
                b"\xff" * 9,
                message("alerts", b"3"),
                message("V", b"4", b"\xff"),
                envelope_form.ack("V", b"5"),
                message("V", b"6"),
                message("free", b"7"),
                message("free", b"8", sender_id="X"),
                message("custom", b"9"),
            ],
        )
        expected = [
            acks("V", b"1", b"2"),
            error(),
            acks("alerts", b"3"),
            error(b"4"),
            acks("", b"5"),
            acks("V", b"6"),
            acks("free", b"7"),
            error(b"8"),
            acks("custom", b"9"),
        ]
        self.assertEqual(replies, b"".join(expected))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"6", b"9"])

    def test_an_unexpected_error_of_the_codec_refuses_one_message_alone(self) -> None:
        class Brittle(RecordCodec):
            def read_record(self, record_type: str, envelope: Any, vehicle: Vehicle, received_at_ms: int) -> Record:
                if envelope.txid == b"bad":
                    raise RecursionError("too deep")
                return super().read_record(record_type, envelope, vehicle, received_at_ms)

        session = self.session(codec=Brittle(transmit_decoded_records=False))
        replies = answers(session, [message("V", b"1"), message("V", b"bad"), message("V", b"2")])
        self.assertEqual(replies, acks("V", b"1") + error(b"bad") + acks("V", b"2"))
        self.assertIn("RecursionError", str(self.log.fields_of("unexpected_record")[0]["error"]))

    @settings(max_examples=150)
    @given(st.lists(st.binary(max_size=120), max_size=6))
    def test_no_message_raises(self, messages: list[bytes]) -> None:
        session = self.session()
        replies = answers(session, messages)
        self.assertGreaterEqual(len(replies), 40 * len(messages))

    @settings(max_examples=150)
    @given(st.data())
    def test_no_mutated_message_raises_and_each_gets_one_reply(self, data: st.DataObject) -> None:
        session = self.session()
        mutant = bytearray(message("V", b"1"))
        for _ in range(data.draw(st.integers(1, 4))):
            mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
        replies = answers(session, [bytes(mutant)])
        self.assertEqual(replies[0], 0x82)
        self.assertEqual(replies, framed(replies[2:] if replies[1] < 126 else replies[4:]), "not one frame")
