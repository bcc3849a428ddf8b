"""Gathers the facts of the gateway's health, and tells it to probes and operators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from attrs import frozen

from fleetgw.adapters.secrets.masking import masked
from fleetgw.app.config.routes import routes_of
from fleetgw.domain.health import (
    Facts,
    HealthState,
    Phase,
    SinkFacts,
    SpoolFacts,
    is_queue_full,
    is_spool_full,
    judge,
    of_certificate,
    of_sink,
    of_spool,
)
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.config.sections import Config
    from fleetgw.app.operations.certificates import CertificatesInUse
    from fleetgw.app.pipeline.spooling import Spooling
    from fleetgw.app.service.running_sinks import RunningSinks
    from fleetgw.domain.allow_list import AllowList
    from fleetgw.domain.health import Health, Impairment
    from fleetgw.domain.ports import IDispatcher, ILog, ISpool, Readiness
    from fleetgw.domain.routing import Route

DAY_MS = 86_400_000


class ReasonView(TypedDict):
    """One thing that is not as it should be, and its remedy."""

    reason: str
    fix: str


class HealthView(TypedDict):
    """Health as JSON: the state with its reasons, and every part with its state, since when, the reason and the remedy."""

    state: str
    since_ms: int
    reasons: Sequence[ReasonView]
    now_ms: int
    sinks: Sequence[Mapping[str, object]]
    spool: Mapping[str, object] | None
    certificates: Sequence[Mapping[str, object]]


@frozen
class Episode:
    """A state of one part, with its beginning.

    :ivar since_s: on the monotonic clock.
    :ivar since_ms: epoch milliseconds.
    """

    state: Hashable
    since_s: float
    since_ms: int


class Episodes:
    """The present episode of every part.

    :ivar wall_ns: returns epoch nanoseconds.
    """

    def __init__(self, clock: IReactorTime, wall_ns: Callable[[], int]) -> None:
        self.wall_ns = wall_ns
        self._clock = clock
        self._present: dict[Hashable, Episode] = {}
        self._before: dict[Hashable, Episode] = {}

    def now_ms(self) -> int:
        """The time in epoch milliseconds."""
        return self.wall_ns() // 1_000_000

    def begin_look(self) -> None:
        """Begin a look at every part; parts that it does not note are forgotten."""
        self._before, self._present = self._present, {}

    def state_before(self, part: Hashable) -> Hashable:
        """The state at the last look; None for a part that was not there."""
        episode = self._before.get(part)
        return None if episode is None else episode.state

    def note(self, part: Hashable, state: Hashable) -> Episode:
        """Take note of the state of a part; its episode goes on where the state is the same."""
        episode = self._before.get(part)
        if episode is None or episode.state != state:
            episode = Episode(state, self._clock.seconds(), self.now_ms())
        self._present[part] = episode
        return episode

    def __getitem__(self, part: Hashable) -> Episode:
        return self._present[part]


class GatewayHealth:
    """The health of a gateway. Every look at its parts notes, and logs, the changes since the last one.

    :ivar phase: the part of its life that the gateway is in; set by ``GatewayLife``.
    :ivar sink_grace_s: see ``judge``.
    :ivar certificates: the certificates in use.
    :ivar episodes: the state of each part, with its beginning.
    """

    def __init__(
        self,
        config: Config,
        sinks: RunningSinks,
        spooling: Spooling | None,
        certificates: CertificatesInUse,
        clock: IReactorTime,
        wall_ns: Callable[[], int],
        log: ILog,
        allow_list: AllowList | None,
    ) -> None:
        """:param allow_list: None where every vehicle may connect."""
        self.phase = Phase.STARTING
        self.certificates = certificates
        self.episodes = Episodes(clock, wall_ns)
        self._sinks = sinks
        self._spooling = spooling
        self._clock = clock
        self._log = log
        self._allow_list = allow_list
        self._lines = LineLimit()
        self._set(config)

    def _set(self, config: Config) -> None:
        self.sink_grace_s = config.health.sink_grace_s
        self._routes: Sequence[Route] = [*routes_of(config).values()]
        self._record_types: dict[str, list[str]] = {}
        for route in self._routes:
            for sink in route.sinks:
                self._record_types.setdefault(sink, []).append(route.record_type)

    def use(self, config: Config) -> None:
        """Judge by another configuration from now on; its sinks run."""
        self._set(config)
        self.certificates.use(config)

    def health(self) -> Health:
        """The health now."""
        return self._look()[1]

    def _look(self) -> tuple[Facts, Health]:
        """Look at every part."""
        episodes = self.episodes
        episodes.begin_look()
        sinks = [self._sink(name, record_types) for name, record_types in self._record_types.items()]
        spool = None if self._spooling is None else self._spool(self._spooling.spool)
        now = datetime.fromtimestamp(episodes.now_ms() / 1000, UTC)
        certificates = [each.facts(now) for each in self.certificates]
        for each in certificates:
            episodes.note(("certificate", each.name), each.validity)
        allow_list = self._allow_list
        fault = "" if allow_list is None else allow_list.fault(self._clock.seconds())
        facts = Facts(self.phase, self._routes, sinks, spool, certificates, fault)
        health = judge(facts, self.sink_grace_s)
        episodes.note("gateway", health.state)
        was_not_ready = episodes.state_before("gateway") is HealthState.NOT_READY
        if self.phase is Phase.SERVING and was_not_ready == health.state.is_ready:
            self._log_change(health)
        return facts, health

    def _sink(self, name: str, record_types: Sequence[str]) -> SinkFacts:
        readiness = _readiness(self._sinks.lanes[name].sink)
        is_ready = isinstance(readiness, Ready)
        episode = self.episodes.note(("sink", name), is_ready)
        full_for = [record_type for record_type in record_types if self._is_full(name, record_type)]
        self.episodes.note(("queue", name), bool(full_for))
        return SinkFacts(name, readiness, 0.0 if is_ready else self._clock.seconds() - episode.since_s, full_for)

    def _is_full(self, sink: str, record_type: str) -> bool:
        """Whether a queue is full; one that was stays so until it has got again what waited for it in the spool."""
        part = ("queue", sink, record_type)
        was_full = bool(self.episodes.state_before(part))
        feed = None if self._spooling is None else self._spooling.feeds.get(sink)
        is_full = is_queue_full(self._sinks.lanes[sink], record_type, was_full=was_full)
        is_full = is_full or (was_full and feed is not None and not feed.is_live)
        self.episodes.note(part, is_full)
        return is_full

    def _spool(self, spool: ISpool) -> SpoolFacts:
        state = spool.state()
        is_full = is_spool_full(state, was_full=bool(self.episodes.state_before("spool is full")))
        self.episodes.note("spool is full", is_full)
        self.episodes.note("spool", _spool_state(is_full, state.failure))
        return SpoolFacts(is_full, state.failure)

    def _log_change(self, health: Health) -> None:
        event = "gateway_ready" if health.state.is_ready else "gateway_not_ready"
        more = self._lines.fields(event, "", self._clock.seconds())
        if more is None:
            return
        if health.state.is_ready:
            self._log.info("gateway_ready", state=health.state.value, **more)
        else:
            reason = health.reasons[0]
            self._log.warn("gateway_not_ready", error=reason.what, fix=reason.fix, reasons=len(health.reasons), **more)

    # As JSON

    def verbose(self) -> HealthView:
        """The health now, with its reasons and every part."""
        facts, health = self._look()
        return {
            "state": health.state.value,
            "since_ms": self.episodes["gateway"].since_ms,
            "reasons": [{"reason": reason.what, "fix": reason.fix} for reason in health.reasons],
            "now_ms": self.episodes.now_ms(),
            "sinks": [self._sink_as_json(sink) for sink in facts.sinks],
            "spool": None if facts.spool is None else self._spool_as_json(facts.spool),
            "certificates": self._certificates_as_json(facts),
        }

    def _sink_as_json(self, sink: SinkFacts) -> dict[str, object]:
        lane = self._sinks.lanes[sink.name]
        return {
            "name": sink.name,
            "state": "not_ready" if isinstance(sink.readiness, NotReady) else "ready",
            **self._told(("sink", sink.name), of_sink(sink, self.sink_grace_s)),
            "types": self._record_types[sink.name],
            "queue": {
                "state": "full" if sink.full_for else "ok",
                "since_ms": self.episodes["queue", sink.name].since_ms,
                "full_for": sink.full_for,
                "held": lane.held_records,
            },
        }

    def _spool_as_json(self, spool: SpoolFacts) -> dict[str, object]:
        return {"state": _spool_state(spool.is_full, spool.failure), **self._told("spool", of_spool(spool))}

    def _certificates_as_json(self, facts: Facts) -> list[dict[str, object]]:
        now_ms = self.episodes.now_ms()
        return [
            {
                "name": each.name,
                "subject": each.certificate.subject.rfc4514_string(),
                "issuer": each.certificate.issuer.rfc4514_string(),
                "not_before_ms": each.not_before_ms,
                "not_after_ms": each.not_after_ms,
                "days_left": (each.not_after_ms - now_ms) // DAY_MS,
                "state": fact.validity.value,
                **self._told(("certificate", each.name), of_certificate(fact)),
            }
            for each, fact in zip(self.certificates, facts.certificates, strict=True)
        ]

    def _told(self, part: Hashable, impairment: Impairment | None) -> dict[str, object]:
        return {
            "since_ms": self.episodes[part].since_ms,
            "reason": None if impairment is None else impairment.what,
            "fix": None if impairment is None else impairment.fix,
        }


def _readiness(sink: IDispatcher) -> Readiness:
    """The readiness of a sink. Sinks of others may have secrets in the reason, or break their contract."""
    try:
        readiness: Readiness = sink.readiness()
        return readiness if isinstance(readiness, Ready) else NotReady(masked(readiness.reason))
    except Exception as error:  # of any kind: a broken sink must not end the look at the others
        return NotReady(masked(f"its readiness cannot be told: {type(error).__name__}: {error}"))


def _spool_state(is_full: bool, failure: str | None) -> str:  # noqa: FBT001  two facts of one thing
    return "failing" if failure is not None else "full" if is_full else "ok"
