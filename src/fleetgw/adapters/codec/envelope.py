"""Reads and writes the FlatBuffers envelope of ``protos/envelope.fbs``.

There are two readers. ``read_usual`` knows the layouts that FlatBuffers builders give a vehicle's message and reads a whole
table with one precompiled ``Struct``; the general one reads every other message, follows any table, and alone decides
whether a message is malformed. Offsets are unsigned 32-bit numbers and wrap around; as in the Go server, alignment, sizes of
tables and overlaps are not checked.
"""

from struct import Struct, error

from fleetgw.domain.errors import MalformedEnvelope
from fleetgw.domain.records import MAX_ID_BYTES, Envelope, MessageType

STREAM, STREAM_ACK = MessageType.STREAM.value, MessageType.STREAM_ACK.value

TXID, TOPIC, MESSAGE_TYPE, MESSAGE, MESSAGE_ID = range(5)
CREATED_AT, SENDER_ID, PAYLOAD, DEVICE_TYPE, DEVICE_ID, DELIVERED_AT_EPOCH_MS = range(6)

INCORRECT_MESSAGE_FORMAT = b"incorrect message format"

_u16 = Struct("<H").unpack_from
_u32 = Struct("<I").unpack_from
_i32 = Struct("<i").unpack_from

# The usual envelope: a vtable of five slots, followed by the first word of its table, which points back to the vtable.
_USUAL_ENVELOPE = Struct("<7Hi").pack(14, 24, 20, 16, 15, 8, 4, 14)
_usual_envelope = Struct("<II3xBII").unpack_from

# The usual streams, without and with ``delivered_at_epoch_ms``. The structs skip the two scalars.
_USUAL_STREAM = Struct("<7Hi").pack(14, 24, 16, 20, 12, 8, 4, 14)
_usual_stream = Struct("<III4xI").unpack_from
_USUAL_STREAM_DELIVERED = Struct("<8Hi").pack(16, 36, 28, 32, 24, 20, 16, 4, 16)

_NO_MESSAGE = Envelope(0, False, b"", b"", b"", b"")  # noqa: FBT003 - a field of the envelope, not a switch

_ERRORS = (error, IndexError)
_WRAP = 0xFFFFFFFF

_make = tuple.__new__


def read(message: bytes, max_id_bytes: int = MAX_ID_BYTES) -> Envelope:
    """Read one whole message.

    A message that is empty or has no union becomes an empty envelope with tag 0, without further checks. With a tag other
    than ``STREAM``, only txid and topic are read.

    :raises MalformedEnvelope: a table or a vector lies outside ``message``, or the txid or the topic is longer than
        ``max_id_bytes``.
    """
    return read_usual(message, max_id_bytes) or _read_any(message, max_id_bytes)


def read_usual(message: bytes, max_id_bytes: int = MAX_ID_BYTES, make: type[Envelope] = Envelope) -> Envelope | None:
    """Read a stream message that has one of the two usual layouts; None for any other message, which ``read`` reads.

    :param max_id_bytes: maximum length of txid and topic.
    """
    size = len(message)
    try:
        (root,) = _u32(message, 0)
        if message[root - 14 : root + 4] != _USUAL_ENVELOPE:
            return None
        message_id, stream, tag, topic, txid = _usual_envelope(message, root + 4)
        if tag != STREAM:
            return None
        message_id += root + 4
        stream += root + 8
        topic += root + 16
        txid += root + 20
        if message[stream - 14 : stream + 4] == _USUAL_STREAM:
            device_id, device_type, payload, sender_id = _usual_stream(message, stream + 4)
            device_id += stream + 4
            device_type += stream + 8
            payload += stream + 12
            sender_id += stream + 20
        elif message[stream - 16 : stream + 4] == _USUAL_STREAM_DELIVERED:
            device_id, device_type, payload, sender_id = _usual_stream(message, stream + 16)
            device_id += stream + 16
            device_type += stream + 20
            payload += stream + 24
            sender_id += stream + 32
        else:
            return None
        # Python truncates slices beyond the end silently, so every end is checked.
        txid_end = txid + 4 + _u32(message, txid)[0]
        topic_end = topic + 4 + _u32(message, topic)[0]
        sender_id_end = sender_id + 4 + _u32(message, sender_id)[0]
        payload_end = payload + 4 + _u32(message, payload)[0]
        if (
            txid_end > size
            or topic_end > size
            or sender_id_end > size
            or payload_end > size
            or message_id + 4 + _u32(message, message_id)[0] > size
            or device_type + 4 + _u32(message, device_type)[0] > size
            or device_id + 4 + _u32(message, device_id)[0] > size
            or txid_end - txid > max_id_bytes + 4
            or topic_end - topic > max_id_bytes + 4
        ):
            return None
    except error:
        return None
    return _make(
        make,
        (
            STREAM,
            True,
            message[txid + 4 : txid_end],
            message[topic + 4 : topic_end],
            message[sender_id + 4 : sender_id_end],
            message[payload + 4 : payload_end],
        ),
    )


