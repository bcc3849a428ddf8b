"""``gateway_status`` records: made in time, routed and counted as all others."""

from __future__ import annotations

import json
from typing import Any

from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.app.operations.gateway_status import INTERVAL_S, StatusRecords
from fleetgw.app.operations.ticking import Ticking
from tests.support.books import assert_balanced
from tests.support.observed_case import ObservedCase
from tests.support.session_case import NOW_NS, answers, error, message

HOST = "gw-1.example.com"


class StatusRecordsTests(ObservedCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = {"V": ["kafka"], "gateway_status": ["kafka", "logger"]}

    def started(self, **how: Any) -> StatusRecords:  # as ``session`` takes it
        self.session_made = self.observed(**how)
        made = StatusRecords(
            self.gateway.sessions, self.overview.status, self.clock, lambda: NOW_NS, self.log, HOST, lambda: True
        )
        ticking = Ticking(self.clock, self.log, [made.make], interval_s=INTERVAL_S, at_once=False)
        ticking.start()
        self.addCleanup(ticking.stop)
        return made

    def interval(self) -> None:
        for _ in range(int(INTERVAL_S)):
            self.clock.advance(1)
        self.dispatch()

    def test_a_record_every_interval_goes_to_each_sink(self) -> None:
        self.started()
        self.session_made.received([message("V", b"1")])
        self.interval()
        self.interval()
        for sink in (self.kafka, self.logger):
            sink.answer()
        records = self.logger.records
        self.assertEqual([record.record_type for record in records], ["gateway_status"] * 2)
        first, second = records
        self.assertEqual((first.vin, first.vehicle.identity.sender_id), ("gw-1-example-com", "gateway.gw-1-example-com"))
        self.assertNotEqual(first.txid, second.txid)
        self.assertEqual(first.received_at_ms, NOW_NS // 1_000_000)
        content = GatewayStatus.FromString(first.payload)
        self.assertEqual(content, first.content)
        self.assertEqual(
            (content.host, content.version, content.uptime_s, content.health.state, content.vehicles.connected),
            (HOST, "1.2.3", 30, "ok", 1),
        )
        self.assertEqual([(each.record_type, each.received_total) for each in content.records], [("V", 1)])
        self.assertEqual([(each.name, each.state, each.capacity) for each in content.sinks][:1], [("kafka", "ready", 1000)])
        self.assertEqual((content.ledger.balanced, content.ledger.lost, content.HasField("spool")), (True, 0, False))
        ledger = assert_balanced(self.metrics)
        self.assertEqual(ledger.sinks["gateway_status", "logger"].delivered, 2)

    def test_the_json_form(self) -> None:
        self.started(codec=RecordCodec(transmit_decoded_records=True))
        self.health.state = "degraded"
        self.interval()
        data = json.loads(self.kafka.records[0].payload)
        self.assertEqual(data["health"], {"state": "degraded", "reasons": ["kafka is down"]})
        self.assertEqual((data["uptimeS"], data["createdAt"]), ("30", "2025-11-24T16:00:00.123456789Z"))
        self.assertEqual(data["spool"] is None, not self.spools_all)

    def test_without_a_route_there_is_none(self) -> None:
        self.records = {"V": ["kafka"]}
        self.started()
        self.interval()
        self.assertEqual(self.kafka.records, [])

    def test_a_full_queue_drops_it_and_says_so(self) -> None:
        self.room["logger"] = 1
        self.started()
        for _ in range(4):
            self.interval()
        self.assertTrue(self.log.fields_of("gateway_status_dropped"))
        self.assertEqual({*map(str, self.log.fields_of("gateway_status_dropped"))}, {"{'dispatcher': 'logger'}"})
        self.assertEqual(len(self.kafka.records), 4)

    def test_a_gateway_that_stops_makes_none(self) -> None:
        self.started().is_serving = lambda: False
        self.interval()
        self.assertEqual(self.kafka.records, [])

    def test_a_vehicle_cannot_send_one(self) -> None:
        self.started()
        self.assertEqual(answers(self.session_made, [message("gateway_status", b"1", b"")]), error(b"1"))
        (refused,) = self.gateway.recent_refusals.newest_first
        self.assertIn("the gateway alone", refused.text)


class SpooledStatusTests(StatusRecordsTests):
    """The same with a spool, which keeps the records while a queue is full."""

    spools_all = True

    def test_a_full_queue_drops_it_and_says_so(self) -> None:
        self.room["logger"] = 1
        self.started()
        for _ in range(4):
            self.interval()
            self.clock.advance(1)
        self.assertEqual(self.log.fields_of("gateway_status_dropped"), [])
        for _ in range(10):
            self.logger.answer()
            self.kafka.answer()
            self.clock.advance(1)
        self.assertEqual(len(self.logger.records), 4)

    def test_a_record_every_interval_goes_to_each_sink(self) -> None:
        self.started()
        self.interval()
        self.assertEqual(GatewayStatus.FromString(self.kafka.records[0].payload).spool.max_bytes, 1_000_000)
