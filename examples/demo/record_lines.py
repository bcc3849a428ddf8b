"""Converts a line of the gateway's log to a readable line."""

import json

from rich.text import Text

_COLOURS = {"V": "green", "alerts": "yellow", "errors": "red", "connectivity": "blue"}
_FIRST = ("VehicleSpeed", "Gear", "Soc", "Location", "Name", "Body", "Status")
_SAID_ELSEWHERE = {"Vin", "VIN", "vin", "CreatedAt", "IsResend", "ConnectionID"}


def to_line(log_line: bytes) -> Text | None:
    """The line to show: of a record, a warning or an error; None for every other event."""
    try:
        event = json.loads(log_line)
    except ValueError:
        return Text(log_line.decode(errors="replace").rstrip(), "red")
    time = Text(event["time"][11:19] + "  ", "dim")
    if event["msg"] == "record_payload":
        record_type = event["metadata"]["txtype"]
        head = Text(f"{event['vin']:17}  ", "cyan").append(f"{record_type:13}", _COLOURS.get(record_type, ""))
        return time + head + _data(event["data"])
    if event["level"] in ("warning", "warn", "error"):
        fields = {name: value for name, value in event.items() if name not in ("context", "level", "msg", "time")}
        return time + Text(f"{event['msg']}  ", "bold red") + _data(fields)
    return None


def _data(data: object) -> Text:
    if isinstance(data, list):
        return Text(" | ").join(map(_data, data))
    if not isinstance(data, dict):
        return Text(_value(data))
    names = sorted(
        data.keys() - _SAID_ELSEWHERE, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)
    )
    return Text(" ").join(Text(f"{name}=", "dim") + Text(_value(data[name])) for name in names)


def _value(value: object) -> str:
    match value:
        case {"latitude": float(latitude), "longitude": float(longitude)}:
            return f"{latitude:.4f},{longitude:.4f}"
        case float():
            return f"{value:.5g}"
        case str():
            return value
        case list():
            return ",".join(map(_value, value))
        case _:
            return json.dumps(value)
