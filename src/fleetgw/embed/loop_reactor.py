"""Twisted's reactor on an asyncio loop that belongs to another program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from attrs import define
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor
from twisted.internet.posixbase import PosixReactorBase

from fleetgw.adapters.process.reactor import leave_busy_threads_behind, run_on_monotonic_time

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from fleetgw.app.service.composition import IGatewayReactor


class LoopReactor(AsyncioSelectorReactor):
    """Runs on a loop without owning it: installs no signal handlers, and never stops the loop."""

    def installWaker(self) -> None:
        """Install none: calls from threads wake the loop by ``call_soon_threadsafe``."""

    def crash(self) -> None:
        """End the reactor; the loop goes on."""
        PosixReactorBase.crash(self)

    def _initThreadPool(self) -> None:
        leave_busy_threads_behind(self)

    def end_threads(self) -> None:
        """End the threads of name look-ups, which would delay the end of the process; new ones are made on demand."""
        if self.threadpool is not None:
            self._stopThreadPool()


@define
class _Held:
    reactor: AsyncioSelectorReactor
    holders: int = 0


_held: dict[AbstractEventLoop, _Held] = {}


def hold_reactor(loop: AbstractEventLoop) -> IGatewayReactor:
    """The reactor of the running loop, until ``release_reactor``; all gateways on the loop share it.

    It becomes the process's installed reactor where there is none, for libraries that import that one.
    """
    for closed in [each for each in _held if each.is_closed()]:
        del _held[closed]
    held = _held.get(loop)
    if held is None:
        _held[loop] = held = _Held(_reactor_on(loop))
    held.holders += 1
    return cast("IGatewayReactor", held.reactor)


def release_reactor(loop: AbstractEventLoop) -> None:
    """A gateway on the loop has ended. The reactor is kept for the loop's next gateway: it is part of reference cycles."""
    held = _held[loop]
    held.holders -= 1
    if not held.holders and isinstance(held.reactor, LoopReactor):
        held.reactor.end_threads()


def _reactor_on(loop: AbstractEventLoop) -> AsyncioSelectorReactor:
    installed = cast("object", sys.modules.get("twisted.internet.reactor"))
    # its loop is private
    if isinstance(installed, AsyncioSelectorReactor) and installed._asyncioEventloop is loop:
        reactor = installed
    else:
        reactor = LoopReactor(loop)
        if installed is None:
            installReactor(reactor)
    run_on_monotonic_time(reactor)
    if not reactor.running:
        reactor.startRunning(installSignalHandlers=False)
    return reactor
