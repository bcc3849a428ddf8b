"""Signal counts: the view, the begin of days, and their way over a restart."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from fleetgw.adapters.signal_counts import DailyFiles
from fleetgw.adapters.spool.folder import Folder
from fleetgw.app.operations.kept_counts import STOP_S, WRITE_TICKS, KeptCounts
from fleetgw.app.operations.signal_counts import SignalViews
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.signal_counts import DAY_NS, KEPT_DAYS, DayCount, SignalCounts
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.workers import HeldWorker, InlineWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.process.serial_worker import Worker

TODAY = 20_784  # 2026-11-27


class InlineReactor(Clock):
    """Calls functions of other threads at once."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


class SignalViewsTests(TestCase):
    def test_the_top_vehicles_of_all_days_and_the_others(self) -> None:
        counts = SignalCounts(TODAY - 1)
        for vin, signals in (("A", 5), ("B", 1), ("C", 3)):
            counts.today.add(vin, signals)
        counts.today.others = 100
        counts.begin_day(TODAY)
        for vin, signals in (("B", 10), ("D", 1)):
            counts.today.add(vin, signals)
        view = SignalViews(counts, lambda: {"V": 20}, 1234).signals(2)
        self.assertEqual(
            view,
            {
                "since_ms": 1234,
                "days": ["2026-11-27", "2026-11-26"],
                "total": {"V": 20},
                "vehicles": [
                    {"vin": "B", "today": 10, "total": 11, "per_day": {"2026-11-27": 10, "2026-11-26": 1}},
                    {"vin": "A", "today": 0, "total": 5, "per_day": {"2026-11-26": 5}},
                ],
                "others": 104,
            },
        )


