"""The decoded data of a record, in the form of the ``logger`` sink."""

import json
from collections.abc import Mapping

from fleetgw.adapters.codec.datum import FIELD_NAMES, READERS, JsonValue, Reader
from fleetgw.adapters.codec.enum_names import audience_names, status_name
from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.codec.json_form import to_json
from fleetgw.adapters.codec.timestamps import epoch_s, rfc3339
from fleetgw.domain.ports import ILog
from fleetgw.domain.records import Record

_TIRES = {
    "FrontLeft": "front_left",
    "FrontRight": "front_right",
    "RearLeft": "rear_left",
    "RearRight": "rear_right",
}
_SEMI_TIRES = {
    "FrontLeft": "front_left",
    "FrontRight": "front_right",
    "SemiMiddleAxleLeft": "rear_left",
    "SemiMiddleAxleRight": "rear_right",
    "SemiMiddleAxleLeft2": "semi_middle_axle_left_2",
    "SemiMiddleAxleRight2": "semi_middle_axle_right_2",
    "SemiRearAxleLeft": "semi_rear_axle_left",
    "SemiRearAxleRight": "semi_rear_axle_right",
    "SemiRearAxleLeft2": "semi_rear_axle_left_2",
    "SemiRearAxleRight2": "semi_rear_axle_right_2",
}
_TYPE_NAMES = {
    "cable_type_value": "chargingCableType",
    "charge_unit_preference_value": "chargeUnit",
    "charging_value": "chargingValue",
    "boolean_value": "booleanValue",
    "door_value": "doorValue",
    "double_value": "doubleValue",
    "fast_charger_value": "fastChargerType",
    "float_value": "floatValue",
    "int_value": "intValue",
    "location_value": "locationValue",
    "long_value": "longValue",
    "powershare_state_value": "powershareStatus",
    "shift_state_value": "shiftStateValue",
    "string_value": "stringValue",
}
"""Names, in verbose lines, of the cases of ``Value`` that are not the case in camel case without ``_value``."""


def _tires(members: Mapping[str, str]) -> Reader:
    def read(value: Value) -> JsonValue:
        tires = value.tire_location_value
        return {name: getattr(tires, member) for name, member in members.items()}

    return read


def _type_name(case: str) -> str:
    head, *tail = case.removesuffix("_value").split("_")
    return _TYPE_NAMES.get(case) or head + "".join(map(str.capitalize, tail))


def _named(case: str, reader: Reader) -> Reader:
    name = _type_name(case)
    return lambda value: {name: reader(value)}


def _readers(tires: Mapping[str, str], *, verbose: bool) -> dict[str, Reader]:
    readers = {**READERS, "tire_location_value": _tires(tires)}
    if verbose:
        return {case: _named(case, reader) for case, reader in readers.items()} | {"invalid": lambda _: {"invalid": True}}
    return readers | {"invalid": lambda _: "<invalid>"}


class RecordData:
    """Reads the data of records.

    :param log: for events about signals that cannot be read.
    :param verbose: wrap each signal's value in an object that names its type, as in ``{"stringValue": "on"}``.
    """

    def __init__(self, log: ILog, *, verbose: bool) -> None:
        self._log = log
        self._readers = _readers(_TIRES, verbose=verbose)
        self._semi_readers = _readers(_SEMI_TIRES, verbose=verbose)

    def of(self, record: Record) -> object:
        """The data as JSON values; for a custom record type its name and the size of the payload."""
        match record.content:
            case Payload() as payload:
                return self._signals(payload, record.vin)
            case VehicleAlerts() as alerts:
                return [_alert(alert) for alert in alerts.alerts]
            case VehicleErrors() as errors:
                return [_error(error) for error in errors.errors]
            case VehicleConnectivity() as connectivity:
                return _connectivity(connectivity)
            case GatewayStatus() as status:
                return json.loads(to_json(status))
            case _:
                return {"Type": record.record_type, "SizeBytes": len(record.payload)}

    def _signals(self, payload: Payload, vin: str) -> dict[str, JsonValue]:
        # The fourth character identifies a semi, whose axles have other names.
        readers = self._semi_readers if vin[3:4] == "T" else self._readers
        data: dict[str, JsonValue] = {
            "Vin": payload.vin,
            "CreatedAt": rfc3339(payload.created_at),
            "IsResend": payload.is_resend,
        }
        not_set, unknown = 0, set()
        for datum in payload.data:
            value = datum.value
            case = value.WhichOneof("value")
            # As in the Go server, the name of every unknown signal is empty.
            name = FIELD_NAMES.get(datum.key, "")
            if case is not None:
                data[name] = readers[case](value)
            elif datum.HasField("value"):
                unknown.add(name)
            else:
                not_set += 1
        # One line per record, where the Go server writes one per signal: a record may have half a million of them.
        if unknown:
            self._log.info("unknown_payload_value_data_type", vin=vin, names=sorted(unknown))
        if not_set:
            self._log.info("unknown_payload_data_type", vin=vin, count=not_set)
        return data


def _alert(alert: VehicleAlert) -> dict[str, object]:
    data: dict[str, object] = {"Name": alert.name, "Audiences": audience_names(alert) or None}
    if alert.HasField("started_at"):
        data["StartedAt"] = epoch_s(alert.started_at)
    if alert.HasField("ended_at"):
        data["EndedAt"] = epoch_s(alert.ended_at)
    return data


def _error(error: VehicleError) -> dict[str, object]:
    data: dict[str, object] = {"Name": error.name, "Body": error.body, "Tags": dict(error.tags) or None}
    if error.HasField("created_at"):
        data["CreatedAt"] = epoch_s(error.created_at)
    return data


def _connectivity(connectivity: VehicleConnectivity) -> dict[str, object]:
    return {
        "Vin": connectivity.vin,
        "ConnectionID": connectivity.connection_id,
        "NetworkInterface": connectivity.network_interface,
        "Status": status_name(connectivity),
        "CreatedAt": epoch_s(connectivity.created_at),
    }
