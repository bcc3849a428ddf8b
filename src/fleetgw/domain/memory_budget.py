"""The memory budget: a ceiling for the memory of all queues together. Pure."""

import sys
from math import ceil


class MemoryBudget:
    """One ceiling for the queues of all sinks.

    Half of it is divided into guaranteed shares, one for each sink. The other half is claimed by any share, as long as it
    lasts. So a sink that hangs cannot use up the memory of another one. A sink that is added later has half of the memory
    that is guaranteed to nobody. Where other shares hold that memory already, they take no more until they have given it
    back, and the sum may be above the ceiling until then.

    :ivar ceiling_bytes: largest memory of all shares together.
    :ivar unclaimed_bytes: memory that any share may still claim; below 0 while others hold the memory of one that was added.
    """

    def __init__(self, ceiling_bytes: int, sinks: int) -> None:
        """:param sinks: number of shares at first."""
        self.ceiling_bytes = ceiling_bytes
        self._each_bytes = ceiling_bytes // (2 * sinks)
        self.unclaimed_bytes = self._free_bytes = ceiling_bytes - sinks * self._each_bytes

    def share(self, weight: float = 1.0) -> "Share":
        """Make the share of one of the first sinks.

        :param weight: bytes of memory that the sink's queue takes for each byte of cost (``IHoldsCopies``).
        """
        return Share(self, weight, self._each_bytes)

    def further_share(self, weight: float = 1.0) -> "Share":
        """Make the share of a sink that is added; ``weight`` is as above."""
        guaranteed_bytes = self._free_bytes // 2
        self._free_bytes -= guaranteed_bytes
        self.unclaimed_bytes -= guaranteed_bytes
        return Share(self, weight, guaranteed_bytes)

    def end(self, share: "Share") -> None:
        """Take back the share of a sink that has ended, and holds nothing."""
        self._free_bytes += share.guaranteed_bytes
        self.unclaimed_bytes += share.guaranteed_bytes


class Share:
    """One sink's share of the budget. Costs are ``Record.cost_bytes``; memory is cost times the share's weight.

    :ivar budget: the budget that the share is of.
    :ivar guaranteed_bytes: memory that the share has for itself.
    :ivar held_bytes: cost of the records held.
    :ivar own_bytes: largest cost of records within the guaranteed part.
    """

    def __init__(self, budget: MemoryBudget, weight: float, guaranteed_bytes: int) -> None:
        self.budget = budget
        self.guaranteed_bytes = guaranteed_bytes
        self.held_bytes = 0
        self._percent = ceil(weight * 100)  # whole numbers: with fractions two shares could exceed the budget by a byte
        self.own_bytes = guaranteed_bytes * 100 // self._percent
        self._claimed_bytes = 0  # of the half that is not guaranteed to any share

    @property
    def memory_bytes(self) -> int:
        """Memory of the records held, with the copies that the sink and its client make."""
        return -(-self.held_bytes * self._percent // 100)

    @property
    def room_bytes(self) -> int:
        """Largest cost of further records."""
        most_bytes = self.guaranteed_bytes + self._claimed_bytes + max(0, self.budget.unclaimed_bytes)
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
        claimed_bytes = max(0, self.memory_bytes - self.guaranteed_bytes)
        self.budget.unclaimed_bytes -= claimed_bytes - self._claimed_bytes
        self._claimed_bytes = claimed_bytes


def unbounded_share() -> Share:
    """Make a share of a budget that no queue exhausts."""
    return MemoryBudget(sys.maxsize, 1).share()
