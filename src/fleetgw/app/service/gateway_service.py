"""The gateway's life: what starts after what, and how it ends without losing an acknowledged record."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.python.failure import Failure

from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.adapters.listening.port import AcceptedSocket, listen
from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.logs.lines import LineLog
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.monitoring.profiler import make_profiler_site
from fleetgw.adapters.monitoring.sites import make_metrics_site, make_status_site
from fleetgw.app.service.deadline import given_until
from fleetgw.app.service.listening_errors import explain
from fleetgw.app.service.reloading import CredentialReloader
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
    from twisted.internet.tcp import Port

    from fleetgw.app.config.sections import Config
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.service.composition import IGatewayReactor, Parts

GOODBYE_S = 2.0
"""How long vehicles have, at most, to answer the closing handshake when the gateway stops."""

SETTLED_BY, GOODBYES_BY, REPORTED_BY = 0.8, 0.9, 0.95
"""How much of the time for stopping may have passed when records have settled, when vehicles have gone, and when the records
of their going have settled. What is left is the sinks' own."""


LOG_READER_MIN_S, LOG_READER_MAX_S = 1.0, 5.0
"""Bounds on the time that the log may wait, in all, for a slow reader of standard output to take the last lines: the rest of
the time for stopping, within them."""

READY_WITHIN_S = 3.0
"""How long a sink has to reach its destination before it is named in the log; none has at once."""


