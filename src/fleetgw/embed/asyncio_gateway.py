"""The gateway inside an asyncio program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from fleetgw.embed.embedded_gateway import EmbeddedGateway
from fleetgw.embed.loop_reactor import hold_reactor, release_reactor

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType
    from typing import Self


class Gateway(EmbeddedGateway):
    """A gateway on the running asyncio loop: ``async with Gateway({...}) as gateway:``, or ``start`` and ``stop``.

    The loop stays the program's: nothing blocks it (files are read in its executor), no signal handler is taken, and any
    number of gateways may share it. A gateway runs once.
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
        """Read and check the configuration, start the sinks, and let vehicles in.

        Cancelling gives it up: ``CancelledError`` comes when what had been started has stopped again.

        :raises ConfigurationError: it cannot work, a port is taken, or a sink cannot be started; carries every problem.
        :raises ValueError: a listener asks for a type of record that it would never get.
        :raises RuntimeError: it was started before.
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
                if opened.exception() is None:  # it was open already
                    await self._end(in_haste=True)
                raise
            opened.result()
        except BaseException:
            if self._made is None:
                release_reactor(loop)
            raise

    async def stop(self) -> None:
        """Let no more vehicles in, settle what is held, close connections, stop the sinks; within ``drain_timeout_s``.

        Harmless when it does not run. Cancelling leaves it to end by itself.
        """
        await self._end(in_haste=False)

    async def _end(self, *, in_haste: bool) -> None:
        if self._made is None or self._loop is None:
            return
        if self._stopping is None:
            loop = self._loop
            self._stopping = self._stop(in_haste=in_haste).asFuture(loop)
            self._stopping.add_done_callback(lambda _: release_reactor(loop))
        await asyncio.shield(self._stopping)

    async def reload_certificates(self) -> None:
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
