"""Snapshots of the store as lines of the StatsD protocol, and lines as datagrams."""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING

from fleetgw.domain.metrics import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fleetgw.adapters.metrics.store import MetricStore

DATAGRAM_BYTES = 1432
"""Size of a datagram that fits into one Ethernet frame with every header. A longer line has a datagram of its own."""

_SEPARATORS = re.compile(r"[\s,=:|@#;]")


class StatsdLines:
    """Turns snapshots into lines: increments of counters, and gauges that have changed.

    A histogram is sent as Prometheus shows it, by counters: ``<name>_bucket`` with the tag ``le``, ``<name>_count`` and
    ``<name>_sum``. The sum is in whole units, as Telegraf cuts off decimals; the remainder is sent with later increments.
    Timers of StatsD would need a line for each value.

    Tags are part of the name, as the Go server writes them (InfluxDB's format): ``prefix.name,label=value:1|c``.

    :param prefix: of every name, used as it is, such as ``fleet.``.
    :param sample_rate: the probability, above 0 and at most 1, that a flush sends a counter's increment.
    :param draw: a random number from 0 to below 1.
    """

    def __init__(self, prefix: str, sample_rate: float = 1.0, draw: Callable[[], float] = random.random) -> None:
        self._prefix = prefix
        self._sample_rate = sample_rate
        self._sample_mark = f"|@{sample_rate:g}" if sample_rate < 1 else ""
        self._draw = draw
        self._names: dict[tuple[str, tuple[str, ...]], str] = {}
        self._sent: dict[tuple[str, tuple[str, ...]], float] = {}

    def flush(self, store: MetricStore, *, every_gauge: bool) -> Iterator[bytes]:
        """Lines of the changes since the last flush.

        :param every_gauge: whether to include the gauges that have not changed.
        """
        for family in store.snapshot():
            metric = family.metric
            is_gauge = metric.kind is Kind.GAUGE
            for values, number in family.series.items():
                yield from self._changed(metric.name, metric.labels, values, number, is_gauge=is_gauge, resend=every_gauge)
            for values, distribution in family.distributions.items():
                labels = *metric.labels, "le"
                for bound, count in distribution.cumulative():
                    yield from self._changed(f"{metric.name}_bucket", labels, (*values, bound), count)
                for suffix, total in (("count", distribution.count), ("sum", int(distribution.sum))):
                    yield from self._changed(f"{metric.name}_{suffix}", metric.labels, values, total)

    def _changed(
        self,
        name: str,
        labels: tuple[str, ...],
        values: tuple[str, ...],
        number: float,
        *,
        is_gauge: bool = False,
        resend: bool = False,
    ) -> Iterator[bytes]:
        """Lines of one series: none when its number is the one that was sent, unless it is a gauge to resend."""
        key = name, values
        before = self._sent.get(key)
        if number == (before or 0) and not (is_gauge and (before is None or resend)):
            return
        self._sent[key] = number
        full_name = self._names.get(key) or self._names.setdefault(key, _name(self._prefix, name, labels, values))
        if is_gauge:
            yield from _gauge_lines(full_name, number)
        elif self._sample_rate >= 1 or self._draw() < self._sample_rate:
            yield f"{full_name}:{number - (before or 0)}|c{self._sample_mark}".encode()


def _name(prefix: str, name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    tags = "".join(f",{label}={_SEPARATORS.sub('_', value)}" for label, value in zip(labels, values, strict=True))
    # A label value that was not UTF-8 has surrogates.
    return f"{prefix}{name}{tags}".encode("utf-8", "replace").decode()


def _gauge_lines(name: str, number: float) -> Iterator[bytes]:
    if not math.isfinite(number):
        return  # StatsD cannot express NaN and infinities
    if number < 0:
        yield f"{name}:0|g".encode()  # a number with a sign would be added to the gauge
    yield f"{name}:{number}|g".encode()


def datagrams(lines: Iterable[bytes], size_bytes: int = DATAGRAM_BYTES) -> Iterator[bytes]:
    """Join lines with line feeds into datagrams of at most ``size_bytes``."""
    joined = b""
    for line in lines:
        if joined and len(joined) + 1 + len(line) > size_bytes:
            yield joined
            joined = b""
        joined = joined + b"\n" + line if joined else line
    if joined:
        yield joined
