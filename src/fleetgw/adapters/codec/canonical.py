"""Payloads of ``V`` records in canonical form: the vin is exchanged, and nothing is parsed.

Canonical is what protobuf itself writes: known fields in ascending order, each once, one case of a oneof, shortest varints,
no default value but in a oneof; here also ASCII text. ``rewrite_data`` is the reference of the function of this name in C.
The gateway runs the one in C alone: protobuf takes less time than this one.
"""

from collections.abc import Iterable

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload, Value
from fleetgw.adapters.codec.transforms import exponent_text
from fleetgw.adapters.codec.wire_scan import BYTES, FIXED32, FIXED64, VARINT

INT32, INT64, BOOL, FLOAT, DOUBLE, TEXT, MESSAGE = range(1, 8)
"""Kinds of fields; from ``MESSAGE`` on, the row of the message's fields is added."""

_NUMBERS = {
    FieldDescriptor.TYPE_INT32: (INT32, VARINT),
    FieldDescriptor.TYPE_ENUM: (INT32, VARINT),
    FieldDescriptor.TYPE_INT64: (INT64, VARINT),
    FieldDescriptor.TYPE_BOOL: (BOOL, VARINT),
    FieldDescriptor.TYPE_FLOAT: (FLOAT, FIXED32),
    FieldDescriptor.TYPE_DOUBLE: (DOUBLE, FIXED64),
}
"""Kind and wire type by the type of a field."""

_VALUE, _CREATED_AT, _REWRITTEN = range(3)
_TAGS = 512
"""Size of a row of the table: there is no tag from this on."""

_INT32_MAX, _INT32_MIN = 0x7FFF_FFFF, 0xFFFF_FFFF_8000_0000


def make_table() -> bytes:
    """The kinds of all fields: rows of 512 bytes, one for each tag, 0 where the message has no such field.

    The rows are: ``Value``; ``Timestamp``; one by signal number, not 0 where a text of this signal may be rewritten; the
    messages within ``Value``. A field that the functions below cannot read is left out: protobuf reads its payloads.
    """
    cases, rewritten = bytearray(_TAGS), bytearray(_TAGS)
    rewritten[Field.Location] = 1
    rows = [cases, _numbers(Timestamp.DESCRIPTOR.fields), rewritten]
    for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields:
        if field.message_type is not None:
            cases[field.number << 3 | BYTES] = MESSAGE + len(rows)
            rows.append(_numbers(field.message_type.fields))
        elif field.type == FieldDescriptor.TYPE_STRING:
            cases[field.number << 3 | BYTES] = TEXT
        else:
            kind, wire_type = _NUMBERS[field.type]
            cases[field.number << 3 | wire_type] = kind
    return b"".join(rows)


def _numbers(fields: Iterable[FieldDescriptor]) -> bytearray:
    row = bytearray(_TAGS)
    for field in fields:
        if field.type in _NUMBERS and not field.is_repeated and not field.has_presence:
            kind, wire_type = _NUMBERS[field.type]
            row[field.number << 3 | wire_type] = kind
    return row


class _NotCanonical(Exception):
    pass


def rewrite_data(payload: bytes, vin: str, table: bytes, max_elements: int) -> tuple[bytes, int] | None:
    """Exchange the vin of a ``V`` payload in canonical form.

    :param table: of ``make_table``.
    :return: the bytes that protobuf would write, and the number of signals. None when the payload is not in canonical form,
        may be rewritten by a transform, or has more than ``max_elements`` signals; and for a vin that is empty or not ASCII.
    """
    try:
        signals, start, end = _find_vin(payload, table, max_elements)
    except _NotCanonical:
        return None
    if not vin or not vin.isascii():
        return None
    return b"".join((payload[:start], Payload(vin=vin).SerializeToString(), payload[end:])), signals


def _kind_of(table: bytes, row: int, tag: int) -> int:
    index = row * _TAGS + tag
    return table[index] if tag < _TAGS and index < len(table) else 0


