"""The codec: decodes envelopes and payloads to records."""

from google.protobuf.message import DecodeError, Message
from zope.interface import implementer

from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.codec.contents import PARSERS
from fleetgw.adapters.codec.json_form import to_json
from fleetgw.adapters.codec.own_records import connectivity_content, gateway_status_content
from fleetgw.adapters.codec.payload import DECODERS
from fleetgw.domain.errors import MalformedPayload
from fleetgw.domain.gateway_status import GATEWAY_STATUS, GatewayStatus
from fleetgw.domain.ports import ConnectivityStatus, IRecordCodec
from fleetgw.domain.records import ELEMENT_COST_BYTES, RECORD_COST_BYTES, Envelope, Record, Vehicle

MAX_JSON_BYTES = 2_097_152
"""Maximum size of a record's JSON."""

_ESCAPED = bytes({*range(0x20)} - {*b"\t\n\r\b\f"})
"""Characters that JSON escapes as ``\\u`` and four digits."""


@implementer(IRecordCodec)
class RecordCodec:
    """Wire format of a fleet-telemetry server."""

    def __init__(self, *, transmit_decoded_records: bool, max_json_bytes: int = MAX_JSON_BYTES) -> None:
        """Make a codec.

        :param transmit_decoded_records: whether payloads of the four known types are sent as JSON instead of protobuf.
        :param max_json_bytes: maximum size of a record's JSON; longer ones are refused.
        """
        self._as_json = transmit_decoded_records
        self._max_json_bytes = max_json_bytes

    read_envelope = staticmethod(wire.read)

    def read_record(self, record_type: str, envelope: Envelope, vehicle: Vehicle, received_at_ms: int) -> Record:
        """See ``IRecordCodec``."""
        decode = DECODERS.get(record_type)
        if decode is None:
            payload = envelope.payload
            cost_bytes = RECORD_COST_BYTES + len(envelope.txid) + len(payload)
            return Record(record_type, envelope.txid, vehicle, payload, received_at_ms, None, 0, (), 0, cost_bytes)
        try:
            content, payload, signals, elements, unknown = decode(envelope.payload, vehicle.vin)
        except DecodeError as problem:
            raise MalformedPayload(f"a payload of type {record_type} does not parse: {problem}") from problem
        # The decoded content takes about as many bytes as the payload.
        cost_bytes = RECORD_COST_BYTES + len(envelope.txid) + 2 * len(payload) + elements * ELEMENT_COST_BYTES
        if self._as_json:
            if content is None:
                content = PARSERS[record_type](payload)
            serialised, payload = payload, self._json(content, payload)
            cost_bytes += len(payload) - len(serialised)
        return Record(
            record_type,
            envelope.txid,
            vehicle,
            payload,
            received_at_ms,
            content,
            signals,
            unknown,
            elements,
            cost_bytes,
            PARSERS[record_type] if content is None else None,
        )

    def _json(self, content: Message, serialised: bytes) -> bytes:
        """JSON of a vehicle's record, of bounded size."""
        size_bytes = len(serialised)
        if 6 * size_bytes > self._max_json_bytes:
            # Control characters become six bytes each: count them before they are written.
            size_bytes += 5 * (size_bytes - len(serialised.translate(None, _ESCAPED)))
        if size_bytes <= self._max_json_bytes:
            payload = to_json(content).encode()
            size_bytes = len(payload)
            if size_bytes <= self._max_json_bytes:
                return payload
        what = f"the record's JSON would have about {size_bytes} bytes; at most {self._max_json_bytes} are taken"
        raise MalformedPayload(what, bound="json")

    def connectivity(self, vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> Record:
        """See ``IRecordCodec``."""
        content = connectivity_content(vehicle, status, created_at_ns)
        return self._own_record("connectivity", vehicle.connection_id, vehicle, content, created_at_ns)

    def gateway_status(self, gateway: Vehicle, status: GatewayStatus, txid: str, created_at_ns: int) -> Record:
        """See ``IRecordCodec``."""
        content = gateway_status_content(gateway, status, created_at_ns)
        return self._own_record(GATEWAY_STATUS, txid, gateway, content, created_at_ns)

    def _own_record(self, record_type: str, txid: str, sender: Vehicle, content: Message, created_at_ns: int) -> Record:
        payload = to_json(content).encode() if self._as_json else content.SerializeToString()
        cost_bytes = RECORD_COST_BYTES + len(txid) + 2 * len(payload)
        received_at_ms = created_at_ns // 1_000_000
        return Record(record_type, txid.encode(), sender, payload, received_at_ms, content, 0, (), 0, cost_bytes)
