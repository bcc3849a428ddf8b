"""The overview: the figures of a gateway that fit on one screen."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from attrs import asdict, define, field

from fleetgw.adapters.metrics.ledger import ledger_of
from fleetgw.app.operations.sampling import RATE_S, WINDOW_S
from fleetgw.app.operations.ticking import INTERVAL_S
from fleetgw.domain.gateway_status import GatewayStatus, RecordTypeStatus, SinkStatus, SpoolStatus
from fleetgw.domain.ledger import imbalances
from fleetgw.domain.metrics import (
    CONNECTIONS_REFUSED_TOTAL,
    LANE_CAPACITY_RECORDS,
    LANE_HELD_RECORDS,
    LANE_UNREAD_POSITIONS,
    SIGNAL_COUNT,
    SPOOL_MAX_BYTES,
    SPOOL_SECONDS_UNTIL_FULL,
    SPOOL_SIZE_BYTES,
    TLS_HANDSHAKE_ERROR_TOTAL,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.app.operations.health import HealthView
    from fleetgw.app.operations.sampling import Sampling
    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.domain.ledger import Ledger
    from fleetgw.domain.metrics import Metric

    Json = Mapping[str, object]


@define(eq=False)
class Overview:
    """Makes the overview, and the same figures for ``gateway_status`` records.

    :ivar host: the name of the machine.
    :ivar hot_path: the language of the hot path.
    :ivar health: returns the health now.
    :ivar wall_ns: epoch nanoseconds.
    """

    version: str
    host: str
    hot_path: str
    sessions: SessionContext
    sampling: Sampling
    store: MetricStore
    health: Callable[[], HealthView]
    wall_ns: Callable[[], int]
    _began_s: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began_s = self.sessions.monotonic()

    def status(self) -> GatewayStatus:
        """The figures now; rates are those of the last sample."""
        return self._status(ledger_of(self.store), self.health())

    def _status(self, ledger: Ledger, health: HealthView) -> GatewayStatus:
        connected = self.sessions.connected
        return GatewayStatus(
            host=self.host,
            version=self.version,
            uptime_s=int(self.sessions.monotonic() - self._began_s),
            health=health["state"],
            reasons=[each["reason"] for each in health["reasons"]],
            vehicles=len(connected.known.connected),
            connections=connected.connections,
            paused=len(self.sessions.paused.queues),
            records=self._records(),
            sinks=[self._sink(state, ledger) for state in health["sinks"]],
            is_balanced=not imbalances(ledger),
            lost=ledger.lost,
            spool=self._spool(),
        )

    def view(self) -> Json:
        """The overview as JSON values."""
        ledger, health, sampling = ledger_of(self.store), self.health(), self.sampling
        status = self._status(ledger, health)
        refused = sampling.sums(CONNECTIONS_REFUSED_TOTAL, "reason", listener="vehicles")
        return {
            "version": self.version,
            "hot_path": self.hot_path,
            "host": self.host,
            "now_ms": self.wall_ns() // 1_000_000,
            "uptime_s": status.uptime_s,
            "health": {"state": status.health, "reasons": status.reasons},
            "vehicles": {"connected": status.vehicles, "connections": status.connections, "paused": status.paused},
            "records": [{"type": each.record_type, **_without(asdict(each), "record_type")} for each in status.records],
            "ack_latency_ms": self._ack_latency_ms(),
            "sinks": [
                {
                    **asdict(sink),
                    "reason": sink.reason or None,
                    **{key: state.get(key) for key in ("fix", "since_ms", "types")},
                }
                for sink, state in zip(status.sinks, health["sinks"], strict=True)
            ],
            "spool": None if status.spool is None else {**asdict(status.spool), "seconds_until_full": self._until_full_s()},
            "ledger": ledger_view(ledger),
            "refusals": {"connections": refused, "handshakes": sampling.sums(TLS_HANDSHAKE_ERROR_TOTAL, "reason")},
            "certificates": health["certificates"],
            "history": {
                "interval_s": INTERVAL_S,
                "received_per_s": [*sampling.received_per_s],
                "acked_per_s": [*sampling.acked_per_s],
                "vehicles": [*sampling.vehicles],
            },
            "history_by_type": {
                "interval_s": RATE_S,
                "types": {each.record_type: self._history_of(each.record_type) for each in status.records},
            },
        }

    def _history_of(self, record_type: str) -> Json:
        by_type = self.sampling.by_type
        return {
            "received_per_s": [received.get(record_type) for received, _ in by_type],
            "acked_per_s": [acked.get(record_type) for _, acked in by_type],
        }

    def _records(self) -> Sequence[RecordTypeStatus]:
        sampling, signals = self.sampling, self.sampling.sums(SIGNAL_COUNT, "record_type")
        latest = sampling.latest
        received_per_s = sampling.rates(lambda sample: sample.received)
        acked_per_s = sampling.rates(lambda sample: sample.acked)
        return [
            RecordTypeStatus(
                record_type,
                total,
                latest.acked.get(record_type, 0),
                received_per_s.get(record_type, 0.0),
                acked_per_s.get(record_type, 0.0),
                signals.get(record_type, 0),
            )
            for record_type, total in sorted(latest.received.items())
            if total
        ]

    def _sink(self, state: Json, ledger: Ledger) -> SinkStatus:
        name = str(state["name"])
        accounts = [account for (_, sink), account in ledger.sinks.items() if sink == name]
        return SinkStatus(
            name=name,
            state=str(state["state"]),
            reason=str(state["reason"] or ""),
            held=self.sampling.sums(LANE_HELD_RECORDS, "dispatcher").get(name, 0),
            capacity=self.sampling.sums(LANE_CAPACITY_RECORDS, "dispatcher").get(name, 0),
            delivered_total=sum(account.delivered for account in accounts),
            delivered_per_s=self.sampling.rates(lambda sample: sample.delivered).get(name, 0.0),
            retried_total=sum(account.retried for account in accounts),
            dead_letters_total=sum(account.dead_letters.total() for account in accounts),
        )

    def _spool(self) -> SpoolStatus | None:
        size_bytes, max_bytes = self._gauge(SPOOL_SIZE_BYTES), self._gauge(SPOOL_MAX_BYTES)
        if size_bytes is None or max_bytes is None:
            return None
        unread = max(self.sampling.sums(LANE_UNREAD_POSITIONS, "dispatcher").values(), default=0)
        return SpoolStatus(int(size_bytes), int(max_bytes), unread)

    def _until_full_s(self) -> int | None:
        seconds = self._gauge(SPOOL_SECONDS_UNTIL_FULL)
        return int(seconds) if seconds is not None and isfinite(seconds) else None

    def _gauge(self, metric: Metric) -> float | None:
        """The value of a metric without labels; None where it is not measured."""
        return self.store.family(metric).series.get(())

    def _ack_latency_ms(self) -> Json:
        latency = self.sampling.ack_latency()
        quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        if latency is None or not latency.count:
            return {**dict.fromkeys(quantiles), "window_s": WINDOW_S}
        in_ms = {name: round(latency.quantile(fraction) * 1000, 1) for name, fraction in quantiles.items()}
        return {**in_ms, "window_s": WINDOW_S}


def _without(members: Json, name: str) -> Json:
    return {key: value for key, value in members.items() if key != name}


def ledger_view(ledger: Ledger) -> Json:
    """The books: whether they balance, and the accounts."""
    problems = [str(each) for each in imbalances(ledger)]
    return {
        "balanced": not problems,
        "lost": ledger.lost,
        "problems": problems,
        "from_vehicles": [
            {
                "type": each.record_type,
                "received": each.received,
                "acked": each.acked,
                "duplicates": each.duplicates,
                "unacked": each.unacked.total(),
                "awaiting": each.awaiting,
            }
            for each in ledger.types.values()
            if each.received
        ],
        "to_sinks": [
            {
                "type": each.record_type,
                "sink": each.sink,
                "taken": each.taken,
                "delivered": each.delivered,
                "dead_letters": each.dead_letters.total(),
                "unheard": each.unheard,
                "given_up": each.given_up,
                "held": each.held,
                "spooled": each.spooled,
                "refused": each.refused,
                "lost": each.lost.total(),
            }
            for each in ledger.sinks.values()
        ],
    }
