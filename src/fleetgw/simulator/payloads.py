"""Payloads of a vehicle's records about its drive: protobuf for the known record types, JSON for custom ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetgw.adapters.codec.generated import vehicle_alert_pb2, vehicle_data_pb2, vehicle_error_pb2
from fleetgw.simulator.drives import Drive, Phase

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

_Field = vehicle_data_pb2.Field
_SECOND_NS = 1_000_000_000
_SLOW_SIGNALS_EVERY = 10
_TIRE_FIELDS = (_Field.TpmsPressureFl, _Field.TpmsPressureFr, _Field.TpmsPressureRl, _Field.TpmsPressureRr)
_GEARS = {
    Phase.PARKED: vehicle_data_pb2.ShiftStateP,
    Phase.DRIVING: vehicle_data_pb2.ShiftStateD,
    Phase.CHARGING: vehicle_data_pb2.ShiftStateP,
}
_CHARGE_STATES = {
    Phase.PARKED: vehicle_data_pb2.DetailedChargeStateDisconnected,
    Phase.DRIVING: vehicle_data_pb2.DetailedChargeStateDisconnected,
    Phase.CHARGING: vehicle_data_pb2.DetailedChargeStateCharging,
}
_ALERTS = ("VCFRONT_a182_tirePressureLow", "UI_a006_Car_Wash_Mode", "APP_w304_cameraBlinded", "BMS_a066_SW_Low_Power")
_ERRORS = (("cloud_fetch", "timed out after 30 s"), ("config_apply", "no such field"), ("stream_resume", "buffer was full"))
_AUDIENCES = (vehicle_alert_pb2.Customer, vehicle_alert_pb2.Service)


class DriveReporter:
    """Turns one vehicle's drive into payloads.

    Every fifth vehicle sends its location and a number as text, as older ones do; the gateway converts them.

    :param vin: the VIN in the payloads, which the gateway replaces by the certificate's.
    :param seed: seed of the drive.
    """

    def __init__(self, vin: str, seed: int) -> None:
        self._vin = vin
        self._drive = Drive(seed)
        self._sends_text = seed % 5 == 4
        self._last_at_ns: int | None = None
        self._reports = 0

    def payload(self, record_type: str, at_ns: int) -> bytes:
        """The payload of a record that is made now.

        :param record_type: ``V``, ``alerts`` or ``errors``; any other type gets a custom payload (JSON).
        :param at_ns: epoch nanoseconds; a time before the last call's counts as the same time.
        """
        if self._last_at_ns is not None:
            self._drive.advance(max(0, at_ns - self._last_at_ns) / _SECOND_NS)
        self._last_at_ns = at_ns
        match record_type:
            case "V":
                return self._signals(at_ns)
            case "alerts":
                return self._alerts(at_ns)
            case "errors":
                return self._errors(at_ns)
            case _:
                return json.dumps({"vin": self._vin, "created_at_ns": at_ns, "soc": self._drive.soc_percent}).encode()

    def _signals(self, at_ns: int) -> bytes:
        drive = self._drive
        payload = vehicle_data_pb2.Payload(vin=self._vin)
        _set_time(payload.created_at, at_ns)
        add = payload.data.add
        add(key=_Field.Gear).value.shift_state_value = _GEARS[drive.phase]
        add(key=_Field.Soc).value.double_value = drive.soc_percent
        add(key=_Field.PackVoltage).value.float_value = drive.pack_voltage_v
        add(key=_Field.PackCurrent).value.float_value = drive.pack_current_a
        location = add(key=_Field.Location).value
        if self._sends_text:
            location.string_value = _location_text(drive.latitude, drive.longitude)
            add(key=_Field.VehicleSpeed).value.string_value = f"{drive.speed_mph:.3e}"
        else:
            location.location_value.latitude = drive.latitude
            location.location_value.longitude = drive.longitude
            add(key=_Field.VehicleSpeed).value.double_value = drive.speed_mph
        if drive.phase is Phase.DRIVING:
            add(key=_Field.Odometer).value.double_value = drive.odometer_miles
            add(key=_Field.GpsHeading).value.double_value = drive.heading_degrees
        elif drive.phase is Phase.CHARGING:
            add(key=_Field.DCChargingPower).value.double_value = drive.charging_power_kw
        if self._reports % _SLOW_SIGNALS_EVERY == 0:
            self._add_slow_signals(payload)
        self._reports += 1
        return payload.SerializeToString()

    def _add_slow_signals(self, payload: vehicle_data_pb2.Payload) -> None:
        drive = self._drive
        add = payload.data.add
        add(key=_Field.DetailedChargeState).value.detailed_charge_state_value = _CHARGE_STATES[drive.phase]
        add(key=_Field.Locked).value.boolean_value = drive.phase is not Phase.DRIVING
        add(key=_Field.ChargeLimitSoc).value.int_value = drive.charge_limit_percent
        add(key=_Field.InsideTemp).value.double_value = drive.inside_celsius
        add(key=_Field.OutsideTemp).value.double_value = drive.outside_celsius
        for field, pressure_bar in zip(_TIRE_FIELDS, drive.tire_pressures_bar, strict=True):
            add(key=field).value.float_value = pressure_bar
        add(key=_Field.Version).value.string_value = "2026.38.4"
        add(key=_Field.RouteLine).value.invalid = True

    def _alerts(self, at_ns: int) -> bytes:
        random = self._drive.random
        alerts = vehicle_alert_pb2.VehicleAlerts(vin=self._vin)
        _set_time(alerts.created_at, at_ns)
        for name in random.sample(_ALERTS, random.choice((1, 1, 2))):
            alert = alerts.alerts.add(name=name, audiences=_AUDIENCES[: random.choice((1, 2))])
            started_at_ns = at_ns - random.randrange(600) * _SECOND_NS
            _set_time(alert.started_at, started_at_ns)
            if random.random() < 0.5:
                _set_time(alert.ended_at, (started_at_ns + at_ns) // 2)
        return alerts.SerializeToString()

    def _errors(self, at_ns: int) -> bytes:
        name, body = self._drive.random.choice(_ERRORS)
        errors = vehicle_error_pb2.VehicleErrors(vin=self._vin)
        _set_time(errors.created_at, at_ns)
        error = errors.errors.add(name=name, body=body, tags={"phase": self._drive.phase.value})
        _set_time(error.created_at, at_ns)
        return errors.SerializeToString()


def _set_time(timestamp: Timestamp, at_ns: int) -> None:
    timestamp.seconds, timestamp.nanos = divmod(at_ns, _SECOND_NS)


def _location_text(latitude: float, longitude: float) -> str:
    return f"({abs(latitude):.6f} {'N' if latitude >= 0 else 'S'}, {abs(longitude):.6f} {'E' if longitude >= 0 else 'W'})"
