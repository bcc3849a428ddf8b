"""Shared base of the harnesses of the MQTT sink, in memory and over a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.sink_doubles import make_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetgw.domain.records import Record
    from tests.support.mqtt.consumer import Published

REFUSED_PAYLOAD = b"a record that is no signals"


def make_mqtt_record(vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
    """A record of one message that a consumer tells by ``payload``; ``REFUSED_PAYLOAD`` makes one without content."""
    content: object = None
    text = payload.decode()
    if payload != REFUSED_PAYLOAD and record_type == "V":
        content = Payload(vin=vin, data=[Datum(key=Field.VehicleName, value=Value(string_value=text))])
    elif payload != REFUSED_PAYLOAD and record_type == "alerts":
        content = VehicleAlerts(vin=vin, alerts=[VehicleAlert(name=text)])
    return make_record(vin, txid, record_type=record_type, payload=payload, content=content)


def received_records(published: Iterable[Published]) -> list[Received]:
    """The records that messages came from, in the order of the messages."""
    records = []
    for message in published:
        _, vin, kind, *names = message.topic.split("/")
        if kind == "v":
            records.append(Received(vin, json.loads(message.body).encode()))
        elif names[-1] == "history":
            records.append(Received(vin, names[0].encode()))
    return records
