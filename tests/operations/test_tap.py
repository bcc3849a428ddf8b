"""Taps: the records that the filter admits, bounded, without holding up the gateway."""

from __future__ import annotations

from unittest.mock import patch

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.adapters.sinks.logger.data import RecordData
from fleetgw.app.operations.tap import (
    MAX_ELEMENTS,
    MAX_TAPS,
    MAX_WAITING_RECORDS,
    TURN_RECORDS,
    TURN_S,
    TapFilter,
)
from tests.support.observed_case import ObservedCase, Reader
from tests.support.recording_link import Link
from tests.support.session_case import NOW_NS, VIN, message, vehicle

PAYLOAD = Payload()
PAYLOAD.data.add(key=Field.VehicleSpeed).value.double_value = 1.5
PAYLOAD.data.add(key=Field.Odometer).value.double_value = 2.5


def record(txid: str, vin: str = VIN, payload: Payload = PAYLOAD) -> bytes:
    return message("V", txid.encode(), payload.SerializeToString(), f"vehicle_device.{vin}")


class TapTests(ObservedCase):
    def opened(self, wanted: TapFilter | None = None, room: int = 1_000_000) -> Reader:
        reader = Reader(room)
        self.close = self.views.taps.open(wanted or TapFilter(), reader)
        return reader

    def drain(self) -> None:
        """Let taps decode what waits."""
        for _ in range(MAX_WAITING_RECORDS):
            self.clock.advance(TURN_S)

    def test_a_record_is_shown_as_the_logger_writes_it(self) -> None:
        session = self.observed()
        reader = self.opened()
        session.received([record("1"), message("custom", b"\xff\n")])
        self.assertEqual(reader.chunks, [])  # not within the read
        self.drain()
        at = {"at_ms": NOW_NS // 1_000_000, "vin": VIN}
        data = {"Vin": VIN, "CreatedAt": "1970-01-01T00:00:00Z", "IsResend": False, "VehicleSpeed": 1.5, "Odometer": 2.5}
        self.assertEqual(
            reader.values,
            [
                {**at, "type": "V", "txid": "1", "data": data},
                {**at, "type": "custom", "txid": "\ufffd\n", "data": {"Type": "custom", "SizeBytes": 6}},
            ],
        )
        self.assertTrue(all(chunk.isascii() and chunk.count(b"\n") == 1 for chunk in reader.chunks))

    def test_filters_by_vehicle_type_and_field(self) -> None:
        session = self.observed()
        other = self.gateway.connected(vehicle("OTHER"), Link())
        readers = {
            "vin": self.opened(TapFilter(vins=frozenset({"OTHER"}))),
            "type": self.opened(TapFilter(record_types=frozenset({"alerts", "custom"}))),
            "field": self.opened(TapFilter(fields=frozenset({"Odometer", "Soc"}))),
            "no such field": self.opened(TapFilter(fields=frozenset({"Soc"}))),
        }
        session.received([record("1"), message("alerts", b"2")])
        other.received([record("3", "OTHER")])
        self.drain()
        shown = {name: [each["txid"] for each in reader.values] for name, reader in readers.items()}
        self.assertEqual(shown, {"vin": ["3"], "type": ["2"], "field": ["1", "3"], "no such field": []})
        self.assertEqual([each["data"] for each in readers["field"].values], [{"Odometer": 2.5}] * 2)

    def test_taps_of_one_vehicle_each(self) -> None:
        session = self.observed()
        other = self.gateway.connected(vehicle("OTHER"), Link())
        first, second = (self.opened(TapFilter(vins=frozenset({vin}))) for vin in (VIN, "OTHER"))
        session.received([record("1")])
        other.received([record("2", "OTHER")])
        self.drain()
        self.close()
        other.received([record("3", "OTHER")])
        session.received([record("4")])
        self.drain()
        self.assertEqual([[each["txid"] for each in reader.values] for reader in (first, second)], [["1", "4"], ["2"]])

    def test_records_without_fields_are_not_decoded_for_a_filter_by_field(self) -> None:
        session = self.observed()
        self.opened(TapFilter(fields=frozenset({"Odometer"})))
        with patch.object(RecordData, "of", side_effect=AssertionError):
            session.received([message("alerts", b"1")])
            self.drain()

    def test_a_slow_reader_is_told_what_it_has_missed(self) -> None:
        session = self.observed()
        reader = self.opened(room=1)
        session.received([record(str(number)) for number in range(4)])
        self.drain()
        reader.room = 10
        self.clock.advance(1)
        session.received([record("4")])
        self.drain()
        self.assertEqual([each.get("txid", each) for each in reader.values], ["0", {"dropped": 3}, "4"])

    def test_more_records_than_may_wait_are_dropped_and_told(self) -> None:
        session = self.observed()
        reader = self.opened()
        session.received([record(str(number)) for number in range(MAX_WAITING_RECORDS + 7)])
        self.drain()
        shown = [each for each in reader.values if "txid" in each]
        dropped = [each["dropped"] for each in reader.values if "dropped" in each]
        self.assertEqual((len(shown), dropped), (MAX_WAITING_RECORDS, [7]))

    def test_few_records_are_decoded_a_turn_however_they_come(self) -> None:
        session = self.observed()
        reader = self.opened()
        for number in range(4 * TURN_RECORDS):
            session.received([record(str(number))])
            self.clock.advance(TURN_S / (4 * TURN_RECORDS))
        self.assertLessEqual(len(reader.chunks), 2 * TURN_RECORDS)

    def test_a_huge_record_is_not_decoded(self) -> None:
        session = self.observed(max_message_bytes=10_000_000)
        reader = self.opened()
        huge = Payload(data=[PAYLOAD.data[0]] * (MAX_ELEMENTS + 1))
        session.received([record("1", payload=huge)])
        self.drain()
        (shown,) = reader.values
        self.assertEqual(shown["data"], {"Type": "V", "SizeBytes": len(huge.SerializeToString()) + len(VIN) + 2})

    def test_records_cost_nothing_without_a_tap_and_taps_are_bounded(self) -> None:
        session = self.observed()
        closes = []
        for _ in range(MAX_TAPS):
            self.assertTrue(self.views.taps.have_room)
            self.opened()
            closes.append(self.close)
        self.assertFalse(self.views.taps.have_room)
        session.received([record("1")])
        for close in closes:
            close()
        self.assertEqual(self.gateway.sessions.record_observers, ())
        calls = len(self.clock.getDelayedCalls())
        session.received([record("2")])
        self.assertEqual(len(self.clock.getDelayedCalls()), calls)
