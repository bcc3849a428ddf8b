"""Payloads of the four record types that have a schema: decodes, checks and rewrites them."""

from collections.abc import Callable
from typing import Any

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fleetgw.adapters.codec.canonical import make_table
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
from fleetgw.adapters.speedups import SPEEDUPS
from fleetgw.domain.errors import MalformedPayload
from fleetgw.domain.gateway_status import GATEWAY_STATUS

Decoded = tuple[Message | None, bytes, int, int, tuple[str, ...]]
"""The message, None where it has not been parsed; its bytes, the number of its signals or alerts, the number of its
elements, and the names of signals whose value is of an unknown kind."""

MAX_ELEMENTS = 2_048
"""Maximum number of signals, of alerts with their audiences, or of errors with their tags in one record. Vehicles send some
hundreds; writing this many as JSON blocks the reactor for about 10 ms."""

MAX_FIELDS = 8_192
"""Maximum number of protobuf fields in one record, at every depth, with unknown ones and each number of a packed field. A
field takes at least a byte: a shorter payload needs no count."""

MAX_NAME_BYTES = 256
MAX_NAME_LEVELS = 32
"""Maximum size of the name of an alert, an error or a tag, and its maximum number of ``/``: names become topics and keys."""

WASTED_BYTES = 256
"""A payload that is so much longer than its serialised message had fields that later ones replaced, and the message's memory
still contains them: the message is parsed again, so that it takes no more memory than the record's cost."""

_parse_data = Payload.FromString
_serialise_data = Payload.SerializeToString  # looked up once: on the message, the look-up would search its fields first


# Any: the stubs know generated classes only.
def _errors_with_listed_tags() -> Any:
    """Class of ``VehicleErrors`` with ``tags`` as a list of messages.

    Protobuf's C library removes a map entry with unknown fields from the map. Other libraries only drop those fields; from
    the entries of a list, they can be removed.
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


def _check_fields(payload: bytes, layout: Layout) -> None:
    fields = count_fields(payload, layout, MAX_FIELDS)
    if fields > MAX_FIELDS:
        raise MalformedPayload(f"more than {MAX_FIELDS} protobuf fields in one record", bound="fields")


def _check_elements(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise MalformedPayload(f"{elements} elements in one record; at most {MAX_ELEMENTS} are taken", bound="elements")


def _check_name(name: str) -> None:
    # a character has at most four bytes
    if 4 * len(name) > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        what = f"a name of {len(name.encode())} bytes in a record; at most {MAX_NAME_BYTES} are taken"
        raise MalformedPayload(what, bound="name")
    if name.count("/") > MAX_NAME_LEVELS:
        raise MalformedPayload(f"a name with more than {MAX_NAME_LEVELS} slashes in a record", bound="name")


def _data(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _check_fields(payload, _DATA)
    message = _parse_data(payload)
    signals = len(message.data)
    if signals > MAX_ELEMENTS:
        _check_elements(signals)
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


if SPEEDUPS is None:
    _read_data = _data
else:
    _rewrite_data, _CANONICAL = SPEEDUPS.rewrite_data, make_table()

    def _read_data(payload: bytes, vin: str) -> Decoded:
        """Read canonical payloads without parsing them, except long ones, whose fields would have to be counted."""
        if len(payload) <= MAX_FIELDS:
            rewritten = _rewrite_data(payload, vin, _CANONICAL, MAX_ELEMENTS)
            if rewritten is not None:
                serialised, signals = rewritten
                return None, serialised, signals, signals, ()
        return _data(payload, vin)


def _alerts(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _check_fields(payload, _ALERTS)
    message = VehicleAlerts.FromString(payload)
    alerts = len(message.alerts)
    elements = alerts + sum(len(alert.audiences) for alert in message.alerts)
    _check_elements(elements)
    for alert in message.alerts:
        _check_name(alert.name)
    message.vin = vin
    rewrite_alerts(message)
    serialised = message.SerializeToString()
    if len(serialised) < len(payload) - WASTED_BYTES:
        message = VehicleAlerts.FromString(serialised)
    return message, serialised, alerts, elements, ()


def _errors(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _check_fields(payload, _ERRORS)
    listed = _ErrorsWithListedTags.FromString(payload)
    elements = len(listed.errors) + sum(len(error.tags) for error in listed.errors)
    _check_elements(elements)
    for error in listed.errors:
        _check_name(error.name)
        for tag in error.tags:
            _check_name(tag.key)
            tag.DiscardUnknownFields()
    message = VehicleErrors.FromString(listed.SerializeToString())
    message.vin = vin
    # Deterministic: the tags of an error sorted by key.
    return message, message.SerializeToString(deterministic=True), 0, elements, ()


def _connectivity(payload: bytes, vin: str) -> Decoded:
    if len(payload) > MAX_FIELDS:
        _check_fields(payload, _CONNECTIVITY)
    message = VehicleConnectivity.FromString(payload)
    message.vin = vin
    return message, message.SerializeToString(), 0, 0, ()


def _gateway_status(_payload: bytes, _vin: str) -> Decoded:
    raise MalformedPayload(f"the gateway alone makes records of the type {GATEWAY_STATUS}")


DECODERS: dict[str, Callable[[bytes, str], Decoded]] = {
    "V": _read_data,
    "alerts": _alerts,
    "errors": _errors,
    "connectivity": _connectivity,
    GATEWAY_STATUS: _gateway_status,
}
"""Decoders by record type, called with payload and VIN. They raise ``DecodeError`` or ``MalformedPayload``."""
