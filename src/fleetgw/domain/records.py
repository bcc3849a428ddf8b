"""Records, the envelopes they come in, and the vehicles they come from."""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from attrs import Factory, define, frozen

DATA = "V"
"""The record type of signals."""

RECORD_TYPES = (DATA, "alerts", "errors", "connectivity")
"""The record types whose payloads have a schema; any other type is custom and passes as opaque bytes."""


@frozen
class PeerIdentity:
    """The identity of a peer, from its certificate.

    :ivar client_type: e.g. ``vehicle_device``.
    :ivar device_id: the subject common name with ``.`` replaced by ``-``; for a vehicle the VIN. Never empty.
    """

    client_type: str
    device_id: str

    @property
    def sender_id(self) -> str:
        """``<client_type>.<device_id>``, the sender id in the vehicle's envelopes."""
        return f"{self.client_type}.{self.device_id}"


@frozen(eq=False)
class Vehicle:
    """One connected vehicle, for the length of one connection.

    :ivar identity: from the certificate.
    :ivar connection_id: ``X-TXID`` where that is a UUID, else a fresh UUID4; lower case, with dashes.
    :ivar device_client_version: the ``Version`` request header, or empty.
    :ivar network_interface: the ``X-Network-Interface`` request header, or empty.
    :ivar vin: the identity's device id, kept here because every record of the vehicle needs it.
    :ivar address: ``host:port`` of the peer; empty for a vehicle that is read from the spool.
    """

    identity: PeerIdentity
    vin: str
    connection_id: str
    device_client_version: str = ""
    network_interface: str = ""
    address: str = ""

    @property
    def log_context(self) -> dict[str, object]:
        """The fields that every log event about this connection has: the vehicle, and the peer's address."""
        return {"device_id": self.vin, "remote_ip": self.address}


MAX_ID_BYTES = 1024
"""Longest txid and longest topic, in bytes. Both are held with the record, and a reply repeats them."""

RECORD_COST_BYTES = 1024
ELEMENT_COST_BYTES = 160
"""Memory of a record beyond its bytes, and of each element of its content; measured, the worst case."""


class MessageType(Enum):
    """The envelope's union tag."""

    STREAM = 4
    STREAM_ACK = 5


class Envelope(NamedTuple):
    """A WebSocket message as read, nothing interpreted. Absent byte vectors are empty.

    ``message_type`` is the union tag (0 to 255); ``has_message`` tells whether the union is present.
    """

    message_type: int
    has_message: bool
    txid: bytes
    topic: bytes
    sender_id: bytes
    payload: bytes


@define(eq=False)
class Record:
    """A decoded record on its way to the sinks. Not changed once made.

    :ivar record_type: ``V``, ``alerts``, ``errors``, ``connectivity`` or a custom type (bytes that are not UTF-8 are
        carried as surrogate escapes).
    :ivar txid: as the vehicle sent it; any bytes.
    :ivar vehicle: the vehicle that sent it.
    :ivar payload: the bytes that sinks deliver: protobuf, JSON (``transmit_decoded_records``), or opaque for custom types.
    :ivar received_at_ms: epoch milliseconds.
    :ivar signals: number of signals (``V``) or alerts (``alerts``), 0 for the other types.
    :ivar unknown_values: names of the signals whose values are of a kind that the schema does not have.
    :ivar elements: number of repeated parts: signals; alerts and their audiences; errors and their tags.
    :ivar cost_bytes: memory that the record takes, as the codec estimates it. It also measures the work of a sink, as both
        grow with the elements and the payload. The payload's size by default.
    :ivar decode: makes the content from the payload and never fails, as the payload has been checked; None where the content
        is given.
    """

    record_type: str
    txid: bytes
    vehicle: Vehicle
    payload: bytes
    received_at_ms: int
    _content: object
    signals: int
    unknown_values: tuple[str, ...] = ()
    elements: int = 0
    cost_bytes: int = Factory(lambda record: len(record.payload), takes_self=True)
    decode: Callable[[bytes], object] | None = None

    @property
    def content(self) -> object:
        """The decoded payload: a message of ``protos/`` for the four known types, None for a custom one.

        Decoded when it is first asked for, as most sinks deliver the payload alone. Any thread may ask.
        """
        if self._content is None and self.decode is not None:
            self._content = self.decode(self.payload)
        return self._content

    @property
    def vin(self) -> str:
        """The vehicle's VIN (its certificate's device id)."""
        return self.vehicle.vin

    def metadata(self) -> dict[str, str]:
        """The seven strings that accompany a payload, for example as Kafka headers or Pub/Sub attributes.

        ``timestamp`` and ``version`` are always ``0``.
        """
        return {
            "device_client_version": self.vehicle.device_client_version,
            "receivedat": str(self.received_at_ms),
            "timestamp": "0",
            "txid": self.txid.decode("utf-8", "surrogateescape"),
            "txtype": self.record_type,
            "version": "0",
            "vin": self.vehicle.vin,
        }


OrderingKey = tuple[str, str]
"""VIN and record type: the records that share one keep their order on the way to a sink."""


def ordering_key(record: Record) -> OrderingKey:
    """The ordering key of a record."""
    return record.vehicle.vin, record.record_type


def count_types(records: Sequence[Record]) -> dict[str, int]:
    """Number of records of each type."""
    types = [record.record_type for record in records]
    if not types:
        return {}
    first = types[0]
    count = types.count(first)
    return {first: count} if count == len(types) else {each: types.count(each) for each in set(types)}


def count_within(records: Iterable[Record], most_records: int, most_bytes: int) -> int:
    """Number of records, from the first on, within both bounds; a first record above ``most_bytes`` counts all the same.

    :param most_bytes: the bound on the sum of their ``Record.cost_bytes``.
    """
    count = cost_bytes = 0
    for record in records:
        cost_bytes += record.cost_bytes
        if count == most_records or (cost_bytes > most_bytes and count):
            break
        count += 1
    return count
