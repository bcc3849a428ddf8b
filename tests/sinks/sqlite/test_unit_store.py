"""The contents of the file, its failures, and its readers."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import TestCase

import apsw
from attrs import evolve

from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.generated import vehicle_data_pb2 as pb
from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import Customer, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.sinks.sqlite import schema
from fleetgw.adapters.sinks.sqlite.file_failures import FileReplaced, failure_of
from fleetgw.adapters.sinks.sqlite.file_version import ForeignFile
from fleetgw.adapters.sinks.sqlite.reading import CannotRead, RecordFile, open_file
from fleetgw.adapters.sinks.sqlite.rows import read_signals
from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT, ConnectivityStatus
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from fleetgw.testing.sink_doubles import make_record
from tests.support.sqlite_crash import kill_over_and_over, numbered_record, recorded

VIN = "5YJ3E1EA7KF000001"
NOW_MS = 1_764_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ALWAYS = (-(2**62), 2**62)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Run as another user than root, because root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def vehicle(vin: str = VIN) -> Vehicle:
    return Vehicle(PeerIdentity("vehicle_device", vin), vin, "the connection", network_interface="wifi")


def record_of(
    content: object, *, txid: bytes = b"tx-1", received_at_ms: int = NOW_MS, record_type: str = "V", vin: str = VIN
) -> Record:
    return Record(record_type, txid, vehicle(vin), content.SerializeToString(), received_at_ms, content, 1)


def payload(created_at_ms: int = NOW_MS, **values: object) -> pb.Payload:
    """Signals by field name; a value is a pair of the oneof's case and its content, or a number."""
    made = pb.Payload()
    made.created_at.seconds, made.created_at.nanos = created_at_ms // 1000, created_at_ms % 1000 * 1_000_000
    for name, value in values.items():
        case, held = value if isinstance(value, tuple) else ("double_value", value)
        target = made.data.add(key=pb.Field.Value(name)).value
        if isinstance(held, dict):
            for member, part in held.items():
                setattr(getattr(target, case), member, part)
        else:
            setattr(target, case, held)
    return made


