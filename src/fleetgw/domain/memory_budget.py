"""The memory that all queues together may take. Pure: shares take from it and give back to it."""

import sys
from math import ceil


class MemoryBudget:
    """One ceiling for the queues of all sinks.

    Half of it is divided into guaranteed shares, one for each sink; any share takes from the other half while there is
    some. So a sink that hangs cannot take the memory that another one needs to go on.

    :ivar ceiling_bytes: the bound on the memory of all shares together.
    """

    def __init__(self, ceiling_bytes: int, sinks: int) -> None:
        """:param sinks: how many shares there will be."""
        self.ceiling_bytes = ceiling_bytes
        self.guaranteed_bytes = ceiling_bytes // (2 * sinks)
        self.unclaimed_bytes = ceiling_bytes - sinks * self.guaranteed_bytes

    def share(self, weight: float = 1.0) -> "Share":
        """A sink's share.

        :param weight: bytes of memory that the sink's queue takes for each byte of cost (``IHoldsCopies``).
        """
        return Share(self, weight)


class Share:
    """The part of the budget that one sink's queue has taken.

    :ivar budget: it is part of.
    :ivar held_bytes: the cost of the records held.
    :ivar own_bytes: the cost of the records that the guaranteed part has room for.
    """

    def __init__(self, budget: MemoryBudget, weight: float) -> None:
        self.budget = budget
        self.held_bytes = 0
        self._percent = ceil(weight * 100)  # whole numbers: with fractions two shares could exceed the budget by a byte
        self.own_bytes = budget.guaranteed_bytes * 100 // self._percent
        self._claimed_bytes = 0  # of the half that is not guaranteed to any share

    @property
    def memory_bytes(self) -> int:
        """The memory that the records held take, the copies that the sink and its client make included."""
        return -(-self.held_bytes * self._percent // 100)

    @property
    def room_bytes(self) -> int:
        """The cost of the records that may still be taken."""
        budget = self.budget
        most_bytes = budget.guaranteed_bytes + self._claimed_bytes + budget.unclaimed_bytes
        return most_bytes * 100 // self._percent - self.held_bytes

    def take(self, cost_bytes: int) -> None:
        """Count records that fit into ``room_bytes``."""
        self.held_bytes = held_bytes = self.held_bytes + cost_bytes
        if held_bytes > self.own_bytes:
            self._claim()

    def give_back(self, cost_bytes: int) -> None:
        """Count records as gone that were taken."""
        self.held_bytes -= cost_bytes
        if self._claimed_bytes:
            self._claim()

    def _claim(self) -> None:
        # computed from what is held rather than added up: rounding leaves nothing behind
        claimed_bytes = max(0, self.memory_bytes - self.budget.guaranteed_bytes)
        self.budget.unclaimed_bytes -= claimed_bytes - self._claimed_bytes
        self._claimed_bytes = claimed_bytes


def unbounded_share() -> Share:
    """A share of a budget that no queue exhausts."""
    return MemoryBudget(sys.maxsize, 1).share()
