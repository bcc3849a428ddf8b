"""Cursors of the spool. Pure: positions in, decisions out."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence


class Cursor:
    """The progress of one sink through the spool.

    Records are handed to the sink in order and settled in any order. The cursor's position is that of the lowest record
    that is not settled: it may lag behind what is settled, and never leads. It holds as much as is with the sink.

    :ivar next_position: of the first record that was not handed to the sink; where to read on.
    """

    def __init__(self, position: int) -> None:
        """:param position: everything below it is settled."""
        self.next_position = position
        self._handed: deque[int] = deque()
        self._settled: set[int] = set()

    @property
    def position(self) -> int:
        """Everything below it is settled."""
        return self._handed[0] if self._handed else self.next_position

    @property
    def held_records(self) -> int:
        """Number of records kept in mind: those handed to the sink from the lowest that is not settled on."""
        return len(self._handed)

    def hand_out(self, positions: Sequence[int], next_position: int) -> None:
        """Take note that records are with the sink now.

        :param positions: of these records, ascending, none below the former ``next_position``.
        :param next_position: of what follows; records before it that are not in ``positions`` are not for this sink.
        :raises ValueError: the positions are not in order: the cursor would lead.
        """
        if next_position < self.next_position or (
            positions and not self.next_position <= positions[0] <= positions[-1] < next_position
        ):
            raise ValueError(f"{positions} until {next_position} do not follow {self.next_position}")
        self._handed.extend(positions)
        self.next_position = next_position

    def settle(self, positions: Iterable[int]) -> int | None:
        """Take note that records are settled; returns the new position if it has moved.

        Records that are settled already, or were never handed out, change nothing.
        """
        handed, settled = self._handed, self._settled
        before = self.position
        settled.update(position for position in positions if before <= position < self.next_position)
        while handed and handed[0] in settled:
            settled.discard(handed.popleft())
        after = self.position
        if not handed:
            settled.clear()
        return after if after != before else None


def count_unneeded(first_positions: Sequence[int], cursors: Collection[int]) -> int:
    """Number of files, from the oldest on, that hold nothing but what is settled for every sink.

    :param first_positions: of each file in order, and at last of what follows the last file.
    :param cursors: positions below which everything is settled, one for each sink; without any, no file is unneeded.
    """
    if not cursors:
        return 0
    lowest = min(cursors)
    return sum(next_first <= lowest for next_first in first_positions[1:])
