"""Detection of values whose kind the schema does not have."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Doors, Field, LocationValue, Value
from fleetgw.domain.records import Envelope, PeerIdentity, Vehicle
from tests.support.protobuf_wire import field

VIN = "5YJ3E1EA7KF000001"
VEHICLE = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c")
CODEC = RecordCodec(transmit_decoded_records=False)

NEWER = b"\xb8\x03\x03"
"""Case 55, a number."""

KNOWN = [
    Value(string_value="a"),
    Value(string_value="x" * 300),
    Value(int_value=-1),
    Value(long_value=8),
    Value(float_value=1.5),
    Value(double_value=0.1),
    Value(boolean_value=True),
    Value(location_value=LocationValue(latitude=1.0)),
    Value(invalid=True),
    Value(door_value=Doors()),
    Value(media_status_value="MediaStatusPlaying"),
    Value(sunroof_installed_state_value="SunroofInstalledStateUnknown"),
]
"""Tags of one and two bytes, the last case, values without a size and with a size of two bytes."""

UNKNOWN = [
    NEWER,
    b"\xa0\x01\x03",  # 20, a number that the schema leaves out
    b"\x12\x03abc",  # 2, with another wire type
    b"\xfa\xff\xff\xff\x0f\x03abc",  # the last number of all
    b"\xba\x03\xac\x02" + b"\x25" * 300,  # 55, with a two-byte size
]


def datum(key: int, value: bytes) -> bytes:
    """A ``Datum`` with such a ``Value``, as one of a payload's ``data``."""
    serialised = Datum(key=key).SerializeToString() + field(2, value)  # type: ignore[arg-type]  # any number
    return field(1, serialised)


def unknown_values(payload: bytes) -> tuple[str, ...]:
    return CODEC.read_record("V", Envelope(4, True, b"tx", b"V", b"", payload), VEHICLE, 7).unknown_values


class UnknownValuesTests(TestCase):
    def test_each_unknown_kind_is_found(self) -> None:
        for value in UNKNOWN:
            with self.subTest(value[:4]):
                self.assertEqual(unknown_values(datum(Field.VehicleSpeed, value)), ("VehicleSpeed",))

    def test_no_kind_of_the_schema_is_found(self) -> None:
        for case in Value.DESCRIPTOR.oneofs_by_name["value"].fields:
            with self.subTest(case.name):
                value = Value()
                if case.message_type is not None:
                    getattr(value, case.name).SetInParent()
                else:
                    setattr(value, case.name, case.default_value)
                self.assertEqual(unknown_values(datum(Field.VehicleSpeed, value.SerializeToString())), ())

    def test_a_value_without_content_is_not_found(self) -> None:
        self.assertEqual(unknown_values(datum(Field.VehicleSpeed, b"") + datum(Field.Soc, b"")), ())

    def test_a_known_kind_with_unknown_fields_beside_it_is_known(self) -> None:
        self.assertEqual(unknown_values(datum(Field.VehicleSpeed, NEWER + Value(int_value=1).SerializeToString())), ())

    def test_each_signal_is_named_once_and_an_unknown_one_by_its_number(self) -> None:
        payload = datum(9_999, NEWER) + datum(Field.Soc, NEWER) * 2 + datum(Field.VehicleName, b"\x0a\x01a")
        self.assertEqual(unknown_values(payload), ("9999", "Soc"))

    def test_the_record_passes_unchanged(self) -> None:
        payload = datum(Field.VehicleSpeed, NEWER)
        record = CODEC.read_record("V", Envelope(4, True, b"tx", b"V", b"", payload), VEHICLE, 7)
        self.assertEqual(record.payload[: len(payload)], payload)

    @given(
        st.lists(
            st.tuples(
                st.integers(-(2**31), 2**31 - 1).filter(bool),
                st.sampled_from(
                    [(value.SerializeToString(), False) for value in KNOWN] + [(value, True) for value in UNKNOWN]
                ),
            ),
            max_size=6,
        )
    )
    def test_among_others(self, data: list[tuple[int, tuple[bytes, bool]]]) -> None:
        names = {_name(key) for key, (_, is_unknown) in data if is_unknown}
        payload = b"".join(datum(key, value) for key, (value, _) in data)
        self.assertEqual(unknown_values(payload), tuple(sorted(names)))


def _name(key: int) -> str:
    return Field.Name(key) if key in Field.values() else str(key)  # type: ignore[arg-type]  # any number
