"""The order in which the parts of a gateway start and end, so that no acknowledged record is lost."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater

from fleetgw.adapters.settings.spelling import quoted
from fleetgw.app.config.drain import PACED_BY
from fleetgw.app.service.deadline import with_deadline
from fleetgw.app.service.paced_closing import REASON, leave_at_pace
from fleetgw.app.service.reloading import CredentialReloader
from fleetgw.app.service.sink_runner import SinkRunner
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from twisted.python.failure import Failure

    from fleetgw.adapters.logs.lines import LineLog
    from fleetgw.app.service.composition import IGatewayReactor, Parts

CLOSING_HANDSHAKE_S = 2.0
"""Longest wait for vehicles to answer the closing handshake when the gateway stops."""

SETTLED_BY, CLOSED_BY, REPORTED_BY = 0.8, 0.9, 0.95
"""Deadlines as shares of the time for stopping, after ``PACED_BY``: records are settled, connections are closed,
DISCONNECTED records are settled. The rest of the time is for the sinks to stop."""

LOG_READER_MIN_S, LOG_READER_MAX_S = 1.0, 5.0
"""Bounds on the wait for a slow reader of standard output to take the last log lines. Within them, the wait is the rest of
the time for stopping."""


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
        self._runners = [SinkRunner(lane, reactor, parts.log) for lane in parts.lanes.values()]
        self._reloader = CredentialReloader(parts.tls, self._runners, reactor, parts.log)
        self._starting: Deferred[None] | None = None
        self._serves = False

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
        """Once the reactor runs, start monitors, pages and sinks; then accept vehicles, and fire.

        A sink whose broker is down delays nothing. Fails with ``ConfigurationError`` when sinks cannot be started, and with
        ``CancelledError`` when the gateway stops first. Cancelling gives the start up. Call ``stop`` after a failure, too.
        """
        self._starting = Deferred.fromCoroutine(self._start())
        return self._starting

    async def _start(self) -> None:
        vehicle_listener = self._parts.vehicle_listener
        self.log.info("starting_server", host=vehicle_listener.host, port=vehicle_listener.wanted_number)
        running: Deferred[None] = Deferred()
        # a name as the Go server spells it, which log searches know
        self.log.info("custom_ca_file_appened", ca_file_path=str(self._parts.tls.files.ca_file))
        self._reactor.callWhenRunning(lambda: running.callback(None))
        await running
        for each in (self._parts.errors, *self._parts.monitors, *self._parts.pages):
            await each.start()
        await self._start_sinks()
        await vehicle_listener.start()
        await self._reloader.start()
        self._serves = True
        self.log.info("server_listening", host=vehicle_listener.host, port=vehicle_listener.number)

    async def _start_sinks(self) -> None:
        results = await DeferredList([runner.start() for runner in self._runners], consumeErrors=True)
        failures = [cast("Failure", result).value for has_started, result in results if not has_started]
        problems = [problem for each in failures if isinstance(each, ConfigurationError) for problem in each.problems]
        if problems:
            raise ConfigurationError(problems)
        if failures:  # cancelling the list has cancelled its Deferreds, and not itself
            raise CancelledError

    def reload_certificates(self) -> None:
        """Read certificates and the sinks' credentials again, for new connections.

        Of a file that cannot be used, the old content stays in use.
        """
        self._reloader.reload()

    def stop(self) -> Deferred[None]:
        """Stop all parts in order; fires then, and never fails.

        After ``drain.wait_s``, it takes at most the longest ``drain_timeout_s`` of the lanes.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts, reactor, runners = self._parts, self._reactor, self._runners
        vehicles = parts.vehicles
        parts.serving.is_on = False
        if self._starting is not None:
            self._starting.cancel()
        drain_s = max((runner.drain_s for runner in runners), default=0.0)
        self.log.info("stopping_server", connections=len(vehicles.connections))
        if self._serves and parts.drain.wait_s:
            await deferLater(reactor, parts.drain.wait_s)
        began = reactor.seconds()
        await self._reloader.stop()
        await parts.vehicle_listener.stop()
        for runner in runners:
            runner.drain()  # retries at once; waiting for it makes sense only when no vehicle sends any more
        rate_per_s = parts.drain.rate_per_s
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
        if self._lines is not None:  # dead letters may be the last copies of their records
            left_s = began + drain_s - reactor.seconds()
            self._lines.wait_for_reader(min(LOG_READER_MAX_S, max(LOG_READER_MIN_S, left_s)))
        lost = sum(runner.abandon() for runner in runners)
        for each in (*parts.pages, *reversed(parts.monitors), parts.errors):
            await each.stop()
        unwritten = {} if self._lines is None else {"unwritten_log_lines": self._lines.finish()}
        self.log.info("stopped_server", undelivered_records=lost, **unwritten)

    async def _drained(self, began: float, share: float) -> None:
        """Wait for every lane to be empty, each no longer than ``share`` of its own drain time."""
        waits = [with_deadline(began + share * each.drain_s, each.drain(), self._reactor) for each in self._runners]
        await DeferredList(waits)
