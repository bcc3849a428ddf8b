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
from fleetgw.adapters.codec.wire_scan import Layout, count_fields, layout_of
from fleetgw.domain.errors import MalformedPayload

Content = Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity

Decoded = tuple[Content, bytes, int, int, tuple[str, ...]]
"""The message, its bytes, how many signals or alerts it holds, how many elements, and which signals have a value of an
unknown kind."""

MAX_ELEMENTS = 2_048
"""Signals, alerts with their audiences, or errors with their tags in one record. Vehicles send some hundreds; to write this
many as JSON takes about 10 ms, and no other vehicle is served meanwhile."""

MAX_FIELDS = 8_192
"""Protobuf fields in one record, at every depth, unknown ones and each number of a packed one included. A field takes a byte
at least: a shorter payload need not be looked at."""

MAX_NAME_BYTES = 256
MAX_NAME_LEVELS = 32
"""The longest name of an alert, an error or a tag, and how many ``/`` may be in it: names become topics, keys and labels."""

WASTED_BYTES = 256
"""A payload that is so much longer than its message written again held fields that others replace, and the message's memory
still does: it is parsed again, so that it takes no more memory than the record costs."""

_parse_data = Payload.FromString
_serialise_data = Payload.SerializeToString  # a look-up on the message would search its fields first


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


_DATA, _ALERTS, _ERRORS, _CONNECTIVITY = (
    layout_of(message.DESCRIPTOR) for message in (Payload, VehicleAlerts, VehicleErrors, VehicleConnectivity)
)


def _look_at_fields(payload: bytes, layout: Layout) -> None:
    fields = count_fields(payload, layout, MAX_FIELDS)
    if fields > MAX_FIELDS:
        raise MalformedPayload(f"more than {MAX_FIELDS} protobuf fields in one record", bound="fields")


def _look_at_elements(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise MalformedPayload(f"{elements} elements in one record; at most {MAX_ELEMENTS} are taken", bound="elements")


def _look_at_name(name: str) -> None:
    # a character has four bytes at most
    if 4 * len(name) > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        what = f"a name of {len(name.encode())} bytes in a record; at most {MAX_NAME_BYTES} are taken"
        raise MalformedPayload(what, bound="name")
    if name.count("/") > MAX_NAME_LEVELS:
        raise MalformedPayload(f"a name with more than {MAX_NAME_LEVELS} slashes in a record", bound="name")


def _data(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _look_at_fields(payload, _DATA)
    message = _parse_data(payload)
    signals = len(message.data)
    if signals > MAX_ELEMENTS:
        _look_at_elements(signals)
    message.vin = vin
    serialised = _serialise_data(message)
    if len(serialised) < len(payload) - WASTED_BYTES:
        message = _parse_data(serialised)
    unknown = signals_of_unknown_kind(message) if unknown_value(serialised) else ()
    location, exponent = location_text(serialised), exponent_text(serialised)
    if location or exponent:
        if location:
            rewrite_location(message)
        if exponent:
            rewrite_scientific(message)
        serialised = _serialise_data(message)
    return message, serialised, signals, signals, unknown


def _alerts(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _look_at_fields(payload, _ALERTS)
    message = VehicleAlerts.FromString(payload)
    alerts = len(message.alerts)
    elements = alerts + sum(len(alert.audiences) for alert in message.alerts)
    _look_at_elements(elements)
    for alert in message.alerts:
        _look_at_name(alert.name)
    message.vin = vin
    rewrite_alerts(message)
    serialised = message.SerializeToString()
    if len(serialised) < len(payload) - WASTED_BYTES:
        message = VehicleAlerts.FromString(serialised)
    return message, serialised, alerts, elements, ()


def _errors(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _look_at_fields(payload, _ERRORS)
    listed = _ErrorsWithListedTags.FromString(payload)
    elements = len(listed.errors) + sum(len(error.tags) for error in listed.errors)
    _look_at_elements(elements)
    for error in listed.errors:
        _look_at_name(error.name)
        for tag in error.tags:
            _look_at_name(tag.key)
            tag.DiscardUnknownFields()
    message = VehicleErrors.FromString(listed.SerializeToString())
    message.vin = vin
    # Deterministic: the tags of an error sorted by key.
    return message, message.SerializeToString(deterministic=True), 0, elements, ()


def _connectivity(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _look_at_fields(payload, _CONNECTIVITY)
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
