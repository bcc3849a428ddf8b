"""Puts a gateway together from its configuration: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from attrs import define, frozen

from fleetgw.adapters.errors.null import NullReporter
from fleetgw.adapters.ingress.factory import VehicleFactory
from fleetgw.adapters.ingress.handshakes import Handshakes
from fleetgw.adapters.ingress.hot_path import HOT_PATH
from fleetgw.adapters.ingress.reloadable_context import ReloadableContext
from fleetgw.adapters.ingress.tls import VehicleTlsFactory
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.logs.lines import LineLog
from fleetgw.adapters.logs.reporting import ReportingLog
from fleetgw.adapters.logs.sampling import SamplingLog
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.reactor_lag import ReactorLag
from fleetgw.adapters.metrics.runtime import RuntimeGauges
from fleetgw.adapters.metrics.statsd import StatsdExporter, StatsdSettings
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.adapters.monitoring.access import AccessControl
from fleetgw.adapters.monitoring.client_faults import ClientFaults
from fleetgw.adapters.monitoring.metrics_site import make_metrics_site
from fleetgw.adapters.monitoring.page_files import page_routes
from fleetgw.adapters.monitoring.profiler import Profiler, make_profiler_site
from fleetgw.adapters.monitoring.site import PageSite
from fleetgw.adapters.text.addresses import split_address
from fleetgw.app.config.airbrake import KEY_VARIABLE
from fleetgw.app.config.routes import routes_of
from fleetgw.app.operations.api import GatewayViews, operator_routes
from fleetgw.app.operations.certificates import CertificatesInUse
from fleetgw.app.operations.health import GatewayHealth
from fleetgw.app.operations.health_gauges import measure_health
from fleetgw.app.operations.log_lines import LogLines
from fleetgw.app.operations.ticking import Ticking
from fleetgw.app.pipeline.gateway import Gateway
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.service.allow_list_maker import make_allow_list
from fleetgw.app.service.control_maker import make_controls
from fleetgw.app.service.dead_letter_maker import make_dead_letters
from fleetgw.app.service.descriptors import descriptor_limit, room_for_streams
from fleetgw.app.service.lane_maker import LaneMaker
from fleetgw.app.service.listeners import Listener
from fleetgw.app.service.live_settings import access_rules, gateway_settings, ingress_limits, issuers, tls_files
from fleetgw.app.service.observation_maker import make_observation
from fleetgw.app.service.running_sinks import RunningSinks
from fleetgw.app.service.spool_maker import make_spooling
from fleetgw.app.service.trace_maker import make_traces
from fleetgw.domain.metrics import BUILD_INFO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorCore

    from fleetgw.adapters.allow_list.watch import AllowListWatch
    from fleetgw.adapters.control.server import ControlServer, IControlReactor
    from fleetgw.adapters.dead_letters.stores import DeadLetterStores
    from fleetgw.adapters.listening.port import IListeningReactor
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.adapters.traces.lines import ITraceReactor
    from fleetgw.app.config.loading import LoadedConfig
    from fleetgw.app.config.monitoring_sections import Monitoring
    from fleetgw.app.config.sections import Config
    from fleetgw.app.operations.traces import Traces
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.spooling import Spooling
    from fleetgw.domain.ports import IErrorReporter, ILog

    class IGatewayReactor(ITraceReactor, ISinkReactor, IListeningReactor, IThreadedReactor, IControlReactor, IReactorCore):
        """The reactor interfaces that a gateway uses."""


class Life(Protocol):
    """A part of the gateway that is started once and stopped once: a listener, a sink runner, an exporter."""

    def start(self) -> Deferred[None]:
        """Begin to work; fires once the part works."""

    def stop(self) -> Deferred[None]:
        """Stop working and release all resources; fires then, and never fails. Does nothing where nothing has started."""


@define
class InEffect:
    """The configuration in effect; a reload replaces it."""

    config: Config


@frozen(kw_only=True)
class Parts:
    """The parts of a gateway: made and connected, none started.

    :ivar sinks: the sinks, each with its lane.
    :ivar lane_maker: makes the sinks that a reload adds.
    :ivar spooling: None where no record type is spooled.
    :ivar tls: the TLS context with the certificates that ``tls_factory`` uses.
    :ivar tls_factory: wraps each connection of ``vehicles`` in TLS.
    :ivar allow_list: reads the allow list; None where every vehicle may connect.
    :ivar vehicle_listener: the port that vehicles connect to.
    :ivar pages: the ports for status, metrics and profiler, as far as they are configured.
    :ivar health: judges the gateway, for probes and operators.
    :ivar monitors: gauges of the process, exporters of metrics, the profiler; the first parts to start, the last to stop.
    :ivar errors: reports errors; it starts before everything else that logs, and stops after it.
    :ivar log: the destination of log events; it also hands errors to ``errors``.
    :ivar in_effect: at first, with the configuration that all parts are made from.
    :ivar access: decides who may use the status port.
    :ivar dead_letters: None where they go to the log.
    :ivar traces: the stages of the vehicles that operators follow.
    :ivar controls: the control sockets, in the folders that the gateway has locked.
    """

    gateway: Gateway
    sinks: RunningSinks
    lane_maker: LaneMaker
    spooling: Spooling | None
    vehicles: VehicleFactory
    tls: ReloadableContext
    tls_factory: VehicleTlsFactory
    allow_list: AllowListWatch | None
    vehicle_listener: Listener
    pages: Sequence[Listener]
    health: GatewayHealth
    metrics: MetricStore
    monitors: Sequence[Life]
    errors: IErrorReporter
    log: ILog
    in_effect: InEffect
    access: AccessControl
    dead_letters: DeadLetterStores | None
    traces: Traces
    controls: Sequence[ControlServer]

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes of all sinks, by name."""
        return self.sinks.lanes


