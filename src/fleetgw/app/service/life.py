"""The order in which the parts of a gateway start and end, so that no acknowledged record is lost."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from fleetgw.adapters.settings.spelling import quoted
from fleetgw.app.service.deadline import given_until
from fleetgw.app.service.reloading import CredentialReloader
from fleetgw.app.service.sink_runner import SinkRunner
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from twisted.python.failure import Failure

    from fleetgw.adapters.logs.lines import LineLog
    from fleetgw.app.service.composition import IGatewayReactor, Parts

GOODBYE_S = 2.0
"""Longest time that vehicles have to answer the closing handshake when the gateway stops."""

SETTLED_BY, GOODBYES_BY, REPORTED_BY = 0.8, 0.9, 0.95
"""Shares of the time for stopping that may have passed when records have settled, when vehicles have gone, and when the
records of their going have settled. The rest is for the sinks to stop."""

LOG_READER_MIN_S, LOG_READER_MAX_S = 1.0, 5.0
"""Bounds on the time that the log may wait, in all, for a slow reader of standard output to take the last lines. Within
them it is the rest of the time for stopping."""


class Life(Protocol):
    """A part of the gateway that is started once and stopped once: a listener, a sink's runner, an exporter."""

    def start(self) -> Deferred[None]:
        """Begin to work; fires once it does."""

    def stop(self) -> Deferred[None]:
        """Stop working and release what is held; fires then, and never fails. Harmless when not started."""


class GatewayLife:
    """One gateway, from its first port to its last log line: ``bind``, then ``start``, then ``stop``, each once.

    It ends no process and no reactor: that is up to the program that the gateway runs in.

    :ivar log: the destination of events, which reports errors, too.
    """

    def __init__(self, parts: Parts, reactor: IGatewayReactor, lines: LineLog | None = None) -> None:
        """:param lines: the log, where it writes lines whose reader may be slow; None where the program's logging does."""
        self._parts = parts
        self._reactor = reactor
        self.log = parts.log
        self._lines = lines
        self._runners = [SinkRunner(lane, reactor, parts.log) for lane in parts.lanes.values()]
        self._reloader = CredentialReloader(parts.tls, self._runners, reactor, parts.log)
        self._starting: Deferred[None] | None = None

    @property
    def port(self) -> int:
        """The port that vehicles connect to, as bound; 0 while there is none."""
        return self._parts.entrance.number

    def bind(self, inherited: Mapping[str, socket.socket] = MappingProxyType({})) -> None:
        """Bind every port, while the process may still have the right to. Connections wait in the kernel.

        :param inherited: sockets that listen already, by the key of the port that each one is used for.
        :raises ConfigurationError: a port cannot be bound, or there is none for an inherited socket; names its key.
        """
        listeners = {each.key: each for each in (self._parts.entrance, *self._parts.pages)}
        if unknown := inherited.keys() - listeners.keys():
            what, fix = "is no port of this configuration, though a socket of this name is inherited", quoted(listeners)
            raise ConfigurationError([Problem(name, what, f"name it one of {fix}") for name in sorted(unknown)])
        for key, listener in listeners.items():
            listener.bind(inherited.get(key))

    def start(self) -> Deferred[None]:
        """Once the reactor runs, start monitors, pages and sinks; then let vehicles in, and fire.

        A sink whose broker is down holds up nothing. Fails with ``ConfigurationError`` when sinks cannot be started, with
        ``CancelledError`` when the gateway stops before. Cancelling gives the start up. After a failure, too, ``stop`` is to
        be called.
        """
        self._starting = Deferred.fromCoroutine(self._start())
        return self._starting

    async def _start(self) -> None:
        entrance = self._parts.entrance
        self.log.info("starting_server", host=entrance.host, port=entrance.wanted_number)
        running: Deferred[None] = Deferred()
        # a name as the Go server spells it, which log searches know
        self.log.info("custom_ca_file_appened", ca_file_path=str(self._parts.tls.files.ca_file))
        self._reactor.callWhenRunning(lambda: running.callback(None))
        await running
        for each in (self._parts.errors, *self._parts.monitors, *self._parts.pages):
            await each.start()
        await self._start_sinks()
        await entrance.start()
        await self._reloader.start()
        self.log.info("server_listening", host=entrance.host, port=entrance.number)

    async def _start_sinks(self) -> None:
        results = await DeferredList([runner.start() for runner in self._runners], consumeErrors=True)
        failures = [cast("Failure", result).value for has_started, result in results if not has_started]
        problems = [problem for each in failures if isinstance(each, ConfigurationError) for problem in each.problems]
        if problems:
            raise ConfigurationError(problems)
        if failures:  # cancelling the list has cancelled what it waits for, and not itself
            raise CancelledError

    def reload_certificates(self) -> None:
        """Read certificates and the sinks' credentials again, for new connections; a bad file keeps the old content."""
        self._reloader.reload()

    def stop(self) -> Deferred[None]:
        """End in order, within the longest ``drain_timeout_s`` of the lanes; fires when all is over. Never fails."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts, reactor, runners = self._parts, self._reactor, self._runners
        vehicles = parts.vehicles
        parts.serving.is_on = False
        if self._starting is not None:
            self._starting.cancel()
        began = reactor.seconds()
        drain_s = max((runner.drain_s for runner in runners), default=0.0)
        self.log.info("stopping_server", connections=len(vehicles.connections))
        await self._reloader.stop()
        await parts.entrance.stop()
        vehicles.pause()
        await self._drained(began, SETTLED_BY)
        vehicles.close_all("the gateway is stopping")
        goodbyes_by = min(reactor.seconds() + GOODBYE_S, began + drain_s * GOODBYES_BY)
        await given_until(goodbyes_by, vehicles.all_gone(), reactor)
        vehicles.abort_all()
        await given_until(began + drain_s * REPORTED_BY, vehicles.all_gone(), reactor)
        await self._drained(began, REPORTED_BY)  # the DISCONNECTED records
        for runner in runners:
            runner.close()
        await DeferredList([given_until(began + drain_s, runner.stop(), reactor) for runner in runners])
        if self._lines is not None:  # dead letters may be the last copies of their records
            left_s = began + drain_s - reactor.seconds()
            self._lines.wait_for_reader(min(LOG_READER_MAX_S, max(LOG_READER_MIN_S, left_s)))
        lost = sum(runner.abandon() for runner in runners)
        for each in (*parts.pages, *reversed(parts.monitors), parts.errors):
            await each.stop()
        unwritten = {} if self._lines is None else {"unwritten_log_lines": self._lines.finish()}
        self.log.info("stopped_server", undelivered_records=lost, **unwritten)

    async def _drained(self, began: float, share: float) -> None:
        """Wait for every lane to be empty, each for no more than its ``share`` of its own time."""
        waits = [given_until(began + share * each.drain_s, each.drain(), self._reactor) for each in self._runners]
        await DeferredList(waits)
