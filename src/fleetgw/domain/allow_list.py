"""The allow list: the vehicles that may connect, as its source last told them. Pure: takes the time as an argument."""

from __future__ import annotations

from attrs import define, frozen


@frozen
class Allowed:
    """The vehicle may connect."""


@frozen
class NotListed:
    """The list does not have the vehicle."""


@frozen
class NoList:
    """There is no list to decide by. ``reason`` is for the operator."""

    reason: str


Decision = Allowed | NotListed | NoList

ALLOWED, NOT_LISTED = Allowed(), NotListed()


@define(eq=False)
class AllowList:
    """Decides which vehicles may connect, by the last answer of its source.

    :ivar stale_s: seconds that an answer holds after the source was last reached; 0: without limit.
    :ivar vehicles: device ids (VINs) of the last answer; None before the first.
    :ivar answered_at: monotonic seconds of the last answer, changed or not.
    :ivar failure: reason of the last failure since then; empty: none.
    """

    stale_s: float
    vehicles: frozenset[str] | None = None
    answered_at: float = 0.0
    failure: str = "has not answered yet"

    def answered(self, vehicles: frozenset[str] | None, now: float) -> None:
        """The source has answered; None: its list has not changed."""
        if vehicles is not None:
            self.vehicles = vehicles
        self.answered_at, self.failure = now, ""

    def failed(self, reason: str) -> None:
        """The source could not be read, or gave something that is no list. The last answer stays."""
        self.failure = reason

    def left_s(self, now: float) -> float | None:
        """Seconds that the last answer still holds, at least 0; None: without limit, or there is none."""
        if self.vehicles is None or not self.stale_s:
            return None
        return max(0.0, self.answered_at + self.stale_s - now)

    def decide(self, vehicle: str, now: float) -> Decision:
        """Decide on a vehicle by its device id."""
        if self.vehicles is None:
            return NoList(f"the allow list (vehicles.allow) was never read: {self.failure}")
        if self.left_s(now) == 0:
            return NoList(f"the allow list (vehicles.allow) is older than its stale_s: {self.failure or 'no answer'}")
        return ALLOWED if vehicle in self.vehicles else NOT_LISTED

    def fault(self, now: float) -> str:
        """A fault of its source with the effect on vehicles, for people; empty while the source answers.

        It has no reason: that may quote an entry of the list.
        """
        if self.vehicles is None or self.left_s(now) == 0:
            return "the allow list (vehicles.allow) cannot be read, and no vehicle can connect"
        return "the allow list (vehicles.allow) cannot be read, and its last answer is in use" if self.failure else ""
