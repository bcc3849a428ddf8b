"""Records for listeners: Python values in place of protobuf."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.codec.datum import FIELD_NAMES, JsonValue, read_value
from fleetgw.adapters.codec.enum_names import audience_names, status_name
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from fleetgw.domain.records import Record as DomainRecord

    Message = Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Alert:
    """One alert of a record of type ``alerts``.

    :ivar started_at: None where the vehicle gave no time.
    :ivar ended_at: None while the alert is active.
    :ivar audiences: recipients of the alert, such as ``Customer``.
    """

    name: str
    started_at: datetime | None
    ended_at: datetime | None
    audiences: tuple[str, ...]


@frozen
class VehicleError:
    """One error of a record of type ``errors``.

    :ivar created_at: None where the vehicle gave no time.
    """

    name: str
    body: str
    tags: Mapping[str, str]
    created_at: datetime | None


@frozen
class Connectivity:
    """The content of a record of type ``connectivity``, which the gateway itself makes.

    :ivar status: ``CONNECTED`` or ``DISCONNECTED``.
    :ivar connection_id: the same for both ends of one connection.
    :ivar network_interface: the vehicle's network, such as ``wifi``; empty where the vehicle does not send one.
    """

    status: str
    connection_id: str
    network_interface: str


class Record:
    """One record of a vehicle. Do not change it: all listeners get the same object.

    :ivar vin: VIN of the vehicle, from its certificate.
    :ivar record_type: ``V`` (signals), ``alerts``, ``errors``, ``connectivity``, or a custom type.
    :ivar txid: the vehicle's id of the record; copies have the same.
    :ivar received_at: time at which the gateway read it; UTC.
    :ivar payload: its bytes, as every sink gets them: protobuf, or JSON with ``transmit_decoded_records``.
    :ivar message: the decoded protobuf message; None for a custom record type.
    """

    def __init__(self, record: DomainRecord) -> None:
        self.vin = record.vehicle.vin
        self.record_type = record.record_type
        self.txid = record.txid.decode("utf-8", "backslashreplace")
        self.received_at_ms = record.received_at_ms
        self.payload = record.payload
        content = record.content
        self.message: Message | None = None
        if isinstance(content, Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity):
            self.message = content

    def __repr__(self) -> str:
        return f"<Record {self.record_type} of {self.vin}, txid {self.txid}>"

    @cached_property
    def received_at(self) -> datetime:
        """Time at which the gateway read the record; UTC."""
        return _EPOCH + timedelta(milliseconds=self.received_at_ms)

    @cached_property
    def created_at(self) -> datetime | None:
        """Time at which the vehicle made the record, by its own clock; UTC. None where there is none, or no valid one."""
        return _time(self.message.created_at) if self.message is not None and self.message.HasField("created_at") else None

    @cached_property
    def fields(self) -> dict[str, JsonValue]:
        """The signals of a ``V`` record by field name, such as ``{"Soc": 71.5, "Gear": "ShiftStateD"}``; else empty.

        Text, numbers, booleans; enumerations are the name of their value; ``Location`` is ``{"latitude": .., "longitude":
        ..}``, doors and tyres are objects too; None is a signal without a valid value. A field that this version does not
        know has its number as its name.
        """
        return _read_fields(self.message) if isinstance(self.message, Payload) else {}

    @cached_property
    def alerts(self) -> Sequence[Alert]:
        """The alerts of a record of type ``alerts``; else empty."""
        if not isinstance(self.message, VehicleAlerts):
            return ()
        return [
            Alert(
                alert.name,
                _time(alert.started_at) if alert.HasField("started_at") else None,
                _time(alert.ended_at) if alert.HasField("ended_at") else None,
                tuple(audience_names(alert)),
            )
            for alert in self.message.alerts
        ]

    @cached_property
    def errors(self) -> Sequence[VehicleError]:
        """The errors of a record of type ``errors``; else empty."""
        if not isinstance(self.message, VehicleErrors):
            return ()
        return [
            VehicleError(
                error.name, error.body, dict(error.tags), _time(error.created_at) if error.HasField("created_at") else None
            )
            for error in self.message.errors
        ]

    @cached_property
    def connectivity(self) -> Connectivity | None:
        """The content of a record of type ``connectivity``; else None."""
        message = self.message
        if not isinstance(message, VehicleConnectivity):
            return None
        status = status_name(message)
        return Connectivity(status, message.connection_id, message.network_interface)


def _time(timestamp: Timestamp) -> datetime | None:
    try:
        return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)
    except OverflowError:
        return None


def _read_fields(payload: Payload) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {}
    for datum in payload.data:
        fields[FIELD_NAMES.get(datum.key) or str(datum.key)] = read_value(datum.value)
    return fields
