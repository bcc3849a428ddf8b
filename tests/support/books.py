"""The check of the ledger that tests end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.metrics.ledger import ledger_of
from fleetgw.domain.ledger import Ledger, imbalances
from fleetgw.domain.metrics import ACK_LATENCY_SECONDS

if TYPE_CHECKING:
    from fleetgw.adapters.metrics.store import MetricStore


def assert_balanced(books: MetricStore | Ledger, *, lost: int = 0) -> Ledger:
    """Check that the books of a gateway balance, at any time between two turns of the reactor.

    :param books: the gateway's metrics, or the ledger read from its page (``ledger_of_page``).
    :param lost: the number of acknowledged records that must be lost, exactly.
    :return: the ledger, to look at accounts.
    :raises AssertionError: names the equations that do not hold, or the losses.
    :raises NoLedger: no gateway has been made with these metrics.
    """
    ledger = books if isinstance(books, Ledger) else ledger_of(books)
    off = imbalances(ledger)
    if off:
        raise AssertionError("the books do not balance:\n" + "\n".join(map(str, off)))
    if ledger.lost != lost:
        losses = {f"{record_type} to {sink}": dict(each.lost) for (record_type, sink), each in ledger.sinks.items()}
        raise AssertionError(f"{ledger.lost} records are lost, not {lost}: {losses}")
    if not isinstance(books, Ledger):
        _assert_every_ack_has_its_latency(books, ledger)
    return ledger


def _assert_every_ack_has_its_latency(store: MetricStore, ledger: Ledger) -> None:
    counts = {
        record_type: distribution.count
        for family in store.snapshot()
        if family.metric == ACK_LATENCY_SECONDS
        for (record_type,), distribution in family.distributions.items()
    }
    acked = {record_type: account.acked for record_type, account in ledger.types.items()}
    if counts != acked:
        raise AssertionError(f"records acked: {acked}; in the histogram of latencies: {counts}")
