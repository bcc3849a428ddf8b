"""The contract of ``IMetrics``, as tests."""

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import ICounter, IGauge, IHistogram, IMetrics

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # a mixin: the contract alone is no test

COUNTED = Metric("counted", Kind.COUNTER, "Things counted.", ("record_type", "dispatcher"))
MEASURED = Metric("measured", Kind.GAUGE, "A thing measured.")
SPREAD = Metric("spread", Kind.HISTOGRAM, "How long things took.", ("dispatcher",), (0.25, 1, 2.5))


class MetricsContract(TestCase):
    """Mix into a TestCase and give ``make_metrics``."""

    def make_metrics(self) -> IMetrics:
        """New metrics without counts."""
        raise NotImplementedError

    def test_provides_the_interfaces(self) -> None:
        metrics = self.make_metrics()
        verifyObject(IMetrics, metrics)
        verifyObject(ICounter, metrics.counter(COUNTED, record_type="V", dispatcher="kafka"))
        verifyObject(IGauge, metrics.gauge(MEASURED))
        verifyObject(IHistogram, metrics.histogram(SPREAD, dispatcher="kafka"))

    def test_the_same_labels_give_the_same_series(self) -> None:
        metrics = self.make_metrics()
        counter = metrics.counter(COUNTED, record_type="V", dispatcher="kafka")
        self.assertIs(counter, metrics.counter(COUNTED, dispatcher="kafka", record_type="V"))
        self.assertIs(metrics.gauge(MEASURED), metrics.gauge(MEASURED))
        self.assertIs(metrics.histogram(SPREAD, dispatcher="k"), metrics.histogram(SPREAD, dispatcher="k"))

    def test_numbers_are_taken(self) -> None:
        metrics = self.make_metrics()
        counter = metrics.counter(COUNTED, record_type="V", dispatcher="kafka")
        counter.add(0)
        counter.add(2**40)
        gauge = metrics.gauge(MEASURED)
        gauge.set_to(-1.5)
        gauge.set_to(3)
        gauge.add(-5)
        gauge.measured_by(lambda: 7)
        histogram = metrics.histogram(SPREAD, dispatcher="kafka")
        histogram.observe(0)
        histogram.observe(1.5, 2**40)

    def test_a_metric_of_the_other_kind_is_refused(self) -> None:
        metrics = self.make_metrics()
        with self.assertRaisesRegex(ValueError, "measured is a gauge"):
            metrics.counter(MEASURED)
        with self.assertRaisesRegex(ValueError, "counted is a counter"):
            metrics.gauge(COUNTED, record_type="V", dispatcher="kafka")
        with self.assertRaisesRegex(ValueError, "spread is a histogram"):
            metrics.gauge(SPREAD, dispatcher="kafka")
        with self.assertRaisesRegex(ValueError, "counted is a counter"):
            metrics.histogram(COUNTED, record_type="V", dispatcher="kafka")

    def test_other_labels_are_refused(self) -> None:
        metrics = self.make_metrics()
        for labels in ({}, {"record_type": "V"}, {"record_type": "V", "dispatcher": "k", "vin": "x"}, {"a": "b", "c": "d"}):
            with self.subTest(labels=labels), self.assertRaisesRegex(ValueError, "counted has the labels"):
                metrics.counter(COUNTED, **labels)
        with self.assertRaisesRegex(ValueError, "measured has the labels"):
            metrics.gauge(MEASURED, vin="x")
        with self.assertRaisesRegex(ValueError, "spread has the labels"):
            metrics.histogram(SPREAD)
