import io
import json
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fleetgw.simulator.conversation import Acked, Closed, Issued, NotOpened, Opened, Refused, Sent, Stray, Unreadable
from fleetgw.simulator.latency import LatencyHistogram
from fleetgw.simulator.report import as_json, as_tables
from fleetgw.simulator.tally import RecordCounts, Tally


class LatencyHistogramTests(TestCase):
    @given(st.lists(st.floats(2e-5, 1000), min_size=1), st.floats(0.01, 1.0))
    def test_quantiles_are_right_to_three_percent(self, latencies, fraction):
        histogram = LatencyHistogram()
        for latency_s in latencies:
            histogram.add(latency_s)
        quantile_s = histogram.quantile_s(fraction)
        below = sum(latency_s <= quantile_s for latency_s in latencies)
        self.assertGreaterEqual(below, fraction * len(latencies) - 1e-9)
        strictly_below = sum(latency_s < quantile_s / 1.03 for latency_s in latencies)
        self.assertLess(strictly_below, fraction * len(latencies))
        self.assertLessEqual(quantile_s, histogram.longest_s)

    def test_the_ends(self):
        histogram = LatencyHistogram()
        self.assertEqual(histogram.quantile_s(0.5), 0.0)
        histogram.add(0.0)
        self.assertEqual(histogram.quantile_s(0.5), 0.0)
        histogram.add(1e9)
        self.assertLess(1000.0, histogram.quantile_s(1.0))


class TallyTests(TestCase):
    def make(self):
        ids = io.StringIO()
        tally = Tally(ids=ids)
        tally.take(
            "VIN1", [Opened(again=False), Issued("V", b"a"), Sent("V", b"a", again=False), Sent("V", b"a", again=True)]
        )
        tally.take("VIN1", [Acked("V", b"a", 0.25), Stray(b"a"), Issued("alerts", b"b"), Sent("alerts", b"b", again=False)])
        tally.take("VIN1", [Refused("alerts", b"b"), Closed(1001, "bye", wanted=False), Opened(again=True)])
        tally.take("VIN2", [NotOpened(403, "no"), NotOpened(0, "refused"), Issued("V", b"c"), Unreadable(b"?")])
        return tally, ids

    def test_counts(self):
        tally, _ = self.make()
        self.assertEqual(tally.by_type["V"], RecordCounts(issued=2, sent=1, resent=1, acked=1, refused=0))
        self.assertEqual(tally.by_type["alerts"], RecordCounts(issued=1, sent=1, resent=0, acked=0, refused=1))
        self.assertEqual(tally.total(), RecordCounts(issued=3, sent=2, resent=1, acked=1, refused=1))
        self.assertEqual(tally.total().unacked, 1)
        self.assertEqual((tally.connects, tally.reconnects, tally.failed_connects, tally.connected_now), (2, 1, 2, 1))
        self.assertEqual((tally.strays, tally.unreadable), (1, 1))
        self.assertEqual(dict(tally.endings), {"closed: 1001 bye": 1, "not opened: 403 no": 1, "not opened: refused": 1})

    def test_ids(self):
        _, ids = self.make()
        lines = [json.loads(line) for line in ids.getvalue().splitlines()]
        self.assertEqual(
            [(line["event"], line["txid"], line["type"], line["vin"]) for line in lines],
            [
                ("issued", "a", "V", "VIN1"),
                ("acked", "a", "V", "VIN1"),
                ("issued", "b", "alerts", "VIN1"),
                ("refused", "b", "alerts", "VIN1"),
                ("issued", "c", "V", "VIN2"),
            ],
        )

    def test_reasons_are_bounded(self):
        tally = Tally()
        for number in range(1000):
            tally.take("VIN", [NotOpened(0, f"reason {number}")])
        self.assertLess(len(tally.endings), 30)
        self.assertEqual(tally.endings.total(), 1000)

    def test_a_wanted_end_needs_no_explanation(self):
        tally = Tally()
        tally.take("VIN", [Opened(again=False), Closed(1000, "", wanted=True)])
        self.assertEqual((tally.connected_now, dict(tally.endings)), (0, {}))

    def test_report(self):
        tally, _ = self.make()
        report = json.loads(json.dumps(as_json(tally, 2.0)))
        self.assertEqual(report["records"]["unacked"], 1)
        self.assertEqual(report["by_type"]["V"]["resent"], 1)
        self.assertEqual(report["rate_per_s"], 1.5)
        self.assertEqual(report["ack_latency_s"]["max"], 0.25)
        text = io.StringIO()
        console = Console(file=text, width=100)
        for table in as_tables(tally, 2.0):
            console.print(table)
        for expected in ("alerts", "250.0 ms", "2 / 1", "closed: 1001 bye"):
            self.assertIn(expected, text.getvalue())

    def test_report_of_nothing(self):
        report = as_json(Tally(), 0.0)
        self.assertEqual((report["rate_per_s"], report["records"]["issued"]), (0.0, 0))
        self.assertEqual(len(as_tables(Tally(), 0.0)), 2)
