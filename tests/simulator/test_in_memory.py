"""Vehicles and fleets against a small Autobahn server, over TLS, in memory."""

from datetime import UTC, datetime
from random import Random

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as TwistedConnectionRefused
from twisted.internet.interfaces import IConsumer, IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from fleetgw.adapters.codec import envelope
from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.simulator.conversation import Conversation, Opened, Stray
from fleetgw.simulator.fleet import Fleet, Schedule, Stage
from fleetgw.simulator.outbox import Outbox
from fleetgw.simulator.payloads import DriveReporter
from fleetgw.simulator.tally import Tally
from fleetgw.simulator.tls import client_tls
from fleetgw.simulator.vehicle import SimulatedVehicle
from fleetgw.testing.memory_transport import MemoryTransport
from fleetgw.testing.vehicle import InMemoryVehicle

NOW = datetime.now(UTC)
AUTHORITY = make_authority(NOW, 10)
STRANGER = make_authority(NOW, 10)
SERVER = make_server(AUTHORITY, ["localhost"], NOW, 10)
VEHICLE = make_vehicle(AUTHORITY, "5YJ3E1EA7KF000316", NOW, 10)


class AckingProtocol(WebSocketServerProtocol):
    """Acks what comes, as its factory's ``replies`` tells."""

    def onConnect(self, request):
        self.factory.requests.append(request)
        if self.factory.deny is not None:
            raise ConnectionDeny(*self.factory.deny)

    def onOpen(self):
        self.factory.open_protocols.append(self)

    def onMessage(self, payload, isBinary):
        record = envelope.read(payload)
        self.factory.received.append(record)
        for reply in self.factory.replies(record):
            self.sendMessage(reply, isBinary=True)

    def onClose(self, wasClean, code, reason):
        self.factory.closes.append(code)
        if self in self.factory.open_protocols:
            self.factory.open_protocols.remove(self)


class AckingFactory(WebSocketServerFactory):
    protocol = AckingProtocol

    def __init__(self, clock):
        super().__init__(reactor=clock)
        self.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, autoPingInterval=0, failByDrop=False)
        self.requests = []
        self.open_protocols = []
        self.received = []
        self.closes = []
        self.deny = None
        self.replies = lambda record: [ack(record)]


def ack(record):
    head, tail = envelope.ack_parts(record.topic, len(record.txid))
    return head + record.txid + tail


def over_server_tls(factory, clock, authority=AUTHORITY):
    trusted = trustRootFromCertificates([Certificate.loadPEM(authority.certificate_pem())])
    options = CertificateOptions(privateKey=SERVER.key, certificate=SERVER.certificate, trustRoot=trusted)
    return TLSMemoryBIOFactory(options, False, factory, clock)


class InMemoryVehicleTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.factory = AckingFactory(self.clock)
        self.server = over_server_tls(self.factory, self.clock)

    def vehicle(self, **kwargs):
        return InMemoryVehicle(self.server, VEHICLE, AUTHORITY.certificate_pem(), self.clock, **kwargs)

    def test_records_are_acked(self):
        vehicle = self.vehicle(headers={"X-Network-Interface": "wifi"})
        self.assertTrue(vehicle.connect())
        self.assertEqual(self.factory.requests[0].headers["x-network-interface"], "wifi")
        txids = [
            vehicle.send("V", b"1"),
            vehicle.send("alerts", b"2", b"mine"),
            *vehicle.send_all([("V", b"3"), ("x", b"")]),
        ]
        self.assertEqual(txids[1], b"mine")
        self.assertEqual((vehicle.sent, vehicle.acked, vehicle.refused), (txids, txids, []))
        self.assertEqual([record.txid for record in self.factory.received], txids)
        self.assertEqual(self.factory.received[0].sender_id, b"vehicle_device.5YJ3E1EA7KF000316")
        self.assertEqual([frame.opcode for frame in vehicle.received_frames], [2, 2, 2, 2])
        self.assertEqual(vehicle.received_frames[1].payload, ack(self.factory.received[1]))
        self.assertIsNone(vehicle.closed)

    def test_large_messages_pass_both_ways(self):
        vehicle = self.vehicle()
        vehicle.connect()
        head, tail = envelope.ack_parts(b"V" * 500_000, 36)
        self.factory.replies = lambda record: [head + record.txid + tail]
        txid = vehicle.send("V", bytes(900_000))
        self.assertEqual(len(self.factory.received[0].payload), 900_000)
        self.assertEqual(vehicle.acked, [txid])

    def test_refused_records(self):
        self.factory.replies = lambda record: [envelope.error_reply(record.txid)]
        vehicle = self.vehicle()
        vehicle.connect()
        txid = vehicle.send("V", b"")
        self.assertEqual((vehicle.acked, vehicle.refused), ([], [txid]))

    def test_any_bytes(self):
        vehicle = self.vehicle()
        vehicle.connect()
        self.factory.replies = lambda _record: [b"not an envelope"]
        vehicle.send_message(b"")
        self.assertEqual(vehicle.received_frames[-1].payload, b"not an envelope")
        vehicle.send_raw(b"\xff\xff\xff")
        self.assertEqual((vehicle.closed.code, vehicle.is_open), (1002, False))
        self.assertEqual(self.factory.closes, [1006])
        self.assertRaises(ConnectionError, vehicle.send_message, b"")

    def test_the_server_closes(self):
        vehicle = self.vehicle()
        vehicle.connect()
        self.factory.open_protocols[0].sendClose(1000, "done")
        vehicle.pump()
        self.assertEqual((vehicle.closed.code, vehicle.closed.reason), (1000, "done"))

    def test_the_vehicle_closes(self):
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.goodbye()
        self.assertEqual((vehicle.closed.code, self.factory.closes), (1000, [1000]))

    def test_the_vehicle_vanishes_and_comes_back(self):
        self.factory.replies = lambda _record: []
        vehicle = self.vehicle()
        vehicle.connect()
        txid = vehicle.send("V", b"1")
        vehicle.cut()
        self.assertEqual(self.factory.closes, [1006])
        self.assertEqual(vehicle.closed.code, 1006)
        self.factory.replies = lambda record: [ack(record)]
        self.assertTrue(vehicle.connect())
        self.assertEqual((vehicle.sent, vehicle.acked), ([txid, txid], [txid]))
        self.assertEqual([event.again for event in vehicle.events if isinstance(event, Opened)], [False, True])
        self.assertRaises(RuntimeError, vehicle.connect)

    def test_resends_when_time_has_come(self):
        self.factory.replies = lambda _record: []
        vehicle = self.vehicle(resend_after_s=3.0)
        vehicle.connect()
        txid = vehicle.send("V", b"1")
        vehicle.advance(2.0)
        vehicle.resend_overdue()
        self.assertEqual(vehicle.sent, [txid])
        self.factory.replies = lambda record: [ack(record), ack(record)]
        vehicle.advance(1.0)
        vehicle.resend_overdue()
        self.assertEqual((vehicle.sent, vehicle.acked), ([txid, txid], [txid]))
        self.assertEqual(vehicle.events[-1], Stray(txid))

    def test_late_replies_come_with_time(self):
        vehicle = self.vehicle()
        vehicle.connect()
        self.factory.replies = lambda record: (
            self.clock.callLater(0.005, self.factory.open_protocols[0].sendMessage, ack(record), isBinary=True) and []
        )
        txid = vehicle.send("V", b"1")
        self.assertEqual(vehicle.acked, [])
        vehicle.advance(0.005)
        self.assertEqual(vehicle.acked, [txid])

    def test_a_vehicle_that_does_not_read(self):
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.stop_reading()
        txid = vehicle.send("V", b"1")
        self.assertEqual((len(self.factory.received), vehicle.acked), (1, []))
        vehicle.read_on()
        self.assertEqual(vehicle.acked, [txid])

    def test_a_refused_upgrade(self):
        self.factory.deny = (403, "not you")
        vehicle = self.vehicle()
        self.assertFalse(vehicle.connect())
        self.assertEqual((vehicle.closed.code, vehicle.closed.http_status), (None, 403))

    def test_a_certificate_that_the_server_does_not_trust(self):
        self.server = over_server_tls(self.factory, self.clock, authority=STRANGER)
        vehicle = self.vehicle()
        self.assertFalse(vehicle.connect())
        self.assertIn("unknown ca", vehicle.closed.reason)
        self.assertEqual(vehicle.closed.http_status, 0)

    def test_a_server_that_the_vehicle_does_not_trust(self):
        vehicle = InMemoryVehicle(self.server, VEHICLE, STRANGER.certificate_pem(), self.clock)
        self.assertFalse(vehicle.connect())
        self.assertIn("certificate verify failed", vehicle.closed.reason)
        self.assertEqual(self.factory.requests, [])

    def test_two_vehicles_do_not_hear_each_other(self):
        one, other = self.vehicle(port=1), self.vehicle(port=2)
        one.connect()
        other.connect()
        txid = one.send("V", b"1")
        other.pump()
        self.assertEqual((one.acked, other.events), ([txid], [Opened(again=False)]))


class Recorder:
    """A protocol that keeps what it is told."""

    def __init__(self):
        self.data = b""
        self.lost = None

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.lost = reason.type.__name__


