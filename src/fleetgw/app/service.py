"""The gateway's life: what starts after what, and how it ends without losing an acknowledged record."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, cast

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError

from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.adapters.metrics.prometheus import PrometheusMetrics
from fleetgw.adapters.monitoring.sites import make_metrics_site, make_status_site
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.metrics import UPTIME_SEC
from fleetgw.domain.ports import NotReady

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.internet.tcp import Port

    from fleetgw.app.composition import IGatewayReactor, Parts
    from fleetgw.app.config.sections import Config

LISTEN_BACKLOG = 1024
GOODBYE_S = 2.0
"""How long vehicles have to answer the closing handshake when the gateway stops."""


def tune_garbage_collection() -> None:
    """Look for cycles rarely: records make none, and each look walks over every record that is under way."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class GatewayService(Service):
    """A running gateway. Ports are bound before privileges are dropped, and read from once the sinks have started."""

    def __init__(self, parts: Parts, config: Config, reactor: IGatewayReactor) -> None:
        self.log = parts.log
        self._parts = parts
        self._config = config
        self._reactor = reactor
        self._ports: list[Port] = []
        self._door: Port | None = None
        self._stopping = False
        self._started_at = 0.0

    def privilegedStartService(self) -> None:
        """Bind every port.

        :raises ConfigurationError: a port cannot be bound; names its key.
        """
        config, reactor = self._config, self._reactor
        self._started_at = reactor.seconds()
        self._door = self._bind("port", config.host, config.port, self._parts.door)
        self._door.transport = VehicleSocket  # type: ignore[assignment]  # what ``Port`` documents; typed as its own class
        self._door.stopReading()
        if config.status_port:
            self._ports.append(
                self._bind("status_port", config.host, config.status_port, make_status_site(self._is_up, reactor))
            )
        monitoring = config.monitoring
        if isinstance(self._parts.metrics, PrometheusMetrics):
            site = make_metrics_site(self._exposition, reactor)
            host, port = monitoring.prometheus_metrics_host, monitoring.prometheus_metrics_port
            self._ports.append(self._bind("monitoring.prometheus_metrics_port", host, port, site))

    def _bind(self, key: str, host: str, port: int, factory: IProtocolFactory) -> Port:
        try:
            # a reactor's TCP port; its interface knows neither its transport nor that it can pause
            return cast("Port", self._reactor.listenTCP(port, factory, backlog=LISTEN_BACKLOG, interface=host))  # type: ignore[arg-type]  # Twisted's own type wants its Factory class
        except CannotListenError as error:
            problem = Problem(
                key, f"cannot listen on {host or '*'}:{port}: {error.socketError}", "choose a free port of this host"
            )
            raise ConfigurationError([problem]) from error

    def _is_up(self) -> bool:
        return not self._stopping

    def _exposition(self) -> bytes:
        metrics = self._parts.metrics
        metrics.gauge(UPTIME_SEC).set_to(int(self._reactor.seconds() - self._started_at))
        assert isinstance(metrics, PrometheusMetrics)  # noqa: S101  the page exists only then
        return metrics.exposition()

    def startService(self) -> None:
        """Start the sinks, then let vehicles in. A sink whose broker is down does not hold this up."""
        super().startService()
        tune_garbage_collection()
        log = self._parts.log
        log.info("starting_server", host=self._config.host, port=self._config.port)
        if self._config.status_port:
            log.info("status_server_configured", port=self._config.status_port)
        Deferred.fromCoroutine(self._open()).addErrback(self._cannot_start)

    async def _open(self) -> None:
        await gatherResults([lane.sink.start() for lane in self._parts.lanes.values()], consumeErrors=True)
        if self._door is not None and not self._stopping:
            self._door.startReading()
        for name, lane in self._parts.lanes.items():
            readiness = lane.sink.readiness()
            if isinstance(readiness, NotReady):
                self._parts.log.warn("sink_not_ready", dispatcher=name, error=readiness.reason)
        self._parts.log.info("server_listening", host=self._config.host, port=self.port)

    def _cannot_start(self, failure: object) -> None:
        self._parts.log.error("sink_start_failed", error=str(failure))
        self._reactor.stop()

    @property
    def port(self) -> int:
        """The port vehicles connect to, as bound."""
        return int(self._door.getHost().port) if self._door is not None else 0

    def reload_certificates(self) -> None:
        """Use the certificate files as they are now for new connections; a bad file keeps the old ones."""
        try:
            self._parts.tls.reload()
        except Exception as error:  # whatever OpenSSL or the file system has against the new files, the old ones serve on
            self._parts.log.error("certificates_not_reloaded", error=f"{type(error).__name__}: {error}")
        else:
            self._parts.log.info("certificates_reloaded")

    def stopService(self) -> Deferred[None]:
        """End in order, within ``delivery.drain_timeout_s``; fires when all is over. Never fails."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        vehicles, log, reactor = self._parts.vehicles, self._parts.log, self._reactor
        deadline = reactor.seconds() + self._config.delivery.drain_timeout_s
        log.info("stopping_server", connections=len(vehicles.connections))
        if self._door is not None:
            await maybeDeferred(self._door.stopListening)
        vehicles.pause()
        await self._within(deadline, [lane.settled() for lane in self._parts.lanes.values()])
        vehicles.close_all("the gateway is stopping")
        await self._within(reactor.seconds() + GOODBYE_S, [vehicles.all_gone()])
        vehicles.abort_all()
        await self._within(reactor.seconds() + GOODBYE_S, [vehicles.all_gone()])
        # the DISCONNECTED records
        await self._within(deadline, [lane.settled() for lane in self._parts.lanes.values()])
        lost = sum(lane.abandon() for lane in self._parts.lanes.values())
        await self._within(max(deadline, reactor.seconds() + 1), [lane.sink.stop() for lane in self._parts.lanes.values()])
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        log.info("stopped_server", undelivered_records=lost)

    async def _within(self, deadline: float, waiting: list[Deferred[None]]) -> None:
        """Wait for all, but not beyond ``deadline`` (reactor seconds): what is late is cancelled."""
        for deferred in waiting:
            deferred.addTimeout(max(0.0, deadline - self._reactor.seconds()), self._reactor)
            deferred.addErrback(lambda failure: failure.trap(defer.TimeoutError, CancelledError) and None)
        await DeferredList(waiting)