class GatewayService(Service):
    """A running gateway. Ports are bound before privileges are dropped, and read from once the sinks have started.

    :ivar log: where its events go.
    :ivar exit_status: what the process should end with: 0, or 1 when a sink could not be started.
    :ivar problems: why sinks could not be started.
    """

    def __init__(self, parts: Parts, config: Config, reactor: IGatewayReactor) -> None:
        self.log = parts.log
        self.exit_status = 0
        self.problems: list[Problem] = []
        self._parts = parts
        self._config = config
        self._reactor = reactor
        self._ports: list[Port] = []
        self._door: Port | None = None
        self._starting: list[Deferred[bool]] = []
        self._started: list[Lane] = []
        self._awaiting_open: list[Deferred[None]] = []
        self._look_at_sinks: IDelayedCall | None = None
        self._reloader = CredentialReloader(parts.tls, self._started, reactor, parts.log)
        self._stopping = False

    def privilegedStartService(self) -> None:
        """Bind every port.

        :raises ConfigurationError: a port cannot be bound; names its key.
        """
        config, reactor = self._config, self._reactor
        vehicles = self._parts.vehicles
        self._door = self._bind(
            "port", config.host, config.port, self._parts.door, vehicles.refusals, VehicleSocket, vehicles.has_room
        )
        self._door.stopReading()
        if config.status_port:
            refusals = self._refusals("status")
            status = make_status_site(self._is_up, reactor, refusals)
            # on every address whatever ``host`` is, as the Go server: probes come from elsewhere than vehicles
            self._ports.append(self._bind("status_port", "", config.status_port, status, refusals))
        monitoring = config.monitoring
        if monitoring.prometheus_metrics_port:
            refusals = self._refusals("metrics")
            site = make_metrics_site(PrometheusExporter(self._parts.metrics).exposition, reactor, refusals)
            host, port = monitoring.prometheus_metrics_host, monitoring.prometheus_metrics_port
            self._ports.append(self._bind("monitoring.prometheus_metrics_port", host, port, site, refusals))
        if monitoring.profiler_port:
            refusals = self._refusals("profiler")
            site = make_profiler_site(self._parts.profiler, reactor, refusals)
            host, port = monitoring.profiler_host, monitoring.profiler_port
            self._ports.append(self._bind("monitoring.profiler_port", host, port, site, refusals))
        for monitor in (self._parts.errors, *self._parts.monitors):
            monitor.start()

    def _refusals(self, listener: str) -> Refusals:
        return Refusals(listener, self._parts.metrics, self.log, self._reactor.seconds)

    def _bind(
        self,
        key: str,
        host: str,
        port: int,
        factory: IProtocolFactory,
        refusals: Refusals,
        transport: type[AcceptedSocket] = AcceptedSocket,
        has_room: Callable[[], bool] | None = None,
    ) -> Port:
        try:
            return listen(self._reactor, host, port, factory, refusals, transport, has_room)
        except CannotListenError as error:
            reason = explain(port, error.socketError)
            problem = Problem(key, f"cannot listen on {host or '*'}:{port}, which {reason.what}", reason.fix)
            raise ConfigurationError([problem]) from error

    def _is_up(self) -> bool:
        return not self._stopping

    def startService(self) -> None:
        """Start the sinks once the reactor runs, then let vehicles in. A sink whose broker is down holds up nothing."""
        super().startService()
        self.log.info("starting_server", host=self._config.host, port=self._config.port)
        if self._config.status_port:
            self.log.info("status_server_configured", port=self._config.status_port)
        if self._config.monitoring.profiler_port:
            self.log.info("profiler_started", port=self._config.monitoring.profiler_port)
        # a name as the Go server spells it, which log searches know
        self.log.info("custom_ca_file_appened", ca_file_path=str(self._config.tls.ca_file))
        self._reactor.callWhenRunning(lambda: Deferred.fromCoroutine(self._open()))

    def opened(self) -> Deferred[None]:
        """Fires once vehicles are let in; to be asked for before ``startService``.

        Fails with ``ConfigurationError`` when a sink cannot be started, with ``CancelledError`` when the gateway stops.
        """
        waiter: Deferred[None] = Deferred(self._awaiting_open.remove)
        self._awaiting_open.append(waiter)
        return waiter

    def _tell_opened(self, result: Failure | None) -> None:
        waiters, self._awaiting_open = self._awaiting_open, []
        for waiter in waiters:
            waiter.callback(result)

    async def _open(self) -> None:
        lanes = self._parts.lanes
        self._starting = [Deferred.fromCoroutine(self._start_sink(lane)) for lane in lanes.values()]
        all_started = all([await starting for starting in self._starting])
        if self._stopping:
            return
        if not all_started:
            self.exit_status = 1
            self._tell_opened(Failure(ConfigurationError(self.problems)))
            self.end()
            return
        if self._door is not None:
            self._door.startReading()
        self._reloader.start()
        self._look_at_sinks = self._reactor.callLater(READY_WITHIN_S, self._name_sinks_not_ready)
        self.log.info("server_listening", host=self._config.host, port=self.port)
        self._tell_opened(None)

    def _name_sinks_not_ready(self) -> None:
        self._look_at_sinks = None
        for name, lane in self._parts.lanes.items():
            readiness = lane.sink.readiness()
            if isinstance(readiness, NotReady):
                self.log.warn("sink_not_ready", dispatcher=name, error=readiness.reason)

    async def _start_sink(self, lane: Lane) -> bool:
        try:
            await lane.sink.start()
        except CancelledError:
            return False
        except ConfigurationError as error:
            self.problems += error.problems
            for problem in error.problems:
                self.log.error(
                    "sink_start_failed",
                    dispatcher=lane.sink.name,
                    key=problem.path,
                    error=problem.what,
                    fix=problem.fix,
                )
            return False
        except Exception as error:  # the port allows no other; a third party's sink may do anything
            what = f"{type(error).__name__}: {error}"
            self.problems.append(Problem(lane.sink.name, f"the sink cannot start: {what}", "see its documentation"))
            self.log.error("sink_start_failed", dispatcher=lane.sink.name, error=what)
            return False
        self._started.append(lane)
        return True

    def end(self) -> None:
        """Have the process end in order; harmless when it is ending already."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    @property
    def port(self) -> int:
        """The port vehicles connect to, as bound; 0 while there is none."""
        return int(self._door.getHost().port) if self._door is not None else 0

    def reload_certificates(self) -> None:
        """Read certificates and the sinks' credentials again, for new connections; a bad file keeps the old content."""
        self._reloader.reload()

    def stopService(self) -> Deferred[None]:
        """End in order, within the longest ``drain_timeout_s`` of the lanes; fires when all is over. Never fails."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._tell_opened(Failure(CancelledError()))
        self._reloader.stop()
        if self._look_at_sinks is not None:
            self._look_at_sinks.cancel()
        vehicles, reactor = self._parts.vehicles, self._reactor
        lanes = list(self._parts.lanes.values())
        began = reactor.seconds()
        drain_s = max((lane.timing.drain_s for lane in lanes), default=0.0)
        self.log.info("stopping_server", connections=len(vehicles.connections))
        door, self._door = self._door, None
        if door is not None:
            await maybeDeferred(door.stopListening)
        for starting in self._starting:
            starting.cancel()
        vehicles.pause()
        await self._drained(lanes, began, SETTLED_BY)
        vehicles.close_all("the gateway is stopping")
        goodbyes_by = min(reactor.seconds() + GOODBYE_S, began + drain_s * GOODBYES_BY)
        await given_until(goodbyes_by, vehicles.all_gone(), reactor)
        vehicles.abort_all()
        await given_until(began + drain_s * REPORTED_BY, vehicles.all_gone(), reactor)
        await self._drained(lanes, began, REPORTED_BY)  # the DISCONNECTED records
        for lane in lanes:
            lane.close()
        await DeferredList([Deferred.fromCoroutine(self._stop_sink(lane, began + drain_s)) for lane in self._started])
        self._wait_for_log_reader(began + drain_s - reactor.seconds())
        lost = sum(lane.abandon() for lane in lanes)
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        await DeferredList([monitor.stop() for monitor in reversed(self._parts.monitors)])
        await self._parts.errors.stop()
        written = self._parts.written_log
        unwritten = {"unwritten_log_lines": written.finish()} if isinstance(written, LineLog) else {}
        self.log.info("stopped_server", undelivered_records=lost, **unwritten)

    def _wait_for_log_reader(self, left_s: float) -> None:
        """Dead letters may be the last copies of their records: from now on the log may wait for a reader that is slow."""
        written = self._parts.written_log
        if isinstance(written, LineLog):
            written.wait_for_reader(min(LOG_READER_MAX_S, max(LOG_READER_MIN_S, left_s)))

    async def _drained(self, lanes: Iterable[Lane], began: float, share: float) -> None:
        """Wait for every lane to be empty, each for no more than its ``share`` of its own time."""
        await DeferredList([given_until(began + share * lane.timing.drain_s, lane.drain(), self._reactor) for lane in lanes])

    async def _stop_sink(self, lane: Lane, deadline_s: float) -> None:
        try:
            await given_until(deadline_s, lane.sink.stop(), self._reactor)
        except Exception as error:  # the port allows none; the other parts are to be stopped all the same
            self.log.error("sink_stop_failed", dispatcher=lane.sink.name, error=f"{type(error).__name__}: {error}")
