"""A batch under way to a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.context import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record


class BatchUnderWay:
    """One ``dispatch``: an outcome for each record, and the answer once the last is known.

    :ivar batch: its records.
    :ivar unsettled: how many have no outcome yet.
    :ivar answer: what ``dispatch`` returns.
    """

    __slots__ = ("_outcomes", "answer", "batch", "unsettled")

    def __init__(self, batch: Sequence[Record]) -> None:
        self.batch = batch
        self.unsettled = len(batch)
        self.answer = Answer()
        self._outcomes: list[Outcome | None] = [None] * len(batch)

    def settle(self, index: int, outcome: Outcome) -> bool:
        """Note what became of a record; its first outcome stays. Returns whether it was the last one unsettled."""
        if self._outcomes[index] is not None:
            return False
        self._outcomes[index] = outcome
        self.unsettled -= 1
        return not self.unsettled

    def is_settled(self, index: int) -> bool:
        """Whether a record has its outcome."""
        return self._outcomes[index] is not None

    def answer_now(self) -> None:
        """Fire the answer, once every record has an outcome; callers do then whatever they like."""
        self.answer.callback(self.outcomes())

    def outcomes(self) -> Sequence[Outcome]:
        """What is known by now, in the order of the batch."""
        return [outcome for outcome in self._outcomes if outcome is not None]