def compose(loaded: LoadedConfig, reactor: IGatewayReactor, written_log: ILog) -> Parts:
    """Make every part of a gateway.

    :param written_log: the destination of log events.
    :raises ConfigurationError: a sink cannot be imported or made, or OpenSSL does not accept a certificate.
    """
    config = loaded.config
    reporter = _make_reporter(loaded, reactor, written_log)
    log = ReportingLog(SamplingLog(written_log, reactor.seconds), reporter)
    metrics = MetricStore()
    build = {"version": version("fleetgw"), "python": platform.python_version(), "hot_path": HOT_PATH}
    metrics.gauge(BUILD_INFO, **build).set_to(1)
    dead_letters = make_dead_letters(config, reactor, metrics, log)
    lane_maker = LaneMaker(config, dead_letters, reactor, metrics, log)
    lanes = lane_maker.make(config)
    routes = routes_of(config)
    spooling = make_spooling(config, routes, lanes, reactor, metrics, log)
    sinks = RunningSinks(lanes, reactor, log, lane_maker.give_back)
    type_routes = TypeRoutes(routes, lanes, metrics, spooling)
    gateway = Gateway(gateway_settings(config), type_routes, metrics, log, reactor, time.time_ns)
    tls = ReloadableContext(tls_files(config), log)
    allow_list = make_allow_list(config, reactor, metrics, log)
    certificates = CertificatesInUse(tls, config)
    listed = None if allow_list is None else allow_list.allow_list
    health = GatewayHealth(config, sinks, spooling, certificates, reactor, time.time_ns, log, listed)
    measure_health(metrics, health, tls)
    traces = make_traces(config, lane_maker.watch, reactor, log)
    vehicles = VehicleFactory(
        gateway,
        issuers(config),
        ingress_limits(config.limits, log),
        reactor,
        metrics,
        log,
        traces,
        log_handshake_errors=not loaded.suppress_tls_handshake_errors,
        allow_list=listed,
        recent_refusals=gateway.recent_refusals,
    )
    traces.changed = vehicles.look_for_traces
    tls_factory = VehicleTlsFactory(tls, isClient=False, wrappedFactory=vehicles, clock=reactor)
    tls_factory.handshakes = Handshakes(metrics)
    refusals = vehicles.refusals
    transport = partial(VehicleSocket, vehicles.poller)
    vehicle_listener = Listener(
        "port", config.host, config.port, tls_factory, refusals, reactor, log, transport, vehicles.has_room
    )
    runtime = RuntimeGauges(metrics, reactor.seconds)
    in_effect, access = InEffect(config), AccessControl(access_rules(config))
    observed, observers = make_observation(config, gateway, metrics, health, reactor, log)
    profiler = Profiler(runtime.pauses, config.monitoring.profiling_path, reactor, log)
    monitors: list[Life] = [
        runtime,
        ReactorLag(metrics, reactor),
        Ticking(reactor, log, [health.health]),
        *_make_exporters(config, metrics, reactor, log),
        *observers,  # one of them locks operations.folder, in which traces are kept as well
        traces,
        profiler,
    ]
    newest_lines = written_log.recent_lines if isinstance(written_log, LineLog) else None
    log_lines = LogLines(newest_lines, lambda: in_effect.config, reactor)
    views = GatewayViews(
        health, PrometheusExporter(metrics).exposition, lambda: in_effect.config, log_lines, profiler, traces, observed
    )
    pages = _make_pages(config, views, access, metrics, reactor, log)
    if config.monitoring.profiler_port:
        pages.append(_make_profiler_page(config.monitoring, profiler, metrics, reactor, log))
    return Parts(
        gateway=gateway,
        sinks=sinks,
        lane_maker=lane_maker,
        spooling=spooling,
        vehicles=vehicles,
        tls=tls,
        tls_factory=tls_factory,
        allow_list=allow_list,
        vehicle_listener=vehicle_listener,
        pages=pages,
        health=health,
        metrics=metrics,
        monitors=monitors,
        errors=reporter,
        log=log,
        in_effect=in_effect,
        access=access,
        dead_letters=dead_letters,
        traces=traces,
        controls=make_controls(config, spooling, dead_letters, lambda: sinks.lanes, reactor, log),
    )