def _read_varint(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """Number and end of a varint in its shortest form."""
    number = 0
    for size in range(1, min(end - at, 10) + 1):
        byte = payload[at + size - 1]
        number |= (byte & 0x7F) << 7 * (size - 1)
        if byte < 0x80:
            if number >> 64 or (byte == 0 and size > 1):
                raise _NotCanonical
            return number, at + size
    raise _NotCanonical


def _read_length(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """Start and end of a field, which lies before ``end``."""
    length, at = _read_varint(payload, at, end)
    if length > end - at:
        raise _NotCanonical
    return at, at + length


def _read_number(payload: bytes, at: int, end: int, kind: int) -> tuple[int, int]:
    """A number of a kind, a float as its bits; and its end."""
    if kind in (FLOAT, DOUBLE):
        size = 4 if kind == FLOAT else 8
        if end - at < size:
            raise _NotCanonical
        return int.from_bytes(payload[at : at + size], "little"), at + size
    if kind not in (INT32, INT64, BOOL):
        raise _NotCanonical
    number, at = _read_varint(payload, at, end)
    if (kind == BOOL and number > 1) or (kind == INT32 and _INT32_MAX < number < _INT32_MIN):
        raise _NotCanonical
    return number, at


def _check_fields(payload: bytes, at: int, end: int, table: bytes, row: int) -> None:
    """Check the fields of a message that are numbers without presence: none is 0."""
    last_tag = 0
    while at < end:
        tag, at = _read_varint(payload, at, end)
        if tag <= last_tag:
            raise _NotCanonical
        number, at = _read_number(payload, at, end, _kind_of(table, row, tag))
        if number == 0:
            raise _NotCanonical
        last_tag = tag


def _check_text(text: bytes) -> None:
    if not text.isascii() or exponent_text(text):
        raise _NotCanonical


def _check_datum(payload: bytes, at: int, end: int, table: bytes) -> None:
    """Check a ``Datum``: its value is of a known kind or empty, and nothing that may be rewritten."""
    key = 0
    if at < end and payload[at] == 0x08:  # key
        key, at = _read_number(payload, at + 1, end, INT32)
        if key == 0:
            raise _NotCanonical
    if at == end:
        return
    if payload[at] != 0x12:  # value
        raise _NotCanonical
    at, field_end = _read_length(payload, at + 1, end)
    if field_end != end:
        raise _NotCanonical
    if at == end:
        return
    tag, at = _read_varint(payload, at, end)
    kind = _kind_of(table, _VALUE, tag)
    if kind < TEXT:
        _, field_end = _read_number(payload, at, end, kind)
    else:
        at, field_end = _read_length(payload, at, end)
        if kind == TEXT:
            if _kind_of(table, _REWRITTEN, key):
                raise _NotCanonical
            _check_text(payload[at:field_end])
        else:
            _check_fields(payload, at, field_end, table, kind - MESSAGE)
    if field_end != end:
        raise _NotCanonical


def _find_vin(payload: bytes, table: bytes, max_elements: int) -> tuple[int, int, int]:
    """Number of signals; start and end of the field of the vin, equal where there is none."""
    at = signals = 0
    end = len(payload)
    while payload[at : at + 1] == b"\x0a":  # data
        at, field_end = _read_length(payload, at + 1, end)
        signals += 1
        if signals > max_elements:
            raise _NotCanonical
        _check_datum(payload, at, field_end, table)
        at = field_end
    if payload[at : at + 1] == b"\x12":  # created_at
        at, field_end = _read_length(payload, at + 1, end)
        _check_fields(payload, at, field_end, table, _CREATED_AT)
        at = field_end
    start = at
    if payload[at : at + 1] == b"\x1a":  # vin
        at, field_end = _read_length(payload, at + 1, end)
        if at == field_end:
            raise _NotCanonical
        _check_text(payload[at:field_end])
        at = field_end
    if payload[at:] not in (b"", b"\x20\x01"):  # is_resend
        raise _NotCanonical
    return signals, start, at
