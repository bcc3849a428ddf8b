"""Closing vehicles at a pace, so that a fleet does not reconnect in one second."""

from __future__ import annotations

from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Protocol

from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from twisted.internet.interfaces import IReactorTime

GROUP_S = 0.1
"""Vehicles that are to be closed within this time are closed together."""

REASON = "the gateway is stopping"


class Leaver(Protocol):
    """A connection as it is closed. Compared by identity."""

    def __hash__(self) -> int: ...

    def leave(self, reason: str) -> None:
        """Read no more; close once all records are settled."""


async def leave_at_pace(connections: AbstractSet[Leaver], rate_per_s: float, until_s: float, clock: IReactorTime) -> int:
    """Have all connections leave: ``rate_per_s`` of them in a second, and the rest at ``until_s``.

    Fires once all have begun to leave; the first ones do before this returns.

    :param connections: changes meanwhile; no connection comes in addition.
    :param rate_per_s: 0 for all at once.
    :return: the number of connections left at ``until_s``.
    """
    waiting = (each for each in tuple(connections) if each in connections)
    size = ceil(rate_per_s * GROUP_S) or None
    for each in islice(waiting, size):
        each.leave(REASON)
    due_s = clock.seconds()
    while size and (following := next(waiting, None)) is not None:
        due_s += size / rate_per_s
        await deferLater(clock, max(0.0, min(due_s, until_s) - clock.seconds()))
        is_late = clock.seconds() >= until_s
        group = [following, *islice(waiting, None if is_late else size - 1)]
        for each in group:
            each.leave(REASON)
        if is_late:
            return len(group)
    return 0
