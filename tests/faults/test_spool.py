"""The policy ``spooled`` with a real Kafka: kill -9, a full disk, syncs that fail, flipped bits, a successor."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from tests.support.faults.case import FaultCase, Settings, bounded
from tests.support.faults.disk import SmallDisk, failing_syncs, flip_bits, mounting_missing, small_disk, strace_missing
from tests.support.faults.records import CUSTOM_TYPE, is_whole
from tests.support.faults.vehicle import Habits, Vehicles, wait_until
from tests.support.gateway_process import GatewayProcess
from tests.support.needed import needed

LOAD = Habits(rate=200)
RECORDS = 2000


class SpoolCase(FaultCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.kafka.resume)
        self.spool = self.folder / "spool"

    def spooling(self, *further_types: str) -> Settings:
        """``V`` is acknowledged once it is in the spool; files are small."""
        settings = self.settings("V", *further_types)
        settings["ack_policies"]["V"] = "spooled"
        del settings["kafka"]["message.timeout.ms"]
        settings["spool"] = {"path": str(self.spool), "file_mib": 1}
        return settings

    def killed(self, gateway: GatewayProcess) -> None:
        """SIGKILL, and wait for the end."""
        gateway.signal(signal.SIGKILL)
        gateway.wait()

    def all_in_kafka(self, vehicles: Vehicles) -> None:
        """Wait until every acknowledged record is in Kafka."""
        acked = vehicles.acked.keys()
        self.assertLessEqual(acked, {record.txid for record in self.delivered(vehicles, self.in_kafka)})


class KillTests(SpoolCase):
    def test_killed_at_random_points(self) -> None:
        """Under load, while it starts, while Kafka hangs. Every acknowledged record arrives."""
        kills, random = bounded(10, 200), Random(4)
        with self.vehicles(habits=LOAD) as vehicles:
            vehicles.begin()
            for number in range(kills):
                with self.gateway(**self.spooling()) as gateway:
                    if random.random() < 0.2:
                        gateway.wait_for(random.choice(("starting_server", "kafka_registered", "server_listening")))
                    else:
                        vehicles.wait_for_acks(1)
                        self.books()
                        vehicles.wait_for_acks(random.randint(1, 1500))
                    self.killed(gateway)
                if number % 10 == 4:
                    self.kafka.pause()
                elif number % 10 == 7:
                    self.kafka.resume()
            self.kafka.resume()
            with self.gateway(**self.spooling()) as gateway:
                gateway.wait_for("server_listening")
                self.verify(gateway, vehicles, self.in_kafka)

    def test_kafka_is_down_and_the_gateway_is_killed_twice_meanwhile(self) -> None:
        """Acknowledgements go on; after the last start the spool is delivered in full. Vehicles send nothing twice here."""
        habits = Habits(rate=250, window=10**6, resend_after_s=None)
        with self.vehicles(habits=habits) as vehicles:
            settings = self.spooling()
            self.kafka.kill()
            vehicles.begin()
            for _ in range(2):
                with self.gateway(**settings) as gateway:
                    vehicles.wait_for_acks(bounded(5000, 120_000))
                    self.killed(gateway)
            with self.gateway(**settings) as gateway:
                vehicles.wait_for_acks(5000)
                self.kafka.start()
                self.verify(gateway, vehicles, self.in_kafka)


class SuccessorTests(SpoolCase):
    def test_a_successor_adopts_the_spool_once(self) -> None:
        """Another process cannot have the folder while one runs; after a kill the next one delivers its records once."""
        self.kafka.kill()
        with self.vehicles(habits=Habits(rate=200, resend_after_s=None)) as vehicles:
            with self.gateway(**self.spooling()) as gateway:
                vehicles.begin()
                vehicles.wait_for_acks(RECORDS)
                with self.gateway(**self.spooling() | {"port": 0, "monitoring": {}}) as rival:
                    self.assertEqual(rival.wait(), 1)
                    self.assertIn("spool.path", rival.output())
                    self.assertIn("in use by another process", rival.output())
                vehicles.wait_for_acks(100)
                vehicles.settle()
                self.killed(gateway)
            self.kafka.start()
            with self.gateway(**self.spooling()) as gateway:
                gateway.wait_for("server_listening")
                self.all_in_kafka(vehicles)
                self.assertEqual(gateway.stop(), 0)
            with self.gateway(**self.spooling()) as gateway:
                account = self.verify(gateway, vehicles, self.in_kafka)
            self.assertEqual(account.copies, 0)


class DiskTests(SpoolCase):
    @contextmanager
    def load_of_both(self, settings: Settings) -> Iterator[tuple[GatewayProcess, Vehicles, Vehicles]]:
        """Four vehicles whose records are spooled, four others whose records go to the SQLite file; then the oracle."""
        to_sqlite = Habits(record_types=[CUSTOM_TYPE])
        with (
            self.gateway(**settings) as gateway,
            self.vehicles(4, LOAD) as spooled,
            self.vehicles(4, to_sqlite, first=4) as others,
        ):
            gateway.wait_for("server_listening")
            spooled.begin()
            others.begin()
            spooled.wait_for_acks(500)
            yield gateway, spooled, others
            spooled.wait_for_acks(500)
            self.verify(gateway, Vehicles([*spooled.each, *others.each]), self.in_kafka, self.in_sqlite)

    def is_stopped(self, spooled: Vehicles, others: Vehicles) -> bool:
        """Whether nothing is acknowledged that waits for the spool, while the other vehicles' records are."""
        before = len(spooled.acked)
        others.wait_for_acks(300)
        return len(spooled.acked) == before

    def test_full_disk(self) -> None:
        needed(mounting_missing())
        with small_disk(self.folder / "disk", 16) as disk:
            self.spool = disk.path / "spool"
            with self.load_of_both(self.spooling(CUSTOM_TYPE)) as (gateway, spooled, others):
                for number in range(1, bounded(2, 20) + 1):
                    self.kafka.pause()  # so that the spool removes no file
                    self.full(disk, gateway, number)
                    wait_until(lambda: disk.fill() or self.is_stopped(spooled, others), "acknowledged without a disk")
                    disk.empty()
                    self.kafka.resume()
                    spooled.wait_for_acks(500)
                self.assertEqual(gateway.events("spool_broken"), [])

    def full(self, disk: SmallDisk, gateway: GatewayProcess, number: int) -> None:
        """Fill the disk until the spool has noticed for the ``number``-th time; it removes files meanwhile."""

        def noticed() -> bool:
            disk.fill()
            return len(gateway.events("spool_failed")) >= number

        wait_until(noticed, "the spool has not noticed")

    def test_killed_and_started_on_a_full_disk(self) -> None:
        """It starts, acknowledges nothing, delivers what the spool holds, and goes on when there is room."""
        needed(mounting_missing())
        with small_disk(self.folder / "disk", 16) as disk, self.vehicles(habits=LOAD) as vehicles:
            self.spool = disk.path / "spool"
            vehicles.begin()
            settings = self.spooling()
            self.kafka.pause()
            with self.gateway(**settings) as gateway:
                vehicles.wait_for_acks(RECORDS)
                self.full(disk, gateway, 1)
                self.killed(gateway)
            self.kafka.resume()
            with self.gateway(**settings) as gateway:
                gateway.wait_for("server_listening")
                self.all_in_kafka(vehicles)
                disk.empty()
                vehicles.wait_for_acks(RECORDS)
                self.verify(gateway, vehicles, self.in_kafka)

    def test_syncs_fail(self) -> None:
        needed(strace_missing())
        with self.load_of_both(self.spooling(CUSTOM_TYPE)) as (gateway, spooled, others):
            for number in range(1, bounded(2, 20) + 1):
                with failing_syncs(gateway.pid):
                    gateway.wait_for("spool_failed", number)
                    others.wait_for_acks(100)  # acknowledgements of what the disk still took are there by then
                    self.assertTrue(self.is_stopped(spooled, others), "acknowledged without a disk")
                gateway.wait_for("spool_recovered", number)
                spooled.wait_for_acks(500)


