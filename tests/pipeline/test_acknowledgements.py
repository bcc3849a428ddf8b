"""The gateway and its sessions: real codec, real lanes, scripted sinks; a link that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.ingress.fast_frames import binary_frame_header
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.gateway import Gateway
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import OWN_LABELS, TypeRoutes
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.delivery.limits import VEHICLE_BYTES, BacklogLimits
from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.line_limit import LINES
from fleetgw.domain.ports import RECEIPT, IDispatcher, IGateway, ISession, Readiness, Ready
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.recording_link import Link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.app.pipeline.session import Session
    from fleetgw.domain.ports import Outcome

VIN = "5YJ3E1EA7KF000001"
NOW_NS = 1_764_000_000_123_456_789
CODEC = RecordCodec(transmit_decoded_records=False)

V_PAYLOAD = Payload(data=[{"key": 4}, {"key": 5}]).SerializeToString()  # type: ignore[list-item]  # as protobuf takes it
ALERTS_PAYLOAD = VehicleAlerts(alerts=[{"name": "a"}, {"name": "b"}]).SerializeToString()  # type: ignore[list-item]


def vehicle(vin: str = VIN, connection_id: str = "11111111-2222-3333-4444-555555555555") -> Vehicle:
    return Vehicle(PeerIdentity("vehicle_device", vin), vin, connection_id, "1.2", "wifi")


def message(
    record_type: str | bytes, txid: bytes, payload: bytes | None = None, sender_id: str = f"vehicle_device.{VIN}"
) -> bytes:
    topic = record_type.encode() if isinstance(record_type, str) else record_type
    usual = {b"V": V_PAYLOAD, b"alerts": ALERTS_PAYLOAD}.get(topic, b"opaque")
    return write_stream(
        txid=txid,
        topic=topic,
        sender_id=sender_id.encode(),
        payload=usual if payload is None else payload,
        created_at_s=1,
        device_type=b"",
        device_id=b"",
    )


def framed(*envelopes: bytes) -> bytes:
    return b"".join(binary_frame_header(len(envelope)) + envelope for envelope in envelopes)


def acks(record_type: str, *txids: bytes) -> bytes:
    return framed(*(envelope_form.ack(record_type, txid) for txid in txids))


def error(txid: bytes = b"") -> bytes:
    return framed(envelope_form.error_reply(txid))


def answers(session: Session, messages: Sequence[bytes]) -> bytes:
    """Give a session the messages of one read; the replies that left by its link at once."""
    link = session._link
    assert isinstance(link, Link)
    sent_before = len(link.sent)
    session.received(messages)
    replies = link.sent[sent_before:]
    del link.sent[sent_before:]
    return b"".join(replies)


@implementer(IDispatcher)
class Sink:
    """Takes every batch; answers when told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: list[Record] = []
        self._open: list[tuple[int, Deferred[Sequence[Outcome]]]] = []

    def start(self) -> Deferred[None]:
        raise NotImplementedError

    def stop(self) -> Deferred[None]:
        raise NotImplementedError

    def readiness(self) -> Readiness:
        return Ready()

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        self.records += batch
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self._open.append((len(batch), answer))
        return answer

    def answer(self, outcome: Outcome = RECEIPT) -> None:
        while self._open:
            count, answer = self._open.pop(0)
            answer.callback([outcome] * count)

    @property
    def txids(self) -> list[bytes]:
        return [record.txid for record in self.records]


