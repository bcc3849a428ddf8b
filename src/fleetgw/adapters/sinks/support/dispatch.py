"""One call of ``IDispatcher.dispatch`` under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record


class Answer(Deferred["Sequence[Outcome]"]):
    """The Deferred of a dispatch: as ``IDispatcher`` asks, cancelling it does nothing."""

    def cancel(self) -> None:
        """Do nothing: the records stay in flight."""


class Dispatch:
    """The records of one call, their outcomes so far, and the answer once the last is known.

    :ivar batch: the records.
    :ivar unsettled: the number of records without an outcome.
    :ivar answer: the Deferred that ``dispatch`` returns.
    """

    __slots__ = ("_outcomes", "answer", "batch", "unsettled")

    def __init__(self, batch: Sequence[Record]) -> None:
        self.batch = batch
        self.unsettled = len(batch)
        self.answer = Answer()
        self._outcomes: list[Outcome | None] = [None] * len(batch)

    def settle(self, index: int, outcome: Outcome) -> bool:
        """Set a record's outcome, unless it has one. Returns whether it was the last record without one."""
        if self._outcomes[index] is not None:
            return False
        self._outcomes[index] = outcome
        self.unsettled -= 1
        return not self.unsettled

    def settle_rest(self, outcome: Outcome) -> None:
        """Set this outcome for every record without one."""
        self._outcomes = [outcome if known is None else known for known in self._outcomes]
        self.unsettled = 0

    def settle_all(self, outcomes: Sequence[Outcome]) -> None:
        """Set the outcomes of all records, none of which has one yet.

        :param outcomes: in the order of the batch.
        """
        self._outcomes = [*outcomes]
        self.unsettled = 0

    def is_settled(self, index: int) -> bool:
        """Whether a record has its outcome."""
        return self._outcomes[index] is not None

    def outcomes(self) -> Sequence[Outcome]:
        """The outcomes that are known by now, in the order of the batch."""
        if self.unsettled:
            return [outcome for outcome in self._outcomes if outcome is not None]
        return cast("Sequence[Outcome]", self._outcomes)  # every one is known
