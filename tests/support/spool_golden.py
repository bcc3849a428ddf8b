"""The records in the golden files of the spool, and how the files were made.

``python -m tests.support.spool_golden FOLDER`` makes those of the present version: for a new version only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.adapters.spool.folder import Folder
from fleetgw.domain.ports import Appended
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from tests.support.spool_case import SpoolMaker

GOLDEN = Path(__file__).parent.parent / "vectors" / "spool"
SINKS = {"kafka": ("V", "alerts", "cust\udcffom"), "redis": ("V",)}


def golden_records() -> list[Record]:
    """Protobuf, JSON with its content beside it, and a custom type with text that is no UTF-8."""
    vehicle = Vehicle(PeerIdentity("vehicle_device", "5YJ3E1EA7KF000001"), "5YJ3E1EA7KF000001", "c-1", "2.1", "wifi")
    other = Vehicle(PeerIdentity("vehicle_device", "\u00fc-1"), "\u00fc-1", "c-2")
    data = Payload(vin="5YJ3E1EA7KF000001")
    data.data.add(key=Field.Odometer).value.double_value = 12.5
    alerts = VehicleAlerts(vin="\u00fc-1", alerts=[VehicleAlert(name="Hot")])
    return [
        Record("V", b"tx-1", vehicle, data.SerializeToString(), 1_700_000_000_123, data, 1, ("Gear",), 1, 1500),
        Record("alerts", b"\x00\xff", other, b'{"vin":"..."}', 1_700_000_000_456, alerts, 1, (), 1, 1600),
        Record("cust\udcffom", b"", other, b"\x00opaque\xff", 0, None, 0, (), 0, 1032),
    ]


def make(path: str) -> None:
    """Write the files: one with its log in it, one that was left with its log, and the cursors."""
    maker = SpoolMaker(Folder(path))
    first, second, third = golden_records()
    for records, json_payloads, stops in (([first], False, True), ([second, third], True, False)):
        spool = maker.make(json_payloads=json_payloads)
        spool.start(SINKS)
        appended = spool.append(records)
        assert isinstance(appended, Appended)
        spool.settle("kafka", 2)
        maker.clock.advance(2)
        if stops:
            spool.stop()  # at once, as threads run inline


if __name__ == "__main__":
    make(sys.argv[1])
