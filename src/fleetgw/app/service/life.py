"""The order in which the parts of a gateway start and end, so that no acknowledged record is lost."""

from __future__ import annotations

import traceback
from types import MappingProxyType
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.task import deferLater

from fleetgw.adapters.ingress.hot_path import DESCRIPTION
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.app.config.drain import PACED_BY
from fleetgw.app.service.deadline import with_deadline
from fleetgw.app.service.paced_closing import REASON, leave_at_pace
from fleetgw.app.service.reloading import CredentialReloader
from fleetgw.app.service.reloading_configuration import ConfigurationReloader
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.health import Phase

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

    from fleetgw.adapters.logs.lines import LineLog
    from fleetgw.app.config.sections import Config
    from fleetgw.app.service.composition import IGatewayReactor, Parts
    from fleetgw.app.service.reloading_configuration import ConfigurationSource

CLOSING_HANDSHAKE_S = 2.0
"""Longest wait for vehicles to answer the closing handshake when the gateway stops."""

SETTLED_BY, CLOSED_BY, REPORTED_BY = 0.8, 0.9, 0.95
"""Deadlines as shares of the time for stopping, after ``PACED_BY``: records are settled, connections are closed,
DISCONNECTED records are settled. The rest of the time is for the sinks to stop."""

SPOOL_MIN_S = 1.0
"""Least time for the spool to sync its last records, also when the time for stopping is over."""

LOG_READER_MIN_S, LOG_READER_MAX_S = 1.0, 5.0
"""Bounds on the wait for a slow reader of standard output to take the last log lines. Within them, the wait is the rest of
the time for stopping."""

STOP_MARGIN_S = 10.0
"""Time for the other steps of a stop, such as the log's, beside ``drain.wait_s`` and the time for stopping."""

LETTERS_STORED_S = 2.0
"""Least time for storing the records that are left when the sinks have stopped; those that take longer are logged."""


