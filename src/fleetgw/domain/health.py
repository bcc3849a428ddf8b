"""Health: whether the gateway can take the records that are routed, and the reasons where it cannot."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol, assert_never

from attrs import frozen

from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fleetgw.domain.ports import Readiness, SpoolState
    from fleetgw.domain.routing import Route

QUEUE_FULL, QUEUE_HAS_ROOM = 16, 4
"""A queue is full once less than a sixteenth of it is free, and has room again once a quarter is. Vehicles that wait are
tried again from a sixteenth on, so that the free part of a full queue stays near it: one mark alone would flap."""

SPOOL_HAS_ROOM = 16
"""A spool that was full has room again once a sixteenth of it is free."""


class Phase(Enum):
    """The part of its life that a gateway is in."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class HealthState(Enum):
    """The state of a gateway. In the first two it is ready: it can take every record that is routed."""

    OK = "ok"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"
    STARTING = "starting"
    DRAINING = "draining"

    @property
    def is_ready(self) -> bool:
        """Whether vehicles should be sent to the gateway."""
        return self in (HealthState.OK, HealthState.DEGRADED)


class Validity(Enum):
    """State of a certificate's dates at some moment."""

    VALID = "ok"
    EXPIRES_SOON = "expires_soon"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"


@frozen
class SinkFacts:
    """The state of one sink that records are routed to.

    :ivar not_ready_s: seconds since it was ready; 0.0 while it is.
    :ivar full_for: the record types for which its queue is full.
    """

    name: str
    readiness: Readiness
    not_ready_s: float
    full_for: Collection[str]


@frozen
class SpoolFacts:
    """The state of the spool.

    :ivar is_full: whether it has no room.
    :ivar failure: the reason for which nothing is stored; None while it works.
    """

    is_full: bool
    failure: str | None


@frozen
class ValidityFacts:
    """The state of a certificate.

    :ivar name: the key that names its file.
    :ivar is_for_vehicles: whether vehicles are shown it.
    """

    name: str
    validity: Validity
    is_for_vehicles: bool


@frozen
class Facts:
    """Everything that the health of a gateway follows from.

    :ivar routes: one for each record type.
    :ivar sinks: those that the routes name.
    :ivar spool: None where there is none.
    :ivar allow_list_fault: see ``AllowList.fault``; empty also where every vehicle may connect.
    """

    phase: Phase
    routes: Sequence[Route]
    sinks: Sequence[SinkFacts]
    spool: SpoolFacts | None
    certificates: Sequence[ValidityFacts]
    allow_list_fault: str = ""


@frozen
class Impairment:
    """One thing that is not as it should be.

    :ivar what: the fault and its place.
    :ivar fix: the remedy.
    :ivar is_grave: whether the gateway is not ready because of it.
    """

    what: str
    fix: str
    is_grave: bool


@frozen
class Health:
    """The health of a gateway.

    :ivar reasons: why a gateway that serves is not ``ok``; the grave ones first.
    """

    state: HealthState
    reasons: Sequence[Impairment] = ()


class Queue(Protocol):
    """The queue of a sink."""

    def has_room(self, record_type: str, one_in: int) -> bool:
        """Whether one in so many parts of it is free for records of a type."""


def judge(facts: Facts, sink_grace_s: float) -> Health:
    """Judge the health of a gateway.

    :param sink_grace_s: seconds after which the gateway is not ready because a sink is not; 0: never.
    """
    match facts.phase:
        case Phase.STARTING:
            return Health(HealthState.STARTING)
        case Phase.DRAINING:  # closed queues have no room
            return Health(HealthState.DRAINING)
        case Phase.SERVING:
            reasons = sorted(_impairments(facts, sink_grace_s), key=lambda reason: not reason.is_grave)
            if not reasons:
                return Health(HealthState.OK)
            return Health(HealthState.NOT_READY if reasons[0].is_grave else HealthState.DEGRADED, reasons)
        case _:
            assert_never(facts.phase)


def can_take(route: Route, full: Collection[str], *, has_spool: bool) -> bool:
    """Whether records of a type can be taken, so that they are acknowledged some time.

    :param full: names of the sinks whose queues have no room for the type.
    :param has_spool: whether the spool stores records now.
    """
    if isinstance(route.ack_policy, Accepted):
        return (route.is_spooled and has_spool) or not any(sink in full for sink in route.sinks)
    return holds(route.ack_policy, {sink for sink in route.sinks if sink not in full}, is_spooled=has_spool)


