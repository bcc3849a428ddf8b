"""A fleet, and its vehicles, against a stub gateway: over TLS, in memory."""

from datetime import UTC, datetime
from random import Random

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as TwistedConnectionRefused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.simulator.conversation import Conversation
from fleetgw.simulator.fleet import Fleet, Schedule, Stage
from fleetgw.simulator.outbox import Outbox
from fleetgw.simulator.payloads import DriveReporter
from fleetgw.simulator.tally import Tally
from fleetgw.simulator.tls import client_tls
from fleetgw.simulator.vehicle import SimulatedVehicle
from fleetgw.testing.memory_transport import MemoryTransport
from tests.support.stub_gateway import StubGateway, ack

NOW = datetime.now(UTC)
AUTHORITY = make_authority(NOW, 10)
SERVER = make_server(AUTHORITY, ["localhost"], NOW, 10)
VEHICLE = make_vehicle(AUTHORITY, "5YJ3E1EA7KF000316", NOW, 10)


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Connects to a server's factory in memory; keeps the connections so that a test can move their bytes."""

    def __init__(self, server):
        self.server = server
        self.connections = []
        self.mode = "up"
        self.attempts = 0

    def connect(self, factory):
        self.attempts += 1
        if self.mode == "down":
            return fail(TwistedConnectionRefused())
        if self.mode == "silent":
            return Deferred()
        address = IPv4Address("TCP", "127.0.0.1", 50_000 + self.attempts)
        client = factory.buildProtocol(address)
        ends = (
            MemoryTransport(client, address, address),
            MemoryTransport(self.server.buildProtocol(address), address, address),
        )
        self.connections.append(ends)
        for end in ends:
            end.protocol.makeConnection(end)
        return succeed(client)

    def pump(self):
        moved = False
        for client, server in self.connections:
            moved |= client.deliver(server)
            moved |= server.deliver(client)
        return moved

    def cut_all(self):
        for _, server in self.connections:
            server.abortConnection()


class FleetTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.gateway = StubGateway()
        self.endpoint = MemoryEndpoint(self.gateway.over_tls(SERVER, AUTHORITY.certificate_pem(), self.clock))
        self.tally = Tally()
        self.finished = None

    def vehicles(self, number, outbox_limit=100, resend_after_s=5.0):
        tls = client_tls(VEHICLE.certificate_pem(), VEHICLE.key_pem(), AUTHORITY.certificate_pem(), "localhost")
        vehicles = []
        for seed in range(number):
            outbox = Outbox(outbox_limit, resend_after_s)
            vin = f"VIN{seed}"
            vehicles.append(
                SimulatedVehicle(
                    vin=vin,
                    reactor=self.clock,
                    endpoint=self.endpoint,
                    tls=tls,
                    conversation=Conversation("wss://localhost/", PeerIdentity("vehicle_device", vin), outbox),
                    outbox=outbox,
                    reporter=DriveReporter(vin, seed),
                    listener=self.tally.take,
                    random=Random(seed),
                )
            )
        return vehicles

    def start(self, number, schedule, **kwargs):
        vehicles = self.vehicles(number, **kwargs)
        self.fleet = Fleet(self.clock, vehicles, schedule, Random(1), lambda: int(self.clock.seconds() * 1e9))
        self.finished = self.fleet.run()

    def run_for(self, seconds, step_s=0.05):
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            for _ in range(200):
                if not self.endpoint.pump():
                    break
                self.clock.advance(0)

    def test_a_run(self):
        self.start(3, Schedule(rate=50, mix={"V": 9, "alerts": 1}, duration_s=4))
        self.run_for(6)
        self.assertIsNone(self.successResultOf(self.finished))
        total = self.tally.total()
        self.assertEqual((total.issued, total.acked, total.resent), (200, 200, 0))
        self.assertEqual(self.tally.by_type.keys(), {"V", "alerts"})
        self.assertGreater(self.tally.by_type["V"].issued, 150)
        self.assertEqual(len({record.txid for record in self.gateway.received}), 200)
        self.assertEqual((self.tally.connects, self.tally.connected_now, dict(self.tally.endings)), (3, 0, {}))
        self.assertEqual(self.gateway.closes, [1000] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        vins = [record.sender_id for record in self.gateway.received]
        self.assertEqual({vins.count(vin) for vin in vins}, {66, 67})

    def test_a_count(self):
        self.start(2, Schedule(rate=1000, count=37))
        self.run_for(2)
        self.successResultOf(self.finished)
        self.assertEqual(self.tally.total().acked, 37)

    def test_connects_are_ramped(self):
        self.start(10, Schedule(rate=1, duration_s=100, connects_per_s=2))
        self.run_for(1.9)
        self.assertEqual((self.endpoint.attempts, self.fleet.stage), (4, Stage.CONNECTING))
        self.run_for(4)
        self.assertEqual((self.endpoint.attempts, self.fleet.stage), (10, Stage.SENDING))
        self.fleet.interrupt(1.0)
        self.run_for(2)
        self.successResultOf(self.finished)

    def test_a_lost_connection_comes_back_and_nothing_is_lost(self):
        self.gateway.replies = lambda _record: []
        self.start(2, Schedule(rate=10, duration_s=2))
        self.run_for(1)
        self.endpoint.cut_all()
        self.endpoint.mode = "down"
        self.run_for(2)
        self.assertEqual(self.tally.connected_now, 0)
        self.gateway.replies = lambda record: [ack(record)]
        self.endpoint.mode = "up"
        self.run_for(6)
        self.successResultOf(self.finished)
        total = self.tally.total()
        self.assertEqual((total.issued, total.acked, total.unacked), (20, 20, 0))
        self.assertGreater(total.resent, 0)
        self.assertEqual(self.tally.reconnects, 2)
        self.assertGreater(self.tally.failed_connects, 1)

    def test_waits_between_attempts_grow(self):
        self.endpoint.mode = "down"
        self.start(1, Schedule(rate=1, connect_deadline_s=1000))
        self.run_for(60)
        self.assertTrue(6 <= self.endpoint.attempts <= 10, self.endpoint.attempts)
        self.fleet.interrupt(1.0)
        self.run_for(1)
        self.successResultOf(self.finished)

    def test_records_without_answers_are_sent_again_until_the_drain_ends(self):
        self.gateway.replies = lambda _record: []
        self.start(1, Schedule(rate=2, count=4, drain_s=20), resend_after_s=5.0)
        self.run_for(30)
        self.successResultOf(self.finished)
        total = self.tally.total()
        self.assertEqual((total.sent, total.acked, total.unacked), (4, 0, 4))
        self.assertTrue(8 <= total.resent <= 16, total)

    def test_a_full_outbox_holds_the_fleet_back(self):
        self.gateway.replies = lambda _record: []
        self.start(2, Schedule(rate=100, duration_s=5, drain_s=1), outbox_limit=10)
        self.run_for(8)
        self.successResultOf(self.finished)
        self.assertEqual(self.tally.total().issued, 20)

    def test_skipped_records_are_not_made_up_for(self):
        self.gateway.replies = lambda _record: []
        self.start(2, Schedule(rate=100, duration_s=20), outbox_limit=10, resend_after_s=1.0)
        self.run_for(10)
        self.gateway.replies = lambda record: [ack(record)]
        self.run_for(3)
        self.assertTrue(100 < self.tally.total().issued < 20 + 100 + 350, self.tally.total())
        self.fleet.interrupt(5.0)
        self.run_for(6)
        self.successResultOf(self.finished)
        self.assertEqual(self.tally.total().unacked, 0)

    def test_a_connection_that_opened_is_soon_opened_again(self):
        self.start(1, Schedule(rate=1, duration_s=100))
        self.run_for(1)
        for _ in range(8):
            self.endpoint.cut_all()
            self.run_for(0.6)
        self.assertEqual((self.tally.connects, self.tally.connected_now), (9, 1))
        self.fleet.interrupt(5.0)
        self.run_for(6)
        self.successResultOf(self.finished)

    def test_no_server_answers(self):
        self.endpoint.mode = "down"
        self.start(2, Schedule(rate=100, duration_s=5, connect_deadline_s=10))
        self.run_for(11)
        self.successResultOf(self.finished)
        self.assertEqual((self.tally.total().issued, self.tally.connects), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connecting_does_not_last_for_ever(self):
        self.endpoint.mode = "silent"
        self.start(1, Schedule(rate=1, connect_deadline_s=100))
        self.run_for(19)
        self.assertEqual(self.tally.failed_connects, 0)
        self.run_for(2)
        self.assertEqual(dict(self.tally.endings), {"not opened: timed out": 1})
        self.run_for(1)
        self.assertEqual(self.endpoint.attempts, 2)
        self.fleet.interrupt(1.0)
        self.run_for(1)
        self.successResultOf(self.finished)
        self.assertEqual(self.tally.failed_connects, 1)

    def test_interrupt_twice_does_not_wait(self):
        self.gateway.replies = lambda _record: []
        self.start(1, Schedule(rate=10, duration_s=100))
        self.run_for(1)
        self.fleet.interrupt(50.0)
        self.run_for(1)
        self.assertEqual(self.fleet.stage, Stage.DRAINING)
        self.fleet.interrupt(50.0)
        self.run_for(1)
        self.successResultOf(self.finished)

    def test_a_server_that_never_answers_the_close_frame_is_aborted(self):
        self.start(1, Schedule(rate=10, count=1))
        self.run_for(0.05)
        for client, _ in self.endpoint.connections:
            client.pauseProducing()
        self.run_for(1)
        self.fleet.interrupt(0.5)
        self.run_for(8)
        self.successResultOf(self.finished)
        self.assertEqual(self.clock.getDelayedCalls(), [])
