"""Checks of all routed sinks: by the sink itself, by the probe of its type, or by a trial start."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from zope.interface import implementer

from fleetgw.adapters.diagnosis.findings import good, will_not_work
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.app.config.ack_policies import ack_policies
from fleetgw.app.config.sinks import settings_of, sink_type
from fleetgw.app.doctor.checkup import Check
from fleetgw.app.sinks import make_sink
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.ports import Finding, IDiagnosable, NotReady
from fleetgw.domain.routing import build_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.ports import IDispatcher

READY_WITHIN_S = 5.0
POLL_INTERVAL_S = 0.1


def sink_checks(config: Config, reactor: ISinkReactor) -> list[Check]:
    """A check for every sink that is routed to."""
    routes = build_routes(config.records, ack_policies(config))
    checks = []
    for name in dict.fromkeys(name for route in routes.values() for name in route.sinks):
        record_types = tuple(record_type for record_type, route in routes.items() if name in route.sinks)
        context = SinkContext(
            name, settings_of(name, config), config.namespace, record_types, reactor, NullMetrics(), NullLog()
        )
        checks.append(Check(f"sink {name}", _probe_of(name, config, context)))
    return checks


def _probe_of(name: str, config: Config, context: SinkContext) -> IDiagnosable:
    try:
        kind = sink_type(name, config)
        sink = make_sink(kind, context, config)  # also where there is a probe: it checks the settings
        if IDiagnosable.providedBy(sink):
            return cast("IDiagnosable", sink)
        if kind.make_probe is not None:
            return kind.make_probe(context)
    except ConfigurationError as error:
        return Known(_problems(error))
    return Trial(sink, context.reactor)


@implementer(IDiagnosable)
class Known:
    """Findings that are known without a check."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._findings = findings

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        """Return the findings."""
        return succeed(self._findings)


@implementer(IDiagnosable)
class Trial:
    """Starts a sink without a probe, waits until it is ready, and stops it."""

    def __init__(self, sink: IDispatcher, clock: ISinkReactor) -> None:
        self._sink = sink
        self._clock = clock

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        """Start, wait, stop."""
        return Deferred.fromCoroutine(self._try())

    async def _try(self) -> Sequence[Finding]:
        try:
            await self._sink.start()
        except CancelledError:
            return []
        except ConfigurationError as error:
            return _problems(error)
        except Exception as error:  # the port allows no other; a third party's sink may do anything
            return [will_not_work(f"it does not start: {type(error).__name__}: {error}", "see its documentation")]
        stopped: Deferred[None] | None = None
        found = []
        try:
            found.append(await self._readiness())
            stopped = self._sink.stop()
            await stopped
        except CancelledError:
            (stopped or self._sink.stop()).cancel()
        return found

    async def _readiness(self) -> Finding:
        deadline_s = self._clock.seconds() + READY_WITHIN_S
        while isinstance(readiness := self._sink.readiness(), NotReady):
            if self._clock.seconds() >= deadline_s:
                what = f"not ready {READY_WITHIN_S:.0f} s after its start: {readiness.reason}"
                return will_not_work(what, "see to the reason, or look at its documentation")
            await deferLater(self._clock, POLL_INTERVAL_S)
        return good("starts, is ready, stops")


def _problems(error: ConfigurationError) -> list[Finding]:
    return [will_not_work(f"{problem.path}: {problem.what}", problem.fix) for problem in error.problems]