def _traced(connection: apsw.Connection, statements: list[str]) -> apsw.Connection:
    def note(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        statements.append(sql)
        return True

    connection.exec_trace = note
    return connection


class FileCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "r.sqlite3"
        self.settings = StoreSettings(self.path, "full", 0, 0, 0.2)
        self.store = self.make_store()

    def make_store(self, **changes: object) -> Store:
        store = Store(evolve(self.settings, **changes))
        self.addCleanup(store.close)
        return store

    def write(self, *records: Record) -> None:
        self.assertEqual(self.store.write(records), [RECEIPT] * len(records))

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with closing(apsw.Connection(str(self.path))) as connection:
            return connection.execute(sql).fetchall()

    def reading(self) -> RecordFile:
        self.store.update_latest()
        return self.enterContext(open_file(self.path))

    def history(self, field: str, vin: str = VIN) -> list[object]:
        return [each.value for each in self.reading().history(vin, field, *ALWAYS)]


class ValueTests(FileCase):
    def test_every_kind_of_value(self) -> None:
        cases = {
            "VehicleSpeed": (("double_value", 65.25), 65.25),
            "PackVoltage": (("float_value", 390.1), 390.1),
            "ChargeLimitSoc": (("int_value", -3), -3),
            "Odometer": (("long_value", 2**62), 2**62),
            "Version": (("string_value", '2026.38.4 \N{SNOWMAN} " {'), '2026.38.4 \N{SNOWMAN} " {'),
            "Locked": (("boolean_value", False), False),
            "Gear": (("shift_state_value", pb.ShiftStateD), "ShiftStateD"),
            "SentryMode": (("sentry_mode_state_value", 99), "99"),
            "Location": (
                ("location_value", {"latitude": 37.5, "longitude": -122.25}),
                {"latitude": 37.5, "longitude": -122.25},
            ),
            "ScheduledChargingStartTime": (("time_value", {"hour": 7, "minute": 5}), "07:05:00"),
            "RouteLine": (("invalid", True), None),
            "Soc": (("double_value", float("nan")), "NaN"),
            "InsideTemp": (("float_value", float("-inf")), "-Infinity"),
            "TpmsHardWarnings": (("tire_location_value", {"rear_left": True}), {"rear_left": True}),
        }
        content = payload(**{name: given for name, (given, _) in cases.items()})
        content.data.add(key=pb.Field.DoorState).value.door_value.DriverFront = True
        content.data.add(key=9999).value.int_value = 1
        content.data.add(key=pb.Field.OutsideTemp)
        self.write(record_of(content))
        expected = {name: value for name, (_, value) in cases.items()} | {"9999": 1, "OutsideTemp": None}
        latest = {each.field: each.value for each in self.reading().latest(VIN)}
        doors = latest.pop("DoorState")
        self.assertEqual([name for name, is_open in doors.items() if is_open], ["DriverFront"])
        self.assertEqual(latest, expected)
        for name, value in latest.items():
            with self.subTest(name=name):
                self.assertIs(type(value), type(expected[name]))
                self.assertEqual(self.history(name), [value])

    def test_is_json_as_read(self) -> None:
        content = payload(VehicleSpeed=1.5, Gear=("shift_state_value", pb.ShiftStateP))
        self.write(record_of(content))
        ((text,),) = self.rows("SELECT signals FROM record")
        self.assertEqual(json.loads(text), read_signals(content, b""))

    def test_many_records_at_once(self) -> None:
        """More than fit into one statement, of several vehicles."""
        self.write(*(numbered_record(number) for number in range(1234)))
        self.assertEqual(recorded(self.path), {number: number for number in range(1234)})
        self.store.update_latest()
        self.assertEqual(
            self.rows("SELECT vin, value FROM latest_signals WHERE field = 'Odometer' ORDER BY value"),
            [("5YJ3E1EA7KF000001", 1232.0), ("LRW3E7EK4NC000003", 1233.0)],
        )

    def test_alert_that_ends_is_one_row(self) -> None:
        begun, ended = VehicleAlerts(), VehicleAlerts()
        for each in (begun, ended):
            each.alerts.add(name="tirePressureLow", audiences=[Customer, 77]).started_at.seconds = NOW_MS // 1000
        ended.alerts[0].ended_at.seconds = NOW_MS // 1000 + 60
        for each in (begun, ended, begun):
            self.write(record_of(each, record_type="alerts"))
        (alert,) = self.reading().alerts(None, *ALWAYS)
        self.assertEqual((alert.name, alert.started_at_ms, alert.ended_at_ms), ("tirePressureLow", NOW_MS, NOW_MS + 60_000))
        self.assertEqual(alert.audiences, ("Customer", "77"))

    def test_errors_connectivity_and_custom_records(self) -> None:
        content = VehicleErrors()
        content.errors.add(name="cloud_fetch", body="timed out", tags={"b": "2", "a": "1"}).created_at.seconds = (
            NOW_MS // 1000
        )
        connect = RecordCodec(transmit_decoded_records=False).connectivity(
            vehicle(), ConnectivityStatus.CONNECTED, NOW_MS * 1_000_000
        )
        custom = make_record(VIN, "tx \udcff", record_type="mine", payload=b"\0\xff")
        for _ in range(2):
            self.write(record_of(content, record_type="errors"), connect, custom)
        self.assertEqual(
            self.rows("SELECT vin, created_at, name, body, tags FROM errors"),
            [(VIN, "2025-11-24T16:00:00.000Z", "cloud_fetch", "timed out", '{"a":"1","b":"2"}')],
        )
        self.assertEqual(
            self.rows("SELECT vin, created_at, status, connection_id, network_interface FROM connectivity"),
            [(VIN, "2025-11-24T16:00:00.000Z", "CONNECTED", "the connection", "wifi")],
        )
        self.assertEqual(
            self.rows("SELECT vin, record_type, txid, payload FROM custom_records"), [(VIN, "mine", r"tx \xff", b"\0\xff")]
        )

    def test_a_gateway_s_own_figures_are_kept_as_a_custom_record(self) -> None:
        made = make_record("gw-1", record_type="gateway_status", content=GatewayStatus(host="gw-1"), payload=b"figures")
        self.write(made)
        self.assertEqual(
            self.rows("SELECT vin, record_type, txid, payload FROM custom_records"),
            [("gw-1", "gateway_status", "tx-1", b"figures")],
        )


class HistoryTests(FileCase):
    def test_a_record_sent_again_makes_no_second_row(self) -> None:
        record = record_of(payload(Soc=70))
        self.write(record, record)
        self.write(record)
        self.assertEqual(self.history("Soc"), [70])

    def test_similar_records_are_kept(self) -> None:
        self.write(record_of(payload(Soc=70)), record_of(payload(Soc=70), txid=b"tx-2"))
        self.write(record_of(payload(Soc=70), txid=b""), record_of(payload(Soc=70), txid=b""))
        self.write(record_of(payload(Soc=70), vin="LRW3E7EK4NC000003"))
        self.assertEqual(self.history("Soc"), [70] * 4)

    def test_latest_is_by_the_vehicles_time(self) -> None:
        self.write(record_of(payload(NOW_MS, Soc=70, Odometer=5), txid=b"1"))
        self.write(record_of(payload(NOW_MS - 5000, Soc=71, VehicleSpeed=3), txid=b"2"))
        for again in range(2):
            latest = {each.field: each.value for each in self.reading().latest(VIN)}
            self.assertEqual(latest, {"Soc": 70, "Odometer": 5, "VehicleSpeed": 3})
            if not again:
                self.write(record_of(payload(NOW_MS - 6000, Soc=72), txid=b"3"))
        self.assertEqual(self.history("Soc"), [72, 71, 70])

    def test_an_implausible_time_is_replaced_by_the_time_of_receipt(self) -> None:
        """It would stay the latest for ever."""
        for number, created_at_ms in enumerate((0, -5, NOW_MS + HOUR_MS + 1, 2**62)):
            self.write(record_of(payload(created_at_ms, Soc=number), txid=b"%d" % number))
        self.write(record_of(payload(NOW_MS + HOUR_MS, Soc=9), txid=b"9"))
        times = [row[0] for row in self.rows("SELECT created_at_ms FROM record ORDER BY id")]
        self.assertEqual(times, [NOW_MS] * 4 + [NOW_MS + HOUR_MS])

    def test_latest_is_updated_after_a_crash(self) -> None:
        self.write(record_of(payload(Soc=70)))
        self.write(record_of(payload(NOW_MS + 1, Soc=71, Locked=("boolean_value", True)), txid=b"2"))
        self.store.abandon()  # as a crash would leave it
        self.assertEqual(self.rows("SELECT value FROM latest"), [(70,)])
        self.make_store().open()
        self.assertEqual(
            self.rows("SELECT field, value, type, created_at_ms FROM latest"),
            [("Locked", 1, "true", NOW_MS + 1), ("Soc", 71.0, "real", NOW_MS + 1)],
        )

    def test_latest_includes_the_records_of_another_process_that_crashed(self) -> None:
        other = self.make_store()
        self.assertEqual(other.write([record_of(payload(Soc=70))]), [RECEIPT])
        self.write(record_of(payload(Soc=50), vin="LRW3E7EK4NC000003"))
        self.store.update_latest()
        self.assertEqual(other.write([record_of(payload(NOW_MS + 1, Soc=71), txid=b"2")]), [RECEIPT])
        self.write(record_of(payload(NOW_MS + 1, Soc=51), txid=b"2", vin="LRW3E7EK4NC000003"))
        other.abandon()  # as a crash would leave it
        self.store.update_latest()
        self.assertEqual(self.rows("SELECT value FROM latest ORDER BY vehicle_id"), [(71.0,), (51.0,)])

    def test_latest_is_not_read_from_the_file_without_other_writers(self) -> None:
        """Reading would cost far more."""
        statements: list[str] = []
        self.store.connect = lambda path: _traced(apsw.Connection(path), statements)
        for number in range(3):
            self.write(record_of(payload(NOW_MS + number, Soc=number), txid=b"%d" % number))
            self.assertEqual(self.rows("SELECT count(*) FROM record"), [(number + 1,)])  # a reader is no writer
            self.store.update_latest()
        self.assertEqual(self.rows("SELECT value FROM latest"), [(2.0,)])
        self.assertEqual([each for each in statements if "FROM record, json_each" in each], [])

    def test_a_malformed_record_is_rejected_alone(self) -> None:
        bad_rows = record_of(payload(Soc=1), txid=b"bad", received_at_ms=2**70)
        bad_content = record_of(payload(Soc=2), txid=b"worse")
        bad_content.received_at_ms = None
        records = [numbered_record(0), bad_rows, numbered_record(1), bad_content, numbered_record(2)]
        outcomes = self.store.write(records)
        self.assertEqual(
            [type(outcome) for outcome in outcomes], [type(RECEIPT), Rejected, type(RECEIPT), Rejected, type(RECEIPT)]
        )
        self.assertEqual(recorded(self.path).keys(), {0, 1, 2})

    def test_a_vin_that_is_not_text_is_rejected_alone(self) -> None:
        outcomes = self.store.write([numbered_record(0), record_of(payload(Soc=1), vin="5YJ\udcff"), numbered_record(1)])
        self.assertEqual([type(outcome) for outcome in outcomes], [type(RECEIPT), Rejected, type(RECEIPT)])
        self.assertEqual(recorded(self.path).keys(), {0, 1})

    def test_vins_with_any_character(self) -> None:
        vins = ['a"b', "\N{SNOWMAN}", "x\\y", "'; DROP TABLE vehicle; --"]
        self.write(*(record_of(payload(Soc=number), vin=vin) for number, vin in enumerate(vins)))
        self.assertEqual([self.history("Soc", vin) for vin in vins], [[0], [1], [2], [3]])


class RetentionTests(FileCase):
    def fill(self, days: Sequence[float]) -> None:
        self.write(
            *(
                record_of(
                    payload(NOW_MS - int(age * DAY_MS), Soc=age),
                    txid=b"%d" % number,
                    received_at_ms=NOW_MS - int(age * DAY_MS),
                )
                for number, age in enumerate(days)
            )
        )

    def trim(self, store: Store, row_limit: int) -> int:
        for rounds in range(10_000):
            if not store.trim(NOW_MS, row_limit):
                return rounds
        return self.fail("retention does not end")

    def test_by_age(self) -> None:
        self.fill([9, 8, 7.1, 6.9, 2, 0])
        self.assertEqual(self.trim(self.make_store(retention_days=7), 2), 2)
        self.assertEqual(self.history("Soc"), [6.9, 2, 0])

    def test_the_latest_values_stay(self) -> None:
        self.write(
            record_of(payload(NOW_MS - 30 * DAY_MS, Version=("string_value", "old")), received_at_ms=NOW_MS - 30 * DAY_MS)
        )
        self.fill([29, 1])
        self.store.update_latest()
        self.trim(self.make_store(retention_days=7), 100)
        self.assertEqual({each.field: each.value for each in self.reading().latest(VIN)}, {"Soc": 1, "Version": "old"})

    def test_by_size(self) -> None:
        text = ("string_value", "x" * 1900)  # two rows a page
        for number in range(1000):
            at_ms = NOW_MS - (1000 - number) * 60_000
            self.write(record_of(payload(at_ms, Version=text), txid=b"%d" % number, received_at_ms=at_ms))
        self.trim(self.make_store(max_size_mb=1), 50)
        kept = [int(txid) for (txid,) in self.rows("SELECT txid FROM record ORDER BY id")]
        self.assertEqual(kept, list(range(kept[0], 1000)), "the oldest go first")
        self.assertTrue(300 < len(kept) < 500, len(kept))

    def test_without_limits_nothing_is_deleted(self) -> None:
        self.fill([9999, 0])
        self.assertFalse(self.store.trim(NOW_MS))
        self.assertEqual(len(self.history("Soc")), 2)


class FailureTests(FileCase):
    def assert_failure(self, kind: type[Exception], *words: str) -> None:
        with self.assertRaises(kind) as caught:
            self.store.write([numbered_record(7)])
        found = failure_of(caught.exception, self.path)
        for word in (str(self.path), *words):
            self.assertIn(word, found.reason)
        if found.reopen:
            self.store.abandon()

    def test_locked_and_free_again(self) -> None:
        self.write(numbered_record(0))
        with closing(apsw.Connection(str(self.path))) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assert_failure(apsw.BusyError, "another program holds the file's write lock")
        self.write(numbered_record(1))
        self.assertEqual(recorded(self.path).keys(), {0, 1})

    def test_not_a_database_until_moved_away(self) -> None:
        self.path.write_bytes(b"my diary, which nobody may touch" * 100)
        self.assert_failure(apsw.NotADBError, "no SQLite database", "move it away")
        self.assertEqual(self.path.read_bytes(), b"my diary, which nobody may touch" * 100)
        self.path.unlink()
        self.write(numbered_record(1))

    def test_damaged(self) -> None:
        self.write(*(numbered_record(number) for number in range(2000)))
        self.store.close()
        with self.path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(40_000))
        self.assert_failure(apsw.CorruptError, "damaged", "move it away")

    def test_a_file_of_another_program_or_a_newer_version(self) -> None:
        with closing(apsw.Connection(str(self.path))) as other:
            other.execute("CREATE TABLE stamps (country)")
        self.assert_failure(ForeignFile, "another program")
        self.path.unlink()
        self.write(numbered_record(0))
        self.store.close()
        with closing(apsw.Connection(str(self.path))) as other:
            other.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        self.assert_failure(ForeignFile, f"version {schema.VERSION + 1}", "upgrade fleetgw")

    def test_no_folder(self) -> None:
        shutil.rmtree(self.folder)
        self.assert_failure(apsw.CantOpenError, "does not exist; make it")
        self.folder.mkdir()
        self.write(numbered_record(0))

    def test_not_writable(self) -> None:
        def read_only(path: str) -> apsw.Connection:
            connection = apsw.Connection(path)
            connection.execute("PRAGMA query_only = ON")
            return connection

        self.store.connect = read_only
        self.assert_failure(apsw.ReadOnlyError, "cannot be written", "the right to write")

    def test_removed_while_open(self) -> None:
        """Records written to a removed file are not confirmed."""
        self.write(numbered_record(0))
        self.path.unlink()
        self.assert_failure(FileReplaced, "moved, removed or replaced")
        self.write(numbered_record(2))
        self.assertEqual(recorded(self.path).keys(), {2})

    def test_is_synced(self) -> None:
        self.write(numbered_record(0))
        self.assertEqual(self.store._connection.execute("PRAGMA synchronous").fetchone(), (2,))
        self.assertEqual(self.store._connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))


