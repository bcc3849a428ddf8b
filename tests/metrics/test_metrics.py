"""Metrics: both adapters under the contract, snapshots, and the text that Prometheus reads."""

import json
import re
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.store import Family, MetricStore
from fleetgw.domain import metrics as catalogue
from fleetgw.domain.distribution import Distribution
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import IMetrics
from tests.support.metrics_contract import COUNTED, MEASURED, SPREAD, MetricsContract
from tests.test_documentation import metric_names

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "metrics.json").read_text())


class NullMetricsTests(MetricsContract, SynchronousTestCase):
    def make_metrics(self) -> IMetrics:
        return NullMetrics()


class MetricStoreTests(MetricsContract, SynchronousTestCase):
    def make_metrics(self) -> IMetrics:
        return MetricStore()

    def test_a_snapshot_has_every_series_by_name_of_metric(self) -> None:
        store = MetricStore()
        self.assertEqual(store.snapshot(), [])
        store.gauge(MEASURED).set_to(2.5)
        counter = store.counter(COUNTED, record_type="V", dispatcher="kafka")
        store.counter(COUNTED, record_type="alerts", dispatcher="kafka")
        counter.add(3)
        taken = store.snapshot()
        expected = [
            Family(COUNTED, {("V", "kafka"): 3, ("alerts", "kafka"): 0}),
            Family(MEASURED, {(): 2.5}),
        ]
        self.assertEqual(taken, expected)
        counter.add(1)
        self.assertEqual(taken, expected)  # a snapshot stays as it was taken

    def test_hooks_run_before_each_snapshot(self) -> None:
        store = MetricStore()
        values = iter((1, 2))
        store.before_export(lambda: store.gauge(MEASURED).set_to(next(values)))
        self.assertEqual([family.series for _ in range(2) for family in store.snapshot()], [{(): 1}, {(): 2}])

    def test_a_frozen_store_keeps_the_last_values_and_calls_nobody(self) -> None:
        store = MetricStore()
        values, hooks = iter((1, 2)), iter((1,))
        store.gauge(MEASURED).measured_by(lambda: next(values))
        store.before_export(lambda: next(hooks) and None)
        store.freeze()
        self.assertEqual([family.series for _ in range(2) for family in store.snapshot()], [{(): 1}, {(): 1}])

    def test_a_histogram_counts_values_up_to_and_above_its_bounds(self) -> None:
        store = MetricStore()
        histogram = store.histogram(SPREAD, dispatcher="kafka")
        for value, count in ((0, 1), (0.25, 2), (0.5, 3), (2.5, 1), (2.6, 4)):
            histogram.observe(value, count)
        (family,) = store.snapshot()
        expected = Family(SPREAD, {}, {("kafka",): Distribution(SPREAD.buckets, (3, 3, 1, 4), 14.9)})
        self.assertEqual(family, expected)
        histogram.observe(1)
        self.assertEqual(family, expected)  # a snapshot stays as it was taken

    def test_a_gauge_is_set_changed_or_measured(self) -> None:
        store = MetricStore()
        gauge = store.gauge(MEASURED)
        measured = iter((7, 8))

        def value() -> float:
            (family,) = store.snapshot()
            return family.series[()]

        gauge.set_to(2.5)
        gauge.add(-4)
        self.assertEqual(value(), -1.5)
        gauge.measured_by(lambda: next(measured))
        self.assertEqual([value(), value()], [7, 8])
        gauge.set_to(3)
        self.assertEqual(value(), 3)

    def test_a_gauge_that_is_true_or_false_is_1_or_0(self) -> None:
        store = MetricStore()
        store.gauge(MEASURED).measured_by(lambda: True)
        self.assertEqual(PrometheusExporter(store, CollectorRegistry()).exposition().splitlines()[-1], b"measured 1")
        store.gauge(MEASURED).set_to(False)
        self.assertEqual(PrometheusExporter(store, CollectorRegistry()).exposition().splitlines()[-1], b"measured 0")


class CatalogueTests(SynchronousTestCase):
    def test_the_catalogue_has_the_go_server_s_kinds_and_labels(self) -> None:
        go = {case["name"]: (case["type"], set(case["labels"])) for case in VECTORS["cases"]}
        ours = {m.name: (m.kind.value, set(m.labels)) for m in vars(catalogue).values() if isinstance(m, Metric)}
        shared = ours.keys() & go.keys()
        self.assertGreater(len(shared), 12)
        self.assertEqual({name: ours[name] for name in shared}, {name: go[name] for name in shared})

    def test_every_metric_of_the_go_server_is_there(self) -> None:
        made = metric_names()
        sinks = ("kafka", "kinesis", "pubsub", "zmq", "mqtt", "redis")
        ours = {name.replace("S", sink, 1) if name.startswith("S_") else name for name in made for sink in sinks}
        self.assertEqual({case["name"] for case in VECTORS["cases"]} - ours, set())


class ExpositionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = MetricStore()
        self.exporter = PrometheusExporter(self.metrics, CollectorRegistry())

    def lines(self) -> list[str]:
        return self.exporter.exposition().decode().splitlines()

    def test_the_text_is_empty_before_the_first_series(self) -> None:
        self.assertEqual(self.lines(), [])

    def test_the_go_server_s_samples(self) -> None:
        """Counting the Go server's samples gives the same lines, apart from help texts."""
        metrics = {
            case["name"]: Metric(case["name"], Kind(case["type"]), "Some help.", tuple(case["labels"]))
            for case in VECTORS["cases"]
        }
        compared = set()
        for sample in VECTORS["samples"].values():
            for key, texts in sample.items():
                if not (key.startswith("after") and texts):
                    continue
                ours = MetricStore()
                texts = [line.replace("<n>", "1.5") for line in texts]
                # Not prometheus-client's parser: it appends _total to names of counters.
                for line in (line for line in texts if not line.startswith("#")):
                    name, labels_text, value = re.fullmatch(r"(\w+)(?:{(.*)})? (.*)", line).groups()
                    labels = dict(re.findall(r'(\w+)="([^"]*)"', labels_text or ""))
                    if metrics[name].kind is Kind.COUNTER:
                        ours.counter(metrics[name], **labels).add(json.loads(value))
                    else:
                        ours.gauge(metrics[name], **labels).set_to(json.loads(value))
                    compared.add(name)
                text = PrometheusExporter(ours, CollectorRegistry()).exposition().decode()
                lines = [line for line in text.split("\n") if line and not line.startswith("# HELP")]
                self.assertEqual(lines, texts, key)
        self.assertGreaterEqual(compared, {"reliable_ack", "kafka_produce_total_bytes", "num_connections"})

    def test_whole_text(self) -> None:
        gauge = self.metrics.gauge(MEASURED)
        self.metrics.counter(COUNTED, record_type="alerts", dispatcher="kafka")
        kafka = self.metrics.counter(COUNTED, record_type="V", dispatcher="kafka")
        kafka.add(2)
        kafka.add(3)
        gauge.set_to(7)
        gauge.set_to(1.25)
        self.assertEqual(
            self.lines(),
            [
                "# HELP counted Things counted.",
                "# TYPE counted counter",
                'counted{dispatcher="kafka",record_type="V"} 5',
                'counted{dispatcher="kafka",record_type="alerts"} 0',
                "# HELP measured A thing measured.",
                "# TYPE measured gauge",
                "measured 1.25",
            ],
        )

    def test_a_histogram(self) -> None:
        self.metrics.histogram(SPREAD, dispatcher="mqtt")
        kafka = self.metrics.histogram(SPREAD, dispatcher="kafka")
        kafka.observe(0.25)
        kafka.observe(2, 3)
        kafka.observe(70)
        self.assertEqual(
            self.lines()[:8],
            [
                "# HELP spread How long things took.",
                "# TYPE spread histogram",
                'spread_bucket{dispatcher="kafka",le="0.25"} 1',
                'spread_bucket{dispatcher="kafka",le="1"} 1',
                'spread_bucket{dispatcher="kafka",le="2.5"} 4',
                'spread_bucket{dispatcher="kafka",le="+Inf"} 5',
                'spread_sum{dispatcher="kafka"} 76.25',
                'spread_count{dispatcher="kafka"} 5',
            ],
        )
        (family,) = text_string_to_metric_families(self.exporter.exposition().decode())
        self.assertEqual((family.name, family.type, len(family.samples)), ("spread", "histogram", 12))

    def test_values_that_are_no_finite_number(self) -> None:
        shown = []
        for value in (float("nan"), float("inf"), float("-inf"), 1e300):
            self.metrics.gauge(MEASURED).set_to(value)
            shown.append(self.lines()[-1])
        self.assertEqual(shown, ["measured NaN", "measured +Inf", "measured -Inf", "measured 1e+300"])

    def test_labels_and_help_that_need_escapes(self) -> None:
        metric = Metric("m", Kind.COUNTER, "a\\b\nc", ("type",))
        values = ['quo"te', "back\\slash", "line\nfeed", "\x05", "тип"]
        for value in values:
            self.metrics.counter(metric, type=value).add(1)
        self.assertEqual(self.exporter.exposition().split(b"\n")[0], b"# HELP m a\\\\b\\nc")
        (family,) = text_string_to_metric_families(self.exporter.exposition().decode())
        self.assertEqual({sample.labels["type"] for sample in family.samples}, set(values))

    def test_a_label_that_was_no_utf8_is_shown(self) -> None:
        metric = Metric("m", Kind.COUNTER, "h", ("type",))
        self.metrics.counter(metric, type=b"\xff".decode("utf-8", "surrogateescape")).add(1)
        self.assertEqual(self.lines()[-1], 'm{type="?"} 1')

    def test_two_metrics_of_one_name_are_refused(self) -> None:
        self.metrics.gauge(MEASURED)
        for other in (
            Metric(MEASURED.name, Kind.COUNTER, MEASURED.help),
            Metric(MEASURED.name, Kind.GAUGE, MEASURED.help, ("vin",)),
        ):
            lookup = self.metrics.counter if other.kind is Kind.COUNTER else self.metrics.gauge
            with self.subTest(other=other), self.assertRaisesRegex(ValueError, "measured is there already"):
                lookup(other, **dict.fromkeys(other.labels, "x"))

    def test_process_and_collector_figures_come_by_default_from_a_registry_of_its_own(self) -> None:
        before = set(REGISTRY._names_to_collectors)
        for _ in range(2):  # twice: nothing global that a second gateway in the process would run into
            metrics = MetricStore()
            metrics.gauge(MEASURED)
            text = PrometheusExporter(metrics).exposition().decode()
            families = {family.name for family in text_string_to_metric_families(text)}
            self.assertGreaterEqual(families, {"measured", "process_resident_memory_bytes", "python_gc_collections"})
        self.assertEqual(set(REGISTRY._names_to_collectors), before)
