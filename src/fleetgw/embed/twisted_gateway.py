"""The gateway inside a Twisted program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.embed.embedded_gateway import EmbeddedGateway

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from fleetgw.app.config import Config
    from fleetgw.app.service.composition import IGatewayReactor


class TwistedGateway(EmbeddedGateway):
    """A gateway on any reactor. ``start`` and ``stop`` return Deferreds; ``async with`` works in coroutines that await them.

    The gateway stops by itself before the reactor does, and runs once. From its start on, the reactor's clock and timers
    follow ``time.monotonic``: with the wall clock, which Twisted uses, no timer would fire after a step backwards. So
    ``reactor.seconds()`` is no date; ``time.time()`` is.
    """

    def __init__(
        self,
        config: Mapping[str, object] | Config,
        *,
        reactor: object = None,
        base_dir: str | Path | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """As ``EmbeddedGateway``.

        :param reactor: default: the installed one.
        """
        super().__init__(config, base_dir=base_dir, logger=logger)
        self._given_reactor = cast("IGatewayReactor | None", reactor)
        self._started = False
        self._stopping = False
        self._trigger: Any = None  # of a type that only the reactor knows
        self._awaiting_stop: list[Deferred[None]] = []
        self._has_stopped = False

    @staticmethod
    def _adopt(awaitable: Awaitable[object]) -> Deferred[object]:
        return Deferred.fromCoroutine(_wait_for(awaitable))

    @staticmethod
    def _awaiting(waker: Deferred[None]) -> Awaitable[None]:
        return waker

    def start(self) -> Deferred[None]:
        """Read and check the configuration, start the sinks, and accept vehicles; fires then, once the reactor runs.

        Fails with ``ConfigurationError`` (the configuration has problems, a port is taken, or a sink cannot be started;
        carries every problem), ``ValueError`` (a listener asks for a record type that is not routed to listeners) or
        ``RuntimeError`` (the gateway was started before). Cancelling gives the start up: it fails with ``CancelledError``
        once all that had started has stopped again.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self._started:
            raise RuntimeError("a gateway runs once; make another")
        self._started = True
        reactor = self._given_reactor or _installed_reactor()
        run_on_monotonic_time(reactor)
        await self._open(self._make(reactor), reactor)
        self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)

    def stop(self) -> Deferred[None]:
        """Accept no more vehicles, settle records, close connections and stop the sinks.

        It takes at most ``drain.wait_s`` and ``delivery.drain_timeout_s``. Does nothing when the gateway does not run.
        Cancelling does not interrupt the stop. Never fails.
        """
        return self._end(abandon_readers=False)

    def _shut_down(self) -> Deferred[None]:
        self._trigger = None
        return self.stop()

    def _end(self, *, abandon_readers: bool) -> Deferred[None]:
        if self._made is None or self._has_stopped:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._awaiting_stop.remove)
        self._awaiting_stop.append(waiter)
        if not self._stopping:
            self._stopping = True
            self._stop(abandon_readers=abandon_readers).addCallback(self._stopped)
        return waiter

    def _stopped(self, _: None) -> None:
        self._has_stopped = True
        if self._reactor is not None and self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
        waiters, self._awaiting_stop = self._awaiting_stop, []
        for waiter in waiters:
            waiter.callback(None)

    def reload_certificates(self) -> None:
        """Read certificates and sinks' credentials again, for new connections; a file that cannot be used is logged."""
        if self._made is not None:
            self._made.life.reload_certificates()

    def reload(self, config: Mapping[str, object] | Config | None = None) -> Deferred[None]:
        """Take another configuration over while vehicles are connected; fires once it is in effect.

        The log event ``restart_needed`` names the keys that need a restart (docs/configuration.md).
        Certificates and sinks' credentials are read again, too. Fails with ``ConfigurationError`` (it has problems, or a new
        sink cannot be started; nothing has changed), ``CancelledError`` (the gateway stops) or ``RuntimeError`` (it does not
        run).

        :param config: as for the class; None for the configuration of before, whose files may have changed.
        """
        return self._reload(config)


async def _wait_for(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _installed_reactor() -> IGatewayReactor:
    # imported only now: the import installs a reactor where the program has not
    from twisted.internet import reactor

    return cast("IGatewayReactor", reactor)
