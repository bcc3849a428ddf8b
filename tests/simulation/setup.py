"""The random configuration of one history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.lane import LaneTiming
from fleetgw.domain.delivery.limits import BacklogLimits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

SINKS = ("kafka", "mqtt", "redis")
TYPES = ("speed", "doors", "trips")
PAYLOAD_BYTES = (20, 200, 1500)

FAULTS = (
    "retryable",
    "duplicate",
    "not_connected",
    "rejected",
    "unheard",
    "raises",
    "fails",
    "malformed",
    "hangs",
    "slow",
    "crash",
    "restart",
    "clock",
    "deaf",
)
"""The faults of sinks, processes, clocks and connections. Each history has some of them: fewer faults go deeper."""


@frozen
class Setup:
    """The configuration of one history.

    :ivar records: sinks by record type.
    :ivar policies: texts of ack policies by record type.
    :ivar memory_bytes: the ceiling of all queues together.
    :ivar faults: names in ``FAULTS``.
    :ivar resend_s: a vehicle sends a record again when it has waited so long for its acknowledgement.
    """

    records: Mapping[str, tuple[str, ...]]
    policies: Mapping[str, str]
    limits: BacklogLimits
    timing: LaneTiming
    memory_bytes: int
    rate_limit: RateLimit | None
    refuse_unrouted: bool
    debounce_s: float
    faults: tuple[str, ...]
    vehicles: int
    resend_s: float


def random_setup(random: Random) -> Setup:
    """Draw a configuration."""
    sinks = SINKS[: random.randint(1, len(SINKS))]
    records: dict[str, tuple[str, ...]] = {}
    policies: dict[str, str] = {}
    for record_type in TYPES[: random.randint(1, len(TYPES))]:
        records[record_type] = routed = tuple(random.sample(sinks, random.randint(1, len(sinks))))
        policies[record_type] = random_policy(random, routed)
    if random.random() < 0.5:
        records["connectivity"] = (sinks[0],)
    return Setup(
        records,
        policies,
        _limits(random),
        LaneTiming(0.005, random.choice([0.1, 0.5]), random.choice([0.5, 4.0]), 10.0),
        random.choice([20_000, 60_000, 10**9]),
        RateLimit(random.choice([3, 20]), 1.0) if random.random() < 0.1 else None,
        random.random() < 0.5,
        random.choice([0.0, 1.0]),
        tuple(random.sample(FAULTS, random.randint(0, len(FAULTS)))),
        random.randint(1, 3),
        random.choice([0.5, 3.0]),
    )


def random_policy(random: Random, sinks: tuple[str, ...]) -> str:
    """Draw an ack policy for a type with these sinks."""
    kind = random.choice(["accepted", "all", "any", "sink", "expression", "expression"])
    if kind == "sink":
        return random.choice(sinks)
    return _expression(random, sinks, 0) if kind == "expression" else kind


def _expression(random: Random, sinks: tuple[str, ...], depth: int) -> str:
    if depth == 2 or random.random() < 0.3:
        return random.choice(sinks)
    parts = [_expression(random, sinks, depth + 1) for _ in range(random.randint(2, 3))]
    return f"({random.choice([' and ', ' or ']).join(parts)})"


def _limits(random: Random) -> BacklogLimits:
    in_flight = random.choice([1, 4, 1000])
    return BacklogLimits(
        queue_records=random.choice([2, 10, 1000]),
        queue_bytes=random.choice([3_000, 100_000]),
        in_flight_records=in_flight,
        batch_records=random.choice([1, 3, 1000]),
        batch_bytes=random.choice([1_000, 10**6]),
        vehicle_bytes=random.choice([100, 2_000, 10**6]),
    )
