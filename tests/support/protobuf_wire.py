"""Parts of protobuf messages as bytes, in forms that its library does not write as well."""

_MASK = (1 << 64) - 1


def varint(number: int, padding: int = 0) -> bytes:
    """A number, of 64 bits when negative, with some bytes more than it needs; ten at most."""
    number &= _MASK
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    for _ in range(min(padding, 10 - len(written))):
        written[-1] |= 0x80
        written.append(0)
    return bytes(written)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content
