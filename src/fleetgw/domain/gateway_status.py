"""The gateway's own figures, as its ``gateway_status`` records carry them."""

from collections.abc import Sequence

from attrs import frozen

GATEWAY_STATUS = "gateway_status"
"""The record type. Only the gateway makes such records; a vehicle's are refused."""

OWN_TYPES = ("connectivity", GATEWAY_STATUS)
"""The types of the records that the gateway makes itself; nobody waits for an acknowledgement of them."""


@frozen
class RecordTypeStatus:
    """The figures of one record type, since the start of the process.

    :ivar received_per_s: over the last 5 seconds, as is ``acked_per_s``.
    """

    record_type: str
    received_total: int
    acked_total: int
    received_per_s: float
    acked_per_s: float
    signals_total: int


@frozen
class SinkStatus:
    """The figures of one sink, over all record types.

    :ivar state: ``ready`` or ``not_ready``.
    :ivar reason: empty while the sink is ready.
    :ivar held: records in its queue, in flight and to be retried.
    :ivar capacity: largest number of records in its queue.
    """

    name: str
    state: str
    reason: str
    held: int
    capacity: int
    delivered_total: int
    delivered_per_s: float
    retried_total: int
    dead_letters_total: int


@frozen
class SpoolStatus:
    """The size of the spool.

    :ivar unread: positions that the slowest sink has not read.
    """

    size_bytes: int
    max_bytes: int
    unread: int


@frozen
class GatewayStatus:
    """All figures of one moment.

    :ivar host: the name of the machine.
    :ivar version: of the gateway.
    :ivar health: ``ok``, ``degraded``, ``not_ready``, ``starting`` or ``draining``.
    :ivar reasons: the reasons for a health other than ``ok``.
    :ivar vehicles: number of connected vehicles; each may have several ``connections``, and may be ``paused``.
    :ivar is_balanced: whether the ledger's equations hold.
    :ivar lost: records that were acknowledged, and neither delivered nor kept.
    :ivar spool: None without a spool.
    """

    host: str
    version: str
    uptime_s: int
    health: str
    reasons: Sequence[str]
    vehicles: int
    connections: int
    paused: int
    records: Sequence[RecordTypeStatus]
    sinks: Sequence[SinkStatus]
    is_balanced: bool
    lost: int
    spool: SpoolStatus | None