class DamageTests(SpoolCase):
    def test_flipped_bits(self) -> None:
        """Every lost record is counted, the damaged files are kept aside, and all other records are delivered."""
        random = Random(7)

        def damage() -> None:
            for file in self.spool.glob("*.spool"):
                if file.stat().st_size > 65_536:
                    flip_bits(file, [random.randrange(4096, file.stat().st_size) for _ in range(3)])

        lost, counted = self.lost_by(damage, bounded(10_000, 50_000))
        self.assertGreater(lost, 0)
        self.assertLessEqual(lost, counted)
        self.assertTrue(list(self.spool.glob("*.damaged")))

    def test_flipped_bit_in_the_log(self) -> None:
        """The log of the file that was written last ends there: the file is kept aside, all that is before it is delivered.

        The number of records behind it is not known.
        """

        def damage() -> None:
            for file in self.spool.glob("0*.spool-wal"):
                flip_bits(file, [file.stat().st_size // 2])

        lost, _ = self.lost_by(damage, RECORDS)
        self.assertLess(lost, RECORDS)
        self.assertTrue(list(self.spool.glob("*.damaged")))

    def lost_by(self, damage: Callable[[], None], records: int) -> tuple[int, int]:
        """Damage the spool of a killed gateway that holds records; the number that is lost, and the one that is counted."""
        self.kafka.pause()
        with self.vehicles(habits=Habits(rate=500, resend_after_s=None)) as vehicles:
            with self.gateway(**self.spooling()) as gateway:
                vehicles.begin()
                vehicles.wait_for_acks(records)
                vehicles.settle()
                self.killed(gateway)
            damage()
            self.kafka.resume()
            with self.gateway(**self.spooling()) as gateway:
                gateway.wait_for("sink_caught_up")
                wait_until(lambda: not self.metric("lane_held_records", dispatcher="kafka"), "Kafka does not get the rest")
                counted = int(self.metric("lost_records_total", dispatcher="kafka", reason="damaged"))
                delivered = self.in_kafka.read()
                self.assertTrue(all(map(is_whole, delivered)))
                lost = vehicles.acked.keys() - {record.txid for record in delivered}
                print(f"{len(vehicles.acked)} spooled, {len(lost)} lost, {counted} of them counted")
                vehicles.each[0].issue("V")
                vehicles.settle()
                self.books(lost=counted)
        return len(lost), counted