class MemoryTransportTests(SynchronousTestCase):
    def setUp(self):
        address = IPv4Address("TCP", "127.0.0.1", 1)
        self.one = MemoryTransport(Recorder(), address, address)
        self.other = MemoryTransport(Recorder(), address, address)

    def test_interfaces(self):
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, self.one)

    def test_closing_lets_what_was_written_through(self):
        self.one.writeSequence([b"1", b"2"])
        self.one.loseConnection()
        self.one.write(b"3")
        self.assertIsNone(self.one.protocol.lost)
        self.assertTrue(self.one.deliver(self.other))
        self.assertEqual(self.other.protocol.data, b"12")
        self.assertEqual((self.one.protocol.lost, self.other.protocol.lost), ("ConnectionDone", "ConnectionDone"))

    def test_aborting_does_not(self):
        self.one.write(b"1")
        self.one.abortConnection()
        self.one.deliver(self.other)
        self.assertEqual(self.other.protocol.data, b"")
        self.assertEqual((self.one.protocol.lost, self.other.protocol.lost), ("ConnectionAborted", "ConnectionLost"))
        self.assertFalse(self.one.deliver(self.other))

    def test_a_reader_that_pauses_stops_the_writer(self):
        calls = []

        class Producer:
            def pauseProducing(self):
                calls.append("pause")

            def resumeProducing(self):
                calls.append("resume")

        self.one.registerProducer(Producer(), streaming=True)
        self.other.pauseProducing()
        self.one.write(bytes(65_536))
        self.assertFalse(self.one.deliver(self.other))
        self.assertEqual(calls, [])
        self.one.write(b"1")
        self.assertEqual(calls, ["pause"])
        self.other.resumeProducing()
        self.assertTrue(self.one.deliver(self.other))
        self.assertEqual((calls, len(self.other.protocol.data)), (["pause", "resume"], 65_537))


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
        self.factory = AckingFactory(self.clock)
        self.endpoint = MemoryEndpoint(over_server_tls(self.factory, self.clock))
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
        self.assertEqual({record.txid for record in self.factory.received}.__len__(), 200)
        self.assertEqual((self.tally.connects, self.tally.connected_now, dict(self.tally.endings)), (3, 0, {}))
        self.assertEqual(self.factory.closes, [1000] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        vins = [record.sender_id for record in self.factory.received]
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
        self.factory.replies = lambda _record: []
        self.start(2, Schedule(rate=10, duration_s=2))
        self.run_for(1)
        self.endpoint.cut_all()
        self.endpoint.mode = "down"
        self.run_for(2)
        self.assertEqual(self.tally.connected_now, 0)
        self.factory.replies = lambda record: [ack(record)]
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

    def test_silence_is_answered_with_resends_and_then_given_up(self):
        self.factory.replies = lambda _record: []
        self.start(1, Schedule(rate=2, count=4, drain_s=20), resend_after_s=5.0)
        self.run_for(30)
        self.successResultOf(self.finished)
        total = self.tally.total()
        self.assertEqual((total.sent, total.acked, total.unacked), (4, 0, 4))
        self.assertTrue(8 <= total.resent <= 16, total)

    def test_a_full_outbox_holds_the_fleet_back(self):
        self.factory.replies = lambda _record: []
        self.start(2, Schedule(rate=100, duration_s=5, drain_s=1), outbox_limit=10)
        self.run_for(8)
        self.successResultOf(self.finished)
        self.assertEqual(self.tally.total().issued, 20)

    def test_what_was_held_back_is_not_made_up_for(self):
        self.factory.replies = lambda _record: []
        self.start(2, Schedule(rate=100, duration_s=20), outbox_limit=10, resend_after_s=1.0)
        self.run_for(10)
        self.factory.replies = lambda record: [ack(record)]
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

    def test_nobody_answers_at_all(self):
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
        self.factory.replies = lambda _record: []
        self.start(1, Schedule(rate=10, duration_s=100))
        self.run_for(1)
        self.fleet.interrupt(50.0)
        self.run_for(1)
        self.assertEqual(self.fleet.stage, Stage.DRAINING)
        self.fleet.interrupt(50.0)
        self.run_for(1)
        self.successResultOf(self.finished)

    def test_a_server_that_never_answers_the_goodbye_is_cut(self):
        self.start(1, Schedule(rate=10, count=1))
        self.run_for(0.05)
        for client, _ in self.endpoint.connections:
            client.pauseProducing()
        self.run_for(1)
        self.fleet.interrupt(0.5)
        self.run_for(8)
        self.successResultOf(self.finished)
        self.assertEqual(self.clock.getDelayedCalls(), [])
