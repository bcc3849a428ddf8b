"""The dead letters of one sink, in a spool: the spool keeps their order and durability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.dead_letters.removed import Removed
from fleetgw.adapters.secrets.masking import masked
from fleetgw.domain.dead_letter import DeadLetter, dead_letter
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import IDeadLetters, Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from fleetgw.domain.ports import ISpool
    from fleetgw.domain.records import Record

MAX_REASON_CHARACTERS = 4096
"""Longest reason; brokers choose it."""


class Answer(Deferred["StorageError | None"]):
    """An answer as ``IDeadLetters`` promises it: cancelling it does nothing."""

    def cancel(self) -> None:
        """Do nothing."""


@implementer(IDeadLetters)
class SpooledDeadLetters:
    """Keeps the letters of one sink in a spool of their own.

    The spool's cursor is below the lowest letter that is left. A letter above it is removed by a note of its position.

    :ivar stored_again: see ``IDeadLetters``.
    :param spool: its only sink is ``sink``, of ``EVERY_TYPE``.
    :param refusal: why no letter can be stored, or None.
    :param save: writes the positions of removed letters in place of the former ones, durably.
    :param now_ms: epoch milliseconds.
    """

    def __init__(
        self,
        sink: str,
        spool: ISpool,
        refusal: Callable[[], StorageError | None],
        save: Callable[[Sequence[range]], Awaitable[StorageError | None]],
        now_ms: Callable[[], int],
    ) -> None:
        self.stored_again = 0
        self._sink = sink
        self._spool = spool
        self._removed = Removed()
        self._removing: list[Answer] = []
        self._saving = False
        self._refusal = refusal
        self._save = save
        self._now_ms = now_ms

    async def begin(self, removed: Removed) -> StorageError | None:
        """Take note of the letters that were removed before the start. The spool has started.

        :return: why the note cannot be written, where it had to be, or None.
        """
        end = self.next_position
        self._removed = Removed(range(each.start, min(each.stop, end)) for each in removed.ranges)
        self._settle()
        if self._removed.ranges == removed.ranges:
            return None
        return await self._save(self._removed.ranges)  # the note was of files that are gone: positions are used again

    @property
    def next_position(self) -> int:
        """See ``IDeadLetters``."""
        return self._spool.state().next_position

    def store(self, record: Record, reason: str) -> Deferred[StorageError | None]:
        """See ``IDeadLetters``."""
        appended = self._refusal() or self._spool.append(
            [dead_letter(record, masked(reason)[:MAX_REASON_CHARACTERS], self._now_ms())]
        )
        if isinstance(appended, StorageError):
            return succeed(appended)
        if isinstance(record, DeadLetter):
            appended.synced.addCallback(self._count_again)
        return appended.synced

    def _count_again(self, failure: StorageError | None) -> StorageError | None:
        self.stored_again += failure is None
        return failure

    def read(self, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """See ``IDeadLetters``."""
        return self._spool.read(self._sink, position, most_records, most_bytes).addCallback(self._without_removed)

    def _without_removed(self, page: Page | StorageError) -> Page | StorageError:
        if isinstance(page, StorageError):
            return page
        kept = [each for each in zip(page.positions, page.records, strict=True) if each[0] not in self._removed]
        return evolve(page, positions=[position for position, _ in kept], records=[record for _, record in kept])

    def remove(self, positions: Collection[range]) -> Deferred[StorageError | None]:
        """See ``IDeadLetters``."""
        for each in positions:
            self._removed.add(each)
        self._settle()
        answer = Answer()
        self._removing.append(answer)
        if not self._saving:
            Deferred.fromCoroutine(self._save_removed())
        return answer

    def _settle(self) -> None:
        self._spool.settle(self._sink, self._removed.end_of_run(self._spool.state().first_position))

    async def _save_removed(self) -> None:
        """Make removals durable, all of them that wait at a time."""
        self._saving = True
        while self._removing:
            removing, self._removing = self._removing, []
            failure = await self._save(self._removed.ranges) or await self._spool.compact()
            for answer in removing:
                answer.callback(failure)
        self._saving = False
