"""Destinations that a test can hold, take away and bring back, and the harness that passes this on to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fleetgw.testing.dispatcher_harness import DispatcherHarness

if TYPE_CHECKING:
    from fleetgw.testing.dispatcher_harness import Received


class Controlled(Protocol):
    """See the methods of ``DispatcherHarness``."""

    def hold(self) -> None:
        """Confirm nothing, without refusing anything."""

    def release(self) -> None:
        """End ``hold``."""

    def go_away(self) -> None:
        """Be unreachable."""

    def come_back(self) -> None:
        """End ``go_away``."""


class ControlledHarness(DispatcherHarness):
    """A harness over a destination with everything that the contract asks for.

    :ivar controlled: the destination.
    """

    controlled: Controlled

    async def hold(self) -> None:
        """Hold the destination."""
        self.controlled.hold()

    async def release(self) -> None:
        """Release it."""
        self.controlled.release()

    async def go_away(self) -> None:
        """Take it away."""
        self.controlled.go_away()

    async def come_back(self) -> None:
        """Bring it back."""
        self.controlled.come_back()


class ScriptedDestination:
    """The state behind a scripted client.

    :ivar received: records that it has, in the order of arrival.
    :ivar held: whether to confirm nothing.
    :ivar away: whether it is unreachable.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.held = False
        self.away = False

    def hold(self) -> None:
        """See ``Controlled``."""
        self.held = True

    def release(self) -> None:
        """See ``Controlled``."""
        self.held = False

    def go_away(self) -> None:
        """See ``Controlled``."""
        self.away = True

    def come_back(self) -> None:
        """See ``Controlled``."""
        self.away = False
