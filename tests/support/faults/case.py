"""The base of the tests of faults: a gateway process, vehicles, destinations, and the oracle at the end."""

from __future__ import annotations

import os
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestCase
from uuid import uuid4

from fleetgw.adapters.metrics.ledger import ledger_of_page
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.books import assert_balanced
from tests.support.deadline import DEADLINE_S
from tests.support.faults.brokers import the_kafka
from tests.support.faults.connection import Connection, upgrade_request, vehicle_tls
from tests.support.faults.oracle import Account, check_account
from tests.support.faults.outlets import KafkaOutlet, Outlet, SqliteOutlet, dead_letters, metric
from tests.support.faults.process_facts import ReactorCpu
from tests.support.faults.records import CUSTOM_TYPE, Delivered
from tests.support.faults.vehicle import Habits, Vehicle, Vehicles, wait_until
from tests.support.free_ports import free_ports
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator, Sequence

    from fleetgw.domain.ledger import Ledger
    from tests.support.kafka.broker import KafkaBroker

FULL = os.environ.get("FLEETGW_FAULTS") == "full"
"""Whether the tests run in full, as ``make test-faults`` has it; otherwise bounded, as continuous integration."""

Settings = dict[str, Any]  # Any: as the JSON of a configuration has it

VEHICLES = 8
HONEST = 4
"""Vehicles that send while a test drives a hostile one, which is the last of all."""

REACTOR_S = 2.0
"""Bound on the time that the reactor computes between an honest vehicle's record and its acknowledgement."""


def bounded(number: int, full: int) -> int:
    """A number of repetitions: ``full`` in a full run."""
    return full if FULL else number


