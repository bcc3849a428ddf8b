"""A gateway inside a Twisted program: on a reactor in memory, and on the running one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fleetgw.embed import ConfigurationError, Record, Rejected, TwistedGateway
from fleetgw.testing.sink_doubles import ThreadlessReactor
from fleetgw.testing.vehicle import InMemoryVehicle
from tests.support.embed_case import VIN, EmbedCase, authority_and_server, payload_of, vehicle_credential

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryPort:
    """A port that listens in memory."""

    transport: object = None

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        factory.doStart()

    def startReading(self) -> None: ...

    def stopReading(self) -> None: ...

    def stopListening(self) -> None:
        self.factory.doStop()

    def getHost(self) -> Any:
        return MemoryReactor().listenTCP(4443, self.factory).getHost()


class ProgramReactor(ThreadlessReactor):
    """A reactor in memory, with ports and a shutdown."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self.doors: list[Any] = []
        self.taken = False
        self.triggers: list[Callable[[], object]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryPort:
        if self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.doors.append(factory)
        return MemoryPort(factory)

    def callWhenRunning(self, hook: Callable[[], object]) -> None:
        hook()

    def addSystemEventTrigger(self, phase: str, event: str, hook: Callable[[], object]) -> Callable[[], object]:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(hook)
        return hook

    def removeSystemEventTrigger(self, hook: Callable[[], object]) -> None:
        self.triggers.remove(hook)


class MemoryCase(EmbedCase, SynchronousTestCase):
    """A gateway and a vehicle in memory, on a clock that the test advances."""

    def start(self, **changes: object) -> TwistedGateway:
        self.reactor = ProgramReactor()
        self.gateway = TwistedGateway(self.config(port=4443, **changes), reactor=self.reactor)
        self.successResultOf(self.gateway.start())
        return self.gateway

    def connect(self) -> InMemoryVehicle:
        authority = authority_and_server()[0].certificate_pem()
        vehicle = InMemoryVehicle(self.reactor.doors[0], vehicle_credential(), authority, self.reactor)
        self.assertTrue(vehicle.connect(), vehicle.closed)
        return vehicle

    def stop(self) -> None:
        stopped = self.gateway.stop()
        self.reactor.pump([0.1] * 200)
        self.successResultOf(stopped)


class TwistedGatewayTests(MemoryCase):
    def test_a_listener_s_deferred_is_waited_for(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"})
        got: list[Record] = []
        gate: list[Deferred[None]] = []

        def listener(record: Record) -> Deferred[None]:
            got.append(record)
            gate.append(Deferred())
            return gate[-1]

        gateway.listen(listener, vin=VIN, field="Soc")
        vehicle = self.connect()
        self.assertEqual([connection.vin for connection in gateway.vehicles[VIN]], [VIN])
        vehicle.send_all([("V", payload_of(Soc=1)), ("V", payload_of(Soc=2))], [b"tx-1", b"tx-2"])
        vehicle.advance(1)
        self.assertEqual(([record.txid for record in got], vehicle.acked), (["tx-1"], []))
        gate[0].callback(None)
        vehicle.advance(1)
        self.assertEqual(([record.txid for record in got], vehicle.acked), (["tx-1", "tx-2"], [b"tx-1"]))
        gate[1].errback(Rejected("no"))
        vehicle.advance(60)
        self.assertEqual(vehicle.acked, [b"tx-1"])
        self.stop()

    def test_a_coroutine_that_awaits_deferreds(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"})

        async def listener(_: Record) -> None:
            await deferLater(self.reactor, 5)

        gateway.listen(listener, record_type="V")
        vehicle = self.connect()
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        vehicle.advance(0.1)
        vehicle.advance(4.8)
        self.assertEqual(vehicle.acked, [])
        vehicle.advance(0.2)
        self.assertEqual(vehicle.acked, [b"tx-1"])
        self.stop()

    def test_async_for_in_a_coroutine(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"})
        read: list[str] = []

        async def main() -> None:
            async for record in gateway.records(record_type="V"):
                read.append(record.txid)  # noqa: PERF401  the test adds one at a time

        reading = Deferred.fromCoroutine(main())
        vehicle = self.connect()
        vehicle.send_all([("V", payload_of(Soc=1)), ("V", payload_of(Soc=2))], [b"tx-1", b"tx-2"])
        vehicle.advance(0.1)
        vehicle.pump()
        self.assertEqual((read, vehicle.acked), (["tx-1", "tx-2"], [b"tx-1", b"tx-2"]))
        self.assertNoResult(reading)
        self.stop()
        self.successResultOf(reading)

    def test_a_record_is_delivered_again_after_a_timeout(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"}, embedded={"listener_timeout_s": 2})
        cancelled: list[str] = []
        got: list[str] = []

        def listener(record: Record) -> Deferred[None] | None:
            got.append(record.txid)
            return Deferred(lambda _: cancelled.append(record.txid)) if len(got) == 1 else None

        gateway.listen(listener, record_type="V")
        vehicle = self.connect()
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        vehicle.advance(0.1)
        vehicle.advance(1.8)
        self.assertEqual((got, cancelled), (["tx-1"], []))
        vehicle.advance(0.2)
        vehicle.advance(1)
        self.assertEqual((got, cancelled, vehicle.acked), (["tx-1", "tx-1"], ["tx-1"], [b"tx-1"]))
        self.stop()

    def test_without_listeners_nothing_is_confirmed(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"})
        vehicle = self.connect()
        vehicle.send_all([("V", payload_of(Soc=1)), ("alerts", b"")], [b"tx-1", b"tx-2"])
        vehicle.advance(1)
        self.assertEqual(vehicle.acked, [b"tx-2"])
        got: list[str] = []
        gateway.listen(lambda record: got.append(record.txid), record_type="V")
        vehicle.send("V", payload_of(Soc=3), b"tx-3")
        vehicle.advance(60)
        self.assertEqual((got, vehicle.acked), (["tx-3"], [b"tx-2", b"tx-3"]))
        self.stop()

    def test_vehicles_agrees_with_connectivity_records(self) -> None:
        gateway = self.start()
        told: list[tuple[str, list[str]]] = []
        gateway.listen(
            lambda record: told.append((record.connectivity.status, [*gateway.vehicles])), record_type="connectivity"
        )
        vehicle = self.connect()
        vehicle.advance(0.1)
        vehicle.close()
        vehicle.advance(0.1)
        self.assertEqual(told, [("CONNECTED", [VIN]), ("DISCONNECTED", [])])
        self.stop()

    def test_a_stop_waits_for_the_listener(self) -> None:
        gateway = self.start(reliable_ack_sources={"V": "embedded"})
        gate: Deferred[None] = Deferred()
        gateway.listen(lambda _: gate, record_type="V")
        vehicle = self.connect()
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        vehicle.advance(0.1)
        stopped = gateway.stop()
        vehicle.advance(5)
        self.assertNoResult(stopped)
        self.assertEqual((vehicle.acked, vehicle.closed), ([], None))
        gate.callback(None)
        vehicle.pump()
        self.assertEqual((vehicle.acked, vehicle.closed.code), ([b"tx-1"], 1001))
        self.stop()
        self.successResultOf(stopped)

    def test_an_exception_ends_it_without_waiting_for_readers(self) -> None:
        self.reactor = ProgramReactor()
        gateway = TwistedGateway(self.config(port=4443, reliable_ack_sources={"V": "embedded"}), reactor=self.reactor)

        async def main() -> None:
            async with gateway:
                records = gateway.records(record_type="V")
                async for record in records:
                    raise ZeroDivisionError(record.txid)

        running = Deferred.fromCoroutine(main())
        vehicle = self.connect()
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        for _ in range(10):
            vehicle.advance(0.1)
        self.failureResultOf(running, ZeroDivisionError)
        self.assertEqual((vehicle.acked, vehicle.closed.code), ([], 1001))

    def test_stops_before_the_reactor_does(self) -> None:
        self.start()
        vehicle = self.connect()
        (trigger,) = self.reactor.triggers
        stopped = trigger()
        for _ in range(30):
            vehicle.advance(0.1)
        self.assertEqual(vehicle.closed.code, 1001)
        self.assertEqual(self.gateway.vehicles, {})
        self.successResultOf(stopped)
        self.successResultOf(self.gateway.stop())
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])

    def test_stop_may_be_asked_for_twice_and_given_up(self) -> None:
        self.start()
        vehicle = self.connect()
        self.assertEqual(len(self.reactor.triggers), 1)
        first, second = self.gateway.stop(), self.gateway.stop()
        first.cancel()
        self.failureResultOf(first)
        self.assertNoResult(second)
        for _ in range(30):
            vehicle.advance(0.1)
        self.successResultOf(second)
        self.assertEqual(self.reactor.triggers, [])

    def test_problems_fail_the_start(self) -> None:
        reactor = ProgramReactor()
        failed = self.failureResultOf(
            TwistedGateway(self.config(records={}, prot=1), reactor=reactor).start(), ConfigurationError
        )
        self.assertEqual({problem.path for problem in failed.value.problems}, {"records", "prot"})
        reactor.taken = True
        failed = self.failureResultOf(TwistedGateway(self.config(port=4443), reactor=reactor).start(), ConfigurationError)
        self.assertIn("cannot listen", str(failed.value))
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_a_sink_that_cannot_start_does_not_end_the_program(self) -> None:
        reactor = ProgramReactor()
        ended: list[str] = []
        reactor.stop = lambda: ended.append("stop")
        gateway = TwistedGateway(self.config(port=4443), reactor=reactor)
        with mock.patch("fleetgw.adapters.sinks.embedded.sink.EmbeddedSink.start", side_effect=RuntimeError("broken")):
            starting = gateway.start()
        reactor.pump([0.1] * 200)
        failed = self.failureResultOf(starting, ConfigurationError)
        self.assertIn("broken", str(failed.value))
        self.assertEqual(ended, [])

    def test_a_cancelled_start_leaves_nothing(self) -> None:
        reactor = ProgramReactor()
        gateway = TwistedGateway(self.config(port=4443), reactor=reactor)
        with mock.patch("fleetgw.adapters.sinks.embedded.sink.EmbeddedSink.start", return_value=Deferred()):
            starting = gateway.start()
        (door,) = reactor.doors
        self.assertEqual(door.numPorts, 1)
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        self.assertEqual((door.numPorts, gateway.port, reactor.getDelayedCalls()), (0, 0, []))

    def test_runs_once(self) -> None:
        gateway = self.start()
        self.failureResultOf(gateway.start(), RuntimeError)
        self.stop()
        self.failureResultOf(gateway.start(), RuntimeError)


class RunningReactorTests(EmbedCase, TestCase):
    def test_on_the_installed_reactor(self) -> Deferred[None]:
        from twisted.internet import reactor

        async def main() -> None:
            async with TwistedGateway(self.config()) as gateway:
                self.assertTrue(IReactorTCP.providedBy(reactor))
                self.assertGreater(gateway.port, 0)
            self.assertEqual(gateway.vehicles, {})

        return Deferred.fromCoroutine(main())
