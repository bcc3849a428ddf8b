"""Messages of simulated vehicles, and the codec that reads them: short, as the real codec has tests of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload
from fleetgw.domain.ports import ConnectivityStatus, IRecordCodec
from fleetgw.domain.records import Envelope, MessageType, Record
from tests.simulation.setup import CONNECTIVITY

if TYPE_CHECKING:
    from fleetgw.domain.gateway_status import GatewayStatus
    from fleetgw.domain.records import Vehicle
    from tests.simulation.oracle import Oracle

SEPARATOR = b"|"
MALFORMED = b"malformed"
"""A payload that cannot be decoded."""


def message(vin: str, record_type: str, txid: bytes, payload: bytes) -> bytes:
    """A message with a record; one without a record type is no stream message."""
    return SEPARATOR.join((vin.encode(), record_type.encode(), txid, payload))


@implementer(IRecordCodec)
class SimulatedCodec:
    """Reads messages. Gives each record that arrives a number of its own, as ``received_at_ms``."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._arrivals = 0

    def _number(self, record_type: str) -> int:
        self._arrivals += 1
        self._oracle.arrived(self._arrivals, record_type)
        return self._arrivals

    def read_envelope(self, message: bytes) -> Envelope:
        """See ``IRecordCodec``."""
        parts = message.split(SEPARATOR)
        if len(parts) != 4:
            raise MalformedEnvelope("no envelope")
        sender_id, topic, txid, payload = parts
        kind = MessageType.STREAM.value if topic else 0
        return Envelope(kind, bool(topic), txid, topic, sender_id, payload)

    def read_record(self, record_type: str, envelope: Envelope, vehicle: Vehicle, received_at_ms: int) -> Record:  # noqa: ARG002  the port's
        """See ``IRecordCodec``."""
        if envelope.payload == MALFORMED:
            raise MalformedPayload("no payload")
        return Record(record_type, envelope.txid, vehicle, envelope.payload, self._number(record_type), None, 0)

    def gateway_status(self, gateway: Vehicle, status: GatewayStatus, txid: str, created_at_ns: int) -> Record:
        """See ``IRecordCodec``."""
        raise NotImplementedError("simulated gateways make no such records")

    def connectivity(self, vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> Record:  # noqa: ARG002  the port's
        """See ``IRecordCodec``."""
        txid = f"{vehicle.connection_id} {status.name}".encode()  # that of the real codec is the connection id alone
        return Record(CONNECTIVITY, txid, vehicle, status.name.encode(), self._number(CONNECTIVITY), None, 0)
