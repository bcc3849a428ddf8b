"""Support for tests whose sinks run on the reactor that Trial runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet import task

from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.testing.dispatcher_harness import DispatcherHarness

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.sinks.support.context import ISinkReactor


def the_reactor() -> ISinkReactor:
    """The reactor that Trial runs. Imported on the first call, as the import installs it."""
    from twisted.internet import reactor

    run_on_monotonic_time(reactor)  # as the gateway's, so that a test's timeouts are measured by one clock
    return cast("ISinkReactor", reactor)


async def pause(seconds: float) -> None:
    """Let time pass."""
    await task.deferLater(the_reactor(), seconds)


async def until(holds: Callable[[], object], timeout_s: float = 300.0) -> bool:
    """Wait until a condition holds, at most ``timeout_s`` seconds; returns whether it does."""
    deadline_s = the_reactor().seconds() + timeout_s
    while not holds():
        if the_reactor().seconds() > deadline_s:
            return False
        await pause(0.02)
    return True


class RealReactorHarness(DispatcherHarness):
    """A harness whose sink runs on the real reactor, in real time."""

    @property
    def reactor(self) -> ISinkReactor:
        """The reactor that Trial runs."""
        return the_reactor()

    async def a_while(self) -> None:
        """Wait for a third of a second, in which a sink that confirms too early would do so."""
        await pause(0.3)
