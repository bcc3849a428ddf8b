"""Counts the fields of a protobuf payload before it is parsed, nested ones included.

The cost of parsing, rewriting and serialising a message grows with its fields, and a megabyte can hold half a million of
them. The count creates no objects, and stops at the bound.
"""

import re
from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, BYTES, GROUP_START, GROUP_END, FIXED32 = range(6)

_MORE = bytes(range(0x80, 0x100))
"""Bytes of a varint except its last."""

_long_varint = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]").match


_NOT_PACKED = {
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_MESSAGE,
    FieldDescriptor.TYPE_GROUP,
}


class Layout:
    """Length-delimited fields of a message type.

    :ivar nested: layouts of nested messages by field number.
    :ivar packed: field numbers of repeated numeric fields, which may be packed.
    """

    __slots__ = ("nested", "packed")

    def __init__(self, nested: Mapping[int, "Layout"], packed: frozenset[int]) -> None:
        self.nested = nested
        self.packed = packed


_OPAQUE = Layout({}, frozenset())


def layout_of(descriptor: Descriptor) -> Layout:
    """Layout of a message type; no type of ours is recursive."""
    return Layout(
        {field.number: layout_of(field.message_type) for field in descriptor.fields if field.message_type is not None},
        frozenset(field.number for field in descriptor.fields if field.is_repeated and field.type not in _NOT_PACKED),
    )


def count_fields(payload: bytes, layout: Layout, most: int) -> int:
    """Count fields at every depth, unknown ones and each number of a packed field included.

    The count of a malformed payload ends where a parser stops as well.

    :param most: the bound; the count stops soon after it.
    :return: number of fields, or some number above ``most``.
    """
    count = at = 0
    end = len(payload)
    outer: list[tuple[int, Layout]] = []
    try:
        while count <= most:
            if at == end:
                if not outer or layout is _OPAQUE:  # a group has an end tag of its own
                    break
                end, layout = outer.pop()
                continue
            count += 1
            tag, at = _varint(payload, at) if payload[at] & 0x80 else (payload[at], at + 1)
            kind = tag & 7
            if kind == BYTES:
                size, at = _varint(payload, at) if payload[at] & 0x80 else (payload[at], at + 1)
                if at + size > end:
                    break
                number = tag >> 3
                if number in layout.nested:
                    outer.append((end, layout))
                    end, layout = at + size, layout.nested[number]
                    continue
                if number in layout.packed:
                    count += len(payload[at : at + size].translate(None, _MORE))
                at += size
            elif kind == VARINT:
                at = _varint_end(payload, at) if payload[at] & 0x80 else at + 1
            elif kind == FIXED64:
                at += 8
            elif kind == FIXED32:
                at += 4
            elif kind == GROUP_START:  # not in our schemas: its content has no meaning
                outer.append((end, layout))
                layout = _OPAQUE
            elif kind == GROUP_END and layout is _OPAQUE:
                end, layout = outer.pop()
            else:
                break
            if at > end:
                break
    except IndexError:  # the payload ends within a field
        pass
    return count


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """A varint and the position of its end."""
    end = _varint_end(payload, at)
    number = 0
    for byte in payload[at:end][::-1]:
        number = number << 7 | byte & 0x7F
    return number, end


def _varint_end(payload: bytes, at: int) -> int:
    found = _long_varint(payload, at)
    if found is None:
        raise IndexError
    return found.end()
