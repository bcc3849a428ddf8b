"""Damaged files cost the records in them that are damaged, and nothing else."""

from random import Random

from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import Page
from tests.support.spool_case import KIB, all_of, spooled_record
from tests.support.spool_on_disk import SpoolOnDisk


class DamagedFileTests(SpoolOnDisk):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.records = self.store_many(24, padding_bytes=1500)
        self.assertGreater(len(self.files()), 2)

    def positions(self, name: str) -> range:
        """Positions of the records of a file."""
        files = self.files()
        following = files.index(name) + 1
        end = int(files[following][:20]) if following < len(files) else self.spool.state().next_position
        return range(int(name[:20]), end)

    def others(self, name: str) -> list[object]:
        lost = self.positions(name)
        return [all_of(record) for at, record in enumerate(self.records, self.cursors["kafka"]) if at not in lost]

    def test_a_file_truncated_to_zero_costs_its_records(self) -> None:
        name = self.files()[1]
        lost, others = self.positions(name), self.others(name)
        self.disk.end_process()
        del self.disk.entries[name].content[:]
        self.start()
        self.assertEqual(list(map(all_of, self.read())), others)
        self.assertEqual((self.damaged("kafka"), self.damaged("redis")), (len(lost), len(lost)))
        self.assertEqual(self.maker.metrics.value("spool_damaged_files_total"), 1)
        self.assertIn(name + ".damaged", self.disk.entries)

    def test_a_file_truncated_under_a_running_spool_costs_its_records(self) -> None:
        name = self.files()[0]
        lost, others = self.positions(name), self.others(name)
        del self.disk.entries[name].content[:]
        self.assertEqual(list(map(all_of, self.read())), others)
        self.assertEqual(self.damaged(), len(lost))
        self.assertIn(name + ".damaged", self.disk.entries)

    def test_a_file_that_was_removed_costs_its_records(self) -> None:
        name = self.files()[1]
        lost, others = self.positions(name), self.others(name)
        del self.disk.entries[name]
        self.assertEqual(list(map(all_of, self.read())), others)
        self.assertEqual(self.damaged(), len(lost))

    def test_the_last_file_truncated_to_zero_does_not_keep_the_spool_from_starting(self) -> None:
        name = self.files()[-1]
        others, end = self.others(name), self.spool.state().next_position
        self.disk.end_process()
        del self.disk.entries[name].content[:]
        self.start()
        (position,) = self.store(spooled_record(100))
        self.assertGreaterEqual(position, end)
        self.assertEqual(list(map(all_of, self.read())), [*others, all_of(spooled_record(100))])
        self.assertIn(name + ".damaged", self.disk.entries)
        self.assertIn(name + "-wal.damaged", self.disk.entries)

    def test_any_flipped_bit_is_counted_or_harmless(self) -> None:
        random = Random(1)
        name = self.files()[1]
        lost_most = len(self.positions(name))
        inode = self.disk.entries[name]
        intact = bytes(inode.content)
        costly = 0
        for _ in range(400):
            at, bit = random.randrange(len(intact)), random.randrange(8)
            with self.subTest(at=at, bit=bit):
                inode.content[:] = intact
                inode.content[at] ^= 1 << bit
                self.disk.entries.pop(name + ".damaged", None)
                before = self.damaged()
                self.restart()
                read = [all_of(record) for record in self.read()]
                damaged = self.damaged() - before
                self.assertEqual(len(read) + damaged, len(self.records))
                self.assertLessEqual(damaged, lost_most)
                self.assertLessEqual(set(map(repr, read)), {repr(all_of(record)) for record in self.records})
                self.assertEqual(bool(damaged), name + ".damaged" in self.disk.entries)
                costly += bool(damaged)
                if name not in self.disk.entries:  # kept aside as a whole
                    self.disk.entries[name] = inode
        self.assertGreater(costly, 50)

    def test_a_flipped_bit_in_a_payload_costs_one_record(self) -> None:
        name = self.files()[1]
        content = self.disk.entries[name].content
        content[content.index(bytes([9]) * 200)] ^= 1
        self.assertEqual(len(self.read()), len(self.records) - 1)
        self.assertEqual(self.damaged(), 1)
        self.assertIn(name + ".damaged", self.disk.entries)
        self.assertEqual(self.maker.log.fields_of("spool_records_damaged")[0]["dispatcher"], "kafka")

    def test_rows_of_another_type_cost_their_records(self) -> None:
        for body in (7, "text"):
            for index in (1, -1):
                with self.subTest(body=body, index=index):
                    name = self.files()[index]
                    before = self.damaged()
                    self.disk.end_process()
                    self.set_bodies(name, body)
                    self.start()
                    self.read(position=int(name[:20]))
                    self.assertGreater(self.damaged(), before)

    def test_a_damaged_file_is_kept_aside_when_it_is_no_longer_needed(self) -> None:
        name = self.files()[1]
        content = self.disk.entries[name].content
        content[content.index(bytes([9]) * 200)] ^= 1
        self.read()
        for sink in self.cursors:
            self.spool.settle(sink, self.spool.state().next_position)
        self.assertNotIn(name, self.disk.entries)
        self.assertIn(name + ".damaged", self.disk.entries)
        self.restart()
        self.assertIn(name + ".damaged", self.disk.entries)

    def test_a_damaged_log_is_noticed(self) -> None:
        name = self.files()[-1]
        records = len(self.positions(name))
        self.assertGreater(records, 3)
        self.disk.end_process()
        self.disk.entries[name + "-wal"].content[100] ^= 1
        end = self.spool.state().next_position
        self.start()
        self.assertEqual(self.maker.metrics.value("spool_damaged_files_total"), 1)
        self.assertIn(name + "-wal.damaged", self.disk.entries)
        self.assertEqual(len(self.read()), len(self.records) - records)
        self.assertGreaterEqual(self.store(spooled_record(100))[0], end)
        self.assertEqual(len(self.read()), len(self.records) - records + 1)

    def test_any_damage_to_a_log_leaves_true_records(self) -> None:
        random = Random(2)
        name = self.files()[-1]
        self.disk.end_process()
        log = self.disk.entries[name + "-wal"].content
        intact = bytes(log)
        known = {repr(all_of(record)) for record in self.records}
        for _ in range(100):
            log[:] = intact
            log[random.randrange(len(log))] ^= 1 << random.randrange(8)
            self.restart()
            self.assertLessEqual({repr(all_of(record)) for record in self.read()}, known)

    def test_unreadable_parts_of_the_disk_are_tried_again_and_then_skipped(self) -> None:
        self.restart()
        name = self.files()[1]
        lost, others = self.positions(name), self.others(name)
        self.disk.unreadable.add(name)
        tries = 0
        read: list[object] = []
        position = self.cursors["kafka"]
        while position < self.spool.state().next_position:
            page = self.successResultOf(self.spool.read("kafka", position, 100, 10**9))
            if isinstance(page, StorageError):
                tries += 1
                continue
            assert isinstance(page, Page)
            read += map(all_of, page.records)
            position = page.next_position
        self.assertEqual(tries, 3)
        self.assertEqual(read, others)
        self.assertEqual(self.damaged(), len(lost))

    def test_a_disk_that_fails_as_a_whole_costs_nothing(self) -> None:
        self.restart()
        name = self.files()[1]
        self.disk.unreadable.update(self.files())
        self.disk.is_broken = True
        for _ in range(10):
            page = self.successResultOf(self.spool.read("kafka", self.cursors["kafka"], 100, 10**9))
            self.assertIsInstance(page, StorageError)
        self.disk.unreadable.clear()
        self.disk.is_broken = False
        self.assert_read(self.records)
        self.assertNotIn(name + ".damaged", self.disk.entries)


