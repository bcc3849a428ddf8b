"""Rows for the tables, from records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import define, field

from fleetgw.adapters.codec.datum import FIELD_NAMES, read_value
from fleetgw.adapters.codec.enum_names import audience_names, status_name
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.codec.signals import SignalReader
from fleetgw.adapters.sinks.sqlite.content_hash import content_hash, record_hash
from fleetgw.adapters.sinks.sqlite.latest import Cell, LatestSignals
from fleetgw.adapters.text.json_numbers import json_number

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from fleetgw.adapters.codec.datum import JsonValue
    from fleetgw.domain.records import Record

CREDIBLE_AHEAD_MS = 3_600_000
"""Most that a vehicle's clock may be ahead of ours. A later time is replaced by ours: it would stay the latest for ever."""

_encode = msgspec.json.Encoder().encode


@define
class Rows:
    """The rows of one transaction. The cells of a table are one flat list, as statements of many rows take them.

    :ivar latest: the latest values of these records.
    """

    record: list[Cell] = field(factory=list)
    alert: list[Cell] = field(factory=list)
    error: list[Cell] = field(factory=list)
    connectivity_event: list[Cell] = field(factory=list)
    custom_record: list[Cell] = field(factory=list)
    latest: LatestSignals = field(factory=LatestSignals)

    def add(self, record: Record, vehicle_id: int) -> None:
        """Add all rows of a record, or none when it raises.

        :raises Exception: of any kind; the record has no rows.
        """
        content = record.content
        received_at_ms = record.received_at_ms
        match content:
            case Payload():
                created_at_ms = _credible_ms(content.created_at, received_at_ms)
                signals = read_signals(content, record.payload)
                text = _encode(signals)
                key = record_hash(record.txid, text) if record.txid else None
                self.record += (vehicle_id, created_at_ms, received_at_ms, _txid(record), text.decode(), key)
                self.latest.add(vehicle_id, created_at_ms, signals)
            case VehicleAlerts():
                self.alert += _alert_cells(record, content, vehicle_id)
            case VehicleErrors():
                self.error += _error_cells(record, content, vehicle_id)
            case VehicleConnectivity():
                status = status_name(content)
                self.connectivity_event += (
                    vehicle_id,
                    _credible_ms(content.created_at, received_at_ms),
                    received_at_ms,
                    status,
                    content.connection_id,
                    content.network_interface,
                )
            case _:
                raw_type = record.record_type.encode("utf-8", "surrogateescape")
                key = content_hash(raw_type, record.txid, record.payload) if record.txid else None
                self.custom_record += (
                    vehicle_id,
                    received_at_ms,
                    _storable(raw_type),
                    _txid(record),
                    record.payload,
                    key,
                )


def _alert_cells(record: Record, content: VehicleAlerts, vehicle_id: int) -> list[Cell]:
    cells: list[Cell] = []
    received_at_ms = record.received_at_ms
    reported_at_ms = _credible_ms(content.created_at, received_at_ms)
    for index, alert in enumerate(content.alerts):
        if _is_credible(alert.started_at, received_at_ms):
            started_at_ms = _ms(alert.started_at)
            occurrence = alert.started_at.nanos % 1_000_000
        else:  # only a copy of the same report is the same occurrence
            started_at_ms = reported_at_ms
            occurrence = content_hash(record.txid, str(index), alert.SerializeToString())
        ended_at_ms = _any_ms(alert.ended_at) if alert.HasField("ended_at") else None
        audiences = _text(audience_names(alert))
        cells += (vehicle_id, alert.name, started_at_ms, ended_at_ms, audiences, received_at_ms, occurrence)
    return cells


def _error_cells(record: Record, content: VehicleErrors, vehicle_id: int) -> list[Cell]:
    cells: list[Cell] = []
    received_at_ms = record.received_at_ms
    reported_at_ms = _credible_ms(content.created_at, received_at_ms)
    for index, error in enumerate(content.errors):
        tags = _text(dict(sorted(error.tags.items())))
        if _is_credible(error.created_at, received_at_ms):
            created_at_ms = _ms(error.created_at)
            key = content_hash(error.body, tags)
        else:  # as for alerts
            created_at_ms = reported_at_ms
            key = content_hash(error.body, tags, record.txid, str(index))
        cells += (vehicle_id, created_at_ms, received_at_ms, error.name, error.body, tags, key)
    return cells


def _location(latitude: float, longitude: float) -> JsonValue:
    return {"latitude": json_number(latitude), "longitude": json_number(longitude)}


read_signals = SignalReader(
    lambda key: FIELD_NAMES.get(key) or str(key), lambda datum: read_value(datum.value), json_number, _location
).read
"""The signals of a ``V`` record by field name; the name of an unknown field is its number."""


def _text(value: object) -> str:
    return _encode(value).decode()


def _txid(record: Record) -> str | None:
    return record.txid.decode("utf-8", "backslashreplace") or None


def _storable(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _ms(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def _any_ms(timestamp: Timestamp) -> int:
    return max(-(2**62), min(2**62, _ms(timestamp)))


def _is_credible(timestamp: Timestamp, received_at_ms: int) -> bool:
    return 0 < _ms(timestamp) <= received_at_ms + CREDIBLE_AHEAD_MS


def _credible_ms(timestamp: Timestamp, received_at_ms: int) -> int:
    created_at_ms = _ms(timestamp)
    return created_at_ms if 0 < created_at_ms <= received_at_ms + CREDIBLE_AHEAD_MS else received_at_ms