class CrashTests(FileCase):
    def test_killed(self) -> None:
        for confirmed, held in kill_over_and_over(self.path, (0.0, 0.03, 0.1)):
            self.assertEqual(confirmed - held.keys(), set())
        self.assertGreater(len(confirmed), 20)

    def test_power_cut(self) -> None:
        """The file and its log after each commit, with the end of the log torn off, have all confirmed records."""
        copy = self.folder / "copy.sqlite3"
        for number in range(40):
            self.write(numbered_record(number))
            shutil.copy(self.path, copy)
            log = self.path.with_name("r.sqlite3-wal").read_bytes()
            copy.with_name("copy.sqlite3-wal").write_bytes(log + log[32 : 32 + (number * 997) % 4000])
            self.assertEqual(recorded(copy).keys(), set(range(number + 1)))
            for end in ("", "-wal", "-shm"):
                copy.with_name(f"copy.sqlite3{end}").unlink(missing_ok=True)


class ReaderTests(FileCase):
    def test_readers_see_whole_commits_and_do_not_block_the_writer(self) -> None:
        self.write(numbered_record(0))
        with closing(apsw.Connection(str(self.path))) as reader:
            reader.execute("BEGIN")
            self.assertEqual(reader.execute("SELECT count(*) FROM record").fetchone(), (1,))
            for number in range(1, 50):
                self.write(numbered_record(number))
            self.store.trim(NOW_MS)
            self.assertEqual(reader.execute("SELECT count(*) FROM record").fetchone(), (1,))
            reader.execute("COMMIT")
            self.assertEqual(reader.execute("SELECT count(*) FROM record").fetchone(), (50,))

    def test_unknown_vehicles_and_fields(self) -> None:
        cases = {
            ("5YJ3E1EA7KF000002", "Odometer"): "no vehicle 5YJ3E1EA7KF000002; did you mean 5YJ3E1EA7KF000001?",
            (VIN, "odometer"): f"{VIN} has sent no odometer; did you mean Odometer?",
            (VIN, "Zz"): f"{VIN} has sent no Zz; it has sent Odometer, Version",
        }
        self.write(numbered_record(0))
        for (vin, field), message in cases.items():
            with self.subTest(vin=vin, field=field), self.assertRaises(CannotRead) as caught:
                self.history(field, vin)
            self.assertEqual(str(caught.exception), message)

    def test_by_a_user_without_the_right_to_write(self) -> None:
        self.write(numbered_record(0))
        left = self.folder / "left by a crash"
        left.mkdir()
        for file in (self.path, self.folder / "r.sqlite3-wal"):
            file.chmod(0o644)  # by an operator, to let others read
            shutil.copy(file, left)
        self.store.close()
        for folder in (left, self.folder):
            folder.chmod(0o555)
            self.addCleanup(folder.chmod, 0o755)
        with as_nobody():
            with open_file(self.path) as records:
                self.assertEqual([each.vin for each in records.vehicles()], [VIN])
            with self.assertRaisesRegex(CannotRead, "ask as the user that"), open_file(left / "r.sqlite3"):
                pass

    def test_missing_and_foreign_files(self) -> None:
        with self.assertRaisesRegex(CannotRead, "there is no file"), open_file(self.folder / "nix"):
            pass
        self.path.write_bytes(b"no database" * 100)
        with self.assertRaisesRegex(CannotRead, "cannot be read: file is not a database"), open_file(self.path):
            pass
