"""The content of the records that the gateway makes itself, as messages of ``protos/``."""

from fleetgw.adapters.codec.generated import gateway_status_pb2
from fleetgw.adapters.codec.generated.gateway_status_pb2 import (
    Health,
    Ledger,
    RecordTypeStatus,
    SinkStatus,
    Spool,
    Vehicles,
)
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.domain.gateway_status import GatewayStatus
from fleetgw.domain.ports import ConnectivityStatus
from fleetgw.domain.records import Vehicle

_EVENTS = {
    ConnectivityStatus.CONNECTED: ConnectivityEvent.CONNECTED,
    ConnectivityStatus.DISCONNECTED: ConnectivityEvent.DISCONNECTED,
}


def connectivity_content(vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> VehicleConnectivity:
    """A vehicle has connected, or disconnected.

    :raises ValueError: a request header of the vehicle cannot be written as text.
    """
    content = VehicleConnectivity(
        vin=vehicle.vin,
        connection_id=vehicle.connection_id,
        status=_EVENTS[status],
        network_interface=vehicle.network_interface,
    )
    content.created_at.FromNanoseconds(created_at_ns)
    return content


def gateway_status_content(gateway: Vehicle, status: GatewayStatus, created_at_ns: int) -> gateway_status_pb2.GatewayStatus:
    """The gateway's figures; ``gateway`` stands for it in its own records."""
    content = gateway_status_pb2.GatewayStatus(
        host=status.host,
        instance_id=gateway.connection_id,
        version=status.version,
        uptime_s=status.uptime_s,
        health=Health(state=status.health, reasons=status.reasons),
        vehicles=Vehicles(connected=status.vehicles, connections=status.connections, paused=status.paused),
        records=[
            RecordTypeStatus(
                record_type=each.record_type,
                received_total=each.received_total,
                acked_total=each.acked_total,
                received_per_s=each.received_per_s,
                acked_per_s=each.acked_per_s,
                signals_total=each.signals_total,
            )
            for each in status.records
        ],
        sinks=[
            SinkStatus(
                name=each.name,
                state=each.state,
                reason=each.reason,
                held=each.held,
                capacity=each.capacity,
                delivered_total=each.delivered_total,
                delivered_per_s=each.delivered_per_s,
                retried_total=each.retried_total,
                dead_letters_total=each.dead_letters_total,
            )
            for each in status.sinks
        ],
        ledger=Ledger(balanced=status.is_balanced, lost=status.lost),
    )
    if status.spool is not None:
        spool = status.spool
        content.spool.CopyFrom(Spool(size_bytes=spool.size_bytes, max_bytes=spool.max_bytes, unread=spool.unread))
    content.created_at.FromNanoseconds(created_at_ns)
    return content
