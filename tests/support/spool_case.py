"""Spools for tests, and the records in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.adapters.process.reactor import IThreadedReactor
from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.spool import Spool
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.spool.folder import Folder

WALL_S = 1_700_000_000.0
KIB = 1024
LIMITS = SpoolLimits(max_bytes=4096 * KIB, file_bytes=64 * KIB)


@implementer(IThreadedReactor)
class ThreadClock(ThreadlessReactor):
    """A clock that takes calls from threads, at once."""

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002 as in Twisted
        """Call it."""
        callable(*args, **kwargs)


class SpoolMaker:
    """Makes spools in one folder, one after the other, as processes do.

    :ivar make_worker: makes the threads of the spools that are made from now on.
    :ivar wall_s: the wall clock.
    """

    def __init__(self, folder: Folder, limits: SpoolLimits = LIMITS) -> None:
        self.folder = folder
        self.limits = limits
        self.clock = ThreadClock()
        self.metrics = ReadableMetrics()
        self.log = ReadableLog()
        self.make_worker: Callable[[str], Worker] = InlineWorker
        self.wall_s = WALL_S

    def make(self, *, json_payloads: bool = False) -> Spool:
        """A spool that is not started."""
        return Spool(
            self.folder,
            self.limits,
            self.clock,
            self.metrics,
            self.log,
            wall_s=lambda: self.wall_s,
            json_payloads=json_payloads,
            make_worker=self.make_worker,
        )


VEHICLES = [
    Vehicle(PeerIdentity("vehicle_device", vin), vin, f"connection of {vin}", "1.2.0", "wifi")
    for vin in ("5YJ3E1EA7KF000001", "LRW3E7EK4NC000003")
]


def spooled_record(number: int, record_type: str = "custom", padding_bytes: int = 0) -> Record:
    """A record that can be told by its number; one of type ``V`` has a content."""
    content = None
    payload = b"%d:" % number + bytes([number % 251]) * padding_bytes
    if record_type == "V":
        content = Payload(vin="x")
        content.data.add(key=Field.Odometer).value.double_value = number
        content.data.add(key=Field.Version).value.string_value = "x" * padding_bytes
        payload = content.SerializeToString()
    vehicle = VEHICLES[number % len(VEHICLES)]
    return Record(record_type, b"tx-%d" % number, vehicle, payload, number, content, 2, ("a",), 3, 1000 + len(payload))


def all_of(record: Record) -> tuple[object, ...]:
    """All that a record carries, for comparison."""
    vehicle = record.vehicle
    return (
        record.record_type,
        record.txid,
        record.payload,
        record.received_at_ms,
        record.content,
        record.signals,
        record.unknown_values,
        record.elements,
        record.cost_bytes,
        vehicle.identity,
        vehicle.vin,
        vehicle.connection_id,
        vehicle.device_client_version,
        vehicle.network_interface,
    )
