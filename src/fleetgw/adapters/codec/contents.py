"""The content of records as bytes, for those who store records: a message of ``protos/``, or nothing for custom types."""

from google.protobuf.message import Message

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors

_MESSAGES: dict[str, type[Message]] = {
    "V": Payload,
    "alerts": VehicleAlerts,
    "connectivity": VehicleConnectivity,
    "errors": VehicleErrors,
}


def content_to_bytes(content: object) -> bytes:
    """Serialise the content of a record of a known type.

    :raises TypeError: it is no message of protobuf.
    """
    if not isinstance(content, Message):
        raise TypeError(f"{type(content).__name__} is no content of a record")
    return content.SerializeToString(deterministic=True)


def content_from_bytes(record_type: str, serialised: bytes) -> object:
    """Parse what ``content_to_bytes`` has made, or a protobuf payload.

    :raises DecodeError: the bytes are no such message.
    """
    return _MESSAGES[record_type].FromString(serialised)
