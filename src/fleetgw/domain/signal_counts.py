"""Counts of signals by vehicle and UTC day, over all accepted records: Tesla bills the signals that are streamed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, field

KEPT_DAYS = 8
"""Number of days that are kept, with today: the newest ones that there are."""

MAX_VEHICLES = 100_000
"""Largest number of vehicles with a count of their own a day; the signals of further ones are counted together."""

DAY_NS = 86_400_000_000_000


def kept_days(days: Iterable[int], today: int) -> list[int]:
    """Those of some days that are kept, oldest first: the newest ``KEPT_DAYS`` up to tomorrow.

    They are not those of the last week: a clock that is far ahead for a while would have all others forgotten.
    """
    return sorted(day for day in days if day <= today + 1)[-KEPT_DAYS:]


@define
class DayCount:
    """The signals of one day.

    :ivar vehicles: number of signals by VIN, of at most ``MAX_VEHICLES``.
    :ivar others: number of signals of all other vehicles.
    """

    vehicles: dict[str, int] = field(factory=dict)
    others: int = 0

    def add(self, vin: str, signals: int) -> None:
        """Count signals of a vehicle. Called on the hot path."""
        counted = self.vehicles.get(vin)
        if counted is not None:
            self.vehicles[vin] = counted + signals
        elif len(self.vehicles) < MAX_VEHICLES:
            self.vehicles[vin] = signals
        else:
            self.others += signals


@define(eq=False)
class SignalCounts:
    """The newest ``KEPT_DAYS`` days with counts.

    A record that a vehicle sends again counts again, as it was streamed again; so does one that deduplication finds. The
    counts belong to the VIN, whatever the number of its connections.

    :ivar day: today's number since the epoch, as ``begin_day`` was told last; a record counts for this day.
    :ivar today: today's count.
    """

    day: int
    today: DayCount = field(factory=DayCount, init=False)
    _days: dict[int, DayCount] = field(init=False)
    _earlier: dict[str, int] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._days = {self.day: self.today}

    @property
    def days(self) -> Mapping[int, DayCount]:
        """The counts by day, today's first."""
        return {day: self._days[day] for day in sorted(self._days, reverse=True)}

    def begin_day(self, day: int) -> None:
        """Count for another day from now on, and forget those that ``kept_days`` leaves out; a clock that is set back keeps
        tomorrow."""
        if day != self.day:
            self.day, self.today = day, self._days.setdefault(day, DayCount())
            self._forget()

    def restore(self, day: int, counted: DayCount) -> None:
        """Add the counts of an earlier run of the gateway."""
        known = self._days.setdefault(day, DayCount())
        for vin, signals in counted.vehicles.items():
            known.add(vin, signals)
        known.others += counted.others
        self._forget()

    def of(self, vin: str) -> Iterator[tuple[int, int]]:
        """Days and numbers of signals of a vehicle, of the days on which it has sent some, today first."""
        for day, count in self.days.items():
            if vin in count.vehicles:
                yield day, count.vehicles[vin]

    @property
    def earlier_totals(self) -> Mapping[str, int]:
        """The sums of all days but today, by VIN; computed once a day, as it takes about 10 ms for 10,000 vehicles."""
        if self._earlier is None:
            totals: Counter[str] = Counter()
            for day, count in self._days.items():
                if day != self.day:
                    totals.update(count.vehicles)
            self._earlier = totals
        return self._earlier

    def _forget(self) -> None:
        self._earlier = None
        self._days = {day: self._days[day] for day in kept_days(self._days, self.day)}
