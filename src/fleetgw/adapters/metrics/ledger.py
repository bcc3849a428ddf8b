"""Reads the ledger from metrics: from the store, or from the text that Prometheus scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from fleetgw.domain.ledger import LEDGER_METRICS, Sample, read_ledger

if TYPE_CHECKING:
    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.domain.ledger import Ledger


def ledger_of(store: MetricStore) -> Ledger:
    """The accounts of this process now.

    :raises NoLedger: no gateway has been made with the store.
    """
    return read_ledger(
        Sample(family.metric.name, dict(zip(family.metric.labels, values, strict=True)), value)
        for family in map(store.family, LEDGER_METRICS)
        for values, value in family.series.items()
    )


def ledger_of_page(page: str) -> Ledger:
    """The accounts on a gateway's metrics page.

    :raises NoLedger: the page has none.
    :raises ValueError: it is not in Prometheus' text format.
    """
    return read_ledger(
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    )
