"""Vehicles as operators see them: presence, and latest values of those that somebody watches."""

from __future__ import annotations

from unittest.mock import patch

from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.app.operations import values
from fleetgw.app.operations.values import (
    MAX_CHARACTERS,
    MAX_ELEMENTS,
    MAX_NAMES,
    MAX_POINTS,
    MAX_RECORDS_A_SECOND,
    MAX_WATCHED,
    WATCHED_S,
)
from tests.support.observed_case import ObservedCase, Reader
from tests.support.recording_link import Link
from tests.support.session_case import NOW_NS, VIN, message, vehicle

NOW_MS = NOW_NS // 1_000_000


def data(speed: float | None = None, name: str = "", created_at_s: int = 0) -> bytes:
    payload = Payload()
    if speed is not None:
        payload.data.add(key=Field.VehicleSpeed).value.double_value = speed
    if name:
        payload.data.add(key=Field.VehicleName).value.string_value = name
    if created_at_s:
        payload.created_at.seconds = created_at_s
    return payload.SerializeToString()


class PresenceTests(ObservedCase):
    def test_vehicles_are_listed_with_presence_and_counts(self) -> None:
        session = self.observed()
        session.received([message("V", b"1"), message("alerts", b"2")])
        gone = self.gateway.connected(vehicle("OTHER"), Link())
        gone.disconnected()
        listed = self.views.vehicles.vehicles("", 100)
        online = {
            "vin": VIN,
            "online": True,
            "connections": 1,
            "online_since_ms": NOW_MS,
            "offline_since_ms": None,
            "client_version": "1.2",
            "network": "wifi",
            "address": None,
            "last_record_ms": NOW_MS,
            "records": 2,
            "signals_today": 4,
        }
        offline = online | {
            "vin": "OTHER",
            "online": False,
            "connections": 0,
            "offline_since_ms": NOW_MS,
            "last_record_ms": None,
            "records": 0,
            "signals_today": 0,
        }
        self.assertEqual(listed, {"vehicles": [online, offline], "total": 2})

    def test_a_search_finds_parts_of_the_vin_and_the_limit_bounds_the_answer(self) -> None:
        self.observed()
        for number in range(5):
            self.gateway.connected(vehicle(f"XP7{number}"), Link())
        found = self.views.vehicles.vehicles("xp7", 2)
        self.assertEqual(([each["vin"] for each in found["vehicles"]], found["total"]), (["XP74", "XP73"], 5))  # type: ignore[attr-defined]
        self.assertEqual(self.views.vehicles.vehicles("none", 2), {"vehicles": [], "total": 0})

    def test_an_unknown_vehicle(self) -> None:
        self.observed()
        self.assertIsNone(self.views.vehicles.vehicle("OTHER"))
        self.assertFalse(self.views.vehicles.is_known("OTHER"))


