"""The gateway inside an asyncio program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError as StoppedError
from twisted.internet.defer import Deferred

from fleetgw.embed.embedded_gateway import EmbeddedGateway
from fleetgw.embed.loop_reactor import hold_reactor, release_reactor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from fleetgw.app.config import Config


class Gateway(EmbeddedGateway):
    """A gateway on the running asyncio loop: ``async with Gateway({...}) as gateway:``, or ``start`` and ``stop``.

    The loop belongs to the program: nothing blocks it (files are read in its executor), no signal handler is installed, and
    any number of gateways may share it. A gateway runs once.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _stopping: asyncio.Future[None] | None = None

    @staticmethod
    def _adopt(awaitable: Awaitable[object]) -> Deferred[object]:
        return Deferred.fromFuture(asyncio.ensure_future(awaitable))

    @staticmethod
    def _awaiting(waker: Deferred[None]) -> Awaitable[None]:
        return waker.asFuture(asyncio.get_running_loop())

    async def start(self) -> None:
        """Read and check the configuration, start the sinks, and accept vehicles.

        Cancelling gives the start up: ``CancelledError`` is raised once all that had started has stopped again.

        :raises ConfigurationError: the configuration has problems, a port is taken, or a sink cannot be started; carries
            every problem.
        :raises ValueError: a listener asks for a record type that is not routed to listeners.
        :raises RuntimeError: the gateway was started before.
        """
        if self._loop is not None:
            raise RuntimeError("a gateway runs once; make another")
        self._loop = loop = asyncio.get_running_loop()
        reactor = hold_reactor(loop)
        try:
            made = await loop.run_in_executor(None, self._make, reactor)
            opening = Deferred.fromCoroutine(self._open(made, reactor))
            opened = opening.asFuture(loop)
            try:
                await asyncio.wait([opened])
            except asyncio.CancelledError:
                opening.cancel()
                await asyncio.wait([opened])
                if opened.exception() is None:  # it had started already
                    await self._end(abandon_readers=True)
                raise
            opened.result()
        except BaseException:
            if self._made is None:
                release_reactor(loop)
            raise

    async def stop(self) -> None:
        """Accept no more vehicles, settle records, close connections and stop the sinks.

        It takes at most ``drain.wait_s`` and ``delivery.drain_timeout_s``. Does nothing when the gateway does not run.
        Cancelling does not interrupt the stop.
        """
        await self._end(abandon_readers=False)

    async def _end(self, *, abandon_readers: bool) -> None:
        if self._made is None or self._loop is None:
            return
        if self._stopping is None:
            loop = self._loop
            self._stopping = self._stop(abandon_readers=abandon_readers).asFuture(loop)
            self._stopping.add_done_callback(lambda _: release_reactor(loop))
        await asyncio.shield(self._stopping)

    async def reload_certificates(self) -> None:
        """Read certificates and sinks' credentials again, for new connections; a file that cannot be used is logged."""
        if self._made is not None:
            self._made.life.reload_certificates()

    async def reload(self, config: Mapping[str, object] | Config | None = None) -> None:
        """Take another configuration over while vehicles are connected; returns once it is in effect.

        The log event ``restart_needed`` names the keys that need a restart (docs/configuration.md).
        Certificates and sinks' credentials are read again, too. Cancelling does not interrupt it.

        :param config: as for the class; None for the configuration of before, whose files may have changed.
        :raises ConfigurationError: it has problems, or a new sink cannot be started; nothing has changed.
        :raises RuntimeError: the gateway does not run, or stops meanwhile.
        """
        reloaded = self._reload(config).asFuture(asyncio.get_running_loop())
        reloaded.add_done_callback(asyncio.Future.exception)  # retrieved even where the caller was cancelled; it is logged
        try:
            await asyncio.shield(reloaded)
        except StoppedError as error:
            raise RuntimeError("the gateway stops") from error
