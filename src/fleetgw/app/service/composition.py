"""Puts a gateway together from its configuration: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from attrs import define, frozen

from fleetgw.adapters.codec.codec import MAX_JSON_BYTES, RecordCodec
from fleetgw.adapters.errors.null import NullReporter
from fleetgw.adapters.ingress.factory import VehicleFactory
from fleetgw.adapters.ingress.limits import IngressLimits
from fleetgw.adapters.ingress.reloadable_context import ReloadableContext
from fleetgw.adapters.ingress.tls import VehicleTlsFactory
from fleetgw.adapters.ingress.tls_context import TlsFiles
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.logs.reporting import ReportingLog
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.runtime import RuntimeGauges
from fleetgw.adapters.metrics.statsd import StatsdExporter, StatsdSettings
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.adapters.monitoring.profiler import Profiler, make_profiler_site
from fleetgw.adapters.monitoring.sites import make_metrics_site, make_status_site
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.text.addresses import split_address
from fleetgw.app.config.ack_policies import ack_policies
from fleetgw.app.config.airbrake import KEY_VARIABLE
from fleetgw.app.config.sinks import settings_of, sink_type
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.gateway import Gateway
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.service.descriptors import capacity, descriptor_limit, descriptors_for
from fleetgw.app.service.listeners import Listener
from fleetgw.app.service.memory_ceiling import MIB, ceiling_mib
from fleetgw.app.sinks import make_sink
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.identity import DEFAULT_ISSUERS, ByExtendedKeyUsage, FixedClientType, IssuerTable
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.metrics import MEMORY_CEILING_BYTES
from fleetgw.domain.ports import DEFAULT_MEMORY_WEIGHT, IHoldsCopies
from fleetgw.domain.routing import build_routes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorCore

    from fleetgw.adapters.listening.port import IListeningReactor
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.app.config.drain import Drain
    from fleetgw.app.config.limits import Limits
    from fleetgw.app.config.loading import LoadedConfig
    from fleetgw.app.config.monitoring_sections import Monitoring
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.errors import Problem
    from fleetgw.domain.ports import IDispatcher, IErrorReporter, ILog, IMetrics
    from fleetgw.domain.routing import Route

    class IGatewayReactor(ISinkReactor, IListeningReactor, IThreadedReactor, IReactorCore):
        """The reactor interfaces that a gateway uses."""


class Life(Protocol):
    """A part of the gateway that is started once and stopped once: a listener, a sink runner, an exporter."""

    def start(self) -> Deferred[None]:
        """Begin to work; fires once the part works."""

    def stop(self) -> Deferred[None]:
        """Stop working and release all resources; fires then, and never fails. Does nothing where nothing has started."""


@define
class Serving:
    """Whether the gateway serves; the status page answers by it.

    :ivar is_on: false once the gateway begins to stop.
    """

    is_on: bool = True


@frozen
class Parts:
    """The parts of a gateway: made and connected, none started.

    :ivar lanes: by sink name.
    :ivar tls: the TLS context with the certificates that ``tls_factory`` uses.
    :ivar tls_factory: wraps each connection of ``vehicles`` in TLS.
    :ivar vehicle_listener: the port that vehicles connect to.
    :ivar pages: the ports for status, metrics and profiler, as far as they are configured.
    :ivar monitors: gauges of the process, exporters of metrics, the profiler; the first parts to start, the last to stop.
    :ivar errors: reports errors; it starts before everything else that logs, and stops after it.
    :ivar log: the destination of log events; it also hands errors to ``errors``.
    :ivar drain: the settings of the stop.
    """

    gateway: Gateway
    lanes: Mapping[str, Lane]
    vehicles: VehicleFactory
    tls: ReloadableContext
    tls_factory: VehicleTlsFactory
    vehicle_listener: Listener
    pages: Sequence[Listener]
    serving: Serving
    metrics: MetricStore
    monitors: Sequence[Life]
    errors: IErrorReporter
    log: ILog
    drain: Drain


def compose(loaded: LoadedConfig, reactor: IGatewayReactor, written_log: ILog) -> Parts:
    """Make every part of a gateway.

    :param written_log: the destination of log events.
    :raises ConfigurationError: a sink cannot be imported or made, or OpenSSL does not accept a certificate.
    """
    config = loaded.config
    reporter = _make_reporter(loaded, reactor, written_log)
    log = ReportingLog(written_log, reporter)
    metrics = MetricStore()
    serving = Serving()
    routes = build_routes(config.records, ack_policies(config))
    lanes = _make_lanes(config, routes, reactor, metrics, log)
    gateway = Gateway(
        routes=TypeRoutes(routes, lanes, metrics),
        codec=RecordCodec(
            transmit_decoded_records=config.transmit_decoded_records,
            max_json_bytes=max(MAX_JSON_BYTES, 2 * config.limits.max_message_bytes),
        ),
        metrics=metrics,
        log=log,
        max_message_bytes=config.limits.max_message_bytes,
        rate_limit=_rate_limit(config),
        tracked_vins=frozenset(config.vins_signal_tracking_enabled),
        refuse_unrouted=config.unrouted == "refuse",
        debounce_s=config.connectivity.debounce_s,
        clock=reactor,
        wall_ns=time.time_ns,
    )
    tls = ReloadableContext(TlsFiles(config.tls.ca_file, config.tls.server_cert, config.tls.server_key), log)
    vehicles = VehicleFactory(
        gateway,
        _issuers(config),
        _ingress_limits(config.limits, log),
        reactor,
        metrics,
        log,
        log_handshake_errors=not loaded.suppress_tls_handshake_errors,
    )
    tls_factory = VehicleTlsFactory(tls, isClient=False, wrappedFactory=vehicles, clock=reactor)
    refusals = vehicles.refusals
    vehicle_listener = Listener(
        "port", config.host, config.port, tls_factory, refusals, reactor, log, VehicleSocket, vehicles.has_room
    )
    runtime = RuntimeGauges(metrics, reactor.seconds)
    monitors: list[Life] = [runtime, *_make_exporters(config, metrics, reactor, log)]
    pages = _make_pages(config, serving, metrics, reactor, log)
    if config.monitoring.profiler_port:
        profiler = Profiler(runtime.pauses, config.monitoring.profiling_path, reactor, log)
        monitors.append(profiler)
        pages.append(_make_profiler_page(config.monitoring, profiler, metrics, reactor, log))
    return Parts(
        gateway,
        lanes,
        vehicles,
        tls,
        tls_factory,
        vehicle_listener,
        pages,
        serving,
        metrics,
        monitors,
        reporter,
        log,
        config.drain,
    )


def _make_reporter(loaded: LoadedConfig, reactor: IGatewayReactor, log: ILog) -> IErrorReporter:
    section = loaded.config.airbrake
    if section is None or not section.project_key:
        return NullReporter()
    from twisted.web.client import Agent  # Twisted's HTTP client, which takes a tenth of a second to import

    from fleetgw.adapters.errors.airbrake import AirbrakeReporter
    from fleetgw.adapters.errors.airbrake_client import CONNECT_TIMEOUT_S, AirbrakeProject
    from fleetgw.adapters.errors.server_tls import ServerTls

    tls = section.tls
    policy = ServerTls() if tls is None else ServerTls(tls.ca_file, tls.server_cert, tls.server_key)
    project = AirbrakeProject(section.host, section.project_id, section.project_key, section.environment)
    if loaded.airbrake_key_is_from_environment:
        log.info("airbrake_configured", source="environment_variable", env_key=KEY_VARIABLE)
    else:
        log.info("airbrake_configured", source="config_file")
    return AirbrakeReporter(project, Agent(reactor, policy, CONNECT_TIMEOUT_S), reactor, log)


def _make_exporters(config: Config, store: MetricStore, reactor: IGatewayReactor, log: ILog) -> list[Life]:
    statsd = config.monitoring.statsd
    if statsd is not None and statsd.host:
        host, port = split_address(statsd.host, 0)
        settings = StatsdSettings(host, port, statsd.prefix, statsd.sample_rate / 100, statsd.flush_period / 1000)
        return [StatsdExporter(store, settings, reactor, log)]
    return []


def _make_pages(config: Config, serving: Serving, store: MetricStore, reactor: IGatewayReactor, log: ILog) -> list[Listener]:
    pages: list[Listener] = []
    if config.status_port:
        refusals = Refusals("status", store, log, reactor.seconds)
        status = make_status_site(lambda: serving.is_on, reactor, refusals)
        event = "status_server_configured"
        # on every address, whatever ``host`` is, as in the Go server: load balancers probe it from another network
        pages.append(Listener("status_port", "", config.status_port, status, refusals, reactor, log, started_event=event))
    monitoring = config.monitoring
    if monitoring.prometheus_metrics_port:
        refusals = Refusals("metrics", store, log, reactor.seconds)
        site = make_metrics_site(PrometheusExporter(store).exposition, reactor, refusals)
        key, host = "monitoring.prometheus_metrics_port", monitoring.prometheus_metrics_host
        pages.append(Listener(key, host, monitoring.prometheus_metrics_port, site, refusals, reactor, log))
    return pages


def _make_profiler_page(
    monitoring: Monitoring, profiler: Profiler, store: MetricStore, reactor: IGatewayReactor, log: ILog
) -> Listener:
    refusals = Refusals("profiler", store, log, reactor.seconds)
    site = make_profiler_site(profiler, reactor, refusals)
    key, host, port = "monitoring.profiler_port", monitoring.profiler_host, monitoring.profiler_port
    return Listener(key, host, port, site, refusals, reactor, log, started_event="profiler_started")


def _make_lanes(
    config: Config, routes: Mapping[str, Route], reactor: IGatewayReactor, metrics: IMetrics, log: ILog
) -> dict[str, Lane]:
    lanes: dict[str, Lane] = {}
    problems: list[Problem] = []
    names = dict.fromkeys(name for route in routes.values() for name in route.sinks)
    budget = MemoryBudget(ceiling_mib(config) * MIB, max(1, len(names)))
    metrics.gauge(MEMORY_CEILING_BYTES).set_to(budget.ceiling_bytes)
    for name in names:
        record_types = tuple(record_type for record_type, route in routes.items() if name in route.sinks)
        context = SinkContext(name, settings_of(name, config), config.namespace, record_types, reactor, metrics, log)
        try:
            kind = sink_type(name, config)
            sink = make_sink(kind, context, config)
        except ConfigurationError as error:
            problems += error.problems
            continue
        settings = config.delivery.lane(name, kind.lane)
        lanes[name] = Lane(
            sink,
            BacklogLimits(settings.queue_records, settings.queue_bytes, settings.in_flight_records, settings.batch_records),
            LaneTiming(settings.gather_ms / 1000, settings.retry_initial_s, settings.retry_max_s, settings.drain_timeout_s),
            reactor,
            metrics,
            log,
            budget.share(_memory_weight(sink)),
        )
    if problems:
        raise ConfigurationError(problems)
    return lanes


def _memory_weight(sink: IDispatcher) -> float:
    return max(1.0, float(sink.memory_weight)) if IHoldsCopies.providedBy(sink) else DEFAULT_MEMORY_WEIGHT


def _issuers(config: Config) -> IssuerTable:
    return DEFAULT_ISSUERS.extended(
        {
            issuer: FixedClientType(rule) if isinstance(rule, str) else ByExtendedKeyUsage()
            for issuer, rule in config.identity.issuers.items()
        }
    )


def _rate_limit(config: Config) -> RateLimit | None:
    section = config.rate_limit
    return RateLimit(section.message_limit, section.message_interval_time) if section.enabled else None


def _ingress_limits(limits: Limits, log: ILog) -> IngressLimits:
    descriptors = descriptor_limit()
    room = capacity(limits, descriptors)
    if limits.max_connections > room.connections:
        needed = descriptors_for(limits.max_connections, limits.max_half_open)
        reason = f"is {limits.max_connections}, but {descriptors} file descriptors leave room for {room.connections}"
        log.warn("configuration_warning", key="limits.max_connections", warning=f"{reason}; set LimitNOFILE={needed}")
    return IngressLimits(
        limits.handshake_timeout_s,
        limits.message_timeout_s,
        limits.ping_after_s,
        limits.ping_timeout_s,
        limits.write_timeout_s,
        limits.max_frame_bytes,
        limits.max_pending_reply_bytes,
        room.connections,
        room.half_open,
        room.half_open_per_address,
        room.per_vehicle,
    )
