"""The identity of rows, also in a file of the first version."""

import os
import stat
import tempfile
import zlib
from contextlib import closing
from pathlib import Path
from unittest import TestCase

import apsw

from fleetgw.adapters.codec.generated import vehicle_data_pb2 as pb
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import Customer, Service, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import CONNECTED, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.sinks.sqlite import schema
from fleetgw.adapters.sinks.sqlite.content_hash import content_hash, record_hash
from fleetgw.adapters.sinks.sqlite.file_version import APPLICATION_ID
from fleetgw.adapters.sinks.sqlite.reading import open_file
from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.domain.ports import RECEIPT
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

VIN = "5YJ3E1EA7KF000001"
NOW_MS = 1_764_000_000_000
ALWAYS = (-(2**62), 2**62)


def record_of(content: object, *, txid: bytes = b"tx-1", record_type: str = "V", payload: bytes = b"") -> Record:
    return Record(record_type, txid, Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c"), payload, NOW_MS, content, 1)


def soc(value: float, *, txid: bytes = b"tx-1") -> Record:
    content = pb.Payload()
    content.created_at.FromMilliseconds(NOW_MS)
    content.data.add(key=pb.Field.Soc).value.double_value = value
    return record_of(content, txid=txid)


class FileCase(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory()), "r.sqlite3")
        self.store = Store(StoreSettings(self.path, "full", 0, 0, 0.2))
        self.addCleanup(self.store.close)

    def write(self, *records: Record) -> None:
        self.assertEqual(self.store.write(records), [RECEIPT] * len(records))

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with closing(apsw.Connection(str(self.path))) as connection:
            return connection.execute(sql).fetchall()

    def count(self, table: str) -> object:
        return self.rows(f"SELECT count(*) FROM {table}")[0][0]


