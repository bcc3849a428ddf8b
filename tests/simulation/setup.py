"""The random configuration of one history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.lane import LaneTiming
from fleetgw.domain.ack_expressions import SPOOLED, read_policy
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.routing import build_routes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from fleetgw.domain.routing import Route

SINKS = ("kafka", "mqtt", "redis")
CONNECTIVITY = "connectivity"
TYPES = ("speed", "doors", "trips")
SPOOLED_SHARE = 0.2
"""Share of the histories with a spool: these take longer."""

KIB = 1024
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
    "disk",
    "reload",
)
"""The faults of sinks, processes, clocks, connections and disks. Each history has some of them: fewer faults go deeper."""


@frozen
class Setup:
    """The configuration of one history.

    :ivar sinks: names of sinks.
    :ivar routes: the first ones, by record type.
    :ivar memory_bytes: the ceiling of all queues together.
    :ivar spool_limits: None for a gateway without a spool.
    :ivar spools_all: every type is spooled.
    :ivar letters_fail: the chance that a dead letter cannot be stored; None without a store.
    :ivar faults: names in ``FAULTS``.
    :ivar resend_s: a vehicle sends a record again when it has waited so long for its acknowledgement.
    """

    sinks: tuple[str, ...]
    routes: Mapping[str, Route]
    limits: BacklogLimits
    timing: LaneTiming
    memory_bytes: int
    rate_limit: RateLimit | None
    refuse_unrouted: bool
    debounce_s: float
    spool_limits: SpoolLimits | None
    spools_all: bool
    letters_fail: float | None
    faults: tuple[str, ...]
    vehicles: int
    resend_s: float


def random_setup(random: Random) -> Setup:
    """Draw a configuration."""
    sinks = SINKS[: random.randint(1, len(SINKS))]
    has_spool = random.random() < SPOOLED_SHARE
    spools_all = has_spool and random.random() < 0.3
    types = TYPES[: random.randint(1, len(TYPES))]
    routes = {each: _random_route(random, each, sinks, has_spool=has_spool, spools_all=spools_all) for each in types}
    if random.random() < 0.5:
        routes |= build_routes({CONNECTIVITY: sinks[:1]}, {}, spools_all=spools_all)
    return Setup(
        sinks,
        routes,
        _limits(random),
        LaneTiming(0.005, random.choice([0.1, 0.5]), random.choice([0.5, 4.0]), 10.0),
        random.choice([20_000, 60_000, 10**9]),
        RateLimit(random.choice([3, 20]), 1.0) if random.random() < 0.1 else None,
        random.random() < 0.5,
        random.choice([0.0, 1.0]),
        _spool_limits(random) if has_spool else None,
        spools_all,
        random.choice([0.0, 0.0, 0.3]) if random.random() < 0.5 else None,
        tuple(random.sample(FAULTS, random.randint(0, len(FAULTS)))),
        random.randint(1, 3),
        random.choice([0.5, 3.0]),
    )


def reloaded(random: Random, setup: Setup, routes: Mapping[str, Route]) -> dict[str, Route]:
    """Draw other routes for a running gateway. What is spooled for which sinks stays: it needs a restart."""
    after = dict(routes)
    for record_type, before in routes.items():
        if record_type == CONNECTIVITY:
            continue
        sinks = before.sinks if before.is_spooled else setup.sinks
        has_spool = setup.spool_limits is not None
        route = _random_route(random, record_type, sinks, has_spool=has_spool, spools_all=setup.spools_all)
        if route.is_spooled == before.is_spooled and (not before.is_spooled or set(route.sinks) == set(before.sinks)):
            after[record_type] = route
    return after


def _random_route(random: Random, record_type: str, sinks: Sequence[str], *, has_spool: bool, spools_all: bool) -> Route:
    routed = tuple(random.sample(sinks, random.randint(1, len(sinks))))
    policy = read_policy(random_policy(random, (*routed, *([SPOOLED] * 2 if has_spool else []))), routed)
    return build_routes({record_type: routed}, {record_type: policy}, spools_all=spools_all)[record_type]


def random_policy(random: Random, sources: tuple[str, ...]) -> str:
    """Draw an ack policy of these sources of confirmations: sinks, and the spool."""
    kind = random.choice(["accepted", "all", "any", "sink", "expression", "expression"])
    if kind == "sink":
        return random.choice(sources)
    return _expression(random, sources, 0) if kind == "expression" else kind


def _expression(random: Random, sources: tuple[str, ...], depth: int) -> str:
    if depth == 2 or random.random() < 0.3:
        return random.choice(sources)
    parts = [_expression(random, sources, depth + 1) for _ in range(random.randint(2, 3))]
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


def _spool_limits(random: Random) -> SpoolLimits:
    return SpoolLimits(max_bytes=random.choice([200, 2000]) * KIB, file_bytes=random.choice([40, 400]) * KIB)
