"""JSON form of decoded records: the protobuf JSON mapping, compact, with unpopulated fields.

Key order, numbers and escapes are the Go server's, so that consumers that compare text see no change: fields in the
schema's order, map keys sorted, 64-bit integers as strings, floats without an exponent from 1e-6 up to 1e21.
``google.protobuf.json_format`` writes the same values, but unpopulated fields last, and takes several times as long.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fleetgw.adapters.text.json_numbers import shortest_float32
from fleetgw.domain.errors import MalformedPayload

# Any: the value of a field, for which protobuf's stubs have no type.
_Writer = Callable[[Any], str]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - only the text is used, which says UTC itself
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799

_message_writers: dict[str, _Writer] = {}


def to_json(message: Message) -> str:
    """Write a decoded record as JSON.

    :raises MalformedPayload: a timestamp lies outside the years 1 to 9999 or its nanoseconds outside a second.
    """
    # The stubs' type also has protobuf's C class.
    return _message_writer(cast("Descriptor", message.DESCRIPTOR))(message)


def _message_writer(descriptor: Descriptor) -> _Writer:
    """Writer of a message type. Writers are cached: the schemas are a closed set."""
    writer = _message_writers.get(descriptor.full_name)
    if writer is None:
        writer = _timestamp if descriptor.full_name == Timestamp.DESCRIPTOR.full_name else _fields_writer(descriptor)
        _message_writers[descriptor.full_name] = writer
    return writer


def _fields_writer(descriptor: Descriptor) -> _Writer:
    if descriptor.oneofs:
        oneof = descriptor.oneofs[0].name
        if len(descriptor.oneofs[0].fields) != len(descriptor.fields):
            raise NotImplementedError(f"{descriptor.full_name}: no JSON form for a oneof beside other fields yet")
        cases = {field.name: (f'{{"{field.json_name}":', _value_writer(field)) for field in descriptor.fields}

        def write_oneof(message: Message) -> str:
            name = message.WhichOneof(oneof)
            if name is None:
                return "{}"
            head, write = cases[name]
            return head + write(getattr(message, name)) + "}"

        return write_oneof

    fields = tuple((field.name, f'"{field.json_name}":', _field_writer(field)) for field in descriptor.fields)

    def write_fields(message: Message) -> str:
        return "{" + ",".join([head + write(message, name) for name, head, write in fields]) + "}"

    return write_fields


def _field_writer(field: FieldDescriptor) -> Callable[[Message, str], str]:
    """Writer of one field, called with the message and the field's name; it writes absent fields too."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        write_value = _value_writer(field.message_type.fields_by_name["value"])

        def write_map(message: Message, name: str) -> str:
            entries = sorted(getattr(message, name).items())
            return "{" + ",".join([f"{encode_basestring(key)}:{write_value(value)}" for key, value in entries]) + "}"

        return write_map
    write = _value_writer(field)
    if field.is_repeated:
        return lambda message, name: "[" + ",".join(map(write, getattr(message, name))) + "]"
    if field.has_presence:
        return lambda message, name: write(getattr(message, name)) if message.HasField(name) else "null"
    return lambda message, name: write(getattr(message, name))


def _value_writer(field: FieldDescriptor) -> _Writer:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if field.enum_type is not None:
        names = {value.number: f'"{value.name}"' for value in field.enum_type.values}
        return lambda number: names.get(number) or str(number)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return encode_basestring
        case FieldDescriptor.TYPE_BOOL:
            return lambda value: "true" if value else "false"
        case FieldDescriptor.TYPE_INT32:
            return str
        case FieldDescriptor.TYPE_INT64:
            return lambda value: f'"{value}"'
        case FieldDescriptor.TYPE_DOUBLE:
            return double_text
        case FieldDescriptor.TYPE_FLOAT:
            return _float
        case _:
            raise NotImplementedError(f"{field.full_name}: no JSON form for this type of field yet")


def double_text(number: float) -> str:
    """Text of a 64-bit float as in Go's ``encoding/json`` and protobuf JSON; NaN and infinities are quoted names."""
    text = repr(number)
    if text.endswith(".0"):
        return text[:-2]
    if "n" in text:
        return {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}[text]
    if "e" not in text:
        return text
    if 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(text):f}"
    return text.replace("e-0", "e-")


def _float(number: float) -> str:
    """Text of a 32-bit float with the fewest digits that identify it."""
    return double_text(shortest_float32(number))


def _timestamp(time: Timestamp) -> str:
    seconds, nanos = time.seconds, time.nanos
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND or not 0 <= nanos < 1_000_000_000:
        raise MalformedPayload(f"a timestamp of {seconds} s and {nanos} ns has no JSON form: years 1 to 9999 have one")
    whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    if not nanos:
        return f'"{whole}Z"'
    fraction = f"{nanos:09d}"
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f'"{whole}.{fraction}Z"'
