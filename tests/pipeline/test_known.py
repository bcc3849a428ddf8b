"""Known vehicles, their sessions and records, signal counts, and observers of records."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from fleetgw.app.pipeline import known
from fleetgw.domain.deduplication import DeduplicationWindow
from fleetgw.domain.signal_counts import DAY_NS
from tests.support.recording_link import Link
from tests.support.session_case import (
    ALERTS_PAYLOAD,
    NOW_NS,
    V_PAYLOAD,
    VIN,
    SessionCase,
    message,
    vehicle,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.records import Record, Vehicle

NOW_MS = NOW_NS // 1_000_000


class KnownVehicleTests(SessionCase):
    def test_a_vehicle_is_known_with_its_sessions_while_connected_and_afterwards(self) -> None:
        gateway = self.make()
        vehicles = gateway.sessions.connected.known
        self.assertIsNone(vehicles.get(VIN))
        old, new = (gateway.connected(vehicle(VIN, name), Link()) for name in ("old", "new"))
        seen = vehicles.get(VIN)
        assert seen is not None
        self.assertEqual((seen.sessions, seen.online_since_ms, seen.offline_since_ms), ([old, new], NOW_MS, None))
        old.disconnected()
        self.assertEqual((seen.sessions, seen.vehicle), ([new], new.vehicle))
        gateway.wall_ns = gateway.sessions.connected.wall_ns = lambda: NOW_NS + 5_000_000_000
        new.disconnected()
        self.assertEqual((seen.sessions, seen.online_since_ms, seen.offline_since_ms), ([], NOW_MS, NOW_MS + 5000))
        self.assertIs(vehicles.get(VIN), seen)
        gateway.connected(vehicle(), Link())
        self.assertIs(vehicles.get(VIN), seen)
        self.assertEqual((seen.online_since_ms, seen.offline_since_ms), (NOW_MS + 5000, None))

    def test_the_older_connection_stands_for_a_vehicle_once_the_newer_one_has_ended(self) -> None:
        gateway = self.make()
        old, new = (gateway.connected(vehicle(VIN, name), Link()) for name in ("old", "new"))
        new.disconnected()
        self.assertIs(old.known.vehicle, old.vehicle)

    def test_vehicles_come_latest_first_connected_ones_before_those_that_have_left(self) -> None:
        gateway = self.make()
        sessions = {vin: gateway.connected(vehicle(vin), Link()) for vin in "ABCD"}
        for vin in "CA":
            sessions[vin].disconnected()
        order = [each.vehicle.vin for each in gateway.sessions.connected.known.latest_first()]
        self.assertEqual(order, ["D", "B", "A", "C"])

    def test_the_vehicle_that_left_first_is_forgotten(self) -> None:
        gateway = self.make()
        vehicles = gateway.sessions.connected.known
        with patch.object(known, "MAX_LEFT", 2):
            for vin in "ABC":
                gateway.connected(vehicle(vin), Link()).disconnected()
        self.assertEqual([*vehicles.left], ["B", "C"])

    def test_records_are_counted_over_all_connections(self) -> None:
        session = self.session()
        session.received([message("V", b"1"), message("V", b"2"), message("alerts", b"3"), message(b"V", b"4", b"\xff")])
        self.assertEqual(session.known.records, {"V": 2, "alerts": 1})
        session.disconnected()
        self.gateway.connected(vehicle(), Link()).received([message("V", b"5")])
        self.assertEqual(session.known.records, {"V": 3, "alerts": 1})
        self.assertEqual(session.known.last_record_ms, NOW_MS)

    def test_a_record_counts_once_while_an_old_connection_ends_beside_a_new_one(self) -> None:
        gateway = self.make()
        old, new = (gateway.connected(vehicle(VIN, name), Link()) for name in ("old", "new"))
        old.received([message("V", b"1"), message("V", b"2")])
        new.received([message("V", b"3")])
        for session in (old, new):
            session.disconnected()
            self.assertEqual(new.known.records, {"V": 3})

    def test_the_last_data_are_kept_unless_they_are_long(self) -> None:
        session = self.session()
        session.received([message("V", b"1"), message("alerts", b"2", ALERTS_PAYLOAD)])
        kept = session.known.last_data
        assert kept is not None
        self.assertTrue(kept.startswith(V_PAYLOAD))
        session.received([message("V", b"3", V_PAYLOAD * 1000)])
        self.assertIs(session.known.last_data, kept)


class SignalCountsOfSessionsTests(SessionCase):
    def test_every_accepted_record_counts_by_vehicle_and_day_duplicates_too(self) -> None:
        session = self.session(deduplication=DeduplicationWindow(60.0, 100))
        counts = self.gateway.sessions.signal_metrics.counts
        for _ in range(2):
            session.received([message("V", b"1"), message("alerts", b"2")])
            self.dispatch()
            self.kafka.answer()
        self.assertEqual(self.value("ledger_duplicates_total", "V"), 1)
        today = NOW_NS // DAY_NS
        self.assertEqual([*counts.of(VIN)], [(today, 8)])
        counts.begin_day(today + 1)
        session.received([message("V", b"3"), message("V", b"4", b"\xff"), message("custom", b"5")])
        self.assertEqual([*counts.of(VIN)], [(today + 1, 2), (today, 8)])


class RecordObserverTests(SessionCase):
    def test_an_observer_sees_each_accepted_run_once(self) -> None:
        session = self.session()
        seen: list[tuple[Vehicle, list[bytes]]] = []

        def observe(vehicle: Vehicle, records: Sequence[Record]) -> None:
            seen.append((vehicle, [record.txid for record in records]))

        self.gateway.sessions.record_observers = (observe,)
        session.received([message("V", b"1"), message("V", b"2"), message("alerts", b"3"), message(b"V", b"4", b"\xff")])
        self.gateway.sessions.record_observers = ()
        session.received([message("V", b"5")])
        self.assertEqual(seen, [(session.vehicle, [b"1", b"2"]), (session.vehicle, [b"3"])])


class RecentMessageRefusalTests(SessionCase):
    def test_refused_messages_are_shown_with_vehicle_and_reason(self) -> None:
        session = self.session(max_message_bytes=2000, refuse_unrouted=True)
        session.received(
            [message("V", b"1", b"\xff"), b"\xff", bytes(2001), message("new", b"2"), message("V", b"3", b"\xff")]
        )
        shown = self.gateway.recent_refusals.newest_first
        self.assertEqual(
            [(each.kind, each.reason, each.vin, each.times) for each in shown],
            [("message", "malformed", VIN, 3), ("message", "unrouted", VIN, 1), ("message", "too_big", VIN, 1)],
        )
        self.assertEqual({each.at_ms for each in shown}, {NOW_MS})
