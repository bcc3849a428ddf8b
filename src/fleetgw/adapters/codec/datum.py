"""Data of a ``V`` record as JSON values, for sinks that send or print signals individually."""

from collections.abc import Callable, Mapping

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Value
from fleetgw.adapters.text.json_numbers import json_float32, json_number

JsonValue = str | int | float | bool | None | dict[str, "JsonValue"]

Reader = Callable[[Value], JsonValue]
"""Reads a ``Value`` whose oneof is set to the reader's case."""

FIELD_NAMES: Mapping[int, str] = {number: name for name, number in Field.items()}
"""Names of signals by ``Datum.key``; a newer vehicle may send unknown keys."""

DOORS = ("DriverFront", "DriverRear", "PassengerFront", "PassengerRear", "TrunkFront", "TrunkRear")


def _location(value: Value) -> JsonValue:
    location = value.location_value
    return {"latitude": json_number(location.latitude), "longitude": json_number(location.longitude)}


def _time(value: Value) -> JsonValue:
    time = value.time_value
    return f"{time.hour:02d}:{time.minute:02d}:{time.second:02d}"


def _doors(value: Value) -> JsonValue:
    doors = value.door_value
    return {name: getattr(doors, name) for name in DOORS}


def _enum(case: str, names: Mapping[int, str]) -> Reader:
    def read(value: Value) -> JsonValue:
        number = getattr(value, case)
        return names.get(number) or str(number)

    return read


READERS: Mapping[str, Reader] = {
    "string_value": lambda value: value.string_value,
    "int_value": lambda value: value.int_value,
    "long_value": lambda value: value.long_value,
    "float_value": lambda value: json_float32(value.float_value),
    "double_value": lambda value: json_number(value.double_value),
    "boolean_value": lambda value: value.boolean_value,
    "location_value": _location,
    "time_value": _time,
    "door_value": _doors,
} | {
    field.name: _enum(field.name, {number: item.name for number, item in field.enum_type.values_by_number.items()})
    for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields
    if field.enum_type is not None
}
"""Readers of the cases of ``Value``, by the case's name (``Value.WhichOneof("value")``).

Enumerations become their name, or the number as text when the schema does not have it. ``invalid`` and
``tire_location_value`` are absent, because some sinks have forms of their own for them; see ``read_value`` for ours.
"""


def read_value(value: Value) -> JsonValue:
    """JSON form of a value: None for an invalid one, the members that are set for a tire location."""
    case = value.WhichOneof("value")
    if case is None or case == "invalid":
        return None
    if case == "tire_location_value":
        return {member.name: is_set for member, is_set in value.tire_location_value.ListFields()}
    return READERS[case](value)