class KeptAsideTests(SpoolOnDisk):
    """Damaged files are kept for people to look at, within a bound."""

    def setUp(self) -> None:
        super().setUp()
        self.limit(SpoolLimits(max_bytes=800 * KIB, file_bytes=40 * KIB))
        self.start()

    def damage_all(self) -> list[str]:
        """Fill some files, flip a bit in each of them, let the sinks read and settle; returns the names of the files."""
        self.store_many(40, padding_bytes=5000)
        names = self.files()[:-1]
        for name in names:
            self.disk.entries[name].content[-100] ^= 1
        self.read()
        for sink in self.cursors:
            self.spool.settle(sink, self.spool.state().next_position)
        return names

    def kept(self) -> list[str]:
        return sorted(name for name in self.disk.entries if name.endswith(".damaged"))

    def size_bytes(self) -> int:
        return sum(len(self.disk.entries[name].content) for name in self.kept())

    def test_the_oldest_are_removed_when_they_take_too_much_room(self) -> None:
        names = self.damage_all()
        self.assertGreater(len(names), 6)
        kept = self.kept()
        self.assertEqual(kept, [name + ".damaged" for name in names[-len(kept) :]])
        self.assertGreater(self.size_bytes(), 120 * KIB)
        self.assertLessEqual(self.size_bytes(), 200 * KIB)
        removed = sum(int(str(fields["files"])) for fields in self.maker.log.fields_of("spool_damaged_files_removed"))
        self.assertEqual(removed, len(names) - len(kept))
        self.assertEqual(self.maker.metrics.value("spool_damaged_files_total"), len(names))

    def test_their_size_is_in_the_state(self) -> None:
        self.damage_all()
        self.assertEqual(self.spool.state().damaged_bytes, self.size_bytes())
        self.assertEqual(self.maker.metrics.value("spool_damaged_bytes"), self.size_bytes())
        self.restart()
        self.assertEqual(self.spool.state().damaged_bytes, self.size_bytes())

    def test_the_newest_is_kept_whatever_its_size(self) -> None:
        self.store(spooled_record(1, padding_bytes=300 * KIB))
        self.store(spooled_record(2))
        (name, _) = self.files()
        self.disk.entries[name].content[100_000] ^= 1
        self.read()
        self.assertEqual(self.kept(), [name + ".damaged"])
        self.restart()
        self.assertEqual(self.kept(), [name + ".damaged"])

    def test_the_bound_holds_from_the_start_on(self) -> None:
        self.damage_all()
        kept = self.kept()
        oldest = f"{1:020d}-{1:014d}.spool.damaged"
        self.disk.entries[oldest] = self.disk.entries[kept[-1]]
        self.restart()
        self.assertEqual(self.kept(), kept)


