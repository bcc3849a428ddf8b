"""The health of whole gateways: queues, outages, certificates, reloads, the phases of their life."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from attrs import define
from msgspec import structs
from twisted.internet.defer import Deferred

from fleetgw.app.operations.ticking import INTERVAL_S
from fleetgw.domain.errors import StorageError
from fleetgw.domain.health import HealthState, Phase
from fleetgw.simulator.certificates import make_server, make_vehicle
from tests.support.reload_case import ReloadCase
from tests.support.service_case import STATUS, ServiceCase, ServiceReactor

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.memory.sink import MemorySink
    from fleetgw.app.operations.health import GatewayHealth
    from fleetgw.app.service.life import GatewayLife
    from fleetgw.testing.vehicle import InMemoryVehicle

QUEUE_RECORDS = 32
ONE_SINK: dict[str, Any] = {
    "records": {"V": ["memory"]},
    "reliable_ack_sources": {"V": "memory"},
    "delivery": {"queue_records": QUEUE_RECORDS, "retry_initial_s": 0.5, "retry_max_s": 1},
}


class HealthCase(ReloadCase):
    """A gateway with one sink and a short queue."""

    @property
    def health(self) -> GatewayHealth:
        return self.parts.health

    def state(self) -> str:
        return self.health.health().state.value

    def reasons(self) -> str:
        return " / ".join(reason.what for reason in self.health.health().reasons)

    def fill(self, vehicle: InMemoryVehicle, count: int, begin: int = 0) -> None:
        for number in range(begin, begin + count):
            vehicle.send("V", b"", b"%d" % number)
        vehicle.advance(0.05)


@define
class Gateway:
    """One of several gateways.

    :ivar vehicle: is connected.
    """

    life: GatewayLife
    health: GatewayHealth
    memory: MemorySink
    vehicle: InMemoryVehicle

    @property
    def state(self) -> str:
        return self.health.health().state.value


class ThreeGatewayTests(HealthCase):
    """One destination of three gateways stops: an outage of it must not take every gateway out of a load balancer."""

    def setUp(self) -> None:
        super().setUp()
        self.gateways = [self.gateway() for _ in range(3)]

    def gateway(self) -> Gateway:
        self.reactor = ServiceReactor()
        life = self.start(**ONE_SINK)
        return Gateway(life, self.parts.health, self.memory, self.connected())

    def states(self) -> list[str]:
        return [gateway.state for gateway in self.gateways]

    def test_each_is_ready_until_its_room_is_used_and_all_come_back(self) -> None:
        self.assertEqual(self.states(), ["ok"] * 3)
        for gateway in self.gateways:
            gateway.memory.go_away("no broker")
            gateway.vehicle.advance(60)
        self.assertEqual(self.states(), ["degraded"] * 3)
        full = QUEUE_RECORDS * 15 // 16 + 1
        for number, gateway in enumerate(self.gateways):
            self.fill(gateway.vehicle, full - 1)
            self.assertEqual(self.states(), ["not_ready"] * number + ["degraded"] * (3 - number))
            self.fill(gateway.vehicle, QUEUE_RECORDS, begin=full - 1)
            self.assertEqual(self.states(), ["not_ready"] * (number + 1) + ["degraded"] * (2 - number))
        for gateway in self.gateways:
            gateway.memory.come_back()
            for _ in range(20):
                gateway.vehicle.advance(0.1)
            self.assertEqual(len(gateway.vehicle.acked), full - 1 + QUEUE_RECORDS)
        self.assertEqual(self.states(), ["ok"] * 3)


class QueueTests(HealthCase):
    def test_a_queue_at_the_edge_does_not_flap(self) -> None:
        self.start(**ONE_SINK | {"delivery": {"queue_records": QUEUE_RECORDS, "batch_records": 3}})
        vehicle = self.connected()
        self.memory.hold()
        self.fill(vehicle, QUEUE_RECORDS + 20)
        self.assertEqual(self.state(), "not_ready")
        self.assertIn("records of type V cannot be taken: the queue of memory is full", self.reasons())
        # the sink goes on and stops: each time a part of the queue gets free, and the vehicle fills it again
        seen = set()
        for _ in range(5):
            self.memory._conclude(next(iter(self.memory._under_way)))
            seen.add(self.state())
            vehicle.advance(0.1)
            seen.add(self.state())
        self.assertEqual(seen, {"not_ready"})
        self.memory.release()
        for _ in range(20):
            vehicle.advance(0.1)
        self.assertEqual(self.state(), "ok")
        self.assertEqual(len(self.log.fields_of("gateway_not_ready")), 1)

    def test_the_log_tells_when_the_gateway_stops_and_begins_to_be_ready(self) -> None:
        self.start(**ONE_SINK)
        vehicle = self.connected()
        self.memory.go_away("no broker")
        vehicle.advance(2)
        self.assertEqual(self.log.fields_of("gateway_not_ready"), [])
        self.fill(vehicle, QUEUE_RECORDS)
        vehicle.advance(3)
        (fields,) = self.log.fields_of("gateway_not_ready")
        self.assertIn("type V cannot be taken", str(fields["error"]))
        self.assertTrue(fields["fix"])
        self.assertEqual(fields["reasons"], 2)
        self.assertEqual(self.log.fields_of("gateway_ready"), [])
        self.memory.come_back()
        vehicle.advance(3)
        self.assertEqual(self.log.fields_of("gateway_ready"), [{"state": "ok"}])


class SinkTests(HealthCase):
    def test_states_have_their_beginning_and_the_remedy(self) -> None:
        self.start(**ONE_SINK)
        now_ms = 1_000_000
        self.health.episodes.wall_ns = lambda: now_ms * 1_000_000
        self.reactor.advance(INTERVAL_S)
        self.memory.go_away("no broker at 10.0.0.1")
        now_ms = 1_001_000
        self.reactor.advance(INTERVAL_S)
        now_ms = 1_009_000
        self.reactor.advance(INTERVAL_S)
        (sink,) = self.health.verbose()["sinks"]
        self.assertEqual((sink["name"], sink["state"], sink["since_ms"]), ("memory", "not_ready", 1_001_000))
        self.assertIn("no broker at 10.0.0.1", str(sink["reason"]))
        self.assertIn("fleetgw doctor", str(sink["fix"]))
        self.assertEqual(sink["types"], ["V"])
        self.memory.come_back()
        (sink,) = self.health.verbose()["sinks"]
        self.assertEqual((sink["state"], sink["since_ms"], sink["reason"]), ("ready", 1_009_000, None))

    def test_a_long_outage_is_not_ready_where_that_is_wanted(self) -> None:
        self.start(**ONE_SINK, health={"sink_grace_s": 30})
        self.memory.go_away("no broker")
        self.reactor.pump([1.0] * 30)
        self.assertEqual(self.state(), "degraded")
        self.reactor.pump([1.0] * 2)
        self.assertEqual(self.state(), "not_ready")
        self.assertEqual(self.reload(**ONE_SINK, health={"sink_grace_s": 0}), [None])
        self.assertEqual(self.state(), "degraded")
        self.assertEqual(self.reload(**ONE_SINK, health={"sink_grace_s": 31}), [None])
        self.assertEqual(self.state(), "not_ready")
        self.memory.come_back()
        self.assertEqual(self.state(), "ok")

    def test_a_sink_that_breaks_its_contract(self) -> None:
        self.start(**ONE_SINK)
        self.memory.readiness = lambda: 1 // 0  # type: ignore[method-assign,return-value]  # a double
        self.assertEqual(self.state(), "degraded")
        self.assertIn("cannot be told: ZeroDivisionError", self.reasons())
        self.memory.readiness = lambda: None  # type: ignore[method-assign,return-value]  # a double
        self.assertEqual(self.state(), "degraded")
        self.assertIn("cannot be told: AttributeError", self.reasons())

    def test_a_secret_in_the_reason_is_told_nobody(self) -> None:
        life = self.start(**ONE_SINK)
        self.memory.go_away("amqp://fleet:hunter22@broker does not answer")
        told = f"{self.health.verbose()} {life.status()}"
        self.assertEqual(told.count("amqp://fleet:********@broker does not answer"), 3, told)
        self.assertNotIn("hunter22", told)

    def test_a_sink_without_a_route_counts_no_more(self) -> None:
        self.start(**ONE_SINK)
        self.memory.go_away("no broker")
        self.assertEqual(self.state(), "degraded")
        self.assertEqual(self.reload(**ONE_SINK | {"records": {"V": ["logger"]}, "reliable_ack_sources": {}}), [None])
        self.assertEqual(self.state(), "ok")
        self.assertEqual([sink["name"] for sink in self.health.verbose()["sinks"]], ["logger"])


class PhaseTests(HealthCase):
    def test_a_gateway_is_ready_between_its_start_and_its_stop(self) -> None:
        life = self.make(**ONE_SINK, drain={"wait_s": 5})
        self.assertEqual(self.state(), "starting")
        self.begin(life)
        self.assertEqual(self.state(), "starting")
        self.reactor.run()
        self.assertEqual(self.state(), "ok")
        vehicle = self.connected()
        stopped = life.stop()
        self.assertEqual(self.state(), "draining")
        self.assertFalse(self.health.health().state.is_ready)
        self.send(vehicle, b"1")
        self.assertEqual(vehicle.acked, [b"1"], "it serves on")
        for _ in range(120):
            vehicle.advance(0.05)
        self.assertTrue(stopped.called)
        self.assertEqual(self.state(), "draining")
        self.assertNotIn("gateway_not_ready", self.events())
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if "LoopingCall" in str(call)], [])

    def test_a_gateway_that_cannot_start_stays_starting(self) -> None:
        life = self.make(**ONE_SINK)
        self.memory.start = lambda: 1 // 0  # type: ignore[method-assign,return-value]  # a double
        self.begin(life)
        self.reactor.run()
        self.assertEqual(self.state(), "starting")
        self.assertTrue(self.stopped_within(life.stop(), 1))


class CertificateTests(HealthCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = datetime.now(UTC).replace(microsecond=0)

    def now_is(self, days: float) -> None:
        """Have the health's clock show so many days from now."""
        now_ns = int((self.now + timedelta(days=days)).timestamp()) * 1_000_000_000
        self.health.episodes.wall_ns = lambda: now_ns

    def test_an_expired_server_certificate_until_it_is_replaced(self) -> None:
        self.start(**ONE_SINK)
        (certificate,) = self.health.verbose()["certificates"]
        self.assertEqual((certificate["name"], certificate["state"]), ("tls.server_cert", "expires_soon"))
        self.assertEqual(certificate["days_left"], 29)
        self.assertEqual(self.state(), "ok")
        self.now_is(31)
        self.assertEqual(self.state(), "not_ready")
        self.assertIn("tls.server_cert has expired: vehicles refuse it", self.reasons())
        self.now_is(-40)
        self.assertIn("is not valid yet", self.reasons())

        self.now_is(31)
        self.write_certificates(make_server(self.authority, ["localhost"], self.now, 90))
        self.life.reload_certificates()
        (certificate,) = self.health.verbose()["certificates"]
        self.assertEqual((certificate["state"], certificate["days_left"], self.state()), ("ok", 59, "ok"))

    def test_a_certificate_of_a_sink(self) -> None:
        def write(days: int) -> None:
            own = make_vehicle(self.authority, "client", self.now, days)
            (self.folder / "client.crt").write_bytes(own.certificate_pem())
            (self.folder / "client.key").write_bytes(own.key_pem())

        write(10)
        section = {
            "broker": "127.0.0.1:1883",
            "topic_base": "telemetry",
            "client_id": "gateway",
            "tls": {"server_cert": "client.crt", "server_key": "client.key"},
        }
        self.start(**ONE_SINK)
        self.write_config(**ONE_SINK, mqtt=section)
        config = self.source.load().config
        self.health.certificates.use(structs.replace(config, records={"V": ["memory", "mqtt"]}))
        self.assertEqual([each.name for each in self.health.certificates], ["tls.server_cert", "mqtt.tls.server_cert"])
        self.now_is(11)
        _, of_sink = self.health.verbose()["certificates"]
        self.assertEqual((of_sink["state"], of_sink["subject"]), ("expired", "CN=client"))
        self.assertIn("the destination may refuse it", str(of_sink["reason"]))
        write(90)
        self.life.reload_certificates()
        _, of_sink = self.health.verbose()["certificates"]
        self.assertEqual(of_sink["state"], "ok")
        (self.folder / "client.crt").write_text("no certificate")
        self.health.certificates.read_again()
        self.assertEqual(len([*self.health.certificates]), 2, "the one that was read before")

    def test_a_reload_looks_at_the_certificates_of_its_sinks(self) -> None:
        self.start(**ONE_SINK)
        with mock.patch.object(self.health.certificates, "use") as use:
            self.assertEqual(self.reload(**ONE_SINK | {"records": {"V": ["memory", "logger"]}}), [None])
        use.assert_called_once_with(self.life.config)


