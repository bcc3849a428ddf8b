"""Looks of the poller at intervals, which the factory of connections sets."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.ingress import poller as poller_module
from fleetgw.adapters.ingress.factory import VehicleFactory
from fleetgw.adapters.ingress.limits import IngressLimits
from fleetgw.domain.identity import DEFAULT_ISSUERS
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.ingress.poller_case import HandTurnedReactor, PollerCase, Received


class IntervalTests(PollerCase):
    def setUp(self) -> None:
        super().setUp()
        self.poller.interval_s = 0.010
        self.received = Received()
        self.transport, self.peer = self.connect(self.received)

    def send(self, data: bytes) -> None:
        self.peer.send(data)
        self.ready(self.transport)
        self.reactor.turn()

    def after(self, seconds: float) -> list[object]:
        """Everything read until so much later."""
        self.reactor.advance(seconds)
        self.reactor.turn()
        return self.received.calls

    def test_the_first_bytes_are_read_at_once_and_the_next_ones_after_the_interval(self) -> None:
        self.send(b"first")
        self.assertEqual(self.received.calls, [b"first"])
        self.send(b"second")
        self.assertEqual(self.after(0.009), [b"first"])
        self.assertEqual(self.after(0.002), [b"first", b"second"])

    def test_bytes_after_a_longer_pause_are_read_at_once(self) -> None:
        self.send(b"first")
        self.after(0.011)
        self.send(b"second")
        self.assertEqual(self.received.calls, [b"first", b"second"])

    def test_a_pause_leaves_the_poller_with_the_reactor(self) -> None:
        """To add it again would take the kernel time for each of its sockets."""
        with mock.patch.object(self.reactor, "addReader") as add:
            for _ in range(3):
                self.send(b"x")
                self.assertEqual([*self.reactor.readers], [self.poller])
                self.after(0.011)
        add.assert_not_called()

    def test_the_interval_includes_the_time_that_a_look_takes(self) -> None:
        self.received._during = lambda: self.reactor.advance(0.004)
        self.send(b"first")
        self.send(b"second")
        self.assertEqual(self.after(0.005), [b"first"])
        self.assertEqual(self.after(0.002), [b"first", b"second"])

    def test_a_look_that_takes_longer_than_the_interval_is_followed_by_the_next_one(self) -> None:
        self.received._during = lambda: self.reactor.advance(0.011)
        self.send(b"first")
        self.send(b"second")
        self.assertEqual(self.received.calls, [b"first", b"second"])

    def test_a_look_that_meets_its_bound_is_followed_by_the_next_one(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            _, protocols = self.many(10)
            read = []
            for _ in range(3):
                self.reactor.turn()
                read.append(sum(len(each.calls) for each in protocols))
            self.assertEqual(read, [4, 8, 10])
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_an_interval_that_is_taken_back(self) -> None:
        self.send(b"first")
        self.poller.interval_s = 0.0
        self.assertEqual(self.after(0.011), [b"first"])
        for data in (b"second", b"third"):
            self.send(data)
        self.assertEqual(self.received.calls, [b"first", b"second", b"third"])

    def test_no_timer_is_left(self) -> None:
        self.send(b"first")
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.poller.close()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual([*self.reactor.readers], [])

    def test_a_poller_that_is_closed_within_a_look(self) -> None:
        def close() -> None:
            self.transport.stopReading()
            self.poller.close()

        self.received._during = close
        self.send(b"first")
        self.assertEqual((self.reactor.getDelayedCalls(), [*self.reactor.readers]), ([], []))


class FactoryTests(SynchronousTestCase):
    """The factory of connections opens and closes the poller."""

    def start(self, reactor: Clock, interval_ms: int) -> VehicleFactory:
        self.log = ReadableLog()
        gateway: Any = None  # no connection is upgraded
        factory = VehicleFactory(gateway, DEFAULT_ISSUERS, self.limits(interval_ms), reactor, ReadableMetrics(), self.log)
        factory.doStart()
        self.addCleanup(factory.abort_all)
        return factory

    def limits(self, interval_ms: int) -> IngressLimits:
        return IngressLimits(10, 30, 25, 20, 10, 1 << 20, 1 << 20, 1 << 20, 0, read_interval_ms=interval_ms)

    def test_open_from_the_first_port_to_the_last_connection(self) -> None:
        reactor = HandTurnedReactor()
        factory = self.start(reactor, 0)
        self.assertEqual([*reactor.readers], [factory.poller])
        connection: Any = mock.Mock()
        factory.registry.made(connection, "127.0.0.1")
        factory.doStop()
        self.assertEqual([*reactor.readers], [factory.poller])
        factory.registry.lost(connection)
        self.assertEqual([*reactor.readers], [])
        self.assertFalse(factory.poller.is_open)

    def test_the_interval_is_the_configured_one(self) -> None:
        factory = self.start(HandTurnedReactor(), 2)
        self.assertEqual(factory.poller.interval_s, 0.002)
        factory.use(DEFAULT_ISSUERS, self.limits(5))
        self.assertEqual(factory.poller.interval_s, 0.005)
        factory.doStop()
        self.assertEqual(self.log.fields_of("configuration_warning"), [])

    def test_an_interval_without_effect_is_reported(self) -> None:
        factory = self.start(Clock(), 2)
        (warning,) = self.log.fields_of("configuration_warning")
        self.assertEqual(warning["key"], "limits.read_interval_ms")
        self.assertIn("no effect", str(warning["warning"]))
        factory.use(DEFAULT_ISSUERS, self.limits(0))
        self.assertEqual(len(self.log.fields_of("configuration_warning")), 1)
        factory.use(DEFAULT_ISSUERS, self.limits(3))
        self.assertEqual(len(self.log.fields_of("configuration_warning")), 2)
