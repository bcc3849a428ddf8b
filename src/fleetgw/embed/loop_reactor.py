"""Twisted's reactor on an asyncio loop that belongs to somebody else."""

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
    """Lives on a loop without owning it: takes no signals, and never stops it."""

    def installWaker(self) -> None:
        """None is needed: what comes from a thread wakes the loop by the loop's own means."""

    def crash(self) -> None:
        """End the reactor; the loop goes on."""
        PosixReactorBase.crash(self)

    def _initThreadPool(self) -> None:
        leave_busy_threads_behind(self)

    def end_threads(self) -> None:
        """Let go of the threads of name look-ups, which would hold up the end of the process; more are made when needed."""
        if self.threadpool is not None:
            self._stopThreadPool()


@define
class _Held:
    reactor: AsyncioSelectorReactor
    holders: int = 0


_held: dict[AbstractEventLoop, _Held] = {}


def hold_reactor(loop: AbstractEventLoop) -> IGatewayReactor:
    """The reactor of the running loop, to be let go by ``release_reactor``; all gateways on the loop share it.

    It is the process's installed reactor where there is no other; libraries that ask for that one get what works.
    """
    for closed in [each for each in _held if each.is_closed()]:
        del _held[closed]
    held = _held.get(loop)
    if held is None:
        _held[loop] = held = _Held(_reactor_on(loop))
    held.holders += 1
    return cast("IGatewayReactor", held.reactor)


def release_reactor(loop: AbstractEventLoop) -> None:
    """A gateway on the loop has ended. The reactor is kept for the loop's next one: it refers to itself in many ways."""
    held = _held[loop]
    held.holders -= 1
    if not held.holders and isinstance(held.reactor, LoopReactor):
        held.reactor.end_threads()


def _reactor_on(loop: AbstractEventLoop) -> AsyncioSelectorReactor:
    installed = cast("object", sys.modules.get("twisted.internet.reactor"))
    # it does not tell its loop in public
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
