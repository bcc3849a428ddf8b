"""Faults of sinks: Kafka that is away, dies, hangs, or refuses one record for good."""

from collections.abc import Iterator
from contextlib import contextmanager

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from tests.support.faults.brokers import MAX_MESSAGE_BYTES
from tests.support.faults.case import FaultCase, bounded
from tests.support.faults.process_facts import resident_mib
from tests.support.faults.records import CUSTOM_TYPE, frame, message
from tests.support.faults.vehicle import Habits, Vehicles
from tests.support.gateway_process import GatewayProcess

IN_FLIGHT = 1000
MEMORY_MIB = 60
QUEUE_RECORDS = 5000
FOUR = 4

TO_SQLITE = Habits(rate=200, record_types=(CUSTOM_TYPE,))


def poison_of(vin: str) -> bytes:
    """A payload that the client takes and the broker does not."""
    name = Datum(key=Field.VehicleName, value=Value(string_value="x" * 2 * MAX_MESSAGE_BYTES))
    return Payload(vin=vin, data=[name]).SerializeToString()


class SinkFaultTests(FaultCase):
    """Four vehicles send to Kafka; four others, to an SQLite file, must notice nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.kafka.resume)

    @contextmanager
    def both(self, gateway: GatewayProcess, habits: Habits) -> Iterator[tuple[Vehicles, Vehicles]]:
        """The vehicles that send to Kafka, and the others. At the end the oracle."""
        with self.vehicles(FOUR, habits) as to_kafka, self.vehicles(FOUR, TO_SQLITE, first=FOUR) as to_sqlite:
            gateway.wait_for("server_listening")
            to_kafka.begin()
            to_sqlite.begin()
            yield to_kafka, to_sqlite
            vehicles = Vehicles([*to_kafka.each, *to_sqlite.each])
            self.account = self.verify(gateway, vehicles, self.in_kafka, self.in_sqlite)

    def test_down_at_start(self) -> None:
        settings = self.settings("V", CUSTOM_TYPE)
        self.kafka.kill()
        with self.gateway(**settings) as gateway, self.both(gateway, Habits(rate=200)) as (to_kafka, to_sqlite):
            to_sqlite.wait_for_acks(500)
            self.assertEqual(gateway.wait_for("sink_not_ready")["dispatcher"], "kafka")
            to_sqlite.wait_for_acks(500)
            self.assertEqual(to_kafka.acked, {}, "acknowledged without a broker")
            self.kafka.start()
            to_kafka.wait_for_acks(500)

    def test_dies_mid_stream(self) -> None:
        """Vehicles send nothing again here: copies are the gateway's, of the records in flight at a kill."""
        kills = bounded(2, 20)
        settings = self.settings("V", CUSTOM_TYPE)
        settings["delivery"] = {"retry_initial_s": 0.1, "retry_max_s": 1.0, "in_flight_records": IN_FLIGHT}
        habits = Habits(rate=200, window=2000, resend_after_s=None)
        with self.gateway(**settings) as gateway:
            with self.both(gateway, habits) as (to_kafka, to_sqlite):
                for _ in range(kills):
                    to_kafka.wait_for_acks(1000)
                    self.kafka.kill()
                    to_sqlite.wait_for_acks(500)
                    self.kafka.start()
                to_kafka.wait_for_acks(1000)
            self.assertLessEqual(self.account.copies, kills * IN_FLIGHT)
            retries = [float(str(entry["pause_s"])) for entry in gateway.events("dispatch_retry") if "pause_s" in entry]
            self.assertEqual(len(set(retries)), len(retries), "pauses without jitter")

    def test_hangs(self) -> None:
        """A stopped broker keeps its connections: the queue fills up to its bound, and nothing of ``V`` is acknowledged."""
        settings = self.settings("V", CUSTOM_TYPE)
        settings["delivery"] = {"retry_initial_s": 0.1, "retry_max_s": 1.0, "queue_records": QUEUE_RECORDS}
        habits = Habits(rate=500, window=2 * QUEUE_RECORDS)
        with self.gateway(**settings) as gateway, self.both(gateway, habits) as (to_kafka, to_sqlite):
            to_kafka.wait_for_acks(1000)
            before_mib = resident_mib(gateway.pid)
            self.kafka.pause()
            to_sqlite.wait_for_acks(bounded(2000, 20_000))
            gateway.wait_for("dispatch_retry")
            to_sqlite.wait_for_acks(500)
            self.wait_for_metric("lane_held_records", QUEUE_RECORDS / 2, dispatcher="kafka")  # four vehicles share the queue
            self.assertLessEqual(self.metric("lane_held_records", dispatcher="kafka"), QUEUE_RECORDS)
            self.assertLess(resident_mib(gateway.pid) - before_mib, MEMORY_MIB)
            self.kafka.resume()
            to_kafka.wait_for_acks(1000)

    def test_one_record_is_refused_for_good(self) -> None:
        """It is a dead letter with the broker's reason; the records around it pass."""
        with self.gateway(**self.settings("V", CUSTOM_TYPE)) as gateway, self.both(gateway, Habits()) as (to_kafka, _):
            to_kafka.wait_for_acks(500)
            vin = to_kafka.each[0].vin
            self.connect().send(frame(message(b"poison", vin, "V", poison_of(vin))))
            letter = gateway.wait_for("dead_letter")
            self.assertEqual((letter["dispatcher"], letter["metadata"]["txid"]), ("kafka", "poison"))
            self.assertIn("MSG_SIZE_TOO_LARGE", str(letter))
            to_kafka.wait_for_acks(500)

    def test_refused_records_are_stored(self) -> None:
        """With a folder for dead letters the record is acknowledged once it is there: no vehicle sends it for ever."""
        settings = self.settings("V", CUSTOM_TYPE)
        settings["dead_letters"] = {"path": str(self.folder / "dead-letters")}
        with self.gateway(**settings) as gateway:
            with self.both(gateway, Habits()) as (to_kafka, _):
                for vehicle in to_kafka.each:
                    vehicle.issue("V", poison_of(vehicle.vin))
                gateway.wait_for("dead_letter", FOUR)
                to_kafka.wait_for_acks(500)
            self.assertEqual(self.account.dead_letters, FOUR)
