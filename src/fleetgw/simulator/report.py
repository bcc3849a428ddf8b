"""The report of a run, as JSON and as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import asdict
from rich.table import Table
from rich.text import Text

from fleetgw.adapters.text.terminal import printable

if TYPE_CHECKING:
    from fleetgw.simulator.tally import RecordCounts, Tally

_COLUMNS = ("issued", "sent", "resent", "acked", "refused", "unacked")


def as_json(tally: Tally, sending_s: float) -> dict[str, object]:
    """The report as a JSON object; times in seconds.

    :param sending_s: seconds in which records were issued.
    """
    latency = tally.latency
    return {
        "records": _counts(tally.total()),
        "by_type": {record_type: _counts(counts) for record_type, counts in sorted(tally.by_type.items())},
        "sending_s": sending_s,
        "rate_per_s": tally.total().issued / sending_s if sending_s else 0.0,
        "ack_latency_s": {"p50": latency.quantile_s(0.5), "p99": latency.quantile_s(0.99), "max": latency.longest_s},
        "connects": tally.connects,
        "reconnects": tally.reconnects,
        "failed_connects": tally.failed_connects,
        "stray_answers": tally.strays,
        "unreadable_answers": tally.unreadable,
        "connection_endings": dict(tally.endings),
    }


def as_tables(tally: Tally, sending_s: float) -> list[Table]:
    """The report as tables for a terminal."""
    records = Table("record type", title="Records")
    for column in _COLUMNS:
        records.add_column(column, justify="right")
    rows = sorted(tally.by_type.items())
    for record_type, counts in rows:
        records.add_row(record_type, *_cells(counts))
    if len(rows) != 1:
        records.add_section()
        records.add_row("all", *_cells(tally.total()))

    run = Table(title="Run", show_header=False)
    run.add_column()
    run.add_column(justify="right")
    latency = tally.latency
    rate = tally.total().issued / sending_s if sending_s else 0.0
    run.add_row("records per second", f"{rate:.1f} over {sending_s:.1f} s")
    for name, latency_s in (
        ("p50", latency.quantile_s(0.5)),
        ("p99", latency.quantile_s(0.99)),
        ("max", latency.longest_s),
    ):
        run.add_row(f"ack latency {name}", f"{latency_s * 1000:.1f} ms")
    run.add_row("connects / reconnects", f"{tally.connects} / {tally.reconnects}")
    for name, number in (
        ("connects that failed", tally.failed_connects),
        ("answers nobody waited for", tally.strays),
        ("unreadable answers", tally.unreadable),
    ):
        if number:
            run.add_row(name, str(number))
    tables = [records, run]
    if tally.endings:
        endings = Table("why", title="Connections lost or never opened")
        endings.add_column("times", justify="right")
        for why, times in tally.endings.most_common():
            endings.add_row(Text(printable(why)), str(times))  # partly the server's text
        tables.append(endings)
    return tables


def _counts(counts: RecordCounts) -> dict[str, int]:
    return {**asdict(counts), "unacked": counts.unacked}


def _cells(counts: RecordCounts) -> list[str]:
    return [f"{getattr(counts, column):,}" for column in _COLUMNS]