class ValuesTests(ObservedCase):
    def values(self, vin: str = VIN) -> dict[str, tuple[object, object, object]]:
        """Value, time and history by name."""
        shown = self.views.vehicles.vehicle(vin)
        assert shown is not None
        listed = shown["values"]
        assert isinstance(listed, list)
        return {each["name"]: (each["value"], each["at_ms"], each["history"]) for each in listed}

    def seconds(self, number: float) -> None:
        """Let seconds pass, one at a time."""
        for _ in range(int(number)):
            self.clock.advance(1)

    def test_the_first_values_are_those_of_the_last_record_then_each_record_adds(self) -> None:
        session = self.observed()
        session.received([message("V", b"1", data(1.0, "old", created_at_s=9))])
        self.assertEqual(self.gateway.sessions.record_observers, ())
        self.assertEqual(
            self.values(),
            {"VehicleSpeed": (1.0, 9000, [[9000, 1.0]]), "VehicleName": ("old", 9000, [])}
            | {"VehicleSpeed": (1.0, 9000, [(9000, 1.0)])},
        )
        session.received([message("V", b"2", data(2.5, created_at_s=10)), message("alerts", b"3")])
        self.assertEqual(
            self.values(), {"VehicleSpeed": (2.5, 10_000, [(9000, 1.0), (10_000, 2.5)]), "VehicleName": ("old", 9000, [])}
        )

    def test_numbers_that_are_text_have_a_history_other_texts_and_flags_have_none(self) -> None:
        session = self.observed()
        self.values()
        for text in ("12.5", "Tessa", "NaN", "1e999", "1_000", "\u0661\u0662", "7"):
            session.received([message("V", b"1", data(name=text))])
        flag = Payload()
        flag.data.add(key=Field.Locked).value.boolean_value = True
        session.received([message("V", b"1", flag.SerializeToString())])
        shown = self.values()
        self.assertEqual(shown["VehicleName"], ("7", NOW_MS, [(NOW_MS, 12.5), (NOW_MS, 7.0)]))
        self.assertEqual(shown["Locked"], (True, NOW_MS, []))

    def test_the_last_record_as_json(self) -> None:
        session = self.observed(codec=RecordCodec(transmit_decoded_records=True))
        session.received([message("V", b"1", data(1.0, created_at_s=9))])
        self.assertEqual(self.values(), {"VehicleSpeed": (1.0, 9000, [(9000, 1.0)])})

    def test_without_a_time_of_its_own_a_value_has_that_of_its_receipt(self) -> None:
        session = self.observed()
        self.values()
        session.received([message("V", b"1", data(1.0))])
        self.assertEqual(self.values(), {"VehicleSpeed": (1.0, NOW_MS, [(NOW_MS, 1.0)])})

    def test_an_older_record_that_is_sent_again_replaces_nothing(self) -> None:
        session = self.observed()
        self.values()
        session.received([message("V", b"1", data(1.0, created_at_s=9))])
        session.received([message("V", b"2", data(2.0, "new", created_at_s=8))])
        self.assertEqual(self.values(), {"VehicleSpeed": (1.0, 9000, [(9000, 1.0)]), "VehicleName": ("new", 8000, [])})
        session.received([message("V", b"3", data(3.0, created_at_s=9))])
        self.assertEqual(self.values()["VehicleSpeed"], (3.0, 9000, [(9000, 1.0), (9000, 3.0)]), "of the same second")

    def test_a_clock_ahead_does_not_hold_back_later_values(self) -> None:
        session = self.observed()
        self.values()
        session.received([message("V", b"1", data(1.0, created_at_s=NOW_MS // 1000 + 1000))])
        session.received([message("V", b"2", data(2.0))])
        self.assertEqual(self.values(), {"VehicleSpeed": (2.0, NOW_MS, [(NOW_MS, 1.0), (NOW_MS, 2.0)])})

    def test_nothing_is_decoded_once_nobody_watches(self) -> None:
        session = self.observed()
        self.values()
        self.seconds(WATCHED_S - 1)
        session.received([message("V", b"1", data(1.0))])
        self.assertEqual(len(self.values()), 1)
        self.seconds(WATCHED_S + 1)
        self.assertEqual(self.gateway.sessions.record_observers, ())

    def test_other_vehicles_are_not_decoded(self) -> None:
        self.observed()
        self.values()
        other = self.gateway.connected(vehicle("OTHER"), Link())
        with patch.object(values, "read_value", side_effect=AssertionError):
            other.received([message("V", b"1", data(1.0), "vehicle_device.OTHER")])

    def test_histories_texts_and_records_are_bounded(self) -> None:
        session = self.observed()
        self.values()
        session.received([message("V", b"1", data(float(number))) for number in range(MAX_POINTS + 5)])
        ((_, _, history),) = self.values().values()
        self.assertEqual([number for _, number in history], [float(n) for n in range(5, MAX_POINTS + 5)])  # type: ignore[attr-defined]
        self.clock.advance(1)
        session.received([message("V", b"1", data(name="x" * 1000))])
        shown = self.values()["VehicleName"][0]
        self.assertTrue(
            isinstance(shown, str) and shown.startswith("x" * MAX_CHARACTERS) and len(shown) < MAX_CHARACTERS + 30
        )
        self.clock.advance(1)
        session.received([message("V", b"1", data(float(number))) for number in range(MAX_RECORDS_A_SECOND + 50)])
        self.assertEqual(self.values()["VehicleSpeed"][0], float(MAX_RECORDS_A_SECOND + 49))
        session.received([message("V", b"1", data(1.0))])
        self.assertEqual(self.values()["VehicleSpeed"][0], float(MAX_RECORDS_A_SECOND + 49))
        self.clock.advance(1)
        session.received([message("V", b"1", data(2.0) * (MAX_ELEMENTS + 1))])
        self.assertEqual(self.values()["VehicleSpeed"][0], float(MAX_RECORDS_A_SECOND + 49))
        session.received([message("V", b"1", data(3.0))])
        self.assertEqual(self.values()["VehicleSpeed"][0], 3.0)

    def test_the_names_of_a_vehicle_are_bounded(self) -> None:
        session = self.observed()
        self.values()
        for start in (1000, 1600):
            numbered = Payload()
            for number in range(start, start + 600):
                numbered.data.add(key=number).value.int_value = 1  # type: ignore[arg-type]  # of a newer vehicle
            session.received([message("V", b"1", numbered.SerializeToString())])
        shown = self.values()
        self.assertEqual(len(shown), MAX_NAMES)
        self.assertIn("1000", shown)

    def test_the_number_of_watched_vehicles_is_bounded_those_asked_for_lately_stay(self) -> None:
        self.observed()
        sessions = {f"VIN{n}": self.gateway.connected(vehicle(f"VIN{n}"), Link()) for n in range(MAX_WATCHED + 1)}
        for vin in [*sessions][:MAX_WATCHED]:
            self.values(vin)
        last = f"VIN{MAX_WATCHED}"
        self.values(last)
        sessions[last].received([message("V", b"1", data(1.0), f"vehicle_device.{last}")])
        self.assertEqual(len(self.values(last)), 1)  # of its last record alone
        self.assertNotIn(last, self.views.vehicles._values._watched)
        self.assertEqual(len(self.views.vehicles._values._watched), MAX_WATCHED)
        self.seconds(10)
        for vin in [*sessions][1:]:
            self.values(vin)
        self.assertNotIn("VIN0", self.views.vehicles._values._watched)
        self.assertIn(last, self.views.vehicles._values._watched)

    def test_a_stream_shows_the_vehicle_once_a_second_until_the_reader_has_gone(self) -> None:
        session = self.observed()
        reader = Reader()
        end = self.views.vehicles.subscribe(VIN, reader)
        session.received([message("V", b"1", data(1.0))])
        self.seconds(2)
        self.clock.advance(0)
        self.assertEqual([each["records"] for each in reader.values], [0, 1, 1])
        end()
        self.seconds(WATCHED_S + 2)
        self.assertEqual(len(reader.chunks), 3)
        self.assertEqual(self.gateway.sessions.record_observers, ())

    def test_the_events_of_several_vehicles_are_spread_over_the_second(self) -> None:
        self.observed()
        readers = [Reader() for _ in range(4)]
        for number, reader in enumerate(readers):
            self.gateway.connected(vehicle(f"VIN{number}"), Link())
            self.addCleanup(self.views.vehicles.subscribe(f"VIN{number}", reader))
        self.clock.advance(1)
        sent = []
        for _ in range(4):
            self.clock.advance(0.01)
            sent.append(sum(len(reader.chunks) - 1 for reader in readers))
            self.clock.advance(0.24)
        self.assertEqual(sent, [1, 2, 3, 4])
