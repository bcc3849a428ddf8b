"""Damage to an input: flipped bits, cut, doubled and foreign bytes, wrong lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_BYTES = b"\x00\x01\x02\x08\x0a\x0f\x12\x15\x1a\x20\x2e\x45\x65\x7f\x80\x81\x82\xfe\xff"
_PIECES = (
    b"\x00",
    b"\x80",
    b"\x80\x00",
    b"\xff" * 4,
    b"\xff" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x0a\x00",
    b"\x12\x00",
    b".5e1",
)


def mutate(random: Random, data: bytes, other: bytes) -> bytes:
    """Change an input at one to three places.

    :param other: an input from which bytes may be taken.
    """
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random, changed, other)
    return bytes(changed)


def _change(random: Random, changed: bytearray, other: bytes) -> None:
    if not changed:
        changed += other
        return
    at = int(random.random() * len(changed))
    match int(random.random() * 10):
        case 0 | 1:
            changed[at] ^= 1 << int(random.random() * 8)
        case 2:
            changed[at] = random.choice(_BYTES)
        case 3 | 4:  # off by one: lengths, numbers of fields
            changed[at] = changed[at] + random.choice((1, -1)) & 0xFF
        case 5:
            del changed[at:]
        case 6:
            del changed[at : at + 1 + int(random.random() * 8)]
        case 7:
            changed[at:at] = random.choice(_PIECES)
        case 8:
            piece = changed[at : at + 1 + int(random.random() * 24)]
            changed[at:at] = piece
        case _:
            start = int(random.random() * (len(other) + 1))
            changed[at:] = other[start:]
