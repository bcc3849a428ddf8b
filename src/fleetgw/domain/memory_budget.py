"""The memory budget: a ceiling for the memory of all queues together. Pure."""

import sys
from math import ceil


class MemoryBudget:
    """One ceiling for the queues of all sinks.

    Half of it is divided into guaranteed shares, one for each sink. The other half is claimed by any share, as long as it
    lasts. So a sink that hangs cannot use up the memory of another one.

    :ivar ceiling_bytes: largest memory of all shares together.
    :ivar guaranteed_bytes: memory that each share has for itself.
    :ivar unclaimed_bytes: memory that any share may still claim.
    """

    def __init__(self, ceiling_bytes: int, sinks: int) -> None:
        """:param sinks: number of shares."""
        self.ceiling_bytes = ceiling_bytes
        self.guaranteed_bytes = ceiling_bytes // (2 * sinks)
        self.unclaimed_bytes = ceiling_bytes - sinks * self.guaranteed_bytes

    def share(self, weight: float = 1.0) -> "Share":
        """Make a sink's share.

        :param weight: bytes of memory that the sink's queue takes for each byte of cost (``IHoldsCopies``).
        """
        return Share(self, weight)


class Share:
    """One sink's share of the budget. Costs are ``Record.cost_bytes``; memory is cost times the share's weight.

    :ivar budget: the budget that the share is of.
    :ivar held_bytes: cost of the records held.
    :ivar own_bytes: largest cost of records within the guaranteed part.
    """

    def __init__(self, budget: MemoryBudget, weight: float) -> None:
        self.budget = budget
        self.held_bytes = 0
        self._percent = ceil(weight * 100)  # whole numbers: with fractions two shares could exceed the budget by a byte
        self.own_bytes = budget.guaranteed_bytes * 100 // self._percent
        self._claimed_bytes = 0  # of the half that is not guaranteed to any share

    @property
    def memory_bytes(self) -> int:
        """Memory of the records held, with the copies that the sink and its client make."""
        return -(-self.held_bytes * self._percent // 100)

    @property
    def room_bytes(self) -> int:
        """Largest cost of further records."""
        budget = self.budget
        most_bytes = budget.guaranteed_bytes + self._claimed_bytes + budget.unclaimed_bytes
        return most_bytes * 100 // self._percent - self.held_bytes

    def take(self, cost_bytes: int) -> None:
        """Count records as held; ``cost_bytes`` is at most ``room_bytes``."""
        self.held_bytes = held_bytes = self.held_bytes + cost_bytes
        if held_bytes > self.own_bytes:
            self._claim()

    def give_back(self, cost_bytes: int) -> None:
        """Count records as held no more."""
        self.held_bytes -= cost_bytes
        if self._claimed_bytes:
            self._claim()

    def _claim(self) -> None:
        # computed from the held amount rather than added up: rounding leaves nothing behind
        claimed_bytes = max(0, self.memory_bytes - self.budget.guaranteed_bytes)
        self.budget.unclaimed_bytes -= claimed_bytes - self._claimed_bytes
        self._claimed_bytes = claimed_bytes


def unbounded_share() -> Share:
    """Make a share of a budget that no queue exhausts."""
    return MemoryBudget(sys.maxsize, 1).share()
