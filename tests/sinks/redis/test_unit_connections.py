"""Opening and closing of pipes, those for quarantined records included."""

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.redis.connections import Connections
from fleetgw.adapters.sinks.redis.connectors import NodeConnector
from fleetgw.adapters.sinks.redis.credentials import FixedAccess
from fleetgw.adapters.sinks.redis.settings import Address, read_settings
from fleetgw.domain.ports import NotReady, Ready


class FakePipe:
    """A ``Pipe`` that only notes that it was closed."""

    quits = False

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone

    def start(self) -> None:
        """See ``Pipe``."""

    def submit(self, _part: object) -> None:
        """See ``Pipe``."""

    def quit(self) -> None:
        """See ``Pipe``."""
        self.quits = True


class ConnectionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connections = Connections(lambda _connector, *, alone: FakePipe(alone=alone))
        settings = read_settings("redis", {"addrs": ["one:1"], "publish_vin_topics": True})
        self.connector = NodeConnector(Address("one", 1), FixedAccess(settings))

    def test_pipes_of_a_server_share_one_for_quarantined_records(self) -> None:
        first, second = self.connections.open(self.connector), self.connections.open(self.connector)
        alone = self.connections.for_quarantined(first)
        self.assertTrue(alone.alone)
        self.assertIs(self.connections.for_quarantined(second), alone)

    def test_the_pipe_for_quarantined_records_closes_after_the_last_one_of_its_server(self) -> None:
        first, second = self.connections.open(self.connector), self.connections.open(self.connector)
        alone = self.connections.for_quarantined(first)
        self.connections.closed(first)
        self.assertFalse(alone.quits)
        self.connections.closed(second)
        self.assertTrue(alone.quits)
        self.connections.closed(alone)
        self.successResultOf(self.connections.close())

    def test_close_waits_for_every_pipe(self) -> None:
        pipe = self.connections.open(self.connector)
        alone = self.connections.for_quarantined(pipe)
        closed = self.connections.close()
        self.assertEqual([pipe.quits, alone.quits], [True, True])
        self.connections.closed(alone)
        self.assertNoResult(closed)
        self.connections.closed(pipe)
        self.successResultOf(closed)

    def test_readiness(self) -> None:
        pipe = self.connections.open(self.connector)
        self.assertEqual(self.connections.readiness(pipe), NotReady("one:1: has not answered yet"))
        self.connections.changed(pipe, Ready())
        self.assertEqual(self.connections.readiness(pipe), Ready())
        self.connections.closed(pipe)
        self.connections.changed(pipe, Ready())
        self.assertEqual(self.connections.readiness(pipe), NotReady("the connection is closed"))
