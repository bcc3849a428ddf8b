"""The in-memory vehicle against a small Autobahn server."""

from datetime import UTC, datetime

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from fleetgw.adapters.codec import envelope
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.simulator.conversation import Opened, Stray
from fleetgw.testing.memory_transport import MemoryTransport
from fleetgw.testing.vehicle import InMemoryVehicle
from tests.support.stub_gateway import ack

NOW = datetime.now(UTC)
AUTHORITY = make_authority(NOW, 10)
STRANGER = make_authority(NOW, 10)
SERVER = make_server(AUTHORITY, ["localhost"], NOW, 10)
VEHICLE = make_vehicle(AUTHORITY, "5YJ3E1EA7KF000316", NOW, 10)


class AckingProtocol(WebSocketServerProtocol):
    """Acknowledges messages as its factory's ``replies`` says."""

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
        vehicle.close()
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
    """A protocol that keeps its calls."""

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

    def test_closing_delivers_written_bytes(self):
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
