"""The MQTT packets of publishing, as bytes; paho has those of the session itself.

Section numbers are those of MQTT 3.1.1; MQTT 5 adds reason codes and properties.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.sinks.mqtt.messages import Message

CONNACK = 0x20
PUBACK = 0x40
PUBREC = 0x50
PUBCOMP = 0x70
_PUBREL = b"\x62\x02"
_PLAIN_PUBACK = PUBACK << 8 | 2
_HEAD_AND_IDENTIFIER = Struct(">HH")

PACKET_SIZE_LIMIT_BYTES = 268_435_455 + 5
"""2.2.3: the largest remaining length and the header before it."""

RECEIVED_SIZE_LIMIT_BYTES = 65_536
"""Largest packet that a broker may send: the sink subscribes to nothing."""


class ProtocolError(Exception):
    """Received bytes are not MQTT."""


class Packet(NamedTuple):
    """A packet received.

    :ivar first: its first byte: type and flags.
    :ivar body: the bytes after the header.
    :ivar whole: all its bytes.
    """

    first: int
    body: bytes
    whole: bytes


def length_prefix(size: int) -> bytes:
    """The remaining length (2.2.3): seven bits a byte, the least significant first."""
    prefix = bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix)


def publish_writer(qos: int, *, retained: bool, properties: bool) -> Callable[[Message, int], bytes]:
    """A function that makes a PUBLISH packet (3.3) of a message and its packet identifier, which QoS 0 does not use.

    :param properties: MQTT 5, where (empty) properties follow the identifier.
    """
    first = bytes([0x30 | qos << 1 | retained])
    after_identifier = b"\0" if properties else b""
    fixed_size = 2 + (2 if qos else 0) + len(after_identifier)

    def write(message: Message, identifier: int) -> bytes:
        topic, body = message
        size = fixed_size + len(topic) + len(body)
        return b"".join(
            (
                first,
                size.to_bytes(1) if size < 0x80 else length_prefix(size),
                len(topic).to_bytes(2),
                topic,
                identifier.to_bytes(2) if qos else b"",
                after_identifier,
                body,
            )
        )

    return write


def pubrel(identifier: int) -> bytes:
    """PUBREL (3.6): the second half of QoS 2."""
    return _PUBREL + identifier.to_bytes(2)


def read_plain_pubacks(received: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """Read the PUBACKs (3.4) without a reason code at the start of received bytes: nearly all that a broker sends.

    :return: ``acknowledgement`` of each, and the remaining bytes.
    """
    acknowledgements = []
    for head, identifier in _HEAD_AND_IDENTIFIER.iter_unpack(received[: len(received) & ~3]):
        if head != _PLAIN_PUBACK:
            break
        acknowledgements.append((identifier, 0))
    return acknowledgements, received[4 * len(acknowledgements) :]


def read_packets(received: bytes) -> tuple[list[Packet], bytes]:
    """Split received bytes into packets.

    :return: the complete packets, and the remaining bytes.
    :raises ProtocolError: a length that no expected packet has.
    """
    packets = []
    position, end = 0, len(received)
    while end - position >= 2:
        size = received[position + 1]
        start = position + 2
        if size & 0x80:
            size &= 0x7F
            shift = 7
            while start < end:
                more = received[start]
                start += 1
                size |= (more & 0x7F) << shift
                shift += 7
                if not more & 0x80:
                    break
                if shift > 21:
                    raise ProtocolError("a length without an end")
            else:
                break
            if size > RECEIVED_SIZE_LIMIT_BYTES:
                raise ProtocolError(f"a packet of {size} bytes")
        stop = start + size
        if stop > end:
            break
        packets.append(Packet(received[position], received[start:stop], received[position:stop]))
        position = stop
    return packets, received[position:]


def acknowledgement(body: bytes) -> tuple[int, int]:
    """Packet identifier and reason code of a PUBACK, PUBREC or PUBCOMP (3.4, 3.5, 3.7); no code is success.

    :raises ProtocolError: it is too short.
    """
    if len(body) < 2:
        raise ProtocolError("an acknowledgement without a packet identifier")
    return int.from_bytes(body[:2]), body[2] if len(body) > 2 else 0


def is_failure(code: int) -> bool:
    """Whether a reason code (MQTT 5, 2.4) means that the broker has refused a publish."""
    return code >= 0x80