class KeptCountsTests(TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "signals"
        self.now_ns = TODAY * DAY_NS
        self.log = ReadableLog()
        self.workers: list[HeldWorker] = []
        self.reactor = InlineReactor()

    def kept(self, make_worker: Callable[[str], Worker] = InlineWorker) -> tuple[SignalCounts, KeptCounts]:
        counts = SignalCounts(self.now_ns // DAY_NS)
        reactor: Any = self.reactor
        return counts, KeptCounts(counts, str(self.path), reactor, lambda: self.now_ns, self.log, make_worker)

    def minute(self, kept: KeptCounts) -> None:
        for _ in range(WRITE_TICKS):
            kept.tick()

    def test_counts_survive_a_restart(self) -> None:
        counts, kept = self.kept()
        kept.start()
        counts.today.add("VIN one", 3)
        counts.today.others = 7
        self.now_ns += DAY_NS
        kept.tick()
        counts.today.add("VIN one", 4)
        kept.stop()
        again, kept = self.kept()
        kept.start()
        self.assertEqual(again.days, {TODAY + 1: DayCount({"VIN one": 4}), TODAY: DayCount({"VIN one": 3}, 7)})
        again.today.add("VIN one", 1)
        kept.stop()
        self.assertEqual(self.log.entries, [])
        last, kept = self.kept()
        kept.start()
        self.assertEqual([*last.of("VIN one")], [(TODAY + 1, 5), (TODAY, 3)])
        kept.stop()

    def test_they_are_written_once_a_minute_in_a_thread_and_a_crash_leaves_the_last_ones(self) -> None:
        def make(name: str) -> HeldWorker:
            self.workers.append(HeldWorker(name))
            return self.workers[-1]

        counts, kept = self.kept(make)
        kept.start()
        self.workers[0].work()
        counts.today.add("A", 1)
        self.minute(kept)
        counts.today.add("A", 10)  # after the copy for the thread
        self.minute(kept)  # the thread has not come to it
        self.assertEqual(self.workers[0].work(), 1)
        self.assertEqual((self.path / "2026-11-27.signals").read_text(), "0\t\n1\tA\n")
        self.minute(kept)
        self.workers[0].work()
        self.assertEqual((self.path / "2026-11-27.signals").read_text(), "0\t\n11\tA\n")

    def test_a_disk_that_hangs_does_not_keep_the_gateway_from_stopping(self) -> None:
        worker = HeldWorker()
        _, kept = self.kept(lambda _: worker)
        kept.start()
        worker.work()
        stopped = kept.stop()
        self.assertFalse(stopped.called)
        self.reactor.advance(STOP_S)
        self.assertTrue(stopped.called)
        self.assertEqual(len(self.log.fields_of("signal_counts_failed")), 1)
        with self.assertRaises(ConfigurationError):
            self.kept()[1].start()
        worker.work()

    def test_old_files_are_removed_and_foreign_ones_stay(self) -> None:
        counts, kept = self.kept()
        kept.start()
        counts.today.add("A", 1)
        self.minute(kept)
        (self.path / "notes.txt").write_text("mine")
        for _ in range(KEPT_DAYS):
            self.now_ns += DAY_NS
            self.minute(kept)
        kept.stop()
        days = [f"2026-{day}.signals" for day in ("11-28", "11-29", "11-30", *(f"12-0{day}" for day in range(1, 6)))]
        self.assertEqual(sorted(os.listdir(self.path)), [*days, "lock", "notes.txt"])

    def test_a_clock_that_is_far_ahead_removes_the_oldest_file_alone(self) -> None:
        self.path.mkdir()
        days = [f"2026-11-{day}.signals" for day in range(20, 28)]
        for name in days:
            (self.path / name).write_text("1\tA\n")
        self.now_ns += 3650 * DAY_NS
        counts, kept = self.kept()
        kept.start()
        self.minute(kept)
        kept.stop()
        self.assertEqual(sorted(os.listdir(self.path)), [*days[1:], "2036-11-24.signals", "lock"])
        self.now_ns = TODAY * DAY_NS
        (self.path / "2036-11-24.signals").write_text("rubbish\n")
        counts, kept = self.kept()
        kept.start()
        self.assertEqual([*counts.days], [*range(TODAY, TODAY - KEPT_DAYS + 1, -1)])
        self.assertEqual(self.log.entries, [], "a day that has not come is not read")
        kept.stop()

    def test_a_clock_that_is_far_behind_removes_nothing(self) -> None:
        self.path.mkdir()
        (self.path / "2026-11-27.signals").write_text("1\tA\n")
        self.now_ns = 0
        _, kept = self.kept()
        kept.start()
        kept.stop()
        self.assertEqual(sorted(os.listdir(self.path)), ["1970-01-01.signals", "2026-11-27.signals", "lock"])

    def test_a_file_that_cannot_be_read_leaves_the_others(self) -> None:
        (self.path / "2026-11-26.signals").mkdir(parents=True)
        (self.path / "2026-11-27.signals").write_text("1\tA\n")
        counts, kept = self.kept()
        kept.start()
        self.assertEqual([*counts.of("A")], [(TODAY, 1)])
        (told,) = self.log.fields_of("signal_counts_failed")
        self.assertEqual(told["error"], "2026-11-26.signals: cannot be read: Is a directory")
        kept.stop()

    def test_damaged_lines_are_left_out_and_told(self) -> None:
        self.path.mkdir()
        (self.path / "2026-11-27.signals").write_bytes(b"5\t\n1\tA\nrubbish\n-3\tB\n9\tC\n" + b"8\t\xff\n" + b"1" * 500)
        (self.path / "2026-99-27.signals").write_text("1\tA\n")
        counts, kept = self.kept()
        kept.start()
        self.assertEqual(counts.days[TODAY], DayCount({"A": 1, "C": 9, "\ufffd": 8}, 5))
        ((_, event, fields),) = self.log.entries
        self.assertEqual(event, "signal_counts_failed")
        self.assertIn("2026-11-27.signals: ", str(fields["error"]))
        kept.stop()

    def test_a_folder_that_cannot_be_written_is_told_and_written_later(self) -> None:
        counts, kept = self.kept()
        kept.start()
        counts.today.add("A", 1)
        self.now_ns += DAY_NS
        with patch.object(DailyFiles, "write", side_effect=OSError("disk full")):
            self.minute(kept)
        self.assertEqual(self.log.fields_of("signal_counts_failed"), [{"error": "cannot be written: disk full"}])
        self.minute(kept)
        self.assertEqual((self.path / "2026-11-27.signals").read_text(), "0\t\n1\tA\n")
        kept.stop()

    def test_nobody_else_may_read_the_files(self) -> None:
        self.path.mkdir(mode=0o755)
        _, kept = self.kept()
        kept.start()
        kept.stop()
        self.assertEqual(stat.filemode((self.path / "2026-11-27.signals").stat().st_mode), "-rw-------")

    def test_an_old_file_counts_for_nothing_and_goes(self) -> None:
        self.path.mkdir()
        for day in range(19, 28):
            (self.path / f"2026-11-{day}.signals").write_text("1\tA\n")
        counts, kept = self.kept()
        kept.start()
        self.assertEqual([day for day, _ in counts.of("A")], [*range(TODAY, TODAY - KEPT_DAYS, -1)])
        kept.stop()
        self.assertEqual(sorted(os.listdir(self.path)), [*(f"2026-11-{day}.signals" for day in range(20, 28)), "lock"])

    def test_a_folder_in_use_names_the_key(self) -> None:
        _, kept = self.kept()
        kept.start()
        with self.assertRaises(ConfigurationError) as caught:
            self.kept()[1].start()
        self.assertIn("operations.folder", str(caught.exception))
        kept.stop()
        _, kept = self.kept()
        kept.start()
        kept.stop()

    def test_without_a_folder_days_begin_all_the_same(self) -> None:
        counts = SignalCounts(TODAY)
        reactor: Any = InlineReactor()
        kept = KeptCounts(counts, None, reactor, lambda: self.now_ns, self.log)
        kept.start()
        self.now_ns += DAY_NS
        self.minute(kept)
        self.assertEqual(counts.day, TODAY + 1)
        kept.stop()
        self.assertFalse(self.path.exists())

    @settings(max_examples=30)  # it syncs files
    @given(st.dictionaries(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=128), st.integers(1)))
    def test_every_printable_vin_comes_back(self, vehicles: dict[str, int]) -> None:
        vehicles = {vin: signals % 10**18 for vin, signals in vehicles.items()}
        with TemporaryDirectory() as path:
            folder = Folder(path)
            folder.open()
            files = DailyFiles(folder)
            files.write({TODAY: DayCount(vehicles, 1)}, TODAY)
            loaded = files.load(TODAY)
            folder.close()
        self.assertEqual((loaded.days, loaded.faults), ({TODAY: DayCount(vehicles, 1)}, {}))
