"""The port to the codec: from bytes on the wire to records."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from fleetgw.domain.gateway_status import GatewayStatus
    from fleetgw.domain.records import Envelope, Record, Vehicle


class ConnectivityStatus(Enum):
    """The two kinds of connectivity record."""

    CONNECTED = 1
    DISCONNECTED = 2


class IRecordCodec(Interface):
    """Decodes messages into records, and makes the gateway's own records.

    Pure: a method depends on its arguments alone. Methods may be called in any order.
    """

    def read_envelope(message: bytes) -> Envelope:
        """Read one whole WebSocket message. Called once for each message that is not too large, in the order received.

        :param message: the payload of the WebSocket message; not kept.
        :return: the envelope with any union tag; nothing in it is checked but its lengths.
        :raises MalformedEnvelope: no envelope can be read within the message's own bytes, or its txid or topic is too long
            (``bound`` names the bound).
        """

    def read_record(record_type: str, envelope: Envelope, vehicle: Vehicle, received_at_ms: int) -> Record:
        """Decode and transform the payload of a Stream envelope. Called after ``read_envelope``, once for each record.

        :param record_type: the envelope's topic as text, bytes that are not UTF-8 as surrogate escapes.
        :param envelope: as ``read_envelope`` gave it.
        :param vehicle: the vehicle of the connection; the record gets its VIN, whatever the payload says.
        :param received_at_ms: epoch milliseconds.
        :raises MalformedPayload: the payload does not parse as its type, holds more than a record may (``bound`` names the
            bound), or cannot be written as JSON.
        """

    def connectivity(vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> Record:
        """Make the record of a connect or a disconnect; its txid is the connection id.

        :param created_at_ns: epoch nanoseconds; also gives ``received_at_ms``.
        :raises ValueError: a request header of the vehicle cannot be written as text.
        """

    def gateway_status(gateway: Vehicle, status: GatewayStatus, txid: str, created_at_ns: int) -> Record:
        """Make the record of the gateway's own figures.

        :param gateway: stands for the gateway in its own records.
        :param txid: another one for each record.
        :param created_at_ns: epoch nanoseconds; also gives ``received_at_ms``.
        """
