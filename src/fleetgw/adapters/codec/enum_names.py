"""Names of enumerations in decoded records; a number that the schema does not have becomes text."""

from collections.abc import Sequence

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import Audience, VehicleAlert
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity

_AUDIENCES = {number: name for name, number in Audience.items()}
_STATUSES = {number: name for name, number in ConnectivityEvent.items()}


def audience_names(alert: VehicleAlert) -> Sequence[str]:
    """Audiences of an alert, such as ``Customer``."""
    return [_AUDIENCES.get(number) or str(number) for number in alert.audiences]


def status_name(event: VehicleConnectivity) -> str:
    """Status of a connectivity record: ``CONNECTED`` or ``DISCONNECTED``."""
    return _STATUSES.get(event.status) or str(event.status)