def _read_any(message: bytes, max_id_bytes: int = MAX_ID_BYTES) -> Envelope:
    """Read a message of any layout, with the contract of ``read``."""
    if not message:
        return _NO_MESSAGE
    try:
        root = _Table(message, _u32(message, 0)[0])
        union = root.field(MESSAGE)
        if not union:
            return _NO_MESSAGE
        union_table = (union + _u32(message, union)[0]) & _WRAP
        tag = message[root.field(MESSAGE_TYPE)] if root.field(MESSAGE_TYPE) else 0
        txid, topic = root.id(TXID, "txid", max_id_bytes), root.id(TOPIC, "topic", max_id_bytes)
        if tag != STREAM:
            return Envelope(tag, True, txid, topic, b"", b"")  # noqa: FBT003 - a field of the envelope
        stream = _Table(message, union_table)
        sender_id, payload = stream.vector(SENDER_ID), stream.vector(PAYLOAD)
        root.vector(MESSAGE_ID)
        stream.vector(DEVICE_TYPE)
        stream.vector(DEVICE_ID)
        stream.check_number(CREATED_AT, 4)
        stream.check_number(DELIVERED_AT_EPOCH_MS, 8)
    except _ERRORS as outside:
        raise MalformedEnvelope("a table or a vector of the envelope lies outside the message") from outside
    return Envelope(STREAM, True, txid, topic, sender_id, payload)  # noqa: FBT003 - a field of the envelope


class _Table:
    """A table of a message. Every method raises ``struct.error`` or ``IndexError`` for positions outside the message."""

    def __init__(self, message: bytes, position: int) -> None:
        self._message = message
        self._position = position
        self._vtable = (position - _i32(message, position)[0]) & _WRAP
        self._vtable_size = _u16(message, self._vtable)[0]

    def field(self, slot: int) -> int:
        """Position of a slot's field in the message; 0 when the table does not have it."""
        entry = 4 + 2 * slot
        if entry >= self._vtable_size:
            return 0
        offset: int = _u16(self._message, self._vtable + entry)[0]
        return offset and self._position + offset

    def check_number(self, slot: int, size_bytes: int) -> None:
        """Check that a number lies within the message."""
        if self.field(slot) + size_bytes > len(self._message):
            raise IndexError

    def vector(self, slot: int) -> bytes:
        """A byte vector; empty when absent."""
        field = self.field(slot)
        if not field:
            return b""
        start = (field + _u32(self._message, field)[0]) & _WRAP
        end = start + 4 + _u32(self._message, start)[0]
        if end > len(self._message):
            raise IndexError
        return self._message[start + 4 : end]

    def id(self, slot: int, name: str, max_bytes: int) -> bytes:
        """Like ``vector``, with a maximum length.

        :raises MalformedEnvelope: the vector is longer.
        """
        content = self.vector(slot)
        if len(content) > max_bytes:
            raise MalformedEnvelope(f"a {name} of {len(content)} bytes; at most {max_bytes} are taken", bound=name)
        return content


_ENVELOPE_TABLE = Struct("<I2x18sII3xBII")
_STREAM_TABLE = Struct("<18sIIIII")
_ERROR_TABLE = Struct("<7Hi4I")


def _vector(content: bytes, remainder: int = 0) -> bytes:
    """A byte vector in the form in which builders write strings: length, bytes, at least one zero byte.

    Zero bytes are added until the next position modulo four is ``remainder``.
    """
    return len(content).to_bytes(4, "little") + content + bytes(1 + (remainder - 1 - len(content)) % 4)


_EMPTY_VECTOR = _vector(b"")


def _write(tag: int, txid: bytes, topic: bytes, union: bytes, table_at: int) -> bytes:
    """An envelope whose union is the table at the offset ``table_at`` in ``union``."""
    topic_vector, txid_vector = _vector(topic), _vector(txid, -table_at % 4)
    topic_at = 44 + len(_EMPTY_VECTOR)
    txid_at = topic_at + len(topic_vector)
    union_at = txid_at + len(txid_vector) + table_at
    head = _ENVELOPE_TABLE.pack(20, _USUAL_ENVELOPE, 44 - 24, union_at - 28, tag, topic_at - 36, txid_at - 40)
    return b"".join((head, _EMPTY_VECTOR, topic_vector, txid_vector, union))


def ack_parts(topic: bytes, txid_size_bytes: int) -> tuple[bytes, bytes]:
    """Parts before and after the txid in the acknowledgement of a topic, for txids of one length.

    The union is an empty vector in place of a table, as the Go server sends it and vehicles accept.
    """
    ack = _write(STREAM_ACK, bytes(txid_size_bytes), topic, _EMPTY_VECTOR, 0)
    txid_at = 44 + len(_EMPTY_VECTOR) + len(_vector(topic)) + 4
    return ack[:txid_at], ack[txid_at + txid_size_bytes :]


def ack(record_type: str, txid: bytes) -> bytes:
    """Envelope that acknowledges a record; a type that is not UTF-8 has surrogate escapes."""
    head, tail = ack_parts(record_type.encode("utf-8", "surrogateescape"), len(txid))
    return head + txid + tail


def error_reply(txid: bytes) -> bytes:
    """Envelope of the error reply ``incorrect message format``."""
    text = _vector(INCORRECT_MESSAGE_FORMAT)
    table = _ERROR_TABLE.pack(14, 20, 0, 16, 12, 8, 4, 14, 16, 20, 24, 20 + len(text))
    return _write(STREAM, txid, b"", b"".join((table, _EMPTY_VECTOR, _EMPTY_VECTOR, text, _EMPTY_VECTOR)), 14)


def write_stream(
    *, txid: bytes, topic: bytes, sender_id: bytes, payload: bytes, created_at_s: int, device_type: bytes, device_id: bytes
) -> bytes:
    """Message of a vehicle, in the usual layout and with an empty message id.

    :param created_at_s: epoch seconds.
    """
    vectors = (_vector(device_id), _vector(device_type), _vector(payload), _vector(sender_id))
    device_type_at = 24 + len(vectors[0])
    payload_at = device_type_at + len(vectors[1])
    sender_id_at = payload_at + len(vectors[2])
    table = _STREAM_TABLE.pack(_USUAL_STREAM, 24 - 4, device_type_at - 8, payload_at - 12, created_at_s, sender_id_at - 20)
    return _write(STREAM, txid, topic, b"".join((table, *vectors)), 14)