class SpoolTests(HealthCase):
    def test_a_spool_that_is_full_or_fails(self) -> None:
        changes = ONE_SINK | {
            "reliable_ack_sources": {},
            "ack_policies": {"V": "spooled"},
            "spool": {"path": "spool", "max_mib": 1, "file_mib": 1},
        }
        self.make(**changes)
        assert self.parts.spooling is not None
        self.health.phase = Phase.SERVING
        spool: Any = self.parts.spooling.spool
        spool._active_bytes = 1 << 20
        self.assertIn("type V cannot be taken: the spool is full", self.reasons())
        spool_view = self.health.verbose()["spool"]
        assert spool_view is not None
        self.assertEqual(spool_view["state"], "full")
        spool._active_bytes = (1 << 20) * 31 // 32
        self.assertIn("the spool is full", self.reasons(), "until a sixteenth is free")
        spool._active_bytes = (1 << 20) * 15 // 16
        self.assertNotIn("the spool", self.reasons())
        spool._note(StorageError("No space left on device"))
        self.assertIn("the spool stores nothing (No space left on device)", self.reasons())


class ProbeTests(HealthCase):
    """The paths of the status port."""

    def ask(self, path: str) -> tuple[int, str]:
        status, _, rest = self.get(STATUS, path).partition(b"\r\n")
        return int(status.split()[1]), rest.partition(b"\r\n\r\n")[2].decode()

    def test_each_phase(self) -> None:
        life = self.make(**ONE_SINK, drain={"wait_s": 5})
        started, start = Deferred[None](), self.memory.start
        self.memory.start = lambda: started.addCallback(lambda _: start())  # type: ignore[method-assign]  # to hold it
        self.begin(life)
        self.reactor.run()
        for path in ("/ready", "/health"):
            self.assertEqual(self.ask(path), (503, "starting"))
        self.assertEqual((self.ask("/live"), self.ask("/status")), ((200, "ok"), (200, "ok")))
        started.callback(None)
        for path in ("/ready", "/health", "/live", "/status"):
            self.assertEqual(self.ask(path), (200, "ok"))
        self.memory.destination.not_ready("no broker at 10.0.0.1")
        self.assertEqual((self.ask("/ready"), self.ask("/health")), ((200, "degraded"), (200, "degraded")))
        stopped = life.stop()
        self.assertEqual((self.ask("/ready"), self.ask("/health")), ((503, "draining"), (503, "draining")))
        self.assertEqual((self.ask("/live"), self.ask("/status")), ((200, "ok"), (503, "stopping")))
        self.assertTrue(self.stopped_within(stopped, 6))

    def test_a_full_queue(self) -> None:
        self.start(**ONE_SINK)
        self.memory.hold()
        self.fill(self.connected(), QUEUE_RECORDS)
        self.assertEqual((self.ask("/ready"), self.ask("/health")), ((503, "not_ready"), (503, "not_ready")))
        self.assertEqual((self.ask("/live"), self.ask("/status")), ((200, "ok"), (200, "ok")))
        self.memory.release()

    def test_only_operators_are_told_the_reasons(self) -> None:
        self.start(**ONE_SINK)
        self.memory.go_away("no broker at 10.0.0.1")
        for path in ("/ready", "/health"):
            self.assertNotIn("10.0.0.1", self.ask(path)[1])
        code, body = self.ask("/health?verbose HTTP/1.1\r\nHost: gw.example.com\r\nX:")
        self.assertEqual(code, 403, "the name of a foreign page")
        self.assertNotIn("10.0.0.1", body)
        told = json.loads(self.ask("/health?verbose HTTP/1.1\r\nHost: localhost:8080\r\nX:")[1])
        self.assertEqual(told, self.health.verbose() | {"now_ms": told["now_ms"]})
        self.assertIn("10.0.0.1", told["reasons"][0]["reason"])

    def test_a_queue_that_was_full_is_so_until_it_has_got_what_waits_in_the_spool(self) -> None:
        self.make(**ONE_SINK | {"spool": {"path": "spool", "max_mib": 1, "file_mib": 1, "always": True}})
        assert self.parts.spooling is not None
        lane, feed = self.parts.lanes["memory"], self.parts.spooling.feeds["memory"]
        self.health.phase = Phase.SERVING
        self.assertNotIn("V", self.reasons(), "a queue that has not been full")
        with mock.patch.object(lane, "has_room", return_value=False):
            self.assertIn("type V cannot be taken: the queue of memory is full", self.reasons())
        self.assertIn("type V cannot be taken", self.reasons(), "the vehicle's records are refused")
        with mock.patch.object(type(feed), "is_live", True):
            self.assertNotIn("V", self.reasons())


class VerboseTests(ServiceCase):
    def test_every_part_has_its_state_since_when_reason_and_remedy(self) -> None:
        self.start(**ONE_SINK)
        self.memory.go_away("no broker")
        verbose: Any = self.parts.health.verbose()
        self.assertEqual((verbose["state"], verbose["spool"]), (HealthState.DEGRADED.value, None))
        self.assertEqual(verbose["reasons"][0].keys(), {"reason", "fix"})
        for part in (*verbose["sinks"], *verbose["certificates"]):
            self.assertLessEqual({"name", "state", "since_ms", "reason", "fix"}, part.keys())
        self.assertEqual(verbose["sinks"][0]["queue"]["state"], "ok")
        self.assertEqual([each["reason"] for each in verbose["reasons"]], ["the sink memory is not ready: no broker"])
