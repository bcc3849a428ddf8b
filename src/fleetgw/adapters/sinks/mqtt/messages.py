"""Makes MQTT messages of a record: one message per signal, two per alert name, one per error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fleetgw.adapters.codec.datum import FIELD_NAMES, READERS
from fleetgw.adapters.codec.enum_names import audience_names, status_name
from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.codec.json_form import double_text, to_json
from fleetgw.adapters.codec.signals import SignalReader
from fleetgw.adapters.codec.timestamps import rfc3339
from fleetgw.adapters.sinks.mqtt.json_text import json_text
from fleetgw.adapters.sinks.mqtt.topics import named_part, topic_part
from fleetgw.domain.errors import Rejected
from fleetgw.domain.gateway_status import GATEWAY_STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.codec.datum import JsonValue, Reader
    from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert
    from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum
    from fleetgw.adapters.sinks.mqtt.json_text import Json
    from fleetgw.domain.records import Record


MESSAGES_LIMIT = 10_000
"""Messages of one record, and elements read for them: signals; alerts and their audiences; errors and their tags. A vehicle
has some hundred signals."""

NAMED_LIMIT = 1_000
"""Alerts, or errors, of one record: each costs some 20 us."""

MESSAGES_SIZE_LIMIT_BYTES = 2 * 1024 * 1024
"""Topics and bodies of all messages of one record together."""

_NUMBERED = (
    "cabin_overheat_protection_mode_value",
    "cabin_overheat_protection_temperature_limit_value",
    "cable_type_value",
    "charge_unit_preference_value",
    "charging_value",
    "climate_keeper_mode_value",
    "defrost_mode_value",
    "display_state_value",
    "distance_unit_value",
    "fast_charger_value",
    "hvac_auto_mode_value",
    "hvac_power_value",
    "powershare_state_value",
    "powershare_stop_reason_value",
    "powershare_type_value",
    "pressure_unit_value",
    "temperature_unit_value",
    "tonneau_position_value",
    "tonneau_tent_mode_value",
)
"""Enumerations whose unknown numbers the Go server writes as numbers; those of the others it writes as text."""


class Message(NamedTuple):
    """One message: topic and body, both UTF-8."""

    topic: bytes
    body: bytes


def _numbered(case: str) -> Reader:
    named = READERS[case]

    def read(value: Value) -> JsonValue:
        text = named(value)
        number = getattr(value, case)
        return number if text == str(number) else text

    return read


def _tires(value: Value) -> JsonValue:
    return {field.name: True for field, _ in value.tire_location_value.ListFields()}


_READERS: dict[str, Reader] = {
    **READERS,
    **{case: _numbered(case) for case in _NUMBERED},
    "tire_location_value": _tires,
    "invalid": lambda _: None,
}

_SIGNAL_TOPICS = {number: f"/v/{name}".encode() for number, name in FIELD_NAMES.items()}


class MessageWriter:
    """Makes the messages of records.

    :param topic_base: first part of every topic.
    """

    def __init__(self, topic_base: str) -> None:
        self._topic_base = topic_base

    def messages(self, record: Record) -> Sequence[Message]:
        """The messages of one record, in order; there may be none.

        :raises Rejected: the record cannot be published over MQTT.
        """
        base = f"{self._topic_base}/{topic_part(record.vin)}"
        match record.content:
            case Payload() as payload:
                _check_elements(len(payload.data), "signals")
                start = base.encode()
                messages = [Message(start + end, body) for end, body in _read_signals(payload, record.payload).items()]
                if len(record.payload) > _SMALL_PAYLOAD_BYTES:
                    _Size().add_all(messages)
                return messages
            case VehicleAlerts() as alerts:
                _check_elements(len(alerts.alerts), "alerts", NAMED_LIMIT)
                _check_elements(sum([1 + len(alert.audiences) for alert in alerts.alerts]), "alerts and audiences")
                return _alerts(f"{base}/alerts/", alerts)
            case VehicleErrors() as errors:
                _check_elements(len(errors.errors), "errors", NAMED_LIMIT)
                _check_elements(sum([1 + len(error.tags) for error in errors.errors]), "errors and tags")
                return _errors(f"{base}/errors/", errors)
            case VehicleConnectivity() as connectivity:
                return [_connectivity(f"{base}/connectivity", connectivity)]
            case GatewayStatus() as status:
                return [Message(f"{base}/{GATEWAY_STATUS}".encode(), to_json(status).encode())]
            case _:
                routable = "V, alerts, errors, connectivity or gateway_status"
                raise Rejected(f"a custom record type has no MQTT messages: route {routable} to mqtt")


def _body(datum: Datum) -> bytes:
    case = datum.value.WhichOneof("value")
    if case is not None:
        return json_text(_READERS[case](datum.value)).encode()
    return b"{}" if datum.HasField("value") else b"null"  # a value of a kind that the schema does not have, or none


_read_signals = SignalReader(
    lambda key: _SIGNAL_TOPICS.get(key) or b"/v/%d" % key,
    _body,
    lambda number: double_text(number).encode(),
    lambda latitude, longitude: f'{{"latitude":{double_text(latitude)},"longitude":{double_text(longitude)}}}'.encode(),
).read
"""The end of the topic -> the body; of several values of one signal the last, as in the Go server."""


_SMALL_PAYLOAD_BYTES = 4096
"""Messages of payloads up to this size need no size check: they are some 2,000 at most."""


def _check_elements(count: int, what: str, limit: int = MESSAGES_LIMIT) -> None:
    if count > limit:
        raise Rejected(f"it has {count} {what}; MQTT messages are made of {limit} at most")


class _Size:
    """Adds up a record's messages."""

    def __init__(self) -> None:
        self._left_bytes = MESSAGES_SIZE_LIMIT_BYTES

    def add(self, topic: bytes, text: str) -> Message:
        """Make a message.

        :raises Rejected: the messages are too large together.
        """
        body = text.encode()
        self._take(len(topic) + len(body))
        return Message(topic, body)

    def add_all(self, messages: Sequence[Message]) -> None:
        """As ``add``, for finished messages."""
        self._take(sum([len(topic) + len(body) for topic, body in messages]))

    def _take(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise Rejected(f"its MQTT messages are larger than {MESSAGES_SIZE_LIMIT_BYTES} bytes together")


def _topic(start: str, name: str, end: str = "") -> bytes:
    return f"{start}{named_part(name)}{end}".encode()


def _alerts(base: str, alerts: VehicleAlerts) -> list[Message]:
    by_name: dict[str, list[VehicleAlert]] = {}
    for alert in alerts.alerts:
        by_name.setdefault(alert.name, []).append(alert)
    messages, size = [], _Size()
    for name, history in by_name.items():
        started = [alert for alert in history if alert.HasField("started_at")]
        if started:
            current = max(started, key=lambda alert: (alert.started_at.seconds, alert.started_at.nanos))
            messages.append(size.add(_topic(base, name, "/current"), json_text(_alert(current))))
        messages.append(size.add(_topic(base, name, "/history"), json_text([*map(_alert, history)])))
    return messages


def _alert(alert: VehicleAlert) -> dict[str, Json]:
    data: dict[str, Json] = {"Audiences": audience_names(alert) or None}
    if alert.HasField("started_at"):
        data["StartedAt"] = rfc3339(alert.started_at)
    if alert.HasField("ended_at"):
        data["EndedAt"] = rfc3339(alert.ended_at)
    return data


def _errors(base: str, errors: VehicleErrors) -> list[Message]:
    messages, size = [], _Size()
    for error in errors.errors:
        data: dict[str, Json] = {"Body": error.body, "Tags": dict(error.tags) or None}
        if error.HasField("created_at"):
            data["CreatedAt"] = rfc3339(error.created_at)
        messages.append(size.add(_topic(base, error.name), json_text(data)))
    return messages


def _connectivity(topic: str, event: VehicleConnectivity) -> Message:
    data: dict[str, Json] = {
        "ConnectionId": event.connection_id,
        "CreatedAt": rfc3339(event.created_at),
        "Status": status_name(event),
    }
    return Message(topic.encode(), json_text(data).encode())
