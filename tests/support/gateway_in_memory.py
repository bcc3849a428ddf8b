"""The whole gateway without sockets: composed from a configuration, on a clock that a test advances."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.app.config import parse_config
from fleetgw.app.service.composition import compose
from fleetgw.simulator.certificates import Credential, make_authority, make_server, make_vehicle
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.support.books import assert_balanced
from tests.support.raw_vehicle import RawClientTls, RawVehicle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VIN = "5YJ3E1EA7KF000001"
_VALID_DAYS = 30


class GatewayInMemory:
    """All parts that ``twistd fleetgw`` makes, with started sinks and deadlines.

    :param folder: the folder for certificate files.
    :param authorities: the authorities that the gateway trusts; by default ``authority`` alone.
    :param environ: the environment variables.
    :param config: keys of the configuration, in place of a route of ``V`` to the sink ``memory``.

    :ivar authority: signed the server's certificate, and trusted with vehicles'.
    :ivar clock: what the gateway takes for the reactor.
    :ivar log: its events.
    :ivar tls_factory: makes the protocol of a connection, as a port would have it.
    :ivar vehicles: the factory within TLS.
    :ivar tls: the certificates in use.
    """

    def __init__(
        self,
        folder: Path,
        authority: Credential | None = None,
        authorities: Sequence[Credential] = (),
        environ: Mapping[str, str] | None = None,
        **config: object,
    ) -> None:
        now = datetime.now(UTC)
        self.authority = authority or make_authority(now, _VALID_DAYS)
        self.clock = ThreadlessReactor()
        self.log = ReadableLog()
        trusted = authorities or [self.authority]
        (folder / "ca.crt").write_bytes(b"".join(each.certificate_pem() for each in trusted))
        server = make_server(self.authority, ["localhost"], now, _VALID_DAYS)
        (folder / "server.crt").write_bytes(server.certificate_pem())
        (folder / "server.key").write_bytes(server.key_pem())
        text: dict[str, object] = {
            "port": 4443,
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["memory"]},
        }
        reactor: Any = self.clock  # composing asks for a clock and for threads only; sockets are the service's
        parts = compose(parse_config(json.dumps(text | config), environ or {}, folder), reactor, self.log)
        self.parts = parts
        self.vehicles, self.tls_factory, self.tls = parts.vehicles, parts.tls_factory, parts.tls
        for lane in parts.lanes.values():
            lane.sink.start()
        self.tls_factory.doStart()  # type: ignore[no-untyped-call]  # Twisted leaves it untyped

    def vehicle_tls(self, vin: str = VIN, **options: Any) -> RawClientTls:  # those of ``RawClientTls``
        """TLS of a vehicle with a certificate that the gateway accepts."""
        return RawClientTls(make_vehicle(self.authority, vin, datetime.now(UTC), _VALID_DAYS), **options)

    def connect(self, tls: RawClientTls | None) -> RawVehicle:
        """A connection, before any bytes are sent."""
        return RawVehicle(self.tls_factory, tls, self.clock)

    def memory_sink(self, name: str = "memory") -> MemorySink:
        """A memory sink of the configuration."""
        sink = self.parts.lanes[name].sink
        assert isinstance(sink, MemorySink)  # noqa: S101  else the test's own configuration is wrong
        return sink

    def counted(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when it has not been counted."""
        for family in self.parts.metrics.snapshot():
            if family.metric.name == name:
                return family.series.get(tuple(labels.get(label, "") for label in family.metric.labels), 0)
        return 0

    def close(self) -> None:
        """Abort every connection and stop the deadlines; then the books must balance."""
        self.vehicles.abort_all()
        self.clock.advance(0)
        assert_balanced(self.parts.metrics)


class GatewayCase(TestCase):
    """Base of tests that talk to a gateway in memory."""

    def start(self, environ: Mapping[str, str] | None = None, **config: Any) -> GatewayInMemory:  # as ``GatewayInMemory``
        """A gateway with these keys of the configuration; it ends with the test."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.gateway = gateway = GatewayInMemory(Path(folder.name), environ=environ, **config)
        self.addCleanup(gateway.close)
        return gateway

    def open_vehicle(self, vin: str = VIN) -> RawVehicle:
        """A vehicle that has finished its upgrade."""
        vehicle = self.gateway.connect(self.gateway.vehicle_tls(vin))
        response = vehicle.upgrade()
        self.assertEqual(response[:12], b"HTTP/1.1 101", response)
        return vehicle

    def assertLeavesNothing(self) -> None:
        """No connection is left, and no timer but the watch over deadlines."""
        self.assertEqual(self.gateway.vehicles.connections, set())
        self.assertEqual(self.gateway.vehicles.registry.open_connections, 0)
        self.gateway.clock.advance(0.1)  # the lanes' batches
        self.assertLessEqual(len(self.gateway.clock.getDelayedCalls()), 1)
