"""The overview: rates, history, percentiles, sinks, ledger."""

from __future__ import annotations

import json

from fleetgw.app.operations.sampling import HISTORY_S, RATE_S
from fleetgw.domain.errors import Rejected
from tests.support.observed_case import ObservedCase, Reader
from tests.support.session_case import NOW_NS, message


class OverviewTests(ObservedCase):
    def view(self) -> dict[str, object]:
        """The overview as JSON would carry it."""
        viewed: dict[str, object] = json.loads(json.dumps(self.overview.view(), allow_nan=False))
        return viewed

    def test_the_figures_of_one_screen(self) -> None:
        session = self.observed()
        session.received([message("V", b"1"), message("V", b"2"), message("alerts", b"3")])
        self.dispatch()
        self.kafka.answer()
        session.received([message("V", b"4")])
        self.dispatch()
        self.kafka.answer(Rejected("no"))
        self.clock.advance(1)
        view = self.view()
        self.assertEqual(
            {
                name: view[name]
                for name in ("version", "host", "hot_path", "now_ms", "uptime_s", "health", "vehicles", "spool")
            },
            {
                "version": "1.2.3",
                "host": "gw-1.example.com",
                "hot_path": "c",
                "now_ms": NOW_NS // 1_000_000,
                "uptime_s": 1,
                "health": {"state": "ok", "reasons": []},
                "vehicles": {"connected": 1, "connections": 1, "paused": 0},
                "spool": None,
            },
        )
        v, alerts = view["records"], None
        assert isinstance(v, list)
        v, alerts = v
        self.assertEqual(
            v,
            {
                "type": "V",
                "received_total": 3,
                "acked_total": 3,
                "received_per_s": 3.0,
                "acked_per_s": 3.0,
                "signals_total": 6,
            },
        )
        self.assertEqual((alerts["type"], alerts["received_total"]), ("alerts", 1))
        sinks = view["sinks"]
        assert isinstance(sinks, list)
        self.assertEqual(
            sinks[0],
            {
                "name": "kafka",
                "state": "ready",
                "reason": None,
                "fix": None,
                "since_ms": 1,
                "types": ["V"],
                "held": 0,
                "capacity": 1000,
                "delivered_total": 3,
                "delivered_per_s": 3.0,
                "retried_total": 0,
                "dead_letters_total": 1,
            },
        )
        ledger = view["ledger"]
        assert isinstance(ledger, dict)
        self.assertEqual((ledger["balanced"], ledger["lost"], ledger["problems"]), (True, 0, []))
        self.assertEqual(
            ledger["from_vehicles"][1],
            {"type": "alerts", "received": 1, "acked": 1, "duplicates": 0, "unacked": 0, "awaiting": 0},
        )
        self.assertEqual(view["certificates"], [{"name": "tls.server_cert", "state": "ok"}])
        self.assertEqual(view["ack_latency_ms"], {"p50": 0.0, "p90": 0.0, "p99": 0.0, "window_s": 60})

    def test_rates_are_those_of_five_seconds(self) -> None:
        session = self.observed()
        for second in range(20):
            session.received([message("V", b"1")] * (10 if second < 10 else 0))
            self.clock.advance(1)
            if second == 8:
                self.assertEqual(self.view()["records"][0]["received_per_s"], 10.0)  # type: ignore[index]
            if second == 12:
                self.assertEqual(self.view()["records"][0]["received_per_s"], 4.0)  # type: ignore[index]
        self.assertEqual(self.view()["records"][0]["received_per_s"], 0.0)  # type: ignore[index]
        history = self.view()["history"]
        assert isinstance(history, dict)
        self.assertEqual(history["received_per_s"][-11:-5], [10.0, 8.0, 6.0, 4.0, 2.0, 0.0])
        self.assertEqual(history["vehicles"], [1] * 21)

    def test_the_history_by_type_has_a_rate_every_five_seconds(self) -> None:
        session = self.observed()
        self.clock.advance(1)
        for second in range(20):
            session.received([message("V", b"1")] * (10 if second < 10 else 0))
            self.clock.advance(1)
        rates = [0.0, 8.0, 10.0, 2.0, 0.0]
        self.assertEqual(
            self.view()["history_by_type"],
            {"interval_s": 5, "types": {"V": {"received_per_s": rates, "acked_per_s": rates}}},
        )

    def test_the_history_by_type_is_bounded(self) -> None:
        session = self.observed()
        session.received([message("V", b"1")])
        for _ in range(HISTORY_S + 10):
            self.clock.advance(1)
        by_type = self.view()["history_by_type"]
        assert isinstance(by_type, dict)
        self.assertEqual({len(values) for values in by_type["types"]["V"].values()}, {HISTORY_S // RATE_S})

    def test_the_history_is_bounded(self) -> None:
        self.observed()
        self.kafka.answer()
        for _ in range(HISTORY_S + 10):
            self.clock.advance(1)
        history = self.view()["history"]
        assert isinstance(history, dict)
        self.assertEqual(
            {name: len(values) for name, values in history.items() if name != "interval_s"},
            dict.fromkeys(("received_per_s", "acked_per_s", "vehicles"), HISTORY_S),
        )

    def test_percentiles_are_those_of_the_last_minute(self) -> None:
        session = self.observed(policies={"V": "kafka"})
        self.assertIsNone(self.view()["ack_latency_ms"]["p50"])  # type: ignore[index]
        now_ns = [NOW_NS]
        self.gateway.sessions.wall_ns = lambda: now_ns[0]
        session.received([message("V", b"1")])
        self.dispatch()
        now_ns[0] += 2_000_000_000
        self.kafka.answer()
        self.clock.advance(1)
        p50 = self.view()["ack_latency_ms"]["p50"]  # type: ignore[index]
        self.assertTrue(1000 <= p50 <= 2500, p50)
        for _ in range(61):
            self.clock.advance(1)
        self.assertIsNone(self.view()["ack_latency_ms"]["p50"])  # type: ignore[index]

    def test_a_stream_makes_each_event_once_for_all_readers(self) -> None:
        self.observed()
        readers = [Reader() for _ in range(3)]
        ends = [self.views.overview_stream.subscribe(reader) for reader in readers]
        self.clock.advance(1)
        self.assertEqual([len(reader.chunks) for reader in readers], [2, 2, 2])
        for number in range(2):
            self.assertIs(readers[0].chunks[number], readers[2].chunks[number])
        self.assertTrue(readers[0].chunks[0].startswith(b"data: {") and readers[0].chunks[0].endswith(b"}\n\n"))
        for end in ends:
            end()
        self.clock.advance(1)
        self.assertEqual([len(reader.chunks) for reader in readers], [2, 2, 2])

    def test_a_view_that_raises_is_logged_and_the_others_go_on(self) -> None:
        self.observed()
        self.views.ticking.functions.insert(0, lambda: 1 // 0)
        samples = len(self.overview.sampling.vehicles)
        self.clock.advance(1)
        self.assertEqual(len(self.overview.sampling.vehicles), samples + 1)
        self.assertEqual(len(self.log.fields_of("operations_failed")), 1)
