"""Payloads of the four record types that have a schema: bytes in, decoded and rewritten message and bytes out."""

from collections.abc import Callable

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.codec.transforms import exponent_text, location_text, rewrite_alerts, rewrite_data

Content = Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity

_parse_data = Payload.FromString


def _data(payload: bytes, vin: str) -> tuple[Content, bytes, int]:
    message = _parse_data(payload)
    message.vin = vin
    serialised = message.SerializeToString()
    if location_text(serialised) or exponent_text(serialised):
        rewrite_data(message)
        serialised = message.SerializeToString()
    return message, serialised, len(message.data)


def _alerts(payload: bytes, vin: str) -> tuple[Content, bytes, int]:
    message = VehicleAlerts.FromString(payload)
    message.vin = vin
    rewrite_alerts(message)
    return message, message.SerializeToString(), len(message.alerts)


def _errors(payload: bytes, vin: str) -> tuple[Content, bytes, int]:
    message = VehicleErrors.FromString(payload)
    message.vin = vin
    return message, message.SerializeToString(), 0


def _connectivity(payload: bytes, vin: str) -> tuple[Content, bytes, int]:
    message = VehicleConnectivity.FromString(payload)
    message.vin = vin
    return message, message.SerializeToString(), 0


DECODERS: dict[str, Callable[[bytes, str], tuple[Content, bytes, int]]] = {
    "V": _data,
    "alerts": _alerts,
    "errors": _errors,
    "connectivity": _connectivity,
}
"""By record type: ``(payload, vin)`` to the message, its bytes and how many signals it holds. Raise ``DecodeError``."""
