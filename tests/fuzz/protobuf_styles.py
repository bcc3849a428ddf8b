"""Protobuf messages as bytes, in the styles of many writers: canonical ones, and every other form that a parser takes."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from fleetgw.adapters.codec.wire_scan import BYTES, FIXED32, FIXED64, GROUP_END, GROUP_START, VARINT
from tests.support.protobuf_wire import varint

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_INT32 = (0, 1, -1, 2, 7, 127, 128, 300, 16_383, 16_384, 1 << 21, 1 << 28, (1 << 31) - 1, -(1 << 31), -2)
_INT64 = (*_INT32, 1 << 31, 1 << 32, 1 << 35, 1 << 56, (1 << 63) - 1, -(1 << 63), 1_764_000_000, -(1 << 31) - 1)
_FLOATS = (0.0, -0.0, 1.0, 1.5, 0.1, -7.25, 1e38, 1e-45, float("nan"), float("inf"), float("-inf"))
_DOUBLES = (*_FLOATS, 37.4219, -122.0841, 1e300, 5e-324)
_TEXTS = (
    *("", "a", "P", "37.5", "2026.38.4", "MediaStatusPlaying", "x" * 40, "x" * 127, "x" * 128, "x" * 300, "1.", ".", "\n"),
    *("1.5e3", "6.200e+01", "-1.E+2", ".5e1", "1e5", "a.5Eb", "v1.2e", "1.5", "..e", ".12345", "1.0e400", "\x00", "\x7f"),
    *("(37.412374 N, 122.145867 W)", "(1 S, 2 E)", "(1.5 N,2 E)", "()", "\x08\x15\x12\x05\n", ".\x00e", "1.2 e"),
    *("\u00e9", "\u2026", "\U0001f697", "1.\u0665e5"),
)
_ODD_TEXTS = (b"\xff", b"\xc3", b"\xc3\x28", b"\xed\xa0\x80", b"a\x80", b"1.5\xff", b"\xf4\x90\x80\x80", b"\xc0\x80")
_ODD_NUMBERS = (varint(0xFFFFFFFF), varint(0x80000000), varint(1 << 32), varint(1 << 63), b"\xff" * 9 + b"\x7f")


class Writer:
    """Writes random messages of a schema.

    :param oddness: probability of an uncommon form at every point where there is one; 0 for the canonical form.
    """

    def __init__(self, random: Random, oddness: float) -> None:
        self._random = random
        self._oddness = oddness

    def _is_odd(self) -> bool:
        return self._random.random() < self._oddness

    def number(self, number: int) -> bytes:
        """A varint, padded when it is odd."""
        return varint(number, self._random.randint(1, 9) if self._is_odd() else 0)

    def field(self, number: int, wire_type: int, content: bytes) -> bytes:
        """A field; with its length when ``wire_type`` is ``BYTES``."""
        length = self.number(len(content)) if wire_type == BYTES else b""
        return self.number(number << 3 | wire_type) + length + content

    def message(self, descriptor: Descriptor, most_repeated: int = 8) -> bytes:
        """The fields of a message."""
        random = self._random
        parts: list[tuple[int, bytes]] = []
        in_oneofs = {field.number for oneof in descriptor.oneofs for field in oneof.fields}
        for field in descriptor.fields:
            if field.number in in_oneofs:
                continue
            times = random.randint(0, most_repeated) if field.is_repeated else random.random() < 0.8
            times += self._is_odd()
            parts += [(field.number, self._value(field, has_presence=False)) for _ in range(times)]
        for oneof in descriptor.oneofs:
            for _ in range((random.random() < 0.95) + self._is_odd()):
                field = random.choice(oneof.fields)
                parts.append((field.number, self._value(field, has_presence=True)))
        if self._is_odd():
            parts.append((random.choice((0, 900, 6)), self._unknown()))
        if self._is_odd():
            random.shuffle(parts)
        else:
            parts.sort(key=lambda part: part[0])
        return b"".join(written for _, written in parts)

    def _value(self, field: FieldDescriptor, *, has_presence: bool) -> bytes:
        """A field with a random value; nothing when the value is the default, which is not written without presence."""
        random = self._random
        if field.message_type is not None:
            return self.field(field.number, BYTES, self.message(field.message_type))
        if self._is_odd():  # of another wire type than the schema's: an unknown field; packed when it is a list of numbers
            return self._other_wire_type(field.number)
        wire_type, default, value = self._scalar(field)
        if value == default and not has_presence and not self._is_odd():
            return b""
        if wire_type == VARINT and self._is_odd():
            value = random.choice(_ODD_NUMBERS)
        return self.field(field.number, wire_type, value)

    def _scalar(self, field: FieldDescriptor) -> tuple[int, bytes, bytes]:
        """Wire type, default and a random value."""
        random = self._random
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                text = random.choice(_ODD_TEXTS) if self._is_odd() else random.choice(_TEXTS).encode()
                return BYTES, b"", text
            case FieldDescriptor.TYPE_DOUBLE:
                return FIXED64, bytes(8), pack("<d", random.choice(_DOUBLES))
            case FieldDescriptor.TYPE_FLOAT:
                return FIXED32, bytes(4), pack("<f", random.choice(_FLOATS))
            case FieldDescriptor.TYPE_BOOL:
                return VARINT, b"\0", self.number(random.getrandbits(1))
            case FieldDescriptor.TYPE_ENUM:
                return VARINT, b"\0", self.number(self._enum_number(field))
            case FieldDescriptor.TYPE_INT64:
                return VARINT, b"\0", self.number(random.choice(_INT64))
            case FieldDescriptor.TYPE_INT32:
                return VARINT, b"\0", self.number(random.choice(_INT32))
        raise AssertionError(f"no values of the type of {field.full_name}")

    def _enum_number(self, field: FieldDescriptor) -> int:
        enum: Any = field.enum_type  # whose values protobuf does not type
        if self._random.random() < 0.1:
            return self._random.choice((0, -1, 21, 99, 5000, (1 << 31) - 1, -(1 << 31)))
        number: int = self._random.choice(enum.values).number
        return number

    def _other_wire_type(self, number: int) -> bytes:
        kinds: tuple[Callable[[], bytes], ...] = (
            lambda: self.field(number, VARINT, b"\x01"),
            lambda: self.field(number, FIXED64, bytes(8)),
            lambda: self.field(number, BYTES, b"\x01\x02\x03"),
            lambda: self.field(number, FIXED32, b"abcd"),
            lambda: self.field(number, GROUP_START, b"\x08\x01") + self.field(number, GROUP_END, b""),
            lambda: self.field(number, GROUP_START, b""),
            lambda: self.field(number, GROUP_END, b""),
            lambda: self.field(number, 6, b""),
            lambda: self.field(number, 7, b"\x01"),
        )
        return self._random.choice(kinds)()

    def _unknown(self) -> bytes:
        return self._other_wire_type(self._random.choice((0, 5, 6, 15, 16, 20, 55, 99, 2047, 2048, (1 << 29) - 1, 1 << 29)))