class FaultCase(TestCase):
    """A gateway on one port, whatever becomes of its process: ``V`` goes to Kafka, ``notes`` to an SQLite file.

    :ivar folder: of the test, removed at its end.
    """

    def setUp(self) -> None:
        """Make certificates and choose ports."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.certificates = CertificateFolder(self.folder / "certs", 30)
        self.certificates.ensure_all(VEHICLES)
        self.port, self._metrics_port = free_ports(2)
        self._namespace = f"faults_{uuid4().hex[:12]}"
        self._processes = count(1)

    @cached_property
    def kafka(self) -> KafkaBroker:
        """The broker, which runs when it is first asked for."""
        return the_kafka()

    @cached_property
    def in_kafka(self) -> KafkaOutlet:
        """The records of type ``V`` in Kafka."""
        return KafkaOutlet(self.kafka, self._namespace)

    @cached_property
    def in_sqlite(self) -> SqliteOutlet:
        """The records of type ``notes`` in the file."""
        return SqliteOutlet(self.folder / "records.sqlite3")

    def settings(self, *record_types: str) -> Settings:
        """The configuration for these record types, each acknowledged by its sink."""
        settings: Settings = {
            "port": self.port,
            "namespace": self._namespace,
            "monitoring": {"prometheus_metrics_port": self._metrics_port},
            "delivery": {"retry_initial_s": 0.1, "retry_max_s": 1.0},
            "records": {"V": ["kafka"], CUSTOM_TYPE: ["sqlite"]},
            "ack_policies": {"V": "kafka", CUSTOM_TYPE: "sqlite"},
        }
        for key in ("records", "ack_policies"):
            settings[key] = {each: settings[key][each] for each in record_types}
        if "V" in record_types:
            settings["kafka"] = {"bootstrap.servers": self.kafka.servers, "message.timeout.ms": 5000}
        if CUSTOM_TYPE in record_types:
            settings["sqlite"] = {"path": str(self.folder / "records.sqlite3")}
        return settings

    def gateway(self, *, prelude: str = "", wrapper: Sequence[str] = (), **settings: Any) -> GatewayProcess:
        """A process with a folder of its own for its log, and the certificates of the test."""
        folder = self.folder / f"gateway-{next(self._processes)}"
        folder.mkdir()
        (folder / "certs").symlink_to(self.certificates.path)
        return GatewayProcess(folder, prelude=prelude, wrapper=wrapper, **settings)

    def vehicles(self, number: int = VEHICLES, habits: Habits | None = None, *, first: int = 0) -> Vehicles:
        """A number of the folder's vehicles, from the ``first`` on."""
        files = self.certificates.vehicle_files()[first : first + number]
        address = ("localhost", self.port)
        return Vehicles([Vehicle(file.stem, address, self.tls_of(file), habits or Habits()) for file in files])

    @contextmanager
    def load(self, *, prelude: str = "", **changes: Any) -> Iterator[tuple[GatewayProcess, Vehicles]]:
        """A gateway under the load of ``HONEST`` vehicles, which send to the SQLite file; at the end the oracle.

        :param prelude: as in ``GatewayProcess``.
        :param changes: of the configuration.
        """
        settings = self.settings(CUSTOM_TYPE) | changes
        honest = self.vehicles(HONEST, Habits(record_types=[CUSTOM_TYPE]))
        with self.gateway(prelude=prelude, **settings) as gateway, honest as vehicles:
            gateway.wait_for("server_listening")
            vehicles.begin()
            vehicles.wait_for_acks(100)
            yield gateway, vehicles
            vehicles.wait_for_acks(100)
            self.verify(gateway, vehicles, self.in_sqlite)
            self.assertEqual([vehicle.connects for vehicle in vehicles.each], [1] * HONEST, "honest vehicles were cut")

    def hostile_tls(self) -> ssl.SSLContext:
        """The TLS of the last vehicle of the folder, for a connection that a test drives by itself."""
        return self.tls_of(self.certificates.vehicle_files()[-1])

    def tls_of(self, certificate: Path) -> ssl.SSLContext:
        """The TLS of a vehicle of the folder."""
        return vehicle_tls(certificate, self.certificates.authority_file)

    def connect(self, tls: ssl.SSLContext | None = None, *, txid: str = "", buffer_bytes: int | None = None) -> Connection:
        """A connection that is upgraded, by default of the last vehicle."""
        connection = Connection(("localhost", self.port), tls or self.hostile_tls(), receive_buffer_bytes=buffer_bytes)
        self.addCleanup(connection.close)
        connection.upgrade(upgrade_request(txid))
        return connection

    def metrics(self) -> str:
        """The gateway's metrics page now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=DEADLINE_S) as answer:
            page: str = answer.read().decode()
        return page

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the gateway now, all series that have these labels together."""
        return metric(self.metrics(), name, **labels)

    @contextmanager
    def undisturbed(self, gateway: GatewayProcess, vehicles: Vehicles) -> Iterator[None]:
        """Between a record of the block and its acknowledgement the reactor computes for less than ``REACTOR_S``, for 99%.

        The time that passes meanwhile depends on the machine, too.
        """
        began_s = time.monotonic()
        with ReactorCpu(gateway.pid) as cpu:
            yield
        acked = vehicles.acked
        fresh = {txid: at_s for txid, at_s in vehicles.issued.items() if at_s >= began_s and txid in acked}
        took_s = sorted(cpu.between(at_s, acked[txid]) for txid, at_s in fresh.items())
        p99_s = took_s[int(0.99 * (len(took_s) - 1))]
        print(f"{self.id().removeprefix('tests.faults.')}: {p99_s:.2f} s of the reactor until an acknowledgement")
        self.assertLess(p99_s, REACTOR_S)

    def wait_for_metric(self, name: str, at_least: float = 1, **labels: str) -> None:
        """Wait until a metric has grown so far."""
        wait_until(lambda: self.metric(name, **labels) >= at_least, f"{name}{labels} did not become {at_least}")

    def delivered(self, vehicles: Vehicles, *outlets: Outlet, besides: Collection[bytes] = ()) -> list[Delivered]:
        """All that is delivered, as soon as no acknowledged record is missing, or nothing has come for the longest wait.

        :param besides: txids that need not be there.
        """
        acked = vehicles.acked.keys() - set(besides)
        fewest, deadline_s = len(acked), 0.0
        while True:
            found = [record for outlet in outlets for record in outlet.read()]
            missing = len(acked - {record.txid for record in found})
            if missing < fewest or not deadline_s:
                fewest, deadline_s = missing, time.monotonic() + DEADLINE_S
            if not missing or time.monotonic() > deadline_s:
                return found

    def books(self, *, lost: int = 0) -> Ledger:
        """The ledger of the gateway now, which balances; ``lost``: the number of records that must be lost."""
        return assert_balanced(ledger_of_page(self.metrics()), lost=lost)

    def verify(self, gateway: GatewayProcess, vehicles: Vehicles, *outlets: Outlet) -> Account:
        """After the fault: every record is acknowledged, a fresh one of each type and vehicle too, and the oracle holds."""
        vehicles.settle()
        types = dict.fromkeys(each for vehicle in vehicles.each for each in vehicle.record_types)
        for vehicle in vehicles.each:
            for record_type in types:
                vehicle.issue(record_type)
        vehicles.settle()
        letters = dead_letters(gateway)
        delivered = self.delivered(vehicles, *outlets, besides=letters)
        account = check_account(vehicles.issued, vehicles.acked, delivered, letters)
        self.books()
        self.assertNotIn("Traceback", gateway.output())
        self.assertEqual(sum(vehicle.strays for vehicle in vehicles.each), 0, "acknowledgements of other vehicles' records")
        print(f"{self.id().removeprefix('tests.faults.')}: {account}", flush=True)
        return account