class IdentityTests(FileCase):
    def test_records_of_one_txid_and_time_with_other_values(self) -> None:
        records = [soc(number) for number in range(10)]
        self.write(*records)
        self.write(*records)  # sent again
        self.assertEqual(self.rows("SELECT value FROM signals ORDER BY value"), [(number,) for number in range(10)])

    def test_similar_txids(self) -> None:
        self.write(soc(1, txid=b"\xff"), soc(1, txid=rb"\xff"), soc(1, txid=b"\xff"))
        self.assertEqual(self.count("record"), 2)

    def test_alerts_without_a_start(self) -> None:
        """Each is an occurrence of its own; a copy of the whole report is the same."""
        content = VehicleAlerts()
        content.created_at.FromMilliseconds(NOW_MS)
        for _ in range(10):
            content.alerts.add(name="tirePressureLow")
        for number in range(10):
            content.alerts.add(name="tirePressureLow").ended_at.FromMilliseconds(NOW_MS + number)
        self.write(record_of(content, record_type="alerts"))
        self.write(record_of(content, record_type="alerts"))
        self.assertEqual(self.count("alert"), 20)

    def test_alerts_with_implausible_starts(self) -> None:
        content = VehicleAlerts()
        content.created_at.FromMilliseconds(NOW_MS)
        for seconds in (1, -5, 2**40, 2**41):
            content.alerts.add(name="a").started_at.seconds = seconds
        content.alerts[0].started_at.seconds = -1
        self.write(record_of(content, record_type="alerts"))
        self.assertEqual(self.count("alert"), 4)

    def test_alerts_that_start_within_a_millisecond(self) -> None:
        content = VehicleAlerts()
        for nanos in (1, 2, 2):
            alert = content.alerts.add(name="a", audiences=[Customer])
            alert.started_at.seconds, alert.started_at.nanos = NOW_MS // 1000, nanos
        content.alerts[2].ended_at.FromMilliseconds(NOW_MS + 5)
        content.alerts[2].audiences[:] = [Service]
        self.write(record_of(content, record_type="alerts"))
        self.assertEqual(
            self.rows("SELECT ended_at_ms, audiences FROM alerts ORDER BY ended_at_ms"),
            [(None, '["Customer"]'), (NOW_MS + 5, '["Service"]')],
        )

    def test_errors_without_a_time(self) -> None:
        content = VehicleErrors()
        content.created_at.FromMilliseconds(NOW_MS)
        for _ in range(10):
            content.errors.add(name="e", body="b")
        self.write(record_of(content, record_type="errors"))
        self.write(record_of(content, record_type="errors"))
        self.write(record_of(content, record_type="errors", txid=b"tx-2"))
        self.assertEqual(self.count("error"), 20)

    def test_errors_that_differ_in_one_column(self) -> None:
        content = VehicleErrors()
        for body, tags in (("b", {}), ("c", {}), ("b", {"x": "1"}), ("b", {"x": "2"}), ("b", {})):
            content.errors.add(name="e", body=body, tags=tags).created_at.FromMilliseconds(NOW_MS)
        self.write(record_of(content, record_type="errors"))
        self.assertEqual(self.count("error"), 4)

    def test_connections_that_differ_in_one_column(self) -> None:
        for interface in ("wifi", "cellular", "wifi"):
            content = VehicleConnectivity(connection_id="c", status=CONNECTED, network_interface=interface)
            content.created_at.FromMilliseconds(NOW_MS)
            self.write(record_of(content, record_type="connectivity"))
        self.assertEqual(self.count("connectivity_event"), 2)

    def test_custom_records_with_the_same_crc(self) -> None:
        """A vehicle can give two payloads the same CRC with four bytes at the end."""
        payloads = (b"plumless", b"buckeroo")
        self.assertEqual(zlib.crc32(payloads[0]), zlib.crc32(payloads[1]))
        for payload in (*payloads, *payloads):
            self.write(record_of(None, record_type="mine", payload=payload))
        self.write(record_of(None, record_type="\udcff", payload=b"x"), record_of(None, record_type=r"\xff", payload=b"x"))
        self.assertEqual(self.count("custom_record"), 4)

    def test_a_hash_includes_the_lengths_of_its_parts(self) -> None:
        self.assertNotEqual(content_hash("ab", "c"), content_hash("a", "bc"))
        self.assertEqual(content_hash("ä", "\0"), record_hash("ä".encode(), b"\0"))


class BoundTests(FileCase):
    def test_latest_values_of_unknown_fields_are_bounded(self) -> None:
        """Both from memory, and from the file after a crash."""
        content = pb.Payload()
        content.created_at.FromMilliseconds(NOW_MS)
        for key in (9999, 10_000, 2**31 - 1, -1):
            content.data.add(key=key).value.int_value = 1
        for crashes in (False, True):
            self.write(record_of(content, txid=b"%d" % crashes))
            if crashes:
                self.store.abandon()
                self.store.open()
                self.assertEqual(self.rows("SELECT count(*) FROM signals"), [(8,)])
            self.store.update_latest()
            self.assertEqual(self.rows("SELECT field FROM latest"), [("9999",)])

    def test_a_reason_is_short(self) -> None:
        record = record_of(pb.Payload())
        record.received_at_ms = "x" * 100_000
        (outcome,) = self.store.write([record])
        self.assertLess(len(str(outcome)), 400)


