"""The content of records as bytes, for those who store records: a message of ``protos/``, or nothing for custom types."""

from collections.abc import Callable

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


def decoder_of(record_type: str) -> Callable[[bytes], Message]:
    """The parser of what ``content_to_bytes`` makes, and of protobuf payloads. It raises ``DecodeError``.

    :raises KeyError: records of this type have no content.
    """
    return _MESSAGES[record_type].FromString
