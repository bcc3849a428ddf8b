"""Form of the answer of ``/api/overview``; members that it lacks are ignored, and those that the answer lacks are empty."""

from __future__ import annotations

from msgspec import Struct


class _Part(Struct, frozen=True, kw_only=True):
    """A part of the overview."""


class Health(_Part, frozen=True):
    """The gateway's state, with reasons where it is not ``ok``."""

    state: str
    reasons: list[str] = []


class Presence(_Part, frozen=True):
    """Numbers of connected vehicles, of their connections, and of those whose reading is paused."""

    connected: int = 0
    connections: int = 0
    paused: int = 0


class RecordType(_Part, frozen=True):
    """Records of one type since the gateway's start, and rates of the last seconds."""

    type: str
    received_total: int = 0
    acked_total: int = 0
    received_per_s: float | None = None
    acked_per_s: float | None = None
    signals_total: int | None = None


class AckLatency(_Part, frozen=True):
    """Percentiles of the time from a record's arrival to its acknowledgement, in milliseconds."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Sink(_Part, frozen=True):
    """One sink, and the lane before it."""

    name: str
    state: str
    reason: str | None = None
    fix: str | None = None
    since_ms: float | None = None
    held: int = 0
    capacity: int | None = None
    delivered_total: int = 0
    delivered_per_s: float | None = None
    retried_total: int = 0
    dead_letters_total: int = 0


class Spool(_Part, frozen=True):
    """The durable queue on disk."""

    size_bytes: int
    max_bytes: int | None = None
    seconds_until_full: float | None = None
    unread: int | None = None


class VehicleAccount(_Part, frozen=True):
    """Numbers of records of one type that are not acknowledged: for good, and so far."""

    unacked: int = 0
    awaiting: int = 0


class LedgerState(_Part, frozen=True):
    """The result of the check of the books."""

    balanced: bool = True
    lost: int = 0
    problems: list[str] = []
    from_vehicles: list[VehicleAccount] = []


class Refusals(_Part, frozen=True):
    """Numbers of refusals by reason."""

    connections: dict[str, int] = {}
    handshakes: dict[str, int] = {}


class Certificate(_Part, frozen=True):
    """One certificate of the gateway."""

    name: str
    state: str
    days_left: float | None = None


class History(_Part, frozen=True):
    """The last minutes, the latest value last."""

    interval_s: float = 1.0
    received_per_s: list[float | None] = []


class Overview(_Part, frozen=True):
    """The whole answer."""

    version: str
    now_ms: float
    uptime_s: float
    health: Health
    hot_path: str = ""
    host: str = ""
    vehicles: Presence = Presence()
    records: list[RecordType] = []
    ack_latency_ms: AckLatency | None = None
    sinks: list[Sink] = []
    spool: Spool | None = None
    ledger: LedgerState = LedgerState()
    refusals: Refusals = Refusals()
    certificates: list[Certificate] = []
    history: History = History()