class FirstVersionTests(FileCase):
    """A file of version 1."""

    def setUp(self) -> None:
        super().setUp()
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute(schema.MIGRATIONS[0]).fetchall()
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 1")
            connection.execute("INSERT INTO vehicle VALUES (1, ?)", (VIN,))
            connection.executemany(
                "INSERT INTO record VALUES (?, 1, ?, ?, ?, ?)",
                [(5, NOW_MS, NOW_MS, "tx-1", '{"Soc":70.0}'), (6, NOW_MS, NOW_MS, None, '{"Soc":71.0}')],
            )
            connection.execute("INSERT INTO alert VALUES (3, 1, 'a', ?, NULL, '[]', ?)", (NOW_MS, NOW_MS))
            connection.execute("INSERT INTO error VALUES (3, 1, ?, ?, 'e', 'b', '{}')", (NOW_MS, NOW_MS))
            connection.execute(
                "INSERT INTO connectivity_event VALUES (3, 1, ?, ?, 'CONNECTED', 'c', 'wifi')", (NOW_MS, NOW_MS)
            )
            connection.execute(
                "INSERT INTO custom_record VALUES (3, 1, ?, 'mine', 'tx-1', ?, ?)", (NOW_MS, zlib.crc32(b"x"), b"x")
            )

    def read(self) -> list[object]:
        with open_file(self.path) as file:
            return [
                [(each.vin, each.status) for each in file.vehicles()],
                [each.name for each in file.alerts(VIN, *ALWAYS)],
            ]

    def test_is_readable_before_and_after_its_migration(self) -> None:
        before = self.read()
        self.assertEqual(before, [[(VIN, "CONNECTED")], ["a"]])
        self.assertEqual(self.rows("PRAGMA user_version"), [(1,)])
        self.store.open()
        self.assertEqual(self.rows("PRAGMA user_version"), [(schema.VERSION,)])
        self.assertEqual(self.read(), before)
        with open_file(self.path) as file:
            self.assertEqual([each.value for each in file.history(VIN, "Soc", *ALWAYS)], [70, 71])

    def test_its_records_sent_again_make_no_second_rows(self) -> None:
        alerts, errors = VehicleAlerts(), VehicleErrors()
        alerts.alerts.add(name="a").started_at.FromMilliseconds(NOW_MS)
        alerts.alerts[0].ended_at.FromMilliseconds(NOW_MS + 1)
        errors.errors.add(name="e", body="b").created_at.FromMilliseconds(NOW_MS)
        connected = VehicleConnectivity(connection_id="c", status=CONNECTED, network_interface="wifi")
        connected.created_at.FromMilliseconds(NOW_MS)
        self.write(
            soc(70),
            record_of(alerts, record_type="alerts"),
            record_of(errors, record_type="errors"),
            record_of(connected, record_type="connectivity"),
            record_of(None, record_type="mine", payload=b"x"),
        )
        self.assertEqual([self.count(table) for table in schema.TABLES_BY_AGE], [2, 1, 1, 1, 1])
        self.assertEqual(self.rows("SELECT ended_at_ms FROM alert"), [(NOW_MS + 1,)])
        self.write(soc(72))
        self.assertEqual(self.rows("SELECT id FROM record ORDER BY id"), [(5,), (6,), (7,)])

    def test_a_migration_that_fails_changes_nothing(self) -> None:
        def fails_at_the_end(path: str) -> apsw.Connection:
            connection = apsw.Connection(path)
            connection.set_authorizer(
                lambda action, name, *_: int(action == apsw.SQLITE_CREATE_VIEW and name == "custom_records")
            )
            return connection

        before = self.rows("SELECT name, sql FROM sqlite_master")
        self.store.connect = fails_at_the_end
        with self.assertRaises(apsw.AuthError):
            self.store.write([soc(1)])
        self.assertEqual(self.rows("SELECT name, sql FROM sqlite_master"), before)
        self.assertEqual(self.count("record"), 2)


class ModeTests(FileCase):
    def test_new_files_are_private(self) -> None:
        for mask in (0, 0o022, 0o777):
            with self.subTest(umask=oct(mask)):
                before = os.umask(mask)
                self.addCleanup(os.umask, before)
                self.write(soc(1))
                os.umask(before)
                modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.path.parent.iterdir()}
                self.assertEqual(modes, dict.fromkeys(("r.sqlite3", "r.sqlite3-wal", "r.sqlite3-shm"), 0o600))
                self.store.close()
                self.path.unlink()

    def test_an_existing_mode_stays(self) -> None:
        self.write(soc(1))
        self.store.close()
        self.path.chmod(0o640)
        self.write(soc(2))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
