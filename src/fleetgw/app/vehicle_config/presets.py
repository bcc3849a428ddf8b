"""Lists of fields for common uses, each field with the seconds between two values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_OFTEN, _SOMETIMES, _RARELY = 10, 60, 600

_PLACE = {"Location": _OFTEN, "Odometer": _SOMETIMES, "Gear": 1}
_ENERGY = {"Soc": _SOMETIMES, "EstBatteryRange": _SOMETIMES, "DetailedChargeState": 1}

PRESETS: Mapping[str, Mapping[str, int]] = {
    "fleet": _PLACE | _ENERGY | {"VehicleSpeed": _OFTEN, "Locked": 1, "Version": _RARELY},
    "driving": _PLACE
    | {
        "VehicleSpeed": 1,
        "GpsHeading": _OFTEN,
        "GpsState": _OFTEN,
        "Soc": _SOMETIMES,
        "EnergyRemaining": _SOMETIMES,
        "OutsideTemp": _SOMETIMES,
        "DestinationLocation": _SOMETIMES,
        "MinutesToArrival": _SOMETIMES,
    },
    "charging": _ENERGY
    | {
        "ACChargingPower": _OFTEN,
        "DCChargingPower": _OFTEN,
        "ACChargingEnergyIn": _SOMETIMES,
        "DCChargingEnergyIn": _SOMETIMES,
        "ChargeAmps": _OFTEN,
        "ChargerVoltage": _OFTEN,
        "ChargeLimitSoc": _SOMETIMES,
        "TimeToFullCharge": _SOMETIMES,
        "ChargePortDoorOpen": 1,
        "FastChargerPresent": 1,
    },
    "security": {
        "Location": _SOMETIMES,
        "Locked": 1,
        "DoorState": 1,
        "FdWindow": 1,
        "FpWindow": 1,
        "RdWindow": 1,
        "RpWindow": 1,
        "SentryMode": 1,
        "ValetModeEnabled": 1,
    },
    "maintenance": {
        "Odometer": _RARELY,
        "TpmsPressureFl": _RARELY,
        "TpmsPressureFr": _RARELY,
        "TpmsPressureRl": _RARELY,
        "TpmsPressureRr": _RARELY,
        "TpmsHardWarnings": _SOMETIMES,
        "TpmsSoftWarnings": _SOMETIMES,
        "ServiceMode": _SOMETIMES,
        "Version": _RARELY,
        "SoftwareUpdateVersion": _RARELY,
    },
}
"""Fields with their intervals in seconds, by the name of the preset."""
