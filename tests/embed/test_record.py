"""Records as listeners get them."""

import json
from datetime import UTC, datetime
from unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import Audience, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.domain.records import PeerIdentity, Vehicle
from fleetgw.domain.records import Record as DomainRecord
from fleetgw.embed import Record

VEHICLE = Vehicle(PeerIdentity("vehicle_device", "VIN"), "VIN", "connection")


def record(content: object, record_type: str = "V", txid: bytes = b"tx") -> Record:
    payload = b"opaque" if content is None else content.SerializeToString()
    return Record(DomainRecord(record_type, txid, VEHICLE, payload, 1_700_000_000_123, content, 0))


class RecordTests(TestCase):
    def test_signals(self) -> None:
        message = Payload()
        message.created_at.FromJsonString("2026-11-23T20:00:00.5Z")

        def add(key: int) -> Value:
            return message.data.add(key=key).value

        add(Field.Soc).double_value = 71.5
        add(Field.TpmsPressureFl).float_value = 2.9
        add(Field.Gear).shift_state_value = 5
        add(Field.VehicleName).string_value = "Otto"
        add(Field.Locked).boolean_value = True
        add(Field.Location).location_value.latitude = 52.5
        add(Field.DoorState).door_value.TrunkFront = True
        add(Field.ScheduledDepartureTime).time_value.hour = 7
        add(Field.TpmsHardWarnings).tire_location_value.front_left = True
        add(Field.RouteLine).invalid = True
        add(9999).int_value = -3
        add(Field.Odometer)
        got = record(message)
        doors = ("DriverFront", "DriverRear", "PassengerFront", "PassengerRear", "TrunkFront", "TrunkRear")
        self.assertEqual(
            got.fields,
            {
                "Soc": 71.5,
                "TpmsPressureFl": 2.9,
                "Gear": "ShiftStateD",
                "VehicleName": "Otto",
                "Locked": True,
                "Location": {"latitude": 52.5, "longitude": 0.0},
                "DoorState": dict.fromkeys(doors, False) | {"TrunkFront": True},
                "ScheduledDepartureTime": "07:00:00",
                "TpmsHardWarnings": {"front_left": True},
                "RouteLine": None,
                "9999": -3,
                "Odometer": None,
            },
        )
        json.dumps(got.fields)
        self.assertEqual(got.created_at, datetime(2026, 11, 23, 20, 0, 0, 500_000, UTC))
        self.assertEqual(got.received_at, datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC))
        self.assertEqual((got.vin, got.record_type, got.txid), ("VIN", "V", "tx"))
        self.assertEqual((got.payload, got.message), (message.SerializeToString(), message))
        self.assertEqual((got.alerts, got.errors, got.connectivity), ((), (), None))

    def test_every_kind_of_value_is_read(self) -> None:
        for case in Value.DESCRIPTOR.oneofs_by_name["value"].fields:
            with self.subTest(case=case.name):
                message = Payload()
                value = message.data.add(key=Field.Soc).value
                if case.message_type is not None:
                    getattr(value, case.name).SetInParent()
                else:
                    setattr(value, case.name, "x" if case.type == case.TYPE_STRING else 1)
                json.dumps(record(message).fields)

    def test_alerts(self) -> None:
        message = VehicleAlerts()
        message.created_at.FromSeconds(5)
        ended = message.alerts.add(name="A1", audiences=[Audience.Customer, 77])
        ended.started_at.FromSeconds(1)
        ended.ended_at.FromSeconds(2)
        message.alerts.add(name="A2")
        first, second = record(message, "alerts").alerts
        self.assertEqual((first.name, first.audiences), ("A1", ("Customer", "77")))
        self.assertEqual([first.started_at.timestamp(), first.ended_at.timestamp()], [1, 2])
        self.assertEqual((second.name, second.started_at, second.ended_at, second.audiences), ("A2", None, None, ()))
        self.assertEqual(record(message, "alerts").created_at.timestamp(), 5)

    def test_errors(self) -> None:
        message = VehicleErrors()
        message.errors.add(name="E", body="broken", tags={"a": "b"}).created_at.FromSeconds(3)
        (error,) = record(message, "errors").errors
        self.assertEqual((error.name, error.body, error.tags, error.created_at.timestamp()), ("E", "broken", {"a": "b"}, 3))

    def test_connectivity(self) -> None:
        message = VehicleConnectivity(connection_id="c", status=ConnectivityEvent.DISCONNECTED, network_interface="wifi")
        connectivity = record(message, "connectivity").connectivity
        self.assertEqual(
            (connectivity.status, connectivity.connection_id, connectivity.network_interface), ("DISCONNECTED", "c", "wifi")
        )

    def test_a_type_of_the_vehicle_s_own(self) -> None:
        got = record(None, "mine", b"\xff")
        self.assertEqual((got.payload, got.message, got.fields, got.created_at), (b"opaque", None, {}, None))
        self.assertEqual(got.txid, r"\xff")

    def test_a_time_that_no_calendar_has(self) -> None:
        message = Payload()
        message.created_at.seconds = 2**62
        self.assertIsNone(record(message).created_at)
