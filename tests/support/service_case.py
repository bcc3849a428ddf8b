"""A gateway on a reactor in memory, with vehicles over real TLS in memory."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import TestCase

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.testing import StringTransport

from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.logs.lines import JsonLog
from fleetgw.app.config import ConfigurationFile
from fleetgw.app.service.composition import Parts, compose
from fleetgw.app.service.life import GatewayLife
from fleetgw.simulator.certificates import Credential, make_authority, make_server, make_vehicle
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from fleetgw.testing.vehicle import InMemoryVehicle
from tests.support.books import assert_balanced

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocol
    from twisted.internet.protocol import Factory

    from fleetgw.adapters.sinks.memory.sink import MemorySink


VIN = "5YJ3E1EA7KF000001"

VEHICLES, STATUS, METRICS = 4443, 8080, 9090


class MemoryPort:
    """A port that listens in memory."""

    def __init__(self, number: int, factory: Factory, journal: list[str]) -> None:
        self.number = number
        self.factory = factory
        self.reading = True
        self.listening = True
        self.transport: object = None
        self.interface = ""
        self._journal = journal
        factory.doStart()

    def startReading(self) -> None:
        """Accept connections."""
        self.reading = True
        self._journal.append(f"read {self.number}")

    def stopReading(self) -> None:
        """Accept no connections."""
        self.reading = False

    def stopListening(self) -> Deferred[None]:
        """Close the port."""
        self.listening = False
        self._journal.append(f"stop listening {self.number}")
        self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """The bound address."""
        return IPv4Address("TCP", "127.0.0.1", self.number)


class ServiceReactor(ThreadlessReactor):
    """Ports and hooks in memory; ports in ``taken`` cannot be bound."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[str] = []
        self.ports: dict[int, MemoryPort] = {}
        self.taken: set[int] = set()
        self.stops = 0
        self._hooks: list[Callable[[], object]] = []

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> MemoryPort:  # noqa: ARG002  Twisted's signature
        """Bind a port."""
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.ports[port] = made = MemoryPort(port, factory, self.journal)
        made.interface = interface
        return made

    def callWhenRunning(self, hook: Callable[[], object]) -> None:
        """Have ``run`` call a function."""
        self._hooks.append(hook)

    def run(self) -> None:
        """Begin to run; returns at once."""
        for hook in self._hooks:
            hook()

    def stop(self) -> None:
        """Count the call.

        :raises ReactorNotRunning: it has been called before.
        """
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


@cache
def credentials() -> tuple[Credential, Credential, Credential]:
    """An authority, a server and a vehicle; OpenSSL uses the real time."""
    now = datetime.now(UTC)
    authority = make_authority(now, 30)
    return authority, make_server(authority, ["localhost"], now, 30), make_vehicle(authority, VIN, now, 30)


class ServiceCase(TestCase):
    """Base of tests of a gateway that starts and stops.

    :ivar journal: calls of ports and sinks, in order.
    :ivar log: log events of the gateway.
    :ivar lost: number of acknowledged records that the last gateway must have lost in the end.
    """

    lost = 0

    def setUp(self) -> None:
        """Write certificates, and make a reactor."""
        self.authority, self.server, self.vehicle_credential = credentials()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.write_certificates(self.server)
        self.reactor = ServiceReactor()
        self.journal = self.reactor.journal
        self.log = ReadableLog()
        self.source = ConfigurationFile(self.folder / "config.json", {}, self.folder)

    def write_certificates(self, server: Credential) -> None:
        """Write the files of the section ``tls``."""
        (self.folder / "ca.crt").write_bytes(self.authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())

    def tearDown(self) -> None:
        """Check that the books of the last gateway balance."""
        if hasattr(self, "parts"):
            assert_balanced(self.parts.metrics, lost=self.lost)

    def write_config(self, **changes: object) -> None:
        """Write the configuration of a status page, metrics and the sinks memory and logger, with changes."""
        config = {
            "port": VEHICLES,
            "status_port": STATUS,
            "monitoring": {"prometheus_metrics_port": METRICS},
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["memory", "logger"], "connectivity": ["memory"]},
            "reliable_ack_sources": {"V": "memory"},
        }
        (self.folder / "config.json").write_text(json.dumps(config | changes))

    def make(self, **changes: object) -> GatewayLife:
        """A gateway with the configuration of ``write_config``."""
        self.write_config(**changes)
        loaded = self.source.load()
        self.parts: Parts = compose(loaded, cast("Any", self.reactor), self.log)  # a reactor's few methods that it needs
        self.memory = cast("MemorySink", self.parts.lanes["memory"].sink)
        for name, lane in self.parts.lanes.items():
            self.follow(name, lane.sink)
        lines = self.log if isinstance(self.log, JsonLog) else None
        self.life = GatewayLife(self.parts, cast("Any", self.reactor), lines)
        return self.life

    def begin(self, life: GatewayLife) -> list[object]:
        """Bind and start; the list gets the result of the start."""
        ended: list[object] = []
        life.bind()
        life.start().addBoth(ended.append)
        return ended

    def follow(self, name: str, sink: Any) -> None:  # an instance whose methods are replaced
        """Record a sink's start and stop in the journal."""

        def noted(call: str) -> Callable[[], object]:
            method = getattr(sink, call)

            def note() -> object:
                self.journal.append(f"{call} {name}")
                return method()

            return note

        sink.start, sink.stop = noted("start"), noted("stop")

    def start(self, **changes: object) -> GatewayLife:
        """A gateway that has started."""
        life = self.make(**changes)
        self.begin(life)
        self.reactor.run()
        return life

    def vehicle(self) -> InMemoryVehicle:
        """A vehicle that is not connected yet."""
        return InMemoryVehicle(
            self.parts.tls_factory, self.vehicle_credential, self.authority.certificate_pem(), self.reactor
        )

    def connect_and_stop(self, life: GatewayLife) -> InMemoryVehicle:
        """Connect a vehicle, and stop the gateway."""
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        stopped = life.stop()
        vehicle.pump()
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        return vehicle

    def get(self, port: int, path: str) -> bytes:
        """The answer to ``request``."""
        answer: bytes = self.request(port, path).value()
        return answer

    def request(self, port: int, path: str) -> StringTransport:
        """Send an HTTP request to a page; the transport that the answer is written to."""
        peer = IPv4Address("TCP", "127.0.0.1", 1)
        protocol = cast("IProtocol", self.reactor.ports[port].factory.buildProtocol(peer))
        transport = StringTransport(peerAddress=peer)
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return transport

    def events(self) -> list[str]:
        """Names of all log events, oldest first."""
        return [event for _, event, _ in self.log.entries]

    def statuses(self) -> list[int]:
        """Status of each connectivity record in the memory sink."""
        records = [record for record in self.memory.received if record.record_type == "connectivity"]
        return [VehicleConnectivity.FromString(record.payload).status for record in records]

    def stopped_within(self, stopped: Deferred[None], seconds: float) -> bool:
        """Advance the clock in small steps; whether the gateway has stopped then."""
        for _ in range(round(seconds / 0.05)):
            self.reactor.advance(0.05)
        return stopped.called
