"""What tests share whose sinks live on the reactor that Trial runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet import task

from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.testing.dispatcher_harness import DispatcherHarness

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.sinks.support.context import ISinkReactor


def the_reactor() -> ISinkReactor:
    """The one that Trial runs; not before it is needed, for asking for it installs it."""
    from twisted.internet import reactor

    run_on_monotonic_time(reactor)  # as the gateway's; a time-out of a test must not be measured by two clocks
    return cast("ISinkReactor", reactor)


async def pause(seconds: float) -> None:
    """Let time pass."""
    await task.deferLater(the_reactor(), seconds)


async def until(holds: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Wait until something holds, for a bounded time; whether it does."""
    deadline_s = the_reactor().seconds() + timeout_s
    while not holds():
        if the_reactor().seconds() > deadline_s:
            return False
        await pause(0.02)
    return True


class RealReactorHarness(DispatcherHarness):
    """A harness whose sink lives on the real reactor: time passes by itself."""

    @property
    def reactor(self) -> ISinkReactor:
        """The one that Trial runs."""
        return the_reactor()

    async def a_while(self) -> None:
        """Wait for a third of a second: what a mistaken sink would confirm at once, it confirms within it."""
        await pause(0.3)