class DamagedCursorsTests(SpoolOnDisk):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.records = self.store_many(4)
        self.spool.settle("kafka", self.cursors["kafka"] + 2)
        self.maker.clock.advance(2)

    def damage(self) -> None:
        """Flip a bit in the positions."""
        (name,) = [name for name in self.disk.entries if name.startswith("cursors") and not name.endswith("-wal")]
        for each in (name, name + "-wal"):
            content = self.disk.entries[each].content
            at = content.find(b'"kafka":')
            while at >= 0:
                content[at + 9] ^= 8
                at = content.find(b'"kafka":', at + 1)

    def test_damaged_cursors_lag(self) -> None:
        self.disk.end_process()
        self.damage()
        self.start()
        self.assert_read(self.records)
        self.assert_read(self.records, "redis")
        self.assertEqual(self.maker.metrics.value("spool_damaged_files_total"), 1)

    def test_cursors_of_another_type_lag(self) -> None:
        for body in (7, "text"):
            with self.subTest(body=body):
                self.disk.end_process()
                (name,) = [name for name in self.disk.entries if name.startswith("cursors") and name.endswith(".spool")]
                self.set_bodies(name, body)
                self.start()
                self.assert_read(self.records)

    def test_lost_cursors_lag(self) -> None:
        self.disk.end_process()
        for name in [name for name in self.disk.entries if name.startswith("cursors")]:
            del self.disk.entries[name]
        self.start()
        self.assert_read(self.records)

    def test_a_cursors_file_truncated_to_zero_lags(self) -> None:
        self.disk.end_process()
        for name in [name for name in self.disk.entries if name.startswith("cursors")]:
            del self.disk.entries[name].content[:]
        self.start()
        self.assert_read(self.records)
