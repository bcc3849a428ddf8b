"""Finds values of ``V`` records whose kind the schema does not have, as newer vehicles may send them."""

import re

from google.protobuf.descriptor import FieldDescriptor

from fleetgw.adapters.codec.datum import FIELD_NAMES
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload, Value

MAX_NAMED = 100
"""Maximum number of names listed for one record."""

_WIRE_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
    FieldDescriptor.TYPE_FLOAT: 5,
}
"""All other types are varints: 0."""


_TAGS = [field.number << 3 | _WIRE_TYPES.get(field.type, 0) for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields]
_SHORT_TAGS = re.escape(bytes(tag for tag in _TAGS if tag < 0x80))
_LONG_TAGS = b"|".join(
    b"(?<=%b)%b" % (re.escape(bytes([tag & 0x7F | 0x80])), re.escape(bytes([tag >> 7]))) for tag in _TAGS if tag >= 0x80
)
"""Tags of two bytes. The search has consumed the first byte by then: it is no short tag."""

# A datum's key, the size of its value, and no tag of a known case: protobuf writes unknown fields last. Like the searches of
# ``transforms`` it may have false matches, but misses nothing; key 0 is never written, and not searched.
unknown_value = re.compile(
    rb"\x08[\x80-\xff]*[\x00-\x7f]\x12[\x80-\xff]*[\x01-\x7f][^" + _SHORT_TAGS + rb"](?!" + _LONG_TAGS + rb")"
).search


def signals_of_unknown_kind(message: Payload) -> tuple[str, ...]:
    """Names of the signals whose value is of an unknown kind, without duplicates; numbers of unknown keys.

    Only the first ``MAX_NAMED`` in order: the names are stored with the record.
    """
    names = {
        FIELD_NAMES.get(datum.key) or str(datum.key)
        for datum in message.data
        if datum.value.WhichOneof("value") is None and datum.value.ByteSize()
    }
    return tuple(sorted(names)[:MAX_NAMED])
