"""TLS: accepted and refused handshakes, replaced certificates, and a transport that behaves like Twisted's."""

from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from fleetgw.adapters.ingress.handshake_failure import HANDSHAKE_REASONS
from fleetgw.adapters.ingress.http import NOT_TLS
from fleetgw.adapters.ingress.tls import VehicleTlsFactory
from fleetgw.domain.errors import ConfigurationError
from fleetgw.simulator.certificates import make_server
from tests.support.client_certificates import (
    ANY_USAGE,
    CLIENT_AUTH,
    SERVER_AUTH,
    client_certificate,
    intermediate_authority,
    root_authority,
)
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import UPGRADE, RawClientTls, RawVehicle

_lib: Any = SSL._lib  # type: ignore[attr-defined]  # cffi, not typed
EMPTY_MESSAGE = b"\x82\x80mask"
COUNTER = "tls_handshake_error_total"
KEYS = {"server.crt": "server_cert", "server.key": "server_key", "ca.crt": "ca_file"}


class HandshakeTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.start(authority=self.authority)

    def assertRefused(self, tls: RawClientTls | None, reason: str, data: bytes = b"") -> RawVehicle:
        """Assert that the handshake fails, and is logged and counted with this reason."""
        before = self.gateway.counted(COUNTER, reason=reason)
        vehicle = self.gateway.connect(tls)
        vehicle.link.pump()
        if data:
            vehicle.send(data)
        self.assertIsNotNone(vehicle.lost)
        self.assertIn(reason, str(self.gateway.log.fields_of("tls_handshake_error")[-1]["error"]))
        self.assertEqual(self.gateway.counted(COUNTER, reason=reason), before + 1)
        self.assertIn(reason, HANDSHAKE_REASONS)
        self.assertLeavesNothing()
        return vehicle

    def assertLetIn(self, tls: RawClientTls) -> None:
        """Assert that handshake and upgrade succeed."""
        vehicle = self.gateway.connect(tls)
        self.assertEqual(vehicle.upgrade()[:12], b"HTTP/1.1 101")
        vehicle.close()

    def test_certificates(self) -> None:
        intermediate = intermediate_authority(self.authority, "Tesla Issuing CA")
        chained = client_certificate(intermediate, VIN)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for reason, certificate in (
                ("certificate has expired", client_certificate(self.authority, VIN, expired=True)),
                ("unable to get local issuer certificate", client_certificate(root_authority("TeslaMotors"), VIN)),
                ("unable to get local issuer certificate", chained),
                ("unsuitable certificate purpose", client_certificate(self.authority, VIN, [SERVER_AUTH])),
                ("peer did not return a certificate", None),
            ):
                self.assertRefused(RawClientTls(certificate, version=version), reason)
            for usages in ([CLIENT_AUTH], [SERVER_AUTH, CLIENT_AUTH], [ANY_USAGE], [SERVER_AUTH, ANY_USAGE], []):
                tls = RawClientTls(client_certificate(self.authority, VIN, usages), version=version)
                self.assertLetIn(tls)
            self.assertLetIn(RawClientTls(chained, [intermediate], version))

    def test_an_expired_certificate_for_any_use_is_expired(self) -> None:
        certificate = client_certificate(self.authority, VIN, [ANY_USAGE], expired=True)
        self.assertRefused(RawClientTls(certificate), "certificate has expired")

    def test_an_intermediate_for_servers_only_signs_no_vehicle(self) -> None:
        intermediate = intermediate_authority(self.authority, "Tesla Issuing CA", [SERVER_AUTH])
        tls = RawClientTls(client_certificate(intermediate, VIN), [intermediate])
        self.assertRefused(tls, "unsuitable certificate purpose")

    def test_an_intermediate_for_any_use_signs_vehicles(self) -> None:
        for usages in ([ANY_USAGE], [SERVER_AUTH, ANY_USAGE], [CLIENT_AUTH]):
            intermediate = intermediate_authority(self.authority, "Tesla Issuing CA", usages)
            self.assertLetIn(RawClientTls(client_certificate(intermediate, VIN), [intermediate]))

    def test_versions_and_protocols(self) -> None:
        main = client_certificate(self.authority, VIN)
        self.assertRefused(RawClientTls(main, version=SSL.TLS1_1_VERSION), "unsupported protocol")
        self.assertRefused(RawClientTls(main, protocols=[b"h2"]), "no application protocol")

    def test_no_tls_at_all(self) -> None:
        self.assertRefused(None, "wrong version number", b"hello, is anybody there? " * 10)
        vehicle = self.assertRefused(None, "http request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(vehicle.take(), NOT_TLS)

    def test_only_the_first_bytes_may_be_http(self) -> None:
        """A later part of a handshake that starts like a request is not one."""
        vehicle = self.gateway.connect(None)
        vehicle.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        vehicle.send(b"GET of 501 bytes that are a client's random numbers")
        self.assertEqual(vehicle.take(), b"")
        self.assertIsNone(vehicle.lost)

    def test_tls_garbage(self) -> None:
        vehicle = self.gateway.connect(None)
        vehicle.send(b"\x16\x03\x01\xff\xff" + b"garbage" * 100)
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(self.gateway.counted(COUNTER, reason="other"), 1)
        self.assertLeavesNothing()

    def test_failed_handshakes_need_not_be_logged(self) -> None:
        self.start(environ={"SUPPRESS_TLS_HANDSHAKE_ERROR_LOGGING": "true"})
        vehicle = self.gateway.connect(RawClientTls(None))
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(self.gateway.log.fields_of("tls_handshake_error"), [])
        self.assertEqual(self.gateway.counted(COUNTER, reason="peer did not return a certificate"), 1)

    def test_a_disconnect_during_the_handshake_is_no_error(self) -> None:
        for leave in (RawVehicle.cut, RawVehicle.close):
            vehicle = self.gateway.connect(None)
            vehicle.send(b"\x16\x03\x01")
            leave(vehicle)
            self.assertLeavesNothing()
        self.assertEqual(self.gateway.log.fields_of("tls_handshake_error"), [])


class ReloadTests(GatewayCase):
    def names(self, vehicle: RawVehicle) -> tuple[str, int]:
        tls: Any = vehicle.link.client.protocol
        certificate = tls.getHandle().get_peer_certificate(as_cryptography=True)
        return certificate.issuer.rfc4514_string(), certificate.serial_number

    def test_new_handshakes_use_the_new_files(self) -> None:
        gateway = self.start()
        files = gateway.tls.files
        old = self.open_vehicle()
        old_name = self.names(old)
        new_authority = root_authority("TeslaMotors")
        server = make_server(new_authority, ["localhost"], datetime.now(UTC), 30)
        files.server_cert.write_bytes(server.certificate_pem())
        files.server_key.write_bytes(server.key_pem())
        files.ca_file.write_bytes(new_authority.certificate_pem())
        before = gateway.connect(gateway.vehicle_tls("5YJ3E1EA7KF000002"))
        self.assertEqual(before.upgrade()[:12], b"HTTP/1.1 101", "nothing changes before the reload")

        gateway.tls.reload()

        self.assertNotEqual(old.exchange(EMPTY_MESSAGE), b"")
        self.assertEqual(self.names(old), old_name)
        new = gateway.connect(RawClientTls(client_certificate(new_authority, VIN)))
        self.assertEqual(new.upgrade()[:12], b"HTTP/1.1 101")
        self.assertNotEqual(self.names(new), old_name)
        refused = gateway.connect(gateway.vehicle_tls())
        refused.link.pump()
        self.assertIsNotNone(refused.lost)

    def test_a_bad_file_keeps_the_old_ones(self) -> None:
        gateway = self.start()
        files = gateway.tls.files
        other_key = make_server(gateway.authority, ["localhost"], datetime.now(UTC), 30).key_pem()
        for file, content in (
            (files.server_cert, b"no certificate"),
            (files.server_key, b"no key"),
            (files.server_key, other_key),
            (files.ca_file, b"nobody"),
            (files.ca_file, None),
        ):
            good = file.read_bytes()
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            for _ in range(2):
                with self.assertRaisesRegex(
                    ConfigurationError, f"tls.{KEYS[file.name]}: .*{file.name} cannot be ", msg=file.name
                ):
                    gateway.tls.reload()
            vehicle = self.open_vehicle()
            vehicle.close()
            file.write_bytes(good)
            self.assertIn(str(file), gateway.tls.reload(), "what could not be used is tried again")
            self.assertEqual(gateway.tls.reload(), [])


class Recorder(Protocol):
    """The protocol inside TLS: records its calls, and runs a test's function within one."""

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.on_data: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self.happened and isinstance(self.happened[-1], bytes):
            self.happened[-1] += data
        else:
            self.happened.append(data)
        if self.on_data is not None:
            self.on_data(self, data)

    def hello_received(self, hello: object) -> None:
        """Do nothing."""

    def handshakeCompleted(self) -> None:
        """Do nothing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.happened.append(reason.type)


class StockTlsFactory(TLSMemoryBIOFactory):
    protocol: type[TLSMemoryBIOProtocol] = TLSMemoryBIOProtocol


class SameAsStockTests(GatewayCase):
    """One script with Twisted's transport and with ours has the same result on both sides."""

    def play(self, script: Any, on_data: Any = None) -> None:
        gateway = self.start()
        client = gateway.vehicle_tls()
        outcomes = []
        for factory_class in (StockTlsFactory, VehicleTlsFactory):
            inside = Recorder()
            inside.on_data = on_data
            factory = Factory.forProtocol(lambda inside=inside: inside)
            vehicle = RawVehicle(factory_class(gateway.tls, False, factory, Clock()), client, gateway.clock)
            script(vehicle, inside)
            vehicle.link.pump()
            lost = vehicle.lost.type if vehicle.lost is not None else None
            self.assertEqual(_lib.ERR_peek_error(), 0, "an error is left for the next connection to trip over")
            outcomes.append((inside.happened, vehicle.take(), lost, vehicle.link.server.disconnected))
        self.assertEqual(outcomes[1], outcomes[0])
        self.outcome = outcomes[1]

    def test_bytes_both_ways(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            for size in (1, 16_384, 16_385, 100_000, 300_000):
                vehicle.send(bytes(size))
                inside.transport.write(b"%d" % size)
                inside.transport.write(b"z" * size)
                inside.transport.writeSequence([b"a", b"b"])

        self.play(script)
        self.assertEqual(len(self.outcome[1]), sum((1, 16_384, 16_385, 100_000, 300_000)) + 1 + 5 + 5 + 6 + 6 + 10)

    def test_writing_before_the_handshake_is_done(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            inside.transport.write(b"early ")
            inside.transport.write(b"bird")
            vehicle.link.pump()
            vehicle.send(b"hello")

        self.play(script)
        self.assertEqual(self.outcome[1], b"early bird")

    def test_the_client_closes(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            vehicle.send(b"last words")
            vehicle.close()

        self.play(script)
        self.assertEqual(self.outcome[0], [b"last words", ConnectionDone])

    def test_the_client_speaks_and_closes_in_one_read(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            vehicle.transport.write(b"x" * 40_000)
            vehicle.transport.loseConnection()

        self.play(script)
        self.assertEqual(self.outcome[0], [b"x" * 40_000, ConnectionDone])

    def test_the_client_vanishes(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            vehicle.send(b"last words")
            vehicle.link.client.loseConnection()  # TCP ends without close_notify

        self.play(script)
        self.assertEqual(self.outcome[0], [b"last words", ConnectionLost])

    def test_the_server_closes(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            inside.transport.write(b"goodbye")
            inside.transport.loseConnection()
            inside.transport.write(b"too late")

        self.play(script)
        self.assertEqual(self.outcome[:3], ([ConnectionDone], b"goodbye", ConnectionDone))

    def test_the_server_closes_while_it_reads(self) -> None:
        def on_data(inside: Recorder, data: bytes) -> None:
            inside.transport.write(b"enough")
            inside.transport.loseConnection()

        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            vehicle.send(b"x" * 10)
            vehicle.send(b"y" * 10)

        self.play(script, on_data)

    def test_the_server_aborts(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            inside.transport.write(b"never seen")
            inside.transport.abortConnection()
            inside.transport.write(b"nor this")

        self.play(script)
        self.assertEqual(self.outcome[1], b"")

    def test_nothing_is_delivered_after_an_abort(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            inside.transport.abortConnection()
            vehicle.send(b"too late")

        self.play(script)
        self.assertEqual(len(self.outcome[0]), 1)

    def test_the_server_closes_before_the_handshake_is_done(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            inside.transport.loseConnection()

        self.play(script)

    def test_a_broken_record(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            vehicle.send(b"fine")
            vehicle.link.client.write(b"\x17\x03\x03\x00\x20" + bytes(32))

        self.play(script)
        self.assertEqual(self.outcome[0], [b"fine", SSL.Error])

    def test_a_paused_reader(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            vehicle.link.pump()
            inside.transport.pauseProducing()
            vehicle.send(b"kept back")
            self.assertEqual(inside.happened, [])
            inside.transport.resumeProducing()

        self.play(script)
        self.assertEqual(self.outcome[0], [b"kept back"])

    def test_addresses(self) -> None:
        def script(vehicle: RawVehicle, inside: Recorder) -> None:
            inside.happened.append((inside.transport.getPeer(), inside.transport.getHost()))

        self.play(script)
        self.assertEqual(self.outcome[0][0][0], IPv4Address("TCP", "127.0.0.1", 50_000))


class JoinedRecordsTests(GatewayCase):
    def test_all_records_of_a_read_are_one_read(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        reads: list[tuple[int, bytes]] = []
        (ours,) = self.gateway.vehicles.connections
        real = ours.messages_received

        def record(messages: Any, plaintext: bytes) -> None:
            reads.append((len(messages), plaintext))
            real(messages, plaintext)

        ours.messages_received = record  # type: ignore[method-assign]
        tls: Any = vehicle.link.client.protocol
        for _ in range(5):
            tls._write(EMPTY_MESSAGE)  # a TLS record each
        vehicle.link.pump()
        self.assertEqual(reads, [(5, b"")])
        self.assertEqual(len(vehicle.take()) % 5, 0)

    def test_an_upgrade_in_many_records(self) -> None:
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        vehicle.link.pump()
        for at in range(len(UPGRADE)):
            vehicle.send(UPGRADE[at : at + 1])
        self.assertEqual(vehicle.take()[:12], b"HTTP/1.1 101")
