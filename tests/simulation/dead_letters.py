"""A dead-letter store in virtual time, with a disk that fails; the real one has histories of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import IDeadLetters, Page

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.records import Record
    from tests.simulation.oracle import Oracle

STORE_S = 0.01
"""The longest time for a letter to be stored."""


@implementer(IDeadLetters)
class SimulatedLetters:
    """The dead letters of one sink, while one process runs. The oracle keeps in mind what is stored.

    :param fails: the chance that a letter cannot be stored.
    """

    stored_again = 0

    def __init__(self, sink: str, clock: IReactorTime, random: Random, oracle: Oracle, fails: float) -> None:
        self.next_position = 1
        self._sink = sink
        self._clock = clock
        self._random = random
        self._oracle = oracle
        self._fails = fails
        self._free_s = 0.0

    def store(self, record: Record, reason: str) -> Deferred[StorageError | None]:  # noqa: ARG002  the port's
        """See ``IDeadLetters``."""
        answer: Deferred[StorageError | None] = Deferred(lambda _: None)
        self._free_s = max(self._clock.seconds(), self._free_s) + self._random.random() * STORE_S
        self._clock.callLater(self._free_s - self._clock.seconds(), self._store, record, answer)
        return answer

    def _store(self, record: Record, answer: Deferred[StorageError | None]) -> None:
        if self._random.random() < self._fails:
            answer.callback(StorageError("the disk fails"))
            return
        self.next_position += 1
        self._oracle.letter_stored(self._sink, record)
        answer.callback(None)

    def read(self, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:  # noqa: ARG002  the port's
        """See ``IDeadLetters``. A lane reads none."""
        return succeed(Page([], [], position))

    def remove(self, positions: Collection[range]) -> Deferred[StorageError | None]:  # noqa: ARG002  the port's
        """See ``IDeadLetters``. A lane removes none."""
        return succeed(None)
