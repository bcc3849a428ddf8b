"""Failures of other disk buffers, each by name; and what a disk does when it fails."""

from collections.abc import Callable

from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.spool import PAUSE_S, Spool
from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.ports import Appended
from tests.support.spool_case import KIB, spooled_record
from tests.support.spool_on_disk import SINKS, SpoolOnDisk
from tests.support.workers import HeldWorker, InlineWorker


class CountingWorker(InlineWorker):
    """Counts its jobs."""

    jobs = 0

    def do(self, job: Callable[[], None]) -> None:
        """Count, and run it."""
        self.jobs += 1
        super().do(job)


class PowerCutTests(SpoolOnDisk):
    def test_records_are_reported_after_their_sync(self) -> None:
        self.start()
        self.store(spooled_record(1))
        self.lose_power()
        self.assert_read([spooled_record(1)])

    def test_records_of_a_later_commit_are_reported_after_their_sync(self) -> None:
        self.start()
        records = self.store_many(30)
        self.lose_power()
        self.assert_read(records)

    def test_the_name_of_a_file_is_synced_before_its_records_are_reported(self) -> None:
        self.start()
        self.disk.steps.clear()
        self.store(spooled_record(1))
        (name,) = self.files()
        named, folder_synced = self.disk.steps.index(("rename", name)), self.disk.steps.index(("sync", ""))
        self.assertLess(named, folder_synced)
        self.assertLess(folder_synced, self.disk.steps.index(("write", name + "-wal")))

    def test_cursors_are_synced_before_a_file_is_removed(self) -> None:
        self.start()
        self.store_many(30)
        first = self.files()[0]
        self.disk.steps.clear()
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        steps = self.disk.steps
        (cursors,) = [name for name in self.disk.entries if name.startswith("cursors") and name.endswith("-wal")]
        self.assertNotIn(first, self.files())
        self.assertLess(steps.index(("sync", cursors)), steps.index(("delete", first)))
        self.assertIn(("sync", ""), steps[steps.index(("delete", first)) :])

    def test_no_file_is_removed_when_cursors_cannot_be_synced(self) -> None:
        self.start()
        self.store_many(30)
        files = self.files()
        self.disk.failing_syncs = 1
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        self.assertEqual(self.files(), files)
        self.maker.clock.advance(2)
        self.assertLess(len(self.files()), len(files))

    def test_cursors_never_lead(self) -> None:
        self.start()
        records = self.store_many(4)
        first = self.cursors["kafka"]
        self.spool.settle("kafka", first + 1)
        self.maker.clock.advance(2)
        self.spool.settle("kafka", first + 2)
        self.lose_power()
        self.assertEqual(self.cursors["kafka"], first + 1)
        self.assert_read(records[1:])

    def test_the_cursor_of_a_new_sink_is_on_disk_before_it_may_need_a_record(self) -> None:
        self.start({"kafka": ("custom",)})
        self.store(spooled_record(1))
        self.restart()
        self.store(spooled_record(2))
        self.lose_power()
        self.assert_read([spooled_record(2)], "redis")

    def test_nothing_is_taken_while_the_cursor_of_a_new_sink_is_not_on_disk(self) -> None:
        self.disk.broken_prefix = "cursors"
        self.start()
        for _ in range(5):
            self.maker.clock.advance(2)
            self.assertIsInstance(self.spool.append([spooled_record(1)]), StorageError)
        self.assertEqual(self.files(), [])
        self.disk.broken_prefix = ""
        self.maker.clock.advance(2)
        self.store(spooled_record(2))
        self.lose_power()
        self.assert_read([spooled_record(2)])

    def test_positions_that_cursors_are_past_are_not_used_again(self) -> None:
        self.start()
        self.store_many(30)
        end = self.spool.state().next_position
        for sink in SINKS:
            self.spool.settle(sink, end)
        self.successResultOf(self.spool.stop())
        self.assertEqual(self.files(), [])
        self.lose_power()
        self.assertGreaterEqual(self.store(spooled_record(1))[0], end)
        self.assert_read([spooled_record(1)])

    def test_a_log_is_removed_for_good_before_its_file(self) -> None:
        for _ in range(2):
            self.restart()  # killed, so that the file keeps its log
            self.store(spooled_record(1))
        first, second = self.files()
        self.disk.steps.clear()
        for sink in SINKS:
            self.spool.settle(sink, int(second[:20]))
        steps = self.disk.steps
        log_removed, removed = steps.index(("delete", first + "-wal")), steps.index(("delete", first))
        self.assertIn(("sync", ""), steps[log_removed:removed])
        self.assertIn(("sync", ""), steps[removed:])

    def test_a_log_without_its_file_is_kept_aside(self) -> None:
        self.start()
        self.store(spooled_record(1))
        (name,) = self.files()
        self.disk.end_process()
        del self.disk.entries[name]
        self.start()
        self.assertIn(name + "-wal.damaged", self.disk.entries)
        self.assertEqual(self.maker.metrics.value("spool_damaged_files_total"), 1)
        self.store(spooled_record(2))
        self.assertEqual(self.read()[-1].txid, b"tx-2")


