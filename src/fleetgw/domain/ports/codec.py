"""The port to the codec: wire bytes to records."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from fleetgw.domain.records import Envelope, Record, Vehicle


class ConnectivityStatus(Enum):
    """The two kinds of connectivity record."""

    CONNECTED = 1
    DISCONNECTED = 2


class IRecordCodec(Interface):
    """Wire bytes <-> records. Pure and synchronous; calls never overlap."""

    def read_envelope(message: bytes) -> Envelope:
        """Read one whole WebSocket message.

        :raises MalformedEnvelope: no envelope can be read within the message's own bytes, or its txid or topic is too long.
        """

    def read_record(record_type: str, envelope: Envelope, vehicle: Vehicle, received_at_ms: int) -> Record:
        """Decode and transform a Stream envelope's payload; the vin is always the vehicle's own.

        :param record_type: the envelope's topic as text.
        :param received_at_ms: epoch milliseconds.
        :raises MalformedPayload: the payload does not parse as its type, holds more than a record may (``bound``), or
            cannot be written as JSON.
        """

    def connectivity(vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> Record:
        """Make the record of a connect or a disconnect; its txid is the connection id.

        :param created_at_ns: epoch nanoseconds; also gives ``received_at_ms``.
        """
