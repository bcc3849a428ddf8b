"""Payloads of the four record types that have a schema: bytes in, decoded and rewritten message and bytes out."""

from collections.abc import Callable
from typing import Any

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from fleetgw.adapters.codec.generated import vehicle_error_pb2
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.codec.transforms import (
    exponent_text,
    location_text,
    rewrite_alerts,
    rewrite_location,
    rewrite_scientific,
)
from fleetgw.adapters.codec.unknown_values import signals_of_unknown_kind, unknown_value
from fleetgw.domain.errors import MalformedPayload

Content = Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity

Decoded = tuple[Content, bytes, int, int, tuple[str, ...]]
"""The message, its bytes, how many signals or alerts it holds, how many elements, and which signals have a value of an
unknown kind."""

MAX_ELEMENTS = 20_000
"""Signals, alerts or errors in one record. Vehicles send some hundreds; a megabyte of empty ones would take a second to be
written as JSON, and nobody else would be served meanwhile."""

_parse_data = Payload.FromString


# Any: the stubs know generated classes only.
def _errors_with_listed_tags() -> Any:
    """``VehicleErrors`` with the entries of ``tags`` as a list of messages.

    Protobuf's C library takes a map entry with fields that the schema does not have out of the map altogether. Other
    libraries only drop those fields; read as a list, the entries can be rid of them.
    """
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    schema = FileDescriptorProto.FromString(vehicle_error_pb2.DESCRIPTOR.serialized_pb)
    for message in schema.message_type:
        for nested in message.nested_type:
            nested.options.ClearField("map_entry")
    pool.AddSerializedFile(schema.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(VehicleErrors.DESCRIPTOR.full_name))


_ErrorsWithListedTags = _errors_with_listed_tags()


def _data(payload: bytes, vin: str) -> Decoded:
    message = _parse_data(payload)
    signals = len(message.data)
    if signals > MAX_ELEMENTS:
        raise _too_many(signals)
    message.vin = vin
    serialised = message.SerializeToString()
    unknown = signals_of_unknown_kind(message) if unknown_value(serialised) else ()
    location, exponent = location_text(serialised), exponent_text(serialised)
    if location or exponent:
        if location:
            rewrite_location(message)
        if exponent:
            rewrite_scientific(message)
        serialised = message.SerializeToString()
    return message, serialised, signals, signals, unknown


def _too_many(elements: int) -> MalformedPayload:
    return MalformedPayload(f"{elements} elements in one record; at most {MAX_ELEMENTS} are taken")


def _alerts(payload: bytes, vin: str) -> Decoded:
    message = VehicleAlerts.FromString(payload)
    if len(message.alerts) > MAX_ELEMENTS:
        raise _too_many(len(message.alerts))
    message.vin = vin
    rewrite_alerts(message)
    elements = len(message.alerts) + sum(len(alert.audiences) for alert in message.alerts)
    return message, message.SerializeToString(), len(message.alerts), elements, ()


def _errors(payload: bytes, vin: str) -> Decoded:
    listed = _ErrorsWithListedTags.FromString(payload)
    if len(listed.errors) > MAX_ELEMENTS:
        raise _too_many(len(listed.errors))
    elements = len(listed.errors)
    for error in listed.errors:
        elements += len(error.tags)
        for tag in error.tags:
            tag.DiscardUnknownFields()
    message = VehicleErrors.FromString(listed.SerializeToString())
    message.vin = vin
    # Deterministic: the tags of an error sorted by key.
    return message, message.SerializeToString(deterministic=True), 0, elements, ()


def _connectivity(payload: bytes, vin: str) -> Decoded:
    message = VehicleConnectivity.FromString(payload)
    message.vin = vin
    return message, message.SerializeToString(), 0, 0, ()


DECODERS: dict[str, Callable[[bytes, str], Decoded]] = {
    "V": _data,
    "alerts": _alerts,
    "errors": _errors,
    "connectivity": _connectivity,
}
"""By record type: what takes ``(payload, vin)``. Raise ``DecodeError`` or ``MalformedPayload``."""