class SizeTests(SpoolOnDisk):
    def test_a_record_longer_than_a_file_is_stored(self) -> None:
        self.start()
        records = [spooled_record(1), spooled_record(2, padding_bytes=300 * KIB), spooled_record(3)]
        for record in records:
            self.store(record)
        self.assertEqual(len(self.files()), 3)
        self.lose_power()
        self.assert_read(records)

    def test_files_are_no_longer_than_they_may_be(self) -> None:
        self.start()
        self.store_many(50, padding_bytes=3000)
        sizes = [sum(self.maker.folder.size_bytes(each) for each in (name, name + "-wal")) for name in self.files()]
        self.assertGreater(len(sizes), 3)
        self.assertLessEqual(max(sizes), self.maker.limits.file_bytes)

    def test_the_oldest_file_is_dropped_when_there_is_no_room(self) -> None:
        self.limit(SpoolLimits(max_bytes=400 * KIB, file_bytes=50 * KIB, when_full="drop_oldest"))
        self.start()
        records = self.store_many(200, padding_bytes=3000)
        self.assertLess(self.spool.state().size_bytes, 500 * KIB)
        left = self.read()
        dropped = self.maker.metrics.value("lost_records_total", "custom", "kafka", "spool_limit")
        self.assertGreater(dropped, 50)
        self.assertEqual(len(left) + dropped, len(records))
        self.assertEqual(left[-1].payload, records[-1].payload)

    def test_records_that_are_settled_are_not_counted_as_dropped(self) -> None:
        self.limit(SpoolLimits(max_bytes=400 * KIB, file_bytes=50 * KIB, when_full="drop_oldest"))
        self.start()
        for number in range(200):
            (position,) = self.store(spooled_record(number, padding_bytes=3000))
            self.spool.settle("kafka", position + 1)
        self.assertEqual(self.maker.metrics.value("lost_records_total", "custom", "kafka", "spool_limit"), 0)
        self.assertGreater(self.maker.metrics.value("lost_records_total", "custom", "redis", "spool_limit"), 0)

    def test_a_file_that_waits_for_its_adoption_counts(self) -> None:
        workers: dict[str, HeldWorker] = {}
        self.maker.make_worker = lambda name: workers.setdefault(name, HeldWorker(name))
        spool = self.maker.make()
        spool.start(SINKS)
        self._work(spool)
        for number in range(20):
            spool.append([spooled_record(number, padding_bytes=30 * KIB)])
            workers["spool writer"].work()  # the other thread hangs
        self.assertGreater(spool.state().size_bytes, 20 * 30 * KIB)

    def test_small_records_that_wait_for_the_disk_count_with_the_memory_they_take(self) -> None:
        spool = self._started_with_held_threads()
        records = [spooled_record(1)] * 1000
        taken = 0
        while isinstance(spool.append(records), Appended):
            taken += 1
        self.assertEqual(taken, -(-32 * KIB * KIB // (1000 * records[0].cost_bytes)))

    def test_what_waits_for_the_disk_is_bounded(self) -> None:
        spool = self._started_with_held_threads()
        record = spooled_record(1, padding_bytes=KIB * KIB)
        taken = 0
        while isinstance(appended := spool.append([record]), Appended):
            taken += 1
        self.assertIsInstance(appended, SpoolFull)
        self.assertEqual(taken, 32)

    def _started_with_held_threads(self) -> Spool:
        self.maker.make_worker = HeldWorker
        self.limit(SpoolLimits(max_bytes=1024 * KIB * KIB))
        spool = self.maker.make()
        started = spool.start(SINKS)
        self._work(spool)
        self.successResultOf(started)
        return spool

    def _work(self, spool: object) -> None:
        for _ in range(5):
            for worker in (spool._threads._writer, spool._threads._archive):
                worker.work()


class AgeTests(SpoolOnDisk):
    LIMITS = SpoolLimits(max_bytes=4096 * KIB, max_age_s=1000, file_bytes=50 * KIB)

    def test_old_records_are_dropped_and_counted(self) -> None:
        self.limit(self.LIMITS)
        self.start()
        self.store(spooled_record(1))
        self.pass_time(500)
        self.store(spooled_record(2))
        self.assertEqual(len(self.read()), 2)
        self.pass_time(600)
        self.assert_read([spooled_record(2)])
        self.assertEqual(self.maker.metrics.value("lost_records_total", "custom", "kafka", "spool_limit"), 1)
        self.pass_time(700)
        self.assert_read([])
        self.assertEqual(self.files(), [])

    def test_the_age_counts_across_restarts(self) -> None:
        self.limit(self.LIMITS)
        self.start()
        self.store(spooled_record(1))
        self.restart()
        self.store(spooled_record(2))
        self.restart()
        self.pass_time(1100)
        self.assertEqual(self.read(), [])

    def test_a_clock_that_jumps_ages_nothing(self) -> None:
        self.limit(self.LIMITS)
        self.start()
        self.store(spooled_record(1))
        self.maker.wall_s += 86_400
        self.pass_time(5)
        self.store(spooled_record(2))
        self.pass_time(5)
        self.assert_read([spooled_record(1), spooled_record(2)])

    def test_a_clock_that_jumps_back_between_processes_keeps_the_order(self) -> None:
        self.limit(self.LIMITS)
        self.start()
        self.store(spooled_record(1))
        self.maker.wall_s -= 86_400
        self.restart()
        self.store(spooled_record(2))
        self.maker.wall_s -= 86_400
        self.restart()
        self.store(spooled_record(3))
        self.pass_time(5)
        self.assert_read([spooled_record(1), spooled_record(2), spooled_record(3)])

    def test_a_clock_that_was_not_set_ages_nothing(self) -> None:
        self.limit(self.LIMITS)
        wall_s, self.maker.wall_s = self.maker.wall_s, 1000.0
        for number in range(2):
            self.restart()
            self.store(spooled_record(number))
        self.maker.wall_s = wall_s
        self.restart()
        self.pass_time(5)
        self.assert_read([spooled_record(0), spooled_record(1)])

    def pass_time(self, seconds: int) -> None:
        self.maker.clock.pump([1] * seconds)


class FailingDiskTests(SpoolOnDisk):
    def test_a_file_is_not_written_again_after_a_failed_sync(self) -> None:
        self.start()
        self.store(spooled_record(1))
        (name,) = self.files()
        self.disk.failing_syncs = 1
        self.disk.steps.clear()
        self.fail_to_store(spooled_record(2))
        self.assertEqual(self.disk.steps[-1], ("sync", name + "-wal"))
        self.disk.steps.clear()
        self.maker.clock.advance(PAUSE_S)
        self.store(spooled_record(3))
        self.successResultOf(self.spool.stop())
        self.assertEqual([step for step in self.disk.steps if step[1] in (name, name + "-wal")], [])
        self.assertEqual(len(self.files()), 2)
        self.lose_power()
        read = [record.txid for record in self.read()]
        self.assertEqual([txid for txid in read if txid != b"tx-2"], [b"tx-1", b"tx-3"])

    def test_cursors_are_not_written_to_a_file_again_after_a_failed_sync(self) -> None:
        self.start()
        (position,) = self.store(spooled_record(1))
        (name,) = [name for name in self.disk.entries if name.startswith("cursors") and not name.endswith("-wal")]
        self.disk.failing_syncs = 1
        self.spool.settle("kafka", position + 1)
        self.maker.clock.advance(1)
        self.disk.steps.clear()
        self.maker.clock.advance(1)
        steps = [what for what, file in self.disk.steps if file in (name, name + "-wal")]
        self.assertEqual(steps, ["delete", "delete"])
        self.lose_power()
        self.assertEqual(self.cursors["kafka"], position + 1)

    def test_a_failed_checkpoint_loses_nothing(self) -> None:
        self.start()
        records = self.store_many(4, padding_bytes=100)
        (name,) = self.files()
        self.disk.failing_syncs = 1  # the one of the checkpoint
        self.successResultOf(self.spool.stop())
        self.assertIn(name + "-wal", self.disk.entries)
        self.lose_power()
        self.assert_read(records)

    def test_all_that_waits_fails_with_the_commit_before_it(self) -> None:
        self.start()
        self.disk.is_broken = True
        for number in range(3):
            self.fail_to_store(spooled_record(number))
        self.assertEqual(self.maker.metrics.value("spool_failed_total"), 1)
        self.assertEqual(self.maker.metrics.value("spool_refused_total"), 2)

    def test_failure_and_recovery_are_logged_once(self) -> None:
        self.start()
        self.disk.is_broken = True
        for number in range(5):
            self.fail_to_store(spooled_record(number))
            self.maker.clock.advance(PAUSE_S)
        self.disk.is_broken = False
        self.store(spooled_record(9))
        self.store(spooled_record(10))
        events = [(event, fields["kind"]) for _, event, fields in self.maker.log.entries]
        self.assertEqual(events, [("spool_failed", "records"), ("spool_recovered", "records")])

    def test_a_failure_to_write_cursors_is_logged_and_tried_once_a_second(self) -> None:
        self.start()
        self.store_many(30)
        self.disk.broken_prefix = "cursors"
        end = self.spool.state().next_position
        self.spool.settle("redis", end)
        self.disk.steps.clear()
        for position in range(1, end + 1):
            self.spool.settle("kafka", position)
        (error,) = self.maker.log.fields_of("spool_failed")
        self.assertEqual(error["kind"], "cursors")
        self.store(spooled_record(31))
        self.disk.broken_prefix = ""
        self.maker.clock.advance(1)
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(len(self.maker.log.fields_of("spool_recovered")), 1)

    def test_cursors_that_cannot_be_written_are_not_tried_at_every_settle(self) -> None:
        workers = self.count_jobs()
        self.start()
        self.store_many(30)
        self.disk.broken_prefix = "cursors"
        self.spool.settle("redis", self.spool.state().next_position)
        before = sum(worker.jobs for worker in workers)
        for position in range(1, self.spool.state().next_position + 1):
            self.spool.settle("kafka", position)
        self.assertEqual(sum(worker.jobs for worker in workers) - before, 1)

    def test_dropping_waits_while_cursors_cannot_be_written(self) -> None:
        self.limit(SpoolLimits(max_bytes=400 * KIB, file_bytes=50 * KIB, when_full="drop_oldest"))
        workers = self.count_jobs()
        self.start()
        self.store_many(90, padding_bytes=3000)
        self.disk.broken_prefix = "cursors"
        while not isinstance(self.spool.append([spooled_record(1, padding_bytes=3000)]), StorageError):
            pass
        before = sum(worker.jobs for worker in workers)
        for number in range(20):
            self.assertIsInstance(self.spool.append([spooled_record(number)]), SpoolFull)
        self.assertEqual(sum(worker.jobs for worker in workers), before)
        self.disk.broken_prefix = ""
        self.maker.clock.advance(1)
        self.store(spooled_record(1))

    def count_jobs(self) -> list[CountingWorker]:
        """Make workers that count from now on; the list is filled as they are made."""
        workers: list[CountingWorker] = []

        def make(name: str) -> CountingWorker:
            workers.append(CountingWorker(name))
            return workers[-1]

        self.maker.make_worker = make
        return workers

    def test_an_unexpected_error_of_a_commit_is_answered_and_heals(self) -> None:
        self.start()
        self.patch(self.spool._writer, "commit", lambda *_: 1 / 0)
        self.assertIn("division by zero", str(self.fail_to_store(spooled_record(1))))
        self.assertEqual(len(self.maker.log.fields_of("spool_broken")), 1)
        del self.spool._writer.commit
        self.maker.clock.advance(PAUSE_S)
        self.store(spooled_record(2))

    def test_cursors_are_saved_again_after_an_unexpected_error(self) -> None:
        self.start()
        self.store_many(30)
        self.patch(self.spool._archive, "save", lambda *_: 1 / 0)
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        del self.spool._archive.save
        self.maker.clock.advance(1)
        self.assertEqual(len(self.files()), 1)

    def test_a_full_disk_heals(self) -> None:
        self.start()
        records = self.store_many(3)
        self.disk.is_full = True
        for _ in range(20):
            self.fail_to_store(spooled_record(7, padding_bytes=20_000))
            self.maker.clock.advance(PAUSE_S)
        self.assertLess(len(self.files()), 3)
        self.disk.is_full = False
        self.maker.clock.advance(PAUSE_S)
        self.store(spooled_record(9))
        self.assert_read([*records, spooled_record(9)])

    def test_a_full_disk_gets_room_as_records_are_settled(self) -> None:
        self.start()
        self.store_many(30)
        self.spool.settle("kafka", self.cursors["kafka"] + 1)
        self.maker.clock.advance(2)
        self.disk.is_full = True
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        self.assertEqual(len(self.files()), 1)

    def test_a_spool_that_starts_on_a_full_disk_gives_records_and_then_gets_room(self) -> None:
        self.start()
        records = self.store_many(30)
        self.disk.end_process()
        self.disk.is_full = True
        self.start()
        self.assert_read(records)
        files = len(self.files())
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        self.maker.clock.advance(2)
        self.assertLess(len(self.files()), files)
        self.store(spooled_record(31))

    def test_the_reserve_is_made_again(self) -> None:
        self.start()
        self.assertIn("reserve", self.disk.entries)
        del self.disk.entries["reserve"]
        self.disk.end_process()
        self.disk.is_full = True
        self.start()
        self.disk.is_full = False
        self.maker.clock.advance(2)
        self.assertIn("reserve", self.disk.entries)

    def test_files_that_cannot_be_removed_are_removed_later(self) -> None:
        self.start()
        self.store_many(30)
        self.disk.is_broken = True
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        self.assertGreater(len(self.files()), 1)
        self.disk.is_broken = False
        self.maker.clock.advance(2)
        self.assertEqual(len(self.files()), 1)


class ThreadTests(SpoolOnDisk):
    """With threads that work when the test lets them."""

    def setUp(self) -> None:
        super().setUp()
        self.workers: dict[str, HeldWorker] = {}
        self.maker.make_worker = self.make_worker
        self.spool = self.maker.make()
        started = self.spool.start(SINKS)
        self.work()
        self.cursors = self.successResultOf(started)

    def make_worker(self, name: str) -> HeldWorker:
        worker = self.workers[name] = HeldWorker(name)
        return worker

    def work(self) -> None:
        while sum(worker.work() for worker in self.workers.values()):
            pass

    def append(self, number: int) -> Appended:
        appended = self.spool.append([spooled_record(number)])
        assert isinstance(appended, Appended)
        return appended

    def test_the_reactor_waits_for_no_disk(self) -> None:
        self.disk.steps.clear()
        appended = self.append(1)
        read = self.spool.read("kafka", 1, 1, 1)
        self.spool.settle("kafka", 1)
        self.maker.clock.advance(5)
        self.assertEqual(self.disk.steps, [])
        self.assertNoResult(appended.synced)
        self.assertNoResult(read)
        self.assertEqual(self.spool.state().unsynced_records, 1)
        self.work()
        self.successResultOf(read)
        self.assertIsNone(self.successResultOf(appended.synced))

    def test_nothing_is_taken_until_the_cursor_of_a_new_sink_is_on_disk(self) -> None:
        self.disk.end_process()
        self.disk.broken_prefix = "cursors"
        spool = self.maker.make()
        spool.start({**SINKS, "mqtt": ("custom",)})
        self.work()
        self.maker.clock.advance(1.5)  # the next try is under way
        self.assertIsInstance(spool.append([spooled_record(1)]), StorageError)
        self.disk.broken_prefix = ""
        self.work()
        self.assertIsInstance(spool.append([spooled_record(1)]), Appended)

    def test_what_waits_shares_a_commit(self) -> None:
        self.append(0)
        self.work()
        self.disk.steps.clear()
        fired: list[int] = []
        for number in range(1, 11):
            self.append(number).synced.addCallback(lambda _, number=number: fired.append(number))
        self.work()
        (name,) = self.files()
        self.assertEqual(self.disk.steps.count(("sync", name + "-wal")), 2)
        self.assertEqual(fired, [*range(1, 11)])

    def test_a_read_that_meets_a_file_just_sealed_goes_on_in_it(self) -> None:
        first = self.cursors["kafka"]
        self.append(0)
        self.work()
        for _ in range(4):
            self.spool.append([spooled_record(1, padding_bytes=50_000)])
            read = self.spool.read("kafka", first, 1, 1)
            self.work()
            self.assertEqual(self.successResultOf(read).positions, [first])
            (first,) = range(self.spool.state().next_position - 1, self.spool.state().next_position)

    def test_stop_waits_for_what_was_appended(self) -> None:
        appended = self.append(1)
        read = self.spool.read("kafka", self.cursors["kafka"], 10, 10_000)
        stopped = self.spool.stop()
        self.assertNoResult(stopped)
        self.work()
        self.successResultOf(stopped)
        self.assertIsNone(self.successResultOf(appended.synced))
        self.successResultOf(read)
        self.assertTrue(all(worker.has_quit for worker in self.workers.values()))
        self.assertEqual(self.maker.clock.getDelayedCalls(), [])

    def test_a_stop_that_is_cancelled_fires_at_once(self) -> None:
        self.append(1)
        stopped = self.spool.stop()
        stopped.cancel()
        self.successResultOf(stopped)
        self.work()