class GatewayCase(TestCase):
    """A gateway with the sinks kafka and logger; see ``make``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = ReadableMetrics()
        self.log = ReadableLog()
        self.sinks = {name: Sink(name) for name in ("kafka", "logger")}
        self.kafka, self.logger = self.sinks["kafka"], self.sinks["logger"]
        self.link = Link()
        self.room = {"kafka": 1000, "logger": 1000}
        self.records: Mapping[str, Sequence[str]] = {"V": ["kafka"], "alerts": ["kafka"], "custom": ["kafka"]}

    def make(
        self,
        policies: Mapping[str, str] | None = None,
        *,
        rate_limit: RateLimit | None = None,
        codec: Any = CODEC,  # or one that is broken on purpose
        tracked: Sequence[str] = (),
        max_message_bytes: int = 10_000,
    ) -> Gateway:
        self.lanes = {
            name: Lane(
                sink,
                BacklogLimits(self.room[name], 1_000_000, 1000, 1000),
                LaneTiming(0.005, 0.5, 30.0, 10.0),
                self.clock,
                self.metrics,
                self.log,
            )
            for name, sink in self.sinks.items()
        }
        self.gateway = Gateway(
            routes=TypeRoutes(
                build_routes(
                    self.records,
                    {each: read_policy(text, self.records[each]) for each, text in (policies or {}).items()},
                ),
                self.lanes,
                self.metrics,
            ),
            codec=codec,
            metrics=self.metrics,
            log=self.log,
            max_message_bytes=max_message_bytes,
            rate_limit=rate_limit,
            tracked_vins=frozenset(tracked),
            monotonic=self.clock.seconds,
            wall_ns=lambda: NOW_NS,
        )
        return self.gateway

    def session(self, policies: Mapping[str, str] | None = None, **how: Any) -> Session:  # as ``make`` takes it
        return self.make(policies, **how).connected(vehicle(), self.link)

    def dispatch(self) -> None:
        self.clock.advance(0.005)

    def value(self, name: str, *labels: str) -> float:
        return self.metrics.value(name, *labels)


class AcceptedTests(GatewayCase):
    def test_provides_the_ports(self) -> None:
        verifyObject(IGateway, self.make())
        verifyObject(ISession, self.session())

    def test_acked_once_every_lane_has_taken_it(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1", b"2"))
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1", b"2"], [b"1", b"2"]))
        self.kafka.answer(Retryable("down"))
        self.assertEqual(self.link.sent, [], "acknowledged twice")

    def test_a_lane_holds_what_records_cost_not_their_payloads_alone(self) -> None:
        for reliable in ({}, {"V": "kafka"}):
            self.kafka.records.clear()
            session = self.session(reliable)
            answers(session, [message("V", bytes(1000), b"")] * 5)
            self.dispatch()
            self.assertEqual(len(self.kafka.records), 5)
            self.assertGreater(sum(record.cost_bytes for record in self.kafka.records), 5 * 2000)
            held_bytes = self.lanes["kafka"].share.held_bytes
            self.assertEqual(held_bytes, sum(record.cost_bytes for record in self.kafka.records))

    def test_the_record_is_what_the_codec_made_of_it(self) -> None:
        answers(self.session(), [message("V", b"1")])
        self.dispatch()
        record = self.kafka.records[0]
        sent = Payload.FromString(record.payload)
        self.assertEqual((sent.vin, record.vin, record.received_at_ms), (VIN, VIN, NOW_NS // 1_000_000))
        self.assertEqual(record.metadata()["device_client_version"], "1.2")

    def test_a_full_queue_means_no_ack_and_is_counted(self) -> None:
        self.room["kafka"] = 2
        session = self.session()
        messages = [message("V", txid) for txid in (b"1", b"2", b"3")]
        self.assertEqual(answers(session, messages), acks("V", b"1", b"2"))
        self.assertEqual(answers(session, [message("V", b"3")]), b"")
        self.assertEqual(self.value("lane_refused_total", "kafka"), 2)
        self.assertEqual(self.value("record_total", "V"), 4)
        self.assertEqual(self.value("dispatch_total", "V"), 2)
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(answers(session, [message("V", b"3")]), acks("V", b"3"))

    def test_one_full_queue_withholds_the_ack_and_starves_no_other_sink(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        self.room["kafka"] = 1
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1"], [b"1", b"2"]))

    def test_nothing_in_nothing_out(self) -> None:
        self.assertEqual(answers(self.session(), []), b"")


class ConfirmedTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = {"V": ["logger", "kafka"], "alerts": ["kafka"], "errors": ["kafka"]}
        self.reliable = {"V": "kafka", "alerts": "kafka"}

    def test_acked_when_the_source_has_confirmed(self) -> None:
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

    def test_types_that_settle_together_are_counted_apart(self) -> None:
        session = self.session(self.reliable)
        self.assertEqual(answers(session, [message("V", b"1"), message("alerts", b"2"), message("errors", b"3", b"")]),
                         acks("errors", b"3"))  # fmt: skip
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(b"".join(self.link.sent), acks("V", b"1") + acks("alerts", b"2"))
        self.assertEqual([self.value("reliable_ack", each, "kafka") for each in ("V", "alerts", "errors")], [1, 1, 0])

    def test_another_sinks_failure_does_not_matter_once_it_has_taken_it(self) -> None:
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

    def test_not_acked_when_the_source_itself_had_no_room(self) -> None:
        self.room.update(kafka=1, logger=2)
        session = self.session(self.reliable)
        answers(session, [message("V", b"1"), message("V", b"2"), message("V", b"3")])
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_not_acked_when_refused_for_good_and_not_before_a_retry_has_worked(self) -> None:
        session = self.session(self.reliable)
        answers(session, [message("V", b"1")])
        self.dispatch()
        self.kafka.answer(Retryable("down"))
        self.assertEqual(self.link.sent, [])
        self.clock.advance(1)
        self.kafka.answer(Rejected("too large"))
        self.assertEqual(self.link.sent, [])
        self.assertEqual(self.value("dead_letter_total", "kafka"), 1)

    def test_a_vehicle_that_has_gone_is_missed(self) -> None:
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


class RefusalTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.gone_wrong = self.session()

    def test_unreadable(self) -> None:
        self.assertEqual(answers(self.gone_wrong, [b"\xff" * 9]), error())
        self.assertEqual(self.value("unexpected_record_err_total"), 1)
        fields = self.log.fields_of("unexpected_record")[0]
        self.assertEqual((fields["device_id"], fields["record_type"], fields["txid"]), (VIN, "", ""))

    def test_payload_that_does_not_parse(self) -> None:
        self.assertEqual(answers(self.gone_wrong, [message("V", b"1", b"\xff")]), error(b"1"))
        self.assertEqual(self.value("unexpected_record_err_total"), 1)
        self.assertEqual(self.value("record_total", "V"), 0)
        fields = self.log.fields_of("unexpected_record")[0]
        self.assertEqual((fields["record_type"], fields["txid"]), ("V", "1"))

    def test_ids_beyond_their_bound_get_an_error_reply_without_a_txid(self) -> None:
        for number, (record_type, txid, bound) in enumerate((("V", bytes(1025), "txid"), ("t" * 1025, b"1", "topic")), 1):
            self.assertEqual(answers(self.gone_wrong, [message(record_type, txid)]), error())
            self.assertEqual(self.value("record_beyond_bound_total", bound), 1)
            self.assertEqual(self.value("unexpected_record_err_total"), number)
            fields = self.log.fields_of("unexpected_record")[-1]
            self.assertEqual((fields["txid"], fields["error"]), ("", f"a {bound} of 1025 bytes; at most 1024 are taken"))
        self.assertEqual(answers(self.gone_wrong, [message("V", bytes(1024))]), acks("V", bytes(1024)))

    def test_content_beyond_its_bound_gets_an_error_reply(self) -> None:
        payload = VehicleAlerts(alerts=[{"name": "n" * 257}]).SerializeToString()  # type: ignore[list-item]
        self.assertEqual(answers(self.gone_wrong, [message("alerts", b"1", payload)]), error(b"1"))
        self.assertEqual(self.value("record_beyond_bound_total", "name"), 1)
        self.assertEqual(answers(self.gone_wrong, [message("V", b"2", b"\xff")]), error(b"2"))
        self.assertEqual(self.value("record_beyond_bound_total", "name"), 1)

    def test_a_long_sender_id_is_cut_in_the_log(self) -> None:
        self.assertEqual(answers(self.gone_wrong, [message("free", b"1", b"", "s" * 5000)]), error(b"1"))
        cut = "s" * 128 + "... (5000 bytes)"
        self.assertEqual(self.log.fields_of("unexpected_sender_id")[0]["sender_id"], cut)
        self.assertIn(cut, str(self.log.fields_of("unexpected_record")[0]["error"]))

    def test_too_big(self) -> None:
        session = self.session(max_message_bytes=len(message("V", b"1")))
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        self.assertEqual(answers(session, [message("V", b"12345")]), error())
        self.assertEqual(self.value("record_too_big_total"), 1)
        self.assertEqual(self.value("unexpected_record_err_total"), 1)

    def test_unknown_message_types_are_acked_once_and_go_nowhere(self) -> None:
        ack = envelope_form.ack("V", b"42")
        self.assertEqual(answers(self.gone_wrong, [ack, b"", bytes(20)]), acks("", b"42", b"", b""))
        self.assertEqual(self.value("unknown_message_type_error_total", "5"), 1)
        self.assertEqual(self.value("unknown_message_type_error_total", "0"), 2)
        self.assertEqual((self.value("record_total", ""), self.value("dispatch_total", "")), (3, 3))
        self.assertEqual(self.log.fields_of("unknown_message_type_error")[0]["msg_txid"], "42")
        self.dispatch()
        self.assertEqual(self.kafka.records, [])

    def test_unrouted_of_the_vehicle_itself_is_acked(self) -> None:
        for sender_id in (VIN, f"vehicle_device.{VIN}"):
            self.assertEqual(answers(self.gone_wrong, [message("free", b"1", b"1234", sender_id)]), acks("free", b"1"))
        self.assertEqual((self.value("record_total", "free"), self.value("record_size_bytes_total", "free")), (2, 8))
        self.assertEqual(self.value("dispatch_total", "free"), 2)

    def test_unrouted_of_another_sender_is_refused(self) -> None:
        for sender_id in ("", "vehicle_device.X", f"other.{VIN}", f" {VIN}"):
            self.assertEqual(answers(self.gone_wrong, [message("free", b"1", b"", sender_id)]), error(b"1"))
        self.assertEqual(self.value("unauthorized_sender_id_total"), 4)
        self.assertEqual(self.value("unexpected_record_err_total"), 4)
        self.assertEqual(self.log.fields_of("unexpected_sender_id")[1]["sender_id"], "vehicle_device.X")
        self.assertEqual(self.value("record_total", "free"), 0)

    def test_routed_of_another_sender_is_taken_for_the_vehicles_own(self) -> None:
        self.assertEqual(answers(self.gone_wrong, [message("V", b"1", sender_id="vehicle_device.X")]), acks("V", b"1"))

    def test_unrouted_is_parsed_all_the_same(self) -> None:
        self.records = {"custom": ["kafka"]}
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1", b"\xff")]), error(b"1"))
        self.assertEqual(answers(session, [message("V", b"2")]), acks("V", b"2"))
        self.assertEqual(self.value("signal_count", "V"), 2)

    def test_record_types_and_txids_of_any_bytes(self) -> None:
        topics = [b"\xff\xfe", b"", b"a\x00b", b"+/#", "ä".encode()]
        replies = b"".join(answers(self.gone_wrong, [message(topic, b"\xff\x00")]) for topic in topics)
        types = [topic.decode("utf-8", "surrogateescape") for topic in topics]
        self.assertEqual(replies, b"".join(acks(each, b"\xff\x00") for each in types))
        self.assertEqual(answers(self.gone_wrong, [message(b"\xff", b"\xff", sender_id="\x00")]), error(b"\xff"))


class MixedTests(GatewayCase):
    def test_replies_come_in_the_order_of_the_messages(self) -> None:
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

    def test_a_codec_that_breaks_on_one_message_answers_it_and_serves_the_others(self) -> None:
        class Brittle(RecordCodec):
            def read_record(self, record_type: str, envelope: Any, vehicle: Vehicle, received_at_ms: int) -> Record:
                if envelope.txid == b"bad":
                    raise RecursionError("too deep")
                return super().read_record(record_type, envelope, vehicle, received_at_ms)

        session = self.session(codec=Brittle(transmit_decoded_records=False))
        replies = answers(session, [message("V", b"1"), message("V", b"bad"), message("V", b"2")])
        self.assertEqual(replies, acks("V", b"1") + error(b"bad") + acks("V", b"2"))
        self.assertIn("RecursionError", str(self.log.fields_of("unexpected_record")[0]["error"]))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.binary(max_size=120), max_size=6))
    def test_no_bytes_raise(self, messages: list[bytes]) -> None:
        session = self.session()
        replies = answers(session, messages)
        self.assertGreaterEqual(len(replies), 40 * len(messages))

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_no_mutation_raises_and_each_message_has_one_answer(self, data: st.DataObject) -> None:
        session = self.session()
        mutant = bytearray(message("V", b"1"))
        for _ in range(data.draw(st.integers(1, 4))):
            mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
        replies = answers(session, [bytes(mutant)])
        self.assertEqual(replies[0], 0x82)
        self.assertEqual(replies, framed(replies[2:] if replies[1] < 126 else replies[4:]), "not one frame")


class RateLimitTests(GatewayCase):
    def test_over_the_limit_neither_acked_nor_dispatched_but_counted(self) -> None:
        session = self.session(rate_limit=RateLimit(3, 60))
        messages = [message("V", b"%d" % number) for number in range(5)]
        self.assertEqual(answers(session, messages), acks("V", b"0", b"1", b"2"))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"0", b"1", b"2"])
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "V"), 2)
        self.assertEqual(self.value("record_total", "V"), 3)
        self.clock.advance(20)
        self.assertEqual(answers(session, [message("V", b"3"), message("V", b"4")]), acks("V", b"3"))

    def test_each_connection_has_its_own(self) -> None:
        gateway = self.make(rate_limit=RateLimit(1, 60))
        for number in range(3):
            session = gateway.connected(vehicle(f"VIN{number}"), Link())
            self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))

    def test_labels_are_bounded(self) -> None:
        gateway = self.make(rate_limit=RateLimit(1, 60), tracked=[VIN])
        for number in range(20):
            session = gateway.connected(vehicle(f"VIN{number}"), Link())
            answers(session, [message("V", b"1"), message("V", b"2"), message(f"free{number}", b"3")])
        answers(gateway.connected(vehicle(), Link()), [message("V", b"1"), message("V", b"2")])
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "V"), 20)
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "other"), 20)
        self.assertEqual(self.value("rate_limit_exceeded_total", VIN, "V"), 1)

    def test_a_flood_is_logged_once_until_a_record_passes(self) -> None:
        session = self.session(rate_limit=RateLimit(1, 60))
        answers(session, [message("V", b"1")] * 50)
        answers(session, [message("V", b"1")] * 50)
        self.assertEqual(len(self.log.fields_of("rate_limit_exceeded")), 1)
        self.clock.advance(60)
        answers(session, [message("V", b"1")] * 50)
        self.assertEqual(len(self.log.fields_of("rate_limit_exceeded")), 2)

    def test_all_connections_of_a_vehicle_share_one_limit(self) -> None:
        gateway = self.make(rate_limit=RateLimit(10, 60))
        sessions = [gateway.connected(vehicle(), Link()) for _ in range(50)]
        for session in sessions:
            answers(session, [message("V", b"%d" % number) for number in range(10)])
        self.dispatch()
        self.assertEqual(len(self.kafka.records), 10)

    def test_connecting_again_does_not_lift_the_limit(self) -> None:
        gateway = self.make(rate_limit=RateLimit(10, 60))
        for _ in range(50):
            session = gateway.connected(vehicle(), Link())
            answers(session, [message("V", b"%d" % number) for number in range(10)])
            session.disconnected()
        self.dispatch()
        self.assertEqual(len(self.kafka.records), 10)

    def test_order_of_what_passes_and_what_is_refused(self) -> None:
        session = self.session(rate_limit=RateLimit(1, 60))
        replies = answers(session, [message("V", b"1"), message("V", b"2"), b"\xff" * 9])
        self.assertEqual(replies, acks("V", b"1") + error())


class LogFloodTests(GatewayCase):
    """What a vehicle sends makes a bounded number of lines, over all of its connections, and lines of a bounded length."""

    def flood(self, *messages: bytes) -> int:
        """The most characters of all lines about one vehicle that sends these again and again for a second."""
        gateway = self.make(max_message_bytes=1_000_000)
        sessions = [gateway.connected(vehicle(), self.link) for _ in range(5)]
        for _ in range(50):
            for session in sessions:
                answers(session, messages)
            self.clock.advance(0.02)
        return sum(len(str(fields)) for _, _, fields in self.log.entries)

    def test_of_whatever_kind(self) -> None:
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

    def test_what_was_left_out_is_said_with_the_next_line(self) -> None:
        session = self.session()
        answers(session, [b""] * 100)
        self.clock.advance(10)
        answers(session, [b""])
        lines = self.log.fields_of("unknown_message_type_error")
        self.assertEqual([fields.get("more_unwritten", 0) for fields in lines], [0] * LINES + [100 - LINES])

    def test_one_vehicles_flood_hides_no_other_vehicle(self) -> None:
        gateway = self.make()
        answers(gateway.connected(vehicle(), Link()), [b""] * 1000)
        answers(gateway.connected(vehicle("ANOTHER"), Link()), [b""])
        self.assertEqual(self.log.fields_of("unknown_message_type_error")[-1]["device_id"], "ANOTHER")


class SharingTests(GatewayCase):
    """While several vehicles are connected, none fills a queue for the others."""

    def test_one_vehicle_leaves_room_for_another(self) -> None:
        gateway = self.make()
        hostile, honest = (gateway.connected(vehicle(vin), Link()) for vin in ("HOSTILE", "HONEST"))
        answers(hostile, [message("V", b"%d" % number) for number in range(2000)])
        self.assertEqual(answers(honest, [message("V", b"1")]), acks("V", b"1"))

    def test_many_connections_of_one_vehicle_are_one_vehicle(self) -> None:
        gateway = self.make()
        sessions = [gateway.connected(vehicle(), Link()) for _ in range(10)]
        for session in sessions:
            answers(session, [message("V", b"%d" % number) for number in range(60)])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0, "it has the whole queue")

    def test_an_honest_record_is_handed_over_before_a_flood_that_came_first(self) -> None:
        gateway = self.make()
        hostile, honest = (gateway.connected(vehicle(vin), Link()) for vin in ("HOSTILE", "HONEST"))
        payload = Payload(data=[{"key": 4}] * 20).SerializeToString()  # type: ignore[list-item]
        answers(hostile, [message("V", b"%d" % number, payload) for number in range(100)])
        answers(honest, [message("V", b"honest")])
        while b"honest" not in self.kafka.txids:
            self.dispatch()
            self.kafka.answer()
        cost_bytes = sum(each.cost_bytes for each in self.kafka.records)
        self.assertLessEqual(cost_bytes, VEHICLE_BYTES + self.kafka.records[-1].cost_bytes)
        for _ in range(10):
            self.dispatch()
            self.kafka.answer()
        flood = [each.txid for each in self.kafka.records if each.vin == "HOSTILE"]
        self.assertEqual(flood, [b"%d" % number for number in range(100)])

    def test_a_full_queue_of_another_sink_does_not_withhold_the_ack(self) -> None:
        self.records = {"V": ["logger", "kafka"]}
        self.room["logger"] = 1
        gateway = self.make({"V": "kafka"})
        session, _other = (gateway.connected(vehicle(vin), self.link) for vin in ("A", "B"))
        answers(session, [message("V", b"1")])
        answers(session, [message("V", b"2")])
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")])
        self.assertEqual(self.kafka.txids, [b"1", b"2"])

    def test_the_last_but_one_to_leave_gives_back_its_share(self) -> None:
        gateway = self.make()
        first, second = (gateway.connected(vehicle(vin), Link()) for vin in ("A", "B"))
        second.disconnected()
        answers(first, [message("V", b"%d" % number) for number in range(600)])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0)


class UnknownValueTests(GatewayCase):
    """A signal of ``V`` whose value is of a kind that the schema does not have."""

    PAYLOAD = b"\x0a\x07\x08\x04\x12\x03\xb8\x03\x03"

    def test_passes_and_is_counted_and_logged_whatever_the_sink(self) -> None:
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1", self.PAYLOAD), message("V", b"2")]), acks("V", b"1", b"2"))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"1", b"2"])
        self.assertEqual(self.value("unknown_signal_value_total"), 1)
        self.assertEqual(
            self.log.fields_of("unknown_signal_value"), [{"vin": VIN, "signals": ["VehicleSpeed"], "more_unwritten": 0}]
        )

    def test_once_per_record_though_two_sinks_get_it(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        answers(self.session(), [message("V", b"1", self.PAYLOAD)])
        self.assertEqual(self.value("unknown_signal_value_total"), 1)

    def test_a_flood_over_many_connections_is_no_flood_of_lines(self) -> None:
        gateway = self.make()
        for _ in range(10):
            answers(gateway.connected(vehicle(), self.link), [message("V", b"1", self.PAYLOAD)] * 10)
        self.assertEqual(len(self.log.fields_of("unknown_signal_value")), 1)
        self.clock.advance(10)
        answers(gateway.connected(vehicle(), self.link), [message("V", b"1", self.PAYLOAD)])
        self.assertEqual([fields["more_unwritten"] for fields in self.log.fields_of("unknown_signal_value")], [0, 99])
        self.assertEqual(self.value("unknown_signal_value_total"), 101)


class ConnectivityTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = {"connectivity": ["kafka", "logger"], "V": ["kafka"]}

    def test_connect_and_disconnect_are_records(self) -> None:
        session = self.session()
        self.dispatch()
        session.disconnected()
        self.dispatch()
        for sink in self.sinks.values():
            contents = [VehicleConnectivity.FromString(record.payload) for record in sink.records]
            self.assertEqual(
                [content.status for content in contents], [ConnectivityEvent.CONNECTED, ConnectivityEvent.DISCONNECTED]
            )
            for record, content in zip(sink.records, contents, strict=True):
                self.assertEqual((content.vin, content.network_interface), (VIN, "wifi"))
                self.assertEqual(content.connection_id, session.vehicle.connection_id)
                self.assertEqual(record.txid, session.vehicle.connection_id.encode())
                self.assertEqual(content.created_at.ToNanoseconds(), NOW_NS)
        self.assertEqual(self.link.sent, [])

    def test_none_without_a_route(self) -> None:
        self.records = {"V": ["kafka"]}
        self.session().disconnected()
        self.dispatch()
        self.assertEqual(self.kafka.records, [])

    def test_a_full_queue_is_said(self) -> None:
        self.room["kafka"] = 1
        self.session().disconnected()
        self.assertEqual(
            self.log.fields_of("connectivity_dropped"), [{"vin": VIN, "dispatcher": "kafka", "status": "DISCONNECTED"}]
        )

    def test_who_connects_in_a_loop_has_few_lines(self) -> None:
        self.room["kafka"] = 0
        gateway = self.make()
        bad = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id", "", "\udcff")
        for each in (vehicle(), bad):
            for _ in range(LINES + 5):
                gateway.connected(each, Link()).disconnected()
        for event in ("connectivity_dropped", "connectivity_failed"):
            self.assertEqual(len(self.log.fields_of(event)), LINES, event)

    def test_what_cannot_be_written_keeps_no_vehicle_out(self) -> None:
        gateway = self.make()
        bad = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id", "", "\udcff")
        session = gateway.connected(bad, self.link)
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        session.disconnected()
        self.assertEqual(len(self.log.fields_of("connectivity_failed")), 2)
        self.assertEqual(self.value("num_connections"), 0)


class NumberTests(GatewayCase):
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

    def test_hostile_record_types_make_no_end_of_labels_nor_of_totals(self) -> None:
        session = self.session()
        answers(session, [message("x" * 65, b"1"), message("a\nb", b"1")])
        for number in range(3 * OWN_LABELS):
            answers(session, [message(f"free{number}", b"1"), message(b"\xff%d" % number, b"1")])
        labelled = [number for number in range(3 * OWN_LABELS) if self.value("record_total", f"free{number}")]
        self.assertEqual(labelled, list(range(OWN_LABELS)))
        self.assertEqual(self.value("record_total", "other"), 5 * OWN_LABELS + 2)
        self.assertEqual(len(session.size_bytes), OWN_LABELS + 1)

    def test_the_known_types_keep_their_labels(self) -> None:
        self.records = {"custom": ["kafka"]}
        session = self.session()
        for number in range(OWN_LABELS):
            answers(session, [message(f"free{number}", b"1")])
        answers(session, [message("V", b"1")])
        self.assertEqual((self.value("record_total", "V"), self.value("signal_count", "V")), (1, 2))

    def test_record_types_are_bounded_in_what_is_logged_when_a_vehicle_goes(self) -> None:
        session = self.session()
        for number in range(3 * OWN_LABELS):
            answers(session, [message(f"type {number}", b"1"), message("long" * 200 + str(number), b"2")])
        session.disconnected()
        (fields,) = self.log.fields_of("socket_disconnected")
        self.assertLessEqual(len(fields), OWN_LABELS + 4)
        self.assertLessEqual(max(map(len, fields)), OWN_LABELS)

    def test_what_a_vehicle_sent_is_logged_when_it_goes(self) -> None:
        self.records = {"V": ["kafka"], "event": ["kafka"]}
        session = self.session()
        answers(session, [message("V", b"1"), message("event", b"2", b"12"), message("self", b"3", b"123")])
        answers(session, [message(b"\xff", b"4", b"1234"), envelope_form.ack("V", b"5")])
        self.clock.advance(7.9)
        session.disconnected()
        size = len(V_PAYLOAD) + 2 + len(VIN)
        self.assertEqual(
            self.log.fields_of("socket_disconnected"),
            [{"V": str(size), "other": "4", "": "0", "total": str(size + 9), "duration_sec": 7, "device_id": VIN}],
        )