class GatewayLife:
    """One gateway: ``bind``, then ``start``, then ``stop``, each once.

    It stops neither the process nor the reactor: both belong to the program that the gateway runs in.

    :ivar log: the destination of log events; errors are reported as well.
    """

    def __init__(self, parts: Parts, reactor: IGatewayReactor, lines: LineLog | None = None) -> None:
        """:param lines: the log, where it writes lines to a reader that may be slow; None where the program has a log."""
        self._parts = parts
        self._reactor = reactor
        self.log = parts.log
        self._lines = lines
        self._credentials = CredentialReloader(
            parts.tls, parts.sinks, parts.health.certificates.read_again, reactor, parts.log
        )
        self._configuration = ConfigurationReloader(parts, reactor, lines)
        self._starting: Deferred[None] | None = None
        self._reloading: Deferred[None] | None = None
        self._changing = DeferredLock()  # held by the start, and by one reload at a time

    @property
    def port(self) -> int:
        """The port that vehicles connect to, as bound; 0 while there is none."""
        return self._parts.vehicle_listener.number

    def bind(self, inherited: Mapping[str, socket.socket] = MappingProxyType({})) -> None:
        """Bind every port, while the process may still have the right to. Connections wait in the kernel.

        :param inherited: sockets that listen already, by the key of the port that each one is used for.
        :raises ConfigurationError: a port cannot be bound, or there is none for an inherited socket; names its key.
        """
        listeners = {each.key: each for each in (self._parts.vehicle_listener, *self._parts.pages)}
        if unknown := inherited.keys() - listeners.keys():
            what, fix = "is no port of this configuration, though a socket of this name is inherited", quoted(listeners)
            raise ConfigurationError([Problem(name, what, f"name it one of {fix}") for name in sorted(unknown)])
        for key, listener in listeners.items():
            listener.bind(inherited.get(key))

    def start(self) -> Deferred[None]:
        """Once the reactor runs, start monitors, pages, the spool and sinks; then accept vehicles, and fire.

        A sink whose broker is down delays nothing. Fails with ``ConfigurationError`` when sinks cannot be started, and with
        ``CancelledError`` when the gateway stops first. Cancelling gives the start up. Call ``stop`` after a failure, too.
        """
        self._starting = self._changing.run(lambda: Deferred.fromCoroutine(self._start()))
        return self._starting

    async def _start(self) -> None:
        vehicle_listener = self._parts.vehicle_listener
        host, port = vehicle_listener.host, vehicle_listener.wanted_number
        self.log.info("starting_server", host=host, port=port, hot_path=DESCRIPTION)
        running: Deferred[None] = Deferred()
        # a name as the Go server spells it, which log searches know
        self.log.info("custom_ca_file_appened", ca_file_path=str(self._parts.tls.files.ca_file))
        self._reactor.callWhenRunning(lambda: running.callback(None))
        await running
        for each in (self._parts.errors, *self._parts.monitors, *self._parts.pages):
            await self._start_part(each.start)
        spooling = self._parts.spooling
        if spooling is not None:
            await spooling.start()
        if self._parts.dead_letters is not None:
            await self._start_part(self._parts.dead_letters.start)
        await self._parts.sinks.start()
        if spooling is not None:
            spooling.begin()
        if self._parts.allow_list is not None:
            await self._parts.allow_list.start()
        await vehicle_listener.start()
        await self._credentials.start()
        self._parts.health.phase = Phase.SERVING
        for control in self._parts.controls:
            control.start()
        self.log.info("server_listening", host=vehicle_listener.host, port=vehicle_listener.number)

    async def _start_part(self, start: Callable[[], Awaitable[None]]) -> None:
        """Start a part; what keeps it from starting is logged."""
        try:
            await start()
        except ConfigurationError as error:
            for problem in error.problems:
                self.log.error("cannot_start", key=problem.path, error=problem.what, fix=problem.fix)
            raise

    @property
    def config(self) -> Config:
        """The configuration in effect."""
        return self._configuration.config

    def status(self) -> str:
        """The state in some words."""
        health = self._parts.health.health()
        reasons = [reason.what for reason in health.reasons]
        return "; ".join([f"{health.state.value}, connections: {len(self._parts.vehicles.connections)}", *reasons])

    @property
    def longest_stop_s(self) -> float:
        """The longest time that ``stop`` may take, in seconds."""
        return self.config.drain.wait_s + self._drain_s + STOP_MARGIN_S

    @property
    def _drain_s(self) -> float:
        return max((runner.drain_s for runner in self._parts.sinks), default=0.0)

    def reload_certificates(self) -> None:
        """Read certificates and the sinks' credentials again, for new connections.

        Of a file that cannot be used, the old content stays in use.
        """
        self._credentials.reload()

    def reload(self, source: ConfigurationSource) -> Deferred[None]:
        """Read the configuration again, and take over what can change without a restart; connections stay open.

        One reload follows the other, and the first one follows the start. Fires once the configuration is in effect. Fails
        with ``ConfigurationError``, having logged every problem and changed nothing, or with ``CancelledError`` when the
        gateway stops first.
        """
        return self._changing.run(lambda: Deferred.fromCoroutine(self._reload(source)))

    async def _reload(self, source: ConfigurationSource) -> None:
        if self._parts.health.phase is not Phase.SERVING:
            raise CancelledError
        self._reloading = Deferred.fromCoroutine(self._configuration.reload(source))
        await self._reloading

    def stop(self) -> Deferred[None]:
        """Stop all parts in order; fires then, and never fails.

        After ``drain.wait_s``, it takes at most the longest ``drain_timeout_s`` of the lanes.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts, reactor, drain = self._parts, self._reactor, self.config.drain
        vehicles = parts.vehicles
        served = parts.health.phase is Phase.SERVING
        parts.health.phase = Phase.DRAINING
        if self._reloading is not None:
            self._reloading.cancel()
        runners = [*parts.sinks]
        if self._starting is not None:
            self._starting.cancel()
        drain_s = self._drain_s
        self.log.info("stopping_server", connections=len(vehicles.connections))
        if served and drain.wait_s:
            await deferLater(reactor, drain.wait_s)
        began = reactor.seconds()
        await self._stop_part(self._credentials.stop)
        await self._stop_part(parts.vehicle_listener.stop)
        if parts.allow_list is not None:
            await self._stop_part(parts.allow_list.stop)
        if parts.spooling is not None:
            parts.spooling.pause()
        for control in parts.controls:
            await self._stop_part(control.stop)
        for runner in runners:
            runner.drain()  # retries at once; waiting for it makes sense only when no vehicle sends any more
        rate_per_s = drain.rate_per_s
        if late := await leave_at_pace(vehicles.connections, rate_per_s, began + drain_s * PACED_BY, reactor):
            self.log.warn("vehicles_closed_late", connections=late, rate_per_s=rate_per_s)
        await self._drained(began, SETTLED_BY)
        vehicles.close_all(REASON)
        closed_by = min(reactor.seconds() + CLOSING_HANDSHAKE_S, began + drain_s * CLOSED_BY)
        await with_deadline(closed_by, vehicles.all_gone(), reactor)
        vehicles.abort_all()
        await with_deadline(began + drain_s * REPORTED_BY, vehicles.all_gone(), reactor)
        parts.gateway.all_disconnected()
        await self._drained(began, REPORTED_BY)  # the DISCONNECTED records
        for runner in runners:
            runner.close()
        await DeferredList([with_deadline(began + drain_s, runner.stop(), reactor) for runner in runners])
        if parts.spooling is not None:
            until_s = max(began + drain_s, reactor.seconds() + SPOOL_MIN_S)
            await with_deadline(until_s, parts.spooling.stop(), reactor)
        if self._lines is not None:  # dead letters may be the last copies of their records
            left_s = began + drain_s - reactor.seconds()
            self._lines.wait_for_reader(min(LOG_READER_MAX_S, max(LOG_READER_MIN_S, left_s)))
        lost = sum(runner.abandon() for runner in runners)
        if parts.dead_letters is not None:
            stored_by = max(began + drain_s, reactor.seconds() + LETTERS_STORED_S)
            await DeferredList([with_deadline(stored_by, runner.letters_stored(), reactor) for runner in runners])
            await with_deadline(stored_by, parts.dead_letters.stop(), reactor)
        for each in (*parts.pages, *reversed(parts.monitors), parts.errors):
            await self._stop_part(each.stop)
        parts.metrics.freeze()
        unwritten = {} if self._lines is None else {"unwritten_log_lines": self._lines.finish()}
        self.log.info("stopped_server", undelivered_records=lost, **unwritten)

    async def _stop_part(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Stop a part. One that fails, which is a defect, keeps no other from its stop."""
        try:
            await stop()
        except Exception:  # of any kind: the parts after it hold records and files
            self.log.error("stop_failed", error=traceback.format_exc())

    async def _drained(self, began: float, share: float) -> None:
        """Wait for every lane to be empty, each no longer than ``share`` of its own drain time."""
        waits = [with_deadline(began + share * each.drain_s, each.drain(), self._reactor) for each in self._parts.sinks]
        await DeferredList(waits)
