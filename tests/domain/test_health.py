"""Health: the records that can be taken, and the verdict on the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import TestCase

from attrs import evolve

from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import names_spool
from fleetgw.domain.health import (
    Facts,
    HealthState,
    Phase,
    SinkFacts,
    SpoolFacts,
    Validity,
    ValidityFacts,
    can_take,
    is_queue_full,
    is_spool_full,
    judge,
)
from fleetgw.domain.ports import NotReady, Ready, SpoolState
from fleetgw.domain.routing import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.health import Health

SINKS = ("kafka", "mqtt", "redis")
GRACE_S = 60.0


def route(policy: str, record_type: str = "V", *, sinks: Sequence[str] = SINKS, is_spooled: bool | None = None) -> Route:
    read = read_policy(policy, sinks)
    return Route(record_type, tuple(sinks), read, names_spool(read) if is_spooled is None else is_spooled)


def sink(name: str = "kafka", *, down_s: float | None = None, full_for: Sequence[str] = ()) -> SinkFacts:
    readiness = Ready() if down_s is None else NotReady("no broker answers at 10.0.0.1:9092")
    return SinkFacts(name, readiness, down_s or 0.0, full_for)


def certificate(validity: Validity, *, is_for_vehicles: bool = True) -> ValidityFacts:
    return ValidityFacts("tls.server_cert", validity, is_for_vehicles)


class TakingTests(TestCase):
    """Beside each policy the sets of full queues under which its records are still taken, without and with a spool."""

    def assert_takes(self, policy: str, full: str, *, has_spool: bool, takes: bool, **spooled: Any) -> None:
        self.assertEqual(can_take(route(policy, **spooled), full.split(), has_spool=has_spool), takes, (policy, full))

    def test_every_queue_is_needed_when_a_record_is_acknowledged_as_it_is_taken(self) -> None:
        self.assert_takes("accepted", "", has_spool=False, takes=True)
        for full in SINKS:
            self.assert_takes("accepted", full, has_spool=False, takes=False)
            self.assert_takes("accepted", full, has_spool=True, takes=False)

    def test_the_spool_takes_what_queues_do_not(self) -> None:
        for full in ("", "kafka", "kafka mqtt redis"):
            self.assert_takes("accepted", full, has_spool=True, takes=True, is_spooled=True)
            self.assert_takes("spooled", full, has_spool=True, takes=True)
            self.assert_takes("spooled", full, has_spool=False, takes=False)
        self.assert_takes("accepted", "", has_spool=False, takes=True, is_spooled=True)
        self.assert_takes("accepted", "mqtt", has_spool=False, takes=False, is_spooled=True)

    def test_a_queue_is_needed_if_the_policy_cannot_hold_without_it(self) -> None:
        self.assert_takes("kafka", "mqtt redis", has_spool=False, takes=True)
        self.assert_takes("kafka", "kafka", has_spool=False, takes=False)
        self.assert_takes("kafka and (mqtt or redis)", "mqtt", has_spool=False, takes=True)
        self.assert_takes("kafka and (mqtt or redis)", "mqtt redis", has_spool=False, takes=False)
        self.assert_takes("kafka or spooled", "kafka", has_spool=True, takes=True)
        self.assert_takes("kafka or spooled", "kafka", has_spool=False, takes=False)
        self.assert_takes("kafka and spooled", "kafka", has_spool=True, takes=False)


class JudgingTests(TestCase):
    def setUp(self) -> None:
        self.facts = Facts(
            Phase.SERVING,
            [route("kafka"), route("kafka", "alerts")],
            [sink(), sink("mqtt"), sink("redis")],
            SpoolFacts(is_full=False, failure=None),
            [certificate(Validity.VALID)],
        )

    def judge(self, sink_grace_s: float = 0.0, **changes: Any) -> Health:
        return judge(evolve(self.facts, **changes), sink_grace_s)

    def assert_judged(self, state: HealthState, *reasons: str, sink_grace_s: float = 0.0, **changes: Any) -> None:
        """``reasons``: a part of each."""
        health = self.judge(sink_grace_s, **changes)
        self.assertEqual((health.state, len(health.reasons)), (state, len(reasons)), health)
        for reason, part in zip(health.reasons, reasons, strict=True):
            self.assertIn(part, reason.what)
            self.assertTrue(reason.fix)

    def test_nothing_is_wrong(self) -> None:
        self.assert_judged(HealthState.OK)
        self.assert_judged(HealthState.OK, certificates=[certificate(Validity.EXPIRES_SOON)])

    def test_a_sink_that_is_down_while_there_is_room_keeps_the_gateway_ready(self) -> None:
        changes = {"sinks": [sink(down_s=1e6)]}
        self.assert_judged(HealthState.DEGRADED, "kafka is not ready: no broker answers at 10.0.0.1:9092", **changes)
        self.assertTrue(self.judge(**changes).state.is_ready)

    def test_a_type_that_cannot_be_taken_is_grave_and_said_first(self) -> None:
        sinks = [sink("mqtt", down_s=5), sink(full_for=["V"])]
        self.assert_judged(HealthState.NOT_READY, "type V cannot be taken: the queue of kafka is full", "mqtt", sinks=sinks)
        self.assertFalse(self.judge(sinks=sinks).state.is_ready)

    def test_a_queue_that_is_not_needed(self) -> None:
        sinks = [sink(), sink("mqtt", full_for=["V"])]
        self.assert_judged(HealthState.DEGRADED, "queue of mqtt is full for records of type V: it misses them", sinks=sinks)
        routes = [route("spooled")]
        self.assert_judged(HealthState.DEGRADED, "mqtt is full for records of type V: they wait", sinks=sinks, routes=routes)
        spool = SpoolFacts(is_full=True, failure=None)
        routes = [route("kafka", is_spooled=True)]
        self.assert_judged(HealthState.DEGRADED, "misses them", "the spool is full", sinks=sinks, routes=routes, spool=spool)

    def test_an_allow_list_that_cannot_be_read(self) -> None:
        self.assert_judged(HealthState.DEGRADED, "vehicles.allow cannot", allow_list_fault="vehicles.allow cannot be read")

    def test_the_spool(self) -> None:
        routes = [route("spooled")]
        for facts, cause in (
            (SpoolFacts(is_full=True, failure=None), "the spool is full"),
            (SpoolFacts(is_full=False, failure="No space left"), "stores nothing (No space left)"),
        ):
            self.assert_judged(HealthState.NOT_READY, cause, "spool", spool=facts, routes=routes)
            self.assert_judged(HealthState.DEGRADED, "the spool", spool=facts)
        self.assert_judged(HealthState.OK, spool=None)

    def test_a_certificate_that_vehicles_refuse_is_grave(self) -> None:
        for validity in (Validity.EXPIRED, Validity.NOT_YET_VALID):
            self.assert_judged(HealthState.NOT_READY, "vehicles refuse it", certificates=[certificate(validity)])
            of_sink = [certificate(validity, is_for_vehicles=False)]
            self.assert_judged(HealthState.DEGRADED, "the destination may refuse it", certificates=of_sink)

    def test_a_grace_makes_a_long_outage_grave(self) -> None:
        for down_s, state in (
            (GRACE_S, HealthState.DEGRADED),
            (GRACE_S + 0.1, HealthState.NOT_READY),
        ):
            self.assert_judged(state, "kafka", sinks=[sink(down_s=down_s)], sink_grace_s=GRACE_S)
        self.assert_judged(HealthState.OK, sink_grace_s=GRACE_S)

    def test_start_and_drain_go_before_all_else(self) -> None:
        for phase, state in ((Phase.STARTING, HealthState.STARTING), (Phase.DRAINING, HealthState.DRAINING)):
            self.assert_judged(state, phase=phase)
            self.assert_judged(state, phase=phase, sinks=[sink(full_for=["V"])])
            self.assertFalse(state.is_ready)


class Room:
    """A queue with a number of free parts of 100."""

    def __init__(self, free: int) -> None:
        self.free = free

    def has_room(self, record_type: str, one_in: int) -> bool:
        return self.free * one_in >= 100


class EdgeTests(TestCase):
    def test_a_queue_that_is_full_is_so_until_a_quarter_is_free(self) -> None:
        seen = []
        full = False
        for free in (100, 24, 7, 6, 7, 24, 25, 7, 6):
            full = is_queue_full(Room(free), "V", was_full=full)
            seen.append(full)
        self.assertEqual(seen, [False, False, False, True, True, True, False, False, True])

    def test_a_spool_that_is_full_is_so_until_a_sixteenth_is_free(self) -> None:
        state = SpoolState(1, 1, 0, 160, 0, 0, 0.0, None, None)
        seen = []
        full = False
        for size_bytes in (0, 159, 160, 159, 151, 150, 159):
            reason = "it holds too much" if size_bytes >= 160 else None
            full = is_spool_full(evolve(state, size_bytes=size_bytes, full=reason), was_full=full)
            seen.append(full)
        self.assertEqual(seen, [False, False, True, True, True, False, False])
