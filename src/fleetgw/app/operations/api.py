"""The paths of the status port: one line a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web import http

from fleetgw.adapters.monitoring.metrics_site import metrics_page
from fleetgw.adapters.monitoring.pages import ANY_METHOD, Access, Answer, Route, json_answer
from fleetgw.app.config.showing import effective_config
from fleetgw.app.operations import trace_pages
from fleetgw.domain.health import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.monitoring.profiler import Profiler
    from fleetgw.app.config.sections import Config
    from fleetgw.app.operations.health import GatewayHealth
    from fleetgw.app.operations.log_lines import LogLines
    from fleetgw.app.operations.observed_pages import ObservedPages
    from fleetgw.app.operations.traces import Traces

PROFILE_S = 10
"""Default duration of a CPU profile in seconds."""

_SERVING, _STOPPING = Answer(b"ok"), Answer(b"stopping", http.SERVICE_UNAVAILABLE)


@frozen
class GatewayViews:
    """The parts of a gateway as the paths show them.

    :ivar health: judges the gateway.
    :ivar exposition: returns the metrics as text.
    :ivar config: returns the configuration in effect.
    :ivar traces: the stages of the vehicles that operators follow.
    :ivar observed: the pages of vehicles, records and figures.
    """

    health: GatewayHealth
    exposition: Callable[[], bytes]
    config: Callable[[], Config]
    log_lines: LogLines
    profiler: Profiler
    traces: Traces
    observed: ObservedPages


def operator_routes(views: GatewayViews) -> Sequence[Route]:
    """Every path of the status port."""
    health, observed = views.health, views.observed
    return (
        Route("/status", lambda _: _STOPPING if health.phase is Phase.DRAINING else _SERVING, Access.PROBE, ANY_METHOD),
        Route("/live", lambda _: Answer(b"ok"), Access.PROBE),
        Route("/ready", lambda _: _readiness(health), Access.PROBE),
        Route("/health", lambda _: json_answer(health.verbose()), Access.OPERATOR, parameter="verbose"),
        Route("/health", lambda _: _readiness(health), Access.PROBE),
        Route("/api/metrics", metrics_page(views.exposition), Access.TOKEN),  # they name tracked VINs
        Route("/api/log", views.log_lines.page, Access.TOKEN),
        Route("/api/profile", lambda request: views.profiler.profile(request, PROFILE_S), Access.TOKEN),
        Route("/api/config", lambda _: json_answer(effective_config(views.config())), Access.TOKEN),
        Route("/api/traces", trace_pages.listed(views.traces), Access.TOKEN),
        Route("/api/traces", trace_pages.begun(views.traces), Access.TOKEN, ("POST",)),
        Route("/api/traces/{id}", trace_pages.read(views.traces), Access.TOKEN),
        Route("/api/traces/{id}", trace_pages.changed(views.traces), Access.TOKEN, ("POST",)),
        Route("/api/traces/{id}", trace_pages.removed(views.traces), Access.TOKEN, ("DELETE",)),
        Route("/api/traces/{id}/stream", trace_pages.followed(views.traces), Access.TOKEN),
        Route("/api/overview", observed.overview, Access.OPERATOR),
        Route("/api/overview/stream", observed.overview_stream, Access.OPERATOR),
        Route("/api/vehicles", observed.vehicles, Access.TOKEN),
        Route("/api/vehicles/{vin}", observed.vehicle, Access.TOKEN),
        Route("/api/vehicles/{vin}/stream", observed.vehicle_stream, Access.TOKEN),
        Route("/api/signals", observed.signals, Access.TOKEN),
        Route("/api/refusals", observed.refusals, Access.TOKEN),
        Route("/api/tap", observed.tap, Access.TOKEN),
    )


def _readiness(health: GatewayHealth) -> Answer:
    """The state alone: reasons name destinations, which is nothing for strangers."""
    state = health.health().state
    return Answer(state.value.encode(), http.OK if state.is_ready else http.SERVICE_UNAVAILABLE)
