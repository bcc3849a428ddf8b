"""Bounds the log lines of one kind, and about one vehicle. Pure: takes the time as an argument."""

from attrs import define, field

LINES = 5
INTERVAL_S = 10.0
"""Of one kind about one vehicle, at most so many lines in so many seconds."""

MAX_TRACKED = 10_000
"""Pairs of kind and vehicle that are counted apart; all further ones of a kind share one count."""

TEXT_CHARACTERS = 128
"""Characters of a field that a vehicle has chosen."""


@define
class _Window:
    """The lines written since it began, and the lines left out since the last one that was written."""

    since_s: float
    lines: int = 0
    unwritten: int = 0


@define
class LineLimit:
    """Decides for each line whether it is written: the one limit of all log lines that others can cause.

    A kind may have a number of its own (1: "once in ten seconds"), and lines about no vehicle have ``vin`` empty.

    :ivar max_tracked: the bound on the table.
    """

    max_tracked: int = MAX_TRACKED
    _windows: dict[tuple[str, str], _Window] = field(factory=dict)
    _pruned_at_s: float = float("-inf")

    def admit(self, kind: str, vin: str, now_s: float, lines: int = LINES) -> int | None:
        """None when a line is not to be written, else how many were left out before it.

        :param lines: in one interval, of this kind.
        """
        window = self._windows.get((kind, vin)) or self._new_window(kind, vin, now_s)
        if now_s - window.since_s >= INTERVAL_S:
            window.since_s, window.lines = now_s, 0
        if window.lines >= lines:
            window.unwritten += 1
            return None
        window.lines += 1
        unwritten, window.unwritten = window.unwritten, 0
        return unwritten

    def fields(self, kind: str, vin: str, now_s: float, lines: int = LINES) -> dict[str, int] | None:
        """As ``admit``: None, else the field ``more_unwritten`` of the line, left out when it would be 0."""
        unwritten = self.admit(kind, vin, now_s, lines)
        return None if unwritten is None else {"more_unwritten": unwritten} if unwritten else {}

    def _new_window(self, kind: str, vin: str, now_s: float) -> _Window:
        if len(self._windows) >= self.max_tracked and now_s - self._pruned_at_s >= INTERVAL_S:
            self._pruned_at_s = now_s
            self._windows = {key: each for key, each in self._windows.items() if now_s - each.since_s < INTERVAL_S}
        if len(self._windows) >= self.max_tracked:
            vin = ""
        return self._windows.setdefault((kind, vin), _Window(now_s))


def cut(text: str, characters: int = TEXT_CHARACTERS) -> str:
    """The beginning of a text that a vehicle has chosen; says how long the whole was when it was longer."""
    return text if len(text) <= characters else f"{text[:characters]}... ({len(text)} characters)"
