"""The figures of the process are those of prometheus-client."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import TestCase

from prometheus_client import CollectorRegistry, ProcessCollector

from fleetgw.adapters.metrics.process_figures import ProcessFigures, open_descriptors

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


def figures(collector: Collector) -> dict[tuple[str, str, str], float]:
    """Names, types and texts of metrics, with their values."""
    return {
        (sample.name, metric.type, metric.documentation): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


class ProcessFiguresTests(TestCase):
    def test_they_are_those_of_prometheus_client(self) -> None:
        theirs, ours = figures(ProcessCollector(registry=CollectorRegistry())), figures(ProcessFigures())
        self.assertEqual(list(ours), list(theirs))
        for (name, _, _), value in ours.items():
            other = next(number for (known, _, _), number in theirs.items() if known == name)
            self.assertAlmostEqual(value / other, 1, delta=0.2, msg=name)

    def test_every_descriptor_counts(self) -> None:
        folder = Path("/proc/self/fd")
        before = open_descriptors(folder)
        more = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
        self.assertEqual(open_descriptors(folder), before + 20)
        for descriptor in more:
            os.close(descriptor)

    def test_a_kernel_that_does_not_know_their_number(self) -> None:
        """As those before 6.2, whose folder has the size 0."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in range(3):
                (folder / str(number)).touch()

            class Sizeless(type(folder)):  # type: ignore[misc]  # the platform's own class
                def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
                    return os.stat_result((0,) * 10)

            self.assertEqual(open_descriptors(Sizeless(folder)), 3)
