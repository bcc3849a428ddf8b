"""The session on its connection: when it reads, and how it ends."""

from unittest import mock

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.mqtt.session import READ_PAUSE_S, MqttSession
from fleetgw.adapters.sinks.mqtt.session_events import SessionEnd
from fleetgw.adapters.sinks.mqtt.settings import read_settings

PUBACKS = b"\x40\x02\x00\x01\x40\x02\x00\x02"


class Transport(StringTransport):
    def setTcpNoDelay(self, _enabled: object) -> None:
        """Does nothing."""

    def getHandle(self) -> None:
        """There is no socket."""


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.owner, self.transport = Clock(), mock.Mock(), Transport()
        settings = read_settings("mqtt", {"broker": "b:1883", "topic_base": "t", "qos": 1})
        self.session = MqttSession(settings, self.owner, self.clock)
        self.session.makeConnection(self.transport)

    def tearDown(self) -> None:
        self.session.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [], "a session that has ended leaves no timer")

    def test_a_session_may_end_while_reading_is_paused(self) -> None:
        self.session.dataReceived(b"\x20\x02\x00\x00" + PUBACKS)
        self.session.dataReceived(PUBACKS)

    def test_acknowledgements_gather_while_reading_is_paused(self) -> None:
        self.session.dataReceived(b"\x20\x02\x00\x00")
        self.assertEqual(self.transport.producerState, "producing", "nothing is gathered after CONNACK")
        self.session.dataReceived(PUBACKS)
        self.owner.acknowledged.assert_called_once_with([(1, 0), (2, 0)])
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(READ_PAUSE_S)
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_session_that_is_cut_sends_no_disconnect(self) -> None:
        self.session.dataReceived(b"\x20\x02\x00\x00")
        self.transport.clear()
        self.session.cut(SessionEnd("no acknowledgement"))
        self.session.disconnect()
        self.assertEqual(self.transport.value(), b"")


class LostTests(SynchronousTestCase):
    def test_the_reason_of_a_tls_failure_is_for_people(self) -> None:
        settings = read_settings("mqtt", {"broker": "b:1883", "topic_base": "t", "qos": 1})
        for words, expected in (
            (
                "certificate verify failed",
                "certificate verify failed: mqtt.tls.ca_file",
            ),
            ("tlsv13 alert certificate required", "TLS: tlsv13 alert certificate required"),
        ):
            owner = mock.Mock()
            session = MqttSession(settings, owner, Clock())
            session.makeConnection(Transport())
            session.connectionLost(Failure(SSL.Error([("SSL routines", "", words)])))
            self.assertIn(f"the connection was lost: {expected}", owner.session_ended.call_args.args[0].reason)
