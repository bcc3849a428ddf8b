"""Values of ``V`` records that are of a kind which the schema does not have: a newer vehicle's."""

import re

from google.protobuf.descriptor import FieldDescriptor

from fleetgw.adapters.codec.datum import FIELD_NAMES
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload, Value

MAX_NAMED = 100
"""Names listed for one record, at most."""

_WIRE_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
    FieldDescriptor.TYPE_FLOAT: 5,
}
"""The others are numbers of variable length: 0."""


_TAGS = [field.number << 3 | _WIRE_TYPES.get(field.type, 0) for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields]
_SHORT_TAGS = re.escape(bytes(tag for tag in _TAGS if tag < 0x80))
_LONG_TAGS = b"|".join(
    b"(?<=%b)%b" % (re.escape(bytes([tag & 0x7F | 0x80])), re.escape(bytes([tag >> 7]))) for tag in _TAGS if tag >= 0x80
)
"""Two bytes each: the search has taken the first, when a glance at it has told that it is no short tag."""

# A datum's key, the size of its value, and no tag of a known case: protobuf writes what it does not know last. As the
# searches of ``transforms`` it may match where there is nothing, but misses nothing; key 0 is never written, nor searched.
unknown_value = re.compile(
    rb"\x08[\x80-\xff]*[\x00-\x7f]\x12[\x80-\xff]*[\x01-\x7f][^" + _SHORT_TAGS + rb"](?!" + _LONG_TAGS + rb")"
).search


def signals_of_unknown_kind(message: Payload) -> tuple[str, ...]:
    """The names of the signals whose value is of an unknown kind, each once; the key's number where that is unknown too.

    The first ``MAX_NAMED`` by name: the names are kept with the record.
    """
    names = {
        FIELD_NAMES.get(datum.key) or str(datum.key)
        for datum in message.data
        if datum.value.WhichOneof("value") is None and datum.value.ByteSize()
    }
    return tuple(sorted(names)[:MAX_NAMED])
