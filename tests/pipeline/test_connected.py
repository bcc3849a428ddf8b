"""Connected vehicles: connectivity records, rate limits, and lanes shared by several vehicles."""

from __future__ import annotations

from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.domain.delivery.limits import VEHICLE_BYTES
from fleetgw.domain.line_limit import LINES
from fleetgw.domain.records import PeerIdentity, Vehicle
from tests.support.recording_link import Link
from tests.support.session_case import (
    NOW_NS,
    VIN,
    SessionCase,
    acks,
    answers,
    error,
    message,
    vehicle,
)


class ConnectivityTests(SessionCase):
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

    def statuses(self) -> list[tuple[str, str]]:
        """Status and connection id of each record that kafka has, once all have been dispatched."""
        self.dispatch()
        contents = [VehicleConnectivity.FromString(record.payload) for record in self.kafka.records]
        return [(ConnectivityEvent.Name(content.status), content.connection_id) for content in contents]

    def test_an_old_connection_that_ends_after_a_reconnect_makes_no_record(self) -> None:
        gateway = self.make()
        old, new, other = (
            gateway.connected(vehicle(vin, name), Link()) for vin, name in ((VIN, "old"), (VIN, "new"), ("OTHER", "other"))
        )
        old.disconnected()
        self.assertEqual(self.statuses(), [("CONNECTED", "old"), ("CONNECTED", "new"), ("CONNECTED", "other")])
        other.disconnected()
        new.disconnected()
        self.assertEqual(self.statuses()[3:], [("DISCONNECTED", "other"), ("DISCONNECTED", "new")])

    def test_two_connections_of_a_vehicle_make_one_disconnected(self) -> None:
        gateway = self.make()
        old, new = (gateway.connected(vehicle(VIN, name), Link()) for name in ("old", "new"))
        new.disconnected()
        old.disconnected()
        self.assertEqual(self.statuses()[2:], [("DISCONNECTED", "old")])

    def test_disconnected_is_held_back_and_dropped_by_a_reconnect(self) -> None:
        gateway = self.make(debounce_s=10)
        gateway.connected(vehicle(VIN, "1"), Link()).disconnected()
        self.clock.advance(9)
        second = gateway.connected(vehicle(VIN, "2"), Link())
        self.clock.advance(20)
        self.assertEqual(self.statuses(), [("CONNECTED", "1"), ("CONNECTED", "2")])
        second.disconnected()
        self.clock.advance(9.9)
        self.assertEqual(len(self.statuses()), 2)
        self.clock.advance(0.1)
        self.assertEqual(self.statuses()[2:], [("DISCONNECTED", "2")])

    def test_a_stop_emits_records_that_are_held_back(self) -> None:
        gateway = self.make(debounce_s=10)
        for vin in ("A", "B"):
            gateway.connected(vehicle(vin, vin), Link()).disconnected()
        gateway.all_disconnected()
        self.assertEqual(self.statuses()[2:], [("DISCONNECTED", "A"), ("DISCONNECTED", "B")])
        self.clock.advance(20)
        self.assertEqual(len(self.statuses()), 4)

    def test_a_vehicle_that_leaves_after_the_stop_leaves_no_timer(self) -> None:
        session = self.make(debounce_s=10).connected(vehicle(VIN, "late"), Link())
        self.gateway.all_disconnected()
        session.disconnected()
        self.assertEqual(self.statuses(), [("CONNECTED", "late"), ("DISCONNECTED", "late")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_there_are_none_without_a_route(self) -> None:
        self.records = {"V": ["kafka"]}
        self.session().disconnected()
        self.dispatch()
        self.assertEqual(self.kafka.records, [])

    def test_a_record_that_a_full_queue_does_not_take_is_logged(self) -> None:
        self.room["kafka"] = 1
        self.session().disconnected()
        self.assertEqual(
            self.log.fields_of("connectivity_dropped"), [{"vin": VIN, "dispatcher": "kafka", "status": "DISCONNECTED"}]
        )

    def test_a_vehicle_that_reconnects_in_a_loop_writes_few_lines(self) -> None:
        self.room["kafka"] = 0
        gateway = self.make()
        bad = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id", "", "\udcff")
        for each in (vehicle(), bad):
            for _ in range(LINES + 5):
                gateway.connected(each, Link()).disconnected()
        for event in ("connectivity_dropped", "connectivity_failed"):
            self.assertEqual(len(self.log.fields_of(event)), LINES, event)

    def test_a_record_that_cannot_be_encoded_does_not_keep_the_vehicle_out(self) -> None:
        gateway = self.make()
        bad = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id", "", "\udcff")
        session = gateway.connected(bad, self.link)
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        session.disconnected()
        self.assertEqual(len(self.log.fields_of("connectivity_failed")), 2)
        self.assertEqual(self.value("num_connections"), 0)


class RateLimitTests(SessionCase):
    def test_records_over_the_limit_are_counted_but_neither_acked_nor_dispatched(self) -> None:
        session = self.session(rate_limit=RateLimit(3, 60))
        messages = [message("V", b"%d" % number) for number in range(5)]
        self.assertEqual(answers(session, messages), acks("V", b"0", b"1", b"2"))
        self.dispatch()
        self.assertEqual(self.kafka.txids, [b"0", b"1", b"2"])
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "V"), 2)
        self.assertEqual(self.value("record_total", "V"), 3)
        self.clock.advance(20)
        self.assertEqual(answers(session, [message("V", b"3"), message("V", b"4")]), acks("V", b"3"))

    def test_each_vehicle_has_its_own_limit(self) -> None:
        gateway = self.make(rate_limit=RateLimit(1, 60))
        for number in range(3):
            session = gateway.connected(vehicle(f"VIN{number}"), Link())
            self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))

    def test_the_labels_of_its_metric_are_bounded(self) -> None:
        gateway = self.make(rate_limit=RateLimit(1, 60), tracked=[VIN])
        for number in range(20):
            session = gateway.connected(vehicle(f"VIN{number}"), Link())
            answers(session, [message("V", b"1"), message("V", b"2"), message(f"free{number}", b"3")])
        answers(gateway.connected(vehicle(), Link()), [message("V", b"1"), message("V", b"2")])
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "V"), 20)
        self.assertEqual(self.value("rate_limit_exceeded_total", "other", "other"), 20)
        self.assertEqual(self.value("rate_limit_exceeded_total", VIN, "V"), 1)

    def test_a_flood_is_logged_once_in_an_interval(self) -> None:
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

    def test_a_reconnect_does_not_lift_the_limit(self) -> None:
        gateway = self.make(rate_limit=RateLimit(10, 60))
        for _ in range(50):
            session = gateway.connected(vehicle(), Link())
            answers(session, [message("V", b"%d" % number) for number in range(10)])
            session.disconnected()
        self.dispatch()
        self.assertEqual(len(self.kafka.records), 10)

    def test_replies_keep_their_order_around_a_record_over_the_limit(self) -> None:
        session = self.session(rate_limit=RateLimit(1, 60))
        replies = answers(session, [message("V", b"1"), message("V", b"2"), b"\xff" * 9])
        self.assertEqual(replies, acks("V", b"1") + error())


class SharingTests(SessionCase):
    """While several vehicles are connected, none can fill a queue."""

    def test_one_vehicle_leaves_room_for_another(self) -> None:
        gateway = self.make()
        hostile, honest = (gateway.connected(vehicle(vin), Link()) for vin in ("HOSTILE", "HONEST"))
        answers(hostile, [message("V", b"%d" % number) for number in range(2000)])
        self.assertEqual(answers(honest, [message("V", b"1")]), acks("V", b"1"))

    def test_many_connections_of_one_vehicle_count_as_one(self) -> None:
        gateway = self.make()
        sessions = [gateway.connected(vehicle(), Link()) for _ in range(10)]
        for session in sessions:
            answers(session, [message("V", b"%d" % number) for number in range(60)])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0, "one vehicle has the whole queue")

    def test_an_honest_record_is_dispatched_before_an_earlier_flood(self) -> None:
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

    def test_the_last_vehicle_gets_the_whole_queue_back(self) -> None:
        gateway = self.make()
        first, second = (gateway.connected(vehicle(vin), Link()) for vin in ("A", "B"))
        second.disconnected()
        answers(first, [message("V", b"%d" % number) for number in range(600)])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0)
