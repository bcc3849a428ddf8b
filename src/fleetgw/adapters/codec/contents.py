"""The content of records as bytes, for those who store records: a message of ``protos/``, or nothing for custom types."""

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.domain.gateway_status import GATEWAY_STATUS

PARSERS: Mapping[str, Callable[[bytes], Message]] = {
    "V": Payload.FromString,
    "alerts": VehicleAlerts.FromString,
    "connectivity": VehicleConnectivity.FromString,
    "errors": VehicleErrors.FromString,
    GATEWAY_STATUS: GatewayStatus.FromString,
}
"""Parsers of what ``content_to_bytes`` makes, and of protobuf payloads, by record type. They raise ``DecodeError``."""


def content_to_bytes(content: object) -> bytes:
    """Serialise the content of a record of a known type.

    :raises TypeError: it is no message of protobuf.
    """
    if not isinstance(content, Message):
        raise TypeError(f"{type(content).__name__} is no content of a record")
    return content.SerializeToString(deterministic=True)
