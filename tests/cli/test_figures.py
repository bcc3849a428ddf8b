"""Figures, bars and curves as text."""

from unittest import TestCase

from fleetgw.cli.drawing import bar, curve
from fleetgw.cli.figures import count, milliseconds, plural, rate, since, size, span


class FiguresTests(TestCase):
    def test_spans(self) -> None:
        for seconds, text in (
            (-5, "0 s"),
            (59.9, "59 s"),
            (60, "1 min"),
            (119, "1 min 59 s"),
            (3600, "1 h"),
            (8_059, "2 h 14 min"),
            (86_400 * 3 + 4 * 3600 + 7, "3 d 4 h"),
        ):
            with self.subTest(seconds=seconds):
                self.assertEqual(span(seconds), text)
        self.assertEqual((since(None, 5000), since(2000, 5000), since(6000, 5000)), ("-", "3 s", "0 s"))

    def test_numbers(self) -> None:
        self.assertEqual([count(each) for each in (None, 0, 1204.4)], ["-", "0", "1,204"])
        self.assertEqual(
            [rate(each) for each in (None, 0, 0.04, 9.94, 9.96, 1204.4)], ["-", "0", "<0.1", "9.9", "10", "1,204"]
        )
        self.assertEqual(
            [milliseconds(each) for each in (None, 0.04, 9.94, 9.96, 1204.4, 10_000)],
            ["-", "<0.1 ms", "9.9 ms", "10 ms", "1,204 ms", "10.0 s"],
        )
        self.assertEqual(
            [size(each) for each in (None, 0, 999, 1000, 734_003_200, 2**70)],
            ["-", "0 B", "999 B", "0.977 KiB", "700 MiB", "1.07e+09 TiB"],
        )
        self.assertEqual((plural(1, "record"), plural(1204, "record")), ("1 record", "1,204 records"))


class DrawingTests(TestCase):
    def test_bars(self) -> None:
        self.assertEqual([bar(each, 2) for each in (-1, 0, 0.25, 0.57, 1, 7)], ["", "", "▌", "█▏", "██", "██"])

    def test_curves(self) -> None:
        self.assertEqual(curve([0, None, 1, 4, 8, 1000], 8, 1), ["    ▁▁▁█"])
        self.assertEqual(curve([1, 2, 3, 4], 3, 2), [" ▄█", "███"])
        self.assertEqual(curve([], 3, 2), ["   ", "   "])
        self.assertEqual(curve([0, 0], 2, 1), ["  "])