def is_queue_full(queue: Queue, record_type: str, *, was_full: bool) -> bool:
    """Whether a queue is full for records of a type."""
    return not queue.has_room(record_type, QUEUE_HAS_ROOM if was_full else QUEUE_FULL)


def is_spool_full(state: SpoolState, *, was_full: bool) -> bool:
    """Whether a spool is full."""
    free_bytes = state.max_bytes - state.size_bytes
    return state.full is not None or (was_full and free_bytes * SPOOL_HAS_ROOM < state.max_bytes)


def _impairments(facts: Facts, sink_grace_s: float) -> Iterator[Impairment]:
    spool = facts.spool
    has_spool = spool is not None and not spool.is_full and spool.failure is None
    for route in facts.routes:
        full = [sink.name for sink in facts.sinks if route.record_type in sink.full_for]
        if not can_take(route, full, has_spool=has_spool):
            yield _cannot_take(route, full, spool)
        elif full:
            yield _does_without(route, full, has_spool=has_spool)
    for sink in facts.sinks:
        if (impairment := of_sink(sink, sink_grace_s)) is not None:
            yield impairment
    if spool is not None and (impairment := of_spool(spool)) is not None:
        yield impairment
    for certificate in facts.certificates:
        if (impairment := of_certificate(certificate)) is not None:
            yield impairment
    if facts.allow_list_fault:
        fix = "the event allow_list_not_read has the reason; the source is read again by itself"
        yield Impairment(facts.allow_list_fault, fix, is_grave=False)


def _cannot_take(route: Route, full: Sequence[str], spool: SpoolFacts | None) -> Impairment:
    causes = [f"the queue of {sink} is full" for sink in full]
    if route.is_spooled and spool is not None:
        causes += ["the spool is full"] if spool.is_full else []
        causes += [f"the spool stores nothing ({spool.failure})"] if spool.failure is not None else []
    return Impairment(
        f"records of type {route.record_type} cannot be taken: {', '.join(causes)}",
        "vehicles keep them meanwhile; mend the sink, or make its queue (delivery.queue_records) or the spool larger",
        is_grave=True,
    )


def _does_without(route: Route, full: Sequence[str], *, has_spool: bool) -> Impairment:
    goes_on = "they wait in the spool" if route.is_spooled and has_spool else "it misses them (lane_refused_total)"
    what = f"the queue of {', '.join(full)} is full for records of type {route.record_type}: {goes_on}"
    return Impairment(what, "mend the sink, or make its queue larger (delivery.queue_records)", is_grave=False)


def of_sink(sink: SinkFacts, sink_grace_s: float) -> Impairment | None:
    """The impairment of a sink that is not ready."""
    match sink.readiness:
        case NotReady(reason):
            fix = "it tries again by itself; fleetgw doctor examines the destination"
            is_grave = 0 < sink_grace_s < sink.not_ready_s
            return Impairment(f"the sink {sink.name} is not ready: {reason}", fix, is_grave)
        case Ready():
            return None
        case _:
            assert_never(sink.readiness)


def of_spool(spool: SpoolFacts) -> Impairment | None:
    """The impairment of a spool that stores nothing; its routes say whether that is grave."""
    if spool.failure is not None:
        fix = "free or mend its disk; it tries again once a second"
        return Impairment(f"the spool stores nothing: {spool.failure}", fix, is_grave=False)
    if spool.is_full:
        fix = "mend the sinks that have not got its records, or raise spool.max_mib"
        return Impairment("the spool is full", fix, is_grave=False)
    return None


def of_certificate(certificate: ValidityFacts) -> Impairment | None:
    """The impairment of a certificate that others do not accept now."""
    match certificate.validity:
        case Validity.VALID | Validity.EXPIRES_SOON:
            return None
        case Validity.EXPIRED:
            what, fix = "has expired", "replace the file; it is read again within a minute, or at once on SIGHUP"
        case Validity.NOT_YET_VALID:
            what, fix = "is not valid yet", "set the clock, or use one that is"
        case _:
            assert_never(certificate.validity)
    refused_by = "vehicles refuse it" if certificate.is_for_vehicles else "the destination may refuse it"
    return Impairment(f"the certificate {certificate.name} {what}: {refused_by}", fix, is_grave=certificate.is_for_vehicles)
