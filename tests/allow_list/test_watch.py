"""The allow list of a running gateway: the decision before the upgrade, failing sources, and the age of the last answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.allow_list.watch import AllowListWatch
from fleetgw.domain.allow_list import ALLOWED, NOT_LISTED, AllowList, NoList
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.health import Phase
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.allow_list_contract import FIRST, SECOND
from tests.support.allow_list_source import ScriptedSource
from tests.support.gateway_in_memory import VIN, GatewayCase


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.log, self.metrics = ThreadlessReactor(), ReadableLog(), ReadableMetrics()
        self.source, self.allow_list = ScriptedSource(), AllowList(100.0)
        self.watch = AllowListWatch(self.source, self.allow_list, self.clock, self.log, self.metrics)
        self.started = self.watch.start()

    def decide(self, vehicle: str = FIRST) -> object:
        return self.allow_list.decide(vehicle, self.clock.seconds())

    def answer(self, *vehicles: str) -> None:
        self.source.readings[-1].callback(frozenset(vehicles))
        self.clock.advance(0)

    def source_fails(self) -> None:
        self.source.readings[-1].errback(UnusableAllowList("is away"))

    def next_reading(self) -> None:
        count = len(self.source.readings)
        self.clock.advance(self.source.interval_s)
        self.assertEqual(len(self.source.readings), count + 1)

    def test_the_start_waits_for_the_first_answer(self) -> None:
        self.assertNoResult(self.started)
        self.assertIsInstance(self.decide(), NoList)
        self.answer(FIRST)
        self.successResultOf(self.started)
        self.assertEqual((self.decide(), self.decide(SECOND)), (ALLOWED, NOT_LISTED))
        self.assertEqual(
            self.log.fields_of("allow_list_read"), [{"source": "the source", "vehicles": 1, "added": 1, "removed": 0}]
        )

    def test_the_start_goes_on_without_an_answer(self) -> None:
        self.source_fails()
        self.successResultOf(self.started)
        self.assertEqual(self.decide(), NoList("the allow list (vehicles.allow) was never read: is away"))
        self.assertIn("no vehicle can connect", str(self.log.fields_of("allow_list_not_read")[0]["effect"]))

    def test_changes_are_told_and_repeats_are_not(self) -> None:
        self.answer(FIRST)
        self.next_reading()
        self.source.readings[-1].callback(None)
        self.next_reading()
        self.answer(FIRST)
        self.assertEqual(len(self.log.fields_of("allow_list_read")), 1)
        self.next_reading()
        self.answer(SECOND)
        self.assertEqual(self.decide(), NOT_LISTED)
        told = self.log.fields_of("allow_list_read")[-1]
        self.assertEqual((told["vehicles"], told["added"], told["removed"]), (1, 1, 1))

    def test_the_last_answer_holds_for_a_time_and_no_longer(self) -> None:
        self.answer(FIRST)
        for _ in range(3):
            self.next_reading()
            self.source_fails()
            self.assertEqual(self.decide(), ALLOWED)
        self.clock.advance(9.9)
        self.assertEqual(self.decide(), ALLOWED)
        self.assertIn("last answer is in use", self.allow_list.fault(self.clock.seconds()))
        self.clock.advance(0.1)
        self.assertIsInstance(self.decide(), NoList)
        self.assertIn("no vehicle can connect", self.allow_list.fault(self.clock.seconds()))
        self.assertIn("is away", str(self.decide()))
        self.assertEqual(len(self.log.fields_of("allow_list_not_read")), 1, "the same failure is told once")
        self.clock.advance(20)
        self.source_fails()
        self.assertIn(
            "too old", str(self.log.fields_of("allow_list_not_read")[-1]["effect"]), "and again when it has an effect"
        )
        self.next_reading()
        self.source.readings[-1].callback(None)
        self.assertEqual(self.decide(), ALLOWED)
        self.assertEqual(self.allow_list.fault(self.clock.seconds()), "")
        self.assertEqual(len(self.log.fields_of("allow_list_read")), 2, "the end of a failure is told")

    def test_an_unchanged_answer_renews_the_list(self) -> None:
        self.answer(FIRST)
        for _ in range(5):
            self.next_reading()
            self.source.readings[-1].callback(None)
        self.assertEqual(self.decide(), ALLOWED)

    def test_no_limit_of_age(self) -> None:
        self.allow_list.stale_s = 0.0
        self.answer(FIRST)
        self.next_reading()
        self.source_fails()
        self.clock.advance(1e9)
        self.assertEqual(self.decide(), ALLOWED)
        self.assertEqual(self.log.fields_of("allow_list_not_read")[0]["effect"], "its last answer stays in use")

    def test_an_unforeseen_error_is_a_failure(self) -> None:
        self.source.readings[-1].errback(RuntimeError("of the client"))
        self.assertEqual(self.log.fields_of("allow_list_not_read")[0]["error"], "RuntimeError: of the client")
        self.next_reading()

    def test_metrics(self) -> None:
        self.assertEqual(self.metrics.value("allow_list_age_seconds"), float("inf"))
        self.answer(FIRST, SECOND)
        self.next_reading()
        self.source_fails()
        self.assertEqual(self.metrics.value("allow_list_vehicles"), 2)
        self.assertEqual(self.metrics.value("allow_list_age_seconds"), 30)
        self.assertEqual(self.metrics.value("allow_list_failures_total"), 1)

    def test_the_stop_ends_a_reading(self) -> None:
        self.successResultOf(self.watch.stop())
        self.clock.advance(1000)
        self.assertEqual((len(self.source.readings), self.clock.getDelayedCalls()), (1, []))
        self.assertEqual(self.log.fields_of("allow_list_not_read"), [])

    def test_the_stop_between_two_readings(self) -> None:
        self.answer(FIRST)
        self.successResultOf(self.watch.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GatewayTests(GatewayCase):
    def refused(self, reason: str) -> float:
        return self.gateway.counted("connections_refused_total", listener="vehicles", reason=reason)

    def listed(self, *vehicles: str) -> None:
        watch = self.gateway.parts.allow_list
        assert watch is not None
        watch.allow_list.answered(frozenset(vehicles), self.gateway.clock.seconds())

    def upgrade(self, vin: str = VIN) -> bytes:
        return bytes(self.gateway.connect(self.gateway.vehicle_tls(vin)).upgrade()[:12])

    def test_the_list_decides_before_the_upgrade(self) -> None:
        gateway = self.start(vehicles={"allow": {"file": "vins.txt"}})
        self.listed(VIN)
        self.open_vehicle()
        self.assertEqual(self.upgrade(SECOND), b"HTTP/1.1 403")
        self.assertEqual(self.refused("not_allowed"), 1)
        told = gateway.log.fields_of("connection_refused")[0]
        self.assertEqual((told["device_id"], told["reason"]), (SECOND, "not_allowed"))
        self.assertIn("vehicles.allow", str(told["error"]))

    def test_each_refused_vehicle_is_told_at_a_bounded_rate(self) -> None:
        gateway = self.start(vehicles={"allow": {"file": "vins.txt"}})
        self.listed(VIN)
        for _ in range(3):
            for vin in (SECOND, "5YJ3E1EA7KF000003"):
                self.upgrade(vin)
        self.assertEqual(self.refused("not_allowed"), 6)
        self.assertEqual(
            [each["device_id"] for each in gateway.log.fields_of("connection_refused")], [SECOND, "5YJ3E1EA7KF000003"]
        )

    def test_without_a_list_vehicles_are_to_come_back(self) -> None:
        gateway = self.start(vehicles={"allow": {"file": "vins.txt"}})
        watch = gateway.parts.allow_list
        assert watch is not None
        watch.allow_list.failed("is away")
        self.assertEqual(self.upgrade(), b"HTTP/1.1 503")
        self.assertEqual(self.refused("no_allow_list"), 1)
        gateway.parts.health.phase = Phase.SERVING
        self.assertEqual(
            [reason.what for reason in gateway.parts.health.health().reasons],
            ["the allow list (vehicles.allow) cannot be read, and no vehicle can connect"],
        )
        (told,) = gateway.log.fields_of("connection_refused")
        self.assertEqual(
            (told["device_id"], told["error"]), (VIN, "the allow list (vehicles.allow) was never read: is away")
        )
        (shown,) = gateway.parts.gateway.recent_refusals.newest_first
        self.assertEqual((shown.vin, shown.text), (VIN, "the allow list (vehicles.allow) was never read: is away"))

    def test_every_vehicle_may_connect_by_default(self) -> None:
        self.start()
        self.open_vehicle()
