"""Draining: the gateway serves on for a while, then closes vehicles at a pace, each once its records are settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.service_case import STATUS, VEHICLES, ServiceCase

if TYPE_CHECKING:
    from fleetgw.testing.vehicle import InMemoryVehicle


class DrainCase(ServiceCase):
    """A gateway with several vehicles.

    :ivar vehicles: all of them, in the order of connecting.
    """

    def started(self, count: int, **changes: object) -> None:
        """Start a gateway, and connect vehicles."""
        self.start(**changes)
        self.vehicles = [self.vehicle() for _ in range(count)]
        for vehicle in self.vehicles:
            vehicle.connect()
        self.pass_time(1.0)

    def pass_time(self, seconds: float) -> None:
        """Advance the clock in steps of 50 ms, and move bytes."""
        for _ in range(round(seconds / 0.05)):
            self.reactor.advance(0.05)
            for vehicle in self.vehicles:
                vehicle.pump()

    def open(self) -> list[InMemoryVehicle]:
        """The vehicles that are not closed."""
        return [vehicle for vehicle in self.vehicles if vehicle.closed is None]

    def codes(self) -> set[int]:
        """The close codes of the closed vehicles."""
        return {vehicle.closed.code for vehicle in self.vehicles if vehicle.closed is not None}

    def listens(self) -> bool:
        """Whether the vehicles' port is open."""
        return self.reactor.ports[VEHICLES].listening

    def status(self) -> bytes:
        """The status code of ``/status``."""
        return self.get(STATUS, "/status").split()[1]


class PaceTests(DrainCase):
    def test_vehicles_are_closed_at_the_rate(self) -> None:
        self.started(12, drain={"rate_per_s": 20})
        stopped = self.life.stop()
        self.pass_time(0.05)
        left = []
        for _ in range(6):
            left.append(len(self.open()))
            self.pass_time(0.1)
        self.assertEqual(left, [10, 8, 6, 4, 2, 0])
        self.assertEqual(self.codes(), {1001})
        self.pass_time(0.1)
        self.assertTrue(stopped.called)
        self.assertNotIn("vehicles_closed_late", self.events())

    def test_a_low_rate_is_kept(self) -> None:
        self.started(3, drain={"rate_per_s": 2})
        self.life.stop()
        left = []
        for _ in range(5):
            self.pass_time(0.25)
            left.append(len(self.open()))
        self.assertEqual(left, [2, 1, 1, 0, 0])

    def test_a_few_vehicles_are_closed_at_once(self) -> None:
        for changes in ({}, {"drain": {"rate_per_s": 0}}):
            with self.subTest(changes=changes):
                self.setUp()
                self.started(8, **changes)
                stopped = self.life.stop()
                for vehicle in self.vehicles:
                    vehicle.pump()
                self.assertEqual(self.open(), [])
                self.pass_time(0.1)
                self.assertTrue(stopped.called)

    def test_vehicles_are_served_until_their_turn(self) -> None:
        self.started(6, drain={"rate_per_s": 20})
        stopped = self.life.stop()
        acked: set[bytes] = set()
        sent = 0
        while self.open():
            for vehicle in self.open():
                sent += 1
                vehicle.send("V", b"", str(sent).encode())
            self.pass_time(0.05)
        acked = {txid for vehicle in self.vehicles for txid in vehicle.acked}
        self.assertEqual(acked, {record.txid for record in self.memory.received if record.record_type == "V"})
        for vehicle in self.vehicles:
            self.assertEqual(vehicle.acked, vehicle.sent[: len(vehicle.acked)])
        self.assertGreaterEqual(len(acked), 4, "the last ones have sent while the first ones were closed")
        self.pass_time(0.2)
        self.assertTrue(stopped.called)

    def test_the_rest_is_closed_in_time_for_the_deadline_and_said(self) -> None:
        self.started(12, drain={"rate_per_s": 1})
        stopped = self.life.stop()
        self.pass_time(6.9)
        self.assertEqual(len(self.open()), 5)
        self.assertEqual(self.log.fields_of("vehicles_closed_late"), [])
        self.pass_time(0.2)
        self.assertEqual(self.open(), [])
        self.assertEqual(self.codes(), {1001})
        self.assertEqual(self.log.fields_of("vehicles_closed_late"), [{"connections": 5, "rate_per_s": 1}])
        self.pass_time(0.2)
        self.assertTrue(stopped.called)

    def test_vehicles_that_end_meanwhile_take_no_turn(self) -> None:
        self.started(6, drain={"rate_per_s": 10})
        stopped = self.life.stop()
        for vehicle in self.open()[:3]:
            vehicle.cut()
        self.pass_time(0.4)
        self.assertEqual(self.open(), [])
        self.pass_time(0.2)
        self.assertTrue(stopped.called)

    def test_half_open_connections_are_aborted_in_their_turn(self) -> None:
        self.start(drain={"rate_per_s": 20})
        self.vehicles = [self.vehicle() for _ in range(4)]
        for vehicle in self.vehicles:
            vehicle.connect_tcp()
        stopped = self.life.stop()
        self.pass_time(0.05)
        self.assertEqual(len(self.parts.vehicles.connections), 2)
        self.pass_time(0.2)
        self.assertEqual(len(self.parts.vehicles.connections), 0)
        self.assertTrue(stopped.called)