def _make_reporter(loaded: LoadedConfig, reactor: IGatewayReactor, log: ILog) -> IErrorReporter:
    section = loaded.config.airbrake
    if section is None or not section.project_key:
        return NullReporter()
    # Twisted's HTTP client takes a tenth of a second to import
    from fleetgw.adapters.certificates.server_tls import ServerTls
    from fleetgw.adapters.errors.airbrake import AirbrakeReporter
    from fleetgw.adapters.errors.airbrake_client import MAX_RESPONSE_BYTES, AirbrakeProject
    from fleetgw.adapters.http_client.client import HttpClient

    project = AirbrakeProject(section.host, section.project_id, section.project_key, section.environment)
    if loaded.airbrake_key_is_from_environment:
        log.info("airbrake_configured", source="environment_variable", env_key=KEY_VARIABLE)
    else:
        log.info("airbrake_configured", source="config_file")
    client = HttpClient(reactor, ServerTls.of(section.tls), MAX_RESPONSE_BYTES)
    return AirbrakeReporter(project, client, reactor, log)


def _make_exporters(config: Config, store: MetricStore, reactor: IGatewayReactor, log: ILog) -> list[Life]:
    statsd = config.monitoring.statsd
    if statsd is not None and statsd.host:
        host, port = split_address(statsd.host, 0)
        settings = StatsdSettings(host, port, statsd.prefix, statsd.sample_rate / 100, statsd.flush_period / 1000)
        return [StatsdExporter(store, settings, reactor, log)]
    return []


def _make_pages(
    config: Config, views: GatewayViews, access: AccessControl, store: MetricStore, reactor: IGatewayReactor, log: ILog
) -> list[Listener]:
    pages: list[Listener] = []
    if config.status_port:
        refusals = Refusals("status", store, log, reactor.seconds)
        faults = ClientFaults("status", store, log, reactor.seconds)
        routes = [*operator_routes(views), *page_routes()]
        streams = room_for_streams(descriptor_limit())
        status = PageSite(routes, reactor, refusals, faults, access, max_streams=streams)
        event = "status_server_configured"
        # on every address, whatever ``host`` is, as in the Go server: load balancers probe it from another network
        pages.append(Listener("status_port", "", config.status_port, status, refusals, reactor, log, started_event=event))
    monitoring = config.monitoring
    if monitoring.prometheus_metrics_port:
        refusals = Refusals("metrics", store, log, reactor.seconds)
        faults = ClientFaults("metrics", store, log, reactor.seconds)
        site = make_metrics_site(views.exposition, reactor, refusals, faults)
        key, host = "monitoring.prometheus_metrics_port", monitoring.prometheus_metrics_host
        pages.append(Listener(key, host, monitoring.prometheus_metrics_port, site, refusals, reactor, log))
    return pages


def _make_profiler_page(
    monitoring: Monitoring, profiler: Profiler, store: MetricStore, reactor: IGatewayReactor, log: ILog
) -> Listener:
    refusals = Refusals("profiler", store, log, reactor.seconds)
    site = make_profiler_site(profiler, reactor, refusals, ClientFaults("profiler", store, log, reactor.seconds))
    key, host, port = "monitoring.profiler_port", monitoring.profiler_host, monitoring.profiler_port
    return Listener(key, host, port, site, refusals, reactor, log, started_event="profiler_started")
