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
    from types import TracebackType
    from typing import Self

    from fleetgw.app.config import Config
    from fleetgw.app.service.composition import IGatewayReactor


class TwistedGateway(EmbeddedGateway):
    """A gateway on any reactor. ``start`` and ``stop`` return Deferreds; ``async with`` works in coroutines that await such.

    It stops by itself before the reactor does. A gateway runs once. From the start on, the reactor's clock and timers follow
    ``time.monotonic``: by the wall clock, as Twisted has it, no timer would fire after a step backwards. So
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
        self._trigger: Any = None  # whatever the reactor knows it by
        self._awaiting_stop: list[Deferred[None]] = []
        self._has_stopped = False

    @staticmethod
    def _adopt(awaitable: Awaitable[object]) -> Deferred[object]:
        return Deferred.fromCoroutine(_wait_for(awaitable))

    @staticmethod
    def _awaiting(waker: Deferred[None]) -> Awaitable[None]:
        return waker

    def start(self) -> Deferred[None]:
        """Read and check the configuration, start the sinks, and let vehicles in; fires then, once the reactor runs.

        Fails with ``ConfigurationError``: the configuration cannot work, a port is taken, or a sink cannot be started;
        carries every problem found. With ``ValueError``: a listener asks for a type of record that it would never get. With
        ``RuntimeError``: it was started before. Cancelling gives it up: it fails with ``CancelledError`` when what had been
        started has stopped again.
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
        """Let no more vehicles in, settle what is held, close connections, stop the sinks; within ``drain_timeout_s``.

        Harmless when it does not run. Cancelling leaves it to end by itself. Never fails.
        """
        return self._end(in_haste=False)

    def _shut_down(self) -> Deferred[None]:
        self._trigger = None
        return self.stop()

    def _end(self, *, in_haste: bool) -> Deferred[None]:
        if self._made is None or self._has_stopped:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._awaiting_stop.remove)
        self._awaiting_stop.append(waiter)
        if not self._stopping:
            self._stopping = True
            self._stop(in_haste=in_haste).addCallback(self._stopped)
        return waiter

    def _stopped(self, _: None) -> None:
        self._has_stopped = True
        if self._reactor is not None and self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
        waiters, self._awaiting_stop = self._awaiting_stop, []
        for waiter in waiters:
            waiter.callback(None)

    def reload_certificates(self) -> None:
        """Read certificates and sinks' credentials again, for new connections; a bad file is logged and changes nothing."""
        if self._made is not None:
            self._made.life.reload_certificates()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # a reader that was left by an exception will read no more
        await self._end(in_haste=error is not None)


async def _wait_for(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _installed_reactor() -> IGatewayReactor:
    # only now: importing it installs one where the program has not
    from twisted.internet import reactor

    return cast("IGatewayReactor", reactor)
