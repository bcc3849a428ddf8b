"""Base of tests of a gateway that takes another configuration over."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, cast

from fleetgw.domain.errors import ConfigurationError
from tests.support.service_case import ServiceCase

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.memory.sink import MemorySink
    from fleetgw.testing.vehicle import InMemoryVehicle

OWN_SINK = """
from attrs import evolve
from zope.interface import implementer_only
from fleetgw.domain.ports import IDispatcher
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import Confirms, ConfirmsHandOver, SinkType

def make(context):
    return MemorySink(evolve(context, settings={}))

def confirmation(settings):
    return Confirms() if settings.get("sure", True) else ConfirmsHandOver("own is not sure")

@implementer_only(IDispatcher)
class Fixed(MemorySink):
    pass

FIXED = SinkType(name="own", settings=dict[str, object], make=Fixed)
TYPE = SinkType(name="own", settings=dict[str, object], make=make, confirmation=confirmation)
"""


class ReloadCase(ServiceCase):
    """A gateway that has started, with a vehicle.

    :ivar own: the section of a third party's sink, which is a memory sink.
    """

    def setUp(self) -> None:
        """Write the module of the third party's sink."""
        super().setUp()
        (self.folder / f"own_sink_{id(self)}.py").write_text(OWN_SINK)
        self.own: dict[str, dict[str, object]] = {"own": {"class": f"own_sink_{id(self)}:TYPE"}}
        sys.path.insert(0, str(self.folder))
        importlib.invalidate_caches()
        self.addCleanup(sys.path.remove, str(self.folder))

    def with_settings(self, **settings: object) -> dict[str, object]:
        """Keys of a configuration that routes V to the third party's sink with these settings."""
        return {
            "records": {"V": ["own", "memory"]},
            "reliable_ack_sources": {},
            "dispatchers": {"own": self.own["own"] | {"settings": settings}},
        }

    def reload(self, **changes: object) -> list[object]:
        """Write the configuration with changes, and have it read; the list gets the result."""
        self.write_config(**changes)
        return self.read_again()

    def read_again(self) -> list[object]:
        """Have the file read again; the list gets the result."""
        ended: list[object] = []
        self.life.reload(self.source).addBoth(ended.append)
        for _ in range(3):
            self.reactor.advance(0)
        return ended

    def connected(self) -> InMemoryVehicle:
        """A vehicle that is connected."""
        vehicle = self.vehicle()
        self.assertTrue(vehicle.connect())
        vehicle.advance(0.1)
        return vehicle

    def send(self, vehicle: InMemoryVehicle, *txids: bytes, record_type: str = "V") -> None:
        """Send records in one read."""
        for txid in txids:
            vehicle.send(record_type, b"", txid)
        vehicle.advance(0.1)

    def sink(self, name: str) -> MemorySink:
        """A memory sink that runs."""
        return cast("MemorySink", self.parts.lanes[name].sink)

    def txids(self, sink: MemorySink, record_type: str = "V") -> list[bytes]:
        """The txids of a sink's records."""
        return [record.txid for record in sink.received if record.record_type == record_type]

    def refused(self, ended: list[object]) -> list[tuple[object, object]]:
        """The problems of a reload that has changed nothing, as logged: key and error."""
        (failure,) = ended
        self.assertIsInstance(getattr(failure, "value", None), ConfigurationError)
        self.assertNotIn("configuration_reloaded", self.events())
        fields = self.log.fields_of("configuration_not_reloaded")
        self.assertTrue(all(each["fix"] for each in fields))
        return [(each["key"], each["error"]) for each in fields]
