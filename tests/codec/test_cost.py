"""Cost of a record: number of its elements, and size of its memory."""

from unittest import TestCase

from google.protobuf.message import Message

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.domain.ports import ConnectivityStatus
from fleetgw.domain.records import ELEMENT_COST_BYTES, RECORD_COST_BYTES, Envelope, PeerIdentity, Record, Vehicle

VIN = "5YJ3E1EA7KF000001"
VEHICLE = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c2dc3bf2-9793-4dca-95ac-dbdcd8c3c2fc")


def read(record_type: str, content: Message | bytes, *, txid: bytes = b"tx", as_json: bool = False) -> Record:
    payload = content if isinstance(content, bytes) else content.SerializeToString()
    codec = RecordCodec(transmit_decoded_records=as_json)
    return codec.read_record(record_type, Envelope(4, True, txid, record_type.encode(), b"", payload), VEHICLE, 7)


class ElementsTests(TestCase):
    def test_signals(self) -> None:
        self.assertEqual(read("V", Payload(data=[Datum(key=Field.VehicleName)] * 3)).elements, 3)

    def test_alerts_and_their_audiences(self) -> None:
        alerts = [VehicleAlert(name="a", audiences=[1, 2]), VehicleAlert(name="b", audiences=[3])]  # type: ignore[list-item]  # numbers
        self.assertEqual(read("alerts", VehicleAlerts(alerts=alerts)).elements, 5)

    def test_errors_and_their_tags(self) -> None:
        errors = [VehicleError(tags={"a": "", "b": ""}), VehicleError(tags={"c": ""})]
        self.assertEqual(read("errors", VehicleErrors(errors=errors)).elements, 5)

    def test_none_in_other_types(self) -> None:
        self.assertEqual(read("custom", b"\x0a\x00\x0a\x00").elements, 0)


class CostTests(TestCase):
    def test_undecoded_bytes_count_once_and_the_txid_too(self) -> None:
        record = read("custom", bytes(5000), txid=bytes(300))
        self.assertEqual(record.cost_bytes, RECORD_COST_BYTES + 300 + 5000)

    def test_decoded_bytes_count_twice_and_each_element_besides(self) -> None:
        text = Datum(key=Field.VehicleName, value=Value(string_value="x" * 500))
        record = read("V", Payload(data=[text] * 10))
        self.assertEqual(record.cost_bytes, RECORD_COST_BYTES + 2 + 2 * len(record.payload) + 10 * ELEMENT_COST_BYTES)

    def test_json_counts_in_addition_to_the_message(self) -> None:
        content = VehicleErrors(errors=[VehicleError(body="\0" * 500)])
        plain, decoded = read("errors", content), read("errors", content, as_json=True)
        self.assertEqual(decoded.cost_bytes - plain.cost_bytes, len(decoded.payload) - len(plain.payload))
        self.assertGreater(decoded.cost_bytes, plain.cost_bytes)

    def test_connectivity(self) -> None:
        record = RecordCodec(transmit_decoded_records=False).connectivity(VEHICLE, ConnectivityStatus.CONNECTED, 7)
        self.assertEqual(record.cost_bytes, RECORD_COST_BYTES + len(record.txid) + 2 * len(record.payload))

    def test_a_record_made_by_hand_costs_its_payload(self) -> None:
        self.assertEqual(Record("V", b"tx", VEHICLE, b"12345", 0, None, 0).cost_bytes, 5)
