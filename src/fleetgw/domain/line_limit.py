"""The rate limit of log lines: by kind of line, and by vehicle. Pure: takes the time as an argument."""

from attrs import define, field

LINES = 5
INTERVAL_S = 10.0
"""Largest number of lines of one kind about one vehicle, in an interval of so many seconds."""

MAX_TRACKED = 10_000
"""Largest number of pairs of kind and vehicle that are counted apart; all further ones of a kind share one count."""

TEXT_CHARACTERS = 128
"""Largest number of characters of a field that a vehicle has chosen."""

_BYTES_A_CHARACTER = 4


@define
class _Window:
    """One interval of a pair of kind and vehicle.

    :ivar lines: number of lines written in it.
    :ivar unwritten: number of lines left out since the last one that was written.
    """

    since_s: float
    lines: int = 0
    unwritten: int = 0


@define
class LineLimit:
    """Decides for each line whether it is written: the one limit of all log lines that vehicles or strangers cause.

    :ivar max_tracked: see ``MAX_TRACKED``.
    :ivar interval_s: the interval in which the lines are counted.
    """

    max_tracked: int = MAX_TRACKED
    interval_s: float = INTERVAL_S
    _windows: dict[tuple[str, str], _Window] = field(factory=dict)
    _pruned_at_s: float = float("-inf")

    def admit(self, kind: str, vin: str, now_s: float, lines: int = LINES) -> int | None:
        """Decide on one line.

        :param kind: such as the name of the log event.
        :param vin: empty for a line about no vehicle.
        :param lines: largest number of lines of this kind in one interval; 1 is "once in ten seconds".
        :return: None when the line must not be written, else the number of lines that were left out before it.
        """
        window = self._windows.get((kind, vin)) or self._new_window(kind, vin, now_s)
        if now_s - window.since_s >= self.interval_s:
            window.since_s, window.lines = now_s, 0
        if window.lines >= lines:
            window.unwritten += 1
            return None
        window.lines += 1
        unwritten, window.unwritten = window.unwritten, 0
        return unwritten

    def fields(self, kind: str, vin: str, now_s: float, lines: int = LINES) -> dict[str, int] | None:
        """Decide as ``admit`` does; returns None, or the line's field ``more_unwritten``, left out when it would be 0."""
        unwritten = self.admit(kind, vin, now_s, lines)
        return None if unwritten is None else {"more_unwritten": unwritten} if unwritten else {}

    def _new_window(self, kind: str, vin: str, now_s: float) -> _Window:
        if len(self._windows) >= self.max_tracked and now_s - self._pruned_at_s >= self.interval_s:
            self._pruned_at_s = now_s
            self._windows = {key: each for key, each in self._windows.items() if now_s - each.since_s < self.interval_s}
        if len(self._windows) >= self.max_tracked:
            vin = ""
        return self._windows.setdefault((kind, vin), _Window(now_s))


def cut(text: str, characters: int = TEXT_CHARACTERS) -> str:
    """Cut a text that a vehicle has chosen; a text that was cut ends with the number of characters of the whole."""
    return text if len(text) <= characters else f"{text[:characters]}... ({len(text)} characters)"


def cut_bytes(content: bytes) -> str:
    """As ``cut``, of bytes that a vehicle has chosen; a text that was cut ends with the number of bytes of the whole."""
    if len(content) <= TEXT_CHARACTERS:
        return content.decode("utf-8", "replace")
    text = content[: TEXT_CHARACTERS * _BYTES_A_CHARACTER].decode("utf-8", "replace")[:TEXT_CHARACTERS]
    return f"{text}... ({len(content)} bytes)"
