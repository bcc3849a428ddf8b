"""Cursors: they may lag, and never lead."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.spool import Cursor, count_unneeded


class CursorTests(TestCase):
    def test_it_begins_where_everything_before_is_settled(self) -> None:
        self.assertEqual(Cursor(5).position, 5)

    def test_records_settle_in_any_order_and_the_lowest_one_counts(self) -> None:
        cursor = Cursor(1)
        cursor.hand_out([1, 2, 4], 5)
        self.assertEqual(cursor.position, 1)
        self.assertIsNone(cursor.settle([4]))
        self.assertEqual(cursor.settle([1]), 2)
        self.assertEqual(cursor.settle([2]), 5)
        self.assertEqual(cursor.held_records, 0)

    def test_what_is_not_for_the_sink_is_passed(self) -> None:
        cursor = Cursor(1)
        cursor.hand_out([], 10)
        self.assertEqual(cursor.position, 10)
        cursor.hand_out([12], 20)
        self.assertEqual(cursor.position, 12)
        self.assertEqual(cursor.settle([12]), 20)

    def test_what_was_not_handed_out_changes_nothing(self) -> None:
        cursor = Cursor(5)
        cursor.hand_out([6], 8)
        self.assertIsNone(cursor.settle([4, 5, 7, 8, 100]))
        self.assertEqual(cursor.settle([6, 6]), 8)
        self.assertIsNone(cursor.settle([6]))

    def test_positions_out_of_order_are_refused(self) -> None:
        for positions, next_position in (([4], 6), ([5], 5), ([7, 6], 7), ([], 4)):
            with self.subTest(positions=positions), self.assertRaises(ValueError):
                Cursor(5).hand_out(positions, next_position)

    @given(st.data())
    def test_it_never_leads(self, data: st.DataObject) -> None:
        cursor = Cursor(0)
        unsettled: set[int] = set()
        for _ in range(data.draw(st.integers(0, 30))):
            if data.draw(st.booleans()):
                start = cursor.next_position
                end = start + data.draw(st.integers(0, 6))
                handed = [position for position in range(start, end) if data.draw(st.booleans())]
                cursor.hand_out(handed, end)
                unsettled.update(handed)
            else:
                settled = {position for position in unsettled if data.draw(st.booleans())}
                before = cursor.position
                moved = cursor.settle(settled)
                unsettled -= settled
                self.assertEqual(moved, cursor.position if cursor.position != before else None)
            self.assertEqual(cursor.position, min(unsettled, default=cursor.next_position))


class FileTests(TestCase):
    def test_files_are_unneeded_once_every_cursor_is_past_them(self) -> None:
        files = [1, 10, 20, 30]
        for cursors, expected in (([1], 0), ([9, 30], 0), ([10, 30], 1), ([29], 2), ([30, 30], 3), ([], 0)):
            with self.subTest(cursors=cursors):
                self.assertEqual(count_unneeded(files, cursors), expected)

    def test_no_files_are_none(self) -> None:
        self.assertEqual(count_unneeded([7], [9]), 0)
