"""The contract of ``IDeadLetters``, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from fleetgw.domain.dead_letter import DeadLetter
from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.ports import IDeadLetters, Page
from tests.support.spool_case import WALL_S, all_of, spooled_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from tests.support.spool_contract import TestCase
else:
    TestCase = object  # a mixin: the contract alone is no test

MANY = 10**9
NOW_MS = int(WALL_S * 1000)


class DeadLettersContract(TestCase):
    """Mix into a ``SynchronousTestCase`` and give ``restarted`` and ``fail_storage``. The wall clock stands at ``WALL_S``.

    :cvar record_bytes: size of the records that fill a store.
    """

    record_bytes = 8_000

    def restarted(self) -> IDeadLetters:
        """A store that has started: the first call makes one, further ones stop it and do as a new process would."""
        raise NotImplementedError

    def fail_storage(self, *, fails: bool) -> None:
        """Make storing fail, or succeed again, also for a store that has noticed it."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.letters = self.restarted()

    def restart(self) -> None:
        self.letters = self.restarted()

    def store(self, *numbers: int) -> None:
        for number in numbers:
            self.assertIsNone(self.successResultOf(self.letters.store(spooled_record(number), f"reason {number}")))

    def page(self, position: int, most_records: int = MANY) -> Page:
        page = self.successResultOf(self.letters.read(position, most_records, MANY))
        if not isinstance(page, Page):
            self.fail(f"no page: {page}")
        self.assertEqual(len(page.positions), len(page.records))
        return page

    def stored(self) -> dict[int, DeadLetter]:
        """Every letter, by position."""
        letters: dict[int, DeadLetter] = {}
        position = 1
        while (page := self.page(position, 2)).next_position != position:
            pairs = zip(page.positions, page.records, strict=True)
            letters.update((at, letter) for at, letter in pairs if isinstance(letter, DeadLetter))
            position = page.next_position
        return letters

    def numbers(self) -> Sequence[int]:
        return [letter.received_at_ms for letter in self.stored().values()]

    def remove(self, *positions: range) -> None:
        self.assertIsNone(self.successResultOf(self.letters.remove(positions)))

    def test_provides_the_interface(self) -> None:
        verifyObject(IDeadLetters, self.letters)

    def test_a_letter_is_the_record_with_its_reason_and_time(self) -> None:
        record = spooled_record(7, "V")
        self.assertIsNone(self.successResultOf(self.letters.store(record, "too large \udcff")))
        for _ in range(2):
            (letter,) = self.stored().values()
            self.assertEqual(all_of(letter), all_of(record))
            self.assertEqual((letter.reason, letter.dead_since_ms), ("too large \udcff", NOW_MS))
            self.restart()

    def test_letters_are_read_in_order(self) -> None:
        first = self.letters.next_position
        self.store(*range(5))
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4])
        self.assertEqual(self.letters.next_position, first + 5)
        self.assertEqual([*self.page(first + 3).positions], [first + 3, first + 4])

    def test_a_letter_that_was_removed_is_not_read_again(self) -> None:
        self.store(*range(6))
        positions = [*self.stored()]
        self.remove(range(positions[1], positions[3]), range(positions[5], positions[5] + 1))
        for _ in range(2):
            self.assertEqual(self.numbers(), [0, 3, 4])
            self.restart()
        self.remove(range(positions[0], positions[1]), range(positions[4], positions[5]))
        self.restart()
        self.assertEqual(self.numbers(), [3])

    def test_letters_that_come_after_a_removal_of_all_are_kept(self) -> None:
        self.store(0, 1)
        self.remove(range(1, self.letters.next_position))
        self.assertEqual(self.numbers(), [])
        self.store(2)
        for _ in range(2):
            self.assertEqual(self.numbers(), [2])
            self.restart()

    def test_a_record_of_any_type_is_read_after_a_restart(self) -> None:
        self.successResultOf(self.letters.store(spooled_record(1, "no longer routed"), "r"))
        self.restart()
        self.assertEqual(self.numbers(), [1])

    def test_a_full_store_refuses_and_drops_nothing(self) -> None:
        number = 0
        while (failure := self.successResultOf(self.store_large(number))) is None:
            number += 1
        self.assertIsInstance(failure, SpoolFull)
        self.assertGreater(number, 10)
        self.assertEqual(self.numbers(), [*range(number)])
        self.remove(range(1, self.letters.next_position))
        self.store(number)
        self.assertEqual(self.numbers(), [number])

    def store_large(self, number: int) -> Deferred[StorageError | None]:
        return self.letters.store(spooled_record(number, padding_bytes=self.record_bytes), "too large")

    def test_what_fails_to_be_stored_is_said_and_heals(self) -> None:
        self.store(0)
        self.fail_storage(fails=True)
        self.assertIsInstance(self.successResultOf(self.letters.store(spooled_record(1), "r")), StorageError)
        self.fail_storage(fails=False)
        self.store(2)
        self.assertEqual([number for number in self.numbers() if number != 1], [0, 2])

    def test_letters_that_are_stored_again_are_counted(self) -> None:
        self.store(0)
        self.assertEqual(self.letters.stored_again, 0)
        (letter,) = self.stored().values()
        self.assertIsNone(self.successResultOf(self.letters.store(letter, "still too large")))
        self.assertEqual(self.letters.stored_again, 1)
        self.assertEqual([each.reason for each in self.stored().values()], ["reason 0", "still too large"])

    def test_a_password_in_a_reason_is_masked(self) -> None:
        self.successResultOf(self.letters.store(spooled_record(0), "redis://user:hunter2@r:1 says no"))
        (letter,) = self.stored().values()
        self.assertNotIn("hunter2", letter.reason)
        self.assertIn("says no", letter.reason)

    def test_a_long_reason_is_cut(self) -> None:
        self.successResultOf(self.letters.store(spooled_record(0), "x" * 1_000_000))
        (letter,) = self.stored().values()
        self.assertLess(len(letter.reason), 5000)

    def test_cancelling_does_nothing(self) -> None:
        stored = self.letters.store(spooled_record(0), "r")
        stored.cancel()
        self.assertIsNone(self.successResultOf(stored))
        removed = self.letters.remove([range(1, self.letters.next_position)])
        removed.cancel()
        self.assertIsNone(self.successResultOf(removed))
