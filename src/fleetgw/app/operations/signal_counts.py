"""The signals of each vehicle and day as JSON values."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING

from fleetgw.adapters.text.days import day_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.domain.signal_counts import SignalCounts

MAX_TOP = 1000
"""Largest number of vehicles in one answer."""


class SignalViews:
    """Answers about signals.

    :param types: returns the number of signals by record type, since the start.
    :param since_ms: epoch milliseconds of the start.
    """

    def __init__(self, counts: SignalCounts, types: Callable[[], Mapping[str, int]], since_ms: int) -> None:
        self._counts = counts
        self._types = types
        self._since_ms = since_ms

    def signals(self, top: int) -> Mapping[str, object]:
        """The vehicles with the most signals of all days that are kept, and the sum of all others.

        :param top: largest number of vehicles; at most ``MAX_TOP``.
        """
        counts = self._counts
        today, earlier = counts.today.vehicles, counts.earlier_totals
        totals = {vin: signals + earlier.get(vin, 0) for vin, signals in today.items()}
        totals |= {vin: signals for vin, signals in earlier.items() if vin not in today}
        vins = nlargest(min(top, MAX_TOP), totals, key=lambda vin: (totals[vin], vin))
        without_own = sum(count.others for count in counts.days.values())
        return {
            "since_ms": self._since_ms,
            "days": [day_text(day) for day in counts.days],
            "total": {record_type: signals for record_type, signals in self._types().items() if signals},
            "vehicles": [
                {
                    "vin": vin,
                    "today": today.get(vin, 0),
                    "total": totals[vin],
                    "per_day": {day_text(day): signals for day, signals in counts.of(vin)},
                }
                for vin in vins
            ],
            "others": sum(totals.values()) - sum(totals[vin] for vin in vins) + without_own,
        }