class SettleTests(DrainCase):
    def test_each_vehicle_is_closed_once_its_records_are_settled(self) -> None:
        self.started(3)
        waiting, *others = self.vehicles
        self.memory.hold()
        waiting.send("V", b"", b"1")
        self.pass_time(0.1)
        stopped = self.life.stop()
        self.pass_time(0.1)
        self.assertEqual(self.open(), [waiting], "the others do not wait for it")
        waiting.send("V", b"", b"unread")
        self.pass_time(2)
        self.assertEqual((waiting.acked, waiting.closed), ([], None))

        self.memory.release()
        waiting.pump()
        self.assertEqual(waiting.acked, [b"1"])
        self.assertEqual(waiting.closed and waiting.closed.code, 1001)
        self.pass_time(0.2)
        self.assertTrue(stopped.called)
        self.assertNotIn(b"unread", [record.txid for record in self.memory.received])
        self.assertEqual([each.acked for each in others], [[], []])

    def test_an_unsettled_vehicle_does_not_hold_up_the_pace(self) -> None:
        self.started(6, drain={"rate_per_s": 20})
        self.memory.hold()
        for vehicle in self.vehicles[:2]:
            vehicle.send("V", b"", b"1")
        self.pass_time(0.1)
        self.life.stop()
        self.pass_time(0.4)
        self.assertEqual(self.open(), self.vehicles[:2])
        self.pass_time(7.5)
        self.assertEqual(self.open(), self.vehicles[:2])
        self.pass_time(0.2)
        self.assertEqual(self.open(), [])
        self.assertEqual([vehicle.acked for vehicle in self.vehicles[:2]], [[], []])

    def test_lanes_retry_at_once_so_that_the_first_vehicles_wait_for_no_backoff(self) -> None:
        self.started(2, drain={"rate_per_s": 1})
        drained: list[str] = []
        lane = self.parts.lanes["memory"]
        drain = lane.drain
        lane.drain = lambda: (drained.append("drain"), drain())[1]  # type: ignore[method-assign,func-returns-value]  # a double
        self.life.stop()
        self.assertEqual(drained, ["drain"])


class WaitTests(DrainCase):
    def test_the_gateway_serves_on_while_it_is_not_ready(self) -> None:
        """As in Kubernetes: the pod gets SIGTERM while the endpoints still name it."""
        self.started(2, drain={"wait_s": 5, "rate_per_s": 10})
        self.assertEqual(self.status(), b"200")
        stopped = self.life.stop()
        self.assertEqual(self.status(), b"503")

        # a load balancer that has not probed yet sends one more vehicle, which is served as the others are
        late = self.vehicle()
        self.vehicles.append(late)
        self.assertTrue(late.connect())
        for vehicle in self.vehicles:
            vehicle.send("V", b"", b"1")
        self.pass_time(4.9)
        self.assertEqual([vehicle.acked for vehicle in self.vehicles], [[b"1"]] * 3)
        self.assertEqual((len(self.open()), self.listens(), self.status()), (3, True, b"503"))

        # the port is closed, then the vehicles
        self.pass_time(0.15)
        self.assertFalse(self.listens())
        self.assertEqual(len(self.open()), 2)
        self.pass_time(0.4)
        self.assertEqual((self.open(), self.codes(), stopped.called), ([], {1001}, True))
        self.assertLess(self.journal.index(f"stop listening {VEHICLES}"), self.journal.index("stop memory"))

    def test_the_wait_is_no_part_of_the_time_to_drain(self) -> None:
        self.started(1, drain={"wait_s": 30})
        self.memory.hold()
        self.vehicles[0].send("V", b"", b"1")
        stopped = self.life.stop()
        self.pass_time(37.9)
        self.assertEqual(len(self.open()), 1)
        self.pass_time(0.3)
        self.assertEqual(len(self.open()), 0)
        self.assertFalse(stopped.called)
        self.assertTrue(self.stopped_within(stopped, 1.95))
        self.lost = 1  # the connectivity record

    def test_a_gateway_that_has_not_served_does_not_wait(self) -> None:
        life = self.make(drain={"wait_s": 30})
        self.begin(life)
        self.assertTrue(life.stop().called)
