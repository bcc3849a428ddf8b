"""Lost sessions leave nothing in memory, even without the garbage collector."""

import gc
import weakref

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.mqtt.session import MqttSession
from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits, SessionEnd
from fleetgw.adapters.sinks.mqtt.settings import read_settings
from tests.sinks.mqtt.test_unit_sink import VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record

SESSIONS = 1_000


class Owner:
    def __init__(self) -> None:
        self.ends: list[SessionEnd] = []

    def session_opened(self, limits: BrokerLimits) -> None:
        """Nothing is waiting."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """Nothing is in flight."""

    def session_resumed(self) -> None:
        """Nothing is waiting."""

    def session_ended(self, end: SessionEnd) -> None:
        self.ends.append(end)


class Connector:
    """A connector that refers to its transport, and the transport to it, as in Twisted."""

    transport: "Transport | None"


class Transport(StringTransport):
    def __init__(self) -> None:
        super().__init__()
        self.connector = Connector()
        self.connector.transport = self

    def setTcpNoDelay(self, _enabled: object) -> None:
        """Does nothing."""

    def getHandle(self) -> None:
        """There is no socket; Twisted's connections have no such method after the loss."""
        if self.producer is None and self.disconnected:
            raise AttributeError("socket")


class WithoutCollector(SynchronousTestCase):
    def setUp(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)


class SessionTests(WithoutCollector):
    def test_lost_sessions_leave_nothing(self) -> None:
        """Neither the session nor its transport with the unsent bytes."""
        settings = read_settings("mqtt", {"broker": "b:1883", "username": "u", "password": "p"})
        clock, owner = Clock(), Owner()
        alive: list[weakref.ref[object]] = []
        for number in range(SESSIONS):
            session, transport = MqttSession(settings, owner, clock), Transport()
            session.makeConnection(transport)
            if number % 2:
                session.dataReceived(b"\x20\x02\0\0\x40\x02\0\1")
            session.pauseProducing()
            session.write(b"x" * 200_000)
            alive += [weakref.ref(session), weakref.ref(transport)]
            transport.disconnected = True
            transport.producer = None  # as Twisted's connections do when they are lost
            session.connectionLost()
            del session, transport
        self.assertEqual([each for each in alive if each() is not None], [])
        self.assertEqual(len(owner.ends), SESSIONS)
        self.assertEqual(clock.getDelayedCalls(), [])


class SinkTests(MqttCase):
    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def test_a_sink_that_loses_its_broker_repeatedly(self) -> None:
        attempts = []  # Twisted's endpoints refer to theirs in a circle
        connect = self.broker.connect

        def kept(factory: IProtocolFactory) -> Deferred[IProtocol]:
            attempts.append(connect(factory))
            return attempts[-1]

        self.broker.connect = kept  # type: ignore[method-assign]  # the double's
        sink = self.started(connect_retry_interval_ms=10)
        alive = []
        for _ in range(SESSIONS):
            self.broker.holding = True
            answer = sink.dispatch([make_mqtt_record(VIN, payload=b"x" * 1_000)])
            self.reactor.advance(0.001)
            (connection,) = self.broker.connections
            alive += [weakref.ref(connection), weakref.ref(connection.protocol)]
            self.broker.go_away()
            connection.producer = None  # as Twisted's connections do when they are lost
            connection.protocol = None
            self.successResultOf(answer)
            self.broker.away = False
            del connection, answer
            self.reactor.advance(0.02)
            self.reactor.advance(0.001)
        left = [each for each in alive if each() is not None]
        self.assertLess(len(left), 5)
